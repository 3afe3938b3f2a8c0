# SPDX-License-Identifier: Apache-2.0
"""What journalctl writes in journald's export format, https://systemd.io/JOURNAL_EXPORT_FORMATS/: one line for each
field, and an empty one after each entry. Text that cannot be printed comes with its length, and may hold such lines
itself. Pure: no I/O."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Union

    Record = Dict[str, Union[str, List[str]]]

_FIRST, _LENGTH = b'__CURSOR', 8  # the first field of an entry; bytes of a length
_MOST = 4 << 20  # bytes of one entry


def parse_export(data: bytes) -> 'Iterator[Record]':
    """The entries of such a text; what is cut off at its end is left out."""
    return (record for record in parse_pieces([data]) if record is not None)


def parse_pieces(pieces: 'Iterable[bytes]') -> 'Iterator[Optional[Record]]':
    """The entries of a text that comes in pieces; None for one that is too long, or has no end."""
    text = _Text(pieces)
    while text.position < len(text.data) or text.more():
        data, position = text.data, text.position
        end = data.find(b'\n\n', position)
        while end >= 0:  # nearly all entries are simple ones, and there may be many
            lines = data[position:end].decode('utf-8', 'surrogateescape').split('\n')
            try:
                record: 'Any' = dict(line.split('=', 1) for line in lines)
            except ValueError:  # a line is the name of a field, and its length follows
                break
            if len(record) != len(lines):
                break
            yield record
            position = end + 2
            end = data.find(b'\n\n', position)
        text.position = position
        if position < len(data):
            record = _read_entry(text)
            if record != {}:
                yield record


def _read_entry(text: '_Text') -> 'Optional[Record]':
    """The next entry, line by line: so one can be read that has text with line ends, or repeats a field."""
    values: 'Dict[str, List[str]]' = {}
    text.room = _MOST
    while True:
        line = text.line()
        if line is None:
            return None if values else {}
        name, equals, value = line.partition(b'=')
        if name == _FIRST and values:
            values = {}  # journalctl has left the entry before this one unfinished, as it could not read on
        if not name:
            break
        if not equals:
            length = text.take(_LENGTH)
            found = None if length is None else text.take(int.from_bytes(length, 'little'))
            if found is None or text.line() is None:
                return None
            value = found
        values.setdefault(name.decode('ascii', 'replace'), []).append(value.decode('utf-8', 'surrogateescape'))
    if text.room < 0:
        return None
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}


class _Text:
    """Its next bytes are in `data` from `position` on. Of what is asked for, only `room` bytes are kept, which becomes
    less than zero then: anybody who may write to a journal chooses how long a field is."""

    def __init__(self, pieces: 'Iterable[bytes]') -> None:
        self.data = b''
        self.position = 0
        self.room = _MOST
        self._pieces = iter(pieces)

    def more(self) -> bool:
        """Have the next piece in `data`, behind what is left of it; False: there is none."""
        piece = next(self._pieces, None)
        self.data = self.data[self.position :] + (piece or b'')
        self.position = 0
        return piece is not None

    def line(self) -> 'Optional[bytes]':
        """What comes before the next end of a line; None: there is none."""
        kept = b''
        while True:
            end = self.data.find(b'\n', self.position)
            part = self.data[self.position : end if end >= 0 else len(self.data)]
            kept += self._kept(part)
            self.position += len(part) + (end >= 0)
            if end >= 0:
                return kept
            if not self.more():
                return None

    def take(self, length: int) -> 'Optional[bytes]':
        """The next bytes; None: there are not so many."""
        kept = []
        while True:
            part = self.data[self.position : self.position + length]
            kept.append(self._kept(part))
            self.position += len(part)
            length -= len(part)
            if not length:
                return b''.join(kept)
            if not self.more():
                return None

    def _kept(self, part: bytes) -> bytes:
        room = max(self.room, 0)
        self.room -= len(part)
        return part[:room]
