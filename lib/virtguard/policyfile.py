# SPDX-License-Identifier: Apache-2.0
"""Policy file -> bytes, only where nobody but root (or the caller) could have written it."""

import os
import stat

from .errors import PolicyFileError
from .trust import check_ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

MAX_POLICY_BYTES = 1024 * 1024


def read_policy_file(path: str) -> bytes:
    """Read a policy from any file that the caller may read.

    :raises PolicyFileError: it is missing, unreadable, not a regular file, or larger than MAX_POLICY_BYTES
    """
    return _read(path, trusted=False)


def read_trusted_policy_file(path: str) -> bytes:
    """Read a policy that decides about starts.

    :raises PolicyFileError: also where the file or a directory on the way to it belongs to somebody else, or others
        may write to it
    """
    for directory in directories(path):
        check_ownership(directory, os.stat(directory))
    return _read(path, trusted=True)


def _read(path: str, trusted: bool) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise PolicyFileError('cannot read the policy %s: %s' % (path, error.strerror)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PolicyFileError('the policy %s is not a regular file' % path)
        if trusted:
            check_ownership(path, status)
        data = _read_all(descriptor)
    finally:
        os.close(descriptor)
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileError('the policy %s is larger than %d bytes' % (path, MAX_POLICY_BYTES))
    return data


def _read_all(descriptor: int) -> bytes:
    data = b''
    while len(data) <= MAX_POLICY_BYTES:
        chunk = os.read(descriptor, MAX_POLICY_BYTES + 1 - len(data))
        if not chunk:
            break
        data += chunk
    return data


def directories(path: str) -> 'List[str]':
    """Every directory that has a say in what `path` names, links included."""
    found = set()
    for start in (os.path.abspath(path), os.path.realpath(path)):
        directory = os.path.dirname(start)
        while directory not in found and os.path.isdir(directory):
            found.add(directory)
            directory = os.path.dirname(directory)
    return sorted(found)
