# SPDX-License-Identifier: Apache-2.0
"""Whether anybody but root and the caller could change what a path leads to; reads and writes files.

If others have put something else in the place of a file, such as a FIFO, the reader must not wait for it or read it.
"""

import posix  # not os: see the import budget in hook/call

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from typing import Callable, List, Optional

    Check = Callable[[str, stat_result], None]

# What is compared of a source. FILE: everything. WAY, a directory on the way to a file: who may change it. LISTING, a
# directory whose files are sources: also what is in it, or that it is missing; the same for a file that may be missing.
FILE, WAY, LISTING = 'file', 'way', 'listing'
# From <sys/stat.h>; the stat module would cost its import.
_TYPE, _DIRECTORY, _REGULAR, _STICKY, _OTHERS_WRITE = 0o170000, 0o040000, 0o100000, 0o1000, 0o022
_MAX_LINKS = 40  # as many as the kernel follows


def read_file(path: str, max_bytes: int, trusted: 'Optional[Check]' = None, follow_links: bool = True) -> bytes:
    """Read a regular file; if it is larger than `max_bytes`, only one byte more than that, which shows it.

    :param trusted: checks the open file before it is read, and raises an error if it must not be read
    :raises NotAFileError, OSError:
    """
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC | posix.O_NOCTTY
    descriptor = posix.open(path, flags if follow_links else flags | posix.O_NOFOLLOW)
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & _TYPE != _REGULAR:
            raise errors.NotAFileError(path)
        if trusted is not None:
            trusted(path, status)
        chunks: 'List[bytes]' = []
        step = max(status.st_size, 4095) + 1  # some file systems state no size
        left = max_bytes + 1
        while left:
            chunk = posix.read(descriptor, min(step, left))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
        return b''.join(chunks)
    finally:
        posix.close(descriptor)


def write_file(path: str, data: bytes, mode: int, durable: bool, temporary: str = '') -> None:
    """Put a file in place in one step, so that a reader sees the old one or the new one.

    :param durable: whether it is on the disk before it is in place, for a host that may lose power
    :param temporary: what the file is called while it is written; a writer that is killed may leave it behind.
        The default is PATH.PID, named for its process
    :raises OSError: it cannot be written; nothing is left behind
    """
    temporary = temporary or '%s.%d' % (path, posix.getpid())
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
    try:
        descriptor = posix.open(temporary, flags, mode)
    except FileExistsError:  # left behind by a killed writer that had the same number
        posix.unlink(temporary)
        descriptor = posix.open(temporary, flags, mode)
    try:
        try:
            posix.fchmod(descriptor, mode)
            while data:
                data = data[posix.write(descriptor, data) :]
            if durable:
                posix.fsync(descriptor)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, path)
    except BaseException:
        posix.unlink(temporary)  # on a full disk, others need the room
        raise


def directories(path: str) -> 'List[str]':
    """Every directory that has a say in what `path` names: those on the way, and on the way of every link there.

    :raises PolicyFileError: links lead in a circle, or a link could be changed by somebody else
    """
    import os  # only needed if nothing is compiled, or a source has changed

    found = set()
    rest = os.path.abspath(path).split('/')[:0:-1]
    here = '/'
    links = 0
    while rest:
        found.add(here)
        step = rest.pop()
        there = os.path.dirname(here) if step == '..' else os.path.join(here, step)
        if step in ('', '.') or not os.path.islink(there):
            here = here if step in ('', '.') else there
            continue
        links += 1
        if links > _MAX_LINKS:
            raise errors.PolicyFileError('cannot read the policy %s: too many links' % path)
        check_owner(there, os.lstat(there))
        target = os.readlink(there)
        rest += target.split('/')[::-1]
        here = '/' if target.startswith('/') else here
    return sorted(directory for directory in found if os.path.isdir(directory))


def check_way(path: str) -> None:
    """Refuse a path if somebody else could change a directory or link on the way.

    :raises OSError, PolicyFileError:
    """
    for directory in directories(path):
        check_ownership(directory, posix.stat(directory))


def check_ownership(path: str, status: 'stat_result') -> None:
    """Refuse a file or directory that somebody else than root and the caller could change.

    :raises PolicyFileError:
    """
    check_owner(path, status)
    sticky_directory = status.st_mode & _TYPE == _DIRECTORY and status.st_mode & _STICKY
    if status.st_mode & _OTHERS_WRITE and not sticky_directory:
        mode = status.st_mode & ~_TYPE
        raise errors.PolicyFileError(
            '%s can be written by others (mode %04o)' % (path, mode), _hint(path, status, 'chmod go-w ')
        )


def is_only_ours(status: 'stat_result') -> bool:
    """Whether nobody else than root and the caller could have written a file or directory."""
    return status.st_uid in (0, posix.geteuid()) and not status.st_mode & _OTHERS_WRITE


def check_owner(path: str, status: 'stat_result') -> None:
    """Refuse what belongs to somebody else than root and the caller.

    :raises PolicyFileError:
    """
    if status.st_uid not in (0, posix.geteuid()):
        raise errors.PolicyFileError(
            '%s belongs to uid %d, who could change the policy' % (path, status.st_uid),
            _hint(path, status, 'chown -h root '),
        )


def _hint(path: str, status: 'stat_result', command: str) -> str:
    """What to do. The owner and mode of a directory or link that is not ours may have a reason, so they are left."""
    is_ours = status.st_mode & _TYPE == _REGULAR or (path + '/').find('/virt-guard/') >= 0
    return command + path if is_ours else 'keep what decides about starts where only root can write'
