# SPDX-License-Identifier: Apache-2.0
"""The policy that an installation would put in force: which profile, and what of the policy that is there stays.

A site that has edited its policy keeps it; what --mode sets does not count as an edit. Only reads: others put in place
what it returns.
"""

import os
import re

from ...errors import GuardError
from ...host import today
from ...policy import load
from ...policy.files import read_policy_file
from ...policy.host_profile import list_of_host
from ...policy.installation import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Match, Optional, Tuple

    from ...model import Policy

    Setter = Callable[[Match[bytes]], bytes]

SHIPPED, EDITED, LINK = 'shipped', 'edited', 'link'
# What failure goes with a mode: an audit host refuses nothing.
_FAILURES = {'audit': 'admit', 'enforce': 'deny'}
_VALUES = {'mode': 'enforce|audit', 'failure': 'deny|admit'}
_SETTING = re.compile(
    rb'^(mode|failure):[ \t\r\f\v]+["\']?(?:enforce|audit|deny|admit)["\']?(?:[ \t\r\f\v]+|$)', re.MULTILINE
)
_CHOOSE = '; --profile chooses another'


class Candidate:
    """`data` is the policy's own file as it would be; `state` tells whether it is SHIPPED (ours to replace), EDITED, or
    reached through a LINK; `mode` is the mode that it must have, '' for any."""

    __slots__ = ('path', 'data', 'state', 'mode')

    def __init__(self, path: str, data: bytes, state: str, mode: str) -> None:
        self.path = path
        self.data = data
        self.state = state
        self.mode = mode

    def load(self) -> 'Policy':
        """The policy, with its drop-ins, as the hook would read it.

        :raises GuardError: this version cannot use it, or it has another mode all the same
        """
        policy = load.candidate(self.path, self.data, today())
        if self.mode and (policy.mode, policy.failure) != (self.mode, _FAILURES[self.mode]):
            wanted = (self.mode, _FAILURES[self.mode], self.path)
            raise GuardError('set mode (%s) and failure (%s) in %s by hand' % wanted)
        return policy


def choose_profile(wanted: str, pristine: str) -> 'Tuple[str, str]':
    """The profile to install, and why it is that one.

    :param wanted: the one that somebody asks for, '' for none
    :param pristine: the file with what was shipped when virt-guard was installed; it need not be there
    """
    if wanted:
        return wanted, '--profile'
    if os.path.isfile(pristine):
        installed = setting('policy', read_policy_file(pristine))
        if installed in profiles():
            return installed, 'as before' + _CHOOSE
    found = list_of_host()
    why = ', '.join(part for part in ('this host is ' + found.host, found.remark) if part)
    return found.profile, why + ('' if found.is_certain and not found.remark else _CHOOSE)


def make_candidate(path: str, pristine: str, profile: str, mode: str) -> Candidate:
    """What an installation would make of the policy at `path`.

    :param mode: the mode that somebody asks for, '' to keep that of before
    :raises GuardError: it would stop here
    """
    failure = _FAILURES.get(mode, '')
    if os.path.islink(path):
        if not os.path.exists(path):
            raise GuardError('%s is a broken link; remove it or restore its target' % path)
        if mode:
            wanted = (path, mode, failure)
            raise GuardError('%s is a link: set mode (%s) and failure (%s) in its target by hand' % wanted)
        return Candidate(path, read_policy_file(path), LINK, mode)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise GuardError('%s is not a file' % path)
    if is_same_policy(path, pristine):
        before = read_policy_file(path)
        mode_then, failure_then = mode or setting('mode', before), failure or setting('failure', before)
        return Candidate(path, with_settings(_shipped(profile), mode_then, failure_then), SHIPPED, mode)
    if os.path.isfile(path):
        return Candidate(path, with_settings(read_policy_file(path), mode, failure), EDITED, mode)
    return Candidate(path, with_settings(_shipped(profile), mode, failure), SHIPPED, mode)


def make_offer(candidate: Candidate, pristine: str, profile: str) -> 'Optional[bytes]':
    """What to put beside a policy that is kept, so that the site can merge it; None where it has nothing new."""
    shipped = _shipped(profile)
    if candidate.state == SHIPPED or (os.path.isfile(pristine) and read_policy_file(pristine) == shipped):
        return None
    if without_settings(shipped) == without_settings(candidate.data):
        return None
    return with_settings(shipped, setting('mode', candidate.data), setting('failure', candidate.data))


def is_offer_settled(candidate: Candidate, pristine: str, profile: str) -> bool:
    """Whether what an earlier installation has offered is there, and has nothing more to say."""
    offered = candidate.path + '.new'
    return candidate.state == SHIPPED and any(
        is_same_policy(offered, known) for known in (pristine, profiles()[profile])
    )


def _shipped(profile: str) -> bytes:
    return read_policy_file(profiles()[profile])


def setting(key: str, data: bytes) -> str:
    """The value of a setting, as it is written in a policy of which nothing else need be right; '' where it is not."""
    pattern = r'^%s:[ \t\r\f\v]+["\']?([a-z0-9-]+)["\']?(?:[ \t\r\f\v].*)?$' % key
    found = re.search(pattern.encode('ascii'), data, re.MULTILINE)
    return found.group(1).decode('ascii') if found else ''


def with_settings(data: bytes, mode: str, failure: str) -> bytes:
    """A policy with other settings ('': as they are); comments stay, in their column."""
    for key, value in (('mode', mode), ('failure', failure)):
        if value:
            pattern = r'^(%s:[ \t]+)(["\']?(?:%s)["\']?)((?:[ \t].*)?)$' % (key, _VALUES[key])
            data = re.sub(pattern.encode('ascii'), _setter(value.encode('ascii')), data, flags=re.MULTILINE)
    return data


def _setter(value: bytes) -> 'Setter':
    def set_value(found: 'Match[bytes]') -> bytes:
        head, before, tail = found.groups()
        room = len(before) - len(value)
        if room > 0 and b'#' in tail:
            tail = b' ' * room + tail
        while room < 0 and tail.startswith(b'  '):
            tail = tail[1:]
            room += 1
        return head + value + tail

    return set_value


def without_settings(data: bytes) -> bytes:
    """What of a policy counts when it is asked whether somebody has edited it."""
    return _SETTING.sub(rb'\1: ', data)


def is_same_policy(one: str, other: str) -> bool:
    """Whether two plain files hold the same policy, whatever their mode and failure."""
    texts = [_text(path) for path in (one, other)]
    return None not in texts and texts[0] == texts[1]


def _text(path: str) -> 'Optional[bytes]':
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    return without_settings(read_policy_file(path))
