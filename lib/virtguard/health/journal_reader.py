# SPDX-License-Identifier: Apache-2.0
"""The guard's own records, and journald's, as journalctl reads them from the host's journal."""

import contextlib
import json
import subprocess

from ..errors import GuardError
from .journal_export import parse_export
from .programs import ProgramError, lines_of_program, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional, Sequence, Union

    from .journal_export import Record as Record

STARTS = ('prepare', 'start')  # operations whose records are verdicts on a start
OF_STARTS = tuple('VIRT_GUARD_OPERATION=' + operation for operation in STARTS)
_OURS, _ROOT = 'SYSLOG_IDENTIFIER=virt-guard', '_UID=0'
_PATIENCE = 20  # seconds
_SILENCE = 300  # seconds without a record, while a long journal is read
_MAX_LINE = 4 << 20  # bytes of one record
_MAX_DIGITS = 20  # of a time: 64 bits
_SYNCHRONISED = 5  # seconds until journald has written down what it was sent


class JournalError(GuardError):
    """The journal cannot be read."""


def read_records(*arguments: str, fields: 'Sequence[str]' = ()) -> 'Iterator[Record]':
    """Records of the guard, oldest first (with `--reverse`, newest first); only root's: anybody may write such entries.

    :param arguments: more options and matches of journalctl
    :param fields: which fields are needed; none: all
    :raises JournalError:
    """
    return read_journal(_OURS, _ROOT, *arguments, fields=fields)


def read_journal(*arguments: str, fields: 'Sequence[str]' = ()) -> 'Iterator[Record]':
    """As read_records, of all entries.

    :raises JournalError:
    """
    # As JSON, journalctl takes twice the time: there may be many.
    command = ['journalctl', '--quiet', '--no-pager', '--output=export']
    if fields:
        command.append('--output-fields=' + ','.join(fields))
    return parse_export(_ask([*command, *arguments]))


def stream_records(*arguments: str) -> 'Iterator[Optional[Record]]':
    """Entries of this host's journal one by one, with all their fields; None for what cannot be read.

    :param arguments: options and matches of journalctl; nothing else is selected
    :raises JournalError:
    """
    command = ['journalctl', '--quiet', '--no-pager', '--output=json', '--all', *arguments]
    with _telling('has said nothing for %d seconds' % _SILENCE):
        try:
            for line in lines_of_program(command, _SILENCE, _MAX_LINE):
                yield parse_record(line)
        except ProgramError as error:
            _complain(str(error))


def synchronise() -> bool:
    """Have journald take and keep all that it was sent until now; False: it cannot be asked, or does not answer."""
    try:
        return run_program(['journalctl', '--quiet', '--sync'], _SYNCHRONISED).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def oldest_entry(directory: 'Optional[str]' = None) -> 'float':
    """When the oldest entry of the journal was written, in seconds since the epoch; 0.0 if there is none.

    Users have journals of their own, which may reach further back, and have none of our records.

    :param directory: where the files of the journal are (default: that of this host)
    :raises JournalError:
    """
    which = '--system' if directory is None else '--directory=' + directory
    text = _ask(['journalctl', '--quiet', '--no-pager', '--header', which])
    times = list(_head_times(text.decode('utf-8', 'replace')))
    return min(times, default=0.0)


def time_of(record: 'Record') -> float:
    """When a record was sent, in seconds since the epoch.

    :raises ValueError, KeyError: an entry of a journal would say it
    """
    return _seconds(record.get('_SOURCE_REALTIME_TIMESTAMP') or record['__REALTIME_TIMESTAMP'])


def received(record: 'Record') -> float:
    """When journald took a record, in seconds since the epoch.

    :raises ValueError, KeyError: as time_of
    """
    return _seconds(record['__REALTIME_TIMESTAMP'])


def _seconds(microseconds: 'Any') -> float:
    text = str(microseconds)
    if len(text) > _MAX_DIGITS:  # Python takes seconds, or hours, for a number as long as a file can have
        raise ValueError('no clock of a host shows such a time')
    return int(text) / 1000000


def values_of(record: 'Record', field: str) -> 'List[str]':
    """The values of a field that may be repeated."""
    if field not in record:
        return []
    value: 'Any' = record[field]
    if isinstance(value, list) and not _is_text(value):
        return [_text(item) for item in value]
    return [] if value is None else [_text(value)]


def text_of(record: 'Record', field: str) -> str:
    """The first value of a field; '' if there is none."""
    value = record.get(field, '')
    if isinstance(value, str):  # as nearly all are, and there may be many records
        return value
    return next(iter(values_of(record, field)), '')


def _is_text(value: 'Any') -> bool:
    """Whether it is text that cannot be printed: journalctl writes such as a list of its bytes."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, int) for item in value)


def _text(value: 'Any') -> str:
    if _is_text(value):
        return bytes(item & 0xFF for item in value).decode('utf-8', 'surrogateescape')
    return value if isinstance(value, str) else ''


def _head_times(text: str) -> 'Iterator[float]':
    for line in text.splitlines():
        name, _, value = line.partition(':')
        # Head realtime timestamp: Sat 2026-11-28 09:28:24 UTC (651af...), microseconds in hexadecimal
        digits = value.rpartition('(')[2].partition(')')[0]
        if name.strip() == 'Head realtime timestamp' and digits:
            try:
                yield int(digits, 16) / 1000000
            except ValueError:
                continue


def parse_record(line: 'Union[str, bytes]') -> 'Optional[Record]':
    """A line that journalctl has written as JSON; None where it is not one."""
    try:
        record = json.loads(line if isinstance(line, str) else line.decode('utf-8', 'replace'))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _ask(command: 'List[str]') -> bytes:
    with _telling('does not end within %d seconds' % _PATIENCE):
        result = run_program(command, _PATIENCE)
    if result.returncode:
        _complain(result.stderr.decode('utf-8', 'replace').strip())
    return result.stdout


@contextlib.contextmanager
def _telling(of_silence: str) -> 'Iterator[None]':
    try:
        yield
    except FileNotFoundError:
        raise JournalError('there is no journalctl') from None
    except OSError as error:
        raise JournalError('journalctl: %s' % error.strerror) from None
    except subprocess.TimeoutExpired:
        raise JournalError('journalctl ' + of_silence) from None


def _complain(said: str) -> None:
    if said:  # where nothing matches, some versions end with 1 and say nothing
        raise JournalError('journalctl: %s' % said.splitlines()[-1]) from None
