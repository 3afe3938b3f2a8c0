# SPDX-License-Identifier: Apache-2.0
"""What the guard's own records say: the verdicts on starts, and since when there was a guard to be asked."""

import calendar
import os
import re
import time
from bisect import bisect_right
from functools import lru_cache
from operator import itemgetter

from .. import journal, model
from ..errors import NotAFileError
from ..trust import read_file
from ..wording import ascii_only, escape
from .journal_reader import OF_STARTS, STARTS, read_records, text_of, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

    from ..policy.installation import Installation

_ONCE = ('VIRT_GUARD_DECISION', 'VIRT_GUARD_DOMAIN', 'VIRT_GUARD_OPERATION')  # in the record of a start
_FIELDS = (*_ONCE, 'MESSAGE')
_TIME = '_SOURCE_REALTIME_TIMESTAMP'
_SINCE = '--since=@%.6f'
_MOST_IN_FILE = 16 << 20
_FIELD = re.compile(r' (VIRT_GUARD_[A-Z0-9_]+)=')
_STAMP = '%Y-%m-%dT%H:%M:%S%z'
_REMOVED = 'removed'
_REFUSED = 'could not be judged and is refused'


class GuardRecords:
    """`present_since` is when there was a guard first, as far as anything tells."""

    __slots__ = ('present_since', '_verdicts', '_changed', '_is_present')

    def __init__(
        self, verdicts: 'Iterable[Tuple[str, float, bool]]', changes: 'Iterable[Tuple[float, str]]', seen: float
    ) -> None:
        """Take what was recorded.

        :param verdicts: of domains: the name as it is shown, when, and whether the start was admitted
        :param changes: of the guard: when, and what was done: installed, upgraded, removed
        :param seen: when the files of the guard, or a record of the hook, tell that it was there
        """
        self._verdicts: 'Dict[str, List[Tuple[float, bool]]]' = {}
        for name, moment, is_admitted in sorted(verdicts, key=itemgetter(1, 2)):
            self._verdicts.setdefault(name, []).append((moment, is_admitted))
            seen = min(seen, moment)
        events = sorted(changes)
        # What was upgraded or removed had been there before.
        self.present_since = min([seen] + [moment for moment, _ in events[:1]])
        if events and events[0][1] == 'installed':
            self.present_since = min([events[0][0]] + [found[0][0] for found in self._verdicts.values()])
        self._changed, self._is_present = [self.present_since], [True]
        calls = [(moment, '') for found in self._verdicts.values() for moment, _ in found]
        for moment, change in sorted(events + calls):
            if (change != _REMOVED) != self._is_present[-1] and moment >= self.present_since:
                self._changed.append(moment)
                self._is_present.append(change != _REMOVED)

    def was_present(self, moment: float) -> bool:
        """Whether there was a guard then."""
        place = bisect_right(self._changed, moment)
        return place > 0 and self._is_present[place - 1]

    def is_admitted(self, domain: str, after: float, until: float) -> bool:
        """Whether the last verdict on a start of this domain in a span of time has admitted it."""
        verdicts = self._verdicts.get(_shown(domain), [])
        place = bisect_right(verdicts, (until, True))
        return place > 0 and verdicts[place - 1][0] > after and verdicts[place - 1][1]


def read_guard_records(installation: 'Installation', since: float, all_sinks: bool = False) -> GuardRecords:
    """The records since a time, and all that was recorded of the guard itself.

    :param all_sinks: also those that no journald has taken by its own protocol
    :raises JournalError:
    """
    seen = min(_times_of_files(installation), default=float('inf'))
    verdicts = []
    for moment, fields in _found(installation, since, all_sinks):
        operation = fields.get('VIRT_GUARD_OPERATION')
        if operation in STARTS:
            seen = min(seen, moment)
        if operation == 'start' and 'VIRT_GUARD_DOMAIN' in fields:
            verdicts.append((_shown(fields['VIRT_GUARD_DOMAIN']), moment, is_admitted(fields)))
    changed = 'MESSAGE_ID=' + journal.MESSAGE_IDS[model.GUARD_CHANGED]
    changes = [
        (time_of(record), text_of(record, 'VIRT_GUARD_CHANGE'))
        for record in read_records(changed, fields=('VIRT_GUARD_CHANGE', _TIME))
    ]
    return GuardRecords(verdicts, changes, seen)


def _found(installation: 'Installation', since: float, all_sinks: bool) -> 'Iterator[Tuple[float, Mapping[str, str]]]':
    """When each record was made, and its fields."""
    for record in read_records(_SINCE % since, *OF_STARTS, fields=(*_FIELDS, _TIME)):
        yield time_of(record), {name: text_of(record, name) for name in _FIELDS}
    if all_sinks:
        for line in read_records(_SINCE % since, '_TRANSPORT=syslog', fields=('MESSAGE', _TIME)):
            yield time_of(line), fields_of_line(text_of(line, 'MESSAGE'))
        yield from ((moment, record) for moment, record in _in_file(installation.log) if moment >= since)


def is_admitted(fields: 'Mapping[str, str]') -> bool:
    """Whether a record, of `prepare` or `start`, says that the domain may start."""
    decision = fields.get('VIRT_GUARD_DECISION')
    if decision != model.ERROR:
        return decision != model.DENY
    if fields.get('VIRT_GUARD_OPERATION') == 'prepare':
        return False  # what is admitted without being judged is recorded by `start`
    refused = "domain '%s' %s" % (_shown(fields['VIRT_GUARD_DOMAIN']), _REFUSED)
    return not ascii_only(fields.get('MESSAGE', '')).startswith(refused)


@lru_cache(maxsize=4096)  # a few domains have nearly all of the records
def _shown(name: str) -> str:
    """A name as records show it that are one line of text."""
    return ascii_only(escape(name))


def _times_of_files(installation: 'Installation') -> 'Iterator[float]':
    for path in (installation.program, installation.policy):
        try:
            yield os.stat(path).st_ctime
        except OSError:
            continue


def _in_file(path: str) -> 'Iterator[Tuple[float, Dict[str, str]]]':
    """What the last of all sinks has taken."""
    try:
        data = read_file(path, _MOST_IN_FILE, follow_links=False)
    except (NotAFileError, OSError):
        return
    for line in data.decode('ascii', 'replace').splitlines():
        stamp, _, text = line.partition(' ')
        moment = _stamped(stamp)
        if moment is not None:
            yield moment, fields_of_line(text)


def _stamped(stamp: str) -> 'Optional[float]':
    try:
        read = time.strptime(stamp, _STAMP)
    except ValueError:
        return None
    return float(calendar.timegm(read) - (read.tm_gmtoff or 0))


def fields_of_line(text: str) -> 'Dict[str, str]':
    """The fields in a line of text, see journal; {} where a name of a domain may have forged some of them.

    Of a start, the message comes first, and names the domain, and the decision is the first field after it. So a name
    that looks like fields puts one before the decision, or looks like another decision.
    """
    message, *pairs = _FIELD.split(text)
    names = pairs[::2]
    if names[:1] != [_ONCE[0]] or any(names.count(name) > 1 for name in _ONCE):
        return {}
    return dict(zip(names, pairs[1::2]), MESSAGE=message)
