# SPDX-License-Identifier: Apache-2.0
"""A guest for the live tests: a kernel with busybox and qemu-guest-agent, and an os-release that says what it likes.

It runs without KVM: nested, this kernel may not come up with it. Its agent answers after some 20 seconds.
"""

import gzip
import lzma
import os
import pathlib
import re
import subprocess
from typing import Dict, Tuple

from support.capabilities import missing

# Where tests/run puts them.
PARTS = pathlib.Path(
    os.environ.get('VIRT_GUARD_GUEST')
    or os.path.join('/var/cache' if os.geteuid() == 0 else os.path.expanduser('~/.cache'), 'virt-guard-tests/guest')
)
SILENT = 'role=silent'  # on its command line: the port of the agent is open, and nobody ever answers
_MODULES = (
    'virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_console'.split()
)  # in order
_INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc none /proc
busybox mount -t devtmpfs none /dev
for module in %s; do busybox insmod /modules/$module.ko; done
until [ -e /dev/vport0p1 ]; do busybox sleep 0.1; done
case $(busybox cat /proc/cmdline) in
*%s*) exec busybox sleep 1000000 <>/dev/vport0p1 ;;
esac
exec qemu-ga --method=virtio-serial --path=/dev/vport0p1 --pidfile=/tmp/pid --statedir=/tmp
"""


def make_guest(os_release: bytes) -> Tuple[bytes, bytes]:
    """The kernel and the initrd."""
    try:
        (kernel,), (busybox,), (agent,) = map(PARTS.rglob, ('vmlinuz-*', 'bin/busybox', 'qemu-ga'))
        modules = {path.name.partition('.')[0]: path for path in PARTS.rglob('virtio*.ko*')}
        files = {'/modules/%s.ko' % name: _unpacked(modules[name]) for name in _MODULES}
    except (ValueError, KeyError, OSError):
        missing('there is no guest in %s, which tests/run provides' % PARTS)
    files.update({'/bin/busybox': busybox.read_bytes(), '/bin/qemu-ga': agent.read_bytes()})
    needed = subprocess.run(['ldd', str(agent)], stdout=subprocess.PIPE, check=True).stdout.decode()
    for library in re.findall(r'(/\S+) \(', needed):
        files[library] = pathlib.Path(library).read_bytes()
    if 'not found' in needed:
        missing('libraries of qemu-guest-agent: ' + needed)
    files['/etc/os-release'] = os_release
    files['/init'] = (_INIT % (' '.join(_MODULES), SILENT)).encode()
    return kernel.read_bytes(), gzip.compress(_archive(files), 1)


def _unpacked(module: pathlib.Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == '.xz' else data


def _archive(files: Dict[str, bytes]) -> bytes:
    """What the kernel unpacks: cpio in the format newc, with the directories that the files are in."""
    directories = {str(parent) for path in files for parent in pathlib.PurePath(path).parents} - {'/'}
    directories |= {'/proc', '/dev', '/tmp'}
    entries = [(path, 0o40755, b'') for path in sorted(directories)]
    entries += [(path, 0o100755, data) for path, data in files.items()]
    archive = bytearray()
    for number, (path, mode, data) in enumerate([*entries, ('/TRAILER!!!', 0, b'')], 1):
        name = path[1:].encode() + b'\0'
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        archive += b'070701' + b''.join(b'%08X' % field for field in fields) + name
        archive += b'\0' * (-len(archive) % 4) + data
        archive += b'\0' * (-len(archive) % 4)
    return bytes(archive)
