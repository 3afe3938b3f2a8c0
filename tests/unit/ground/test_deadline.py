# SPDX-License-Identifier: Apache-2.0
"""How long a process waits for something else than a processor."""

import os
import subprocess
import sys
import time

import pytest
from virtguard import deadline
from virtguard.errors import Expired

SPIN = 'while True: pass'


@pytest.fixture
def process():
    """Starts Python programs; returns their numbers."""
    started = []

    def start(program):
        started.append(subprocess.Popen([sys.executable, '-I', '-S', '-c', program]))
        return started[-1].pid

    yield start
    for one in started:
        one.kill()
        one.wait()


def until_it_raises(clock, seconds, most=20):
    """Whether it does, and after how long."""
    began = time.monotonic()
    while time.monotonic() - began < most:
        try:
            time.sleep(min(clock.left(seconds), 0.05))
        except Expired:
            return True, time.monotonic() - began
    return False, most


@pytest.fixture
def sleeper(process):
    return process('import time; time.sleep(60)')


def waiting(pid, *more):
    clock = deadline.Clock(pid)
    clock.begin_stage(True, *more)
    return clock


def test_a_process_that_waits_expires(sleeper):
    expired, took = until_it_raises(waiting(sleeper), 0.5)
    assert expired and 0.4 < took < 10


def test_a_wait_counts_from_its_beginning():
    assert until_it_raises(deadline.Clock('self', time.monotonic() - 1000), 0.5)[1] < 0.1


def test_only_the_stages_that_wait_are_counted(sleeper):
    clock = deadline.Clock(sleeper)
    time.sleep(0.2)
    assert clock.left(0.1) == 0.1
    clock.begin_stage(False)
    time.sleep(0.2)
    assert clock.left(0.1) == 0.1


def test_a_process_that_works_does_not_wait(process):
    clock = waiting(process(SPIN))
    assert until_it_raises(clock, 0.5, most=2)[0] is False


def test_a_processor_that_others_have_does_not_count(process):
    """One of many that share a processor waits for it most of the time."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pids = [process(SPIN) for _ in range(6)]
    finally:
        os.sched_setaffinity(0, cores)
    assert until_it_raises(waiting(pids[0]), 0.5, most=3)[0] is False


def test_stages_that_continue_each_other_are_added():
    clock = waiting('nobody')
    time.sleep(1)
    clock.begin_stage(False, True)  # as between two probes
    assert clock.left(60) == 60
    clock.begin_stage(True, True)
    left = clock.left(60)
    assert left <= 59
    clock.begin_stage(True)
    assert clock.left(60) > left


def test_without_processor_times_all_time_is_waiting():
    expired, took = until_it_raises(waiting('nobody'), 0.2)
    assert expired and took < 10


def test_times_without_schedstat(monkeypatch):
    real = deadline._read
    monkeypatch.setattr(deadline, '_read', lambda path: () if path.endswith('schedstat') else real(path))
    before = deadline._times('self')
    started = time.process_time()
    while time.process_time() - started < 0.3:
        pass
    after = deadline._times('self')
    assert 0.2 < after[0] - before[0] < 2
    assert after[1] == 0


def test_memory():
    before = deadline.memory()
    kept = b'x' * (64 << 20)
    assert 60 << 20 < deadline.memory() - before < 200 << 20
    assert len(kept) and deadline.memory('nobody') == 0
