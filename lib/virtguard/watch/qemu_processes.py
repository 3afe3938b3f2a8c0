# SPDX-License-Identifier: Apache-2.0
"""QEMU processes that the host's libvirt does not own, from /proc.

A process is owned if its number is in the status of a domain, or in a pid file beside it. Two kinds of processes are
left out: those of another PID namespace (a container's libvirt has its state where we do not see it), and the QEMU,
without a machine, that libvirt asks for its capabilities: it is known by the exact arguments that libvirt gives it, by
its user, and because it ends soon. A process counts as one without an owner only after GRACE seconds, because libvirt
writes the owner down while the process starts.
"""

import os
import re

from .state import PROCESS, process_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Set, Tuple

    from .state import Others

GRACE = 5.0  # seconds
PROBE_SECONDS = 60.0  # half a second is usual
_NAMES = ('qemu-kvm', 'qemu-system-')
_DELETED = ' (deleted)'  # the kernel's mark of a program that was upgraded under the process
# Anybody may give such a name to a program, start it a thousand times, and give it a MiB of arguments.
_MAX_ARGUMENTS = 64 << 10  # bytes
_MAX_NAME = 256  # characters
_LIB = '/var/lib/libvirt/qemu'
# src/qemu/qemu_process.c, qemuProcessQMPLaunch(), of libvirt 4.5 to 11.3: only what -qmp and -pidfile name has changed.
_PROBE = re.compile(
    r'-S\0-no-user-config\0-nodefaults\0-nographic\0-machine\0none,accel=(?:kvm:)?tcg'
    r'\0-qmp\0unix:(?:(?P<one>/[^\0,]*/qmp-[A-Za-z0-9]{6})/qmp\.monitor|(?P<all>/[^\0,]*)/capabilities\.monitor\.sock)'
    r',server(?:=on,wait=off|,nowait)'
    r'\0-pidfile\0(?:(?P=one)/qmp\.pid|(?P=all)/capabilities\.pidfile)\0-daemonize\Z'
)


class Process:
    """A QEMU process: its `document` for a transition, and its `age` in seconds."""

    __slots__ = ('pid', 'document', 'age')

    def __init__(self, pid: int, document: bytes, age: float) -> None:
        self.pid = pid
        self.document = document
        self.age = age


class Processes:
    """The processes of one /proc; `run` is the directory of libvirt's pid files, `lib` that of the QEMUs it asks."""

    def __init__(self, run: str, proc: str = '/proc', lib: str = _LIB) -> None:
        self._run = run
        self._proc = proc
        self._lib = lib
        self._namespace = self._link('self', 'ns/pid')
        self._tick = os.sysconf('SC_CLK_TCK')

    def unowned(self, owned: 'Set[int]') -> 'Tuple[Others, float]':
        """The QEMU processes that no domain owns, and the seconds until the youngest QEMU will be one of them.

        A process that cannot be looked at, or has just ended, is not one of them.

        :param owned: the processes that status files name
        """
        up = float(self._read('uptime').split()[0])
        found = [self._look(name, up) for name in os.listdir(self._proc) if name.isdigit() and int(name) not in owned]
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

    def _look(self, pid: str, up: float) -> 'Optional[Process]':
        emulator = self._link(pid, 'exe')
        if emulator.endswith(_DELETED):
            emulator = emulator[: -len(_DELETED)]
        if not os.path.basename(emulator).startswith(_NAMES):
            return None
        try:
            uid = os.stat(os.path.join(self._proc, pid)).st_uid
            arguments = self._read(os.path.join(pid, 'cmdline')).split('\0')
            fields = self._read(os.path.join(pid, 'stat')).rpartition(')')[2].split()
        except OSError:
            return None  # it has ended
        if not self._link(pid, 'exe'):
            return None  # it is ending, so its arguments are empty
        age = up - int(fields[19]) / self._tick
        if self._link(pid, 'ns/pid') not in ('', self._namespace):
            return None
        if age < PROBE_SECONDS and is_probe(arguments, self._lib) and self._is_libvirts(pid, uid):
            return None
        attributes = {'pid': pid, 'emulator': emulator, 'name': _guest_name(arguments)[:_MAX_NAME], 'uid': str(uid)}
        return Process(int(pid), process_document(attributes), age)

    def _is_libvirts(self, pid: str, uid: int) -> bool:
        """Whether a process runs as root, or as the user to whom libvirt has given QEMU's directory."""
        try:
            # A process that must not be inspected seems to be root's in /proc; this file has its real user.
            found = re.search(r'^Uid:((?:\s+\d+){4})$', self._read(os.path.join(pid, 'status')), re.MULTILINE)
        except OSError:
            return False  # it has ended
        uids = {int(word) for word in found.group(1).split()} if found else {uid}
        try:
            return uids <= {0, os.stat(self._lib).st_uid}
        except OSError:
            return uids == {0}

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


def is_probe(arguments: 'List[str]', lib: str = _LIB) -> bool:
    """Whether these are the arguments of a QEMU that libvirt asks for its capabilities, in its directory `lib`."""
    words = arguments[1:-1] if arguments[-1:] == [''] else arguments[1:]
    found = _PROBE.match('\0'.join(words))
    return found is not None and (found.group('all') or os.path.dirname(found.group('one'))) == lib


def _guest_name(arguments: 'List[str]') -> str:
    for value in _following(arguments, '-name', '--name'):
        first = value.split(',')[0]
        return first[len('guest=') :] if first.startswith('guest=') else first
    return ''
