# SPDX-License-Identifier: Apache-2.0
"""What is known of every domain: takes each new state, has it judged, tells what is news, and keeps it on disk.

No domain may keep the others waiting. What takes long is judged apart, and the domain is busy until that has ended;
if it cannot be judged, its last state stays, and the next one will be compared with that.
"""

import time
from functools import partial

from ..digest import sha256_hex
from ..errors import GuardError, describe_defect
from ..host import now
from .auditor import Auditor, Tracked
from .event_id import name_events
from .limited import Apart
from .outcome import pack, unpack
from .state import STATUS, Raw, State, check_size, documents_of, is_light, shorten, take_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, List, Optional, Sequence, Set, Tuple

    from ..model import Occurrence, Verdict
    from .kept_states import KeptStates

HOST = ''  # the name under which the host's own processes go

# Documents that have gone, for which the same under another name is looked for.
_MOST_GONE = 256
_GONE_FOR = 60.0  # seconds
_MOST_APART = 2  # processes
_OUT_OF_MEMORY = 'emory'  # in what libxml2 says then


class _Task:
    """One change that is judged apart: `before` and `state` are the domain and the state that it is to be taken to."""

    __slots__ = ('before', 'state', 'auditor', 'again', 'apart', 'started')

    def __init__(self, before: Tracked, state: State, auditor: Auditor, again: bool) -> None:
        self.before = before
        self.state = state
        self.auditor = auditor
        self.again = again
        self.apart: 'Optional[Apart]' = None
        self.started = 0.0


class Ledger:
    """`tell` gets each thing that is news before it counts as told, so that it is rather told twice than never.

    When a state of a domain was judged, and before anything is told of it, `judged` gets the domain's name and the
    seconds that it kept a process of its own busy; when one could not be judged, `failed` gets the name and the reason.
    Of the domains in `suspects`, at most one is judged apart at a time.
    """

    def __init__(
        self,
        auditor: Auditor,
        kept_states: 'KeptStates',
        tell: 'Callable[[Occurrence, Verdict], None]',
        judged: 'Callable[[str, float], None]',
        failed: 'Callable[[str, str], None]',
        suspects: 'Collection[str]',
    ) -> None:
        self._auditor = auditor
        self._kept_states = kept_states
        self._tell = tell
        self._judged = judged
        self._failed = failed
        self._suspects = suspects
        self._tracked: 'Dict[str, Tracked]' = {}
        self._unkept: 'Dict[str, None]' = {}  # names, in the order in which they are to be kept
        self._stale: 'Set[str]' = set()  # those that are still to be judged by another policy than before
        self._waiting: 'Dict[str, _Task]' = {}
        self._running: 'Dict[str, _Task]' = {}
        # Kind, name and digest of documents that have gone: their domain, when, and what was held of it.
        self._gone: 'Dict[Tuple[str, str, str], Tuple[str, float, Dict[str, str]]]' = {}
        self.changes = 0  # that were judged

    def load(self) -> None:
        """Take up what was kept."""
        for tracked, is_rebooted in self._kept_states.load():
            tracked.state = self._shortened(tracked.state)  # a watch that kept all metadata has not shortened it
            self._tracked[tracked.name] = tracked
            if is_rebooted:  # what ran then does not run now
                self.take(tracked.name, State(None, {} if tracked.name == HOST else tracked.state.others))

    def _shortened(self, state: State) -> State:
        status = None if state.status is None else shorten(STATUS, state.status, self._auditor.all_metadata)
        others = {key: shorten(key[0], document, self._auditor.all_metadata) for key, document in state.others.items()}
        return State(status, others)

    def names(self) -> 'List[str]':
        return [name for name in self._tracked if name != HOST]

    def state(self, name: str) -> State:
        return self._tracked[name].state if name in self._tracked else State()

    def uuid(self, name: str) -> str:
        return self._tracked[name].uuid if name in self._tracked else ''

    def running(self) -> int:
        return sum(tracked.state.status is not None for tracked in self._tracked.values())

    @property
    def auditor(self) -> Auditor:
        return self._auditor

    def is_busy(self, name: str) -> bool:
        """Whether a state of this domain is being judged. Until that has ended there must be no other."""
        return name in self._running or name in self._waiting

    def has_waiting(self) -> bool:
        """Whether a state must wait, because as many are being judged apart as may be."""
        return bool(self._waiting)

    def take(self, name: str, state: State) -> None:
        """Take a domain to another state. If there are several, take new domains first: see _recognise."""
        assert not self.is_busy(name)
        tracked = self._tracked.get(name) or Tracked(name, '', State(), {})
        is_stale = name in self._stale
        if state.status == tracked.state.status and state.others == tracked.state.others and not is_stale:
            self._judged(name, 0.0)
            return
        if is_light(documents_of(tracked.state, state)):
            self._take_here(tracked, state)
        else:
            self._waiting[name] = _Task(tracked, state, self._auditor, is_stale)
            self._start()

    def judge_again(self, auditor: 'Auditor') -> None:
        """Judge every domain as it is by another policy."""
        self._auditor = auditor
        self._stale.update(self._tracked)
        for name in list(self._tracked):
            if not self.is_busy(name):
                self.take(name, self.state(name))

    def is_stale(self, name: str) -> bool:
        """Whether a domain has not been judged by the present policy yet."""
        return name in self._stale

    # What is judged here

    def _recognise(self, tracked: Tracked, state: State) -> Tracked:
        """A domain that is shut off may get another name. Its snapshots and checkpoints, which have its UUID in them,
        are moved, or written anew and then removed; on a busy host the removal of one may be read before the new one
        of another. They are not news under the new name."""
        tracked = tracked.copy()
        for key in state.others.keys() - tracked.state.others.keys():
            held = self._held_with(tracked.name, key, state.others[key])
            if held is not None:
                tracked.state = tracked.state.with_document(key[0], key[1], state.others[key])
                tracked.held = dict(held, **tracked.held)
        return tracked

    def _held_with(self, name: str, key: 'Tuple[str, str]', document: bytes) -> 'Optional[Dict[str, str]]':
        """What is held of another domain that has this snapshot or checkpoint, or had it a moment ago; None if there is
        no such domain."""
        for other in self._tracked.values():
            if other.state.others.get(key) == document:
                return other.held
        gone = self._gone.get((*key, sha256_hex(document)))
        if gone is None or gone[0] == name or time.monotonic() - gone[1] >= _GONE_FOR:
            return None
        return gone[2]

    def _remember_gone(self, before: Tracked, after: Tracked) -> None:
        for key in before.state.others.keys() - after.state.others.keys():
            self._gone[(*key, sha256_hex(before.state.others[key]))] = (before.name, time.monotonic(), before.held)
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def _take_here(self, tracked: Tracked, state: State) -> None:
        name = tracked.name
        try:
            after, news = self._compute(tracked, state, self._auditor, name in self._stale)
        except GuardError as error:
            self._failed(name, str(error))
        except Exception as error:  # a defect of the guard must not end the audit of all others
            self._failed(name, 'internal error: %s' % describe_defect(error))
        else:
            self._stale.discard(name)
            self._commit(tracked, after, news, self._auditor)

    def _compute(
        self, tracked: Tracked, state: State, auditor: Auditor, again: bool
    ) -> 'Tuple[Tracked, List[Occurrence]]':
        time_of_judging = now()
        after = tracked.copy()
        news = auditor.advance(after, after.state, time_of_judging) if again else []
        if state is not tracked.state:
            after = self._recognise(after, state)
            news = news + auditor.advance(after, state, time_of_judging)
        return after, news

    def _commit(
        self, before: Tracked, after: Tracked, news: 'Sequence[Occurrence]', auditor: Auditor, seconds: float = 0.0
    ) -> None:
        name = after.name
        if after.state is not before.state:
            self.changes += 1
            self._remember_gone(before, after)
        self._judged(name, seconds)
        name_events(before, after, news, self._kept_states.boot)
        for occurrence in news:
            self._tell(occurrence, auditor.verdict_on(after, occurrence))
        if after.state or after.held:
            self._tracked[name] = after
        else:
            self._tracked.pop(name, None)
            self._stale.discard(name)
        if news or after.held.keys() != before.held.keys():
            self._keep(after)
        else:
            self._unkept[name] = None

    # What is judged apart

    def descriptors(self) -> 'List[int]':
        """Descriptors that are readable when there is something to collect."""
        return [task.apart.fileno() for task in self._running.values() if task.apart is not None]

    def collect(self) -> None:
        """Take what was judged apart meanwhile."""
        for name, task in list(self._running.items()):
            assert task.apart is not None
            if task.apart.take():
                del self._running[name]
                self._finish(task)
        self._start()

    def close(self) -> None:
        """Give up what is being judged apart."""
        for task in self._running.values():
            assert task.apart is not None
            task.apart.kill()
        self._running.clear()
        self._waiting.clear()

    def _start(self) -> None:
        for name, task in list(self._waiting.items()):
            is_held_up = name in self._suspects and any(other in self._suspects for other in self._running)
            if len(self._running) >= _MOST_APART or is_held_up:
                continue
            del self._waiting[name]
            task.started = time.monotonic()
            try:
                task.apart = Apart(partial(self._work, task))
            except OSError as error:
                self._failed(name, 'no process can be started: %s' % error.strerror)
                continue
            self._running[name] = task
            task.state = _without_raw(task.state)

    def _work(self, task: _Task) -> 'Dict[str, Any]':
        auditor = task.auditor
        state = _taken(task.state, auditor.all_metadata)
        if state.status == task.before.state.status and state.others == task.before.state.others:
            state = task.before.state
        try:
            after, news = self._compute(task.before, state, auditor, task.again)
        except GuardError as error:
            if _OUT_OF_MEMORY in str(error):
                raise MemoryError from None
            raise
        if any(o.finding.status == 'error' and _OUT_OF_MEMORY in o.finding.message for o in news):
            raise MemoryError
        return pack(after, news, task.state, auditor.policy)

    def _finish(self, task: _Task) -> None:
        name = task.before.name
        assert task.apart is not None
        try:
            after, news = unpack(task.apart.answer(), task.before, task.state, task.auditor.policy)
        except GuardError as error:
            self._failed(name, str(error))
            return
        if task.auditor is self._auditor:
            self._stale.discard(name)
        self._commit(task.before, after, news, task.auditor, time.monotonic() - task.started)
        if name in self._stale:
            self.take(name, self.state(name))

    # What is kept

    def keep(self, limit: 'Optional[int]' = None) -> bool:
        """Keep `limit` of the states that have changed without news (None: all); return whether these could be kept."""
        names = list(self._unkept)[:limit]
        kept = [self._keep(self._tracked.get(name) or Tracked(name, '', State(), {})) for name in names]
        return all(kept)

    @property
    def is_kept(self) -> bool:
        return not self._unkept

    def _keep(self, tracked: Tracked) -> bool:
        self._unkept.pop(tracked.name, None)
        is_kept = self._kept_states.keep(tracked)
        if not is_kept:
            self._unkept[tracked.name] = None
        return is_kept


def _taken(state: State, all_metadata: bool) -> State:
    """A state whose documents are all as they are kept.

    :raises GuardError: one of them is not such a document, or they are too large
    """
    for kind, name in [(STATUS, ''), *state.others]:
        document = state.document(kind, name)
        if isinstance(document, Raw):
            state = state.with_document(kind, name, take_document(kind, document, all_metadata))
    check_size(state)
    return state


def _without_raw(state: State) -> State:
    """The same without the content of raw files, which may be much; judging returns what is kept of it."""
    others = {key: Raw() if isinstance(document, Raw) else document for key, document in state.others.items()}
    return State(Raw() if isinstance(state.status, Raw) else state.status, others)
