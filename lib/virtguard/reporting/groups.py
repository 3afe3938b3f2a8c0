# SPDX-License-Identifier: Apache-2.0
"""Records that say the same of the same domain, as one row: how often, and when first and last. Pure: no I/O.

A journal may hold a million records, and a domain's owner chooses names: so the rows are limited, and what has no row
is counted.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Hashable, List, Optional

    from .record import Record

MOST_ROWS = 2000  # of one kind and host
_MOST_ROWS_IN_ALL = 50000


class Room:
    """How many more rows there may be in all, so that many hosts do not take more memory than one."""

    def __init__(self, rows: int = _MOST_ROWS_IN_ALL) -> None:
        self._left = rows

    def take(self) -> bool:
        """Whether there was room for one more."""
        self._left -= 1
        return self._left >= 0


class Group:
    """Records that are alike: `first` and `last` in seconds since the epoch, and `record`, the last of them.

    `waiver` is what they say of a waiver, where they are alike in that.
    """

    __slots__ = ('record', 'first', 'last', 'by_operation', 'waiver')

    def __init__(self, record: 'Record') -> None:
        self.record = record
        self.first = self.last = record.moment
        self.waiver = ''
        self.by_operation: 'Dict[str, int]' = {}

    def add(self, record: 'Record') -> None:
        self.first = min(self.first, record.moment)
        if record.moment >= self.last:
            self.last, self.record = record.moment, record
        # What another process may have invented is not counted apart.
        operation = record.operation if record.operation in ('prepare', 'start', 'watch') else ''
        self.by_operation[operation] = self.by_operation.get(operation, 0) + 1

    @property
    def count(self) -> int:
        """How often it happened. One start may be recorded at `prepare` and at `start`."""
        prepare, start = (self.by_operation.get(operation, 0) for operation in ('prepare', 'start'))
        return max(prepare, start) + sum(self.by_operation.values()) - prepare - start


class Groups:
    """The rows of one kind; `more` counts the records that found no room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._groups: 'Dict[Hashable, Group]' = {}
        self.more = 0

    def add(self, key: 'Hashable', record: 'Record') -> 'Optional[Group]':
        """Put a record to those with the same key. Returns its group; None where there was no room."""
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MOST_ROWS or not self._room.take():
                self.more += 1
                return None
            group = self._groups[key] = Group(record)
        group.add(record)
        return group

    def get(self, key: 'Hashable') -> 'Optional[Group]':
        return self._groups.get(key)

    def latest_first(self) -> 'List[Group]':
        return sorted(self._groups.values(), key=lambda group: group.last, reverse=True)

    @property
    def count(self) -> int:
        """How often it happened, in all."""
        return sum(group.count for group in self._groups.values()) + self.more

    @property
    def domains(self) -> int:
        """How many domains have a row."""
        return len({group.record.uuid or group.record.domain for group in self._groups.values()})
