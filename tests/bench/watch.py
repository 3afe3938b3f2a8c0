# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch` on a host with 1,000 running domains: at rest, at one change, and at 1,000 changes a second.

The domains are status files of a size that libvirt's have. Every change differs from the one before, so that one
that is lost shows: the watch says how many it has judged.
"""

import os
import pathlib
import signal
import statistics
import sys
import tempfile
import time
from typing import Dict, List, Sequence, Tuple

import environment
from environment import say
from table import Result, Section

sys.path[:0] = [str(environment.CHECKOUT / directory) for directory in ('lib', 'tests', 'tests/installed')]

from installation import Installed, run_installer  # noqa: E402
from watching import Watching, disk, job, rules_text, status  # noqa: E402

_DOMAINS = 1000
_RATE = 1000  # rewrites a second
_LATENCY = 0.05  # seconds

ROWS = {
    'watch-idle': ('watch of 1,000 idle domains, processor time / time', 0.005),
    'watch-change': ('watch, from a change to its record / 50 ms', 1.0),
    'watch-rate': ('watch on one core, changes recorded / 1,000 changes a second made', 1.0),
    'watch-memory': ('watch, memory after so many changes / before', 1.1),
}


def measure(names: Sequence[str], quick: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names."""
    # On a tmpfs, as /run is.
    with tempfile.TemporaryDirectory(dir='/dev/shm') as directory:
        root = pathlib.Path(directory) / 'root'
        installed = run_installer(root)
        if installed.returncode:
            return [Result(name, *ROWS[name], None, installed.stderr.strip()) for name in names], []
        (root / 'etc/virt-guard/policy.yaml').write_text(rules_text())
        core = str(min(os.sched_getaffinity(0)))
        watch = Watching(Installed(root), prefix=['taskset', '--cpu-list', core])
        try:
            return _measure(watch, names, quick), []
        finally:
            watch.close()


def _measure(watch: Watching, names: Sequence[str], quick: bool) -> List[Result]:
    watch.run.mkdir(parents=True)
    for number in range(_DOMAINS):
        _rewrite(watch, number, 0)
    watch.start()
    watch.records()
    time.sleep(3)  # until it has kept what it saw first
    results: Dict[str, Tuple[float, str]] = {}
    seconds = 20 if quick else 60
    if 'watch-idle' in names:
        say('%d s at rest' % seconds)
        before = _processor_time(watch)
        time.sleep(seconds)
        used = _processor_time(watch) - before
        results['watch-idle'] = used / seconds, '%.0f ms in %d s' % (used * 1000, seconds)
    if 'watch-change' in names:
        latency = _latency(watch, 50 if quick else 300)
        results['watch-change'] = latency / _LATENCY, '%.1f ms' % (latency * 1000)
    if 'watch-rate' in names or 'watch-memory' in names:
        count = _RATE * (10 if quick else 60)
        memory = _memory(watch)
        judged, took, used = _load(watch, count)
        how = '%d of %d in %.1f s, of which it worked %.1f s' % (judged, count, took, used)
        results['watch-rate'] = judged / count, how
        results['watch-memory'] = _memory(watch) / memory, '%.0f MB, %.0f MB' % (_memory(watch) / 1e6, memory / 1e6)
    return [Result(name, *ROWS[name], *results[name], at_least=name == 'watch-rate') for name in names]


_TEMPLATE = status('@name@', devices=disk() + disk('vdb'), job=job('none')).replace(b"'1'/>", b"'@change@'/>")


def _rewrite(watch: Watching, domain: int, change: int, matched: bool = False) -> None:
    """Write a domain's status anew, in little time; a rule matches it where that is wanted."""
    data = _TEMPLATE.replace(b'@name@', b'vm%d' % domain).replace(b'@change@', b'%d' % change)
    path = str(watch.run / ('vm%d.xml' % domain))
    descriptor = os.open(path + '.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data.replace(b"async='none'", b"async='backup'") if matched else data)
    os.close(descriptor)
    os.rename(path + '.new', path)


def _latency(watch: Watching, count: int) -> float:
    """The median of seconds from a change to its record."""
    taken = []
    for number in range(count):
        start = time.perf_counter()
        _rewrite(watch, number, 1, matched=True)
        watch.receive()
        taken.append(time.perf_counter() - start)
        _rewrite(watch, number, 0)
        watch.records()
    return statistics.median(taken)


def _load(watch: Watching, count: int) -> Tuple[int, float, float]:
    """Make changes at the rate; return how many were judged, and the seconds that it took and that the watch used."""
    judged, used = _judged(watch), _processor_time(watch)
    start = time.perf_counter()
    for number in range(1, count + 1):
        _rewrite(watch, number % _DOMAINS, number)
        pause = start + number / _RATE - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
    took = time.perf_counter() - start
    watch.records()
    used = _processor_time(watch) - used
    return _judged(watch) - judged - 2, took, used  # but for the two that asked whether it has come to the end


def _judged(watch: Watching) -> int:
    """How many changes the watch has judged until now; it says so when it is told to reload."""
    watch.process.send_signal(signal.SIGHUP)
    watch.wait_notified('READY=1')
    return int(watch.notifications[-1].rpartition('; ')[2].split()[0])


def _processor_time(watch: Watching) -> float:
    with open('/proc/%d/stat' % watch.process.pid) as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _memory(watch: Watching) -> int:
    """Bytes of memory that the watch holds."""
    with open('/proc/%d/statm' % watch.process.pid) as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
