# SPDX-License-Identifier: Apache-2.0
"""Whether running domains are watched now, and when in the last days they were not."""

import calendar
import fcntl
import os
import time

from .. import journal, model
from ..watch.presence import read_last_watch
from ..wording import counted, escape
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition, shown_time
from .journal_reader import JournalError, read_records, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from ..policy.installation import Installation
    from .journal_reader import Record

_WATCH = 'virt-guard-watch'
_DAYS = 7
_SPAN = ('VIRT_GUARD_SINCE', 'VIRT_GUARD_UNTIL')
_TIME = '%Y-%m-%dT%H:%M:%SZ'  # as host.shown_time writes it


def examine_watching(installation: 'Installation') -> 'Iterator[Condition]':
    yield _now(installation)
    yield from _before()


def _now(installation: 'Installation') -> Condition:
    start = 'systemctl enable --now ' + _WATCH if os.path.isdir('/run/systemd/system') else 'virt-guard watch'
    try:
        descriptor = os.open(installation.state, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return Condition('watch', AMISS, 'nobody watches running domains: no virt-guard watch runs', start)
    except OSError as error:
        text = 'whether a watch runs: %s: %s' % (installation.state, error.strerror)
        return Condition('watch', UNKNOWN, text, 'run it as root' if isinstance(error, PermissionError) else '')
    try:
        # A watch has its directory locked for as long as it lives. This lock is gone with the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Condition('watch', OK, 'running domains are watched')
    finally:
        os.close(descriptor)
    text = 'nobody watches running domains%s: no virt-guard watch runs' % _since(installation.state)
    return Condition('watch', AMISS, text, start)


def _since(directory: str) -> str:
    try:
        last = read_last_watch(directory)
    except (OSError, ValueError):
        return ''
    return '' if last is None else ' since %s' % shown_time(last.lived)


def _before() -> 'Iterator[Condition]':
    """The longest time in which nobody watched, and how many others there were: each upgrade makes a short one."""
    match = 'MESSAGE_ID=' + journal.MESSAGE_IDS[model.UNWATCHED]
    fields = ('MESSAGE', *_SPAN)
    try:
        records = list(read_records('--reverse', '--since=-%dd' % _DAYS, match, fields=fields))
    except JournalError:
        return  # which is told of the journal itself
    by_text = {text_of(record, 'MESSAGE'): record for record in records}
    if not by_text:
        return
    text = escape(max(by_text, key=lambda text: _seconds(by_text[text])))
    others = len(by_text) - 1
    if others:
        times = counted(others, 'other time')
        text += '; and %s in the last %d days: journalctl -t virt-guard %s' % (times, _DAYS, match)
    yield Condition('watch', NOTE, text)


def _seconds(record: 'Record') -> float:
    """How long nobody watched."""
    try:
        since, until = (calendar.timegm(time.strptime(text_of(record, name), _TIME)) for name in _SPAN)
    except ValueError:
        return 0.0
    return float(until - since)
