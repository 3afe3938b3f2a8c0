# SPDX-License-Identifier: Apache-2.0
"""Calls the hook as libvirt does, from two threads, for as long as another command changes what is installed.

    calling.py COUNT CLEAN DENIED COMMAND [ARGUMENT...]

Runs COMMAND again and again until COUNT calls are made in all, and it has come to its end at least twice. CLEAN and
DENIED are files with domains, the answers to which must be 0 and 1. Prints each wrong answer, then a line with the
numbers of calls and of runs of COMMAND; exit status 1 where an answer was wrong or COMMAND failed.
"""

import subprocess
import sys
import threading

HOOK = '/etc/libvirt/hooks/qemu'
ENVIRONMENT = {'LC_ALL': 'C', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/'}


class Calls:
    """`wrong` has a line for each answer that is not as it must be."""

    def __init__(self, domains: 'list[bytes]') -> None:
        self.domains = domains
        self.made = 0
        self.wrong = []  # type: list[str]
        self.ended = threading.Event()
        self._lock = threading.Lock()

    def go_on(self) -> None:
        while not self.ended.is_set():
            for expected, xml in enumerate(self.domains):
                for operation in ('prepare', 'start'):
                    self._call(operation, xml, expected)

    def _call(self, operation: str, xml: bytes, expected: int) -> None:
        command = [HOOK, 'guest', operation, 'begin', '-']
        try:
            result = subprocess.run(
                command,
                input=xml,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                cwd='/',
                timeout=120,
            )
            answer = '%d %r %r' % (result.returncode, result.stdout, result.stderr)
            right = result.returncode == expected and not result.stdout and bool(result.stderr) == bool(expected)
        except (OSError, subprocess.SubprocessError) as error:
            answer, right = repr(error), False
        with self._lock:
            self.made += 1
            if not right:
                self.wrong.append('%s instead of %d: %s' % (operation, expected, answer))


def read(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read()


def main(count: str, clean: str, denied: str, *command: str) -> int:
    calls = Calls([read(clean), read(denied)])
    threads = [threading.Thread(target=calls.go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    runs, failed = 0, ''
    while not failed and (runs < 2 or calls.made < int(count)):
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
        runs += 1
        if result.returncode:
            failed = result.stdout
    calls.ended.set()
    for thread in threads:
        thread.join()
    for line in calls.wrong:
        print(line)
    print(failed + '%d calls, %d wrong, during %d runs' % (calls.made, len(calls.wrong), runs))
    return 1 if failed or calls.wrong else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
