# SPDX-License-Identifier: Apache-2.0
"""Commands, and the process that runs and measures them: driver.py, seen from the side that asks it."""

import json
import pathlib
import subprocess
from typing import Callable, Dict, List, Mapping, NamedTuple

import environment

PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
HOOK_ENV = {'LC_ALL': 'C', 'PATH': PATH, 'HOME': '/'}  # what libvirt gives to a hook
_ARGV = [environment.PYTHON, '-I', '-S', '-B', str(pathlib.Path(__file__).resolve().with_name('driver.py'))]


class Command(NamedTuple):
    """A command as the driver takes it; `status` is the exit status that it must have, `copies` run at once."""

    argv: List[str]
    input: str = ''
    status: int = 0
    env: Mapping[str, str] = HOOK_ENV
    copies: int = 1


class Run(NamedTuple):
    """What one run of a command took: seconds, and the bytes of memory of its process that had the most."""

    seconds: float
    peak: int


class MeasuringError(Exception):
    """A command did not end as it should."""


class Driver:
    """A small process of its own, because a large one would show in what its children take."""

    def __init__(self, popen: 'Callable[..., subprocess.Popen[bytes]]' = subprocess.Popen) -> None:
        self._process = popen(_ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> 'Driver':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.communicate()

    def measure(self, commands: Mapping[str, Command], rounds: int) -> Dict[str, List[Run]]:
        """Run all commands in turn, so many times.

        :raises MeasuringError: one of them did not end as it should
        """
        self.begin(commands, rounds)
        return self.result()

    def begin(self, commands: Mapping[str, Command], rounds: int) -> None:
        request = {'commands': {name: command._asdict() for name, command in commands.items()}, 'rounds': rounds}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b'\n')
        self._process.stdin.flush()

    def result(self) -> Dict[str, List[Run]]:
        """The answer to what was begun."""
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or b'{"error": "the driver has ended"}')
        if 'error' in answer:
            raise MeasuringError(answer['error'])
        return {name: [Run(*run) for run in runs] for name, runs in answer.items()}
