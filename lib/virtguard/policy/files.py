# SPDX-License-Identifier: Apache-2.0
"""Policy file -> bytes, only where nobody but root (or the caller) could have written it."""

from ..errors import NotAFileError, PolicyFileError
from ..model import MAX_POLICY_BYTES
from ..trust import check_ownership, check_way, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional

    from ..trust import Check


def read_policy_file(path: str, what: str = 'the policy') -> bytes:
    """Read a policy, or `what` else is written as one is, from any file that the caller may read.

    :raises PolicyFileError: it is missing, unreadable, not a regular file, or larger than MAX_POLICY_BYTES
    """
    return _read(path, what)


def read_trusted_policy_file(path: str) -> bytes:
    """Read a policy that decides about starts.

    :raises PolicyFileError: also where the file or a directory on the way to it belongs to somebody else, or others
        may write to it
    """
    check_way(path)
    return _read(path, 'the policy', check_ownership)


def refuse_too_large(path: str, data: bytes, what: str = 'the policy') -> None:
    """
    :raises PolicyFileError: a file that holds this is larger than MAX_POLICY_BYTES
    """
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileError('%s %s is larger than %d bytes' % (what, path, MAX_POLICY_BYTES))


def stated_failure(data: bytes) -> 'Dict[str, str]':
    """What a policy that cannot be read as YAML says of `failure`, as a setting; nothing where that is not clear."""
    import re  # only for a broken policy

    stated = re.findall(rb'^failure:[ \t]+["\']?(\w+)["\']?[ \t]*(?:#.*)?\r?$', data, re.MULTILINE)
    return {'failure': stated[0].decode()} if stated in ([b'admit'], [b'deny']) else {}


def _read(path: str, what: str, trusted: 'Optional[Check]' = None) -> bytes:
    try:
        data = read_file(path, MAX_POLICY_BYTES, trusted)
    except NotAFileError:
        raise PolicyFileError('%s %s is not a regular file' % (what, path)) from None
    except OSError as error:
        raise PolicyFileError('cannot read %s %s: %s' % (what, path, error.strerror)) from None
    refuse_too_large(path, data, what)
    return data
