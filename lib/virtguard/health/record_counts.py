# SPDX-License-Identifier: Apache-2.0
"""How many records of each kind the guard has made, counted from the journal: the hook itself writes down no numbers.

A file keeps the counts together with the place in the journal up to which they were counted, so that no record is
counted twice, whatever interrupts this. Whoever reads the counts takes a smaller one for a restart at zero, and would
count anew all that it says. So it is zero then: without that file, what is in the journal already is not counted.
"""

import time

from .. import model
from ..errors import GuardError
from ..watch.kept_file import read_kept, write_kept
from .journal_reader import STARTS, read_records, text_of, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, Optional, Tuple

    from .journal_reader import Record

DECISIONS = (model.ADMIT, model.DENY, model.WOULD_DENY, model.ERROR)
OTHERS = 'others'
_MOST_RULES = 200  # that are told apart: a policy has some dozens
_FORMAT = b'virt-guard counts 1'
_FIELDS = ('VIRT_GUARD_DECISION', 'VIRT_GUARD_OPERATION', 'VIRT_GUARD_RULE', 'VIRT_GUARD_FINDING')
_STATUSES = frozenset((model.DENY, model.WARN, model.WAIVED, model.UNKNOWN, model.ERROR))
_CURSOR_CHARACTERS = frozenset('0123456789abcdef=;simtbx')


class Counts:
    """`decisions`: of verdicts on starts. `happened`: findings of the watch, by rule and status.

    `cursor` is the last record that was counted, as journald names it; '': there is none since `since`, in seconds
    since the epoch.
    """

    __slots__ = ('cursor', 'since', 'decisions', 'happened')

    def __init__(
        self, cursor: str, since: float, decisions: 'Dict[str, int]', happened: 'Dict[Tuple[str, str], int]'
    ) -> None:
        self.cursor = cursor
        self.since = since
        self.decisions = dict({decision: 0 for decision in DECISIONS}, **decisions)
        self.happened = happened

    def add(self, records: 'Iterable[Record]') -> None:
        """Count those of these records, oldest first, that come after the last one."""
        for record in records:
            cursor = str(record.get('__CURSOR', ''))
            if cursor and not _is_counted(cursor, self.cursor):
                self.cursor = cursor
                self._count(record)

    def _count(self, record: 'Record') -> None:
        decision = str(record.get('VIRT_GUARD_DECISION', ''))
        if decision in DECISIONS:
            if text_of(record, 'VIRT_GUARD_OPERATION') not in STARTS:
                return  # a complaint of the watch is no verdict
            self.decisions[decision] += 1
        elif decision == model.HAPPENED:
            rule = (values_of(record, 'VIRT_GUARD_RULE') or [''])[0]
            status = (values_of(record, 'VIRT_GUARD_FINDING') or [''])[0].partition(' ')[0]
            key = (rule, status if status in _STATUSES else model.UNKNOWN)
            if key not in self.happened and len(self.happened) >= _MOST_RULES:
                key = (OTHERS, model.UNKNOWN)
            self.happened[key] = self.happened.get(key, 0) + 1


def count_records(path: str) -> Counts:
    """The counts until now, which the file at `path` keeps from now on. Only one process at a time may do so.

    :raises JournalError: the journal cannot be read; the counts of the last time still hold
    :raises GuardError: they cannot be kept
    """
    kept = kept_counts(path)
    if kept is None:
        counts = _new_counts()
    else:
        counts = Counts(kept.cursor, kept.since, kept.decisions, dict(kept.happened))
        counts.add(_records_since(counts))
    if kept is None or counts.cursor != kept.cursor:
        try:
            # On the disk before anybody sees the counts: after a loss of power, older ones would be smaller.
            write_kept(path, _FORMAT, _packed(counts), durable=True)
        except OSError as error:
            raise GuardError('%s cannot be written: %s' % (path, error.strerror)) from None
    return counts


def kept_counts(path: str) -> 'Optional[Counts]':
    """The counts of the last time; None where there is no file that can be used."""
    try:
        return _unpacked(read_kept(path, _FORMAT))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _new_counts() -> Counts:
    last: 'Record' = next(_read('--reverse', '--lines=1'), {})
    return Counts(str(last.get('__CURSOR', '')), time.time(), {}, {})


def _records_since(counts: Counts) -> 'Iterator[Record]':
    # With that record, and not after it: where the journal has lost it, some versions would leave out another one.
    return _read('--cursor=' + counts.cursor if counts.cursor else '--since=@%d' % counts.since)


def _read(*arguments: str) -> 'Iterator[Record]':
    return read_records(*arguments, fields=_FIELDS)


def _is_counted(cursor: str, last: str) -> bool:
    """Whether a record is the last one that was counted, or one before it. journald copies records to other files, so
    of its name for a record only that counts which stays: the boot, the time since then, the hash of the content."""
    if not last:
        return False
    one, other = _parts(cursor), _parts(last)
    if one.get('b') != other.get('b'):
        return False
    moment, latest = int(one.get('m', '0'), 16), int(other.get('m', '0'), 16)
    return moment < latest or moment == latest and one.get('x') == other.get('x')


def _parts(cursor: str) -> 'Dict[str, str]':
    return dict(part.partition('=')[::2] for part in cursor.split(';'))


def _packed(counts: Counts) -> 'Any':
    happened = [[rule, status, number] for (rule, status), number in sorted(counts.happened.items())]
    return {'cursor': counts.cursor, 'since': counts.since, 'decisions': counts.decisions, 'happened': happened}


def _unpacked(content: 'Any') -> Counts:
    cursor = str(content['cursor'])
    if not _CURSOR_CHARACTERS.issuperset(cursor):
        raise ValueError('it is not a cursor: %r' % cursor)
    decisions = {decision: int(content['decisions'].get(decision, 0)) for decision in DECISIONS}
    happened = {(str(rule), str(status)): int(number) for rule, status, number in content['happened']}
    return Counts(cursor, float(content['since']), decisions, happened)
