# SPDX-License-Identifier: Apache-2.0
"""What a user may do, asked of those who decide: the kernel about libvirt's socket, and polkit about a process of the
user, as libvirt does."""

import os
import pwd
import signal
import subprocess

from ...errors import GuardError
from ...health.programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Mapping, Optional, Tuple, Type

YES, NO, PASSWORD, UNKNOWN = 'yes', 'no', 'with a password', 'unknown'
_PKCHECK = 'pkcheck'
_PATIENCE = 30  # seconds; polkit itself gives rules 15
_ANSWERS = {0: YES, 1: NO, 2: PASSWORD, 3: PASSWORD}
_FIRST_WITH_RULES = (0, 106)  # of polkit


def note_on_polkit() -> str:
    """What follows where polkit, on this host, reads no rules in JavaScript; '' where it does, or that is not known."""
    version = _polkit_version()
    if version is None or version >= _FIRST_WITH_RULES:
        return ''
    text = 'polkit is %s here, and reads no rules in JavaScript: with access_drivers, all but root could only look on'
    return text % '.'.join(map(str, version))


def _polkit_version() -> 'Optional[Tuple[int, ...]]':
    """Such as (0, 115) or (122,); None if there is none, or it cannot be told."""
    try:
        said = run_program([_PKCHECK, '--version'], _PATIENCE).stdout.decode('ascii', 'replace')
    except (OSError, subprocess.TimeoutExpired):
        return None
    numbers = said.strip().rpartition(' ')[2].split('.')
    return tuple(map(int, numbers)) if all(number.isdecimal() for number in numbers) else None


class UserProcess:
    """A process of a user that does nothing but be there, to be asked about. To be used in a `with` statement."""

    def __init__(self, user: pwd.struct_passwd) -> None:
        self._user = user
        self._process = 0
        self._pipe = -1

    def __enter__(self) -> 'UserProcess':
        """
        :raises GuardError: it cannot be started
        """
        reading, self._pipe = os.pipe()
        asked, answered = os.pipe()
        self._process = os.fork()
        if not self._process:
            _be(self._user, reading, answered)
        os.close(reading)
        os.close(answered)
        with os.fdopen(asked, 'rb') as said:
            if said.read(1) != b'.':
                raise GuardError('no process of the user %s can be started' % self._user.pw_name, 'run it as root')
        return self

    def __exit__(
        self,
        kind: 'Optional[Type[BaseException]]',
        error: 'Optional[BaseException]',
        trace: 'Optional[TracebackType]',
    ) -> None:
        os.close(self._pipe)
        os.kill(self._process, signal.SIGKILL)  # the user may have stopped it
        os.waitpid(self._process, 0)

    def may(self, action: str, details: 'Mapping[str, str]') -> str:
        """What polkit says of an action: YES, NO, PASSWORD, or UNKNOWN where it does not answer."""
        with open('/proc/%d/stat' % self._process, 'rb') as file:
            started = file.read().rpartition(b')')[2].split()[19].decode('ascii')
        process = '%d,%s,%d' % (self._process, started, self._user.pw_uid)
        command = [_PKCHECK, '--action-id', action, '--process', process]
        for key, value in details.items():
            command += ['--detail', key, value]
        try:
            return _ANSWERS.get(run_program(command, _PATIENCE).returncode, UNKNOWN)
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN


def may_write(user: pwd.struct_passwd, path: str) -> str:
    """Whether the kernel lets a user write to a file or socket; UNKNOWN where there is none.

    :raises GuardError: no process of the user can be started
    """
    if not os.path.exists(path):
        return UNKNOWN
    process = os.fork()
    if not process:
        try:
            _become(user)
            os._exit(0 if os.access(path, os.W_OK) else 1)
        finally:
            os._exit(2)
    status = os.waitpid(process, 0)[1]
    if not os.WIFEXITED(status) or os.WEXITSTATUS(status) > 1:
        raise GuardError('no process of the user %s can be started' % user.pw_name, 'run it as root')
    return NO if os.WEXITSTATUS(status) else YES


def _be(user: pwd.struct_passwd, reading: int, answered: int) -> None:
    """In the child: become the user, say so, and end when the parent does."""
    try:
        # What the parent has open is not the user's: least of all the other end of the pipe.
        os.closerange(3, min(reading, answered))
        os.closerange(min(reading, answered) + 1, max(reading, answered))
        os.closerange(max(reading, answered) + 1, 1 << 16)
        _become(user)
        os.write(answered, b'.')
        os.close(answered)
        os.read(reading, 1)
    finally:
        os._exit(0)


def _become(user: pwd.struct_passwd) -> None:
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
