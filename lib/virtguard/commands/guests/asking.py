# SPDX-License-Identifier: Apache-2.0
"""Asks the agents of many guests, several at once, in child processes that are ended if libvirt does not come back.

libvirt gives up an agent that hangs; but a daemon that hangs holds a call for ever, and no signal handler runs in it.
"""

import contextlib
import os
import select
import signal
import time

from ...errors import GuardError, describe_defect
from ...health.guest_agents import RunningGuest
from ...pipe import Reader, write_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, NoReturn, Optional, Protocol, Sequence, Tuple, Union

    Answer = Union[Dict[str, bytes], str]  # fields of os-release, or why there are none

    class Asked(Protocol):
        def ask(self, guest: RunningGuest, seconds: int) -> Dict[str, bytes]: ...


# Each holds one thread of the daemon, which has 20, also for others.
_AT_ONCE = 8
_CONNECTING = 15.0  # seconds
_GRACE = 5.0  # seconds beyond those that libvirt itself waits
_CALLS = 2  # that libvirt may wait for: it asks the agent whether it is there, then which system runs


def ask_guests(
    guests: 'Sequence[RunningGuest]', seconds: int, connect: 'Callable[[], Asked]'
) -> 'Iterator[Tuple[RunningGuest, Answer]]':
    """The answer of each guest, as they come.

    :param seconds: to wait for each answer of an agent
    :param connect: makes the connection, in each process that asks
    :raises GuardError: libvirt cannot be asked at all
    """
    left = list(guests)[::-1]
    asking: 'List[_Process]' = []
    try:
        for _ in range(min(_AT_ONCE, len(left))):
            asking.append(_Process(seconds, connect, asking))
        while asking:
            for process in _due(asking):
                answered = process.collect()
                if answered is not None:
                    yield answered
                if left and process.is_idle:
                    process.deal(left.pop())
                elif process.is_idle or process.has_ended:
                    asking.remove(process)
                    process.end()
                    if left:
                        asking.append(_Process(seconds, connect, asking))
    finally:
        for process in asking:
            process.end()


def _due(asking: 'Sequence[_Process]') -> 'List[_Process]':
    """Those that have said something, or have taken too long."""
    poll = select.poll()
    for process in asking:
        poll.register(process.answers, select.POLLIN)
    wait = min(process.deadline for process in asking) - time.monotonic()
    ready = {descriptor for descriptor, _ in poll.poll(max(0.0, wait) * 1000 + 1)}
    now = time.monotonic()
    return [process for process in asking if process.answers in ready or process.deadline <= now]


class _Process:
    """One that asks. It connects first, and says so."""

    def __init__(self, seconds: int, connect: 'Callable[[], Asked]', others: 'Sequence[_Process]') -> None:
        self.has_ended = False
        self.deadline = time.monotonic() + _CONNECTING
        self._seconds = seconds
        self._longest = _CALLS * seconds + _GRACE  # seconds that an answer may take
        self._guest: 'Optional[RunningGuest]' = None
        self._is_connected = False
        questions, self._questions = os.pipe()
        self.answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._serve(questions, answers, connect, [self, *others])
        os.close(questions)
        os.close(answers)
        self._reader = Reader(self.answers)

    def deal(self, guest: 'RunningGuest') -> None:
        self._guest = guest
        self.deadline = time.monotonic() + self._longest
        with contextlib.suppress(BrokenPipeError):  # collect sees that it has ended
            write_message(self._questions, [guest.name, guest.uuid, guest.agent, guest.patience])

    @property
    def is_idle(self) -> bool:
        return self._is_connected and self._guest is None and not self.has_ended

    def collect(self) -> 'Optional[Tuple[RunningGuest, Answer]]':
        """The answer that has come, or why none will come; None: it has only said that it is connected.

        :raises GuardError: it could not connect
        """
        guest = self._guest
        if not select.select([self.answers], [], [], 0)[0]:
            self.has_ended = True
            if guest is None:
                raise GuardError('libvirt does not answer: no connection within %g seconds' % _CONNECTING)
            return guest, 'libvirt did not come back within %g seconds' % self._longest
        for message in self._reader.read():
            if message is None:
                self.has_ended = True
                if guest is None:
                    raise GuardError('the process that asks libvirt has ended unexpectedly')
                return guest, 'the process that asked libvirt has ended unexpectedly'
            if guest is not None:
                self._guest = None
                return guest, message
            if message:
                raise GuardError(*message)
            self._is_connected = True
        return None

    def _serve(
        self, questions: int, answers: int, connect: 'Callable[[], Asked]', all_: 'Sequence[_Process]'
    ) -> 'NoReturn':
        try:
            for process in all_:
                os.close(process._questions)
                os.close(process.answers)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, too, and ends this process
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self._limit(_CONNECTING)
            os.environ.clear()  # libvirt's library reads where to connect, and what to log, from it
            os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # where it would print each error
            try:
                libvirt = connect()
            except GuardError as error:
                write_message(answers, [error.message, error.hint])
                os._exit(0)
            write_message(answers, [])
            self._answer_all(questions, answers, libvirt)
        finally:
            os._exit(0)

    def _answer_all(self, questions: int, answers: int, libvirt: 'Asked') -> None:
        messages = Reader(questions)
        while True:
            for message in messages.read():
                if message is None:
                    return
                self._limit(self._longest)
                try:
                    answer: 'Answer' = libvirt.ask(RunningGuest(*message), self._seconds)
                except GuardError as error:
                    answer = str(error)
                except Exception as error:
                    answer = 'internal error: %s' % describe_defect(error)
                write_message(answers, answer)

    @staticmethod
    def _limit(seconds: float) -> None:
        """End this process some time after its parent should have: a parent that was killed does not."""
        signal.alarm(int(seconds) + 2)

    def end(self) -> None:
        os.close(self._questions)
        os.close(self.answers)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
