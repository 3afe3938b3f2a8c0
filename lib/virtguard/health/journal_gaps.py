# SPDX-License-Identifier: Apache-2.0
"""When journald kept nothing, so that a record that is missing says nothing."""

import re
from bisect import bisect_left

from .condition import shown_time
from .journal_reader import read_journal, received, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

# journald's own, from <systemd/sd-messages.h>.
_STARTED = 'MESSAGE_ID=f77379a8490b408bbe5f6940505a777b'
_SUPPRESSED = 'MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e'
_ITS_OWN = '_TRANSPORT=driver'
_INTERVAL = 60.0  # seconds before it tells that it has suppressed messages; 30 by default
_NEXT = 0.000001  # seconds: the clock of the journal
_FIELDS = ('MESSAGE_ID',)
# journald counts by unit. Those that send the guard's records; anybody's may be suppressed. Older versions name a path.
_OF_GUARD = re.compile(
    r'Suppressed \d+ messages from (?:/system\.slice/)?(?:libvirtd|libvirt-bin|virtqemud|virt-guard[^/]*)\.service\s*\Z'
)


class Gaps:
    """Tells of single moments, none of them before `since`.

    :param answers: whether journald runs, and has kept all that it was sent
    :raises JournalError:
    """

    def __init__(self, since: float, answers: bool) -> None:
        own = ('--since=@%.6f' % since, _ITS_OWN)
        self._starts = sorted(map(received, read_journal(*own, _STARTED, fields=_FIELDS)))
        suppressed = read_journal(*own, _SUPPRESSED, fields=('MESSAGE',))
        self._suppressed = sorted(received(told) for told in suppressed if _OF_GUARD.match(text_of(told, 'MESSAGE')))
        newest = () if answers else read_journal('--reverse', '--lines=1', fields=_FIELDS)
        self._end = float('inf') if answers else max(map(received, newest), default=0.0)
        self._last_before: 'Dict[float, float]' = {}  # start of journald -> when the last entry before it was made

    def at(self, moment: float) -> str:
        """Why a record of that moment may be missing; '' if nothing says so.

        :raises JournalError:
        """
        if moment > self._end:
            return 'journald does not answer, and has kept nothing since %s' % shown_time(self._end)
        place = bisect_left(self._suppressed, moment)
        if self._suppressed[place : place + 1] and self._suppressed[place] <= moment + _INTERVAL:
            return 'journald had too many messages then, and left some out'
        start = next((start for start in self._starts if start > moment), None)
        if start is not None and moment > self._last_entry(start):
            return 'journald did not run until %s' % shown_time(start)
        return ''

    def _last_entry(self, start: float) -> float:
        if start not in self._last_before:
            last = read_journal('--until=@%.6f' % (start - _NEXT), '--reverse', '--lines=1', fields=_FIELDS)
            self._last_before[start] = max(map(received, last), default=0.0)
        return self._last_before[start]
