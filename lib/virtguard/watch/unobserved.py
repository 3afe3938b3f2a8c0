# SPDX-License-Identifier: Apache-2.0
"""Which domains cannot be observed at present, since when, and why; says so when that begins, and when it is over.

Each cause is said once for a domain, no matter how often its file is written meanwhile. A cause that goes and comes
back soon is only said again if it stays.
"""

import re
import time

from .. import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Set, Tuple

_SAY_AGAIN = 60.0  # seconds
_MOST_CAUSES = 16  # of one gap
_MOST_SAID = 1000
_NUMBER = re.compile(r'\d+')


class Gap:
    """A time in which something of a domain was not observed: `since` and `until` are times of the clock."""

    __slots__ = ('domain', 'uuid', 'cause', 'since', 'until', 'said')

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.uuid = ''
        self.cause = ''
        self.since = host.now()
        self.until = ''
        self.said: 'Set[str]' = set()


class Unobserved:
    """`begun` gets a gap when it is found, and again where it has another cause; `over` gets it when it has ended.

    A domain may be unobserved in several things: its files, and (named '') its changes.
    """

    def __init__(self, begun: 'Callable[[Gap], None]', over: 'Callable[[Gap], None]') -> None:
        self._begun = begun
        self._over = over
        self._things: 'Dict[str, Set[str]]' = {}  # by domain
        self._gaps: 'Dict[str, Gap]' = {}
        self._said: 'Dict[Tuple[str, str], float]' = {}

    def fail(self, domain: str, uuid: str, thing: str, cause: str) -> None:
        """Note that something of a domain cannot be observed now."""
        self._things.setdefault(domain, set()).add(thing)
        gap = self._gaps.setdefault(domain, Gap(domain))
        gap.uuid = uuid or gap.uuid
        gap.cause = cause
        kind = _NUMBER.sub('', cause)
        now = time.monotonic()
        if kind in gap.said or len(gap.said) >= _MOST_CAUSES:
            return
        if now - self._said.get((domain, kind), -_SAY_AGAIN) >= _SAY_AGAIN:
            if len(self._said) >= _MOST_SAID:
                self._said = {key: said for key, said in self._said.items() if now - said < _SAY_AGAIN}
            self._said[domain, kind] = now
            gap.said.add(kind)
            self._begun(gap)

    def mend(self, domain: str, thing: str) -> None:
        """Note that something of a domain is observed, or is there no more."""
        things = self._things.get(domain)
        if things is None:
            return
        things.discard(thing)
        if not things:
            del self._things[domain]
            gap = self._gaps.pop(domain)
            gap.until = host.now()
            self._over(gap)

    def has_failed(self, domain: str, thing: str) -> bool:
        return thing in self._things.get(domain, ())
