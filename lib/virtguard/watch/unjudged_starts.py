# SPDX-License-Identifier: Apache-2.0
"""Finds domains that were started without a verdict of the guard, and tells each such start once.

Whether there was a verdict, libvirt's logs and the journal say. Reading them may take a while, so a process of its own
does it: when a domain has begun to run, and now and then, if something was logged, for what ended before it was seen.
"""

import os
import time
from functools import partial

from .. import model
from ..digest import sha256_hex
from ..errors import GuardError
from .kept_file import read_kept, write_kept
from .limited import Apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

    from ..model import Occurrence, Verdict
    from .auditor import Auditor

    # Name, UUID, time in seconds since the epoch, and how far that may be off.
    Unjudged = Tuple[str, str, float, float]
    # What has no verdict since a time (0.0: nothing was found out before), oldest first; since when that is to be found
    # out next; whether all of it is known now.
    Find = Callable[[float], Tuple[List[Unjudged], float, bool]]

NAME = 'told-starts'
_FORMAT = b'virt-guard told starts 1'
_MOST_TOLD = 10000  # that are remembered
_MOST_TOLD_OF_DOMAIN = 1000
_MOST_AT_ONCE = 100  # records of one look, unless there are more domains
_MOST_OF_DOMAIN = 20
_PROCESSOR_SECONDS = 60.0
_SECONDS = 300.0
_MEMORY = 1 << 30  # bytes of addresses: journalctl maps the journal's files
_EVENT = 32  # hexadecimal digits
_KEEP = 60.0  # seconds that are looked at again rather than that a file is written
_AGAIN = 30.0  # seconds until what could not be found out is looked for again
_LOOK_AT_LOGS = 600.0  # seconds

RULE = model.Rule(
    id='started-without-verdict',
    title='it was started, and the guard has no verdict on that',
    action=model.DENY,
    why='libvirt did not ask the guard, or the guard could not answer or record, so nobody knows what was started.',
    remedy='virt-guard status tells why; virt-guard scan judges what runs; start the domain again',
    at=model.RUNTIME,
    waivable=False,
)


class UnjudgedStarts:
    """`tell` gets each start once. What was told is kept in `directory`, if there is one.

    :param find: asked in a process of its own, which may import and start what it needs; None: nobody can tell
    :param logs: the directory in which libvirt logs starts
    :param warn: gets a line about what is amiss
    """

    def __init__(
        self,
        find: 'Optional[Find]',
        logs: str,
        directory: 'Optional[str]',
        tell: 'Callable[[Occurrence, Verdict], None]',
        warn: 'Callable[[str], None]',
    ) -> None:
        self._find = find
        self._logs = logs
        self._path = None if directory is None else os.path.join(directory, NAME)
        self._tell = tell
        self._warn = warn
        self._apart: 'Optional[Apart]' = None
        self._pids: 'Set[int]' = set()
        self._due = 0.0
        self._look_at_logs = time.monotonic() + _LOOK_AT_LOGS
        self._logged = 0.0
        self._since, self._told = self._load()

    def follow(self, pids: 'Set[int]') -> None:
        """See whether there is something to find out.

        :param pids: the processes of the domains that run
        """
        begun, self._pids = pids - self._pids, pids
        now = time.monotonic()
        if begun:
            self._due = now
        if now >= self._look_at_logs:
            self._look_at_logs = now + _LOOK_AT_LOGS
            logged = _last_written(self._logs)
            if logged != self._logged:
                self._logged, self._due = logged, now
        if now >= self._due and self._apart is None and self._find is not None:
            self._start(self._find)

    def _start(self, find: 'Find') -> None:
        self._due = float('inf')
        try:
            self._apart = Apart(partial(find, self._since), _PROCESSOR_SECONDS, _SECONDS, _MEMORY)
        except OSError as error:
            self._fail('no process can be started: %s' % error.strerror)

    def _fail(self, reason: str) -> None:
        self._due = time.monotonic() + _LOOK_AT_LOGS
        self._warn('which starts of domains have no verdict is not known: %s' % reason)

    def descriptors(self) -> 'List[int]':
        """Descriptors that are readable when there is something to collect."""
        return [] if self._apart is None else [self._apart.fileno()]

    def collect(self, auditor: 'Auditor') -> None:
        """Tell what was found out meanwhile."""
        if self._apart is None or not self._apart.take():
            return
        apart, self._apart = self._apart, None
        try:
            found, since, is_settled = apart.answer()
        except GuardError as error:
            self._fail(str(error))
            return
        if not is_settled:
            self._due = min(self._due, time.monotonic() + _AGAIN)
        for name, uuid, moment, more in _few(self._told.take(found)):
            occurrence = _occurrence(name, moment, more)
            self._tell(occurrence, model.Verdict(name, uuid, auditor.policy, (occurrence.finding,), auditor.today))
        if found or since > self._since + _KEEP:
            self._since = since
            self._keep()

    def close(self) -> None:
        """Give up what is being found out; the next look begins anew."""
        if self._apart is not None:
            self._apart.kill()
            self._apart = None

    def _load(self) -> 'Tuple[float, _Told]':
        if self._path is None:
            return 0.0, _Told()
        try:
            since, told = read_kept(self._path, _FORMAT)
            return float(since), _Told((str(name), float(moment)) for name, moment in told)
        except FileNotFoundError:
            return 0.0, _Told()
        except (OSError, ValueError, TypeError) as error:
            self._warn('%s is left out: %s' % (self._path, error))
            return 0.0, _Told()

    def _keep(self) -> None:
        if self._path is None:
            return
        try:
            write_kept(self._path, _FORMAT, [self._since, self._told.pairs()], durable=True)
        except OSError as error:
            self._warn('%s cannot be written: %s; what it is about may be told again' % (self._path, error.strerror))


class _Told:
    """Which starts were told. What QEMU writes into a log may be any number, so the last ones are remembered."""

    def __init__(self, told: 'Iterable[Tuple[str, float]]' = ()) -> None:
        self._moments: 'Dict[str, Set[float]]' = {}
        self._add(told)

    def _add(self, told: 'Iterable[Tuple[str, float]]') -> None:
        for name, moment in told:
            self._moments.setdefault(name, set()).add(moment)

    def pairs(self) -> 'List[Tuple[str, float]]':
        return sorted(((name, moment) for name, moments in self._moments.items() for moment in moments), key=_moment)

    def take(self, found: 'Iterable[Unjudged]') -> 'List[Unjudged]':
        """Those that were not told yet; now they are."""
        # What was before these may have been forgotten. By domain: none can keep those of another one from being told.
        firsts = {name: min(moments) for name, moments in self._moments.items() if len(moments) >= _MOST_TOLD_OF_DOMAIN}
        new = []
        for start in found:
            name, _, moment, vague = start
            moments = self._moments.setdefault(name, set())
            is_told = moment in moments or vague and any(abs(moment - when) <= vague for when in moments)
            if not is_told and moment > firsts.get(name, 0.0):
                moments.add(moment)
                new.append(start)
        self._forget()
        return new

    def _forget(self) -> None:
        for name, moments in self._moments.items():
            if len(moments) > _MOST_TOLD_OF_DOMAIN:
                self._moments[name] = set(sorted(moments)[-_MOST_TOLD_OF_DOMAIN:])
        if sum(map(len, self._moments.values())) > _MOST_TOLD:
            last = self.pairs()[-_MOST_TOLD:]
            self._moments.clear()
            self._add(last)


def _moment(pair: 'Tuple[str, float]') -> float:
    return pair[1]


def _few(found: 'Sequence[Unjudged]') -> 'Iterator[Tuple[str, str, float, int]]':
    """Of each domain the last ones: name, UUID, time, and how many more there are, which the last one stands for."""
    of_domains: 'Dict[str, List[Unjudged]]' = {}
    for start in found:
        of_domains.setdefault(start[0], []).append(start)
    most = max(1, min(_MOST_OF_DOMAIN, _MOST_AT_ONCE // max(1, len(of_domains))))
    for starts in of_domains.values():
        for name, uuid, moment, _ in starts[-most:-1]:
            yield name, uuid, moment, 0
        name, uuid, moment, _ = starts[-1]
        yield name, uuid, moment, max(0, len(starts) - most)


def _last_written(directory: str) -> float:
    try:
        with os.scandir(directory) as entries:
            return max((entry.stat(follow_symlinks=False).st_mtime for entry in entries), default=0.0)
    except OSError:
        return 0.0  # there is none, or one is gone


def _occurrence(name: str, moment: float, more: int) -> 'Occurrence':
    shown = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(moment))
    finding = model.Finding(RULE, model.DENY, '/domain', 0, shown, RULE.title, more=more)
    occurrence = model.Occurrence(
        '\n'.join((RULE.id, name, '%.3f' % moment)), finding, '', 'started at ' + shown, shown
    )
    occurrence.event = sha256_hex(occurrence.key.encode('utf-8', 'surrogatepass'))[:_EVENT]
    return occurrence
