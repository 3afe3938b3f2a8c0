# SPDX-License-Identifier: Apache-2.0
"""The guard's own records, and journald's, as journalctl reads them from the host's journal."""

import json
import subprocess

from ..errors import GuardError
from .programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Sequence, Union

    Record = Dict[str, Union[str, List[str]]]

_PATIENCE = 20  # seconds
_SYNCHRONISED = 5  # seconds until journald has written down what it was sent


class JournalError(GuardError):
    """The journal cannot be read."""


def read_records(*arguments: str, fields: 'Sequence[str]' = ()) -> 'List[Record]':
    """Records of the guard, oldest first (with `--reverse`, newest first).

    :param arguments: more options and matches of journalctl
    :param fields: which fields are needed; none: all
    :raises JournalError:
    """
    return read_journal('SYSLOG_IDENTIFIER=virt-guard', *arguments, fields=fields)


def read_journal(*arguments: str, fields: 'Sequence[str]' = ()) -> 'List[Record]':
    """As read_records, of all entries.

    :raises JournalError:
    """
    command = ['journalctl', '--quiet', '--no-pager', '--output=json']
    if fields:
        command.append('--output-fields=' + ','.join(fields))
    lines = _ask([*command, *arguments]).split('\n')
    return [record for record in map(_parsed, lines) if record is not None]


def synchronise() -> bool:
    """Have journald take and keep all that it was sent until now; False: it cannot be asked, or does not answer."""
    try:
        return run_program(['journalctl', '--quiet', '--sync'], _SYNCHRONISED).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def oldest_entry() -> 'float':
    """When the oldest entry of the journal was written, in seconds since the epoch; 0.0 if there is none.

    Users have journals of their own, which may reach further back, and have none of our records.

    :raises JournalError:
    """
    text = _ask(['journalctl', '--quiet', '--no-pager', '--system', '--header'])
    times = list(_head_times(text))
    return min(times, default=0.0)


def time_of(record: 'Record') -> float:
    """When a record was sent, in seconds since the epoch."""
    return int(str(record.get('_SOURCE_REALTIME_TIMESTAMP') or record['__REALTIME_TIMESTAMP'])) / 1000000


def received(record: 'Record') -> float:
    """When journald took a record, in seconds since the epoch."""
    return int(str(record['__REALTIME_TIMESTAMP'])) / 1000000


def text_of(record: 'Record', field: str) -> str:
    """The first value of a field, '' if there is none; journalctl has numbers where a text is not printable."""
    value: 'Any' = record.get(field)
    if isinstance(value, list) and value:
        is_bytes = isinstance(value[0], int)
        value = bytes(value).decode('utf-8', 'surrogateescape') if is_bytes else value[0]
    return value if isinstance(value, str) else ''


def values_of(record: 'Record', field: str) -> 'List[str]':
    """The values of a field that may be repeated."""
    value = record.get(field, [])
    return value if isinstance(value, list) else [value]


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


def _parsed(line: str) -> 'Union[Record, None]':
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _ask(command: 'List[str]') -> str:
    try:
        result = run_program(command, _PATIENCE)
    except FileNotFoundError:
        raise JournalError('there is no journalctl') from None
    except OSError as error:
        raise JournalError('journalctl: %s' % error.strerror) from None
    except subprocess.TimeoutExpired:
        raise JournalError('journalctl does not end within %d seconds' % _PATIENCE) from None
    # Where nothing matches, some versions end with 1 and say nothing.
    said = result.stderr.decode('utf-8', 'replace').strip()
    if result.returncode and said:
        raise JournalError('journalctl: %s' % said.splitlines()[-1])
    return result.stdout.decode('utf-8', 'replace')
