# SPDX-License-Identifier: Apache-2.0
"""Messages between a process and one that it forked: a length in four bytes, then marshalled data."""

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

_LENGTH_BYTES = 4


def write_message(descriptor: int, message: 'Any') -> None:
    """Write one message; it is read in one piece."""
    data = marshal.dumps(message)
    data = len(data).to_bytes(_LENGTH_BYTES, 'little') + data
    while data:
        data = data[os.write(descriptor, data) :]


class Reader:
    """Reads messages that arrive in pieces, for a caller that also waits for other things."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._data = b''

    def read(self) -> 'Iterator[Any]':
        """Read once; the messages that are complete now, and None at the end."""
        chunk = os.read(self.descriptor, 1 << 16)
        if not chunk:
            yield None
        self._data += chunk
        while len(self._data) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._data[:_LENGTH_BYTES], 'little')
            if len(self._data) < end:
                break
            message, self._data = self._data[_LENGTH_BYTES:end], self._data[end:]
            yield marshal.loads(message)
