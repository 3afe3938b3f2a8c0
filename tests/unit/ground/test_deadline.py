# SPDX-License-Identifier: Apache-2.0
"""Whose fault it is that something takes long: what a process works, waits for, and waits for a processor."""

import os
import signal
import subprocess
import sys
import time

import pytest
from virtguard import deadline
from virtguard.errors import Expired, TooSlow

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


def until_it_raises(clock, seconds, judging, most=20):
    """The error, and after how long."""
    began = time.monotonic()
    while time.monotonic() - began < most:
        try:
            time.sleep(clock.left(seconds, judging))
        except Expired as error:
            return error, time.monotonic() - began
    return None, most


@pytest.mark.parametrize('judging, kind', [(True, TooSlow), (False, Expired)])
def test_a_process_that_works_is_counted_by_processor_time(process, judging, kind):
    error, took = until_it_raises(deadline.Clock(time.monotonic(), process(SPIN)), 0.5, judging)
    assert type(error) is kind
    assert took > 0.4
    assert str(error) == ('0.5 seconds of processor time' if judging else '')


@pytest.mark.parametrize('judging', [True, False])
def test_a_process_that_waits_is_a_failure_of_the_guard(process, judging):
    error, took = until_it_raises(
        deadline.Clock(time.monotonic(), process('import time; time.sleep(60)')), 0.5, judging
    )
    assert type(error) is Expired
    assert 0.4 < took < 10


def test_a_process_that_is_stopped_counts_as_waiting(process):
    pid = process(SPIN)
    clock = deadline.Clock(time.monotonic(), pid)
    os.kill(pid, signal.SIGSTOP)
    assert type(until_it_raises(clock, 0.5, True)[0]) is Expired


def test_what_was_waited_before_counts(process):
    clock = deadline.Clock(time.monotonic(), process('import time; time.sleep(60)'), 0.4)
    assert until_it_raises(clock, 0.5, True)[1] < 0.4


def test_stages_are_measured_apart(process):
    clock = deadline.Clock(time.monotonic(), process(SPIN))
    for _ in range(3):
        time.sleep(0.4)
        clock.begin_stage()
    assert 0 < clock.left(0.5, True) <= 0.5


def test_a_processor_that_others_have_does_not_count(process):
    """One of many that share a processor has waited for it most of the time."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pids = [process(SPIN) for _ in range(6)]
    finally:
        os.sched_setaffinity(0, cores)
    clock = deadline.Clock(time.monotonic(), pids[0])
    error, took = until_it_raises(clock, 0.5, True)
    assert type(error) is TooSlow
    assert took > 1.5


def test_patience_ends(process, monkeypatch):
    monkeypatch.setattr(deadline, '_times', lambda pid: (0.0, 1e9))
    clock = deadline.Clock(time.monotonic() - 31, process(SPIN))
    with pytest.raises(TooSlow):
        clock.left(1, True)
    with pytest.raises(Expired):
        clock.left(1, False)


def test_without_processor_times_the_document_is_blamed_while_it_is_judged():
    clock = deadline.Clock(time.monotonic() - 2, 'nobody')
    with pytest.raises(TooSlow):
        clock.left(1, True)
    with pytest.raises(Expired) as caught:
        clock.left(1, False)
    assert type(caught.value) is Expired


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
