# SPDX-License-Identifier: Apache-2.0
"""Runs the host's own programs for an answer: in English, from the system's directories, and not for ever."""

import os
import select
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping, Optional, Sequence, Tuple

_ENVIRONMENT = {'LC_ALL': 'C', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
_CHUNK = 1 << 16
_SAID = 4096  # bytes of standard error


def run_program(command: 'Sequence[str]', seconds: float) -> 'subprocess.CompletedProcess[bytes]':
    """Its status and what it has written, whatever the status.

    :raises OSError: it cannot be started
    :raises subprocess.TimeoutExpired: it has not ended by then
    """
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
        timeout=seconds,
    )


class ProgramError(Exception):
    """A program has ended with a status that is not 0; the argument is what it has written to standard error last."""


class Output:
    """What a program writes, piece by piece, as it comes; then its `status`, and what it has `said` last on standard
    error, at most _SAID bytes.

    Iterating over it runs the program.
    :raises OSError: it cannot be started
    :raises subprocess.TimeoutExpired: it has written nothing for so long
    """

    def __init__(
        self, command: 'Sequence[str]', seconds: float, settings: 'Optional[Mapping[str, str]]' = None
    ) -> None:
        """
        :param settings: variables that are added to its environment
        """
        self.status = 0
        self.said = b''
        self._command = command
        self._seconds = seconds
        self._environment = dict(_ENVIRONMENT, **(settings or {}))

    def __iter__(self) -> 'Iterator[bytes]':
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        try:
            assert process.stdout is not None and process.stderr is not None
            out, err = process.stdout.fileno(), process.stderr.fileno()
            for descriptor, chunk in _chunks(out, err, self._seconds, self._command):
                if descriptor == err:
                    self.said = (self.said + chunk)[-_SAID:]
                else:
                    yield chunk
            self.status = process.wait(self._seconds)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def lines_of_program(command: 'Sequence[str]', seconds: float, longest: int) -> 'Iterator[bytes]':
    """The lines that a program writes, without their ends, as they come: all of them may not fit into memory.

    :param longest: of a line that is longer, the rest is left out
    :raises OSError: it cannot be started
    :raises subprocess.TimeoutExpired: it has written nothing for so long
    :raises ProgramError: after the last line
    """
    output = Output(command, seconds)
    unended = b''
    for chunk in output:
        *lines, rest = (unended + chunk).split(b'\n')
        for line in lines:
            yield line[:longest]
        unended = rest[: longest + 1]
    if unended:
        yield unended[:longest]
    if output.status:
        raise ProgramError(output.said.decode('utf-8', 'replace').strip())


def _chunks(out: int, err: int, seconds: float, command: 'Sequence[str]') -> 'Iterator[Tuple[int, bytes]]':
    """What a program writes, until it has closed both."""
    poll = select.poll()
    unclosed = {out, err}
    for descriptor in unclosed:
        poll.register(descriptor, select.POLLIN)
    while unclosed:
        ready = poll.poll(seconds * 1000)
        if not ready:
            raise subprocess.TimeoutExpired(command, seconds)
        for descriptor, _ in ready:
            chunk = os.read(descriptor, _CHUNK)
            if chunk:
                yield descriptor, chunk
            else:
                poll.unregister(descriptor)
                unclosed.discard(descriptor)
