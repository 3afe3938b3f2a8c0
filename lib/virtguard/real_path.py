# SPDX-License-Identifier: Apache-2.0
"""What a path leads to on this host, its links followed. Reads file systems; writes nothing."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from typing import Callable, List, Optional

    Look = Callable[[str, stat_result], None]

_TYPE, _LINK = 0o170000, 0o120000  # from <sys/stat.h>
_MAX_LINKS = 40  # as many as the kernel follows
_MAX_BYTES = 4095  # of a path that the kernel takes
_PLAIN_LINKS = ('self', 'thread-self', 'mounts', 'net')  # in /proc; the others there lead elsewhere than they say


class RingOfLinksError(OSError):
    """A path leads through more links than the kernel follows."""


class HiddenPathError(OSError):
    """Only the kernel knows where a path leads: it is made to hide that, as no file of a domain needs to."""


def real_steps(path: str, root: str = '', look: 'Optional[Look]' = None, may_be_missing: bool = False) -> 'List[str]':
    """The names from / to what an absolute path leads to, none of them a link.

    :param root: stands for / in tests
    :param look: gets the path and the status of everything on the way, links among it
    :param may_be_missing: what is not there is taken as it is written, such as a file that is still to be made
    :raises HiddenPathError: nobody can tell
    :raises OSError: it cannot be looked at
    """
    todo = path.split('/')[::-1]
    steps: 'List[str]' = []
    links = 0
    while todo:
        step = todo.pop()
        if step in ('', '.'):
            continue
        if step == '..':
            steps = steps[:-1]
            continue
        here = '/' + '/'.join([*steps, step])
        if len(step) < 256 and len(encoded(here)) > _MAX_BYTES:
            raise HiddenPathError('it leads to a path that is longer than the kernel takes')
        try:
            status = posix.lstat(encoded(root + here))
        except (FileNotFoundError, NotADirectoryError):
            if not may_be_missing:
                raise
            steps.append(step)
            continue
        if look is not None:
            look(here, status)
        if status.st_mode & _TYPE != _LINK:
            steps.append(step)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise RingOfLinksError('a ring of links')
        if step not in _PLAIN_LINKS and _is_of_proc(status):
            raise HiddenPathError('it leads through %s, as only another process sees it' % here)
        target = posix.readlink(encoded(root + here)).decode('utf-8', 'surrogateescape')
        if target.startswith('/'):
            steps = []
        todo += target.split('/')[::-1]
    return steps


def _is_of_proc(status: 'stat_result') -> bool:
    """Whether a link is one of procfs, also where that is mounted once more, as in a chroot."""
    try:
        return status.st_dev == posix.lstat('/proc/self').st_dev
    except OSError:
        return False


def encoded(path: str) -> bytes:
    """A path for the kernel. As bytes: Python 3.6 would encode it as ASCII under libvirt's LC_ALL=C."""
    return path.encode('utf-8', 'surrogateescape')
