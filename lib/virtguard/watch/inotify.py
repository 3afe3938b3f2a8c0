# SPDX-License-Identifier: Apache-2.0
"""Linux's inotify, which Python's library lacks, through libc. See inotify(7) for what the events mean."""

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

# From <sys/inotify.h>
ATTRIB = 0x00000004
CLOSE_WRITE = 0x00000008
MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
CREATE = 0x00000100
DELETE = 0x00000200
DELETE_SELF = 0x00000400
MOVE_SELF = 0x00000800
Q_OVERFLOW = 0x00004000
IGNORED = 0x00008000
ONLYDIR = 0x01000000
DONT_FOLLOW = 0x02000000
ISDIR = 0x40000000

_HEAD = struct.Struct('iIII')  # watch, mask, cookie, length of the name
_BUFFER = 1 << 18  # bytes: thousands of events for one system call


class Event:
    """One event: the number of the `watch` (-1 with Q_OVERFLOW), its `mask`, and the `name` in the directory or ''."""

    __slots__ = ('watch', 'mask', 'name')

    def __init__(self, watch: int, mask: int, name: str) -> None:
        self.watch = watch
        self.mask = mask
        self.name = name


class Inotify:
    """One inotify instance; its descriptor is readable when there are events."""

    def __init__(self) -> None:
        """
        :raises OSError: EMFILE where the user has as many instances as fs.inotify.max_user_instances allows
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise _error('inotify')

    def fileno(self) -> int:
        return self._descriptor

    def watch(self, path: str, mask: int) -> int:
        """Watch an inode; one that is watched already keeps its number and gets the new mask.

        :raises OSError: ENOSPC where the user has as many watches as fs.inotify.max_user_watches allows
        """
        number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(mask))
        if number < 0:
            raise _error(path)
        return int(number)

    def unwatch(self, number: int) -> None:
        """End a watch, if the kernel has not ended it already."""
        self._libc.inotify_rm_watch(self._descriptor, number)

    def read(self) -> 'List[Event]':
        """The events that are waiting, if any."""
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return []
        events = []
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            name = data[offset : offset + length].rstrip(b'\0')
            offset += length
            events.append(Event(watch, mask, os.fsdecode(name)))
        return events

    def close(self) -> None:
        os.close(self._descriptor)


def _error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
