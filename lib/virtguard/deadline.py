# SPDX-License-Identifier: Apache-2.0
"""How long judging may take, and how much memory. Reads /proc; no clean start of a domain imports it.

Three times are counted apart, because they have different causes: the time that the guard waits for something (its
input, a probe, a disk); the time that it works, which the policy or the document causes; and the time that it waits for
a processor, which does not count: a start is not refused because the host is busy.
"""

import os
import time

from .errors import Expired, TooSlow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple, Union

MEMORY = 1 << 30  # bytes that judging one document may take
# In deadlines. A call that has not ended by then fails, even if it is only slow because the host is busy.
_PATIENCE = 30
_TICKS = 100.0  # a second, in /proc: USER_HZ, the same on every architecture that libvirt runs KVM on


class Clock:
    """The time that a process takes, from `began` on (time.monotonic).

    :param pid: its number
    :param waited: the seconds that were waited before it began, and count, too
    """

    def __init__(self, began: float, pid: 'Union[int, str]' = 'self', waited: float = 0.0) -> None:
        self._began = began
        self._pid = pid
        self._waited = waited
        self._worked_before = 0.0

    def begin_stage(self) -> None:
        """Do not count the work done so far against the next stage."""
        self._worked_before = (_times(self._pid) or (0.0, 0.0))[0]

    def waited(self) -> float:
        """How long it has waited for something else than a processor."""
        worked, queued = _times(self._pid) or (0.0, 0.0)
        return self._waited + max(time.monotonic() - self._began - worked - queued, 0.0)

    def left(self, deadline: float, judging: bool) -> float:
        """The seconds after which to ask again.

        :raises TooSlow: it has worked on the document for longer than `deadline`
        :raises Expired: it has waited, or worked on something else, for longer than `deadline`
        """
        times = _times(self._pid)
        elapsed = time.monotonic() - self._began
        worked, queued = times or (0.0, 0.0)
        waits = deadline - (self._waited + elapsed - worked - queued)
        works = deadline - (worked - self._worked_before)
        ends = _PATIENCE * deadline - elapsed
        if judging and (works <= 0 or ends <= 0 or (waits <= 0 and times is None)):
            raise TooSlow('%g seconds of processor time' % deadline if works <= 0 else '%g seconds' % elapsed)
        if min(works, waits, ends) <= 0:
            raise Expired
        return max(min(works, waits, ends), 0.01)


def memory(pid: 'Union[int, str]' = 'self') -> int:
    """The bytes that a process has in memory; 0 where the kernel does not say."""
    return (_read('/proc/%s/statm' % pid)[1:2] or (0,))[0] * os.sysconf('SC_PAGE_SIZE')


def too_much_memory() -> str:
    """What to say of a document that takes more than MEMORY."""
    return 'judging takes more than %d MiB of memory' % (MEMORY >> 20)


def _times(pid: 'Union[int, str]') -> 'Optional[Tuple[float, float]]':
    """How long a process has run, and has waited to run; None where the kernel does not say."""
    worked, queued = _read('/proc/%s/schedstat' % pid)[:2] or (0, 0)
    if worked:
        return worked / 1e9, queued / 1e9
    fields = _read('/proc/%s/stat' % pid)
    return ((fields[10] + fields[11]) / _TICKS, 0.0) if len(fields) > 11 else None


def _read(path: str) -> 'Tuple[int, ...]':
    try:
        with open(path, 'rb') as file:
            # Before it, stat has the program's name, which may contain any character, and a letter.
            words = file.read(4096).rpartition(b') ')[2].split()
    except OSError:
        return ()
    return tuple(int(word) for word in words if word.lstrip(b'-').isdigit())
