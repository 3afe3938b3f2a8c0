# SPDX-License-Identifier: Apache-2.0
"""Starts many domains at once on a busy host, and prints how many are refused, which should be none.

    python3 tests/bench/busy_host.py [STARTS [BUSY]]

installs the checkout below a temporary directory, lets BUSY processes (12) do nothing but work, and calls the hook for
STARTS (200) domains with a warning at once, as more daemons than one might.
"""

import collections
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Tuple

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / 'lib'), str(CHECKOUT / 'tests'), str(CHECKOUT / 'tests/installed')]

import installation  # noqa: E402


def start_all(hook: pathlib.Path, xml: bytes, starts: int) -> 'Tuple[List[int], List[float]]':
    """The exit status of each start, and after how long it was there."""
    running: 'Dict[int, Tuple[subprocess.Popen[bytes], float]]' = {}
    for _ in range(starts):
        began = time.monotonic()
        process = subprocess.Popen(
            [str(hook), 'guest', 'start', 'begin', '-'],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=installation.ENVIRONMENT,
            cwd='/',
        )
        assert process.stdin
        process.stdin.write(xml)
        process.stdin.close()
        running[process.pid] = process, began
    answers, times = [], []
    while running:
        pid, status = os.wait()
        if pid in running:
            process, began = running.pop(pid)
            process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            answers.append(process.returncode)
            times.append(time.monotonic() - began)
    return answers, times


def main() -> None:
    starts, busy = ([int(word) for word in sys.argv[1:]] + [200, 12][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory() as directory:
        installed = installation.newly_installed(pathlib.Path(directory))
        installed.compiles = True
        installed.write_policy()
        xml = installed.clean.replace(b'http://redhat.com/rhel/8.10', b'http://example.com/none')
        others = [subprocess.Popen([sys.executable, '-S', '-c', 'while True: pass']) for _ in range(busy)]
        try:
            answers, times = start_all(installed.hook, xml, starts)
        finally:
            for other in others:
                other.kill()
                other.wait()
    print('%d starts at once beside %d busy processes on %d cores' % (starts, busy, len(os.sched_getaffinity(0))))
    for status, count in collections.Counter(answers).items():
        print('%d ended with exit status %d' % (count, status))
    print('answer after %.1f s (median), %.1f s (last)' % (statistics.median(times), max(times)))


if __name__ == '__main__':
    main()
