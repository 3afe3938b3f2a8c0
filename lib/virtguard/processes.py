# SPDX-License-Identifier: Apache-2.0
"""QEMU processes that the host's libvirt does not own, from /proc.

Owned is a process whose number is in the status of a domain, or in a pid file beside it. Not looked at are processes
of another PID namespace (a container's libvirt has its state where we do not see it), and the QEMU that libvirt asks
for its capabilities: a `-machine none` that is never started. A process gets GRACE seconds before it is one without an
owner, because libvirt writes the owner down while the process starts.
"""

import os

from .transition import PROCESS, process_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Set, Tuple

    from .transition import Others

GRACE = 5.0  # seconds
_NAMES = ('qemu-kvm', 'qemu-system-')
_DELETED = ' (deleted)'  # the kernel's mark of a program that was upgraded under the process
_MAX_ARGUMENTS = 1 << 20  # bytes


class Process:
    """A QEMU process: its `document` for a transition, and its `age` in seconds."""

    __slots__ = ('pid', 'document', 'age')

    def __init__(self, pid: int, document: bytes, age: float) -> None:
        self.pid = pid
        self.document = document
        self.age = age


class Processes:
    """The processes of one /proc; `run` is the directory of libvirt's pid files."""

    def __init__(self, run: str, proc: str = '/proc') -> None:
        self._run = run
        self._proc = proc
        self._namespace = self._link('self', 'ns/pid')
        self._tick = os.sysconf('SC_CLK_TCK')

    def unowned(self, owned: 'Set[int]') -> 'Tuple[Others, float]':
        """The QEMU processes that no domain owns, and the seconds until the youngest QEMU will be one of them.

        A process that cannot be looked at, or has just ended, is none.

        :param owned: the processes that status files name
        """
        found = [self._look(name) for name in os.listdir(self._proc) if name.isdigit() and int(name) not in owned]
        strangers = [process for process in found if process is not None]
        if strangers:
            owned = self._named_by_pid_files()
            strangers = [process for process in strangers if process.pid not in owned]
        old = {(PROCESS, str(process.pid)): process.document for process in strangers if process.age >= GRACE}
        return old, max([GRACE - process.age for process in strangers] + [0.0])

    def _named_by_pid_files(self) -> 'Set[int]':
        owned: 'Set[int]' = set()
        try:
            names = [name for name in os.listdir(self._run) if name.endswith('.pid')]
        except OSError:
            return owned
        for name in names:
            try:
                descriptor = os.open(os.path.join(self._run, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue  # it is gone
            with open(descriptor, 'rb') as file:
                text = file.read(32).strip()
            if text.isdigit():
                owned.add(int(text))
        return owned

    def _look(self, pid: str) -> 'Optional[Process]':
        emulator = self._link(pid, 'exe')
        if emulator.endswith(_DELETED):
            emulator = emulator[: -len(_DELETED)]
        if not os.path.basename(emulator).startswith(_NAMES):
            return None
        try:
            uid = os.stat(os.path.join(self._proc, pid)).st_uid
            arguments = self._read(os.path.join(pid, 'cmdline')).split('\0')
            fields = self._read(os.path.join(pid, 'stat')).rpartition(')')[2].split()
            up = float(self._read('uptime').split()[0])
        except OSError:
            return None  # it has ended
        if not self._link(pid, 'exe'):
            return None  # so has this one: while it ends, its arguments are empty
        if self._link(pid, 'ns/pid') not in ('', self._namespace) or _only_asks(arguments):
            return None
        attributes = {'pid': pid, 'emulator': emulator, 'name': _guest_name(arguments), 'uid': str(uid)}
        return Process(int(pid), process_document(attributes), up - int(fields[19]) / self._tick)

    def _link(self, *parts: str) -> str:
        try:
            return os.readlink(os.path.join(self._proc, *parts))
        except OSError:
            return ''  # a kernel thread, a zombie, or one that has ended

    def _read(self, name: str) -> str:
        with open(os.path.join(self._proc, name), 'rb') as file:
            return os.fsdecode(file.read(_MAX_ARGUMENTS))


def _following(arguments: 'List[str]', *options: str) -> 'Iterable[str]':
    for option, value in zip(arguments, arguments[1:]):
        if option in options:
            yield value


def _only_asks(arguments: 'List[str]') -> bool:
    machines = list(_following(arguments, '-machine', '-M', '--machine'))
    return bool(machines) and all(value.split(',')[0] == 'none' for value in machines) and '-S' in arguments


def _guest_name(arguments: 'List[str]') -> str:
    for value in _following(arguments, '-name', '--name'):
        first = value.split(',')[0]
        return first[len('guest=') :] if first.startswith('guest=') else first
    return ''
