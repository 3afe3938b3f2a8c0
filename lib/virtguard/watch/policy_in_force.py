# SPDX-License-Identifier: Apache-2.0
"""The policy in force, for a process that runs while it is edited, and the day, on which its waivers depend."""

import time

from .. import model
from ..compiled import take_stamp
from ..host import read_facts, today
from ..policy.compiler import what_it_depends_on
from ..trust import WAY
from .auditor import Auditor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

# Seconds
_INTERVAL = 1.0  # between two looks at the files
_RETRY = 5.0  # for a policy that cannot be used, even if none of its known files changes


class PolicyInForce:
    """`load` reads the policy; its files are looked at again when somebody asks whether it has changed."""

    def __init__(self, load: 'Callable[[], model.Policy]') -> None:
        self._load = load
        self._sources: 'List[Tuple[str, str]]' = []
        self._asks_os = False  # whether a rule asks for the host's release
        self._seen: object = None
        self._next = 0.0
        self._retry = float('inf')
        self.name = ''
        self._fields: 'List[Tuple[str, str]]' = []

    def load(self) -> Auditor:
        """An Auditor that judges by the policy as it is now.

        :raises GuardError: the policy cannot be used
        """
        policy = self._load()
        self._sources = what_it_depends_on(policy)
        self._asks_os = 'os' in policy.needed_facts() | policy.needed_facts(model.RUNTIME)
        self._seen = self._look()
        policy = self._load()  # again, so that it is not older than what was seen
        self.name, self._fields = policy.name, policy.fields()
        return Auditor(policy, read_facts(policy.needed_facts() | policy.needed_facts(model.RUNTIME)), today())

    def fields(self) -> 'List[Tuple[str, str]]':
        """What records say of the policy; nothing before one was loaded."""
        return self._fields

    def paths(self) -> 'List[str]':
        """The files and directories of which a change is to be noticed soon."""
        return [path for path, kind in self._sources if kind != WAY]

    def look_at_once(self) -> None:
        """Let the next question whether the policy has changed be answered by another look at the files."""
        self._next = 0.0
        if self._retry < float('inf'):  # what it lacks may have come, even if nothing that is known has changed
            self._retry = 0.0

    def forget(self) -> None:
        """Treat the policy as changed."""
        self._seen, self._next = None, 0.0

    def renewed(self) -> 'Optional[Auditor]':
        """A new Auditor if the policy, the day or the host's release has changed; else None.

        :raises GuardError: the policy has changed and cannot be used; raised again as long as that is so
        """
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + _INTERVAL
        seen = self._look()
        if seen == self._seen and now < self._retry:
            return None
        self._seen, self._retry = seen, now + _RETRY
        auditor = self.load()
        self._retry = float('inf')
        return auditor

    def is_current(self) -> bool:
        """Whether nothing has changed since the policy was loaded."""
        return self._look() == self._seen

    def _look(self) -> object:
        # A host is upgraded from one minor release to the next while it runs.
        host = read_facts(('os',) if self._asks_os else ())
        try:
            return take_stamp(self._sources), today(), host.os, host.os_like
        except OSError as error:
            return str(error), today(), host.os, host.os_like
