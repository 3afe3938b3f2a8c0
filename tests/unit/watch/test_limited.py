# SPDX-License-Identifier: Apache-2.0
"""Work of a process of its own, and its limits."""

import fcntl
import os
import signal
import time

import pytest
from virtguard.errors import GuardError
from virtguard.watch import limited
from virtguard.watch.limited import MEMORY, MOST_BYTES, PROCESSOR_SECONDS, Apart, wait_for


def raise_error(error):
    raise error


def burn():
    while True:
        pass


def children():
    with open('/proc/thread-self/children') as file:
        return set(file.read().split())


def test_the_answer_comes_back():
    assert wait_for(lambda: {'a': [1, 'b', b'c', None]}) == {'a': [1, 'b', b'c', None]}
    assert wait_for(lambda: b'x' * (MOST_BYTES - 100)) == b'x' * (MOST_BYTES - 100)


@pytest.mark.parametrize(
    'work, reason',
    [
        (lambda: raise_error(GuardError('no such thing')), 'no such thing'),
        (lambda: raise_error(KeyError('x')), "internal error: KeyError: 'x' (test_limited.py:"),
        (lambda: b'x' * MEMORY, 'it takes more than 64 MiB of memory'),
        (lambda: b'x' * MOST_BYTES, 'it takes more than 64 MiB of memory'),
        (burn, 'it takes more than 2 s'),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 'the process that judged it ended by signal 9'),
        (lambda: os._exit(3), 'the process that judged it ended with exit status 3'),
    ],
)
def test_what_cannot_be_done(work, reason):
    start = time.monotonic()
    with pytest.raises(GuardError) as caught:
        wait_for(work)
    assert str(caught.value).startswith(reason)
    assert time.monotonic() - start < 15 * PROCESSOR_SECONDS


def test_work_that_only_waits_is_ended(monkeypatch):
    monkeypatch.setattr(limited, 'SECONDS', 0.3)
    with pytest.raises(GuardError, match='it takes more than 2 s'):
        wait_for(lambda: time.sleep(60))


def test_others_can_work_meanwhile():
    working = Apart(lambda: time.sleep(0.5) or 'done')
    assert working.take() is False
    while not working.take():
        time.sleep(0.01)
    assert working.answer() == 'done'


def test_work_that_is_given_up_leaves_no_process():
    start = time.monotonic()
    before = children()
    working = Apart(burn)
    (child,) = children() - before
    working.kill()
    assert time.monotonic() - start < 1
    with pytest.raises(ChildProcessError):
        os.waitpid(int(child), os.WNOHANG)


def test_the_process_holds_no_file_of_its_parent_open(tmp_path):
    with open(str(tmp_path / 'lock'), 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = wait_for(lambda: [os.readlink('/proc/self/fd/' + name) for name in ('0', '1', '2')])
        numbers = wait_for(lambda: [int(name) for name in os.listdir('/proc/self/fd')])
    assert left[1:] == ['/dev/null', '/dev/null']
    assert len(numbers) == 5  # with its way to answer, and the directory itself


def test_the_error_where_no_process_can_be_started(monkeypatch):
    def fork():
        raise BlockingIOError(11, 'Resource temporarily unavailable')

    before = len(os.listdir('/proc/self/fd'))
    monkeypatch.setattr(os, 'fork', fork)
    with pytest.raises(GuardError, match='no process can be started: Resource temporarily unavailable'):
        wait_for(burn)
    assert len(os.listdir('/proc/self/fd')) == before
