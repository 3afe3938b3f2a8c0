# SPDX-License-Identifier: Apache-2.0
"""What of the policy ends soon: which waivers, and mode audit where it ends by itself; and on which days before that is
told. Pure: no I/O, and no clock: the day is given.
"""

import json

from ..digest import sha256_hex
from ..waivers import WARNING_DAYS, days_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, Dict, List, Sequence

    from .. import model

TOLD_BEFORE = (14, 7, 1, 0)  # days
_AUDIT = 'audit'
_LENGTH = 32  # hexadecimal digits


class Expiry:
    """What ends at the same time, after `day`, in `left` days: `waivers` and, if `ends_audit`, mode audit."""

    __slots__ = ('day', 'left', 'waivers', 'ends_audit')

    def __init__(self, day: str, left: int, waivers: 'Sequence[model.Waiver]', ends_audit: bool = False) -> None:
        self.day = day
        self.left = left
        self.waivers = waivers
        self.ends_audit = ends_audit

    def ids(self) -> 'List[str]':
        """What tells each time at which an end is told from all others, also where the policy was edited meanwhile."""
        of_audit = [self._id(_AUDIT)] if self.ends_audit else []
        return of_audit + [self._id(_permission(waiver)) for waiver in self.waivers]

    def event(self) -> str:
        """The same only if the same is told again, see event_id."""
        return _hash(self.ids())

    def untold(self, told: 'Container[str]') -> 'Expiry':
        """What of it is not among the ids of what has been told."""
        waivers = [waiver for waiver in self.waivers if self._id(_permission(waiver)) not in told]
        return Expiry(self.day, self.left, waivers, self.ends_audit and self._id(_AUDIT) not in told)

    def __bool__(self) -> bool:
        return bool(self.waivers) or self.ends_audit

    def _id(self, what: object) -> str:
        return _hash([self.left, what, self.day])


def upcoming(policy: 'model.Policy', today: str) -> 'List[Expiry]':
    """What ends within a fortnight, the first first, but for waivers that another one has renewed already."""
    by_day: 'Dict[str, List[model.Waiver]]' = {}
    for waiver in policy.waivers:
        if not _is_renewed(waiver, policy.waivers):
            by_day.setdefault(waiver.expires, []).append(waiver)
    if policy.audit_until:
        by_day.setdefault(policy.audit_until, [])
    return [
        Expiry(day, days_until(day, today), waivers, day == policy.audit_until)
        for day, waivers in sorted(by_day.items())
        if 0 <= days_until(day, today) <= WARNING_DAYS
    ]


def due(policy: 'model.Policy', today: str, told: 'Container[str]') -> 'List[Expiry]':
    """What is to be told today, and is not among the ids of what has been told."""
    expiries = (expiry.untold(told) for expiry in upcoming(policy, today) if expiry.left in TOLD_BEFORE)
    return [expiry for expiry in expiries if expiry]


def _is_renewed(waiver: 'model.Waiver', waivers: 'Sequence[model.Waiver]') -> bool:
    """Whether another waiver permits all of this, and for longer."""
    return any(
        other.expires > waiver.expires
        and set(other.rules).issuperset(waiver.rules)
        and set(other.domains).issuperset(waiver.domains)
        for other in waivers
    )


def _permission(waiver: 'model.Waiver') -> object:
    """What a waiver permits. Where it is written, and why, may change."""
    return [sorted(waiver.rules), sorted(map(json.dumps, waiver.domains))]


def _hash(value: object) -> str:
    return sha256_hex(json.dumps(value).encode('ascii'))[:_LENGTH]
