# SPDX-License-Identifier: Apache-2.0
"""The nest of a booted host (see booted.py, which runs this file): namespaces, file systems and a cgroup around one
systemd-nspawn after the other, on one tree.

The outer process holds the cgroup, and takes it away in the end. The inner one is PID 1 of a PID namespace: it makes
the tree, then boots it and waits for it as the test process asks, one request and one answer in JSON per line, until
its stdin ends. With it ends everything that it started.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
import uuid
from typing import Any, Dict, List, Mapping

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'live'))

import boot  # noqa: E402
from boot import CHECKOUT, COPIES, REMOVED  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID = 0x20000, 0x2000000, 0x20000000
PR_SET_PDEATHSIG = 1

# What this machine's administrator and packages have systemd do.
# Generators make units of what is in /etc, on disks, and on the kernel's command line.
EMPTIED = (
    'etc/binfmt.d',
    'etc/default/libvirtd',
    'etc/fstab',
    'etc/init.d',
    'etc/modules-load.d',
    'etc/sysctl.conf',
    'etc/sysctl.d',
    'etc/systemd',
    'etc/tmpfiles.d',
    'lib/systemd/system-generators',
    'usr/lib/systemd/system-generators',
    'usr/lib/tmpfiles.d/tmp.conf',  # would empty /tmp, where the checkout may be
    'usr/local/lib/systemd',
    'var/lib/systemd',
)
DIRECTORIES = (
    'etc/libvirt/hooks',
    'etc/systemd/journald.conf.d',
    'etc/systemd/system',
    'var/cache/libvirt',
    'var/lib/libvirt/images',
    'var/log/journal',
    'var/log/libvirt/qemu',
)
# As in tests/live, but QEMU runs as libvirt's own user, and in a cgroup as its unit has it; the journal stays.
FILES = dict(
    boot.FILES,
    **{
        'etc/systemd/journald.conf.d/zz-machine.conf': boot.JOURNALD_CONF % 'persistent',
        'etc/libvirt/qemu.conf': boot.PLAIN_QEMU,
    },
)
DEVICES = {'kvm': (10, 232)}


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), '%s: %s' % (what, os.strerror(ctypes.get_errno())))


def _mount(kind: str, source: str, target: str, data: str = '', flags: int = 0) -> None:
    result = LIBC.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(result, 'mount %s on %s' % (kind or source, target))


# The nest


def _leave_the_host() -> None:
    """From here on, no mount of ours is one of the host's.

    Mounts can be made private at the root of their namespace only, and where the tests run in a chroot, "/" is not it.
    nspawn, too, needs a "/" that is a mount.
    """
    _check(LIBC.unshare(CLONE_NEWNS), 'unshare')
    root = os.open('/', os.O_PATH)
    os.chdir('/')
    os.chroot('/usr')
    for _ in range(64):
        os.chdir('..')
    os.chroot('.')
    _mount('', '', '/', flags=MS_REC | MS_PRIVATE)
    os.fchdir(root)
    chroot = os.getcwd()
    os.close(root)
    if chroot != '/':
        _mount('', chroot, chroot, flags=MS_BIND | MS_REC)
        os.chdir(chroot)
        _check(LIBC.pivot_root(b'.', b'.'), 'pivot_root')
        _check(LIBC.umount2(b'.', MNT_DETACH), 'umount')
        os.chdir('/')


def _make_cgroup(mounted: str) -> str:
    """A cgroup of our own below that of this process, of the one hierarchy that every kernel has; return its path."""
    with open('/proc/self/cgroup') as file:
        own = [line.rstrip('\n')[3:] for line in file if line.startswith('0::')]
    if not own:
        raise OSError('this kernel has no cgroups v2')
    _mount('cgroup2', 'cgroup2', mounted)
    path = '%s%s/virt-guard-test-%s' % (mounted, own[0].rstrip('/'), uuid.uuid4().hex[:8])
    os.mkdir(path)
    return path


def _remove_cgroup(path: str) -> None:
    """Its processes are dead, but the kernel may still be about to notice."""
    deadline = time.monotonic() + 10
    while os.path.isdir(path) and time.monotonic() < deadline:
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                time.sleep(0.02)


# The tree


def _mount_tree(tree: str, lowers: Mapping[str, int]) -> Dict[str, str]:
    """Return, for each file system of this machine, where its changes go."""
    uppers = {}
    for number, (path, descriptor) in enumerate(lowers.items()):
        upper, work, target = 'upper%d' % number, 'work%d' % number, tree + path
        for directory in (upper, work, target):
            os.makedirs(directory, exist_ok=True)
        _mount('overlay', 'overlay', target, boot.OVERLAY % (descriptor, upper, work))
        uppers[path] = upper
    return uppers


def _furnish(tree: str, plan: Mapping[str, str]) -> None:
    """Make a freshly installed libvirt host of the copy of this machine."""
    for name in REMOVED + EMPTIED:
        path = os.path.join(tree, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
    for name in DIRECTORIES:
        os.makedirs(os.path.join(tree, name), exist_ok=True)
    for source, target in COPIES.items():
        if os.path.isdir(os.path.join(tree, source)):
            shutil.copytree(os.path.join(tree, source), os.path.join(tree, target))
    for name, text in FILES.items():
        with open(os.path.join(tree, name), 'w') as file:
            file.write(text.format(machine_id=uuid.uuid4().hex, **plan))
    subprocess.check_call(['systemctl', '--quiet', '--root', tree, 'enable', 'libvirtd.service'], stdout=sys.stderr)


def _read(name: str) -> str:
    with open(name) as file:
        return file.read()


class Nest:
    def __init__(self, plan: Mapping[str, str]) -> None:
        self._tree = tree = plan['workdir'] + '/tree'
        mounted = [path for path in ('/usr', '/etc', '/var', '/opt') if os.stat(path).st_dev != os.stat('/').st_dev]
        # The checkout in any case: it may be mounted there from another place of the same file system.
        lowers = {path: os.open(path, os.O_PATH) for path in ('/', *mounted, CHECKOUT)}
        os.chdir(plan['workdir'])
        self._uppers = _mount_tree('tree', lowers)
        for descriptor in lowers.values():
            os.close(descriptor)
        # nspawn's own traces, and a hierarchy of cgroups that begins with ours, whatever the host has there.
        _mount('tmpfs', 'tmpfs', '/run', 'mode=755')
        _mount('proc', 'proc', '/proc')
        if not os.path.isdir('/sys/fs/cgroup'):  # a bare chroot
            _mount('sysfs', 'sysfs', '/sys')
        _mount('cgroup2', 'cgroup2', '/sys/fs/cgroup')
        _furnish(tree, plan)
        # A node of our own: libvirt's user may use it, whoever may use that of the host.
        for name, (major, minor) in DEVICES.items():
            os.mknod(name, 0o020666, os.makedev(major, minor))
            os.chmod(name, 0o666)
        self._binds = ['--bind=%s/%s:/dev/%s' % (plan['workdir'], name, name) for name in DEVICES]

    def boot(self) -> None:
        """Have nspawn start the tree's systemd; return when it has."""
        self._nspawn = subprocess.Popen(
            [
                'systemd-nspawn',
                '--quiet',
                '--directory=' + self._tree,
                '--boot',
                '--register=no',
                '--keep-unit',
                '--private-network',
                '--console=pipe',
                # Which device a unit may open, and whether it may send to the network, are programs in the kernel.
                '--capability=CAP_BPF',
                '--system-call-filter=bpf',
                *self._binds,
            ],
            env=dict(os.environ, SYSTEMD_NSPAWN_TMPFS_TMP='0'),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        deadline = time.monotonic() + 20
        while not self._runs():
            if self._nspawn.poll() is not None or time.monotonic() > deadline:
                raise OSError('systemd-nspawn starts nothing')
            time.sleep(0.02)

    def _runs(self) -> bool:
        """Whether nspawn's child is systemd already; before, it is nspawn, and in no place of its own."""
        try:
            children = _read('/proc/%d/task/%d/children' % (self._nspawn.pid, self._nspawn.pid)).split()
            return any(_read('/proc/%s/comm' % child) == 'systemd\n' for child in children)
        except FileNotFoundError:
            return False

    def wait(self) -> int:
        """Wait until the host is off; return nspawn's exit status."""
        return self._nspawn.wait(60)

    def changed(self) -> List[str]:
        """Every file that this machine does not have, or has otherwise."""
        found = []
        for path, upper in self._uppers.items():
            for directory, names, files in os.walk(upper):
                place = os.path.normpath(os.path.join(path, os.path.relpath(directory, upper)))
                found += [os.path.join(place, name) for name in files]
                found += [os.path.join(place, name) for name in names if not os.path.isdir(os.path.join(place, name))]
        return found


def _inner(plan: Mapping[str, str], cgroup: str) -> None:
    _check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), 'prctl')
    with open(cgroup + '/cgroup.procs', 'w') as file:
        file.write('0')
    _check(LIBC.unshare(CLONE_NEWCGROUP | CLONE_NEWNS), 'unshare')
    nest = Nest(plan)
    print(0, flush=True)
    for line in sys.stdin:
        try:
            answer: Any = getattr(nest, line.strip())()
        except (OSError, subprocess.SubprocessError) as error:
            answer = {'error': str(error) or type(error).__name__}
        print(json.dumps(answer), flush=True)


def main() -> None:
    os.umask(0o022)
    plan = json.loads(sys.stdin.readline())
    _leave_the_host()
    _mount('tmpfs', 'tmpfs', plan['workdir'], 'mode=755')
    os.mkdir(plan['workdir'] + '/cgroup')
    cgroup = _make_cgroup(plan['workdir'] + '/cgroup')
    try:
        _check(LIBC.unshare(CLONE_NEWPID), 'unshare')
        inner = os.fork()
        if inner == 0:
            try:
                _inner(plan, cgroup)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        status = os.waitpid(inner, 0)[1]
    finally:
        _remove_cgroup(cgroup)
    sys.exit(1 if status else 0)


if __name__ == '__main__':
    main()
