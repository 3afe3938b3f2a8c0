# SPDX-License-Identifier: Apache-2.0
"""The audit trail: the watch of running domains, the journal that keeps the records, the clock, and the disk."""

import glob
import os
import socket
import time

from ..host import today
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition, shown_time
from .journal_reader import OF_STARTS, JournalError, oldest_entry, read_records, time_of
from .watching import examine_watching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from ..policy.installation import Installation

_JOURNAL = '/run/systemd/journal/socket'
_PERSISTENT = '/var/log/journal'
_LEAST_FREE = 16 << 20  # bytes; journald itself stops before
_PATIENCE = 1.0  # seconds
_AHEAD = 60.0  # seconds that a record may be ahead of the clock


def last_call() -> 'Optional[float]':
    """When the hook has recorded something last, in seconds since the epoch; None: never, or that is not known."""
    try:
        records = read_records('--reverse', '--lines=1', *OF_STARTS)
    except JournalError:
        return None
    return next(map(time_of, records), None)


def examine_trail(installation: 'Installation', called: 'Optional[float]') -> 'Iterator[Condition]':
    """:param called: as last_call"""
    yield from examine_watching(installation)
    yield from _journal()
    if called is None:
        yield Condition('record', OK, 'no start of a domain is recorded in the journal yet')
    else:
        yield Condition('record', OK, 'the last start of a domain was recorded at %s' % shown_time(called))
    yield _clock(installation, called)
    yield from _disk(installation)


def _journal() -> 'Iterator[Condition]':
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(_JOURNAL)
    except OSError as error:
        text = 'journald takes no records (%s: %s); they go to syslog or a file' % (_JOURNAL, error.strerror or error)
        yield Condition('journal', AMISS, text, 'systemctl start systemd-journald')
        return
    finally:
        connection.close()
    try:
        oldest = oldest_entry()
    except JournalError as error:
        yield Condition('journal', UNKNOWN, 'journald takes records; %s' % error)
        return
    since = ', since %s' % shown_time(oldest) if oldest else ''
    if glob.glob(_PERSISTENT + '/*/*.journal*'):
        yield Condition('journal', OK, 'journald keeps records on disk%s' % since)
    else:
        text = 'journald keeps records in memory only: they are lost when the host goes down%s' % since
        yield Condition('journal', NOTE, text, 'mkdir -p %s; journalctl --flush' % _PERSISTENT)


def _clock(installation: 'Installation', called: 'Optional[float]') -> Condition:
    now = time.time()
    try:
        installed = os.stat(installation.program).st_mtime
    except OSError:
        installed = 0.0
    if now < installed:
        text = 'the clock says %s, which is before the guard was installed: waivers do not expire in time' % today()
        return Condition('clock', AMISS, text, 'timedatectl set-ntp true')
    if called is not None and called > now + _AHEAD:
        text = 'the clock has been set back: a start was recorded at %s' % shown_time(called)
        return Condition('clock', AMISS, text, 'timedatectl set-ntp true')
    return Condition('clock', OK, 'today is %s, by which waivers expire' % today())


def _disk(installation: 'Installation') -> 'Iterator[Condition]':
    for directory in (_PERSISTENT, installation.state):
        try:
            status = os.statvfs(directory)
        except OSError:
            continue
        free = status.f_bavail * status.f_frsize
        if status.f_flag & os.ST_RDONLY:
            yield Condition('disk', AMISS, '%s is mounted read-only: nothing can be kept there' % directory)
        elif free < _LEAST_FREE:
            text = 'only %d MiB are free where %s is: records will be lost' % (free >> 20, directory)
            yield Condition('disk', AMISS, text, 'journalctl --vacuum-size=100M')
