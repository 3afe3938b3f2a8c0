# SPDX-License-Identifier: Apache-2.0
"""A machine on which `virt-guard watch` runs beside real domains, and what it must have recorded then."""

import contextlib
import re
import signal
import socket
import time
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import domains
import firmware
from domains import Mutation, device, domain, replace
from guarded import RULES, GuardedMachine
from machine import Entry
from support.records import HAPPENED_ID

IMAGES = '/var/lib/libvirt/images'
LOG, SERVER_LOG = '/var/log/watch.log', '/var/log/server.log'
MARK, QUIET, LAB_UUID = 'mark', 'quiet', '1ab00000-0000-4000-8000-000000000001'

# What can be plugged into a running domain and, with the guest of firmware.py, unplugged again.
ROOM = (
    replace('<memory unit', "<maxMemory slots='4' unit='MiB'>1024</maxMemory><memory unit"),
    replace('<os>', "<vcpu current='1'>3</vcpu><os>"),
    replace('hvm</type>', 'hvm</type>' + firmware.LOADER),
    replace('<pm>', "<cpu><numa><cell id='0' cpus='0-2' memory='64' unit='MiB'/></numa></cpu><pm>"),
    device("<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 8),
)


def identity(uuid: str) -> Mutation:
    return replace('<metadata>', '<uuid>%s</uuid><metadata>' % uuid)


def image_of(name: str) -> str:
    return '%s/%s.qcow2' % (IMAGES, name)


def disk_of(name: str) -> Mutation:
    return device(domains.QCOW2_DISK.replace('/var/lib/libvirt/images/disk.qcow2', image_of(name)))


class WatchedMachine(GuardedMachine):
    """Beside the domain of a test, `quiet` runs, to which nothing happens, and `mark`, to which happens what tells that
    all that happened before has been judged."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watch_pid = 0
        self._seen: Optional[str] = None
        self._limit = 100

    def begin(self) -> None:
        self.install('--no-deps')
        self.write(firmware.PATH, firmware.image())
        self._start_watch()
        for name in (QUIET, MARK):
            self.make_qcow2(image_of(name))
            self.virsh('create', '/dev/stdin', input=domain(name, disk_of(name)))
        self.happened()

    def _start_watch(self) -> None:
        """Start the watch as systemd does; return when it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.path('/run') / 'notify'))
            manager.settimeout(90)
            self._watch_pid = self.spawn(
                ['/usr/bin/virt-guard', 'watch'], log=LOG, env={'NOTIFY_SOCKET': '/run/notify'}
            )
            while b'READY=1' not in manager.recv(4096).split(b'\n'):
                pass

    @contextlib.contextmanager
    def watch_stopped(self) -> Iterator[None]:
        """Meanwhile it sees nothing, as on a host that is too busy."""
        self.kill(self._watch_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.kill(self._watch_pid, signal.SIGCONT)

    # Domains

    def start_lab(self) -> None:
        """A domain for tests to play with, on an empty disk."""
        self.make_qcow2(image_of('lab'))
        self.virsh('start', self.define(domain('lab', identity(LAB_UUID), *ROOM, disk_of('lab'))))

    def end_lab(self) -> None:
        self.virsh('destroy', 'lab', check=False)
        self.undefine('lab', check=False)
        self.run(['sh', '-c', 'rm -f %s/lab*' % IMAGES])

    def plug(self, xml: str, name: str = 'lab') -> None:
        self.virsh('attach-device', name, '/dev/stdin', '--live', input=xml)

    def serve(self, argv: Sequence[str], path: str) -> int:
        """Start a process that serves a device on a socket; return its pid when it listens there."""
        pid = self.spawn(argv, log=SERVER_LOG)
        deadline = time.monotonic() + 10
        while not self.path(path).exists():
            assert self.alive(pid) and time.monotonic() < deadline, self.read(SERVER_LOG)
            time.sleep(0.02)
        return pid

    # Records

    def happened(self, timeout: float = 60) -> List[Entry]:
        """What has been recorded of running domains since the last call, oldest first."""
        self._limit += 1
        self.virsh('blkdeviotune', MARK, 'vda', '--live', '--total-iops-sec', str(self._limit))
        mark = '<total_iops_sec>%d</total_iops_sec>' % self._limit
        deadline = time.monotonic() + timeout
        entries: List[Entry] = []
        while not any(mark in entry.get('VIRT_GUARD_AFTER', '') for entry in entries):
            assert time.monotonic() < deadline, 'the watch is silent: ' + self.read(LOG)
            entries = self.journal('VIRT_GUARD_OPERATION=watch', after=self._seen)
        self._seen = entries[-1]['__CURSOR']
        entries = [entry for entry in entries if entry['VIRT_GUARD_DECISION'] in ('runtime', 'error')]
        return [entry for entry in entries if entry.get('VIRT_GUARD_DOMAIN') != MARK]

    def found(self) -> List[Tuple[str, str]]:
        """The same, as (domain, rule), each checked in full."""
        return [self._checked(entry) for entry in self.happened()]

    def plugged(self) -> List[Tuple[str, str, str]]:
        """The same of what was not there before, as (domain, rule, what is there now)."""
        entries = self.happened()
        assert [entry['VIRT_GUARD_BEFORE'] for entry in entries if 'VIRT_GUARD_BEFORE' in entry] == []
        return [(*self._checked(entry), entry['VIRT_GUARD_AFTER']) for entry in entries]

    def _checked(self, entry: Entry) -> Tuple[str, str]:
        name, rule = entry['VIRT_GUARD_DOMAIN'], entry['VIRT_GUARD_RULE']
        assert entry['MESSAGE'].startswith("domain '%s': deny: %s" % (name, RULES[rule]['title']))
        assert (entry['MESSAGE_ID'], entry['PRIORITY']) == (HAPPENED_ID, '4')
        assert re.fullmatch(r'deny %s /\S+ line \d+' % rule, entry['VIRT_GUARD_FINDING'])
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', entry['VIRT_GUARD_SINCE'])
        assert entry['VIRT_GUARD_UUID'] == LAB_UUID or name != 'lab'
        assert (entry['VIRT_GUARD_MODE'], entry['VIRT_GUARD_POLICY']) == ('enforce', 'rhel-8')
        assert entry['VIRT_GUARD_POLICY_SHA256'] == self.policy_sha256()
        return name, rule
