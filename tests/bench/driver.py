# SPDX-License-Identifier: Apache-2.0
"""Runs commands as libvirt runs its hooks, and measures them: one request per line in, one answer per line out, JSON.

Request: {"commands": {NAME: {"argv": [...], "env": {...}, "input": "...", "status": 0, "copies": 1}}, "rounds": N}. In
each round every command runs once, or so many copies of it at once, in another order. Answer:
{NAME: [[SECONDS, BYTES], ...]}, or {"error": ...}.

The seconds are those from before the process is made until it has closed its output and its exit status is known; the
bytes are the peak of that of its processes which had the most memory. Measuring starts with what a process has when it
is made, so this one must be small.
"""

import contextlib
import json
import os
import random
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Tuple

    Measured = Dict[str, List[Tuple[float, int]]]


class Failed(Exception):
    """A command did not end as the request says."""


def run(argv: 'List[str]', env: 'Mapping[str, str]', input: str, status: int) -> 'Tuple[float, int]':
    """Run a command with pipes on 0, 1 and 2; return the seconds and the bytes that it took."""
    data = input.encode()
    start = time.perf_counter()
    in_reader, in_writer = os.pipe()
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    # Python's pipes are closed on exec, except where they become 0, 1 and 2.
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate((in_reader, out_writer, err_writer))]
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    for descriptor in (in_reader, out_writer, err_writer):
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):  # not every command reads its input
        os.write(in_writer, data)  # at once: a domain is smaller than a pipe
    os.close(in_writer)
    output = read_all(out_reader, err_reader)
    _, wait_status, usage = os.wait4(pid, 0)
    elapsed = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(wait_status)
    if code != status:
        raise Failed(
            '%s: exit status %d, not %d: %s' % (' '.join(argv), code, status, output.decode('utf-8', 'replace'))
        )
    return elapsed, usage.ru_maxrss * 1024


def run_command(copies: int = 1, **command: 'Any') -> 'Tuple[float, int]':
    """Run a command, or several copies of it at once."""
    return run(**command) if copies == 1 else run_at_once(copies, **command)


def run_at_once(copies: int, **command: 'Any') -> 'Tuple[float, int]':
    """Run so many copies of a command; return the seconds until the last one has ended, and no bytes."""
    start = time.perf_counter()
    children = []
    for _ in range(copies):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(**command)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    elapsed = time.perf_counter() - start
    if failed:
        raise Failed('%s: %d of %d at once failed' % (' '.join(command['argv']), failed, copies))
    return elapsed, 0


def read_all(*readers: int) -> bytes:
    """Everything that comes from some pipes, until all are closed."""
    output = b''
    poll = select.poll()
    for reader in readers:
        poll.register(reader)
    left = len(readers)
    while left:
        for reader, _ in poll.poll():
            chunk = os.read(reader, 65536)
            output += chunk
            if not chunk:
                poll.unregister(reader)
                os.close(reader)
                left -= 1
    return output


def measure(commands: 'Mapping[str, Mapping[str, Any]]', rounds: int) -> 'Measured':
    """Run all commands so many times."""
    runs: 'Measured' = {name: [] for name in commands}
    order = sorted(commands)
    shuffler = random.Random(rounds)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            runs[name].append(run_command(**commands[name]))
    return runs


def main() -> None:
    for line in sys.stdin:
        try:
            answer: 'Dict[str, Any]' = measure(**json.loads(line))
        except (Failed, OSError) as error:
            answer = {'error': str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
