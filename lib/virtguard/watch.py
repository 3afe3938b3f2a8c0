# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch`: follows libvirt's own files and records what happens to running domains. Never calls libvirt.

It reads ahead of its judging, so that of two changes in quick succession none is overwritten before it was read.
"""

import contextlib
import os
import select
import signal
import time
from collections import deque

from . import journal
from .errors import DomainXMLError, GuardError, StateFileError
from .following import Follower
from .inforce import PolicyInForce
from .keeping import Keeper
from .ledger import HOST, Ledger
from .processes import Processes
from .report import counted
from .sdnotify import Notifier
from .statefiles import StateFiles
from .transition import STATUS, State, take_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Collection, Deque, Dict, Optional, Set, Tuple

    from .layout import Layout
    from .model import Verdict
    from .runtime import Occurrence

# Seconds
_LOOK = 10.0  # between looks at what nothing announces: processes, directories that were mounted over
_LOOK_WITHOUT_INOTIFY = 1.0
_RETRY = 0.5  # for a file that was not whole
_KEEP = 1.0  # until a state that brought no news is kept, or longer while there is much to do

_LOOKS = 6  # until all files are looked at as well, though nothing was announced

_READ_AHEAD = 64  # documents
_KEEP_AT_ONCE = 100  # states


class Watch:
    """One watch.

    :param policy: the policy in force
    :param show: gets each thing that happened, once it is recorded
    :param complain: gets a line about what is amiss
    """

    def __init__(
        self,
        layout: 'Layout',
        policy: PolicyInForce,
        show: 'Callable[[Occurrence, Verdict], None]',
        complain: 'Callable[[str], None]',
    ) -> None:
        self._layout = layout
        self._policy = policy
        self._show = show
        self._print = complain
        self._sinks = journal.Sinks(layout.log)
        self._notifier = Notifier(os.environ)
        self._files = StateFiles(layout.run, layout.lib)
        self._processes = Processes(layout.run)
        self._changed: 'Dict[str, None]' = {}  # paths that are to be read
        self._read: 'Deque[Tuple[str, Optional[bytes]]]' = deque()  # what is to be judged
        self._unwhole: 'Set[str]' = set()
        self._amiss: 'Dict[str, str]' = {}  # what is amiss -> what was said about it
        self._due: 'Dict[Callable[[], None], float]' = {}
        self._looks = 0
        self._is_alone = True
        self._ended = False
        self._reload = False

    def run(self) -> None:
        """Watch until SIGTERM or SIGINT.

        :raises GuardError: there is no valid policy to begin with
        """
        waker = self._catch_signals()
        auditor = self._policy.load()
        keeper = Keeper(self._layout.state, self._complain)
        if keeper.is_taken:
            self._watch_beside_another()
        self._ledger = Ledger(auditor, keeper, self._tell)
        self._ledger.load()
        self._follower = self._follow()
        self._take_everything()
        self._ledger.judge_again(auditor)
        self._look()
        self._notifier.ready(self._status())
        while not self._ended:
            self._wait(waker)
            self._turn()
        self._notifier.stopping()
        self._ledger.keep()

    def _watch_beside_another(self) -> None:
        """Only show what happens: twice in the records would be twice for who reads them.

        :raises GuardError: nobody would see it
        """
        if self._notifier.listens:
            raise GuardError('another watch keeps its states in %s' % self._layout.state, 'end that one first')
        self._is_alone = False
        self._print('another watch records what happens; this one only shows it')

    # The loop

    def _catch_signals(self) -> int:
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        return reader

    def _signalled(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._ended = True

    def _wait(self, waker: int) -> None:
        """Until there is something to do."""
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        descriptor = self._follower.fileno()
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        idle = min(self._notifier.due(), *self._due.values()) - time.monotonic()
        poll.poll(0 if self._read or self._changed else max(0, idle) * 1000 + 1)
        with contextlib.suppress(BlockingIOError):  # where it was no signal
            os.read(waker, 4096)

    def _turn(self) -> None:
        if self._reload:
            self._reload_all()
        if self._follower.polling:
            self._say('inotify', "libvirt's files are looked at every second: %s" % self._follower.polling)
            self._in(_LOOK_WITHOUT_INOTIFY, self._take_everything)
        else:
            self._amiss.pop('inotify', None)
            changes = self._follower.changes()
            self._changed.update(changes.paths)
            if changes.everything:
                self._take_everything()
        while self._changed and len(self._read) < _READ_AHEAD:
            path = next(iter(self._changed))
            del self._changed[path]
            self._read_one(path)
        if self._read:
            self._check_policy()
            self._judge(*self._read.popleft())
        for action in [action for action, due in self._due.items() if due <= time.monotonic()]:
            del self._due[action]
            action()
        self._notifier.alive()

    def _in(self, seconds: float, action: 'Callable[[], None]') -> None:
        self._due.setdefault(action, time.monotonic() + seconds)

    def _reload_all(self) -> None:
        self._reload = False
        self._notifier.reloading()
        self._follower.close()
        self._follower = self._follow()
        self._policy.forget()
        self._check_policy()
        self._take_everything()
        self._notifier.ready(self._status())

    # Files

    def _follow(self) -> Follower:
        return Follower(self._files.run, self._files.metadata.values())

    def _read_one(self, path: str) -> None:
        try:
            is_changed, data = self._files.read(path)
        except StateFileError as error:
            self._set_aside(path, error)
        else:
            if is_changed:
                self._read.append((path, data))

    def _judge(self, path: str, data: 'Optional[bytes]') -> None:
        place = self._files.place(path)
        try:
            document = None if data is None else take_document(place.kind, data)
        except DomainXMLError as error:
            self._files.forget(path)
            self._set_aside(path, error)
            return
        self._amiss.pop(path, None)
        self._unwhole.discard(path)
        state = self._ledger.state(place.domain).with_document(place.kind, place.name, document)
        self._ledger.advance(place.domain, state)
        if not self._ledger.is_kept:
            self._in(_KEEP, self._keep)

    def _keep(self) -> None:
        if not self._ledger.keep(_KEEP_AT_ONCE):
            self._in(_LOOK, self._keep)
        elif not self._ledger.is_kept:
            self._in(_KEEP if self._changed or self._read else 0, self._keep)

    def _set_aside(self, path: str, error: GuardError) -> None:
        """The state before stays until the file can be read."""
        text = str(error) if path in str(error) else '%s: %s' % (path, error)
        self._say(path, text)
        if path not in self._unwhole:
            self._unwhole.add(path)
            self._in(_RETRY, self._retry)

    def _retry(self) -> None:
        self._changed.update(dict.fromkeys(self._unwhole))

    def _take_everything(self) -> None:
        """Read all that has changed, whatever was announced; a domain's files are one change."""
        while self._read:
            self._judge(*self._read.popleft())
        paths, unlisted = self._files.paths()
        self._files.forget_others(paths)
        for path in paths:
            self._changed.pop(path, None)
        if unlisted:
            self._say('list', '; '.join(str(error) for error in unlisted.values()))
        else:
            self._amiss.pop('list', None)
        states = {name: self._out_of_sight(name, unlisted) for name in self._ledger.names()}
        for path in paths:
            place = self._files.place(path)
            old = self._ledger.state(place.domain)
            document = self._document(path, old.document(place.kind, place.name))
            if document is not None:
                state = states.get(place.domain, State())
                states[place.domain] = state.with_document(place.kind, place.name, document)
            self._notifier.alive()
        known = set(self._ledger.names())
        for name in sorted(states, key=known.__contains__):
            self._ledger.advance(name, states[name])
            self._notifier.alive()
        self._in(_KEEP, self._keep)

    def _out_of_sight(self, name: str, unlisted: 'Collection[str]') -> State:
        """What is known of a domain from directories that cannot be listed, which may be so still."""
        state, known = State(), self._ledger.state(name)
        for kind, file in [(STATUS, ''), *known.others]:
            if any(directory in unlisted for directory in self._files.directories(kind, name)):
                state = state.with_document(kind, file, known.document(kind, file))
        return state

    def _document(self, path: str, old: 'Optional[bytes]') -> 'Optional[bytes]':
        """What is in a file now, or the old one where it has not changed or is no good."""
        try:
            is_changed, data = self._files.read(path)
            if not is_changed:
                return old
            if data is None:
                return None
            document = take_document(self._files.place(path).kind, data)
        except GuardError as error:
            self._files.forget(path)
            self._set_aside(path, error)
            return old
        self._amiss.pop(path, None)
        self._unwhole.discard(path)
        return document

    # What nothing announces

    def _look(self) -> None:
        self._check_policy()
        self._retry()
        self._looks += 1
        if self._follower.polling:
            self._follower = self._follow()  # there may be room again
        if self._follower.check() or self._looks % _LOOKS == 0:
            self._take_everything()
        pids = {self._ledger.state(name).pid() for name in self._ledger.names()}
        self._ledger.advance(HOST, State(None, self._processes.unowned(pids)[0]))
        self._notifier.status(self._status())
        self._in(_LOOK, self._look)

    # The policy

    def _check_policy(self) -> None:
        try:
            auditor = self._policy.renewed()
        except GuardError as error:
            self._say('policy', 'the policy as it was stays in force: %s' % error)
            return
        if auditor is not None:
            self._amiss.pop('policy', None)
            self._ledger.judge_again(auditor)

    # What is told

    def _tell(self, occurrence: 'Occurrence', verdict: 'Verdict') -> None:
        self._record(journal.runtime_fields(occurrence, verdict))
        self._show(occurrence, verdict)

    def _say(self, what: str, text: str) -> None:
        """Complain once, until it is mended."""
        if self._amiss.get(what) == text:
            return
        self._amiss[what] = text
        self._complain(text)

    def _complain(self, text: str) -> None:
        self._record(journal.failure_fields(text) + [('VIRT_GUARD_OPERATION', 'watch')])
        self._print(text)

    def _record(self, fields: 'journal.Fields') -> None:
        self._notifier.alive()  # where nobody takes records in time, many take long
        if not self._is_alone:
            return
        if self._sinks.send(fields) is not None:
            self._amiss.pop('record', None)
        elif 'record' not in self._amiss:
            self._amiss['record'] = 'a record was lost: neither journald nor syslog nor %s takes any' % self._layout.log
            self._print(self._amiss['record'])

    def _status(self) -> str:
        how = 'looking every second at' if self._follower.polling else 'following'
        running = counted(self._ledger.running(), 'running domain')
        changes = counted(self._ledger.changes, 'change')
        return "%s %s by policy '%s'; %s" % (how, running, self._policy.name, changes)
