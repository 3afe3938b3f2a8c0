# SPDX-License-Identifier: Apache-2.0
"""Messages between a process and one that it forked: a length in four bytes, then marshalled data."""

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

_LENGTH_BYTES = 4


def write_message(descriptor: int, message: 'Any') -> None:
    """Write one message; it is read in one piece."""
    data = marshal.dumps(message)
    data = len(data).to_bytes(_LENGTH_BYTES, 'little') + data
    while data:
        data = data[os.write(descriptor, data) :]


def read_message(pipe: 'IO[bytes]') -> 'Any':
    """The next message, or None where the other side has ended."""
    head = pipe.read(_LENGTH_BYTES)
    length = int.from_bytes(head, 'little')
    data = pipe.read(length)
    if len(head) < _LENGTH_BYTES or len(data) < length:
        return None
    return marshal.loads(data)
