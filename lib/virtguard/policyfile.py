# SPDX-License-Identifier: Apache-2.0
"""Policy file -> bytes, only where nobody but root (or the caller) could have written it."""

import os
import stat

from .errors import PolicyFileError
from .trust import check_owner, check_ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

MAX_POLICY_BYTES = 1024 * 1024
_MAX_LINKS = 40  # as many as the kernel follows


def read_policy_file(path: str, what: str = 'the policy') -> bytes:
    """Read a policy, or `what` else is written as one is, from any file that the caller may read.

    :raises PolicyFileError: it is missing, unreadable, not a regular file, or larger than MAX_POLICY_BYTES
    """
    return _read(path, what, trusted=False)


def read_trusted_policy_file(path: str) -> bytes:
    """Read a policy that decides about starts.

    :raises PolicyFileError: also where the file or a directory on the way to it belongs to somebody else, or others
        may write to it
    """
    for directory in directories(path):
        check_ownership(directory, os.stat(directory))
    return _read(path, 'the policy', trusted=True)


def stated_failure(data: bytes) -> 'Dict[str, str]':
    """What a policy that cannot be read as YAML says of `failure`, as a setting; nothing where that is not clear."""
    import re  # only for a broken policy

    stated = re.findall(rb'^failure:[ \t]+["\']?(\w+)["\']?[ \t]*(?:#.*)?\r?$', data, re.MULTILINE)
    return {'failure': stated[0].decode()} if stated in ([b'admit'], [b'deny']) else {}


def _read(path: str, what: str, trusted: bool) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise PolicyFileError('cannot read %s %s: %s' % (what, path, error.strerror)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PolicyFileError('%s %s is not a regular file' % (what, path))
        if trusted:
            check_ownership(path, status)
        data = _read_all(descriptor)
    finally:
        os.close(descriptor)
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileError('%s %s is larger than %d bytes' % (what, path, MAX_POLICY_BYTES))
    return data


def _read_all(descriptor: int) -> bytes:
    data = b''
    while len(data) <= MAX_POLICY_BYTES:
        chunk = os.read(descriptor, MAX_POLICY_BYTES + 1 - len(data))
        if not chunk:
            break
        data += chunk
    return data


def directories(path: str) -> 'List[str]':
    """Every directory that has a say in what `path` names: those on the way, and on the way of every link there.

    :raises PolicyFileError: links lead in a circle, or a link could be changed by somebody else
    """
    found = set()
    rest = os.path.abspath(path).split('/')[:0:-1]
    here = '/'
    links = 0
    while rest:
        found.add(here)
        step = rest.pop()
        there = os.path.dirname(here) if step == '..' else os.path.join(here, step)
        if step in ('', '.') or not os.path.islink(there):
            here = here if step in ('', '.') else there
            continue
        links += 1
        if links > _MAX_LINKS:
            raise PolicyFileError('cannot read the policy %s: too many links' % path)
        check_owner(there, os.lstat(there))
        target = os.readlink(there)
        rest += target.split('/')[::-1]
        here = '/' if target.startswith('/') else here
    return sorted(directory for directory in found if os.path.isdir(directory))
