# SPDX-License-Identifier: Apache-2.0
"""A booted host: this machine's own root file system, copied on write, under a systemd of its own in systemd-nspawn.

What tests/live does with a private libvirtd and journald, here systemd does: units, sandbox, watchdog, journal, boot.
It dies with the test process, and leaves nothing behind (see nest.py, which makes it).
"""

import contextlib
import functools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, Optional, Set

from domains import domain
from guarded import GuardedMachine
from machine import DAEMON_ENV, LIBVIRTD_LOG, Entry, MachineError
from watched import disk_of, image_of

NEST = pathlib.Path(__file__).resolve().with_name('nest.py')
WATCH, DAEMON = 'virt-guard-watch.service', 'libvirtd.service'
UNIT = '/usr/lib/systemd/system/' + WATCH
DROP_INS = '/etc/virt-guard/policy.d'
# In here the guard refuses everything, and rightly so.
IN_A_CONTAINER = (
    '50-container.yaml',
    'rules: [{id: container-host, action: "off", reason: a test that runs in a container}]\n',
)
RENEWAL = 'virt-guard-compile.service'
BROKEN = 'rules: [{id: tcg, acton: warn}]\n'
LAB = 'lab'


class BootedHost(GuardedMachine):
    """A host that is on from start() to stop(); what it wrote stays over a reboot."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.said_at_install = ''
        self._console = self.workdir / 'console.log'  # outside; inside, the directory is covered

    # Life

    def start(self) -> None:
        if self._init:
            raise MachineError('the host is on')
        try:
            with self._console.open('ab') as errors:
                # A session of its own: Ctrl-C in pytest must leave the host on for the fixtures that clean up.
                self._init = subprocess.Popen(
                    [sys.executable, '-I', '-B', str(NEST)],
                    cwd='/',
                    env=DAEMON_ENV,
                    start_new_session=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            plan = {
                'workdir': str(self.workdir),
                'hostname': self.hostname,
                'host_uuid': self.host_uuid,
                'socket_dir': self.socket_dir,
                'libvirtd_log': LIBVIRTD_LOG,
            }
            self._request(30, json.dumps(plan))
            self._boot()
        except BaseException as error:
            self.stop()
            if isinstance(error, MachineError):
                raise MachineError('the host did not boot: %s' % error) from None
            raise

    def _boot(self) -> None:
        assert self._init
        self._request(30, 'boot')
        self._pid = _leader(self._init.pid)
        state, deadline = '', time.monotonic() + 60
        while state not in ('running', 'degraded'):
            if time.monotonic() > deadline:
                raise MachineError('the host is ' + state)
            result = self.run(['systemctl', 'is-system-running', '--wait'], check=False, timeout=180)
            state = result.stdout.strip() or result.stderr.strip()
            time.sleep(0.02)
        self.journald_pid = self.main_pid('systemd-journald.service')
        self.virsh('uri')  # starts libvirtd, if nothing else did

    def reboot(self) -> None:
        self.run(['systemctl', 'reboot'], check=False)  # which may end it before it has answered
        self._pid = 0
        self._request(60, 'wait')
        self._boot()

    def changed(self) -> Set[str]:
        """The paths of all files that this machine does not have, or has otherwise."""
        return set(self._request(30, 'changed'))

    def _request(self, timeout: float, request: str) -> Any:
        assert self._init and self._init.stdin and self._init.stdout
        try:
            self._init.stdin.write(request.encode() + b'\n')
            self._init.stdin.flush()
            if not select.select([self._init.stdout], [], [], timeout)[0]:
                raise MachineError('no answer to %s\n%s' % (request, self.console()))
            answer = json.loads(self._init.stdout.readline().decode())
        except (OSError, ValueError):
            raise MachineError('it is gone: ' + self.console()) from None
        if isinstance(answer, dict):
            raise MachineError('%s\n%s' % (answer['error'], self.console()))
        return answer

    def console(self) -> str:
        """The last lines of what the nest, nspawn and systemd said."""
        return '\n'.join(self._console.read_text(errors='backslashreplace').splitlines()[-20:])

    # libvirtd

    def start_libvirtd(self, timeout: float = 120) -> None:
        self.systemctl('start', DAEMON, timeout=timeout)

    def stop_libvirtd(self, number: int = signal.SIGTERM) -> None:
        """End libvirtd, but not the sockets by which systemd starts it again; running domains stay."""
        self.systemctl('kill', '--kill-who=main', '--signal=%d' % number, DAEMON)

    def restart_libvirtd(self) -> None:
        self.systemctl('restart', DAEMON)

    def kill(self, pid: int, number: int = signal.SIGTERM, wait: float = 0) -> None:
        self.run(['sh', '-c', 'kill -%d %d' % (number, pid)])

    # systemd

    def systemctl(
        self, *arguments: str, check: bool = True, timeout: float = 120
    ) -> 'subprocess.CompletedProcess[str]':
        return self.run(('systemctl', *arguments), check=check, timeout=timeout)

    def show(self, unit: str, *properties: str) -> Dict[str, str]:
        """Properties of a unit as systemd has them in force."""
        shown = self.systemctl('show', '--property=' + ','.join(properties), unit).stdout
        return dict(line.split('=', 1) for line in shown.splitlines())

    def main_pid(self, unit: str) -> int:
        return int(self.show(unit, 'MainPID')['MainPID'])

    def status(self) -> str:
        """What the watch last told systemd of itself."""
        return self.show(WATCH, 'StatusText')['StatusText']

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                log = self.run(['journalctl', '--no-pager', '--lines=40', '--unit=virt-guard-*'], check=False).stdout
                said = (seconds, what, self.status(), self.failed_units(), log)
                raise MachineError('not within %g s: %s; %s\n%s%s' % said)
            time.sleep(0.05)

    def failed_units(self) -> str:
        return self.systemctl('--failed', '--quiet', '--plain').stdout

    def wait_for_new_watch(self, old_pid: int, seconds: float) -> None:
        """Wait for the watch to be back, and ready, in another process."""

        def is_back() -> bool:
            shown = self.show(WATCH, 'MainPID', 'SubState')
            return shown['MainPID'] not in ('0', str(old_pid)) and shown['SubState'] == 'running'

        self.wait(is_back, seconds, 'another watch is running')

    @contextlib.contextmanager
    def overridden(self, unit: str, text: str) -> Iterator[None]:
        """Give a unit a drop-in, and start it anew with it; undo both in the end."""
        name = '/etc/systemd/system/%s.d/50-test.conf' % unit
        self.write(name, text)
        try:
            for command in (['daemon-reload'], ['restart', unit]):
                self.systemctl(*command)
            yield
        finally:
            self.run(['rm', '-r', os.path.dirname(name)])
            for command in (['daemon-reload'], ['restart', unit]):
                self.systemctl(*command)

    # What an administrator does

    def put_drop_in(self, name: str, text: str) -> None:
        """Write a file of policy.d, or with '' take it away, and have the policy compiled."""
        # The unit that renews it may still be at the change before: what it writes then is out of date for a moment.
        self.wait(lambda: self.show(RENEWAL, 'ActiveState')['ActiveState'] != 'activating', 60, 'the policy is renewed')
        path = '%s/%s' % (DROP_INS, name)
        if text:
            self.write(path, text)
        else:
            self.run(['rm', '-f', path])
        self.run(['virt-guard', 'policy', 'compile'], check=False)  # which says no where it is broken

    def install_here(self) -> None:
        """Install as README says; let the policy be such that not everything is refused."""
        self.said_at_install = self.install('--no-deps')
        self.put_drop_in(*IN_A_CONTAINER)

    def start_lab(self) -> None:
        """A domain to play with, on a disk that can be throttled."""
        self.make_qcow2(image_of(LAB))
        self.virsh('create', '/dev/stdin', input=domain(LAB, disk_of(LAB)))

    def throttle(self, limit: int) -> None:
        """What the policy has a rule against: see `qemu-io-throttling`."""
        self.virsh('blkdeviotune', LAB, 'vda', '--live', '--total-iops-sec', str(limit))

    def throttled(self, limit: int, after: Optional[str], timeout: float = 60) -> Entry:
        """The record of that."""
        matches = ('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DOMAIN=' + LAB, 'VIRT_GUARD_RULE=qemu-io-throttling')
        records = self.wait_journal(*matches, after=after, timeout=timeout)
        assert '<total_iops_sec>%d</total_iops_sec>' % limit in records[-1]['VIRT_GUARD_AFTER']
        assert len(records) == 1, [record['VIRT_GUARD_AFTER'] for record in records]
        return records[0]

    def record(self, name: str, decision: str, operation: str) -> Entry:
        """The one new audit record of a domain, by the policy with its drop-in."""
        record = self._one_record(name, decision, operation)
        assert (record['VIRT_GUARD_MODE'], record['VIRT_GUARD_POLICY']) == ('enforce', 'rhel-8')
        assert 'VIRT_GUARD_WARNING' not in record
        return record

    def clean_up(self) -> None:
        """Between two tests: no domains, no units that failed, only the one drop-in, and the watch as it was."""
        others = [name for name in self.run(['ls', DROP_INS]).stdout.split() if name != IN_A_CONTAINER[0]]
        for name in others:
            self.put_drop_in(name, '')
        super().clean_up()
        # A policy that was broken has failed to be compiled, and is compiled soon.
        self.wait(lambda: not self.failed_units(), 60, 'no unit has failed')
        assert self.systemctl('is-active', WATCH).stdout == 'active\n'


def _leader(outer: int) -> int:
    """The container's PID 1 as this process numbers it: nest, its PID 1, nspawn, and then that."""
    pid = outer
    for _ in range(3):
        pid = int(pathlib.Path('/proc/%d/task/%d/children' % (pid, pid)).read_text().split()[0])
    return pid


@functools.lru_cache(maxsize=None)
def unavailable() -> Optional[str]:
    """Return why no host can boot here, or None; found out by trying."""
    if os.geteuid() != 0:
        return 'needs root'
    programs = ('systemd-nspawn', 'systemctl', 'nsenter', 'journalctl', 'libvirtd', 'virsh', 'qemu-img')
    for program in programs + ('qemu-system-' + os.uname().machine,):
        if not shutil.which(program, path=DAEMON_ENV['PATH']):
            return 'needs ' + program
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
        with tempfile.TemporaryDirectory() as workdir, BootedHost(workdir) as host:
            host.run(['test', '-c', '/dev/kvm'])
    except (OSError, MachineError) as error:
        return 'no booted host here: ' + str(error).strip().splitlines()[-1]
    return None
