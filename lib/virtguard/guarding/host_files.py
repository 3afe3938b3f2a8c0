# SPDX-License-Identifier: Apache-2.0
"""The files of a host, below a directory that stands for /: their content, and how links resolve. And its processes,
as far as /proc shows them.
"""

import errno
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    Step = Tuple[str, str]  # a path without links above it, and what it is

DIRECTORY, LINK, OTHER, MISSING = 'directory', 'link', 'other', 'missing'
_MAX_LINKS = 40  # as the kernel's
_MAX_SIZE = 4 << 20
_DELETED = ' (deleted)'  # the kernel's mark of a program that was upgraded under the process


class FileTree:
    """Reads below `root`; links in it never lead out of it."""

    def __init__(self, root: str = '/') -> None:
        self._root = root.rstrip('/')

    def real(self, path: str) -> str:
        """The path on this machine that `path` stands for."""
        return self._root + path

    def read(self, path: str) -> 'Optional[str]':
        """The text of a file, without the null character that ends a label; None if it cannot be read."""
        try:
            with open(self.real(path), 'rb') as file:
                return os.fsdecode(file.read(_MAX_SIZE)).rstrip('\0')
        except OSError:
            return None

    def names(self, path: str) -> 'Optional[List[str]]':
        """The names in a directory, sorted; None if it cannot be read."""
        try:
            return sorted(os.listdir(self.real(path)))
        except OSError:
            return None

    def target(self, path: str) -> 'Optional[str]':
        """The target of a link; None if `path` is not a link."""
        try:
            return os.readlink(self.real(path))
        except OSError:
            return None

    def kind(self, path: str) -> str:
        """What `path` itself is: DIRECTORY, LINK, OTHER or MISSING."""
        real = self.real(path)
        if os.path.islink(real):
            return LINK
        if os.path.isdir(real):
            return DIRECTORY
        return OTHER if os.path.exists(real) else MISSING

    def route(self, path: str) -> 'List[Step]':
        """Every directory and link on the way to `path`, and last the file or directory that it leads to.

        :raises OSError: links lead to each other
        """
        here, links = '', 0
        steps = [('/', DIRECTORY)]
        rest = path.split('/')[::-1]
        while rest:
            name = rest.pop()
            if name == '..':
                here = here.rpartition('/')[0]
            if name in ('', '.', '..'):
                continue
            candidate = here + '/' + name
            target = self.target(candidate)
            steps.append((candidate, self.kind(candidate)))
            if target is None:
                here = candidate
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            here = '' if target.startswith('/') else here
            rest.extend(target.split('/')[::-1])
        if steps[-1][0] != (here or '/'):  # the last link led to a directory that was passed before
            steps.append((here or '/', self.kind(here or '/')))
        return steps

    def resolve(self, path: str) -> str:
        """`path` with all links resolved; it need not exist."""
        return self.route(path)[-1][0]

    def processes(self, name: str) -> 'List[str]':
        """The /proc directories of the processes of a system daemon of that name (comm) on this very host.

        Processes in containers or chroots and those of users are left out: they use other files.
        """
        found = []
        for number in self.names('/proc') or []:
            process = '/proc/' + number
            if number.isdigit() and (self.read(process + '/comm') or '').strip() == name and self._is_ours(process):
                found.append(process)
        return found

    def program(self, process: str) -> str:
        """The path of the program that a process runs; '' if it cannot be read."""
        program = self.target(process + '/exe') or ''
        return program[: -len(_DELETED)] if program.endswith(_DELETED) else program

    def started(self, process: str) -> 'Optional[float]':
        """When a process was started, in seconds since the epoch; None if that cannot be read."""
        text, uptime = self.read(process + '/stat'), self.read('/proc/uptime')
        if not text or not uptime:
            return None
        ticks = int(text.rpartition(')')[2].split()[19])
        return time.time() - float(uptime.split()[0]) + ticks / os.sysconf('SC_CLK_TCK')

    def _is_ours(self, process: str) -> bool:
        for line in (self.read(process + '/status') or '').splitlines():
            if line.startswith('Uid:') and line.split()[2:3] != ['0']:
                return False
        namespace = self.target(process + '/ns/pid')
        if namespace is not None and namespace != self.target('/proc/self/ns/pid'):
            return False
        try:
            return os.path.samestat(*(os.stat(self.real(name + '/root')) for name in (process, '/proc/self')))
        except OSError:
            return True  # only root can tell
