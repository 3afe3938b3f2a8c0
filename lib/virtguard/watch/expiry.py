# SPDX-License-Identifier: Apache-2.0
"""What of the policy ends soon: which waivers, and on which days before that is told. Pure: no I/O, and no clock: the
day is given.
"""

import json

from ..digest import sha256_hex
from ..waivers import WARNING_DAYS, days_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, Dict, List, Optional, Sequence

    from .. import model

TOLD_BEFORE = (14, 7, 1, 0)  # days
_LENGTH = 32  # hexadecimal digits


class Expiry:
    """What ends at the same time: `waivers`, whose last day is `day`, in `left` days."""

    __slots__ = ('day', 'left', 'waivers')

    def __init__(self, day: str, left: int, waivers: 'Sequence[model.Waiver]') -> None:
        self.day = day
        self.left = left
        self.waivers = waivers

    def ids(self) -> 'List[str]':
        """What tells each time at which an end is told from all others, also where the policy was edited meanwhile."""
        return [_hash([self.left, _key(waiver)]) for waiver in self.waivers]

    def event(self) -> str:
        """The same only if the same is told again, see event_id."""
        return _hash(self.ids())


def upcoming(waivers: 'Sequence[model.Waiver]', today: str) -> 'List[Expiry]':
    """What ends within a fortnight, the first first, but for waivers that another one has renewed already."""
    by_day: 'Dict[str, List[model.Waiver]]' = {}
    for waiver in waivers:
        if 0 <= days_left(waiver, today) <= WARNING_DAYS and not _is_renewed(waiver, waivers):
            by_day.setdefault(waiver.expires, []).append(waiver)
    return [Expiry(day, days_left(ending[0], today), ending) for day, ending in sorted(by_day.items())]


def due(waivers: 'Sequence[model.Waiver]', today: str, told: 'Container[str]') -> 'List[Expiry]':
    """What is to be told today, and is not among the ids of what has been told."""
    found = (_untold(expiry, told) for expiry in upcoming(waivers, today) if expiry.left in TOLD_BEFORE)
    return [expiry for expiry in found if expiry is not None]


def _untold(expiry: Expiry, told: 'Container[str]') -> 'Optional[Expiry]':
    untold = [waiver for waiver, id in zip(expiry.waivers, expiry.ids()) if id not in told]
    return Expiry(expiry.day, expiry.left, untold) if untold else None


def _is_renewed(waiver: 'model.Waiver', waivers: 'Sequence[model.Waiver]') -> bool:
    """Whether another waiver permits all of this, and for longer."""
    return any(
        other.expires > waiver.expires
        and set(other.rules).issuperset(waiver.rules)
        and set(other.domains).issuperset(waiver.domains)
        for other in waivers
    )


def _key(waiver: 'model.Waiver') -> 'List[object]':
    """What a waiver permits, and until when. Where it is written, and why, may change."""
    return [sorted(waiver.rules), sorted(map(json.dumps, waiver.domains)), waiver.expires]


def _hash(value: object) -> str:
    return sha256_hex(json.dumps(value).encode('ascii'))[:_LENGTH]
