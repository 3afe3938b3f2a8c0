# SPDX-License-Identifier: Apache-2.0
"""What is known of the starts of domains, for whoever asks every minute: to find that out takes all records of the
guard, so it is kept until a domain, or the last record, is another one, and never for long."""

import contextlib
import json
import os
import time

from ..digest import sha256_hex
from ..watch.kept_file import read_kept, write_kept
from .condition import UNKNOWN, Condition
from .starts import examine_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

    from ..policy.installation import Installation

NAME = 'starts'
_FORMAT = b'virt-guard starts 1'
_LONGEST = 600.0  # seconds that it is kept: libvirt's logs, and gaps of the journal, are not looked at meanwhile
_SETTLED = 120.0  # seconds after a change until all that tells of it is there


def examine_starts_again(installation: 'Installation', last_record: str) -> 'List[Condition]':
    """As examine_starts, or what that has said before.

    :param last_record: how journald names the newest one
    """
    path = os.path.join(installation.state, NAME)
    now = time.time()
    stamps = [list(_stamps(directory)) for directory in (installation.run, installation.domains + '/autostart')]
    newest = max((stamp[2] for stamp in stamps[0]), default=0) / 1e9
    key = sha256_hex(json.dumps([last_record, stamps]).encode('ascii'))
    kept = _kept(path, key, now) if newest + _SETTLED < now else None
    if kept is not None:
        return kept
    found = list(examine_starts(installation))
    if all(condition.state != UNKNOWN for condition in found):
        content = [[getattr(condition, name) for name in Condition.__slots__] for condition in found]
        with contextlib.suppress(OSError):  # it only saves time
            write_kept(path, _FORMAT, {'key': key, 'time': now, 'conditions': content})
    return found


def _kept(path: str, key: str, now: float) -> 'Optional[List[Condition]]':
    try:
        content = read_kept(path, _FORMAT)
        is_fit = content['key'] == key and 0 <= now - content['time'] < _LONGEST
        return [Condition(*map(str, words)) for words in content['conditions']] if is_fit else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(directory: str) -> 'Iterator[Tuple[str, int, int]]':
    """What changes when a file there is written anew."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        try:
            status = os.lstat(os.path.join(directory, name))
        except OSError:
            continue
        yield name, status.st_ino, status.st_mtime_ns
