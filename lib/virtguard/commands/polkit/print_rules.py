# SPDX-License-Identifier: Apache-2.0
"""`virt-guard polkit print`: the rules for polkit that follow from the policy."""

from ... import model
from ...errors import GuardError
from ...host import today
from .. import loading
from ..exit_status import FINE
from ..replaced_file import ReplacedFile
from ..terminal import complain, show
from .asking import note_on_polkit
from .daemon import Daemon, is_group
from .permissions import Denials
from .rules_file import PLACE, command_line, head, rules_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List, Optional

    from ...policy.installation import Installation

_MODE = 0o644  # polkitd reads it, which is not root
_LINE = 4096
_OURS = head('virt-guard polkit print')


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print the file, or put it in place in one step."""
    if arguments.output in ('', '-'):
        raise GuardError("'%s' names no file" % arguments.output, 'without --output the rules are printed')
    policy = loading.policy(arguments.policy, installation)
    denials = Denials(policy, loading.host(None, policy.needed_facts()), arguments.also)
    daemon = Daemon()
    groups = [] if arguments.deny_only else arguments.groups or [daemon.group()]
    command = command_line(arguments.policy, arguments.also, arguments.groups, arguments.deny_only)
    if arguments.output is not None and groups and not arguments.groups:
        _refuse_to_permit_more(groups, daemon)
    _warn(policy, denials)
    _warn_of_users(groups, daemon, command)
    text = rules_file(policy, denials, groups, today(), command)
    if arguments.output is None:
        show(text)
        return FINE
    file = ReplacedFile(arguments.output, _MODE)
    try:
        file.open()
        file.write(text)
        file.close()
    finally:
        file.discard()
    return FINE


def _warn(policy: model.Policy, denials: Denials) -> None:
    """Complain of what is not denied, where that may surprise."""
    if not denials.denied:
        _say('no rule of the policy denies what libvirt can deny by a permission, so the file denies nothing')
    elif policy.mode == 'audit':
        _say('the policy is in mode %s, so the file denies nothing meanwhile' % policy.mode_in_words)
    for permission in denials.unused:
        _say('no rule that is in force here denies what %s is for, so it is not denied' % permission)
    for rule in denials.unknown:
        _say('whether the rule %s applies to this host is not known, so nothing is denied by it' % rule.id)


def _warn_of_users(groups: 'List[str]', daemon: Daemon, command: str) -> None:
    """Complain where somebody might do more or less than today."""
    for group in groups:
        if not is_group(group):
            _say('there is no group %r on this host' % group)
    if groups and daemon.is_for_all():
        told = 'everybody may use libvirt today (%s); the file says yes to nobody but the group %s'
        _say(told % (daemon.socket, ', '.join(groups)))
    before = _head_in_place()
    if before is None and daemon.asks_polkit and groups:
        told = (
            'libvirt asks polkit here already (%s); --deny-only leaves the answer about all the rest to your own rules'
        )
        _say(told % daemon.conf)
    if before and before != head(command):
        _say('%s was not written by the same command, but begins: %s' % (PLACE, before))
    note = note_on_polkit()
    if note:
        _say(note)


def _refuse_to_permit_more(groups: 'List[str]', daemon: Daemon) -> None:
    """Refuse to say yes unasked where rules of somebody else decide already, which may permit less.

    :raises GuardError:
    """
    before = _head_in_place() or ''
    if daemon.asks_polkit and (not before.startswith(_OURS) or ' --deny-only' in before):
        told = (
            'libvirt asks polkit here already (%s), and this file would permit the group %s all that it does not deny'
        )
        hint = '--deny-only leaves the answer about that to your own rules; --group %s permits it'
        raise GuardError(told % (daemon.conf, ', '.join(groups)), hint % groups[0])


def _head_in_place() -> 'Optional[str]':
    """The first line of the file that is in place; None if there is none, '' if it cannot be read."""
    try:
        with open(PLACE, encoding='utf-8', errors='replace') as file:
            return file.readline(_LINE).rstrip('\n')
    except FileNotFoundError:
        return None
    except OSError:
        return ''


def _say(text: str) -> None:
    complain('virt-guard: note: %s' % text)
