# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how a service is doing: the protocol of sd_notify(3)."""

import contextlib
import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional


class Notifier:
    """The manager that started this process, if one did."""

    def __init__(self, environment: 'Mapping[str, str]') -> None:
        address = environment.get('NOTIFY_SOCKET', '')
        self._address = '\0' + address[1:] if address.startswith('@') else address
        self._watchdog = _interval(environment)
        self._next = 0.0

    @property
    def listens(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        self._send('READY=1\nSTATUS=' + status)

    def status(self, status: str) -> None:
        self._send('STATUS=' + status)

    def reloading(self) -> None:
        self._send('RELOADING=1\nMONOTONIC_USEC=%d' % (time.clock_gettime(time.CLOCK_MONOTONIC) * 1000000))

    def stopping(self) -> None:
        self._send('STOPPING=1')

    def due(self) -> float:
        """When the manager wants to hear of this process next, by the monotonic clock."""
        return float('inf') if self._watchdog is None else self._next

    def alive(self) -> None:
        """Tell the manager that this process is alive, as often as it wants to hear that; call this when it is due."""
        if self._watchdog is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._watchdog / 2
            self._send('WATCHDOG=1')

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(1)
            with contextlib.suppress(OSError):  # if the manager is gone or does not listen, nothing is to be done
                connection.sendto(message.encode('utf-8', 'backslashreplace'), os.fsencode(self._address))


def _interval(environment: 'Mapping[str, str]') -> 'Optional[float]':
    """Seconds after which the manager gives a silent process up; None where it does not watch this one."""
    if environment.get('WATCHDOG_PID', str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get('WATCHDOG_USEC', '')
    return int(microseconds) / 1000000 if microseconds.isdigit() and int(microseconds) else None
