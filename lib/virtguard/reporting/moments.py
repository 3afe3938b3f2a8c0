# SPDX-License-Identifier: Apache-2.0
"""Times, as journalctl takes them on its command line, and as a report shows them: local, with the zone."""

import calendar
import re
import time

from ..errors import GuardError
from ..model import Phrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Match, Optional, Tuple

_DAY = re.compile(r'(\d{4})-(\d\d)-(\d\d)\Z')
_TIME = re.compile(r'(?:(\d{4}-\d\d-\d\d)[ T])?(\d\d):(\d\d)(?::(\d\d))?(?: ?(Z|UTC|[+-]\d\d:?\d\d))?\Z')
_SPAN = re.compile(r'(\d{1,6}) ?([a-z]+)\Z')
_EPOCH = re.compile(r'@(\d{1,12})\Z')
_UTC = re.compile(r'\b(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)Z')
_AGO = re.compile(r'(?:-(\d{1,6}) ?([a-z]+)|(\d{1,6}) ?([a-z]+) ago)\Z')
# As systemd.time(7) has them.
_UNITS = {
    1.0: 's sec second seconds',
    60.0: 'm min minute minutes',
    3600.0: 'h hr hour hours',
    86400.0: 'd day days',
    604800.0: 'w week weeks',
    2629800.0: 'month months',
    31557600.0: 'y year years',
}
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names.split()}
_DAYS_FROM_TODAY = {'yesterday': -1, 'today': 0, 'tomorrow': 1}
_HINT = 'write it like 2027-01-31, "2027-01-31 14:30", 14:30, today, yesterday or "7 days ago"'


class Period:
    """The time that a report is about: from `since` (None: from the first record), and before `until`."""

    __slots__ = ('since', 'until')

    def __init__(self, since: 'Optional[float]', until: float) -> None:
        self.since = since
        self.until = until

    def holds(self, moment: float) -> bool:
        return (self.since is None or self.since <= moment) and moment < self.until


def parse_period(since: 'Optional[str]', until: 'Optional[str]', now: float) -> Period:
    """The period that the options `--since` and `--until` name; it ends now at the latest.

    :raises GuardError: one of them is not a time, or the period would be empty
    """
    begin = None if since is None else _parsed('--since', since, now)
    # What is recorded in this very second belongs to it, too.
    end = now + 1.0 if until is None else min(_parsed('--until', until, now), now + 1.0)
    if begin is not None and begin > now:
        raise GuardError('--since: %s is in the future: nothing is recorded from then on' % shown(begin))
    if begin is not None and begin >= end:
        told = (shown(begin), shown(end))
        raise GuardError('--since: %s is not before --until: %s' % told, 'a day alone stands for its first moment')
    return Period(begin, end)


def parse_span(option: str, text: str) -> float:
    """How long, in seconds.

    :raises GuardError: it is not a span of time
    """
    match = _SPAN.match(text.strip())
    if match is None or match.group(2) not in _SECONDS or not int(match.group(1)):
        raise GuardError('%s: %r is not a span of time' % (option, text), 'write it like 36h, "2 days" or 90min')
    return int(match.group(1)) * _SECONDS[match.group(2)]


def shown(moment: float) -> str:
    """A time, as people read it and as `--since` takes it."""
    return time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(moment))


def in_local_time(text: str) -> str:
    """Text of a record, in which times are in UTC, with these times as a report shows them."""
    return _UTC.sub(_local_instead, text)


def _local_instead(found: 'Match[str]') -> str:
    day, hour, minute, second = found.groups()
    try:
        return shown(_in_zone(day, (int(hour), int(minute), int(second)), 'Z'))
    except (ValueError, OverflowError):  # it only looks like a time
        return found.group()


def shown_span(seconds: float) -> str:
    """How long something took: '3 days 4 h', '4 h 12 min', '40 s'."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return Phrase('%d day %d h' if days == 1 else '%d days %d h', days, hours)
    if hours:
        return Phrase('%d h %d min', hours, minutes)
    return Phrase('%d min %d s', minutes, left) if minutes else Phrase('%d s', left)


def _parsed(option: str, text: str, now: float) -> float:
    try:
        moment = _moment(text.strip(), now)
    except (ValueError, OverflowError):
        raise GuardError('%s: there is no such time as %r' % (option, text), _HINT) from None
    if moment is None:
        raise GuardError('%s: %r is not a time' % (option, text), _HINT)
    return moment


def _moment(text: str, now: float) -> 'Optional[float]':
    if text == 'now':
        return now
    if text in _DAYS_FROM_TODAY:
        return _local(_today(now), 0, 0, 0, _DAYS_FROM_TODAY[text])
    if _DAY.match(text):
        return _local(text, 0, 0, 0)
    match = _EPOCH.match(text)
    if match:
        return float(match.group(1))
    match = _TIME.match(text)
    if match:
        day, hour, minute, second, zone = match.groups()
        clock = (int(hour), int(minute), int(second or 0))
        return _local(day or _today(now), *clock) if zone is None else _in_zone(day or _today(now), clock, zone)
    match = _AGO.match(text)
    if match:
        number, unit = match.group(1, 2) if match.group(1) else match.group(3, 4)
        return now - int(number) * _SECONDS[unit] if unit in _SECONDS else None
    return None


def _today(now: float) -> str:
    return time.strftime('%Y-%m-%d', time.localtime(now))


def _local(day: str, hour: int, minute: int, second: int, days: int = 0) -> float:
    date = time.strptime('%s %02d:%02d:%02d' % (day, hour, minute, second), '%Y-%m-%d %H:%M:%S')
    return time.mktime((date.tm_year, date.tm_mon, date.tm_mday + days, hour, minute, second, 0, 0, -1))


def _in_zone(day: str, clock: 'Tuple[int, int, int]', zone: str) -> float:
    date = time.strptime('%s %02d:%02d:%02d' % ((day,) + clock), '%Y-%m-%d %H:%M:%S')
    if zone in ('Z', 'UTC'):
        return float(calendar.timegm(date))
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    ahead = (hours * 3600 + minutes * 60) * (-1 if zone[0] == '-' else 1)
    return float(calendar.timegm(date) - ahead)
