# SPDX-License-Identifier: Apache-2.0
"""From files that have changed to states that are judged: reads ahead, and sees that each domain gets its turn.

It reads ahead of the judging, so that of two quick changes the first is read before the second overwrites it. But what
one domain can make it read and judge is limited: while a domain is being judged, only some of its changes are read; a
domain that could not be judged is left alone for a while, each time longer, and its files are judged as they are then.
"""

import time
from collections import deque
from itertools import islice

from ..errors import DomainXMLError
from ..wording import escape
from .ledger import HOST
from .state import SMALL, STATUS, Raw, State, take_document, uuid_in
from .state_files import StateFileError, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Collection, Deque, Dict, Iterable, Optional, Set, Tuple

    from .ledger import Ledger
    from .state_files import StateFiles
    from .unobserved import Unobserved

_READ_AHEAD = 64  # documents
_READ_AHEAD_OF_ONE = 16
_BYTES_AHEAD = 16 << 20
_BYTES_AHEAD_OF_ONE = 2 << 20
_LARGE = 1 << 20  # only one such file is held at a time
# Seconds
_LEFT_ALONE = 1.0
_LEFT_ALONE_AT_MOST = 60.0
_COSTLY = 0.3
_RETRY = 0.5  # for a file that was not whole


class _Suspect:
    """A domain that could not be judged, or took long: it is left alone for `pause` seconds, until `until`.

    If it only took long, its files are read ahead meanwhile.
    """

    __slots__ = ('pause', 'until', 'has_failed')

    def __init__(self, pause: float, has_failed: bool) -> None:
        self.pause = pause
        self.has_failed = has_failed
        self.until = time.monotonic() + pause


class Intake:
    """Takes documents from the files to the ledger. `alive` is called now and then while there is much to do."""

    def __init__(self, files: 'StateFiles', unobserved: 'Unobserved', alive: 'Callable[[], None]') -> None:
        self._files = files
        self._unobserved = unobserved
        self._alive = alive
        self.suspects: 'Dict[str, _Suspect]' = {}
        self._changed: 'Dict[str, None]' = {}  # paths that are to be read
        self._later: 'Dict[str, Dict[str, None]]' = {}  # paths that are to be read when their domain's turn comes
        self._read: 'Dict[str, Deque[Tuple[str, Optional[bytes]]]]' = {}  # by domain, the one whose turn it is first
        self._documents = self._bytes = 0  # of what is read, and is to be judged
        self._submitted: 'Dict[str, Set[str]]' = {}  # paths of what is being judged
        self._broken: 'Dict[str, float]' = {}  # paths, and when they are read again
        self._uuids: 'Dict[str, str]' = {}  # of domains that are being judged

    def attach(self, ledger: 'Ledger') -> None:
        self._ledger = ledger

    # What the watch asks

    def announce(self, paths: 'Iterable[str]') -> None:
        """Files may have changed."""
        self._changed.update(dict.fromkeys(paths))

    def has_work(self) -> bool:
        """Whether there is something to do at once."""
        return bool(self._changed) or self._next() is not None

    def due(self) -> float:
        """When there will be something to do, if nothing happens before."""
        times = [
            suspect.until
            for name, suspect in self.suspects.items()
            if (name in self._later or name in self._read) and not self._ledger.is_busy(name)
        ]
        return min(times + list(self._broken.values()), default=float('inf'))

    def turn(self) -> bool:
        """Read what has changed, as far ahead as it may, and judge one document; return whether there was one."""
        self._release()
        for path in list(islice(self._changed, _READ_AHEAD)):
            if self._documents >= _READ_AHEAD:
                break
            del self._changed[path]
            self._read_one(path)
        return self._take_next()

    def retry(self) -> None:
        """Read again all files that could not be read."""
        self.announce(self._broken)
        self._broken = {}

    # What the ledger says

    def judged(self, domain: str, seconds: float) -> None:
        """A state of a domain was judged, which took so long."""
        self._uuids.pop(domain, None)
        for thing in ('', *self._submitted.pop(domain, ())):
            self._unobserved.mend(domain, thing)
        suspect = self.suspects.get(domain)
        now = time.monotonic()
        if seconds > _COSTLY:  # it is left alone for as long as it took
            suspect = self.suspects.setdefault(domain, _Suspect(seconds, False))
            suspect.until = now + seconds
            suspect.has_failed = False
        elif suspect is not None and now > suspect.until + suspect.pause:
            del self.suspects[domain]

    def failed(self, domain: str, reason: str) -> None:
        """A state of a domain could not be judged; the one before stays."""
        paths = self._submitted.pop(domain, set())
        for path in paths:
            self._files.forget(path)
        before = self.suspects.get(domain)
        pause = _LEFT_ALONE if before is None else min(_LEFT_ALONE_AT_MOST, max(_LEFT_ALONE, 2 * before.pause))
        self.suspects[domain] = _Suspect(pause, True)
        self._later.setdefault(domain, {}).update(dict.fromkeys(paths))
        name = "domain '%s'" % escape(domain) if domain != HOST else "the host's processes"
        file = ''.join(path + ': ' for path in paths) if len(paths) == 1 else ''
        uuid = self._uuids.pop(domain, '') or self._ledger.uuid(domain)
        self._unobserved.fail(domain, uuid, '', escape('%s%s could not be judged: %s' % (file, name, reason)))

    # Reading

    def _release(self) -> None:
        now = time.monotonic()
        for path in [path for path, due in self._broken.items() if due <= now]:
            del self._broken[path]
            self._changed[path] = None
        for name in [name for name in self._later if not self._is_left_alone(name) and not self._ledger.is_busy(name)]:
            if name not in self._read:
                self.announce(self._later.pop(name))
                if self._ledger.is_stale(name):
                    self._ledger.take(name, self._ledger.state(name))

    def _is_left_alone(self, domain: str) -> bool:
        suspect = self.suspects.get(domain)
        return suspect is not None and time.monotonic() < suspect.until

    def _read_one(self, path: str) -> None:
        """Read a file, or leave that for later."""
        about = self._files.about(path)
        size = size_of(path)
        if size is not None and self._must_wait(about.domain, size):
            later = self._later.setdefault(about.domain, {})
            has_failed = any(self._unobserved.has_failed(about.domain, thing) for thing in ('', path))
            if path in later and not has_failed:  # it was written again before it was read
                text = "%s: domain '%s' changes faster than it can be judged" % (path, about.domain)
                self._unobserved.fail(about.domain, self._ledger.uuid(about.domain), '', escape(text))
            later[path] = None
            return
        is_changed, data = self._content(path)
        if not is_changed:
            return
        if data is not None and len(data) > SMALL:
            data = Raw(data)
        self._read.setdefault(about.domain, deque()).append((path, data))
        self._documents += 1
        self._bytes += len(data or b'')

    def _content(self, path: str) -> 'Tuple[bool, Optional[bytes]]':
        """Whether a file has changed, and its content then (None: it is gone). One that cannot be read is set aside."""
        try:
            return self._files.read(path)
        except StateFileError as error:
            self._set_aside(path, str(error), error.head)
            return False, None

    def _must_wait(self, domain: str, size: int) -> bool:
        if self._is_left_alone(domain) and self.suspects[domain].has_failed:
            return True
        waiting = self._read.get(domain, ())
        if size > SMALL and self._ledger.has_waiting():
            return True
        if size > _LARGE:
            held = any(len(data or b'') > _LARGE for documents in self._read.values() for _, data in documents)
            return held or bool(waiting) or self._ledger.is_busy(domain)
        own = sum(len(data or b'') for _, data in waiting)
        return (
            len(waiting) >= _READ_AHEAD_OF_ONE or own + size > _BYTES_AHEAD_OF_ONE or self._bytes + size > _BYTES_AHEAD
        )

    def _next(self) -> 'Optional[str]':
        ready = (name for name in self._read if not self._ledger.is_busy(name) and not self._is_left_alone(name))
        return next(ready, None)

    def _take_next(self) -> bool:
        domain = self._next()
        if domain is None:
            return False
        documents = self._read.pop(domain)
        path, data = documents.popleft()
        self._documents -= 1
        self._bytes -= len(data or b'')
        if documents:
            self._read[domain] = documents  # behind all others
        self._take(path, data)
        return True

    def _take(self, path: str, data: 'Optional[bytes]') -> None:
        about = self._files.about(path)
        document = None
        if data is None:
            self._broken.pop(path, None)
            self._unobserved.mend(about.domain, path)
        else:
            document = self._document(path, data)
            if document is None:
                return
        state = self._ledger.state(about.domain).with_document(about.kind, about.name, document)
        self._submit(about.domain, state, {path})

    def _submit(self, domain: str, state: State, paths: 'Set[str]') -> None:
        self._submitted[domain] = paths
        self._ledger.take(domain, state)
        if not self._ledger.is_busy(domain):
            self._submitted.pop(domain, None)

    def _document(self, path: str, data: bytes) -> 'Optional[bytes]':
        """What a file says; None if it cannot be used, which is reported."""
        about = self._files.about(path)
        document = data
        if not isinstance(data, Raw):
            try:
                document = take_document(about.kind, data, self._ledger.auditor.all_metadata, beside=())
            except DomainXMLError as error:
                self._files.forget(path)
                self._set_aside(path, '%s: %s' % (path, error), data)
                return None
        if isinstance(document, Raw):
            self._uuids[about.domain] = uuid_in(document)
            return document
        self._broken.pop(path, None)
        self._unobserved.mend(about.domain, path)
        return document

    def _set_aside(self, path: str, text: str, data: bytes) -> None:
        """Report a file that cannot be used; the state before it stays until it can."""
        domain = self._files.about(path).domain
        uuid = uuid_in(data) or self._ledger.uuid(domain)
        is_new = not self._unobserved.has_failed(domain, path)
        self._unobserved.fail(domain, uuid, path, escape(text))
        self._broken[path] = time.monotonic() + _RETRY if is_new else float('inf')

    # Everything

    def take_everything(self) -> 'Dict[str, StateFileError]':
        """Read all that has changed, announced or not; all files of a domain are one change. Return the directories
        that cannot be listed."""
        while self._take_next():
            self._alive()
        paths, unlisted = self._files.paths()
        self._files.forget_others(paths)
        here = set(paths)
        names = self._ledger.names()
        held_up = {name for name in {*names, *self._later, *self._read} if self._is_held_up(name)}
        states = {name: self._out_of_sight(name, unlisted) for name in names if name not in held_up}
        submitted: 'Dict[str, Set[str]]' = {}
        for path in paths:
            self._changed.pop(path, None)
            domain = self._files.about(path).domain
            if domain in held_up or self._is_held_up(domain):
                self._later.setdefault(domain, {})[path] = None
                continue
            document = self._document_now(path)
            if document is not None:
                about = self._files.about(path)
                state = states.setdefault(domain, State())
                if about.kind == STATUS:
                    state.status = document
                else:
                    state.others[about.kind, about.name] = document
                submitted.setdefault(domain, set()).add(path)
            self._alive()
        for name in held_up:
            self._look_for(name, here, unlisted)
        for name in [name for name in self.suspects if not states.get(name) and not self._is_held_up(name)]:
            del self.suspects[name]
        known = set(names)
        for name in sorted(states, key=known.__contains__):
            self._submit(name, states[name], submitted.get(name, set()))
            self._alive()
        return unlisted

    def _is_held_up(self, domain: str) -> bool:
        return self._ledger.is_busy(domain) or domain in self._read or self._is_left_alone(domain)

    def _out_of_sight(self, name: str, unlisted: 'Collection[str]') -> State:
        """What was known of a domain from directories that cannot be listed now; it may still be so."""
        state, known = State(), self._ledger.state(name)
        for kind, file in [(STATUS, ''), *known.others]:
            if any(directory in unlisted for directory in self._files.directories(kind, name)):
                state = state.with_document(kind, file, known.document(kind, file))
        return state

    def _look_for(self, name: str, here: 'Collection[str]', unlisted: 'Collection[str]') -> None:
        """Note the files of a held-up domain that have gone, so that they are looked at later."""
        state = self._ledger.state(name)
        for kind, file in [(STATUS, ''), *state.others]:
            path = self._files.path(kind, name, file)
            is_listed = not any(directory in unlisted for directory in self._files.directories(kind, name))
            if path not in here and is_listed and state.document(kind, file) is not None:
                self._later.setdefault(name, {})[path] = None

    def _document_now(self, path: str) -> 'Optional[bytes]':
        """The document in a file now; the old one if the file is unchanged, cannot be used, or takes long to judge."""
        about = self._files.about(path)
        old = self._ledger.state(about.domain).document(about.kind, about.name)
        if (size_of(path) or 0) > _LARGE:
            self._changed[path] = None
            return old
        is_changed, data = self._content(path)
        if not is_changed:
            return old
        if data is None:
            return None
        document = self._document(path, data) if len(data) <= SMALL else Raw()
        if isinstance(document, Raw):  # later by itself, and not together with all others
            self._files.forget(path)
            self._changed[path] = None
            return old
        return old if document is None else document
