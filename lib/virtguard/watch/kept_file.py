# SPDX-License-Identifier: Apache-2.0
"""A file that a watch keeps for the next one, written in one step, and read only if it is nobody else's.

It is a line that names the format and has a checksum, which finds damage (owner and mode protect against attackers),
and JSON.
"""

import json
import os
from binascii import crc32

from ..errors import NotAFileError
from ..trust import is_only_ours, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = 256 * 1024 * 1024
_UNFIT = 'it is not a regular file, or it is too large, or others could write it'


def write_kept(path: str, format: bytes, content: 'Any', durable: bool = False) -> None:
    """Write what a later watch is to know.

    :param durable: see trust.write_file
    :raises OSError: it cannot be written
    """
    payload = json.dumps(content).encode('ascii')
    write_file(path, b'%s %08x\n%s' % (format, crc32(payload), payload), 0o600, durable)


def read_kept(path: str, format: bytes) -> 'Any':
    """What an earlier watch has written.

    :raises OSError, ValueError: it cannot be used
    """
    try:
        data = read_file(path, _MAX_BYTES, _check_ours, follow_links=False)
    except NotAFileError:
        raise ValueError(_UNFIT) from None
    if len(data) > _MAX_BYTES:
        raise ValueError(_UNFIT)
    head, _, payload = data.partition(b'\n')
    if not head.startswith(format + b' '):
        raise ValueError('it is of another version')
    if int(head[len(format) :], 16) != crc32(payload):
        raise ValueError('it is damaged')
    return json.loads(payload.decode('ascii'))


def _check_ours(path: str, status: os.stat_result) -> None:
    if not is_only_ours(status):
        raise ValueError(_UNFIT)
