# SPDX-License-Identifier: Apache-2.0
"""Does work that could take any time and memory in a process of its own, with limits for both.

The process is a copy of this one, so that what it works on need not be sent to it. What it returns must be data that
can be marshalled. It has only the pipe for its answer open, and it soon ends after its parent has died.

Three modules let a process of its own do work under limits. Here a process does one piece of work, while the watch goes
on with other things. Those of commands/domains/pool each do many, because judging a document takes less time than
starting a process. That of hook/worker may import next to nothing before it starts, and says what it is doing as it
goes on.
"""

import contextlib
import gc
import marshal
import os
import resource
import signal

from ..errors import GuardError, describe_defect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, NoReturn

PROCESSOR_SECONDS = 2.0
SECONDS = 20.0  # even if the host is busy
MEMORY = 64 << 20  # bytes, beyond what the process begins with
MOST_BYTES = 8 << 20  # of an answer

_TOO_LONG = 'it takes more than %g s'
_TOO_LARGE = 'it takes more than %d MiB of memory'
_KEPT_OPEN = 3  # standard input, output, error


class Apart:
    """A process that does some work; it is started at once.

    :param processor_seconds, seconds: how long it may take, of the processor's time and of the clock's
    :param memory: bytes that it, and each program that it runs, may take beyond what it begins with
    :raises OSError: it could not be started
    """

    def __init__(
        self,
        work: 'Callable[[], Any]',
        processor_seconds: float = PROCESSOR_SECONDS,
        seconds: float = SECONDS,
        memory: int = MEMORY,
    ) -> None:
        self._processor_seconds = processor_seconds
        self._chunks: 'List[bytes]' = []
        self._status = 0
        reader, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if self._pid == 0:
            _work(work, writer, processor_seconds, seconds, memory)
        os.close(writer)
        os.set_blocking(reader, False)
        self._reader = reader

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to take."""
        return self._reader

    def take(self) -> bool:
        """Take what has been answered so far; return whether that was all."""
        while True:
            try:
                chunk = os.read(self._reader, 1 << 16)
            except BlockingIOError:
                return False
            if not chunk:
                self._end()
                return True
            self._chunks.append(chunk)

    def answer(self) -> 'Any':
        """What the work has returned, once all was taken.

        :raises GuardError: it could not be done
        """
        if self._status:
            number = self._status & 0x7F
            if number in (signal.SIGPROF, signal.SIGALRM):
                raise GuardError(_TOO_LONG % self._processor_seconds)
            ending = 'by signal %d' % number if number else 'with exit status %d' % (self._status >> 8)
            raise GuardError('the process that judged it ended %s' % ending)
        answer, failure = marshal.loads(b''.join(self._chunks))
        if failure:
            raise GuardError(failure)
        return answer

    def kill(self) -> None:
        """End it, whatever it does."""
        os.kill(self._pid, signal.SIGKILL)
        self._end()

    def _end(self) -> None:
        os.close(self._reader)
        self._status = os.waitpid(self._pid, 0)[1]


def wait_for(work: 'Callable[[], Any]') -> 'Any':
    """Do some work apart, and wait for it.

    :raises GuardError: it could not be done
    """
    try:
        apart = Apart(work)
    except OSError as error:
        raise GuardError('no process can be started: %s' % error.strerror) from None
    os.set_blocking(apart.fileno(), True)
    apart.take()
    return apart.answer()


def _work(work: 'Callable[[], Any]', writer: int, processor_seconds: float, seconds: float, memory: int) -> 'NoReturn':
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPROF, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        # A lock of the parent must not outlive the parent.
        for name in os.listdir('/proc/self/fd'):
            if int(name) >= _KEPT_OPEN and int(name) != writer:
                with contextlib.suppress(OSError):  # one of them was only open to list them
                    os.close(int(name))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)  # libxml2 prints complaints by itself
        os.dup2(null, 2)
        os.close(null)
        gc.disable()
        _limit_memory(memory)
        data = _answer(work, memory)
        while data:
            data = data[os.write(writer, data) :]
        status = 0
    finally:
        os._exit(status)


def _limit_memory(memory: int) -> None:
    with open('/proc/self/statm') as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    limit, hard = size + memory, resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(work: 'Callable[[], Any]', memory: int) -> bytes:
    too_large = _TOO_LARGE % (memory >> 20)
    try:
        data = marshal.dumps((work(), ''))
        failure = too_large if len(data) > MOST_BYTES else ''
    except GuardError as error:
        failure = str(error)
    except MemoryError:
        failure = too_large
    except Exception as error:  # a defect of the guard must only be a failure to judge
        failure = 'internal error: %s' % describe_defect(error)
    return marshal.dumps((None, failure)) if failure else data
