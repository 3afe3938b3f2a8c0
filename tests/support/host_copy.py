# SPDX-License-Identifier: Apache-2.0
"""A copy of this host: an overlay over all of it, in a mount namespace. If virt-guard is on this host, it is not on the
copy."""

import os
import pathlib
import subprocess
from typing import Mapping, Tuple

from support.capabilities import missing

_MAKE = """
mount -t tmpfs tmpfs "$0"; cd "$0"; mkdir new work host
mount -t overlay -o lowerdir=/,upperdir=new,workdir=work overlay host; cd host
mount --rbind /proc proc; mount --rbind /dev dev; mount -t tmpfs tmpfs sys; mount -t tmpfs tmpfs run
rm -rf etc/libvirt/hooks/qemu etc/libvirt/hooks/qemu.d etc/virt-guard usr/bin/virt-guard usr/lib/virt-guard
rm -rf usr/libexec/virt-guard usr/sbin/virt-guard-hook usr/share/virt-guard usr/share/cockpit/virt-guard
rm -rf usr/lib/systemd/system/virt-guard-*
rm -f usr/lib/systemd/catalog/virt-guard.* usr/share/*/*/*virt-guard* usr/share/man/ja/*/virt-guard*
while [ "$1" != -- ]; do
    mkdir -p ".$1"; mount --rbind "$2" ".$1"; shift 2
done
shift
exec chroot . "$@"
"""


class HostCopy:
    """Each script runs on a new copy. Its kernel says what the script writes below /sys; /run is empty, too.

    :param directory: an empty one
    :param bound: directories of the copy, and what is seen in them
    :param alone: whether the copy sees no processes but its own
    """

    def __init__(self, directory: pathlib.Path, bound: 'Mapping[str, pathlib.Path]', alone: bool = False) -> None:
        options = ['--mount-proc', '--pid', '--fork', '--kill-child'] if alone else ['--mount']
        self._prefix = ['unshare', *options, 'sh', '-ec', _MAKE, str(directory)]
        for place, path in bound.items():
            self._prefix += [place, str(path)]
        self._prefix.append('--')
        if os.geteuid() != 0 or subprocess.call([*self._prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
            missing('needs root, a mount namespace and overlayfs')
        if subprocess.call(['/usr/bin/python3', '-I', '-c', 'import lxml, yaml'], stderr=subprocess.DEVNULL) != 0:
            missing('needs /usr/bin/python3 with lxml and PyYAML')

    def run(self, script: str) -> 'Tuple[int, str]':
        """The exit status of a shell script, and what it says."""
        command = [*self._prefix, 'sh', '-c', script]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
        return result.returncode, result.stdout
