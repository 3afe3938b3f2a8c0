# SPDX-License-Identifier: Apache-2.0
"""Which paths are those of a distribution's emulators; emulator_file looks at the files themselves. Pure: no I/O."""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

# QEMU's targets for whole systems, with those of old versions.
_TARGETS = (
    'aarch64 aarch64_be alpha arm avr cris hexagon hppa i386 lm32 loongarch64 m68k microblaze microblazeel mips mips64 '
    'mips64el mipsel moxie nios2 or1k or32 ppc ppc64 ppc64le ppcemb riscv32 riscv64 rx s390x sh4 sh4eb sparc sparc64 '
    'tricore unicore32 x86_64 xtensa xtensaeb'
).split()
# Ubuntu and Debian ship builds of their own beside the usual one, OpenNebula makes a link to it (qemu-kvm-one), NixOS
# keeps a program behind its wrapper.
_NAME = (
    r'(?:qemu|kvm|kvm-spice|qemu-kvm|qemu-kvm-one|\.?qemu-system-(?:%s)(?:-spice|-microvm|-hwe|-xen|-wrapped)?)\Z'
    % '|'.join(_TARGETS)
)
_SYSTEM = ('usr/bin', 'usr/sbin', 'bin', 'sbin')
_SYSTEM_TREES = ('usr/libexec', 'usr/lib', 'usr/lib64', 'lib', 'lib64')
# Links that the system makes to what it ships.
_LINKS = ('run/libvirt/nix-emulators', 'run/current-system/sw/bin', 'run/current-system/profile/bin')
_STORE = r'(?:nix|gnu)/store/[0-9a-z]{32}-qemu(?:-[a-z][a-z-]*)?-[0-9][A-Za-z0-9_.-]*/(?:bin|libexec)/[^/]+\Z'


def is_foreign_name(path: str) -> bool:
    """Whether no distribution has an emulator at this path."""
    steps = path.split('/')[1:]
    if not path.startswith('/') or not is_emulator(steps[-1]) or not {'', '.', '..'}.isdisjoint(steps):
        return True
    return not (in_system(steps[:-1]) or '/'.join(steps[:-1]) in _LINKS or re.match(_STORE, '/'.join(steps)))


def is_emulator(name: str) -> bool:
    """Whether a file's name, without its directory, is that of one of QEMU's emulators."""
    return re.match(_NAME, name) is not None


def in_system(directory: 'Sequence[str]') -> bool:
    """Whether only the distribution puts files into a directory, given by its steps."""
    path = '/'.join(directory)
    return path in _SYSTEM or (path + '/').startswith(tuple(tree + '/' for tree in _SYSTEM_TREES))


def in_store(steps: 'Sequence[str]') -> bool:
    """Whether a path, given by its steps, is in a store of packages that nobody can change."""
    return re.match(_STORE, '/'.join(steps)) is not None
