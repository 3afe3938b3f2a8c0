# SPDX-License-Identifier: Apache-2.0
"""What a watch is told by signals: to end (SIGTERM, SIGINT), or to begin anew (SIGHUP)."""

import contextlib
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class Signals:
    """`ended_by` is the name of the signal that ends the watch; `reload` whether it is to begin anew."""

    def __init__(self) -> None:
        self.ended_by: 'Optional[str]' = None
        self.reload = False

    def catch(self) -> None:
        """From now on, they are noted here."""
        self._reader, writer = os.pipe()
        for descriptor in (self._reader, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def fileno(self) -> int:
        """A descriptor that is readable when there was one."""
        return self._reader

    def drain(self) -> None:
        """Let it be readable only when there is another one."""
        with contextlib.suppress(BlockingIOError):  # if it was not a signal
            os.read(self._reader, 4096)

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.ended_by = signal.Signals(number).name
