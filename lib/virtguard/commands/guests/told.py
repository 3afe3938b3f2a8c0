# SPDX-License-Identifier: Apache-2.0
"""What is told of a guest, for people and for programs. Pure: no I/O. What a guest says is cut and escaped: whoever is
root there chooses it."""

import json

from ...health.guest_agents import ABSENT, DISCONNECTED, PAUSED
from ...wording import counted, escape, plain_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Mapping, Optional, Sequence

    from ...policy.guest_systems import GuestSystem
    from .comparison import Comparison, RuleChange

# How asking went, beside the words of health/guest_agents for what was not asked.
ANSWERED, FAILED = 'answered', 'failed'
_LONGEST = 80  # characters of what a guest says


class Guest:
    """A running domain and what was found out about its guest.

    `file` is what libvirt calls its files. `asked`: ANSWERED, FAILED, or why it was not. `release` has what the guest
    says of its system, as text that was cut. `error` says why it could not be asked or compared, or is ''.
    """

    def __init__(self, name: str, uuid: str, asked: str, file: str = '') -> None:
        self.name = name
        self.file = file
        self.uuid = uuid
        self.asked = asked
        self.release: 'Dict[str, str]' = {}
        self.system: 'Optional[GuestSystem]' = None
        self.comparison: 'Optional[Comparison]' = None
        self.error = ''

    def take(self, release: 'Mapping[str, bytes]') -> None:
        """Take what the guest has answered."""
        self.asked = ANSWERED
        self.release = {name: _cut(value.decode('utf-8', 'replace')) for name, value in release.items()}

    @property
    def is_contradiction(self) -> bool:
        if self.comparison is None or self.system is None or self.error:
            return False
        return self.comparison.contradicts(self.system)

    @property
    def in_words(self) -> str:
        """What the guest calls its system."""
        release = self.release
        name = release.get('pretty-name') or ' '.join(
            filter(
                None, (release.get('name') or release.get('id'), release.get('version') or release.get('version-id'))
            )
        )
        return escape(name).strip() or 'a system without a name'


def as_text_lines(guest: Guest, is_named: bool) -> 'Iterator[str]':
    """
    :param is_named: tell also what is as it should be
    """
    comparison, system = guest.comparison, guest.system
    if comparison is None or system is None or guest.error:
        return
    says = escape(comparison.declared) if comparison.declared else 'nothing'
    known = ' (%s)' % system.id if system.id else ''
    if guest.is_contradiction:
        yield '%s: metadata says %s, but %s%s runs\n' % (escape(guest.name), says, guest.in_words, known)
        for change in comparison.rules:
            yield '  %s\n' % _change(change)
        short = _short_id(system.id)
        if short:
            command = 'virt-xml %s --edit --osinfo %s'
            yield '  to correct the metadata: %s\n' % (command % (plain_word(guest.name, guest.uuid), short))
    elif not system.id:
        text = '%s: metadata says %s; osinfo-db does not know what runs: %s\n'
        yield text % (escape(guest.name), says, guest.in_words)
    elif is_named:
        text = '%s: metadata says %s; %s%s runs, and no rule would answer differently\n'
        yield text % (escape(guest.name), says, guest.in_words, known)


def _change(change: 'RuleChange') -> str:
    if change.really is None:
        return '[%s] would no longer find anything (%s now)' % (change.rule, change.declared)
    now = 'nothing' if change.declared is None else change.declared
    return '[%s] would find: %s (%s now)' % (change.rule, change.really, now)


def _short_id(id: str) -> str:
    """What virt-xml takes for an id of osinfo-db; '' if that is not known."""
    from ...policy.osinfo_names import IDS

    return next((short for short, known in IDS.items() if known == id), '') if id else ''


def summary(guests: 'Sequence[Guest]') -> str:
    """How many there are, and what could not be asked."""
    if not guests:
        return 'no domain runs on this host\n'
    answered, *others = (
        (sum(guest.asked == word for guest in guests), text)
        for word, text in (
            (ANSWERED, 'answered'),
            (FAILED, 'did not answer'),
            (ABSENT, 'without a guest agent'),
            (DISCONNECTED, 'with an agent that is not connected'),
            (PAUSED, 'paused'),
        )
    )
    counts = ', '.join('%d %s' % count for count in (answered, *others) if count is answered or count[0])
    wrong = sum(guest.is_contradiction for guest in guests)
    found = '; %s' % (counted(wrong, 'contradiction') if wrong else 'no contradiction') if answered[0] else ''
    return '%s: %s%s\n' % (counted(len(guests), 'running domain'), counts, found)


def as_json(guest: Guest) -> str:
    """One object in one line."""
    described: 'Dict[str, Any]' = {'domain': guest.name, 'uuid': guest.uuid, 'asked': guest.asked}
    if guest.error:
        described['error'] = guest.error
    if guest.system is not None:
        described['really'] = dict(guest.release, osinfo=guest.system.id or None)
    if guest.comparison is not None and not guest.comparison.error:
        described['says'] = guest.comparison.declared or None
        described['contradiction'] = guest.is_contradiction
        described['rules'] = [
            {'rule': change.rule, 'now': change.declared, 'really': change.really} for change in guest.comparison.rules
        ]
    return json.dumps(described) + '\n'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + '...'
