# SPDX-License-Identifier: Apache-2.0
"""A throwaway machine: a private libvirt host for the live tests.

Namespaces (mount, host name, IPC, PID, network) around an overlay of this host's root file system. What runs inside
sees the host's programs, a fresh /etc/libvirt, and a /run, /dev, journal and libvirtd of its own. What it writes lives
in a tmpfs, what it starts dies with its PID 1, and that dies with the test process. It keeps tests off the host; it is
no security boundary (root inside is root).

Run as a program, this file is that PID 1: it mounts the machine, then starts and signals daemons as the test process
asks, until its stdin ends.
"""
import ctypes
import errno
import functools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import xml.etree.ElementTree as ElementTree
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Union

PathLike = Union[str, 'os.PathLike[str]']
Entry = Dict[str, Any]

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
JOURNALD = '/lib/systemd/systemd-journald'
LIBVIRTD_LOG, LIBVIRTD_OUTPUT = '/var/log/libvirt/libvirtd.log', '/var/log/libvirt/libvirtd.out'
URI = 'qemu:///system'
DAEMON_ENV = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8'}
COMMAND_ENV = dict(DAEMON_ENV, HOME='/root', USER='root', LOGNAME='root', LIBVIRT_DEFAULT_URI=URI)


class MachineError(Exception):
    """The machine, or a command in it, did not do what the test needs."""


class Machine:
    """One throwaway machine.

    `workdir` is any existing directory; inside it is covered, outside nothing is written to it. `shared` is a directory
    that appears inside under its own path, for two machines that migrate domains between each other.
    """

    def __init__(self, workdir: PathLike, shared: Optional[PathLike] = None, daemon: bool = True,
                 hostname: Optional[str] = None) -> None:
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
                ['unshare', '--mount', '--uts', '--ipc', '--pid', '--net', '--fork', '--kill-child', '--',
                 sys.executable, '-I', os.path.abspath(__file__)], cwd='/', env=DAEMON_ENV, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            try:
                self._pid = self._ask(workdir=str(self.workdir), shared=str(self.shared or ''), hostname=self.hostname,
                                      host_uuid=self.host_uuid, socket_dir=self.socket_dir)
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
        todo = name.strip('/').split('/')[::-1]
        for _ in range(256):
            if not todo:
                return root.joinpath(*done)
            part = todo.pop()
            here = root.joinpath(*(done + [part]))
            if part == '..':
                del done[-1:]
            elif (todo or follow) and here.is_symlink():
                target = os.readlink(str(here))
                done = [] if target.startswith('/') else done
                todo += target.strip('/').split('/')[::-1]
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

    def read(self, name: str) -> str:
        return self.path(name).read_bytes().decode('utf-8', 'backslashreplace')

    def popen(self, argv: Sequence[PathLike], env: Optional[Mapping[str, str]] = None,
              **options: Any) -> 'subprocess.Popen[Any]':
        """Start a command inside; `env` adds to the minimal environment. Killing the Popen leaves the command alive."""
        enter = ['nsenter', '--target', str(self.pid), '--mount', '--uts', '--ipc', '--net', '--pid', '--']
        return subprocess.Popen(enter + [os.fspath(arg) for arg in argv], cwd='/',
                                env=dict(COMMAND_ENV, **(env or {})), **options)

    def run(self, argv: Sequence[PathLike], input: Union[str, bytes, None] = None, check: bool = True,
            env: Optional[Mapping[str, str]] = None, timeout: float = 60) -> 'subprocess.CompletedProcess[str]':
        """Run a command inside; its output is decoded text, its stdin `input` or nothing."""
        pipe = subprocess.PIPE
        process = self.popen(argv, env, stdin=pipe, stdout=pipe, stderr=pipe)
        shown = ' '.join(map(str, argv))
        try:
            out, err = (part.decode('utf-8', 'backslashreplace')
                        for part in process.communicate(_bytes(input or b''), timeout))
        except BaseException as error:
            _kill_with_children(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise MachineError('no end after %g s: %s' % (timeout, shown)) from None
            raise
        if check and process.returncode:
            raise MachineError('exit status %d: %s\n%s%s' % (process.returncode, shown, out, err))
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def spawn(self, argv: Sequence[str], log: str = '/var/log/spawned.log',
              env: Optional[Mapping[str, str]] = None) -> int:
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
        _wait_until(lambda: self.run(['journalctl', '--sync'], check=False, timeout=5).returncode == 0,
                    10, lambda: 'journald does not answer: ' + self.read('/run/log/journald.out'))

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
        if self.journald_pid and not self._frozen:
            self.run(['journalctl', '--sync'], timeout=10)
        argv = ['journalctl', '--quiet', '--no-pager', '--all', '--output=json']
        output = self.run(argv + (['--after-cursor', after] if after else [])).stdout
        # Selected here: journalctl applies --after-cursor to what its matches left, and may drop the first entry.
        return [entry for entry in map(_entry, output.splitlines()) if _matching(entry, matches)]

    def cursor(self) -> Optional[str]:
        """Return where the journal ends now, for `after`; None while it is empty."""
        entries = self.journal()
        return str(entries[-1]['__CURSOR']) if entries else None

    def wait_journal(self, *matches: str, after: Optional[str] = None, count: int = 1,
                     timeout: float = 5) -> List[Entry]:
        """Wait for at least `count` matching entries; return all that match."""
        found: List[Entry] = []

        def arrived() -> bool:
            found[:] = self.journal(*matches, after=after)
            return len(found) >= count

        def failure() -> str:
            messages = [str(entry.get('MESSAGE')) for entry in self.journal(after=after)]
            return '%d of %d journal entries with %s; the journal has:\n%s' % (
                len(found), count, ' '.join(matches), '\n'.join(messages))

        _wait_until(arrived, timeout, failure)
        return found

    # libvirtd

    def start_libvirtd(self, timeout: float = 30) -> None:
        """Start libvirtd; return when it answers, which is after it autostarted its domains."""
        if self.alive(self.libvirtd_pid):
            raise MachineError('libvirtd runs already')
        self.libvirtd_pid = pid = self.spawn(['libvirtd'], log=LIBVIRTD_OUTPUT)
        _wait_until(lambda: not self.alive(pid) or self.virsh('uri', check=False, timeout=timeout).returncode == 0,
                    timeout, lambda: 'libvirtd does not answer:\n' + self.libvirtd_log())
        if not self.alive(pid):
            raise MachineError('libvirtd ended:\n' + self.libvirtd_log())

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
        _wait_until(lambda: b'/hooks/libxl' in log.read_bytes()[start:],
                    10, lambda: 'SIGHUP had no effect:\n' + self.libvirtd_log())

    def libvirtd_log(self) -> str:
        """Return the last lines of what libvirtd wrote to its log file and to stderr."""
        names = [name for name in (LIBVIRTD_LOG, LIBVIRTD_OUTPUT) if self.path(name).exists()]
        return '\n'.join(line for name in names for line in self.read(name).splitlines()[-20:])

    def virsh(self, *args: str, input: Union[str, bytes, None] = None, check: bool = True,
              timeout: float = 60) -> 'subprocess.CompletedProcess[str]':
        return self.run(('virsh', '--connect', URI) + args, input, check, timeout=timeout)

    # Domains

    def define(self, xml: str) -> str:
        """Define a persistent domain; return its name."""
        self.virsh('define', '/dev/stdin', input=xml)
        return ElementTree.fromstring(xml).findtext('name', '').strip()

    def undefine(self, name: str, check: bool = True) -> None:
        """Undefine a domain with all that libvirt keeps for it."""
        self.virsh('undefine', '--managed-save', '--snapshots-metadata', '--checkpoints-metadata', '--nvram',
                   '--domain', name, check=check)

    def running(self, *options: str) -> Set[str]:
        """Return the names of the active domains; with '--all', of all."""
        return set(self.virsh('list', '--name', *options).stdout.split('\n')) - {''}

    def cleanup_domains(self) -> None:
        """Destroy and undefine every domain."""
        for name in self.running():
            self.virsh('destroy', '--domain', name, check=False)
        for name in self.running('--all'):
            self.undefine(name, check=False)
        left = self.running('--all')
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
    programs = ('unshare', 'nsenter', 'ip', 'journalctl', JOURNALD, 'libvirtd', 'virsh')
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


def _kill_with_children(process: 'subprocess.Popen[Any]') -> None:
    """End nsenter and the command it waits for, which would live on without it."""
    with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as children:
        for child in children.read().split():
            os.kill(int(child), signal.SIGKILL)
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


# PID 1

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_BIND, MS_REC, MNT_DETACH = 1, 4096, 16384, 2
OVERLAY = 'lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s,redirect_dir=on'
FILE_SYSTEMS = (
    ('proc', 'proc', '', 0),
    ('sys', 'sysfs', '', 0),
    ('sys/fs/cgroup', 'cgroup2', '', MS_RDONLY),  # journald insists on one; it is the host's
    ('run', 'tmpfs', 'mode=755', 0),
    ('dev', 'tmpfs', 'mode=755', 0),
    ('dev/shm', 'tmpfs', 'mode=1777', 0),
    ('dev/pts', 'devpts', 'newinstance,ptmxmode=666,mode=620,gid=5', 0),
)
DEVICES = ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'kvm', 'net/tun', 'vhost-net', 'vfio/vfio')
LINKS = {'dev/ptmx': 'pts/ptmx', 'dev/fd': '/proc/self/fd', 'dev/stdin': 'fd/0', 'dev/stdout': 'fd/1',
         'dev/stderr': 'fd/2'}
# State of the host, and marks by which the machine would pass for a container.
REMOVED = ('.dockerenv', 'container_info.json', 'etc/libvirt', 'etc/virt-guard', 'usr/bin/virt-guard',
           'usr/lib/virt-guard', 'usr/libexec/virt-guard', 'var/cache/libvirt', 'var/lib/libvirt', 'var/log')
DIRECTORIES = ('etc/libvirt/hooks', 'etc/systemd/journald.conf.d', 'run/libvirt', 'run/lock', 'run/log/journal',
               'run/systemd/journal', 'var/cache/libvirt', 'var/lib/libvirt/images', 'var/log/libvirt/qemu')
COPIES = {'usr/share/libvirt/networks': 'etc/libvirt/qemu/networks',
          'usr/share/libvirt/nwfilter': 'etc/libvirt/nwfilter'}
FILES = {
    'etc/hostname': '{hostname}\n',
    'etc/hosts': '127.0.0.1 localhost {hostname}\n',
    'etc/machine-id': '{machine_id}\n',
    # Audit would be the host's; a rate limit would lose entries of busy tests.
    'etc/systemd/journald.conf.d/zz-machine.conf':
        '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitBurst=0\n',
    # util.hook at debug level: the only sign that a SIGHUP made libvirtd look for hooks again.
    'etc/libvirt/libvirtd.conf':
        'host_uuid = "{host_uuid}"\nunix_sock_dir = "{socket_dir}"\nauth_unix_ro = "none"\nauth_unix_rw = "none"\n'
        'log_filters = "1:util.hook"\nlog_outputs = "3:journald 1:file:' + LIBVIRTD_LOG + '"\n',
    'etc/libvirt/qemu.conf':
        'user = "root"\ngroup = "root"\nswtpm_user = "root"\nswtpm_group = "root"\ncgroup_controllers = []\n'
        'security_driver = "none"\nnamespaces = []\nstdio_handler = "file"\nremember_owner = 0\n',
}


def _mount(kind: str, source: str, target: str, data: str = '', flags: int = 0) -> None:
    if LIBC.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode()):
        raise OSError(ctypes.get_errno(), 'mount: ' + os.strerror(ctypes.get_errno()), target)


def _mount_machine(workdir: str, shared: str) -> None:
    """Make the machine's file systems and move into them."""
    lowers = ['/'] + [path for path in ('/usr', '/etc', '/var', '/opt', str(CHECKOUT))
                      if os.stat(path).st_dev != os.stat('/').st_dev]
    # Held by descriptor: the tmpfs may cover these paths, and mount options cannot hold every name.
    descriptors = [os.open(path, os.O_PATH) for path in lowers + [shared or '/']]
    _mount('tmpfs', 'tmpfs', workdir)
    os.chdir(workdir)
    for number, (path, descriptor) in enumerate(zip(lowers, descriptors)):
        upper, work, root = 'upper%d' % number, 'work%d' % number, 'root' + path
        for directory in (upper, work, root):
            os.makedirs(directory, exist_ok=True)
        _mount('overlay', 'overlay', root, OVERLAY % (descriptor, upper, work))
    os.chdir('root')
    for target, kind, data, flags in FILE_SYSTEMS:
        os.makedirs(target, exist_ok=True)
        _mount(kind, kind, target, data, flags)
    for name in filter(lambda name: os.path.exists('/dev/' + name), DEVICES):
        node = os.stat('/dev/' + name)
        os.makedirs(os.path.dirname('dev/' + name), exist_ok=True)
        os.mknod('dev/' + name, node.st_mode, node.st_rdev)
        os.chmod('dev/' + name, node.st_mode)
    if shared:
        os.makedirs('.' + shared, exist_ok=True)
        _mount('', '/proc/self/fd/%d' % descriptors[-1], '.' + shared, flags=MS_BIND | MS_REC)
    # pivot_root, not chroot: the host's mounts vanish, and ".." cannot lead out.
    os.mkdir('old')
    if LIBC.pivot_root(b'.', b'old') or LIBC.umount2(b'/old', MNT_DETACH):
        raise OSError(ctypes.get_errno(), 'pivot_root: ' + os.strerror(ctypes.get_errno()))
    os.chdir('/')
    os.rmdir('old')
    for descriptor in descriptors:
        os.close(descriptor)


def _furnish(plan: Mapping[str, str]) -> None:
    """Make a freshly installed libvirt host of the copy in the current directory."""
    for name in REMOVED:
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        elif os.path.lexists(name):
            os.unlink(name)
    for name in DIRECTORIES + (plan['socket_dir'],):
        os.makedirs(name, exist_ok=True)
    for source, target in COPIES.items():
        if os.path.isdir(source):
            shutil.copytree(source, target)
    for name, text in FILES.items():
        with open(name, 'w') as file:
            file.write(text.format(machine_id=uuid.uuid4().hex, **plan))
    for name, target in LINKS.items():
        os.symlink(target, name)
    if plan['shared']:
        os.symlink(plan['socket_dir'] + '/libvirt-sock', 'run/libvirt/libvirt-sock')
    os.chmod('run/lock', 0o1777)
    socket.sethostname(plan['hostname'])
    subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])


def _reap(*_: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _obey(request: Mapping[str, Any]) -> int:
    if 'kill' in request:
        if request['kill'] <= 1:
            raise OSError('it is not running')
        os.kill(request['kill'], request['number'])
        return 0
    with open(request['log'], 'ab') as log:
        return subprocess.Popen(request['spawn'], env=request['env'], cwd='/', start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid


def main() -> None:
    os.umask(0o022)
    plan = json.loads(sys.stdin.readline())
    host_pid = int(os.readlink('/proc/self'))  # this /proc is still the host's
    _mount_machine(plan['workdir'], plan['shared'])
    _furnish(plan)
    signal.signal(signal.SIGCHLD, _reap)
    print(host_pid, flush=True)
    for line in sys.stdin:
        try:
            print(_obey(json.loads(line)), flush=True)
        except OSError as error:
            print(json.dumps(str(error)), flush=True)


if __name__ == '__main__':
    main()
