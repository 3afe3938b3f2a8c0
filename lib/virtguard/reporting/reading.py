# SPDX-License-Identifier: Apache-2.0
"""Reads the records of a period, one by one, from the journal of this host, a directory of journals, or a file.

What a reader of the report must know of them is counted on the way: what could not be read, and a digest by which the
same records can be recognised.
"""

import glob
import hashlib
import json
import math
import os
import stat
import sys

from ..errors import GuardError, NotAFileError
from ..health.journal_reader import parse_record, stream_records
from ..journal import MESSAGE_IDS
from ..model import GUARD_CHANGED
from .record import DROPPED_ID, Record, is_of_dropped, is_of_guard, is_of_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Iterable, Iterator, Optional

    from ..health.journal_files import JournalFiles
    from ..health.journal_reader import Record as Fields
    from .moments import Period

STANDARD_INPUT = '-'
_SELECTED = ('SYSLOG_IDENTIFIER=virt-guard', '+', 'MESSAGE_ID=' + DROPPED_ID)
_CHANGED = ('SYSLOG_IDENTIFIER=virt-guard', 'MESSAGE_ID=' + MESSAGE_IDS[GUARD_CHANGED])
_JOURNALS = ('/var/log/journal', '/run/log/journal')
_MAX_LINE = 4 << 20  # bytes
_AS_ROOT = 'run it as root'


class Reading:
    """What was read: `count` records with the digest `sha256` of them as JSON lines, `unreadable` lines, `strangers`,
    which other users than root have sent, and `unsigned`, of which it is not told who has sent them."""

    def __init__(self, keep: 'Optional[Callable[[bytes], None]]' = None) -> None:
        """
        :param keep: gets each record of the period, as a line
        """
        self.count = self.unreadable = self.strangers = self.unsigned = 0
        self._digest = hashlib.sha256()
        self._keep = keep

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def records(self, entries: 'Iterable[Optional[Fields]]', period: 'Period') -> 'Iterator[Record]':
        """The records among `entries`: those of the guard up to the end of a period, and those by which journald tells
        that it has dropped messages. What is older than the period is not counted."""
        for fields in entries:
            if fields is None:
                self.unreadable += 1
                continue
            of_guard = is_of_guard(fields)
            if not of_guard and not is_of_dropped(fields):
                continue
            try:
                record = Record(fields)
            except (ValueError, KeyError, OverflowError):
                self.unreadable += 1
                continue
            if record.stored >= period.until:
                continue
            is_within = period.holds(record.stored)
            by_root = is_of_root(fields)
            if by_root is False and of_guard:
                self.strangers += is_within
                continue
            if is_within:
                self._count(fields, by_root is None)
            yield record

    def _count(self, fields: 'Fields', unsigned: bool) -> None:
        line = json.dumps(fields, sort_keys=True, separators=(',', ':')).encode('ascii') + b'\n'
        self._digest.update(line)
        self.count += 1
        self.unsigned += unsigned
        if self._keep is not None:
            self._keep(line)


def entries_of_journal(period: 'Period') -> 'Iterator[Optional[Fields]]':
    """Entries of this host's journal; first the one from which it shows whether the guard was installed when the period
    began.

    :raises GuardError: there is none, or it cannot be read
    """
    _check_readable()
    until = '--until=@%d' % math.ceil(period.until)
    if period.since is None:
        yield from stream_records(until, *_SELECTED)
        return
    since = '%d' % math.floor(period.since)
    yield from stream_records('--until=@' + since, '--reverse', '--lines=1', *_CHANGED)
    yield from stream_records('--since=@' + since, until, *_SELECTED)


def entries_of_files(files: 'JournalFiles') -> 'Iterator[Optional[Fields]]':
    """Entries of the journals in a directory, of all times: where the files are those of a collector, they are not in
    order, and of each host it must show whether the guard was installed when the period began.

    :raises GuardError: they cannot be read
    """
    for _, fields in files.entries(*_SELECTED):
        yield fields


def entries_of_file(path: str) -> 'Iterator[Optional[Fields]]':
    """The entries that a file holds, as `journalctl -o json` writes them; None for what is not one.

    :param path: or STANDARD_INPUT
    :raises GuardError: it cannot be read
    """
    try:
        if path == STANDARD_INPUT:
            yield from _lines(sys.stdin.buffer)
            return
        with open(path, 'rb', opener=_open_regular) as file:
            yield from _lines(file)
    except NotAFileError:
        raise GuardError('%s is not a regular file' % path, '- stands for standard input') from None
    except OSError as error:
        raise GuardError('cannot read %s: %s' % (path, error.strerror or error)) from None


def _lines(file: 'BinaryIO') -> 'Iterator[Optional[Fields]]':
    while True:
        line = file.readline(_MAX_LINE)
        if not line:
            return
        is_whole = line.endswith(b'\n') or len(line) < _MAX_LINE
        while not is_whole and not line.endswith(b'\n') and line:
            line = file.readline(_MAX_LINE)
        if line.strip():
            yield parse_record(line) if is_whole else None


def _open_regular(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


def _check_readable() -> None:
    """journalctl shows less to whom it may not show all, and says nothing of it."""
    files = [path for place in _JOURNALS for depth in ('', '*') for path in glob.glob(_pattern(place, depth))]
    if not files:
        hint = _AS_ROOT if os.geteuid() else 'start systemd-journald, or name what has records: --journal, --records'
        raise GuardError('there is no journal on this host', hint)
    closed = [path for path in files if not os.access(path, os.R_OK)]
    if closed:
        raise GuardError('you may not read %s' % closed[0], _AS_ROOT)


def _pattern(place: str, depth: str) -> str:
    return os.path.join(glob.escape(place), depth, '*.journal')
