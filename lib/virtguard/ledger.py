# SPDX-License-Identifier: Apache-2.0
"""What is known of every domain: takes each new state, has it judged, tells what is news, and keeps it on disk."""

import time

from .runtime import Auditor, Tracked
from .transition import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional

    from .keeping import Keeper
    from .model import Verdict
    from .runtime import Occurrence

HOST = ''  # the name under which the host's own processes go


class Ledger:
    """`tell` gets each thing that is news, before it counts as told: rather twice than never."""

    def __init__(self, auditor: Auditor, keeper: 'Keeper', tell: 'Callable[[Occurrence, Verdict], None]') -> None:
        self._auditor = auditor
        self._keeper = keeper
        self._tell = tell
        self._domains: 'Dict[str, Tracked]' = {}
        self._unkept: 'Dict[str, None]' = {}  # names, in the order in which they are to be kept
        self.changes = 0  # that were judged

    def load(self) -> None:
        """Take up what was kept."""
        for domain, is_rebooted in self._keeper.load():
            self._domains[domain.name] = domain
            if is_rebooted:  # what ran then does not run now
                self.advance(domain.name, State(None, {} if domain.name == HOST else domain.state.others))

    def names(self) -> 'List[str]':
        return [name for name in self._domains if name != HOST]

    def state(self, name: str) -> State:
        return self._domains[name].state if name in self._domains else State()

    def running(self) -> int:
        return sum(domain.state.status is not None for domain in self._domains.values())

    def advance(self, name: str, state: State) -> None:
        """Take a domain to another state. Where several are, those that are not known yet go first: see _recognise."""
        domain = self._domains.get(name) or Tracked(name, '', State(), {})
        if state.status == domain.state.status and state.others == domain.state.others:
            return
        self.changes += 1
        self._recognise(domain, state)
        self._judge(domain, state)

    def _recognise(self, domain: Tracked, state: State) -> None:
        """A domain that is shut off may get another name. Its snapshots and checkpoints, which have its UUID in them,
        are moved, or written anew and then removed. Under the new name they are no news: it has them already."""
        for key in state.others.keys() - domain.state.others.keys():
            for other in self._domains.values():
                if other.state.others.get(key) == state.others[key]:
                    domain.state = domain.state.with_document(key[0], key[1], state.others[key])
                    domain.held = dict(other.held, **domain.held)
                    break

    def judge_again(self, auditor: 'Auditor') -> None:
        """Judge every domain as it is by another policy."""
        self._auditor = auditor
        for domain in list(self._domains.values()):
            self._judge(domain, domain.state)

    def keep(self, limit: 'Optional[int]' = None) -> bool:
        """Keep so many of the states that have changed without news, or all; return whether all of these could be."""
        names = list(self._unkept)[:limit]
        kept = [self._keep(self._domains.get(name) or Tracked(name, '', State(), {})) for name in names]
        return all(kept)

    @property
    def is_kept(self) -> bool:
        return not self._unkept

    def _judge(self, domain: Tracked, state: State) -> None:
        held = domain.held
        now = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
        for occurrence in self._auditor.advance(domain, state, now):
            self._tell(occurrence, self._auditor.verdict_on(domain, occurrence))
        if domain.state or domain.held:
            self._domains[domain.name] = domain
        else:
            self._domains.pop(domain.name, None)
        if domain.held.keys() != held.keys():
            self._keep(domain)
        else:
            self._unkept[domain.name] = None

    def _keep(self, domain: Tracked) -> bool:
        self._unkept.pop(domain.name, None)
        is_kept = self._keeper.keep(domain)
        if not is_kept:
            self._unkept[domain.name] = None
        return is_kept
