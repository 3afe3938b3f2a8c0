# SPDX-License-Identifier: Apache-2.0
"""A file that somebody names for what a command prints, and that is replaced in one step.

Root may be asked to write into a directory of others. So nothing is written through a link, nothing of somebody else's
is replaced, and what leads to the directory is looked at once.
"""

import contextlib
import os
import stat

from ..errors import GuardError
from .domains.file_parts import CONTAINERS, first_element

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_HEAD = 64 << 10  # bytes
_MOST_LINKS = 40  # that lead to one another, as for the kernel
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(path: str, purpose: str) -> int:
    """A descriptor of a directory, by links that only root or the caller can change; whoever owns the one above it
    could lead others elsewhere.

    :param purpose: what cannot be done if it is not a directory, as the end of a sentence
    :raises GuardError:
    """
    place = path
    for _ in range(_MOST_LINKS):
        try:
            descriptor = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            break
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            return descriptor
        try:
            if not stat.S_ISLNK(status.st_mode):
                break
            if status.st_uid not in (0, os.geteuid()):
                raise GuardError('%s is a link of uid %d, who could lead it elsewhere' % (place, status.st_uid))
            target = os.readlink('', dir_fd=descriptor)
        finally:
            os.close(descriptor)
        place = os.path.join(os.path.dirname(place), target).rstrip('/') or '/'
    raise GuardError('%s is not a directory, so %s' % (path, purpose))


class ReplacedFile:
    """Written piece by piece under another name beside it, .NAME.PID, which a process that is killed may leave behind;
    `close` puts it in place."""

    def __init__(self, path: str, mode: 'Optional[int]' = None) -> None:
        """
        :param mode: default: what the umask leaves of 0666
        """
        self.path = path
        self._mode = mode
        self._name = os.path.basename(os.path.abspath(path))
        self._temporary = '.%s.%d' % (self._name, os.getpid())
        self._directory = self._descriptor = -1

    def open(self) -> None:
        """
        :raises GuardError: it must not be replaced, or cannot be written
        """
        directory = os.path.dirname(os.path.abspath(self.path))
        self._directory = open_directory(directory, '%s cannot be written' % self._name)
        try:
            self._check()
            self._check_content()
            with contextlib.suppress(FileNotFoundError):  # left behind by a process that had the same number
                os.unlink(self._temporary, dir_fd=self._directory)
            self._descriptor = os.open(self._temporary, _FLAGS, 0o666, dir_fd=self._directory)
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
        except OSError as error:
            raise self._unwritable(error) from None

    def _check(self) -> None:
        """Refuse to replace what a command has not written."""
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(status.st_mode):
            what = 'a link' if stat.S_ISLNK(status.st_mode) else 'not a regular file'
            raise GuardError('%s is %s, which is not written to' % (self.path, what), 'name a file')
        if status.st_uid not in (0, os.geteuid()):
            told = '%s belongs to uid %d, and is not replaced' % (self.path, status.st_uid)
            raise GuardError(told, 'remove it, or name another file')

    def _check_content(self) -> None:
        """Refuse to replace a domain, which somebody may have named where a file for the output belongs."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._name, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return
        try:
            name = first_element(os.read(descriptor, _HEAD))
        finally:
            os.close(descriptor)
        if name == 'domain' or name in CONTAINERS:
            raise GuardError('%s holds a domain, and is not replaced' % self.path, 'name another file')

    def write(self, text: str) -> None:
        """
        :raises GuardError:
        """
        data = text.encode('utf-8', 'backslashreplace')
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Put it in place.

        :raises GuardError: it cannot be
        """
        try:
            self._check()  # again, because judging may have taken long
            os.fsync(self._descriptor)
            os.rename(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as error:
            raise self._unwritable(error) from None

    def discard(self) -> None:
        """Leave what was there before, unless it is closed; to be called in any case."""
        if self._directory < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._directory)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        os.close(self._directory)
        self._directory = self._descriptor = -1

    def _unwritable(self, error: OSError) -> GuardError:
        return GuardError('cannot write %s: %s' % (self.path, error.strerror or error))
