# SPDX-License-Identifier: Apache-2.0
"""Tells by inotify that something on which a policy depends may have changed. It is a hint: the files themselves tell
whether, and how.

What inotify does not see, or where it cannot be used, the next regular look at the files finds.
"""

import os

from . import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Sequence

_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF
_COMING = inotify.CREATE | inotify.MOVED_TO | _GONE | inotify.ONLYDIR
_ANY = _COMING | inotify.CLOSE_WRITE | inotify.ATTRIB | inotify.DELETE | inotify.MOVED_FROM


class PolicyFollower:
    """Follows the directories of some paths; of a path that is missing, the nearest directory that is there."""

    def __init__(self) -> None:
        self._paths: 'Sequence[str]' = ()
        self._watched: 'Dict[int, str]' = {}  # number -> directory
        self._inotify: 'Optional[inotify.Inotify]' = None

    def follow(self, paths: 'Sequence[str]') -> None:
        """From now on, follow these, and nothing else."""
        self._paths = paths
        try:
            if self._inotify is None:
                self._inotify = inotify.Inotify()
            self._settle(self._inotify)
        except OSError:  # no more instances, or watches, may be had now
            self.close()

    def fileno(self) -> 'Optional[int]':
        """A descriptor that is readable when something may have changed, if any."""
        return None if self._inotify is None else self._inotify.fileno()

    def has_changed(self) -> bool:
        """Whether something may have changed since the last call."""
        events = [] if self._inotify is None else self._inotify.read()
        if not any(event.watch in self._watched or event.mask & inotify.Q_OVERFLOW for event in events):
            return False
        self.follow(self._paths)  # a directory may have come or gone
        return True

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
            self._watched = {}

    def _settle(self, watcher: inotify.Inotify) -> None:
        watched: 'Dict[int, str]' = {}
        for directory, mask in _directories(self._paths).items():
            try:
                watched[watcher.watch(directory, mask)] = directory
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
        for number in self._watched.keys() - watched.keys():
            watcher.unwatch(number)
        self._watched = watched


def _directories(paths: 'Sequence[str]') -> 'Dict[str, int]':
    """The directories to watch, and for which events."""
    masks: 'Dict[str, int]' = {}
    for path in paths:
        # Where it is a link, that and its target may be replaced.
        for place in {path, os.path.realpath(path)}:
            if os.path.isdir(place):
                masks[place] = _ANY
            parent = os.path.dirname(place)
            if os.path.isdir(parent):
                mask = _COMING if os.path.isdir(place) or not os.path.exists(place) else _ANY
            else:
                while not os.path.isdir(parent):
                    parent = os.path.dirname(parent)
                mask = _COMING
            masks[parent] = masks.get(parent, 0) | mask
    return masks
