# SPDX-License-Identifier: Apache-2.0
"""Which of libvirt's state files may have changed: by inotify, or if that cannot be used, by looking again.

Directories come and go: for a missing one, the nearest existing directory above it is watched.
"""

import errno
import os

from . import inotify
from .state_files import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple

_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF
# The events to watch for, by the role of a directory: it has files, it has directories of files, it leads there.
_FILES, _DOMAINS, _WAY = 'files', 'domains', 'way'
_MASKS = {
    # Not MOVED_FROM: it comes for the new file of every rewrite, and libvirt moves no file away.
    _FILES: inotify.CLOSE_WRITE | inotify.MOVED_TO | inotify.DELETE | _GONE,
    _DOMAINS: inotify.CREATE | inotify.MOVED_TO | inotify.MOVED_FROM | inotify.DELETE | _GONE,
    _WAY: inotify.CREATE | inotify.MOVED_TO | _GONE,
}
_LIMITS = {
    errno.EMFILE: 'fs.inotify.max_user_instances',
    errno.ENOSPC: 'fs.inotify.max_user_watches',
}


class Changes:
    """`paths` of files that may have changed, each once, in order; or `everything` may have."""

    __slots__ = ('paths', 'everything', 'events')

    def __init__(self) -> None:
        self.paths: 'Dict[str, None]' = {}
        self.everything = False
        self.events = 0


class Follower:
    """Follows a directory of files, and directories of directories of files.

    `polling` says why inotify is not used ('': it is); then everything may have changed at any time.
    """

    def __init__(self, files: str, domains: 'Iterable[str]') -> None:
        self._bases = dict([(files, _FILES)] + [(path, _DOMAINS) for path in domains])
        self._watched: 'Dict[int, Tuple[str, str]]' = {}  # number -> path, role
        self._inodes: 'Dict[str, Tuple[int, int]]' = {}  # of the bases that are watched
        self._inotify: 'Optional[inotify.Inotify]' = None
        self.polling = ''
        self.overflows = 0
        try:
            self._inotify = inotify.Inotify()
        except OSError as error:
            self._poll(error)
        self._settle()

    def fileno(self) -> 'Optional[int]':
        """A descriptor that is readable when there are changes, if any."""
        return self._inotify.fileno() if self._inotify is not None else None

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def changes(self) -> Changes:
        """What may have changed since the last call."""
        changes = Changes()
        assert self._inotify is not None
        events = self._inotify.read()
        changes.events = len(events)
        unsettled = False
        for event in events:
            if not self.polling:
                unsettled |= self._take(event, changes)
        if unsettled and self._settle() or self.polling:
            changes.everything = True
        return changes

    def check(self) -> bool:
        """Whether a directory has been replaced without an event, as by a mount; if so, the new one is followed."""
        for path, inode in list(self._inodes.items()):
            if inode != _inode(path):
                self._drop(path)
        return self._settle()

    def _take(self, event: inotify.Event, changes: Changes) -> bool:
        """Note what one event says; return whether directories have to be looked for."""
        if event.mask & inotify.Q_OVERFLOW:
            self.overflows += 1
            changes.everything = True
            self._inodes.clear()  # events are missing, so look for all directories
            return True
        if event.watch not in self._watched:
            return False
        path, role = self._watched[event.watch]
        if event.mask & inotify.IGNORED:
            del self._watched[event.watch]
            self._inodes.pop(path, None)
            return True
        if event.mask & inotify.MOVE_SELF:
            self._drop(path)
            return True
        if role == _WAY:
            return bool(event.name)
        if role == _DOMAINS:
            self._take_directory(event.mask, os.path.join(path, event.name), changes)
        elif is_name(event.name):
            changes.paths[os.path.join(path, event.name)] = None
        return False

    def _take_directory(self, mask: int, path: str, changes: Changes) -> None:
        """Follow a directory of a domain's files that has come, or no longer follow one that has been moved away."""
        if not mask & inotify.ISDIR:
            return
        if mask & (inotify.CREATE | inotify.MOVED_TO):
            changes.paths.update(dict.fromkeys(self._enter(path)))
        elif mask & inotify.MOVED_FROM:
            self._drop(path)
            changes.everything = True

    def _settle(self) -> bool:
        """Watch every base that can be watched; return whether one is newly watched."""
        new = False
        for path, role in self._bases.items():
            if self._inotify is None or path in self._inodes:
                continue
            try:
                if self._reach(path, role):
                    new = True
            except OSError as error:
                self._poll(error)
        return new

    def _reach(self, path: str, role: str) -> bool:
        """Watch a directory; if it is missing, watch for it, and check that it has not come meanwhile."""
        while not self._add(path, role):
            self._reach(os.path.dirname(path), _WAY)
            if not os.path.isdir(path):
                return False
        if role == _WAY:
            return True
        self._inodes[path] = _inode(path) or (0, 0)
        if role == _DOMAINS:
            for name in _names(path):
                self._add_domain(os.path.join(path, name))
        return True

    def _add(self, path: str, role: str) -> bool:
        assert self._inotify is not None
        flags = inotify.ONLYDIR | (0 if path in self._bases or role == _WAY else inotify.DONT_FOLLOW)
        try:
            number = self._inotify.watch(path, _MASKS[role] | flags)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._watched[number] = (path, role)
        return True

    def _add_domain(self, directory: str) -> bool:
        try:
            return self._add(directory, _FILES)
        except PermissionError:
            return False  # it cannot be listed either, and listing it will report that

    def _enter(self, directory: str) -> 'List[str]':
        """Watch a new directory of files; return those that are there already."""
        try:
            names = _names(directory) if self._add_domain(directory) else []
        except OSError as error:
            self._poll(error)
            return []
        return [os.path.join(directory, name) for name in names if is_name(name)]

    def _drop(self, path: str) -> None:
        self._inodes.pop(path, None)
        for number in [number for number, watched in self._watched.items() if watched[0] == path]:
            del self._watched[number]
            if self._inotify is not None:
                self._inotify.unwatch(number)

    def _poll(self, error: OSError) -> None:
        hint = _LIMITS.get(error.errno or 0)
        self.polling = '%s%s' % (error.strerror, '; raise ' + hint if hint else '')
        self.close()


def _names(directory: str) -> 'List[str]':
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []  # it has gone since the watch began; an event will tell that


def _inode(path: str) -> 'Optional[Tuple[int, int]]':
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
