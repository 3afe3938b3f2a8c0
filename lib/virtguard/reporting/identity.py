# SPDX-License-Identifier: Apache-2.0
"""Which records came before: an upload that got no answer is sent again, so a collector may hold a record twice. Pure:
no I/O."""

import hashlib
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

_FIRST_SIZE = 1 << 10  # entries of the table; a power of two
_DIGITS = 8  # bytes of a digest that tell one record from another
_PARTS = '\0'


class Seen:
    """A set of digests that takes 12 to 24 bytes for each: of Python's own sets, a million would take 100 MB."""

    def __init__(self) -> None:
        self._count = 0
        self._table = array('Q', bytes(_DIGITS * _FIRST_SIZE))  # 0: free; what finds its place taken has the next one

    def is_new(self, parts: 'Iterable[str]') -> bool:
        """Whether no record with such an identity came before.

        :param parts: what is alike in copies of one record, and differs between records
        """
        text = _PARTS.join(parts).encode('utf-8', 'surrogatepass')
        # Another digest than SHA-256 may be forbidden on a host.
        mark = int.from_bytes(hashlib.sha256(text).digest()[:_DIGITS], 'little') or 1
        if not self._put(mark):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def _put(self, mark: int) -> bool:
        table = self._table
        last = len(table) - 1
        place = mark & last
        while table[place]:
            if table[place] == mark:
                return False
            place = (place + 1) & last
        table[place] = mark
        return True

    def _grow(self) -> None:
        before = self._table
        self._table = array('Q', bytes(2 * _DIGITS * len(before)))
        for mark in before:
            if mark:
                self._put(mark)
