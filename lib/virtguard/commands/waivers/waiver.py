# SPDX-License-Identifier: Apache-2.0
"""`virt-guard waiver add|renew|remove`: waivers in a drop-in of their own. Each function returns the exit status."""

import shlex

from ... import model
from ...errors import GuardError, suggest
from ...host import today
from ...waivers import days_left, is_uuid
from ...wording import counted
from ..calling_user import calling_user
from ..domains.host_domains import HostDomains, as_text
from ..exit_status import FINE
from ..last_day import read_last_day
from ..policies.broken_policy import policy_to_change
from ..policies.notes import in_words
from ..policies.policy_change import change_drop_in, drop_in_path
from ..questions import at_terminal, given_or_asked
from ..terminal import show_line
from .entries import DROP_IN, as_glob, word_of
from .waiver_file import WaiverFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List, Optional, Sequence, Tuple

    from ...model import DomainEntry
    from ...policy.installation import Installation
    from ..domains.host_domains import HostDomain
    from ..policies.policy_change import Revision
    from .waiver_file import Values


def add(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Write a waiver, and tell which of its domains would start now."""
    policy = policy_to_change(installation)
    known = HostDomains(installation)
    first = given_or_asked(arguments.domain, 'DOMAIN', 'domain (name or UUID)', known.require)
    others = [known.require(word) for word in arguments.others]
    domains = list({domain.name: domain for domain in [first, *others]}.values())
    rules = _rules_to_waive(arguments, policy, domains)
    values: 'Values' = {
        'rules': rules,
        'domains': tuple(_entry(domain) for domain in domains),
        'expires': given_or_asked(arguments.until, '--until', 'until (YYYY-MM-DD, today, +30d)', read_last_day),
        'reason': given_or_asked(arguments.reason, '--reason', 'reason', _read_text),
        'approved-by': _read_text(arguments.approved_by or calling_user()),
        'ticket': _read_text(arguments.ticket) if arguments.ticket else '',
    }
    path = drop_in_path(installation, DROP_IN)
    said = _describe(values)

    def revise(before: 'Optional[bytes]') -> 'Revision':
        file = WaiverFile(before, path)
        for waiver, line in zip(file.waivers, file.lines):
            is_same = all(set(waiver[key]) == set(values[key]) for key in ('rules', 'domains'))
            if is_same and today() <= waiver['expires']:
                place = (path, line, waiver['expires'])
                raise GuardError('%s:%d: that is waived already, until %s' % place, 'virt-guard waiver renew')
        return file.add(values), 'waiver added: ' + said

    changed = change_drop_in(installation, DROP_IN, revise)
    show_line('%s: waived: %s' % (path, said))
    _show_effect(changed, domains)
    return FINE


def renew(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Give waivers another last day."""
    policy, asked = policy_to_change(installation), _Asked(arguments, installation)
    until = given_or_asked(arguments.until, '--until', 'until (YYYY-MM-DD, today, +30d)', read_last_day)
    changes: 'Values' = {'expires': until, 'approved-by': _read_text(arguments.approved_by or calling_user())}
    for key in ('reason', 'ticket'):
        if getattr(arguments, key):
            changes[key] = _read_text(getattr(arguments, key))
    path = drop_in_path(installation, DROP_IN)
    described: 'List[str]' = []

    def revise(before: 'Optional[bytes]') -> 'Revision':
        file = WaiverFile(before, path)
        for number in asked.waivers_in(file, path, policy):
            asked.refuse(file, number, path)
            described.append(_describe(dict(file.waivers[number], **changes)))
            file = WaiverFile(file.renew(number, changes), path)
        return file.data, 'waiver renewed: ' + '; '.join(described)

    changed = change_drop_in(installation, DROP_IN, revise)
    for text in described:
        show_line('%s: renewed: %s' % (path, text))
    _show_effect(changed, asked.known)
    return FINE


def remove(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Take domains or rules out of waivers; a waiver without any is removed."""
    policy, asked = policy_to_change(installation), _Asked(arguments, installation)
    path = drop_in_path(installation, DROP_IN)
    described: 'List[str]' = []

    def revise(before: 'Optional[bytes]') -> 'Revision':
        file = WaiverFile(before, path)
        for number in reversed(asked.waivers_in(file, path, policy)):
            described.append(asked.part(file.waivers[number]) + _describe(file.waivers[number]))
            file = _without(file, number, asked, path)
        return file.data, 'waiver removed: ' + '; '.join(described)

    changed = change_drop_in(installation, DROP_IN, revise)
    for text in described:
        show_line('%s: removed: %s' % (path, text))
    _show_effect(changed, asked.known)
    return FINE


def _read_text(text: str) -> str:
    text = as_text(text).strip()
    if not text or not text.isprintable():
        raise GuardError('%r is not a line of printable text' % text)
    return text


def _rules_to_waive(
    arguments: 'argparse.Namespace', policy: model.Policy, domains: 'Sequence[HostDomain]'
) -> 'Tuple[str, ...]':
    if arguments.all_rules:
        if arguments.rules:
            raise GuardError('--all-rules and rules were given', 'give one of the two')
        return tuple(rule.id for rule in policy.rules if rule.waivable and rule.action == model.DENY)
    if arguments.rules or not at_terminal():
        return _read_rules(' '.join(arguments.rules), policy)
    from ..domains.judged_domains import judge_domains

    waivable = {rule.id: rule.waivable for rule in policy.rules}
    refusing = dict.fromkeys(rule for judged in judge_domains(policy, domains) for rule in judged.refused_by)
    offered = ' '.join(id for id in refusing if waivable.get(id))
    question = 'rules to waive (%s)' % offered if offered else 'rules to waive'
    return given_or_asked(None, 'RULE', question, lambda text: _read_rules(text or offered, policy))


def _read_rules(text: str, policy: model.Policy) -> 'Tuple[str, ...]':
    rules = {rule.id: rule for rule in policy.rules}
    ids = text.replace(',', ' ').split()
    if not ids:
        raise GuardError(
            'RULE is missing', 'virt-guard rules lists the rules; --all-rules permits all that can be waived'
        )
    for id in ids:
        if id not in rules:
            raise GuardError('there is no rule %r to waive' % id, suggest(id, rules))
        if not rules[id].waivable:
            raise GuardError('rule %r cannot be waived' % id, 'defined in %s:%d' % rules[id].origin)
    return tuple(dict.fromkeys(ids))


def _entry(domain: 'HostDomain') -> 'DomainEntry':
    """As a waiver names the domain: by UUID and name; by its UUID alone, where the name cannot be written."""
    name, uuid = domain.identity()
    if not uuid:
        raise GuardError(
            '%s states no UUID' % (domain.definition or domain.status), 'libvirt gives it one: virsh define'
        )
    if not name.isprintable() or name != name.strip():
        return uuid
    return uuid, as_glob(name)


class _Meant:
    """A domain that a user means: one of this host, by its identity; else what waivers say of one that is gone."""

    def __init__(self, word: str, here: 'Optional[HostDomain]') -> None:
        self.word = word
        self.is_here = here is not None
        self.name, self.uuid = here.identity() if here is not None else ('', '')
        if here is None:
            self.name, self.uuid = ('', word.lower()) if is_uuid(word.lower()) else (word, '')

    def is_named_by(self, entry: 'DomainEntry') -> bool:
        """Whether an entry of a waiver is about this domain. Where both have a UUID, only that counts."""
        if isinstance(entry, str):
            if is_uuid(entry.lower()):
                return entry.lower() == self.uuid
            return entry in ([as_glob(self.name)] if self.is_here else [self.word])
        return entry[0].lower() == self.uuid if self.uuid else entry[1] == as_glob(self.name)

    def check_machine(self, entries: 'Sequence[DomainEntry]') -> None:
        """
        :raises GuardError: a waiver names another domain that had this name
        """
        for entry in entries:
            if self.is_here and isinstance(entry, tuple) and entry[1] == as_glob(self.name):
                raise GuardError(
                    'the waiver of %r is for another domain of that name: %s; the one that is here now has %s'
                    % (self.name, entry[0], self.uuid),
                    'virt-guard waiver remove %s, and virt-guard waiver add for the one that is here' % entry[0],
                )


class _Asked:
    """The domains and rules that a user names to change waivers of them. Without rules, all are meant."""

    def __init__(self, arguments: 'argparse.Namespace', installation: 'Installation') -> None:
        self.rules: 'List[str]' = arguments.rules
        self.known: 'List[HostDomain]' = []
        self.domains: 'List[_Meant]' = []
        every = HostDomains(installation)

        def read(text: str) -> str:
            word = _read_text(text)
            # A name may have spaces at its edges; without them, it is that of another domain.
            return as_text(text) if every.find(as_text(text)) is not None else word

        first = given_or_asked(arguments.domain, 'DOMAIN', 'domain (name or UUID)', read)
        for word in [first, *map(read, arguments.others)]:
            here = every.find(word)
            self.known += [here] if here is not None else []
            self.domains.append(_Meant(word, here))

    def names(self, entry: 'DomainEntry') -> bool:
        """Whether an entry of a waiver is one of these domains."""
        return any(meant.is_named_by(entry) for meant in self.domains)

    def waivers_in(self, file: WaiverFile, path: str, policy: model.Policy) -> 'List[int]':
        """The numbers of the waivers that speak of these domains and rules.

        :raises GuardError: of one of the domains, or of all rules, there is none
        """
        entries = [entry for waiver in file.waivers for entry in waiver['domains']]
        words = dict.fromkeys(map(word_of, entries))
        for meant in self.domains:
            if any(map(meant.is_named_by, entries)):
                continue
            for waiver in policy.waivers:
                if waiver.origin[0] != path and any(map(meant.is_named_by, waiver.domains)):
                    message = 'the waiver of %r is in %s:%d' % (meant.word, *waiver.origin)
                    raise GuardError(message, 'change it there by hand')
            meant.check_machine(entries)
            hint = suggest(meant.word, words) if words else 'virt-guard waiver list shows all that there are'
            raise GuardError('%s has no waiver of %r' % (path, meant.word), hint)
        found = [
            number
            for number, waiver in enumerate(file.waivers)
            if any(map(self.names, waiver['domains']))
            and (not self.rules or not set(self.rules).isdisjoint(waiver['rules']))
        ]
        if not found:
            theirs = [waiver for waiver in file.waivers if any(map(self.names, waiver['domains']))]
            rules = dict.fromkeys(rule for waiver in theirs for rule in waiver['rules'])
            domains = ', '.join(meant.word for meant in self.domains)
            message = '%s has no waiver of %s for %s' % (path, ', '.join(self.rules), domains)
            raise GuardError(message, suggest(self.rules[0], rules))
        return found

    def others(self, waiver: 'Values') -> 'Tuple[List[DomainEntry], List[str]]':
        """The domains and the rules of a waiver that the user does not name."""
        rules = [rule for rule in waiver['rules'] if self.rules and rule not in self.rules]
        return [entry for entry in waiver['domains'] if not self.names(entry)], rules

    def part(self, waiver: 'Values') -> str:
        """What is taken out of a waiver, if it is not the whole one."""
        domains, rules = self.others(waiver)
        if not domains and not rules:
            return ''
        named = ', '.join(word_of(entry) for entry in waiver['domains'] if entry not in domains)
        if domains and rules:
            return '%s for %s out of: ' % (', '.join(rule for rule in waiver['rules'] if rule not in rules), named)
        return '%s out of: ' % (named if domains else ', '.join(self.rules))

    def refuse(self, file: WaiverFile, number: int, path: str) -> None:
        """
        :raises GuardError: the waiver speaks of more than the user names
        """
        domains, rules = self.others(file.waivers[number])
        names = list(map(word_of, domains))
        if names or rules:
            # Whoever defines a domain chooses its name, and somebody may copy this.
            hint = 'add ' + ' '.join([*rules, *('--domain=' + shlex.quote(name) for name in names)])
            message = '%s:%d: the waiver also speaks of %s' % (path, file.lines[number], ', '.join(names + rules))
            raise GuardError(message, hint)


def _without(file: WaiverFile, number: int, asked: _Asked, path: str) -> WaiverFile:
    """The file without what the user names. What is left of a waiver may take two: the domains that are not named keep
    all rules, and those that are keep the rules that are not."""
    waiver = file.waivers[number]
    domains, rules = asked.others(waiver)
    if domains and rules:
        named = tuple(entry for entry in waiver['domains'] if entry not in domains)
        file = WaiverFile(file.add(dict(waiver, domains=named, rules=tuple(rules))), path)
        rules = []
    if not domains and not rules:
        return WaiverFile(file.remove(number), path)
    key, left = ('domains', domains) if domains else ('rules', rules)
    for item in waiver[key]:
        if item not in left:
            file = WaiverFile(file.shorten(number, key, item), path)
    return file


def _describe(values: 'Values') -> str:
    waiver = model.Waiver(
        values['rules'], values['domains'], values['reason'], values['approved-by'], values['expires']
    )
    names = ['%s (%s)' % (entry[1], entry[0]) if isinstance(entry, tuple) else entry for entry in waiver.domains]
    left = days_left(waiver, today())
    until = 'expired on %s' % waiver.expires if left < 0 else 'until %s (%s)' % (waiver.expires, _left(left))
    return '%s for %s %s, approved by %s: %s' % (
        in_words(waiver.rules),
        ', '.join(names),
        until,
        waiver.approved_by,
        waiver.reason,
    )


def _left(days: int) -> str:
    return counted(days, 'day') + ' left' if days else 'expires today'


def _show_effect(policy: 'Optional[model.Policy]', domains: 'Sequence[HostDomain]') -> None:
    """Tell of each domain whether it may start now."""
    from ..domains.judged_domains import judge_domains

    if policy is not None:
        for judged in judge_domains(policy, domains):
            show_line(judged.describe(policy.mode))
