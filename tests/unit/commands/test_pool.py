# SPDX-License-Identifier: Apache-2.0
"""Work in processes of their own: what exceeds a limit loses its turn, and costs no other one its own."""

import os
import signal
import time

import pytest
from virtguard.commands.domains import pool
from virtguard.errors import GuardError

SECONDS = 0.3


def spin(seconds):
    started = time.process_time()
    while time.process_time() - started < seconds:
        pass


def work(item):
    what, number = item
    if what == 'slow':
        # As inside C code: no handler runs.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        spin(60)
    elif what == 'waits':
        time.sleep(60)
    elif what == 'typed':
        pool.wait_as_long_as_it_takes()
        time.sleep(3 * pool.PATIENCE)
    elif what == 'large':
        kept = []
        while True:
            kept.append(b'x' * (64 << 20))
    elif what == 'crash':
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == 'defect':
        raise KeyError('nobody expects it')
    elif what == 'large text':
        return 'done', 'x' * 300000
    return 'done', number


def give_up(item, reason):
    return 'given up', '%s: %s' % (item[0], reason)


def results(chunks, count=2, seconds=SECONDS):
    workers = pool.Workers(work, give_up, seconds)
    try:
        return list(workers.results(iter(chunks), count))
    finally:
        workers.end()


def test_results_come_in_order_and_from_other_processes():
    chunks = [[('fine', number * 10 + item) for item in range(10)] for number in range(50)]
    assert results(chunks, 3) == [[('done', number) for _, number in chunk] for chunk in chunks]


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize(
    'what, reason',
    [
        ('slow', 'judging took longer than 0.3 s of processor time'),
        ('crash', 'the process that judged it has ended (status 11)'),
        ('defect', "internal error: KeyError: 'nobody expects it' (test_pool.py:39)"),
    ],
)
def test_only_the_item_that_ends_a_process_is_lost(what, reason, count):
    chunks = [[('fine', 1), (what, 2), ('fine', 3)], [('fine', 4)], [(what, 5), (what, 6), ('fine', 7)], [('fine', 8)]]
    lost = ('given up', '%s: %s' % (what, reason))
    done = [('done', number) for number in range(9)]
    assert results(chunks, count) == [[done[1], lost, done[3]], [done[4]], [lost, lost, done[7]], [done[8]]]


def test_who_waits_is_not_waited_for_for_ever(monkeypatch):
    """A file system that does not answer takes no processor time. But input may come late."""
    monkeypatch.setattr(pool, 'PATIENCE', 0.3)
    ((one, lost, typed, other),) = results([[('fine', 1), ('waits', 2), ('typed', 3), ('fine', 4)]], 1)
    assert (one, typed, other) == (('done', 1), ('done', 3), ('done', 4))
    assert lost[1].startswith('waits: judging took longer than 0.3 s by the clock: a path that it names may be in')


def test_memory(monkeypatch):
    monkeypatch.setattr(pool, 'MEMORY', 256 << 20)
    ((one, lost, other),) = results([[('fine', 1), ('large', 2), ('fine', 3)]], 1, 60)
    assert (one, other) == (('done', 1), ('done', 3))
    assert lost == ('given up', 'large: judging takes more than 1024 MiB of memory')


def test_results_larger_than_a_pipe():
    assert [len(chunk[0][1]) for chunk in results([[('large text', 0)]] * 9)] == [300000] * 9


def test_a_limit_is_for_each_item():
    """Many that take long together are no reason to give one up."""

    def slow(item):
        spin(0.1)
        return item

    workers = pool.Workers(slow, give_up, 0.4)
    try:
        assert list(workers.results([list(range(10))], 1)) == [list(range(10))]
    finally:
        workers.end()


def test_a_process_that_ends_between_items_is_an_error_and_not_a_loop():
    workers = pool.Workers(work, give_up, SECONDS)
    try:
        found = workers.results(([('fine', number)] for number in range(pool._UNDER_WAY + 1)), 1)
        assert next(found) == [('done', 0)]
        for _ in range(pool._UNDER_WAY - 1):
            workers._processes[0].collect()
        os.kill(workers._processes[0].pid, signal.SIGKILL)
        with pytest.raises(GuardError, match='ended unexpectedly'):
            workers._processes[0].collect()
    finally:
        workers.end()


def test_no_process_and_no_descriptor_stays():
    before = set(os.listdir('/proc/self/fd'))
    workers = pool.Workers(work, give_up, 60)
    found = workers.results(iter([[('fine', 1)], [('slow', 2)]]), 2)
    assert next(found) == [('done', 1)]
    pids = [process.pid for process in workers._processes]
    workers.end()
    assert not [pid for pid in pids if os.path.exists('/proc/%d' % pid)]
    assert set(os.listdir('/proc/self/fd')) == before
