# SPDX-License-Identifier: Apache-2.0
"""A virtual machine of an image: boots it, runs commands in it, ends it.

By emulation (TCG), because few test machines have hardware virtualization; VIRT_GUARD_HOST_ACCEL=kvm uses it. What the
machine writes goes to a file without a name, and QEMU dies with the thread that started it: nothing is left of either.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from image import Image

Entry = Dict[str, Any]
Result = subprocess.CompletedProcess

# Program that is needed here -> Debian package that has it.
NEEDS = {'qemu-system-x86_64': 'qemu-system-x86', 'ssh': 'openssh-client', 'setpriv': 'util-linux', 'tar': 'tar'}

ACCELERATORS = {
    # Code for AVX is what an emulated processor runs slowest.
    'tcg': ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max,-avx,-avx2'],
    'kvm': ['-accel', 'kvm', '-cpu', 'host'],
}
# audit=1: AppArmor's refusals reach the journal through the audit socket, too, which loses none.
KERNEL_ARGUMENTS = (
    'root=/dev/vda rw console=ttyS0 systemd.show_status=1 audit=1 audit_backlog_limit=8192 mitigations=off'
)
BOOT_TIMEOUT, TIMEOUT = 900, 300  # seconds; thirty times what a quiet machine needs
DIES_WITH_US = ('setpriv', '--pdeathsig', 'KILL', '--')


class VMError(Exception):
    """The machine, or a command in it, did not do what the test needs."""


class VM:
    """One machine; every run of it starts from the image as it was made."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._qemu: Optional[subprocess.Popen[bytes]] = None
        self._master: Optional[subprocess.Popen[bytes]] = None
        # Short, because the path of a socket may not be long.
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='vg-host-'))
        self._port = 0

    def __enter__(self) -> 'VM':
        try:
            self.boot()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # Life

    def boot(self) -> None:
        self._port = _free_port()
        accelerator = ACCELERATORS[os.environ.get('VIRT_GUARD_HOST_ACCEL') or 'tcg']
        self._qemu = subprocess.Popen(
            [
                *DIES_WITH_US, 'nice', '-n', '10', 'qemu-system-x86_64', '-name', 'virt-guard-tests', '-machine', 'q35',
                *accelerator, '-smp', '2', '-m', '3G', '-display', 'none', '-nodefaults', '-no-user-config',
                '-kernel', str(self.image.kernel), '-initrd', str(self.image.initrd), '-append', KERNEL_ARGUMENTS,
                '-drive', 'file=%s,format=raw,if=virtio,cache=unsafe,snapshot=on' % self.image.disk,
                '-netdev', 'user,id=net,hostfwd=tcp:127.0.0.1:%d-:22' % self._port,
                '-device', 'virtio-net-pci,netdev=net', '-device', 'virtio-rng-pci',
                '-serial', 'file:%s' % (self._directory / 'console'),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self._directory / 'qemu.log').open('wb'),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._connect()

    def reboot(self) -> None:
        before = self.boot_id()
        self.run('systemctl reboot', check=False)
        self._disconnect()
        self._connect(lambda: self.boot_id() != before)

    def stop(self) -> None:
        """End the machine at once; nobody needs its disk again."""
        self._disconnect()
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
        shutil.rmtree(str(self._directory), ignore_errors=True)

    def boot_id(self) -> str:
        return self.run('cat /proc/sys/kernel/random/boot_id', timeout=60).stdout

    def console(self, lines: int = 60) -> str:
        """The last of what the machine and QEMU itself wrote."""
        text = ''
        for name in ('console', 'qemu.log'):
            with contextlib.suppress(OSError):
                text += (self._directory / name).read_bytes().decode('utf-8', 'replace')
        return '\n'.join(text.splitlines()[-lines:])

    # The connection: one that is kept open, because an emulated processor needs seconds for a handshake

    def _ssh(self, *options: str) -> List[str]:
        return [
            'ssh', '-q', '-F', 'none', '-i', str(self.image.key), '-p', str(self._port), '-o', 'BatchMode=yes',
            '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'ConnectTimeout=60',
            '-o', 'ServerAliveInterval=30', '-o', 'ServerAliveCountMax=10',
            '-o', 'ControlPath=%s' % (self._directory / 'ssh'), *options, 'root@127.0.0.1',
        ]  # fmt: skip

    def _connect(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while True:
            if self._qemu is None or self._qemu.poll() is not None:
                raise VMError('QEMU ended:\n' + self.console())
            if time.monotonic() > deadline:
                raise VMError('no answer within %d s:\n%s' % (BOOT_TIMEOUT, self.console()))
            self._master = subprocess.Popen(
                [*DIES_WITH_US, *self._ssh('-M', '-N')], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while self._master.poll() is None and time.monotonic() < deadline:
                if (self._directory / 'ssh').exists():
                    with contextlib.suppress(VMError):
                        if is_wanted():
                            return
                    break
                time.sleep(0.2)
            self._disconnect()
            time.sleep(1)

    def _disconnect(self) -> None:
        if self._master:
            self._master.kill()
            self._master.wait()
            self._master = None
        with contextlib.suppress(OSError):
            (self._directory / 'ssh').unlink()

    # Commands and files

    def run(
        self, command: str, input: Union[str, bytes, None] = None, check: bool = True, timeout: float = TIMEOUT
    ) -> 'Result[str]':
        """Run a shell command inside, as root; its stdin is `input` or nothing."""
        if self._qemu is None or self._qemu.poll() is not None:
            raise VMError('the machine does not run:\n' + self.console())
        data = input.encode() if isinstance(input, str) else (input or b'')
        try:
            done = subprocess.run(
                [*self._ssh('-o', 'ControlMaster=no'), command],
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise VMError('no end after %g s: %s\n%s' % (timeout, command, self.console())) from error
        out, err = (part.decode('utf-8', 'backslashreplace') for part in (done.stdout, done.stderr))
        if check and done.returncode:
            raise VMError('exit status %d: %s\n%s%s' % (done.returncode, command, out, err))
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        self.run("mkdir -p '%s' && cat >'%s' && chmod %o '%s'" % (os.path.dirname(name), name, mode, name), text)

    def put(self, source: pathlib.Path, name: str, exclude: Sequence[str] = ()) -> None:
        """Copy a directory into the machine."""
        archive = subprocess.run(
            ['tar', '-C', str(source), *('--exclude=' + pattern for pattern in exclude), '-cf', '-', '.'],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        self.unpack(archive, name)

    def unpack(self, archive: bytes, name: str) -> None:
        self.run("mkdir -p '%s' && tar -C '%s' --no-same-owner -xf -" % (name, name), archive)

    def wait(self, command: str, timeout: float = TIMEOUT) -> bool:
        """Wait until a shell command succeeds; tell whether it did."""
        script = 'end=$(($(date +%%s) + %d)); until { %s; } >/dev/null 2>&1; do ' % (timeout, command)
        script += '[ "$(date +%s)" -lt $end ] || exit 1; sleep 0.5; done'
        return self.run(script, check=False, timeout=timeout + 60).returncode == 0

    def journal(self, *arguments: str) -> List[Entry]:
        """Entries as journalctl selects them; a field that an entry repeats is a list."""
        command = 'journalctl --sync; journalctl -q --no-pager -a -o json ' + ' '.join(arguments)
        return [json.loads(line) for line in self.run(command, check=False).stdout.splitlines()]


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def unavailable() -> Optional[str]:
    """Why no machine can run here; None where one can."""
    from image import missing

    packages = missing(NEEDS)
    if packages:
        return 'a host in a VM needs ' + ' '.join(packages)
    if os.uname().machine != 'x86_64':
        return 'a host in a VM is x86_64, this machine is ' + os.uname().machine
    return None
