# SPDX-License-Identifier: Apache-2.0
"""Works on items in child processes, in order. An item that takes too much time or memory does not stop the others.

The limits must hold inside C code, where no signal handler runs, and inside the kernel, where a file system may never
answer for a path that a domain names. So an item that exceeds one ends its process, and a new process does the rest of
the work.
"""

import mmap
import os
import select
import signal
from collections import deque

from ...deadline import MEMORY, memory, too_much_memory
from ...errors import GuardError, describe_defect
from ...pipe import Reader, write_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, NoReturn, Optional, Tuple

    # Items and results are what marshal can write.
    Chunk = List[Any]
    Work = Callable[[Any], Any]
    GiveUp = Callable[[Any, str], Any]

_UNDER_WAY = 4  # chunks for each process at once; they must fit into a pipe (64 KiB on Linux)
PATIENCE = 60.0  # seconds by the clock for an item, even if the host is busy
_LOOK = 0.1  # seconds between two looks at the memory of the processes
_IDLE, _AT_WORK = 0xFFFFFFFF, 4  # of the number that a process shares with its parent: its value, and its bytes


def give_time(seconds: float) -> None:
    """Let this process work for so many seconds of processor time from now on, and wait no longer than PATIENCE."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE if seconds else 0)


def wait_as_long_as_it_takes() -> None:
    """Until time is given again: for input that a person types, say."""
    signal.setitimer(signal.ITIMER_REAL, 0)


class Workers:
    """Processes that do `work(item)`, each item within `seconds` of processor time, PATIENCE and MEMORY.

    :param give_up: makes the result for an item that exceeded a limit, from the item and the reason
    """

    def __init__(self, work: 'Work', give_up: 'GiveUp', seconds: float) -> None:
        self._work = work
        self._give_up = give_up
        self._seconds = seconds
        self._processes: 'List[_Process]' = []

    def results(self, chunks: 'Iterable[Chunk]', count: int) -> 'Iterator[List[Any]]':
        """The results of each chunk, in order, from at most `count` processes.

        The processes get the chunks in turn, so the next results always come from the next process.
        """
        under_way: 'Deque[_Process]' = deque()
        for number, chunk in enumerate(chunks):
            if len(self._processes) <= number % count:
                self._processes.append(_Process(self._work, self._give_up, self._seconds, self._processes))
            process = self._processes[number % count]
            if len(under_way) == count * _UNDER_WAY:
                yield under_way.popleft().collect()
            process.deal(chunk)
            under_way.append(process)
        while under_way:
            yield under_way.popleft().collect()

    def end(self) -> None:
        """End all processes, whatever they do."""
        for process in self._processes:
            process.end()


class _Process:
    def __init__(self, work: 'Work', give_up: 'GiveUp', seconds: float, all_: 'List[_Process]') -> None:
        self._work = work
        self._give_up = give_up
        self._seconds = seconds
        self._all = all_
        self._position = mmap.mmap(-1, mmap.PAGESIZE)
        # Chunks that were dealt and not yet collected, each with the items that were given up and the reasons.
        self._dealt: 'Deque[Tuple[Chunk, Dict[int, str]]]' = deque()
        self._results: 'Deque[List[Any]]' = deque()
        self._too_large = False
        self._start()

    def _start(self) -> None:
        self._say(_IDLE)
        chunks_reader, self._chunks = os.pipe()
        results_reader, results = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for descriptor in {self._chunks, results_reader} | {other._chunks for other in self._all}:
                os.close(descriptor)
            self._serve(chunks_reader, results)
        os.close(chunks_reader)
        os.close(results)
        self._messages = Reader(results_reader)
        self._had = memory(self.pid)

    def deal(self, chunk: 'Chunk') -> None:
        self._dealt.append((chunk, {}))
        self._send(self._dealt[-1])

    def _send(self, message: 'Any') -> None:
        # The process may have ended; `collect` notices that.
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            write_message(self._chunks, message)
        except BrokenPipeError:
            pass
        finally:
            signal.signal(signal.SIGPIPE, before)

    def collect(self) -> 'List[Any]':
        """The results of the oldest chunk that was dealt."""
        poll = select.poll()
        poll.register(self._messages.descriptor, select.POLLIN)
        while not self._results:
            if not poll.poll(_LOOK * 1000):
                for process in self._all:
                    process.look()
                continue
            for message in self._messages.read():
                if message is None:
                    self._replace()
                    poll = select.poll()
                    poll.register(self._messages.descriptor, select.POLLIN)
                    break
                self._dealt.popleft()
                self._results.append(message)
        return self._results.popleft()

    def look(self) -> None:
        """End the process if it takes too much memory.

        A limit that refuses memory would not do: a library may go on without it, and find nothing.
        """
        if memory(self.pid) - self._had > MEMORY:
            self._too_large = True
            os.kill(self.pid, signal.SIGKILL)

    def _replace(self) -> None:
        """Start a new process, which does what the ended one had left, without the item that ended it."""
        _, status = os.waitpid(self.pid, 0)
        at_work = int.from_bytes(self._position[:_AT_WORK], 'little')
        os.close(self._chunks)
        os.close(self._messages.descriptor)
        if at_work == _IDLE or not self._dealt:
            self.pid = 0
            raise GuardError('a process that judged domains ended unexpectedly')
        if self._too_large:
            reason = too_much_memory()
        elif status & 0x7F == signal.SIGPROF:
            reason = 'judging took longer than %g s of processor time' % self._seconds
        elif status & 0x7F == signal.SIGALRM:
            reason = (
                'judging took longer than %g s by the clock: a path that it names may be in a file system that does '
                'not answer (findmnt lists them)' % PATIENCE
            )
        else:
            reason = 'the process that judged it has ended (status %d)' % status
        self._too_large = False
        self._dealt[0][1][at_work] = reason
        self._start()
        for message in self._dealt:
            self._send(message)

    def _say(self, position: int) -> None:
        self._position[:_AT_WORK] = position.to_bytes(_AT_WORK, 'little')

    def _serve(self, reader: int, writer: int) -> 'NoReturn':
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, too, and ends this process
            for number in (signal.SIGPROF, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            messages = Reader(reader)
            while True:
                for message in messages.read():
                    if message is None:
                        os._exit(0)
                    write_message(writer, self._work_on(*message))
        finally:
            os._exit(status)

    def _work_on(self, chunk: 'Chunk', given_up: 'Dict[int, str]') -> 'List[Any]':
        results = []
        for number, item in enumerate(chunk):
            reason: 'Optional[str]' = given_up.get(number)
            if reason is None:
                self._say(number)
                give_time(self._seconds)
                try:
                    results.append(self._work(item))
                    continue
                except MemoryError:
                    reason = too_much_memory()
                except Exception as error:
                    reason = 'internal error: %s' % describe_defect(error)
            results.append(self._give_up(item, reason))
        give_time(0)
        self._say(_IDLE)
        return results

    def end(self) -> None:
        if self.pid:
            os.close(self._chunks)
            os.close(self._messages.descriptor)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
