# SPDX-License-Identifier: Apache-2.0
"""Waivers: which one speaks of a finding, and whether it is in force. Pure: no I/O, and no clock: the day is given.

Days are texts, YYYY-MM-DD, so that their order as texts is their order in time.
"""

import re
from datetime import date, timedelta
from fnmatch import fnmatchcase

from .. import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, Dict, List, Optional, Sequence

MAX_DAYS_AHEAD = 400
WARNING_DAYS = 14

_DAY = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}\Z')
_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z')


def parse_day(text: str) -> 'Optional[str]':
    """The day that a text names as YYYY-MM-DD; None where it names none."""
    try:
        return str(_date(text)) if _DAY.match(text) else None
    except ValueError:  # 30 February
        return None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID, in lower case."""
    return _UUID.match(text) is not None


def names_alone(waiver: model.Waiver) -> 'List[str]':
    """The names of domains that a waiver speaks of, whatever their UUID."""
    return [entry for entry in waiver.domains if isinstance(entry, str) and not is_uuid(entry)]


def uuids_not_among(waiver: model.Waiver, uuids: 'Container[str]') -> 'List[str]':
    """The UUIDs that a waiver names and that are not among these (in lower case)."""
    named = [entry if isinstance(entry, str) else entry[0] for entry in waiver.domains]
    return [uuid for uuid in named if is_uuid(uuid) and uuid not in uuids]


def days_left(waiver: model.Waiver, today: str) -> int:
    """How many days the waiver holds after today; negative where it has expired."""
    return (_date(waiver.expires) - _date(today)).days


def expires_soon(waiver: model.Waiver, today: str) -> bool:
    """Whether a waiver holds, but not for long."""
    return 0 <= days_left(waiver, today) <= WARNING_DAYS


def latest_expiry(today: str) -> str:
    """The last day that a waiver may name."""
    try:
        return str(_date(today) + timedelta(MAX_DAYS_AHEAD))
    except OverflowError:  # in the year 9999
        return str(date.max)


def _date(day: str) -> date:
    year, month, day_of_month = day.split('-')
    return date(int(year), int(month), int(day_of_month))


class Waivers:
    """The waivers of one policy, as they stand on one day."""

    def __init__(self, waivers: 'Sequence[model.Waiver]', today: str) -> None:
        self._today = today
        self._by_rule: 'Dict[str, List[model.Waiver]]' = {}
        for waiver in waivers:
            for rule in waiver.rules:
                self._by_rule.setdefault(rule, []).append(waiver)

    def apply(self, finding: model.Finding, name: str, uuid: str) -> model.Finding:
        """What a waiver makes of a finding in the domain of that name and UUID; the finding itself if there is none.

        A waiver that is not in force is named, too, so that a person sees why a domain that started yesterday does
        not start today. An error is never waived: nobody knows what the rule would have found.
        """
        if finding.status == model.ERROR or not finding.rule.waivable:
            return finding
        speaking = [w for w in self._by_rule.get(finding.rule.id, ()) if _speaks_of(w, name, uuid)]
        if not speaking:
            return finding
        # Take one that is in force, and of several that are, the one that lasts longest.
        why_not, waiver = max(
            ((self._why_not(w), w) for w in speaking), key=lambda pair: (not pair[0], pair[1].expires)
        )
        status = finding.status if why_not else model.WAIVED
        message = finding.message + (' (%s)' % why_not if why_not else '')
        return model.Finding(
            finding.rule, status, finding.path, finding.line, finding.evidence, message, waiver, finding.more
        )

    def _why_not(self, waiver: model.Waiver) -> str:
        """Why a waiver is not in force; '' where it is."""
        if waiver.expires < self._today:
            return 'its waiver by %s expired on %s' % (waiver.approved_by, waiver.expires)
        if waiver.expires > latest_expiry(self._today):
            days = (MAX_DAYS_AHEAD, waiver.approved_by, waiver.expires)
            return 'more than %d days ahead, so not in force: its waiver by %s until %s' % days
        return ''


def _speaks_of(waiver: model.Waiver, name: str, uuid: str) -> bool:
    return any(_is_spoken_of(entry, name, uuid.lower()) for entry in waiver.domains)


def _is_spoken_of(entry: 'model.DomainEntry', name: str, uuid: str) -> bool:
    if isinstance(entry, str):
        return uuid == entry if is_uuid(entry) else fnmatchcase(name, entry)
    return uuid == entry[0] and fnmatchcase(name, entry[1])


def describe(waiver: model.Waiver, today: str) -> str:
    """A waiver in one line: what a reader of a record must know of it."""
    texts = ['approved by %s until %s' % (waiver.approved_by, waiver.expires)]
    if expires_soon(waiver, today):
        left = days_left(waiver, today)
        texts.append('expires today' if not left else '%d day%s left' % (left, '' if left == 1 else 's'))
    texts += [waiver.ticket] if waiver.ticket else []
    return '%s: %s' % (', '.join(texts), waiver.reason)
