# SPDX-License-Identifier: Apache-2.0
"""The files in which libvirt keeps the state of domains: which there are, and what is in them. Writes nothing.

    RUN/NAME.xml                     status of a domain that runs (libvirt's /run/libvirt/qemu)
    LIB/snapshot/NAME/SNAPSHOT.xml   metadata (libvirt's /var/lib/libvirt/qemu)
    LIB/checkpoint/NAME/CHECKPOINT.xml

LIB belongs to the user that QEMU runs as, so nothing below it is followed blindly.
"""

import os
import stat

from ..errors import GuardError, NotAFileError
from ..model import MAX_XML_BYTES
from ..trust import is_only_ours, read_file
from .state import CHECKPOINT, SNAPSHOT, STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple

    Signature = Tuple[int, ...]

SUFFIX = '.xml'
_HEAD = 64 << 10  # bytes


class StateFileError(GuardError):
    """A file or directory of a running domain's state cannot be read, or is not to be trusted.

    `head` is what it begins with, as far as that is known and libvirt has written it.
    """

    def __init__(self, message: str, hint: str = '', head: bytes = b'') -> None:
        super().__init__(message, hint)
        self.head = head


class About:
    """What a file is about: its `kind` (see state), the `domain`, and the `name` of a snapshot or checkpoint."""

    __slots__ = ('kind', 'domain', 'name')

    def __init__(self, kind: str, domain: str, name: str) -> None:
        self.kind = kind
        self.domain = domain
        self.name = name


class StateFiles:
    """libvirt's files below two directories, and which version of each was read last."""

    def __init__(self, run: str, lib: str) -> None:
        self.run = run
        self.metadata = {SNAPSHOT: os.path.join(lib, SNAPSHOT), CHECKPOINT: os.path.join(lib, CHECKPOINT)}
        self._read: 'Dict[str, Signature]' = {}

    def about(self, path: str) -> About:
        """What the file of this path, one of ours, is about."""
        directory, file = os.path.split(path)
        name = file[: -len(SUFFIX)]
        if directory == self.run:
            return About(STATUS, name, '')
        parent, domain = os.path.split(directory)
        return About(SNAPSHOT if parent == self.metadata[SNAPSHOT] else CHECKPOINT, domain, name)

    def path(self, kind: str, domain: str, name: str) -> str:
        """The path of the file that is about this."""
        if kind == STATUS:
            return os.path.join(self.run, domain + SUFFIX)
        return os.path.join(self.metadata[kind], domain, name + SUFFIX)

    def paths(self) -> 'Tuple[List[str], Dict[str, StateFileError]]':
        """Every file that is there now, metadata first, so that a status that was written after it is seen after
        it; and the directories that are there, but cannot be listed."""
        unlisted: 'Dict[str, StateFileError]' = {}
        paths = []
        for parent in self.metadata.values():
            for domain in _names(parent, unlisted):
                directory = os.path.join(parent, domain)
                if _is_directory(directory):
                    paths += _files(directory, unlisted)
        return paths + _files(self.run, unlisted), unlisted

    def directories(self, kind: str, domain: str) -> 'List[str]':
        """The directories that must be listed to find a domain's files of one kind."""
        return [self.run] if kind == STATUS else [self.metadata[kind], os.path.join(self.metadata[kind], domain)]

    def read(self, path: str) -> 'Tuple[bool, Optional[bytes]]':
        """Whether a file may have changed since it was read last, and its content then (None: it is gone).

        :raises StateFileError: it was not written by libvirt; it counts as never read
        """
        before = self._read.pop(path, None)
        try:
            if before is not None and before == _signature(os.lstat(path)):
                self._read[path] = before
                return False, None
            data, signature = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return True, None
        except OSError as error:
            raise StateFileError('%s cannot be read: %s' % (path, error.strerror)) from None
        self._read[path] = signature
        return True, data

    def forget(self, path: str) -> None:
        """Read a file again the next time, even if it has not changed."""
        self._read.pop(path, None)

    def forget_others(self, paths: 'Iterable[str]') -> None:
        """Forget all files but these."""
        self._read = {path: self._read[path] for path in paths if path in self._read}


def is_name(name: str) -> bool:
    """Whether a file of this name, in a directory of libvirt's, is one of ours."""
    return name.endswith(SUFFIX) and name != SUFFIX


def _files(directory: str, unlisted: 'Dict[str, StateFileError]') -> 'List[str]':
    return [os.path.join(directory, name) for name in _names(directory, unlisted) if is_name(name)]


def _names(directory: str, unlisted: 'Dict[str, StateFileError]') -> 'List[str]':
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        unlisted[directory] = StateFileError('%s cannot be listed: %s' % (directory, error.strerror), 'run it as root')
    return []


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # perhaps; listing it will report why that cannot be done


def _signature(status: os.stat_result) -> 'Signature':
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: str) -> 'Tuple[bytes, Signature]':
    signatures: 'List[Signature]' = []

    def look(path: str, status: os.stat_result) -> None:
        if not is_only_ours(status):
            owner = (path, status.st_uid, stat.S_IMODE(status.st_mode))
            raise StateFileError('%s could be written by others than libvirt (uid %d, mode %04o)' % owner)
        signatures.append(_signature(status))  # taken before reading, so that a later change shows

    try:
        data = read_file(path, MAX_XML_BYTES, look, follow_links=False)
    except NotAFileError as error:
        raise StateFileError(error.message) from None
    except OSError as error:
        if not os.path.islink(path):
            raise
        raise StateFileError('%s is a symbolic link, which libvirt does not write' % path) from error
    if len(data) > MAX_XML_BYTES:
        raise StateFileError('%s is larger than %d MiB' % (path, MAX_XML_BYTES >> 20), head=data[:_HEAD])
    return data, signatures[0]


def size_of(path: str) -> 'Optional[int]':
    """The size of a file in bytes; None if it is gone."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return None
