# SPDX-License-Identifier: Apache-2.0
"""Starts of domains, as libvirt has logged them: /var/log/libvirt/qemu/NAME.log, and what was rotated away.

libvirt writes a line when the hook has answered and before it runs QEMU: so what a hook refuses has none, and what
fails afterwards has one. Restored domains and those that migrate in have one, too. It is written the same way whether
virtlogd keeps the file (it rotates to NAME.log.0) or libvirt itself does (logrotate rotates to NAME.log.1,
NAME.log.2.gz, NAME.log-20270101). QEMU writes into the same file whatever it likes.
"""

import calendar
import os
import re
import stat
import zlib
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Match, Optional, Tuple

_NAME = re.compile(r'(?P<domain>.+)\.log(?:\.\d+|-\d{8}(?:-\d+)?)?(?P<packed>\.gz|\.xz|\.bz2|\.zst)?\Z', re.DOTALL)
_LINE = re.compile(rb'\+0000: (?:(?P<start>starting up)|shutting down, reason=)')
_TIME = re.compile(rb'(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{3})\Z')
_LENGTH = 23
_FOLLOWING = re.compile(rb'\n[A-Z_]{1,64}=')
_MOST_FOLLOWING = 2048  # bytes of versions and of the host's name, before that
_UUID = re.compile(rb'\n-uuid ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) \\\n')
_ARGUMENTS = 64 << 10  # bytes after the line of a start, in which its UUID is looked for
_MOST_LINES = 10000  # starts and ends in one file: libvirt itself needs some kilobytes for a start
_MOST_OF_ONE = 8 << 20  # bytes of one file: virtlogd keeps 2 MiB, logrotate a week
_MOST = 256 << 20
_EVER = float('inf')


class DomainLogs:
    """What was found: `starts` (domain, UUID or '', time) and `ends` (domain -> the last one), in seconds since the
    epoch; `unread` says in sentences what could not be read."""

    __slots__ = ('starts', 'ends', 'unread')

    def __init__(self) -> None:
        self.starts: 'Dict[Tuple[str, float], str]' = {}
        self.ends: 'Dict[str, float]' = {}
        self.unread: 'List[str]' = []


def read_domain_logs(directory: str, since: float, until: float = _EVER) -> DomainLogs:
    """The starts that are logged there since a time; files that were last written before are not opened.

    :param until: what is to have happened after this was never written by libvirt
    """
    logs = DomainLogs()
    left = _MOST
    for path, domain, packed in sorted(_files(directory, since, logs), key=_age):
        if left <= 0:
            logs.unread.append('libvirt has logged more than %d MiB; the oldest are left out' % (_MOST >> 20))
            break
        data = _read(path, packed, logs)
        left -= len(data)
        for match, end in _lines(data, path, logs):
            _take(match, end, domain, (since, until), logs)
    return logs


def _lines(data: bytes, path: str, logs: DomainLogs) -> 'Iterator[Tuple[Match[bytes], int]]':
    """The last lines that look like a start or an end, and where what follows each of them ends."""
    found = deque(_LINE.finditer(data), _MOST_LINES)
    if len(found) == _MOST_LINES:
        logs.unread.append('%s: only its last %d starts and ends are read' % (path, _MOST_LINES))
    end = len(data)
    for match in reversed(found):
        yield match, end
        end = match.start()


def _files(directory: str, since: float, logs: DomainLogs) -> 'Iterator[Tuple[str, str, str]]':
    try:
        names = os.listdir(directory)
    except OSError as error:
        logs.unread.append('%s: %s' % (directory, error.strerror))
        return
    for name in names:
        match = _NAME.match(name)
        path = os.path.join(directory, name)
        if match and _age((path,)) <= -since:
            yield path, match.group('domain'), match.group('packed') or ''


def _age(file: 'Tuple[str, ...]') -> float:
    """Less for what was written later."""
    try:
        return -os.lstat(file[0]).st_mtime
    except OSError:
        return float('inf')  # it is gone


def _take(match: 'Match[bytes]', end: int, domain: str, span: 'Tuple[float, float]', logs: DomainLogs) -> None:
    time = _time(match)
    if time is None or not span[0] <= time <= span[1]:
        return
    if not match.group('start'):
        logs.ends[domain] = max(time, logs.ends.get(domain, 0.0))
        return
    uuid = _UUID.search(match.string, match.end(), min(end, match.end() + _ARGUMENTS))
    logs.starts[domain, time] = uuid.group(1).decode('ascii') if uuid else ''


def _time(match: 'Match[bytes]') -> 'Optional[float]':
    """When libvirt wrote this; None: it did not.

    QEMU's last words may lack the end of their line, so that libvirt's begin in the middle of one. It could also be the
    name of a domain, among the arguments that libvirt writes down; only what libvirt writes is followed by these.
    """
    data, begin = match.string, match.start() - _LENGTH
    found = _TIME.match(data, begin, match.start()) if begin >= 0 else None
    if not found:
        return None
    if begin and data[begin - 1 : begin] != b'\n':
        line_end = data.find(b'\n', match.end(), match.end() + _MOST_FOLLOWING)
        if line_end < 0 or not _FOLLOWING.match(data, line_end):
            return None
    *seconds, thousandths = map(int, found.groups())
    try:
        return calendar.timegm((*seconds, 0, 0, 0)) + thousandths / 1000
    except ValueError:
        return None  # no calendar has such a day


def _read(path: str, packed: str, logs: DomainLogs) -> bytes:
    """The content of a log, or its last part; b'' where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return b''  # it was rotated away meanwhile, or is gone
    except OSError as error:
        logs.unread.append('%s: %s' % (path, error.strerror))
        return b''
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return b''
    with open(descriptor, 'rb') as file:
        if not packed and status.st_size > _MOST_OF_ONE:
            logs.unread.append('%s: only its last %d MiB are read' % (path, _MOST_OF_ONE >> 20))
            file.seek(-_MOST_OF_ONE, os.SEEK_END)
        try:
            data = file.read(_MOST_OF_ONE)
            return _unpacked(packed, data) if packed else data
        except (OSError, EOFError, ValueError, ImportError, zlib.error) as error:
            logs.unread.append('%s: %s' % (path, error))
            return b''


def _unpacked(packed: str, data: bytes) -> bytes:
    """The first part of what is packed.

    :raises OSError, EOFError, ValueError, ImportError, zlib.error: it cannot be read
    """
    if packed == '.gz':
        return zlib.decompressobj(31).decompress(data, _MOST_OF_ONE)
    if packed == '.bz2':
        import bz2

        return bz2.BZ2Decompressor().decompress(data, _MOST_OF_ONE)
    if packed == '.xz':
        import lzma

        try:
            return lzma.LZMADecompressor().decompress(data, _MOST_OF_ONE)
        except lzma.LZMAError as error:
            raise ValueError(str(error)) from None
    raise ValueError('it is packed as this command cannot read')
