# SPDX-License-Identifier: Apache-2.0
"""Whether somebody else than root, or the caller, could change what a path leads to. Looks at what it is given."""

import posix  # not os: see the import budget in hook

from .errors import PolicyFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

# What counts of a source: of a file, all; of a directory on the way to one, who may change it; of a directory whose
# files are sources, also what is in it, or that there is none; the same of a file that there need not be.
FILE, WAY, LISTING = 'file', 'way', 'listing'
# From <sys/stat.h>; the stat module would cost its import.
_TYPE, _DIRECTORY, _REGULAR, _STICKY, _OTHERS_WRITE = 0o170000, 0o040000, 0o100000, 0o1000, 0o022


def check_ownership(path: str, status: 'stat_result') -> None:
    """Refuse a file or directory that somebody else than root and the caller could change.

    :raises PolicyFileError:
    """
    check_owner(path, status)
    sticky_directory = status.st_mode & _TYPE == _DIRECTORY and status.st_mode & _STICKY
    if status.st_mode & _OTHERS_WRITE and not sticky_directory:
        mode = status.st_mode & ~_TYPE
        raise PolicyFileError(
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
        raise PolicyFileError(
            '%s belongs to uid %d, who could change the policy' % (path, status.st_uid),
            _hint(path, status, 'chown -h root '),
        )


def _hint(path: str, status: 'stat_result', command: str) -> str:
    """What to do. A directory, or link, that is not ours has its owner and mode for a reason that is not known here."""
    is_ours = status.st_mode & _TYPE == _REGULAR or (path + '/').find('/virt-guard/') >= 0
    return command + path if is_ours else 'keep what decides about starts where only root can write'
