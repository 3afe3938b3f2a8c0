# SPDX-License-Identifier: Apache-2.0
"""Coverage: which starts of domains have a verdict of the guard, as libvirt's logs and the guard's records say.

Just before libvirt logs a start, the hook records its verdict. So between one start of a domain and the next there is a
record, not long before the latter. Where there is none, the guard was not asked, or the record is not there to be read:
before the journal begins, and while journald did not run, that cannot be known, and nothing is alleged.
"""

import os
import time

from ..guarding.host_files import FileTree
from ..watch.state import State, uuid_in
from ..watch.state_files import StateFileError, StateFiles
from ..wording import counted
from .domain_logs import read_domain_logs
from .guard_records import read_guard_records
from .journal_gaps import Gaps
from .journal_reader import oldest_entry, synchronise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Tuple

    from ..policy.installation import Installation
    from ..watch.unjudged_starts import Unjudged
    from .domain_logs import DomainLogs
    from .guard_records import GuardRecords

# What is known of a start. UNJUDGED: the guard was there to be asked, and there is no verdict.
JUDGED, UNJUDGED, BEFORE, UNKNOWN = 'judged', 'unjudged', 'before', 'unknown'

_EVER = float('inf')
_BEFORE = 300.0  # seconds between a verdict and the start that it permits: other hooks run then
_CLOCK = 0.01  # seconds that the times of both may differ
_OF_PROCESS = 60.0  # seconds that the start of a process may be away from what libvirt has logged
_COMING = 2.0  # seconds until the daemon has been told of a hook that was installed
_VAGUE = 5.0  # seconds that the start of a process may be off: it is counted from the clock as it is
_HOUR = 3600.0  # seconds in which something that is not known may become known
_DAY = 86400.0
_OVERLAP = 60.0  # seconds that are looked at again
_AHEAD = 60.0  # seconds that the clock may have been ahead when a start was logged
_SETTLED = 60.0  # seconds after which a record is in the journal, even if journald cannot be asked to hurry


class Start:
    """One start of a domain, at `time` in seconds since the epoch; `state`: JUDGED, UNJUDGED, BEFORE or UNKNOWN.

    `why` says why there is no verdict where that is no alarm. `uuid` is '' where it is not known. `is_running`: the
    domain runs since then. `is_logged`: libvirt's log has it; else a process tells of it, and its time is not exact.
    """

    __slots__ = ('name', 'uuid', 'time', 'state', 'why', 'is_running', 'is_logged')

    def __init__(self, name: str, uuid: str, time: float, is_logged: bool = True) -> None:
        self.name = name
        self.uuid = uuid
        self.time = time
        self.is_logged = is_logged
        self.is_running = False
        self.state = UNKNOWN
        self.why = ''

    def conclude(self, state: str, why: str = '') -> None:
        self.state = state
        self.why = why


class Coverage:
    """All `starts` in a span of time, oldest first.

    `since`: what was before is not known, because the journal, or the guard, begins then. `unread` says in sentences
    which files could not be read, so that starts may be missing.
    """

    __slots__ = ('starts', 'since', 'unread')

    def __init__(self, starts: 'Sequence[Start]', since: float, unread: 'Sequence[str]' = ()) -> None:
        self.starts = starts
        self.since = since
        self.unread = unread

    def of_state(self, state: str) -> 'List[Start]':
        return [start for start in self.starts if start.state == state]


class Running:
    """A domain that runs: its process was `started` at a time in seconds since the epoch."""

    __slots__ = ('name', 'uuid', 'started')

    def __init__(self, name: str, uuid: str, started: float) -> None:
        self.name = name
        self.uuid = uuid
        self.started = started


def find_coverage(
    installation: 'Installation', since: float = 0.0, until: 'Optional[float]' = None, with_older: bool = True
) -> Coverage:
    """What is known of the starts on this host since a time, until another.

    :param with_older: also of what runs since before that time
    :raises JournalError: the journal cannot be read, so that nothing is known
    :raises GuardError: libvirt's directory of domains that run cannot be listed
    """
    begins = oldest_entry() or _EVER
    # What was logged before the journal begins is of no use, except that it tells of what still runs.
    first = max(since, min(begins, time.time()))
    running, unread = running_domains(installation)
    if not with_older:
        running = [domain for domain in running if domain.started > first]
    # A verdict may belong to a start that was before all of these.
    earliest = min([first, *(domain.started - _OF_PROCESS for domain in running)]) - _BEFORE
    logs = read_domain_logs(installation.domain_logs, earliest, time.time() + _AHEAD)
    starts = merge_starts(logs, running)
    records = read_guard_records(installation, earliest - _BEFORE)
    conclude(starts, records, begins)
    asked = [start for start in starts if (first <= start.time or start.is_running) and start.time <= (until or _EVER)]
    if any(start.state == UNJUDGED for start in asked):
        answers = synchronise()
        records = read_guard_records(installation, earliest - _BEFORE, all_sinks=True)
        conclude(starts, records, begins)
        _excuse([start for start in asked if start.state == UNJUDGED], answers)
    return Coverage(asked, max(begins, records.present_since), unread + logs.unread)


def unjudged_since(installation: 'Installation', since: float) -> 'Tuple[List[Unjudged], float, bool]':
    """What a watch asks, see watch/unjudged_starts.

    :raises GuardError: as find_coverage
    """
    now = time.time()
    # Where nobody knows what was told: what runs, and what was started lately, rather than all that was ever started.
    coverage = find_coverage(installation, since or now - _DAY, with_older=not since)
    found = [
        (start.name, start.uuid, start.time, 0.0 if start.is_logged else _VAGUE)
        for start in coverage.of_state(UNJUDGED)
    ]
    unsettled = [start.time for start in coverage.of_state(UNKNOWN) if start.time > now - _HOUR]
    return found, min([now, *unsettled]) - _OVERLAP, not unsettled


def running_domains(installation: 'Installation') -> 'Tuple[List[Running], List[str]]':
    """The domains that run on this host, as libvirt's files and the kernel say, and in a sentence if some of these
    files could not be read: each costs its own domain and no other.

    :raises GuardError: the directory cannot be listed
    """
    files = StateFiles(installation.run, installation.lib)
    tree = FileTree('/')
    paths, unlisted = files.paths()
    if installation.run in unlisted:
        raise unlisted[installation.run]
    found, unread = [], []
    for path in paths:
        if os.path.dirname(path) != installation.run:
            continue
        try:
            _, data = files.read(path)
        except StateFileError as error:
            unread.append(str(error))
            continue
        uuid = uuid_in(data or b'')
        started = tree.started('/proc/%d' % State(data).pid()) if data is not None else None
        if uuid and started is not None:
            found.append(Running(files.about(path).domain, uuid, started))
    if len(unread) > 1:  # all of them, where an ordinary user asks
        unread = ['%s; %s cannot be read either' % (unread[0], counted(len(unread) - 1, 'other file'))]
    return found, unread


def merge_starts(logs: 'DomainLogs', running: 'Iterable[Running]') -> 'List[Start]':
    """What is logged, and what runs without having been logged, oldest first."""
    starts = [Start(name, uuid, time) for (name, time), uuid in logs.starts.items()]
    latest = {start.name: start for start in sorted(starts, key=lambda start: start.time)}
    for domain in running:
        start = latest.get(domain.name)
        # The times of processes are counted from the clock as it is now, and it may have been set since; and what looks
        # like the end of a domain may be something that its QEMU has written.
        is_over = start is not None and start.time <= logs.ends.get(domain.name, 0.0)
        if start is None or (is_over and abs(start.time - domain.started) > _VAGUE):
            start = Start(domain.name, domain.uuid, domain.started, is_logged=False)
            starts.append(start)
        start.uuid = domain.uuid
        start.is_running = True
    return sorted(starts, key=lambda start: start.time)


def conclude(starts: 'Iterable[Start]', records: 'GuardRecords', begins: float) -> None:
    """Find out, from records alone, what is known of each start.

    :param starts: oldest first
    :param begins: when the journal begins
    """
    previous: 'Dict[str, float]' = {}
    for start in starts:
        # The last verdict before a start, and after the previous one of this domain.
        after = max(start.time - _BEFORE, previous.get(start.name, 0.0))
        if records.is_admitted(start.name, after, start.time + (_CLOCK if start.is_logged else _OF_PROCESS)):
            start.conclude(JUDGED)
        elif not records.was_present(start.time - _COMING):
            start.conclude(BEFORE, 'the guard was not installed then')
        elif start.time < begins + _CLOCK:
            start.conclude(UNKNOWN, 'the journal begins later' if begins < _EVER else 'the journal has nothing to read')
        else:
            start.conclude(UNJUDGED)
        previous[start.name] = start.time + _CLOCK


def _excuse(unjudged: 'Sequence[Start]', answers: bool) -> None:
    """Find out of what seems to have no verdict whether that can be known.

    :param answers: whether journald has kept all that it was sent
    """
    if not unjudged:
        return
    gaps = Gaps(unjudged[0].time, answers)
    for start in reversed(unjudged):
        why = gaps.at(start.time)
        if not why and not answers and start.time > time.time() - _SETTLED:
            why = 'the records may not be in the journal yet'
        if why:
            start.conclude(UNKNOWN, why)
