# SPDX-License-Identifier: Apache-2.0
"""What the records of one host add up to. Pure: no I/O; the records come in the order in which they were stored."""

import re

from .. import model
from .groups import Groups, Room
from .identity import Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from .moments import Period
    from .record import Record

INSTALLED, REMOVED = 'installed', 'removed'
_BACK = 1.0  # seconds by which a clock may go back, as it does when it is adjusted
_MOST_NOTED = 500  # of what happens seldom
_MOST_DOMAINS = 20000
DAYS_LEFT = re.compile(r'( until \d{4}-\d\d-\d\d), (?:expires today|\d+ days? left)')


class PolicyUse:
    """A policy as records name it: by its digest, from when to when."""

    __slots__ = ('sha256', 'name', 'modes', 'first', 'last', 'count')

    def __init__(self, record: 'Record') -> None:
        self.sha256 = record.policy_sha256
        self.name = record.policy
        self.modes: 'List[str]' = []
        self.first = self.last = record.moment
        self.count = 0

    def add(self, record: 'Record') -> None:
        self.first, self.last = min(self.first, record.moment), max(self.last, record.moment)
        self.count += 1
        if record.mode and record.mode not in self.modes:
            self.modes.append(record.mode)


class Kept:
    """The first of what happens seldom, in order; `more` counts the rest."""

    def __init__(self) -> None:
        self.records: 'List[Record]' = []
        self.more = 0

    def add(self, record: 'Record') -> None:
        if len(self.records) < _MOST_NOTED:
            self.records.append(record)
        else:
            self.more += 1


class HostAccount:
    """
    :param host: the id of the machine, '' where records do not say
    """

    def __init__(self, host: str, period: 'Period', room: Room, seen: Seen) -> None:
        self.host = host
        self.hostname = ''
        self.first: 'Optional[float]' = None  # of what lies in the period
        self.last: 'Optional[float]' = None
        self.starts = self.repeated = 0
        self.admitted: 'Dict[str, None]' = {}  # domains, as far as they are counted
        self.refused, self.would_refuse, self.unjudged = Groups(room), Groups(room), Groups(room)
        self.waivers, self.happened, self.unobserved = Groups(room), Groups(room), Groups(room)
        self.warnings = Groups(room)
        self.before: 'Optional[Record]' = None  # the last change of the guard before the period
        self.guard_changes, self.policy_changes, self.dropped, self.fieldless = Kept(), Kept(), Kept(), Kept()
        self.watches, self.unwatched = Kept(), Kept()  # starts and ends of the watch; when nobody watched
        self.policies: 'Dict[str, PolicyUse]' = {}
        self.more_policies = 0
        self.set_back: 'List[Tuple[float, float]]' = []  # when the clock was set back: from, to
        self._period = period
        self._seen = seen
        self._stored: 'Optional[Tuple[str, float, Optional[float]]]' = None  # of the record before

    def add(self, record: 'Record') -> None:
        self.hostname = record.hostname or self.hostname
        if not self._period.holds(record.stored):
            if record.decision == model.GUARD_CHANGED:
                self.before = record
            return
        self._watch_clock(record)
        if not record.is_of_guard:
            self.dropped.add(record)
            return
        if self._is_repeated(record):
            self.repeated += 1
            return
        self.first = record.moment if self.first is None else min(self.first, record.moment)
        self.last = record.moment if self.last is None else max(self.last, record.moment)
        self._note_policy(record)
        who = record.uuid or record.domain
        of_guard = self._of_guard(record.decision)
        if of_guard is not None:
            of_guard.add(record)
        elif record.decision == model.COMPILED:
            pass  # what was compiled is told by the change of the policy
        elif record.operation != 'watch':
            self._add_verdict(who, record)
        elif record.decision == model.HAPPENED:
            self.happened.add((who, record.rules), record)
        elif record.since:
            self.unobserved.add((who, record.since), record)
        else:
            self.warnings.add(record.message, record)
        for waiver in record.waivers if record.decision != model.EXPIRY else ():
            told = DAYS_LEFT.sub(r'\1', waiver, 1)
            group = self.waivers.add((who, told), record)
            if group is not None:
                group.waiver = told

    def _of_guard(self, decision: str) -> 'Optional[Kept]':
        """Where a record of the guard itself belongs."""
        if decision in (model.WATCH_STARTED, model.WATCH_STOPPED):
            return self.watches
        kinds = ((model.GUARD_CHANGED, self.guard_changes), (model.POLICY_CHANGED, self.policy_changes))
        return dict((*kinds, (model.UNWATCHED, self.unwatched))).get(decision)

    def _add_verdict(self, who: str, record: 'Record') -> None:
        decision = record.decision
        if decision == model.ADMIT:
            self.starts += record.operation == 'start'
            if len(self.admitted) < _MOST_DOMAINS:
                self.admitted[who] = None
        elif decision == model.DENY:
            self.refused.add((who, record.denied), record)
        elif decision == model.WOULD_DENY:
            self.would_refuse.add((who, record.denied), record)
        elif decision == model.ERROR:
            self.unjudged.add(who, record)
        else:
            self.fieldless.add(record)

    def _is_repeated(self, record: 'Record') -> bool:
        """Whether the same was recorded before: by journald when it begins a file, by a watch that was killed, or by an
        upload that was sent again."""
        # Several watches may record one event, each with its own run.
        if record.event and record.decision != model.EXPIRY:
            return not self._seen.is_new((self.host, record.event))
        if not all(record.run):
            return False
        # One process may send two records in one microsecond.
        told = (record.decision, record.operation, record.domain, record.uuid, record.message)
        return not self._seen.is_new((self.host, *record.run, str(record.moment), *told))

    def _watch_clock(self, record: 'Record') -> None:
        before, self._stored = self._stored, (record.boot, record.stored, record.since_boot)
        if before is None or record.stored >= before[1] - _BACK:
            return
        boot, stored, since_boot = before
        is_later = since_boot is None or record.since_boot is None or record.since_boot >= since_boot
        if (boot != record.boot or is_later) and len(self.set_back) < _MOST_NOTED:
            self.set_back.append((stored, record.stored))

    def _note_policy(self, record: 'Record') -> None:
        if not record.policy_sha256:
            return
        use = self.policies.get(record.policy_sha256)
        if use is None:
            if len(self.policies) >= _MOST_NOTED:
                self.more_policies += 1
                return
            use = self.policies[record.policy_sha256] = PolicyUse(record)
        use.add(record)

    def every_kind(self) -> 'Tuple[Groups, ...]':
        of_domains = (self.refused, self.would_refuse, self.unjudged, self.waivers, self.happened, self.unobserved)
        return (*of_domains, self.warnings)

    def time_removed(self) -> 'List[Tuple[float, float]]':
        """From when to when the guard was not installed, as the records of its changes tell."""
        spans: 'List[Tuple[float, float]]' = []
        away = None
        if self.before is not None and self.before.change == REMOVED and self._period.since is not None:
            away = self._period.since
        for record in self.guard_changes.records:
            if record.change == REMOVED:
                away = record.moment if away is None else away
            elif record.change == INSTALLED and away is not None:
                spans.append((away, record.moment))
                away = None
        if away is not None:
            spans.append((away, self._period.until))
        return spans

    def unexplained_policies(self) -> 'List[PolicyUse]':
        """Policies that came into force while nobody has recorded a change to them."""
        told = {record.policy_sha256 for record in self.policy_changes.records}
        in_order = sorted(self.policies.values(), key=lambda use: use.first)
        return [use for use in in_order[1:] if use.sha256 not in told]
