# SPDX-License-Identifier: Apache-2.0
"""What reads metrics: the values in a text, and the programs of Prometheus."""

import os
import re
import shutil
from typing import Dict

from support.capabilities import missing

# Where tests/run puts them.
PROGRAMS = os.environ.get('VIRT_GUARD_PROMETHEUS') or os.path.join(
    '/var/cache' if os.geteuid() == 0 else os.path.expanduser('~/.cache'), 'virt-guard-tests/prometheus/usr/bin'
)
_LINE = re.compile(r'([a-z_]+(?:\{[^}]*\})?) (\S+)\Z')


def values(text: str) -> 'Dict[str, float]':
    """The value of each series, by its name and labels. A digest is written as *."""
    found = {}
    for line in text.splitlines():
        if not line.startswith('#'):
            match = _LINE.match(line)
            assert match, line
            name = re.sub(r'sha256="[0-9a-f]{64}"', 'sha256="*"', match.group(1))
            assert name not in found, line
            found[name] = float(match.group(2))
    return found


def find_program(name: str) -> str:
    """The program that tests/run has put there, else the system's; skips where there is none."""
    path = shutil.which(name, path=PROGRAMS) or shutil.which(name)
    if path is None:
        missing('there is no %s, which tests/run provides' % name)
    return path
