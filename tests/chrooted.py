# SPDX-License-Identifier: Apache-2.0
"""Runs a command in a chroot as if the chroot were a host: its directory the root of a mount namespace of its own.

    chrooted.py COMMAND [ARGUMENT...]

In a plain chroot nothing can be mounted in private, because that is said of a mount point, and no user namespace can be
made. So this leaves the chroot for as long as it takes to make a root of its directory. Where that is not permitted, or
this is no chroot, the command runs as it would have.
"""

import contextlib
import ctypes
import os
import sys

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def _mount(path: bytes, flags: int) -> None:
    _call('mount', path, path, None, ctypes.c_ulong(flags | MS_REC), None)


def make_root() -> None:
    _call('unshare', CLONE_NEWNS)
    here, root = os.getcwd(), os.open('/', os.O_RDONLY)
    try:
        os.chroot('/proc')  # from a directory above its root, a process can go up
        os.fchdir(root)
        while not os.path.samefile('.', '..'):
            os.chdir('..')
        os.chroot('.')
        if os.path.samestat(os.stat('.'), os.fstat(root)):
            return
        _mount(b'/', MS_PRIVATE)
        os.fchdir(root)
        path = os.getcwdb()
        _mount(path, MS_BIND)
        os.close(root)
        root = os.open(path, os.O_RDONLY)
        os.fchdir(root)
        _call('pivot_root', b'.', b'.')
        _call('umount2', b'.', MNT_DETACH)
    finally:
        os.fchdir(root)
        os.chroot('.')
        os.chdir(here)
        os.close(root)


def main() -> None:
    with contextlib.suppress(OSError):
        make_root()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == '__main__':
    main()
