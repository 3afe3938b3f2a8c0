# SPDX-License-Identifier: Apache-2.0
"""What the guard knows of its host: facts; host_probes has what is asked about one matched node. Reads /proc, /run
and /etc; writes nothing. A fact is None where the host cannot tell.
"""

import posix  # not os: see the import budget in hook/call
import time

from .verdict import HostFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional

    from .verdict import Answered

# The PID namespace that the kernel begins with: PROC_PID_INIT_INO of linux/proc_ns.h.
_FIRST_PID_NAMESPACE = b'pid:[4026531836]'
# The files that container managers create, and the manager's name if the file does not contain it. An image keeps such
# a file, even if its tree is booted as a host later.
_CONTAINER_FILES = (
    ('/run/systemd/container', ''),
    ('/run/host/container-manager', ''),
    ('/run/.containerenv', 'podman'),
    ('/.dockerenv', 'docker'),
)


def read_facts(needed: 'Iterable[str]', root: str = '/') -> HostFacts:
    """Read the `needed` facts; the others stay None. `root` stands for / in tests."""
    host = Host(root)
    readers = {'arch': _arch, 'container': host.container, 'os': host.os}
    facts = {name: readers[name]() for name in needed}
    arch, container, os = facts.get('arch'), facts.get('container'), facts.get('os')
    return HostFacts(arch, container, os, host.probe, host.evidence, host.os_like)


def today() -> str:
    """The day by the host's own clock and time zone, as YYYY-MM-DD."""
    return time.strftime('%Y-%m-%d')


def now() -> str:
    """The time, as shown_time shows it."""
    return shown_time(time.time())


def shown_time(moment: float) -> str:
    """A time in seconds since the epoch, in UTC, YYYY-MM-DDTHH:MM:SSZ."""
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(moment))


def _arch() -> str:
    return posix.uname().machine


class Host:
    """The files of one host below `root`."""

    def __init__(self, root: str = '/') -> None:
        self.root = root.rstrip('/')
        self.evidence: 'Dict[str, str]' = {}  # see HostFacts
        self.os_like: 'List[str]' = []  # known once os() is

    def path(self, path: str) -> bytes:
        """Where a path of that host is on this one."""
        # As bytes: Python 3.6 would encode it as ASCII under libvirt's LC_ALL=C.
        return (self.root + path).encode('utf-8', 'surrogateescape')

    def read(self, path: str) -> 'Optional[str]':
        """What a file says, up to 64 KiB; None where it cannot be read."""
        try:
            file = posix.open(self.path(path), posix.O_CLOEXEC)  # open() takes twice the time
            try:
                return posix.read(file, 65536).decode('utf-8', 'replace')
            finally:
                posix.close(file)
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether something is there, and be it a link that leads nowhere."""
        try:
            posix.lstat(self.path(path))
        except OSError:
            return False
        return True

    def container(self) -> 'Optional[str]':
        """The container technology that this host runs in, or 'none'; asked in systemd's order (virt.c)."""
        # The kernel's first namespace is not a container's, so such a file is a leftover there.
        is_first = self._is_in_first_pid_namespace()
        files = () if is_first else _CONTAINER_FILES
        for path, _ in files[:2]:
            written = (self.read(path) or '').strip()
            if written:
                return self._shown_by(path + ' says so', written)
        environment = self.read('/proc/1/environ')
        for variable in (environment or '').split('\0'):
            if variable.startswith('container=') and len(variable) > len('container='):
                return self._shown_by('process 1 has it in its environment', variable[len('container=') :])
        for path, technology in files[2:]:
            if self.exists(path):
                return self._shown_by(path + ' is there; remove it if this host is not a container', technology)
        # Only root can read that environment; systemd, as process 1, has written a file for all others.
        return 'none' if is_first or environment is not None or self.exists('/run/systemd/system') else None

    def _shown_by(self, mark: str, technology: str) -> str:
        self.evidence['container'] = mark
        return technology

    def _is_in_first_pid_namespace(self) -> bool:
        try:
            return posix.readlink(self.path('/proc/self/ns/pid')) == _FIRST_PID_NAMESPACE
        except OSError:
            return False

    def os(self) -> 'Optional[str]':
        """ID and VERSION_ID of os-release: `rhel-8.10`, `debian-12`, `arch`."""
        fields = self.os_release()
        self.os_like = fields.get('ID_LIKE', '').split()
        if not fields.get('ID'):
            return None
        return '-'.join(part for part in (fields['ID'], fields.get('VERSION_ID')) if part)

    def os_release(self) -> 'Dict[str, str]':
        """What os-release says of the host."""
        text = self.read('/etc/os-release') or self.read('/usr/lib/os-release')
        fields: 'Dict[str, str]' = {}
        for line in (text or '').splitlines():
            key, equals, value = line.partition('=')
            if equals:
                fields[key.strip()] = value.strip().strip('"\'')
        return fields

    def probe(self, name: str, subject: str) -> 'Answered':
        """Answer one probe, see host_probes."""
        from .host_probes import Probes  # hardly any start asks for one

        return Probes(self).answer(name, subject)
