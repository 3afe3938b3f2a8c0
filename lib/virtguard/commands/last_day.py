# SPDX-License-Identifier: Apache-2.0
"""The last day of what is permitted for a while, as a user types it."""

import re
from datetime import date, timedelta

from ..errors import GuardError
from ..host import today
from ..waivers import MAX_DAYS_AHEAD, latest_expiry, parse_day

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_AHEAD = re.compile(r'\+([0-9]{1,4})d?\Z')


def read_last_day(text: str) -> str:
    """The day that a text names, which may count from today.

    :raises GuardError: it is not a day, it is over, or it is too far ahead
    """
    ahead = _AHEAD.match(text)
    if text == 'today':
        day: 'Optional[str]' = today()
    elif ahead is not None:
        day = str(date(*map(int, today().split('-'))) + timedelta(int(ahead.group(1))))
    else:
        day = parse_day(text)
    if day is None:
        raise GuardError('%r is not a day of the calendar' % text, 'write it like 2027-01-31, today, or +30d')
    if day < today():
        raise GuardError('%s is over' % day, 'today is %s' % today())
    if day > latest_expiry(today()):
        hint = 'until %s at the latest; renew it then' % latest_expiry(today())
        raise GuardError('%s is more than %d days ahead' % (day, MAX_DAYS_AHEAD), hint)
    return day
