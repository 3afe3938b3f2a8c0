# SPDX-License-Identifier: Apache-2.0
"""Runs the host's own programs for an answer: in English, from the system's directories, and not for ever."""

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

_ENVIRONMENT = {'LC_ALL': 'C', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}


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
