# SPDX-License-Identifier: Apache-2.0
"""A watched machine that measures: how late another domain's changes are recorded, and how much memory the watch takes.

And what a domain's owner can do to it: metadata of any size and shape, at any time, by libvirt's own calls.
"""

import contextlib
import re
import threading
import time
from typing import Any, Dict, Iterator, List, Tuple

from domains import Mutation, domain, replace
from machine import PathLike
from watched import LOG, MARK, WatchedMachine, disk_of, identity, image_of

HOSTILE, HOSTILE_UUID = 'hostile', '1ab00000-0000-4000-8000-00000000bad0'
LIBOSINFO = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
EDITOR, EDITED = '/root/editor', '/root/edited'

INTERVAL = 1.0  # seconds between two changes of the other domain
MB = 1000 * 1000


class Measured:
    """What was seen during a measurement: seconds from each change to its record, and bytes of memory at most."""

    def __init__(self) -> None:
        self.latencies: List[float] = []
        self.unrecorded: List[int] = []
        self.memory = 0

    def __str__(self) -> str:
        latest = max(self.latencies) if self.latencies else float('nan')
        numbers = (len(self.latencies), latest, len(self.unrecorded), self.memory / MB)
        return '%d changes recorded after %.2f s at most, %d not; %.0f MB' % numbers


class HostileMachine(WatchedMachine):
    def __init__(self, workdir: PathLike, **options: Any) -> None:
        super().__init__(workdir, **options)
        self._throttled: Dict[int, float] = {}  # limit -> when it was in force

    # Measuring

    @contextlib.contextmanager
    def measured(self, patience: float = 10) -> Iterator[Measured]:
        """Change another domain again and again meanwhile; the figures are there afterwards.

        :param patience: seconds that the last record may take to come
        """
        start, result, end = self.cursor(), Measured(), threading.Event()
        self._throttled.clear()
        threads = [threading.Thread(target=loop, args=(result, end)) for loop in (self._throttle, self._weigh)]
        for thread in threads:
            thread.start()
        try:
            yield result
            while len(self._throttled) < 2 and threads[0].is_alive():  # what was done meanwhile took less than that
                time.sleep(INTERVAL)
        finally:
            end.set()
            for thread in threads:
                thread.join()
        deadline = time.monotonic() + patience
        recorded: Dict[int, float] = {}
        while self._throttled.keys() - recorded.keys() and time.monotonic() < deadline:
            recorded = self._recorded(start)
        result.unrecorded = sorted(self._throttled.keys() - recorded.keys())
        result.latencies = [recorded[limit] - then for limit, then in self._throttled.items() if limit in recorded]
        result.memory = max(result.memory, self._high_water_mark())

    def _throttle(self, result: Measured, end: threading.Event) -> None:
        while not end.wait(INTERVAL):
            self._limit += 1
            self.virsh('blkdeviotune', MARK, 'vda', '--live', '--total-iops-sec', str(self._limit))
            self._throttled[self._limit] = time.time()

    def _recorded(self, start: Any) -> Dict[int, float]:
        found = {}
        for entry in self.journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DOMAIN=' + MARK, after=start):
            match = re.search(r'<total_iops_sec>(\d+)<', entry.get('VIRT_GUARD_AFTER', ''))
            if match:
                found.setdefault(int(match.group(1)), int(entry['_SOURCE_REALTIME_TIMESTAMP']) / 1000000)
        return found

    def _weigh(self, result: Measured, end: threading.Event) -> None:
        while not end.wait(0.05):
            result.memory = max(result.memory, sum(map(self._size, self._family(self._watch_pid))))

    def _family(self, pid: int) -> List[int]:
        try:
            children = self.read('/proc/%d/task/%d/children' % (pid, pid)).split()
        except OSError:
            return []
        return [pid] + [member for child in children for member in self._family(int(child))]

    def _size(self, pid: int) -> int:
        """What a process has for itself, and its part of what it shares."""
        try:
            match = re.search(r'^Pss:\s+(\d+) kB', self.read('/proc/%d/smaps_rollup' % pid), re.MULTILINE)
        except OSError:
            return 0
        return int(match.group(1)) * 1024 if match else 0

    def _high_water_mark(self) -> int:
        match = re.search(r'^VmHWM:\s+(\d+) kB', self.read('/proc/%d/status' % self._watch_pid), re.MULTILINE)
        assert match, self.read(LOG)
        return int(match.group(1)) * 1024

    def is_watched(self) -> bool:
        """Whether the watch runs: it has run all the time then, for there is nobody who would start another one."""
        return self.alive(self._watch_pid)

    def restart_watch(self) -> None:
        self.kill(self._watch_pid, wait=20)
        self.run(['rm', '/run/notify'])
        self._start_watch()

    # What a domain's owner does

    def create_hostile(self, *mutations: Mutation) -> None:
        self.make_qcow2(image_of(HOSTILE))
        xml = domain(HOSTILE, identity(HOSTILE_UUID), disk_of(HOSTILE), *mutations)
        self.virsh('create', '/dev/stdin', input=xml)

    def set_metadata(self, uri: str, xml: str) -> None:
        """Give the running domain an element of metadata, as large as one call may carry."""
        self.write(EDITOR, '#!/bin/sh\ncp %s "$1"\n' % EDITED, 0o755)
        self.write(EDITED, xml)
        command = ['virsh', 'metadata', HOSTILE, uri, '--key', 'key', '--live', '--edit']
        self.run(command, env={'VISUAL': EDITOR, 'EDITOR': EDITOR})

    def remove_metadata(self, uri: str) -> None:
        self.virsh('metadata', HOSTILE, uri, '--live', '--remove')

    def end_hostile(self) -> None:
        self.virsh('destroy', HOSTILE, check=False)

    def hostile_records(self, start: Any) -> List[Tuple[str, str]]:
        """What was recorded of it since: decision and message."""
        entries = self.journal('VIRT_GUARD_OPERATION=watch', after=start)
        entries = [entry for entry in entries if entry.get('VIRT_GUARD_DOMAIN') == HOSTILE]
        return [(entry['VIRT_GUARD_DECISION'], entry['MESSAGE']) for entry in entries]


def metadata(xml: str) -> Mutation:
    """Elements of metadata beside those that are there."""
    return replace('</metadata>', xml + '</metadata>')


def os_ids(number: int) -> str:
    ids = "<libosinfo:os id=''/>" * number
    return "<libosinfo:libosinfo xmlns:libosinfo='%s'>%s</libosinfo:libosinfo>" % (LIBOSINFO, ids)
