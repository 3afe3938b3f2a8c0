# SPDX-License-Identifier: Apache-2.0
"""Files and directories that were not there before, for root's eyes only: nothing is ever written over, or followed."""

import contextlib
import hashlib
import os

from ..errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple, Union

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ANOTHER = 'name one that does not exist yet'


class NewFile:
    """A file of mode 0600 that is written piece by piece; `sha256` is the digest of what was written."""

    def __init__(self, path: str, directory: 'Optional[int]' = None) -> None:
        """
        :param directory: an open directory to which `path` is relative
        :raises GuardError: there is one already, or it cannot be written
        """
        self.path = path
        self._directory = directory
        self._digest = hashlib.sha256()
        try:
            self._descriptor = os.open(path, _FLAGS, 0o600, dir_fd=directory)
        except FileExistsError:
            raise GuardError('%s is there already' % path, _ANOTHER) from None
        except OSError as error:
            raise _unwritable(path, error) from None
        os.fchmod(self._descriptor, 0o600)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, piece: 'Union[str, bytes]') -> None:
        """
        :raises GuardError:
        """
        data = piece.encode('utf-8', 'backslashreplace') if isinstance(piece, str) else piece
        self._digest.update(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def close(self) -> None:
        """Have it on the disk.

        :raises GuardError:
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        finally:
            os.close(self._descriptor)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            os.unlink(self.path, dir_fd=self._directory)


def write_new_file(path: str, pieces: 'Iterable[Union[str, bytes]]', directory: 'Optional[int]' = None) -> str:
    """Write a file that did not exist; on failure, none is left behind. Returns the digest of what it holds.

    :raises GuardError:
    """
    file = NewFile(path, directory)
    try:
        for piece in pieces:
            file.write(piece)
        file.close()
    except BaseException:
        file.remove()
        raise
    return file.sha256


class NewDirectory:
    """A directory of mode 0700 with files of which the digests are noted. On failure, `remove` takes it away again."""

    def __init__(self, path: str) -> None:
        """
        :raises GuardError: there is something of that name, or it cannot be made
        """
        self.path = path
        self.digests: 'Dict[str, str]' = {}
        try:
            os.mkdir(path, 0o700)
            # Whoever may write beside it could put another in its place: all is written by way of this descriptor.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileExistsError:
            raise GuardError('%s is there already' % path, _ANOTHER) from None
        except OSError as error:
            raise _unwritable(path, error) from None
        self._names: 'List[Tuple[str, bool]]' = []

    def make_directory(self, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=self._descriptor)
        except OSError as error:
            raise _unwritable(os.path.join(self.path, name), error) from None
        self._names.append((name, True))

    def new_file(self, name: str) -> NewFile:
        """A file to be written piece by piece; `add` it when it is closed."""
        file = NewFile(name, self._descriptor)
        self._names.append((name, False))
        return file

    def add(self, file: NewFile) -> None:
        self.digests[file.path] = file.sha256

    def write(self, name: str, pieces: 'Iterable[Union[str, bytes]]') -> None:
        """
        :raises GuardError:
        """
        self._names.append((name, False))
        self.digests[name] = write_new_file(name, pieces, self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def remove(self) -> None:
        """Take away what was made."""
        for name, is_directory in reversed(self._names):
            with contextlib.suppress(OSError):
                (os.rmdir if is_directory else os.unlink)(name, dir_fd=self._descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)
        os.close(self._descriptor)


def _unwritable(path: str, error: OSError) -> GuardError:
    return GuardError('cannot write %s: %s' % (path, error.strerror or error))
