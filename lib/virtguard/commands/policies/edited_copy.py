# SPDX-License-Identifier: Apache-2.0
"""The private copy of a drop-in that an editor works on, and texts that were kept because they did not come into force.

The copy is /etc/virt-guard/policy.edit/NAME/NAME. It is beside the texts that are kept, so that it can be kept where
the disk is full; and always the same, so that an editor that was cut off finds its own recovery file.
"""

import contextlib
import os
import shutil
import time

from ...errors import GuardError, NotAFileError
from ...model import MAX_POLICY_BYTES
from ...policy.drop_ins import drop_in_directory
from ...trust import check_ownership, check_way, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

_KEPT = '.rejected'


class EditedCopy:
    """The copy of the drop-in `name` of the policy at `policy`; who has it, has it alone.

    :raises GuardError: others could change what is there
    """

    def __init__(self, policy: str, name: str) -> None:
        self._parent = drop_in_directory(policy)[: -len('.d')] + '.edit'
        self._directory = os.path.join(self._parent, name)
        self._name = name
        self.path = os.path.join(self._directory, name)
        for directory in (self._parent, self._directory):
            if not os.path.lexists(directory):
                check_way(directory)
                os.mkdir(directory, 0o700)
            if os.path.islink(directory) or not os.path.isdir(directory):
                raise GuardError('%s is not a directory' % directory, 'move it away')
            check_way(directory)
            check_ownership(directory, os.stat(directory))

    def write(self, data: bytes) -> None:
        """
        :raises OSError: it cannot be written
        """
        if os.path.isdir(self.path) and not os.path.islink(self.path):
            shutil.rmtree(self.path)
        write_file(self.path, data, 0o600, durable=False)

    def read(self) -> bytes:
        """What the editor has left; if it is larger than a policy may be, one byte more than that.

        :raises GuardError: it is not a file that could be read
        """
        try:
            return read_file(self.path, MAX_POLICY_BYTES, follow_links=False)
        except FileNotFoundError:
            raise GuardError('the editor has removed the copy') from None
        except NotAFileError:
            raise GuardError('the editor has left something that is not a regular file') from None
        except OSError as error:
            if os.path.islink(self.path):
                raise GuardError('the editor has put a link in the place of the copy') from None
            raise GuardError('cannot read what the editor has left: %s' % error.strerror) from None

    def is_left(self) -> bool:
        """Whether there is a copy that could be kept: a regular file."""
        return _is_regular(self.path)

    def keep(self, instead_of: 'Optional[str]' = None) -> str:
        """Keep the copy as it is. Returns its path then.

        :param instead_of: a kept text that is replaced by this one
        :raises OSError: it stays where it is
        """
        path = instead_of or self._free_path()
        os.rename(self.path, path)
        return path

    def take_up(self, kept: str) -> bytes:
        """Go on with a text that was kept."""
        os.rename(kept, self.path)
        return self.read()

    def _free_path(self) -> str:
        path = os.path.join(self._parent, self._name + _KEPT)
        number = 1
        while os.path.lexists(path):
            number += 1
            path = os.path.join(self._parent, '%s%s.%d' % (self._name, _KEPT, number))
        return path

    def kept(self) -> 'List[str]':
        """The paths of the texts that were kept, the last one first."""
        names = [name for name in os.listdir(self._parent) if name.startswith(self._name + _KEPT)]
        paths = filter(_is_regular, (os.path.join(self._parent, name) for name in names))
        return sorted(paths, key=lambda path: (os.stat(path).st_mtime_ns, path), reverse=True)

    def remove(self) -> None:
        """Remove the copy, and whatever its editor has left beside it."""
        shutil.rmtree(self._directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(self._parent)

    def leave(self) -> None:
        """Remove the directory if it is empty; what an editor has saved there, it will find again."""
        with contextlib.suppress(OSError):
            os.rmdir(self._directory)
            os.rmdir(self._parent)


def _is_regular(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def kept_on(path: str) -> str:
    """When a file was written, for the user."""
    return time.strftime('%Y-%m-%d %H:%M', time.localtime(os.stat(path).st_mtime))
