# SPDX-License-Identifier: Apache-2.0
"""How long a call of the hook has waited, and how much memory it takes. Reads /proc; no clean start imports it.

What may take long has three causes, and each has its own limit. The guard waits for something: its input, or a device
that it asks for something. That is limited by the clock on the wall, and measured here. The guard works, which the
policy or the document causes. That is limited by the time of a processor, and the kernel measures it (ITIMER_PROF).
The guard waits for a processor, or is stopped. That is nobody's fault, and a start is not refused because the host is
busy; only hook/call's patience ends some time.
"""

import os
import time

from .errors import Expired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple, Union

MEMORY = 1 << 30  # bytes that judging one document may take
_TICKS = 100.0  # a second, in /proc: USER_HZ, the same on every architecture that libvirt runs KVM on


class Clock:
    """How long a process waits for something else than a processor, in the stages in which it may wait.

    :param pid: its number
    :param waiting_since: when it began to wait (time.monotonic), if it does
    """

    def __init__(self, pid: 'Union[int, str]' = 'self', waiting_since: 'Optional[float]' = None) -> None:
        self._pid = pid
        self._waited = 0.0  # in earlier stages
        self._idle_since = waiting_since

    def begin_stage(self, waits: bool, continues: bool = False) -> None:
        """Note that a stage begins.

        :param waits: whether the process may wait in it
        :param continues: whether what it has waited before counts
        """
        self._waited = self._waited_so_far() if continues else 0.0
        self._idle_since = self._idle() if waits else None

    def left(self, deadline: float) -> float:
        """The seconds after which to ask again; all of `deadline` in a stage in which it does not wait.

        :raises Expired: it has waited for longer than `deadline`
        """
        if self._idle_since is None:
            return deadline
        left = deadline - self._waited_so_far()
        if left <= 0:
            raise Expired
        return max(left, 0.01)

    def _waited_so_far(self) -> float:
        now = 0.0 if self._idle_since is None else max(self._idle() - self._idle_since, 0.0)
        return self._waited + now

    def _idle(self) -> float:
        """A clock that stands still while the process works, or waits for a processor."""
        worked, queued = _times(self._pid)
        return time.monotonic() - worked - queued


def memory(pid: 'Union[int, str]' = 'self') -> int:
    """The bytes that a process has in memory; 0 where the kernel does not say."""
    return (_read('/proc/%s/statm' % pid)[1:2] or (0,))[0] * os.sysconf('SC_PAGE_SIZE')


def too_much_memory() -> str:
    """What to say of a document that takes more than MEMORY."""
    return 'judging takes more than %d MiB of memory' % (MEMORY >> 20)


def _times(pid: 'Union[int, str]') -> 'Tuple[float, float]':
    """How long a process has run, and has waited to run; 0 where the kernel does not say."""
    worked, queued = _read('/proc/%s/schedstat' % pid)[:2] or (0, 0)
    if worked:
        return worked / 1e9, queued / 1e9
    fields = _read('/proc/%s/stat' % pid)
    return ((fields[10] + fields[11]) / _TICKS, 0.0) if len(fields) > 11 else (0.0, 0.0)


def _read(path: str) -> 'Tuple[int, ...]':
    try:
        with open(path, 'rb') as file:
            # Before it, stat has the program's name, which may contain any character, and a letter.
            words = file.read(4096).rpartition(b') ')[2].split()
    except OSError:
        return ()
    return tuple(int(word) for word in words if word.lstrip(b'-').isdigit())
