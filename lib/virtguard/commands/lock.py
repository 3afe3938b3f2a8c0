# SPDX-License-Identifier: Apache-2.0
"""One command at a time: a lock that ends with its process, whatever ends that, and that tells who has it."""

import contextlib
import fcntl
import os
import time

from ..errors import GuardError
from .calling_user import calling_user
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_LONGEST = 120.0  # seconds to wait for others, who most often need less than one
_SILENT = 2.0  # of these, before the user is told
_STEP = 0.02


@contextlib.contextmanager
def locked(path: str, longest: float = _LONGEST, doing: str = 'is changing the policy') -> 'Iterator[None]':
    """Nobody else has the lock at `path` meanwhile. The file stays, and means nothing by itself.

    :param longest: seconds to wait for whoever has it
    :param doing: what whoever has it does, for those who wait
    :raises GuardError: somebody else has had it all the time, and who
    :raises OSError:
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait(path, descriptor, longest, doing)
        holder = '%s (process %d)' % (calling_user(), os.getpid())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode('utf-8', 'backslashreplace'), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(path: str, descriptor: int, longest: float, doing: str) -> None:
    began = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - began
        if waited >= longest:
            hint = 'try again when that has ended'
            raise GuardError('%s %s, and has %s locked' % (_holder(descriptor), doing, path), hint)
        if waited >= _SILENT and not told:
            told = True
            complain('virt-guard: %s %s; waiting for that to end' % (_holder(descriptor), doing))
        time.sleep(_STEP)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode('utf-8', 'replace') or 'somebody'
