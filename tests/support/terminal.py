# SPDX-License-Identifier: Apache-2.0
"""A command on a terminal of its own, and a user who waits for what it shows before he types."""

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from typing import Any, Sequence

_LONGEST = 60.0  # seconds to wait for a text, on however busy a host


class Terminal:
    """The command is the leader of a session whose terminal this is, as a login shell would be.

    `shown` is everything that was shown since the last text that was waited for.
    """

    def __init__(self, command: 'Sequence[str]', **options: 'Any') -> None:
        self._main, other = pty.openpty()

        def take() -> None:
            os.setsid()
            fcntl.ioctl(other, termios.TIOCSCTTY, 0)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # which nohup, and & of a shell, ignore
                signal.signal(number, signal.SIG_DFL)

        streams = {name: other for name in ('stdin', 'stdout', 'stderr')}
        self.process = subprocess.Popen(command, preexec_fn=take, **{**streams, **options})
        os.close(other)
        self.shown = ''
        self.all = ''

    def wait_for(self, text: str) -> str:
        """Wait until the text is shown. Returns everything before it."""
        deadline = time.monotonic() + _LONGEST
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, '%r was not shown, but this: %s' % (text, self.shown)
            if select.select([self._main], [], [], left)[0]:
                assert self._read(), '%r was not shown before the end, but this: %s' % (text, self.shown)
        before, _, self.shown = self.shown.partition(text)
        return before

    def _read(self) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(self._main, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # the other side is closed
                raise
            data = b''
        text = data.decode('utf-8', 'backslashreplace').replace('\r\n', '\n')
        self.shown += text
        self.all += text
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode('utf-8'))

    def answer(self, question: str, answer: str) -> str:
        """Wait for a question, and type the answer as a line. Returns what was shown before the question."""
        before = self.wait_for(question)
        self.wait_for(': ')
        self.type(answer + '\n')
        return before

    def end(self) -> int:
        """Wait until the command has ended. Returns its status; `shown` has the rest."""
        deadline = time.monotonic() + _LONGEST
        while True:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self._main], [], [], left)[0], 'it does not end, and has shown: %s' % self.shown
            if not self._read():
                return self.process.wait(_LONGEST)

    def hang_up(self) -> int:
        """Close the terminal. Returns the status of the command."""
        os.close(self._main)
        self._main = -1
        return self.process.wait(_LONGEST)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self._main >= 0:
            os.close(self._main)
