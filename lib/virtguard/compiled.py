# SPDX-License-Identifier: Apache-2.0
"""Compiled file -> policy: what the hook loads instead of YAML and XPath, as long as its sources are unchanged.

The file is beside the policy. Its first line names the format, the package's version and the interpreter. The second
line is a checksum of the rest, which finds damage; owner and mode protect against attackers. The rest is marshalled.
The file only saves time: if it is missing, damaged, out of date, or not trusted, the policy is read. policy/compiler
makes it; source_contents finds out whether a source that looks changed has really changed.
"""

import marshal
import posix  # not os: see the import budget in hook/call
import sys
import time
from binascii import crc32

from . import __version__
from .errors import NotAFileError, PolicyFileError
from .screening import Screen
from .trust import WAY, check_ownership, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from typing import Any, Optional, Sequence, Tuple

    Stamp = Tuple[Tuple[Any, ...], ...]

_FORMAT = 5
_MAX_BYTES = 64 * 1024 * 1024


def compiled_path(policy_path: str) -> str:
    """Where the compiled form of a policy is."""
    return (policy_path[: -len('.yaml')] if policy_path.endswith('.yaml') else policy_path) + '.compiled'


def load_compiled(policy_path: str) -> 'Tuple[Optional[Screen], str]':
    """The compiled form of a policy, if it can be used; else None and why ('' if there is no such file)."""
    path = compiled_path(policy_path)
    try:
        data = _read(path)
        if data is None:
            return None, ''
        first, checksum, payload = (data.split(b'\n', 2) + [b'', b''])[:3]
        if first != headline():
            return None, '%s was written by another version; run virt-guard policy compile' % path
        if int(checksum, 16) != crc32(payload):
            return None, '%s is damaged; run virt-guard policy compile' % path
        stamp, contents, content = marshal.loads(payload)
        if stamp[0][0] != policy_path or not _is_current(stamp, contents):
            return None, '%s is out of date; run virt-guard policy compile' % path
        screen = Screen(content)
        if screen.policy.audit_until:
            screen.policy = screen.policy.on(time.strftime('%Y-%m-%d'))
        return screen, ''
    except PolicyFileError as error:
        return None, error.message
    except Exception as error:  # whatever is wrong with it, the policy itself can be read
        return None, '%s cannot be used (%s); run virt-guard policy compile' % (path, error)


def _is_current(stamp: 'Stamp', contents: 'Tuple[Any, ...]') -> bool:
    sources = [entry[:2] for entry in stamp]
    if stamp == take_stamp(sources):
        return True
    from .source_contents import is_same  # reads every source; most often the stamp is enough

    return is_same(sources, contents)


def take_stamp(sources: 'Sequence[Tuple[str, str]]') -> 'Stamp':
    """What changes when a policy's source changes, or when others could change it.

    :param sources: path and kind of each, that of the policy first
    :raises OSError: a source cannot be looked at
    """
    return tuple((path, kind, _look(path, kind)) for path, kind in sources)


def _look(path: str, kind: str) -> 'Optional[Tuple[int, ...]]':
    try:
        status = posix.stat(path)
    except FileNotFoundError:
        return None
    if kind == WAY:
        return _identity(status)
    return _identity(status) + (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _identity(status: 'stat_result') -> 'Tuple[int, ...]':
    return status.st_dev, status.st_ino, status.st_mode, status.st_uid


def headline() -> bytes:
    """The first line of a file that this package, in this interpreter, can use.

    An installed package is in a directory that is named for its content: two builds of one version differ, too.
    """
    tree = __file__.rsplit('/', 3)[-3]
    words = (_FORMAT, __version__, tree, sys.implementation.cache_tag, marshal.version)
    return ('virt-guard compiled policy %s %s %s %s %s' % words).encode('utf-8', 'surrogateescape')


def _read(path: str) -> 'Optional[bytes]':
    try:
        data = read_file(path, _MAX_BYTES, check_ownership, follow_links=False)
    except FileNotFoundError:
        return None
    except NotAFileError:
        data = None
    if data is None or len(data) > _MAX_BYTES:
        raise ValueError('not a regular file of a sensible size')
    return data
