# SPDX-License-Identifier: Apache-2.0
"""PID 1 of a throwaway machine (see machine.py, which runs this file inside fresh namespaces).

It mounts the machine, makes a freshly installed libvirt host of it, then starts and signals daemons as the test process
asks, one JSON request and one answer per line, until its stdin ends.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from typing import Any, Mapping

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_BIND, MS_REC, MNT_DETACH = 1, 4096, 16384, 2
OVERLAY = 'lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s,redirect_dir=on'
FILE_SYSTEMS = (
    ('proc', 'proc', '', 0),
    ('sys', 'sysfs', '', 0),
    ('sys/fs/cgroup', 'cgroup2', '', MS_RDONLY),  # journald insists on one
    ('run', 'tmpfs', 'mode=755', 0),
    ('dev', 'tmpfs', 'mode=755', 0),
    ('dev/shm', 'tmpfs', 'mode=1777', 0),
    ('dev/pts', 'devpts', 'newinstance,ptmxmode=666,mode=620,gid=5', 0),
)
DEVICES = ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'kvm', 'net/tun', 'vhost-net', 'vfio/vfio')
LINKS = {
    'dev/ptmx': 'pts/ptmx',
    'dev/fd': '/proc/self/fd',
    'dev/stdin': 'fd/0',
    'dev/stdout': 'fd/1',
    'dev/stderr': 'fd/2',
    'dev/log': '/run/systemd/journal/dev-log',
}
# State of the host, and marks by which the machine would pass for a container.
REMOVED = (
    '.dockerenv',
    'etc/libvirt',
    'etc/virt-guard',
    'usr/bin/virt-guard',
    'usr/lib/virt-guard',
    'usr/lib/systemd/catalog/virt-guard.catalog',
    'usr/lib/systemd/catalog/virt-guard.ja.catalog',
    'usr/lib/systemd/system/virt-guard-compile.path',
    'usr/lib/systemd/system/virt-guard-compile.service',
    'usr/lib/systemd/system/virt-guard-metrics.service',
    'usr/lib/systemd/system/virt-guard-metrics.timer',
    'usr/lib/systemd/system/virt-guard-watch.service',
    'usr/libexec/virt-guard',
    'usr/sbin/virt-guard-hook',
    'usr/share/bash-completion/completions/virt-guard',
    'usr/share/cockpit/virt-guard',
    'usr/share/fish/vendor_completions.d/virt-guard.fish',
    'usr/share/man/ja/man5/virt-guard-policy.5',
    'usr/share/man/ja/man8/virt-guard.8',
    'usr/share/man/man5/virt-guard-policy.5',
    'usr/share/man/man8/virt-guard.8',
    'usr/share/virt-guard',
    'usr/share/zsh/site-functions/_virt-guard',
    'usr/share/zsh/vendor-completions/_virt-guard',
    'var/cache/libvirt',
    'var/lib/libvirt',
    'var/lib/virt-guard',
    'var/log',
)
DIRECTORIES = (
    'etc/libvirt/hooks',
    'etc/systemd/journald.conf.d',
    'run/libvirt',
    'run/lock',
    'run/log/journal',
    'run/systemd/journal',
    'var/cache/libvirt',
    'var/lib/libvirt/images',
    'var/log/libvirt/qemu',
)
COPIES = {
    'usr/share/libvirt/networks': 'etc/libvirt/qemu/networks',
    'usr/share/libvirt/nwfilter': 'etc/libvirt/nwfilter',
}
# util.hook at debug level: the only sign that a SIGHUP made libvirtd look for hooks again.
LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
unix_sock_dir = "{socket_dir}"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_filters = "1:util.hook"
log_outputs = "3:journald 1:file:{libvirtd_log}"
"""
# Nothing of a host's that the tests do without.
PLAIN_QEMU = """\
security_driver = "none"
namespaces = []
remember_owner = 0
max_core = 0
"""
QEMU_CONF = (
    """\
user = "root"
group = "root"
swtpm_user = "root"
swtpm_group = "root"
cgroup_controllers = []
stdio_handler = "file"
"""
    + PLAIN_QEMU
)
# Audit would be the host's; a rate limit would lose entries of busy tests.
JOURNALD_CONF = """\
[Journal]
Storage=%s
Audit=no
ReadKMsg=no
RateLimitBurst=0
"""
FILES = {
    'etc/hostname': '{hostname}\n',
    'etc/hosts': '127.0.0.1 localhost {hostname}\n',
    'etc/machine-id': '{machine_id}\n',
    'etc/systemd/journald.conf.d/zz-machine.conf': JOURNALD_CONF % 'volatile',
    'etc/libvirt/libvirtd.conf': LIBVIRTD_CONF,
    'etc/libvirt/qemu.conf': QEMU_CONF,
}


def _mount(kind: str, source: str, target: str, data: str = '', flags: int = 0) -> None:
    if LIBC.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode()):
        raise OSError(ctypes.get_errno(), 'mount: ' + os.strerror(ctypes.get_errno()), target)


def _mount_machine(workdir: str, shared: str) -> None:
    """Make the machine's file systems and move into them."""
    lowers = ['/'] + [
        path
        for path in ('/usr', '/etc', '/var', '/opt', CHECKOUT)
        if os.path.isdir(path) and os.stat(path).st_dev != os.stat('/').st_dev
    ]
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
        return subprocess.Popen(
            request['spawn'],
            env=request['env'],
            cwd='/',
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ).pid


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
