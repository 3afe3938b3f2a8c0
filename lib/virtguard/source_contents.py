# SPDX-License-Identifier: Apache-2.0
"""What the sources of a compiled policy hold, and whether only their owner may change them. See compiled.

It is compared if their stamps differ, as after a backup was restored, a deployment, or when a file was only touched.
"""

import os

from .digest import sha256_hex
from .errors import GuardError, PolicyFileError
from .model import MAX_POLICY_BYTES
from .trust import FILE, WAY, check_ownership, check_way, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence, Tuple

    from .trust import Check

    Contents = Tuple[Any, ...]


def take_contents(sources: 'Sequence[Tuple[str, str]]') -> 'Contents':
    """One value for each source; equal ones mean the same policy, and the same answer who may change it.

    :param sources: path and kind of each
    :raises OSError, GuardError: a source cannot be looked at, or a file of the policy is not to be trusted
    """
    return tuple(_content(path, kind) for path, kind in sources)


def is_same(sources: 'Sequence[Tuple[str, str]]', contents: 'Contents') -> bool:
    """Whether the sources hold what they held."""
    try:
        return take_contents(sources) == contents
    except (OSError, GuardError):
        return False


def _content(path: str, kind: str) -> 'Any':
    if kind == FILE:
        check_way(path)  # on the way by which it is reached now
        return _held(path, check_ownership)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if kind == WAY:
        held = ''
    elif os.path.isdir(path):
        # A directory is not a drop-in, whatever its name, but a file that replaces it is.
        with os.scandir(path) as entries:
            names = [os.fsencode(entry.name) + b'/' * entry.is_dir(follow_symlinks=False) for entry in entries]
        held = sha256_hex(b'\0'.join(sorted(names)))
    else:
        held = _held(path)
    return _is_trusted(path, status), held


def _held(path: str, trusted: 'Optional[Check]' = None) -> str:
    data = read_file(path, MAX_POLICY_BYTES, trusted)
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileError('%s is larger than %d bytes' % (path, MAX_POLICY_BYTES))
    return sha256_hex(data)


def _is_trusted(path: str, status: os.stat_result) -> bool:
    try:
        check_ownership(path, status)
    except PolicyFileError:
        return False
    return True
