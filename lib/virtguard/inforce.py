# SPDX-License-Identifier: Apache-2.0
"""The policy in force, for a process that outlives its edits, and the day, which its waivers depend on."""

import time

from . import model
from .compiled import take_stamp
from .compiler import list_sources
from .host import read_facts, today
from .runtime import Auditor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

_INTERVAL = 1.0  # seconds between two looks at the files


class PolicyInForce:
    """`load` reads the policy; what it was read from is looked at again when somebody asks whether it has changed."""

    def __init__(self, load: 'Callable[[], model.Policy]') -> None:
        self._load = load
        self._sources: 'List[Tuple[str, str]]' = []
        self._seen: object = None
        self._next = 0.0
        self.name = ''

    def load(self) -> Auditor:
        """One that judges by the policy as it is now.

        :raises GuardError: it is no good
        """
        self._sources = list_sources(self._load())
        self._seen = self._look()
        policy = self._load()  # anew, so that what is in force is not older than what was seen
        self.name = policy.name
        return Auditor(policy, read_facts(policy.facts() | policy.facts(model.RUNTIME)), today())

    def forget(self) -> None:
        """Take the policy for changed."""
        self._seen, self._next = None, 0.0

    def renewed(self) -> 'Optional[Auditor]':
        """The same, where the policy or the day has changed; else None.

        :raises GuardError: the policy has changed, and is no good; said once for each change
        """
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _INTERVAL
        seen = self._look()
        if seen == self._seen:
            return None
        self._seen = seen
        return self.load()

    def _look(self) -> object:
        try:
            return take_stamp(self._sources), today()
        except OSError as error:
            return str(error), today()
