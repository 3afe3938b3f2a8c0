# SPDX-License-Identifier: Apache-2.0
"""What can be read of a policy that cannot be used, so that a person can look up a rule or a waiver meanwhile, or what
is found in a domain. No start is ever decided by it."""

import re

from ..errors import PolicyFileError
from . import load
from .drop_ins import find_drop_ins
from .files import read_policy_file
from .host_profile import list_of_host, stated_name
from .installation import profiles
from .problems import PolicyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

    from ..model import Policy

_NAME = rb'["\']?[\w./-]+["\']?'
_EXTENDS = re.compile(
    rb'^extends:[ \t]+(%s|\[[ \t]*%s(?:[ \t]*,[ \t]*%s)*[ \t]*\])[ \t]*(?:#.*)?\r?$' % (_NAME, _NAME, _NAME),
    re.MULTILINE,
)


def load_partly(path: str, today: str, is_in_force: bool) -> 'Tuple[Policy, List[str]]':
    """The policy without those of its files that cannot be used, and what is left out, or stands in for what is.

    Of policies that are extended, those with problems are left out. Instead of the policy's own file it takes what
    that extends, or the profile that it was made of; where neither is known of the policy in force, the profile of
    this host.

    :raises PolicyError, PolicyFileError: nothing of it can be used
    """
    changes: 'Dict[str, Optional[bytes]]' = {}
    without: 'Set[str]' = set()
    told: 'List[str]' = []
    stand_ins = _stand_ins(path, is_in_force)
    while True:
        drop_ins = find_drop_ins(path, False, changes)
        try:
            return load.as_if_in_force(path, today, changes, without), told
        except PolicyError as error:
            broken = {problem.source for problem in error.problems}
            if broken <= set(drop_ins):
                changes.update({drop_in: None for drop_in in broken})
                told += sorted(broken)
                continue
            extended = broken - {path, *drop_ins} - without
            if extended:
                without |= extended
                told += sorted(extended)
                continue
            failure: 'Exception' = error
        except PolicyFileError as error:
            broken = _unreadable(path for path in drop_ins if path not in changes)
            if broken:
                changes.update({drop_in: None for drop_in in broken})
                told += sorted(broken)
                continue
            failure = error
        stand_in = next(stand_ins, None)
        if stand_in is None:
            raise failure
        changes[path] = b'extends: %s\n' % stand_in.encode('ascii')
        told = [*(line for line in told if not line.startswith(path)), '%s (read instead: %s)' % (path, stand_in)]


def _stand_ins(path: str, is_in_force: bool) -> 'Iterator[str]':
    """What may stand in for the policy's own file, as `extends` names it."""
    try:
        extended = _EXTENDS.search(read_policy_file(path))
    except PolicyFileError:
        extended = None
    if extended is not None:
        written = re.sub(rb'["\']', b'', extended.group(1)).decode('ascii', 'replace')
        yield written
        if written.startswith('['):  # one of them may be missing
            yield from (name.strip() for name in written.strip('[]').split(','))
    if stated_name(path) in profiles():
        yield stated_name(path)
    if is_in_force:
        yield list_of_host().profile


def _unreadable(paths: 'Iterable[str]') -> 'Set[str]':
    found = set()
    for path in paths:
        try:
            read_policy_file(path)
        except PolicyFileError:
            found.add(path)
    return found
