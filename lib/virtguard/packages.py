# SPDX-License-Identifier: Apache-2.0
"""Where lxml and PyYAML come from, for an interpreter that was started without them (`-S`).

The distribution's own package directories come first. What somebody has put below /usr/local is taken where the
distribution has none, and only where nobody but root (or the caller) can write: on Debian, that may be everybody in the
group staff. Neither sitecustomize nor a .pth file in a directory that is not to be trusted is run.
"""

import os
import sys

from .errors import GuardError
from .trust import check_way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

_LOCAL = '/usr/local'
_refused: 'Dict[str, str]' = {}  # directories that are not used, and why
_added: 'List[str]' = []


def enable_packages() -> None:
    """Complete sys.path."""
    import site as loaded

    site: 'Any' = loaded
    before = list(sys.path)
    add = site.addsitedir

    def add_trusted(directory: str, *known: 'Any') -> 'Any':
        return None if _is_refused(directory) else add(directory, *known)

    site.addsitedir = add_trusted
    try:
        # What site.main does, but for the user's directory, and for what somebody wants to run in each interpreter.
        site.addsitepackages(site.venv(set(before)))
    finally:
        site.addsitedir = add
    added = [path for path in sys.path if path not in before and not _is_refused(path)]
    _added[:] = sorted(added, key=_is_local)
    sys.path[:] = before + _added


def describe_copies(*names: str) -> str:
    """What to say of packages that cannot be used, where it is not the distribution's copy that was tried."""
    said = ''
    for name in names:
        having = [path for path in _added if os.path.isdir(os.path.join(path, name))]
        if having and _is_local(having[0]):
            said += '; of %s there is only the copy in %s, and none of the distribution' % (name, having[0])
        for path, reason in _refused.items():
            if not having and os.path.isdir(os.path.join(path, name)):
                said += '; the copy of %s in %s is not used: %s' % (name, path, reason)
    return said


def _is_local(path: str) -> bool:
    """Whether a package directory is the administrator's, not that of who made the interpreter."""
    return path.startswith(_LOCAL + '/') and not sys.prefix.startswith(_LOCAL)


def _is_refused(directory: str) -> bool:
    if not _is_local(directory):
        return False
    try:
        check_way(os.path.join(directory, '*'))
    except (GuardError, OSError) as error:
        _refused[directory] = error.message if isinstance(error, GuardError) else str(error)
    return directory in _refused
