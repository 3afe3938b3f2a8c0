# SPDX-License-Identifier: Apache-2.0
"""Whether the file that a domain names as its emulator is the distribution's. Reads file systems; writes nothing."""

import posix

from .emulators import in_store, in_system, is_emulator
from .real_path import HiddenPathError, RingOfLinksError, encoded, real_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from typing import List, Optional, Tuple

_TYPE, _LINK, _REGULAR, _DIRECTORY = 0o170000, 0o120000, 0o100000, 0o040000  # from <sys/stat.h>
_STICKY = 0o1000
_ELF = b'\x7fELF'


class _Foreign(Exception):
    pass


def foreign_emulator(path: str, root: str = '', owner: int = 0) -> 'Optional[Tuple[bool, str]]':
    """Whether a file is not the distribution's, and why; None where it cannot be looked at.

    It is the distribution's if its links lead to a program with the name of an emulator in a system directory, and only
    root can change any of that. A script may do anything, so it must belong to a package.

    :param root: stands for / in tests, `owner` for root
    """
    try:
        if not path.startswith('/'):
            raise _Foreign('a relative path')
        steps = real_steps(path, root, lambda here, status: _check_owner(here, status, owner))
        return False, _check(steps, root)
    except (_Foreign, RingOfLinksError, HiddenPathError) as foreign:
        return True, str(foreign)
    except (OSError, ValueError):
        return None


def _check_owner(path: str, status: 'stat_result', owner: int) -> None:
    if status.st_uid != owner:
        raise _Foreign('%s belongs to user %d' % (path, status.st_uid))
    kind = status.st_mode & _TYPE
    # In a sticky directory, others can add files, but not replace ours.
    if kind == _LINK or (kind == _DIRECTORY and status.st_mode & _STICKY):
        return
    if status.st_mode & 0o002 or (status.st_mode & 0o020 and status.st_gid != 0):
        raise _Foreign('others may write %s' % path)


def _check(steps: 'List[str]', root: str) -> str:
    path = '/' + '/'.join(steps)
    if not (in_system(steps[:-1]) or in_store(steps)):
        raise _Foreign('%s is not in a directory of the system' % path)
    if posix.lstat(encoded(root + path)).st_mode & _TYPE != _REGULAR:
        raise _Foreign('%s is not a file' % path)
    if not is_emulator(steps[-1]):
        raise _Foreign('%s does not have the name of an emulator' % path)
    with open(encoded(root + path), 'rb') as file:
        is_program = file.read(len(_ELF)) == _ELF
    if not is_program and not in_store(steps) and not _is_packaged(path, root):
        raise _Foreign('%s is a script' % path)
    return ''


def _is_packaged(path: str, root: str) -> bool:
    """Whether dpkg knows a file: Debian has emulators that are scripts, in packages named for QEMU."""
    directory = root + '/var/lib/dpkg/info'
    wanted = {path.encode(), path[len('/usr') :].encode()} if path.startswith('/usr/') else {path.encode()}
    try:
        names = [
            name for name in posix.listdir(directory) if name.startswith(('qemu', 'kvm')) and name.endswith('.list')
        ]
    except OSError:
        return False
    for name in names:
        with open('%s/%s' % (directory, name), 'rb') as file:
            if not wanted.isdisjoint(file.read().split(b'\n')):
                return True
    return False
