# SPDX-License-Identifier: Apache-2.0
"""What belongs to a policy: the drop-ins in the directory beside it, and which files there are not drop-ins.

There is one rule: the drop-ins of DIR/NAME.yaml are the files DIR/NAME.d/*.yaml whose names do not begin with a dot, in
the order of their names. hooks/qemu has the same rule, for a guard that cannot run.

A file that is not a drop-in never stops a start, whatever its name. But one that was meant as a drop-in has no effect,
and its author believes that it has; so it is told where people look.
"""

import os
import re

from ..errors import PolicyFileError
from ..trust import check_ownership, directories
from ..wording import quoted
from .installation import SUFFIX
from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional

    # What is to be taken as if it were on the disk: path -> what the file holds, None if there is no such file.
    Changes = Mapping[str, Optional[bytes]]

# Hidden files, and what editors, package managers and Ansible leave beside a file or call a version that is not in
# force; PATH.PID is what write_file leaves if it is killed.
_LEFTOVER = re.compile(
    r'\.|#.*#\Z|.*(?:~|\.\d+|\.(?:rejected|dpkg-[\w-]+|ucf-[\w-]+|rpm(?:new|save|orig)|'
    r'bak|backup|old|orig|save|new|rej|tmp|swp|off|disabled|example|sample))\Z',
    re.DOTALL,
)
# What somebody may have written who means a drop-in; the first group is its name without the ending.
_LIKE_DROP_IN = re.compile(
    r'(.*?)\.(?:ya?ml(?![a-z])|(?=[aml]*y)[yaml]{2,6}\Z|json\Z)|(\d+[-_][^.]*)\Z', re.DOTALL | re.IGNORECASE
)
NAMING = 'the name of a drop-in ends with .yaml and does not begin with a dot'


def drop_in_directory(path: str) -> str:
    """Where the drop-ins of a policy are."""
    return (path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path) + '.d'


def is_drop_in_name(name: str) -> bool:
    """Whether a file of that name in the directory is a drop-in."""
    return name.endswith(SUFFIX) and not name.startswith('.')


def refuse_drop_in(path: str) -> None:
    """
    :raises PolicyFileError: a path that should be that of a policy is that of a drop-in
    """
    directory = os.path.dirname(os.path.abspath(path))
    served = directory[: -len('.d')] + SUFFIX if directory.endswith('.d') else ''
    if os.path.isfile(served):
        message = '%s is a drop-in of %s, not a policy by itself' % (path, served)
        raise PolicyFileError(message, 'check them together: virt-guard policy check')


def find_drop_ins(path: str, trusted: bool, changes: 'Changes') -> 'List[str]':
    """The drop-ins of a policy in their order.

    :param trusted: nobody else may be able to put one there
    :param changes: see load.trusted
    :raises PolicyFileError: they cannot be listed, or a change would be ignored
    """
    directory = drop_in_directory(path)
    entries = _list(directory, trusted)
    # Nothing can be read from a directory, so nobody relies on what it says.
    names = {name for name, is_directory in entries.items() if is_drop_in_name(name) and not is_directory}
    for changed, data in changes.items():
        name = os.path.basename(changed)
        if os.path.dirname(changed) != directory:
            continue
        if not is_drop_in_name(name):
            raise PolicyFileError('%s would be ignored' % changed, NAMING)
        names = names - {name} if data is None else names | {name}
    return [os.path.join(directory, name) for name in sorted(names)]


def _list(directory: str, trusted: bool) -> 'Dict[str, bool]':
    """The names in a directory, each with whether it is that of another directory; none if there is no directory."""
    try:
        with os.scandir(directory) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for way in directories(os.path.join(directory, '*')) if trusted else ():
            check_ownership(way, os.stat(way))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PolicyFileError('cannot list the drop-ins in %s: %s' % (directory, error.strerror)) from None
    return found


def find_ignored(path: str) -> 'List[str]':
    """The files in the directory of drop-ins that are not drop-ins, and that hardly anybody takes for one."""
    directory = drop_in_directory(path)
    return [
        os.path.join(directory, name)
        for name, is_directory in sorted(_list(directory, False).items())
        if not is_drop_in_name(name) and not _is_near_miss(name, is_directory)
    ]


def find_near_misses(path: str) -> 'List[Problem]':
    """What is ignored, but looks as if somebody had meant a drop-in: each as a problem that says what to type."""
    directory = drop_in_directory(path)
    entries = _list(directory, False)
    found = [
        _near_miss(directory, name, is_directory, entries)
        for name, is_directory in sorted(entries.items())
        if _is_near_miss(name, is_directory)
    ]
    for like in sorted({path + '.d', os.path.splitext(path)[0] + '.d'} - {directory}):
        if os.path.isdir(like) and os.path.realpath(like) != os.path.realpath(directory):
            message = 'this directory is ignored: the drop-ins of %s are in %s' % (path, directory)
            moved = quoted(like) + ('/*' if os.path.lexists(directory) else '')
            found.append(Problem(like, 1, 1, message, 'type: mv %s %s' % (moved, quoted(directory))))
    return found


def _is_near_miss(name: str, is_directory: bool) -> bool:
    if is_directory:
        return is_drop_in_name(name)
    return bool(not is_drop_in_name(name) and not _LEFTOVER.match(name) and _LIKE_DROP_IN.match(name))


def _near_miss(directory: str, name: str, is_directory: bool, entries: 'Dict[str, bool]') -> Problem:
    path = quoted(os.path.join(directory, name))
    like = _LIKE_DROP_IN.match(name)
    stem = (like.group(1) or like.group(2)) if like else name
    wanted = quoted(os.path.join(directory, stem + SUFFIX))
    message = 'this file is ignored: ' + NAMING
    if is_directory:
        message = 'this directory is ignored: a drop-in is a file'
        hint = 'type: mv %s/* %s' % (path, quoted(directory))
    elif stem + SUFFIX in entries:
        hint = '%s is there, too; if this one is not needed, type: rm %s' % (wanted, path)
    else:
        hint = 'type: mv %s %s' % (path, wanted)
    return Problem(os.path.join(directory, name), 1, 1, message, hint)
