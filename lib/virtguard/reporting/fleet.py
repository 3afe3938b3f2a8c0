# SPDX-License-Identifier: Apache-2.0
"""What the records of many hosts add up to, host by host. Pure: no I/O.

All that a record says, its host has written, and whoever is root there may write anything: only from whom it came does
the collector know itself.
"""

import re

from .. import model
from ..health.journal_reader import received, text_of, values_of
from .contents import WITHOUT_VERDICT
from .groups import Room
from .host_account import DAYS_LEFT, REMOVED
from .identity import Seen
from .record import cut, is_of_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from ..health.journal_reader import Record as Fields

FIELDS = (
    '_MACHINE_ID _HOSTNAME _PID _UID _SOURCE_REALTIME_TIMESTAMP VIRT_GUARD_DECISION VIRT_GUARD_DOMAIN VIRT_GUARD_UUID '
    'VIRT_GUARD_OPERATION VIRT_GUARD_RULE VIRT_GUARD_DENIED VIRT_GUARD_WAIVER VIRT_GUARD_MODE VIRT_GUARD_POLICY '
    'VIRT_GUARD_POLICY_SHA256 VIRT_GUARD_EVENT VIRT_GUARD_CHANGE VIRT_GUARD_VERSION'
).split()
_IDENTITY = (
    '_MACHINE_ID _BOOT_ID __REALTIME_TIMESTAMP __MONOTONIC_TIMESTAMP _SOURCE_REALTIME_TIMESTAMP _PID '
    'VIRT_GUARD_DECISION VIRT_GUARD_DOMAIN VIRT_GUARD_UUID VIRT_GUARD_OPERATION VIRT_GUARD_EVENT'
).split()
_MOST_HOSTS = 20000
_MOST_ROWS = 200  # rules, and waivers, of one host
_MOST_ROWS_IN_ALL = 100000
_MOST_NAMES = 16  # of one host
_MOST_VALUES = 64  # of a field that may be repeated
_MAX_TEXT = 600  # characters
_MAX_NAME = 64
AHEAD = 300.0  # seconds by which the clock of a host may be fast
_END = 2.0**35  # seconds; the year 3058
_MACHINE = re.compile('[0-9a-f]{32}\\Z')


class Span:
    """How often something was seen, and when first and last, in seconds since the epoch."""

    __slots__ = ('first', 'last', 'count')

    def __init__(self) -> None:
        self.first, self.last, self.count = _END, 0.0, 0

    def add(self, moment: float) -> None:
        self.first, self.last = min(self.first, moment), max(self.last, moment)
        self.count += 1


class RuleCount:
    """Starts that a rule refused, or would refuse in mode enforce, and what it found of running domains."""

    __slots__ = ('refused', 'would_refuse', 'found')

    def __init__(self) -> None:
        self.refused, self.found = 0, 0
        self.would_refuse = Audited()


class Audited:
    """Starts that only mode audit let pass: one may be recorded at `prepare` and at `start`, or at one of the two."""

    __slots__ = ('_domains',)

    def __init__(self) -> None:
        self._domains: 'Dict[str, List[int]]' = {}  # records at `prepare`, and at `start`

    def add(self, operation: str, domain: str, room: Room) -> None:
        """
        :param room: for domains; those that find none are counted as one
        """
        if domain not in self._domains and not room.take():
            domain = ''
        self._domains.setdefault(domain, [0, 0])[operation == 'start'] += 1

    @property
    def count(self) -> int:
        return sum(map(max, self._domains.values()))


class FleetHost:
    """`seen` is about all records of the guard, `heard` when the last entry of any kind was written there, None where
    that was not asked; the numbers are those of the period. `policy` is name, digest and mode of the last record."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.seen = Span()
        self.heard: 'Optional[float]' = None
        self.names: 'Dict[str, Span]' = {}
        self.senders: 'Dict[str, Span]' = {}
        self.admitted = self.refused = self.unjudged = self.found = self.without_verdict = 0
        self.would_refuse = Audited()
        self.rules: 'Dict[str, RuleCount]' = {}
        self.waivers: 'Dict[str, Span]' = {}
        self.policy = ('', '', '')
        self.version = ''
        self.removed: 'Optional[float]' = None  # since when the guard is away, as the host has recorded
        self.unwatched: 'Optional[float]' = None  # since when the watch has ended
        self.ahead = 0  # entries that are from the future
        self._policy_told = self._change_told = self._watch_told = 0.0

    @property
    def name(self) -> str:
        """Its latest one."""
        return max(self.names, key=lambda name: self.names[name].last, default='')

    @property
    def last(self) -> float:
        """When the last entry was written there, as far as that was asked."""
        return max(self.seen.last, self.heard or 0.0)

    def note_sender(self, name: str, sender: str, moment: float) -> None:
        for spans, key in ((self.names, name), (self.senders, sender)):
            if key in spans or len(spans) < _MOST_NAMES:
                spans.setdefault(key, Span()).add(moment)


class Fleet:
    """`hosts` by the ids of their machines. What is left out is counted: `repeated` records that are there twice,
    `strangers` that another user than root has sent, `unreadable` ones, and `more` that found no room."""

    def __init__(self, since: 'Optional[float]', now: float) -> None:
        """
        :param since: what is older is not counted, in seconds since the epoch
        """
        self.since = since
        self.now = now
        self.hosts: 'Dict[str, FleetHost]' = {}
        self.count = self.repeated = self.strangers = self.unreadable = self.more = 0
        self._seen = Seen()
        self._room, self._room_of_domains = Room(_MOST_ROWS_IN_ALL), Room(_MOST_ROWS_IN_ALL)

    def add(self, fields: 'Optional[Fields]', sender: str) -> None:
        """
        :param fields: a record of the guard; None: it cannot be read
        :param sender: from whom the collector had it
        """
        try:
            if fields is None:
                raise ValueError
            moment = received(fields)
            if not is_machine(text_of(fields, '_MACHINE_ID')):
                raise ValueError
        except (ValueError, KeyError):
            self.unreadable += 1
            return
        if not is_of_root(fields):
            self.strangers += 1
            return
        if not self._seen.is_new(_identity(fields)):
            self.repeated += 1
            return
        host = self.host(text_of(fields, '_MACHINE_ID'))
        if host is None:
            self.more += 1
            return
        if moment > self.now + AHEAD:
            host.ahead += 1
            return
        host.seen.add(moment)
        host.note_sender(_cut(text_of(fields, '_HOSTNAME')), sender, moment)
        decision = text_of(fields, 'VIRT_GUARD_DECISION')
        self._note_state(host, fields, decision, moment)
        if self.since is None or moment >= self.since:
            self.count += 1
            self._count(host, fields, decision, moment)

    def host(self, machine: str) -> 'Optional[FleetHost]':
        """None where there is no room for another one."""
        if machine not in self.hosts and len(self.hosts) < _MOST_HOSTS:
            self.hosts[machine] = FleetHost(machine)
        return self.hosts.get(machine)

    def ordered(self) -> 'List[FleetHost]':
        """By name."""
        return sorted(self.hosts.values(), key=lambda host: (host.name, host.machine))

    def _note_state(self, host: FleetHost, fields: 'Fields', decision: str, moment: float) -> None:
        """What holds until a later record: the records of a host may come in another order."""
        digest = text_of(fields, 'VIRT_GUARD_POLICY_SHA256')
        if digest and moment >= host._policy_told:
            host._policy_told = moment
            told = [text_of(fields, name) for name in ('VIRT_GUARD_POLICY', 'VIRT_GUARD_MODE')]
            host.policy = (_cut(told[0]), _cut(digest), _cut(told[1]))
        if decision == model.GUARD_CHANGED and moment >= host._change_told:
            host._change_told = moment
            host.version = _cut(text_of(fields, 'VIRT_GUARD_VERSION'))
            host.removed = moment if text_of(fields, 'VIRT_GUARD_CHANGE') == REMOVED else None
        if decision in (model.WATCH_STARTED, model.WATCH_STOPPED) and moment >= host._watch_told:
            host._watch_told = moment
            host.unwatched = moment if decision == model.WATCH_STOPPED else None

    def _count(self, host: FleetHost, fields: 'Fields', decision: str, moment: float) -> None:
        operation = text_of(fields, 'VIRT_GUARD_OPERATION')
        domain = text_of(fields, 'VIRT_GUARD_UUID') or _cut(text_of(fields, 'VIRT_GUARD_DOMAIN'))
        if decision == model.HAPPENED:
            rules = values_of(fields, 'VIRT_GUARD_RULE')
            host.found += 1
            host.without_verdict += WITHOUT_VERDICT in rules
            for count in self._counts(host, rules):
                count.found += 1
        elif operation != 'watch':
            host.admitted += decision == model.ADMIT and operation == 'start'
            host.unjudged += decision == model.ERROR
            host.refused += decision == model.DENY
            if decision == model.WOULD_DENY:
                host.would_refuse.add(operation, domain, self._room_of_domains)
            if decision in (model.DENY, model.WOULD_DENY):
                for count in self._counts(host, values_of(fields, 'VIRT_GUARD_DENIED')):
                    count.refused += decision == model.DENY
                    if decision == model.WOULD_DENY:
                        count.would_refuse.add(operation, domain, self._room_of_domains)
        if decision != model.EXPIRY:
            for waiver in values_of(fields, 'VIRT_GUARD_WAIVER')[:_MOST_VALUES]:
                told = DAYS_LEFT.sub(r'\1', cut(waiver, _MAX_TEXT), 1)
                if told in host.waivers or (len(host.waivers) < _MOST_ROWS and self._room.take()):
                    host.waivers.setdefault(told, Span()).add(moment)
                else:
                    self.more += 1

    def _counts(self, host: FleetHost, rules: 'List[str]') -> 'List[RuleCount]':
        found = []
        for rule in map(_cut, rules[:_MOST_VALUES]):
            if rule in host.rules or (len(host.rules) < _MOST_ROWS and self._room.take()):
                found.append(host.rules.setdefault(rule, RuleCount()))
            else:
                self.more += 1
        return found

    def of_rules(self) -> 'Dict[str, List[Tuple[FleetHost, RuleCount]]]':
        """For each rule, the hosts of which it has records; what refused most comes first."""
        found: 'Dict[str, List[Tuple[FleetHost, RuleCount]]]' = {}
        for host in self.ordered():
            for rule, count in host.rules.items():
                found.setdefault(rule, []).append((host, count))
        return dict(sorted(found.items(), key=lambda item: (-sum(count.refused for _, count in item[1]), item[0])))

    def of_policies(self) -> 'Dict[Tuple[str, str, str], List[FleetHost]]':
        """The hosts that have each policy, by its name, digest and mode; what most have comes first."""
        found: 'Dict[Tuple[str, str, str], List[FleetHost]]' = {}
        for host in self.ordered():
            if host.policy[1]:
                found.setdefault(host.policy, []).append(host)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def of_waivers(self) -> 'Dict[str, List[Tuple[FleetHost, Span]]]':
        """For each waiver, as records tell of it, the hosts that used it."""
        found: 'Dict[str, List[Tuple[FleetHost, Span]]]' = {}
        for host in self.ordered():
            for waiver, span in host.waivers.items():
                found.setdefault(waiver, []).append((host, span))
        return dict(sorted(found.items()))


def _identity(fields: 'Fields') -> 'List[str]':
    """What is alike in copies of one record. A watch that was killed, or a second one, records an event once more."""
    event = text_of(fields, 'VIRT_GUARD_EVENT')
    if event and text_of(fields, 'VIRT_GUARD_DECISION') != model.EXPIRY:
        return [text_of(fields, '_MACHINE_ID'), event]
    return [text_of(fields, name) for name in _IDENTITY] + values_of(fields, 'VIRT_GUARD_RULE')


def is_machine(text: str) -> bool:
    """Whether it is the id of a machine, as journald notes it."""
    return _MACHINE.match(text) is not None


def _cut(text: str) -> str:
    return cut(text, _MAX_NAME)
