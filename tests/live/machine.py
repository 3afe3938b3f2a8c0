# SPDX-License-Identifier: Apache-2.0
"""A throwaway machine: a private libvirt host for the live tests.

Namespaces around an overlay of this host's root file system. What runs inside sees the host's programs, a fresh
/etc/libvirt, and a /run, /dev, network, journal and libvirtd of its own. What it writes lives in a tmpfs, what it
starts dies with its PID 1, and that dies with the test process. It keeps tests off the host; it is no security
boundary (root inside is root).

That PID 1 is boot.py, beside this file.
"""

import errno
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
import uuid
import xml.etree.ElementTree as ElementTree
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Union

PathLike = Union[str, 'os.PathLike[str]']
Entry = Dict[str, Any]

BOOT = pathlib.Path(__file__).resolve().with_name('boot.py')
JOURNALD = '/lib/systemd/systemd-journald'
LIBVIRTD_LOG, LIBVIRTD_OUTPUT = '/var/log/libvirt/libvirtd.log', '/var/log/libvirt/libvirtd.out'
URI = 'qemu:///system'
DAEMON_ENV = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8'}
NAMESPACES = ('--mount', '--uts', '--ipc', '--pid', '--net', '--cgroup')
COMMAND_ENV = dict(DAEMON_ENV, HOME='/root', USER='root', LOGNAME='root', LIBVIRT_DEFAULT_URI=URI)


class MachineError(Exception):
    """The machine, or a command in it, did not do what the test needs."""


class Machine:
    """One throwaway machine.

    `workdir` is any existing directory; inside it is covered, outside nothing is written to it. `shared` is a directory
    that appears inside under its own path, for two machines that migrate domains between each other.
    """

    def __init__(
        self, workdir: PathLike, shared: Optional[PathLike] = None, daemon: bool = True, hostname: Optional[str] = None
    ) -> None:
        self.workdir = pathlib.Path(workdir).resolve()
        self.shared = pathlib.Path(shared).resolve() if shared else None
        self.daemon = daemon
        self.hostname = hostname or 'vg-' + uuid.uuid4().hex[:6]
        self.host_uuid = str(uuid.uuid4())
        self.socket_dir = str(self.shared / self.hostname) if self.shared else '/run/libvirt'
        self.libvirtd_pid = self.journald_pid = 0  # 0: not running
        self._pid = 0
        self._frozen = False
        self._init: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> 'Machine':
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """PID 1 as the host numbers it; every other pid of this class is the machine's own number."""
        if not self._pid:
            raise MachineError('the machine is not running')
        return self._pid

    @property
    def uri(self) -> str:
        """How another machine with the same shared directory reaches this one's libvirtd."""
        return 'qemu+unix:///system?socket=%s/libvirt-sock' % self.socket_dir

    # Life

    def start(self) -> None:
        """Boot: namespaces, file systems, journald and, unless daemon=False was given, libvirtd."""
        if self._init:
            raise MachineError('the machine is running')
        with tempfile.TemporaryFile('w+', errors='backslashreplace') as errors:
            # A session of its own: Ctrl-C in pytest must leave the machine alive for the fixtures that clean up.
            self._init = subprocess.Popen(
                ['unshare', *NAMESPACES, '--fork', '--kill-child', '--', sys.executable, '-I', str(BOOT)],
                cwd='/',
                env=DAEMON_ENV,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                self._pid = self._ask(
                    workdir=str(self.workdir),
                    shared=str(self.shared or ''),
                    hostname=self.hostname,
                    host_uuid=self.host_uuid,
                    socket_dir=self.socket_dir,
                    libvirtd_log=LIBVIRTD_LOG,
                )
                self.start_journald()
                if self.daemon:
                    self.start_libvirtd()
            except BaseException as error:
                self.stop()
                errors.seek(0)
                if isinstance(error, MachineError):
                    raise MachineError('the machine did not start: %s\n%s' % (error, errors.read())) from None
                raise

    def stop(self) -> None:
        """End every process of the machine; its file systems go with them."""
        if self._init is None:
            return
        try:
            self._init.communicate(timeout=10)  # closes stdin
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.communicate()
        self._init, self._pid, self.libvirtd_pid, self.journald_pid, self._frozen = None, 0, 0, 0, False
        if self.shared:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _ask(self, **request: Any) -> int:
        """Have PID 1 do something; return its answer."""
        if not (self._init and self._init.stdin and self._init.stdout):
            raise MachineError('the machine is not running')
        try:
            self._init.stdin.write(json.dumps(request).encode() + b'\n')
            self._init.stdin.flush()
            if not select.select([self._init.stdout], [], [], 10)[0]:
                raise MachineError('PID 1 does not answer')
            answer = json.loads(self._init.stdout.readline().decode())
        except (OSError, ValueError):
            raise MachineError('PID 1 is gone') from None
        if isinstance(answer, str):
            raise MachineError(answer)
        return int(answer)

    # Files and processes

    def path(self, name: str, follow: bool = True) -> pathlib.Path:
        """Return the path by which this process reaches a file of the machine.

        Links are resolved inside: followed from here, an absolute one would end on the host. follow=False keeps a link
        that is the last component.
        """
        root = pathlib.Path('/proc/%d/root' % self.pid)
        done: List[str] = []
        todo = name.split('/')[::-1]
        for _ in range(256):
            if not todo:
                return root.joinpath(*done)
            part = todo.pop()
            here = root.joinpath(*(done + [part]))
            if part in ('', '.'):
                continue
            if part == '..':
                del done[-1:]
            elif (any(todo) or follow) and here.is_symlink():
                target = os.readlink(str(here))
                done = [] if target.startswith('/') else done
                todo += target.split('/')[::-1]
            else:
                done.append(part)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)

    def write(self, name: str, text: Union[str, bytes], mode: int = 0o644) -> pathlib.Path:
        """Write a file of the machine, and make the directories above it."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(text))
        path.chmod(mode)
        return path

    def make_qcow2(self, name: str) -> None:
        """Make an empty image that can hold snapshots."""
        self.run(['qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M'])

    def read(self, name: str) -> str:
        return self.path(name).read_bytes().decode('utf-8', 'backslashreplace')

    def popen(
        self, argv: Sequence[PathLike], env: Optional[Mapping[str, str]] = None, **options: Any
    ) -> 'subprocess.Popen[Any]':
        """Start a command inside; `env` adds to the minimal environment. Killing the Popen leaves the command alive."""
        # --root: where the tests run in a chroot, the namespace's own root is not the machine's.
        enter = ['nsenter', '--target', str(self.pid), *NAMESPACES, '--root', '--wd', '--']
        return subprocess.Popen(
            enter + [os.fspath(arg) for arg in argv], cwd='/', env=dict(COMMAND_ENV, **(env or {})), **options
        )

    def run(
        self,
        argv: Sequence[PathLike],
        input: Union[str, bytes, None] = None,
        check: bool = True,
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 120,
    ) -> 'subprocess.CompletedProcess[str]':
        """Run a command inside; its output is decoded text, its stdin `input` or nothing."""
        pipe = subprocess.PIPE
        process = self.popen(argv, env, stdin=pipe, stdout=pipe, stderr=pipe)
        shown = ' '.join(map(str, argv))
        try:
            out, err = (
                part.decode('utf-8', 'backslashreplace') for part in process.communicate(_bytes(input or b''), timeout)
            )
        except BaseException as error:
            _kill_command(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise MachineError('no end after %g s: %s' % (timeout, shown)) from None
            raise
        if check and process.returncode:
            raise MachineError('exit status %d: %s\n%s%s' % (process.returncode, shown, out, err))
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def spawn(
        self, argv: Sequence[str], log: str = '/var/log/spawned.log', env: Optional[Mapping[str, str]] = None
    ) -> int:
        """Start a daemon as a child of PID 1, with its output appended to `log`; return its pid."""
        return self._ask(spawn=list(argv), log=log, env=dict(DAEMON_ENV, **(env or {})))

    def kill(self, pid: int, number: int = signal.SIGTERM, wait: float = 0) -> None:
        """Signal a process; with `wait`, wait so many seconds for its end."""
        self._ask(kill=pid, number=int(number))
        if wait:
            _wait_until(lambda: not self.alive(pid), wait, lambda: 'process %d outlived signal %d' % (pid, number))

    def alive(self, pid: int) -> bool:
        return bool(pid) and self.path('/proc').joinpath(str(pid)).exists()

    # journald

    def start_journald(self) -> None:
        self.journald_pid = self.spawn([JOURNALD], log='/run/log/journald.out')
        _wait_until(
            lambda: self.run(['journalctl', '--sync'], check=False, timeout=5).returncode == 0,
            60,
            lambda: 'journald does not answer: ' + self.read('/run/log/journald.out'),
        )

    def kill_journald(self) -> None:
        self.kill(self.journald_pid, signal.SIGKILL, wait=5)
        self.journald_pid, self._frozen = 0, False

    def freeze_journald(self) -> None:
        self.kill(self.journald_pid, signal.SIGSTOP)
        self._frozen = True

    def thaw_journald(self) -> None:
        self.kill(self.journald_pid, signal.SIGCONT)
        self._frozen = False

    def journal(self, *matches: str, after: Optional[str] = None) -> List[Entry]:
        """Return journal entries, oldest first; a field that an entry repeats is a list.

        A match is 'FIELD=value': the values of one field are alternatives, all fields must match. `after` is a cursor.
        """
        entries = self._read_journal(*(['--after-cursor', after] if after else []))
        # Selected here: journalctl applies --after-cursor to what its matches left, and may drop the first entry.
        return [entry for entry in entries if _matching(entry, matches)]

    def _read_journal(self, *options: str) -> List[Entry]:
        if self.journald_pid and not self._frozen:
            self.run(['journalctl', '--sync'], timeout=60)
        output = self.run(['journalctl', '--quiet', '--no-pager', '--all', '--output=json', *options]).stdout
        return [_entry(line) for line in output.split('\n') if line]  # a field may have line ends of Unicode

    def cursor(self) -> Optional[str]:
        """Return where the journal ends now, for `after`; None while it is empty."""
        entries = self._read_journal('--lines=1')
        return str(entries[-1]['__CURSOR']) if entries else None

    def wait_journal(
        self, *matches: str, after: Optional[str] = None, count: int = 1, timeout: float = 60
    ) -> List[Entry]:
        """Wait for at least `count` matching entries; return all that match."""
        deadline = time.monotonic() + timeout
        found = self.journal(*matches, after=after)
        while len(found) < count:
            if time.monotonic() > deadline:
                messages = '\n'.join(str(entry.get('MESSAGE')) for entry in self.journal(after=after))
                raise MachineError(
                    '%d of %d journal entries with %s; the journal has:\n%s'
                    % (len(found), count, ' '.join(matches), messages)
                )
            time.sleep(0.02)
            found = self.journal(*matches, after=after)
        return found

    # libvirtd

    def start_libvirtd(self, timeout: float = 120) -> None:
        """Start libvirtd; return when it answers, which is after it autostarted its domains."""
        if self.alive(self.libvirtd_pid):
            raise MachineError('libvirtd runs already')
        self.libvirtd_pid = pid = self.spawn(['libvirtd'], log=LIBVIRTD_OUTPUT)

        def answers() -> bool:
            if not self.alive(pid):
                raise MachineError('libvirtd ended')
            return self.virsh('uri', check=False, timeout=timeout).returncode == 0

        try:
            _wait_until(answers, timeout, lambda: 'libvirtd does not answer')
        except MachineError as error:
            raise MachineError('%s\n%s' % (error, self.libvirtd_log())) from None

    def stop_libvirtd(self, number: int = signal.SIGTERM) -> None:
        """End libvirtd; running domains stay. SIGKILL plays a crash."""
        if self.alive(self.libvirtd_pid):
            self.kill(self.libvirtd_pid, number, wait=15)
        self.libvirtd_pid = 0

    def restart_libvirtd(self) -> None:
        self.stop_libvirtd()
        self.start_libvirtd()

    def reload_libvirtd(self) -> None:
        """Send SIGHUP; return when libvirtd has looked for hooks again."""
        log = self.path(LIBVIRTD_LOG)
        start = log.stat().st_size
        self.kill(self.libvirtd_pid, signal.SIGHUP)
        # Drivers are looked up in a fixed order, libxl after qemu.
        _wait_until(
            lambda: b'/hooks/libxl' in log.read_bytes()[start:],
            60,
            lambda: 'SIGHUP had no effect:\n' + self.libvirtd_log(),
        )

    def libvirtd_log(self) -> str:
        """Return the last lines of what libvirtd wrote to its log file and to stderr."""
        names = [name for name in (LIBVIRTD_LOG, LIBVIRTD_OUTPUT) if self.path(name).exists()]
        return '\n'.join(line for name in names for line in self.read(name).splitlines()[-20:])

    def virsh(
        self, *args: str, input: Union[str, bytes, None] = None, check: bool = True, timeout: float = 120
    ) -> 'subprocess.CompletedProcess[str]':
        return self.run(('virsh', '--connect', URI) + args, input, check, timeout=timeout)

    # Domains

    def define(self, xml: str) -> str:
        """Define a persistent domain; return its name."""
        self.virsh('define', '/dev/stdin', input=xml)
        return ElementTree.fromstring(xml).findtext('name', '').strip()

    def undefine(self, name: str, check: bool = True) -> 'subprocess.CompletedProcess[str]':
        """Undefine a domain with all that libvirt keeps for it."""
        options = ('--managed-save', '--snapshots-metadata', '--checkpoints-metadata', '--nvram')
        return self.virsh('undefine', *options, '--domain', name, check=check)

    def running(self, *options: str) -> Set[str]:
        """Return the names of the active domains; with '--all', of all."""
        return set(self.virsh('list', '--name', *options).stdout.split('\n')) - {''}

    def cleanup_domains(self) -> None:
        """Destroy and undefine every domain, by UUID: a name may be anything."""

        def listed(*options: str) -> Set[str]:
            return set(self.virsh('list', '--uuid', *options).stdout.split())

        domains = listed('--all')
        if not domains:
            return
        active = listed() if self.qemu_pids() else ()
        done = [self.virsh('destroy', '--domain', domain, check=False) for domain in active]
        done += [self.undefine(domain, check=False) for domain in domains]
        # One that was transient is gone already when undefine is tried.
        left = listed('--all') if any(result.returncode for result in done) else set()
        if left:
            raise MachineError('domains stay: %s\n%s' % (' '.join(sorted(left)), self.libvirtd_log()))

    def qemu_pids(self) -> Dict[int, str]:
        """Map pid to domain name for every QEMU, known to libvirt or not; capability probes have no name."""
        found = {}
        for process in self.path('/proc').glob('[0-9]*'):
            try:
                argv = process.joinpath('cmdline').read_bytes().decode('utf-8', 'backslashreplace').split('\0')
            except OSError:  # it ended meanwhile
                continue
            if 'qemu' in argv[0] and '-name' in argv:
                found[int(process.name)] = argv[argv.index('-name') + 1].split(',')[0].replace('guest=', '', 1)
        return found


@functools.lru_cache(maxsize=None)
def unavailable() -> Optional[str]:
    """Return why no machine can run here, or None; found out by trying."""
    if os.geteuid() != 0:
        return 'needs root'
    programs = ('unshare', 'nsenter', 'ip', 'journalctl', JOURNALD, 'libvirtd', 'virsh', 'qemu-img')
    for program in programs + ('qemu-system-' + os.uname().machine,):
        if not shutil.which(program, path=DAEMON_ENV['PATH']):
            return 'needs ' + program
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
        with tempfile.TemporaryDirectory() as workdir, Machine(workdir, daemon=False) as machine:
            machine.run(['test', '-c', '/dev/kvm'])
    except (OSError, MachineError) as error:
        return 'no throwaway machine here: ' + str(error).strip().splitlines()[-1]
    return None


def _wait_until(condition: Callable[[], bool], timeout: float, failure: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise MachineError(failure())
        time.sleep(0.02)


def _bytes(text: Union[str, bytes]) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _kill_command(process: 'subprocess.Popen[Any]') -> None:
    """End the command that nsenter waits for. nsenter then ends by itself; killed first, it would leave both behind."""
    with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as children:
        for child in children.read().split():
            os.kill(int(child), signal.SIGKILL)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _entry(line: str) -> Entry:
    """Parse a line of journalctl's JSON, where text that is not printable comes as a list of bytes."""

    def text(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], int):
            return bytes(value).decode('utf-8', 'backslashreplace')
        return [text(item) for item in value] if isinstance(value, list) else value

    return {field: text(value) for field, value in json.loads(line).items()}


def _matching(entry: Entry, matches: Sequence[str]) -> bool:
    wanted: Dict[str, Set[str]] = {}
    for match in matches:
        field, _, value = match.partition('=')
        wanted.setdefault(field, set()).add(value)
    having = {field: entry.get(field, []) for field in wanted}
    return all(wanted[field].intersection(has if isinstance(has, list) else [has]) for field, has in having.items())
