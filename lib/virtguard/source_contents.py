# SPDX-License-Identifier: Apache-2.0
"""What the sources of a compiled policy hold, and whether only their owner may change them. See compiled.

It is compared where their stamps differ, as after a restored backup, a deployment, or where a file was only touched.
"""

import os

from .digest import sha256_hex
from .errors import PolicyFileError
from .policyfile import read_policy_file, read_trusted_policy_file
from .trust import FILE, WAY, check_ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence, Tuple

    Contents = Tuple[Any, ...]


def take_contents(sources: 'Sequence[Tuple[str, str]]') -> 'Contents':
    """One value for each source; equal ones mean the same policy, and the same answer who may change it.

    :param sources: path and kind of each
    :raises OSError, PolicyFileError: a source cannot be looked at, or a file of the policy is not to be trusted
    """
    return tuple(_content(path, kind) for path, kind in sources)


def is_same(sources: 'Sequence[Tuple[str, str]]', contents: 'Contents') -> bool:
    """Whether the sources hold what they held."""
    try:
        return take_contents(sources) == contents
    except (OSError, PolicyFileError):
        return False


def _content(path: str, kind: str) -> 'Any':
    if kind == FILE:
        return sha256_hex(read_trusted_policy_file(path))  # on whatever way it is reached now
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if kind == WAY:
        held = ''
    elif os.path.isdir(path):
        held = sha256_hex(b'\0'.join(sorted(os.fsencode(name) for name in os.listdir(path))))
    else:
        held = sha256_hex(read_policy_file(path, 'the source'))
    return _is_trusted(path, status), held


def _is_trusted(path: str, status: os.stat_result) -> bool:
    try:
        check_ownership(path, status)
    except PolicyFileError:
        return False
    return True
