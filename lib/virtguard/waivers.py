# SPDX-License-Identifier: Apache-2.0
"""Waivers: which one speaks of a finding, and whether it is in force. Pure: no I/O, and no clock: the day is given.

Days are texts, YYYY-MM-DD, so that their order as texts is their order in time. They are counted without datetime, and
texts are read without re: importing these costs a start more than all that is done here.
"""

from . import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, Dict, List, Optional, Sequence, Union

MAX_DAYS_AHEAD = 400
WARNING_DAYS = 14

_TODAY = model.Phrase('expires today')
_LAST_DAY = '9999-12-31'
_FIRST_MONTH = 3  # years are counted from March, so that the day which not every year has is the last one


def parse_day(text: str) -> 'Optional[str]':
    """The day that a text names as YYYY-MM-DD; None where it names none."""
    parts = text.split('-')
    if [len(part) for part in parts] != [4, 2, 2] or ''.join(parts).strip('0123456789') or parts[0] == '0000':
        return None
    return text if _day(_number(text)) == text else None  # not so for 30 February


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID, in lower case."""
    parts = text.split('-')
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and not ''.join(parts).strip('0123456789abcdef')


def names_alone(waiver: model.Waiver) -> 'List[str]':
    """The names of domains that a waiver speaks of, whatever their UUID."""
    return [entry for entry in waiver.domains if isinstance(entry, str) and not is_uuid(entry)]


def uuids_not_among(waiver: model.Waiver, uuids: 'Container[str]') -> 'List[str]':
    """The UUIDs that a waiver names and that are not among these (in lower case)."""
    named = [entry if isinstance(entry, str) else entry[0] for entry in waiver.domains]
    return [uuid for uuid in named if is_uuid(uuid) and uuid not in uuids]


def days_until(day: str, today: str) -> int:
    """How many days there are from today to a day; negative where that is past."""
    return _number(day) - _number(today)


def days_left(waiver: model.Waiver, today: str) -> int:
    """How many days the waiver holds after today; negative where it has expired."""
    return days_until(waiver.expires, today)


def expires_soon(waiver: model.Waiver, today: str) -> bool:
    """Whether a waiver holds, but not for long."""
    return 0 <= days_left(waiver, today) <= WARNING_DAYS


def latest_expiry(today: str) -> str:
    """The last day that a waiver may name."""
    return _day(min(_number(today) + MAX_DAYS_AHEAD, _number(_LAST_DAY)))


def next_day(day: str) -> str:
    """The day after, on which what ends with that day does not hold any more."""
    return _day(min(_number(day) + 1, _number(_LAST_DAY)))


def _number(day: str) -> int:
    """The days from one day long ago to another."""
    year, month, day_of_month = map(int, day.split('-'))
    year, month = (year, month - _FIRST_MONTH) if month >= _FIRST_MONTH else (year - 1, month + 12 - _FIRST_MONTH)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day_of_month


def _day(number: int) -> str:
    """The opposite of _number."""
    year = (number - 1) * 400 // 146097
    while _number('%04d-03-01' % (year + 1)) <= number:
        year += 1
    while _number('%04d-03-01' % year) > number:
        year -= 1
    since = number - _number('%04d-03-01' % year)
    month = (5 * since + 2) // 153
    day_of_month = since - (153 * month + 2) // 5 + 1
    month += _FIRST_MONTH
    year, month = (year, month) if month <= 12 else (year + 1, month - 12)
    return '%04d-%02d-%02d' % (year, month, day_of_month)


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
        message = model.Phrase('%s (%s)', model.as_phrase(finding.message), why_not) if why_not else finding.message
        return model.Finding(
            finding.rule, status, finding.path, finding.line, finding.evidence, message, waiver, finding.more
        )

    def _why_not(self, waiver: model.Waiver) -> 'Union[model.Phrase, str]':
        """Why a waiver is not in force; '' where it is."""
        if waiver.expires < self._today:
            return model.Phrase('its waiver by %s expired on %s', waiver.approved_by, waiver.expires)
        if waiver.expires > latest_expiry(self._today):
            days = (MAX_DAYS_AHEAD, waiver.approved_by, waiver.expires)
            return model.Phrase('more than %d days ahead, so not in force: its waiver by %s until %s', *days)
        return ''


def _speaks_of(waiver: model.Waiver, name: str, uuid: str) -> bool:
    return any(_is_spoken_of(entry, name, uuid.lower()) for entry in waiver.domains)


def _is_spoken_of(entry: 'model.DomainEntry', name: str, uuid: str) -> bool:
    if isinstance(entry, str):
        return uuid == entry if is_uuid(entry) else matches_glob(name, entry)
    return uuid == entry[0] and matches_glob(name, entry[1])


def matches_glob(name: str, glob: str) -> bool:
    """What fnmatchcase answers, which needs re."""
    begin, star, rest = glob.partition('*')
    if not rest and '?' not in begin and '[' not in begin:
        return name.startswith(begin) if star else name == glob
    from fnmatch import fnmatchcase

    return fnmatchcase(name, glob)


def describe(waiver: model.Waiver, today: str) -> model.Phrase:
    """A waiver in one line: what a reader of a record must know of it."""
    texts: 'List[object]' = [model.Phrase('approved by %s until %s', waiver.approved_by, waiver.expires)]
    if expires_soon(waiver, today):
        left = days_left(waiver, today)
        texts.append(model.Phrase('%d day left' if left == 1 else '%d days left', left) if left else _TODAY)
    texts += [waiver.ticket] if waiver.ticket else []
    return model.Phrase(', '.join(['%s'] * len(texts)) + ': %s', *texts, waiver.reason)
