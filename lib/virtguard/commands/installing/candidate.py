# SPDX-License-Identifier: Apache-2.0
"""The policy that an installation would put in force: which profile, and what of the policy that is there stays.

What is shipped is a policy of two lines that extends a profile. A site that has edited its policy keeps it; mode and
failure do not count as an edit: where they are in the way, they move to the drop-in that `policy set` writes, and so
does what --mode asks for. Only reads: others put in place what it returns.
"""

import os
import re

from ...errors import GuardError
from ...host import today
from ...model import DEFAULT_SETTINGS
from ...policy import load
from ...policy.drop_ins import drop_in_directory
from ...policy.files import read_policy_file
from ...policy.host_profile import list_of_host
from ...policy.installation import Installation, not_installed, profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

    from ...model import Policy

SHIPPED, EDITED, LINK = 'shipped', 'edited', 'link'
# What failure goes with a mode: an audit host refuses nothing.
_FAILURES = {'audit': 'admit', 'enforce': 'deny'}
_SETTING = re.compile(
    rb'^(mode|failure):[ \t\r\f\v]+["\']?(?:enforce|audit|deny|admit)["\']?(?:[ \t\r\f\v]+|$)', re.MULTILINE
)
# A line that says nothing else, and may have been added.
_SETTING_ALONE = re.compile(
    rb'^(?:mode|failure):[ \t\r\f\v]+["\']?(?:enforce|audit|deny|admit)["\']?[ \t\r\f\v]*(?:\n|\Z)', re.MULTILINE
)
_PROFILE = re.compile(rb'^(policy|extends): rhel-8$', re.MULTILINE)
_CHOOSE = '; --profile chooses another'


class Candidate:
    """`data` is the policy's own file as it would be; `state` tells whether it is SHIPPED (ours to replace), EDITED, or
    reached through a LINK; `settings` is what the drop-in of `policy set` would hold, None where that stays as it is;
    `mode` is the mode that the policy must have, '' for any."""

    __slots__ = ('path', 'data', 'state', 'settings', 'mode')

    def __init__(self, path: str, data: bytes, state: str, settings: 'Optional[bytes]', mode: str) -> None:
        self.path = path
        self.data = data
        self.state = state
        self.settings = settings
        self.mode = mode

    def load(self) -> 'Policy':
        """The policy, with its drop-ins, as the hook would read it.

        :raises GuardError: this version cannot use it, or it has another mode all the same
        """
        changes: 'Dict[str, Optional[bytes]]' = {self.path: self.data}
        if self.settings is not None:
            changes[settings_path(self.path)] = self.settings
        policy = load.candidate(self.path, changes, today())
        for key, value in _wanted(self.mode).items():
            if getattr(policy, key) != value:
                message = '%s:%d sets %s, too, and counts later' % (*policy.origins[key], key)
                raise GuardError(message, 'change it there: %s: %s' % (key, value))
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


def make_candidate(path: str, pristine: str, profile: str, mode: str, besides: str = '') -> Candidate:
    """What an installation would make of the policy at `path`.

    :param mode: the mode that somebody asks for, '' to keep that of before
    :param besides: the profiles, joined by commas, to judge by besides; '' to keep those of before
    :raises GuardError: it would stop here
    """
    stated: 'Dict[str, str]' = {}
    if os.path.islink(path):
        if not os.path.exists(path):
            raise GuardError('%s is a broken link; remove it or restore its target' % path)
        data, state = read_policy_file(path), LINK
    elif os.path.lexists(path) and not os.path.isfile(path):
        raise GuardError('%s is not a file' % path)
    elif not os.path.lexists(path):
        data, state = shipped_policy(profile), SHIPPED
    elif is_same_policy(path, pristine):
        stated = _stated(read_policy_file(path))
        data, state = shipped_policy(profile), SHIPPED
    else:
        data, state = read_policy_file(path), EDITED
    return Candidate(path, data, state, _make_settings(path, data, stated, _wanted(mode), besides), mode)


def _wanted(mode: str) -> 'Dict[str, str]':
    return {'mode': mode, 'failure': _FAILURES[mode]} if mode else {}


def _stated(data: bytes) -> 'Dict[str, str]':
    """The mode and failure that a policy has, where they are not those of every profile."""
    found = {key: setting(key, data) for key in ('mode', 'failure')}
    return {key: value for key, value in found.items() if value not in ('', DEFAULT_SETTINGS[key])}


def _make_settings(
    path: str, data: bytes, stated: 'Dict[str, str]', wanted: 'Dict[str, str]', besides: str
) -> 'Optional[bytes]':
    """What the drop-in of `policy set` must hold beside a policy's own file; None where it may stay as it is.

    :param stated: what the file of before has said; a drop-in that says something else has counted, and still does
    :param wanted: what somebody asks for
    """
    if not stated and not wanted and not besides:
        return None
    from ..policies.policy_change import read_drop_in  # needs PyYAML
    from ..policies.settings_file import SETTINGS, extends_text, with_setting

    try:
        policy = load.candidate(path, {path: data}, today())
    except GuardError:
        return None  # whoever loads the candidate is told why
    settings = before = read_drop_in(Installation(path, True, ''), SETTINGS)
    for key, value in {**stated, **wanted}.items():
        is_of_drop_in = os.path.dirname(policy.origins.get(key, ('',))[0]) == drop_in_directory(path)
        is_so = getattr(policy, key) == value and not (key == 'mode' and policy.audit_until)
        if not is_so and (key in wanted or not is_of_drop_in):
            settings = with_setting(settings, settings_path(path), key, value)
    if besides:
        settings = with_setting(settings, settings_path(path), 'extends', extends_text(besides))
    return settings if settings != before else None


def settings_path(path: str) -> str:
    """Where `policy set` writes, for the policy at `path`."""
    from ..policies.settings_file import SETTINGS

    return os.path.join(drop_in_directory(path), SETTINGS)


def make_offer(candidate: Candidate, pristine: str, profile: str) -> 'Optional[bytes]':
    """What to put beside a policy that is kept, so that the site can take it; None where it has nothing new."""
    shipped = shipped_policy(profile)
    if candidate.state == SHIPPED or (os.path.isfile(pristine) and read_policy_file(pristine) == shipped):
        return None
    if without_settings(shipped) == without_settings(candidate.data):
        return None
    lines = ''.join('%s: %s\n' % pair for pair in _stated(candidate.data).items())
    return shipped + lines.encode('ascii')


def is_offer_settled(candidate: Candidate, pristine: str, profile: str) -> bool:
    """Whether what an earlier installation has offered is there, and has nothing more to say."""
    offered = _text(candidate.path + '.new')
    known = (_text(pristine), without_settings(shipped_policy(profile)))
    return candidate.state == SHIPPED and offered is not None and offered in known


def shipped_policy(profile: str) -> bytes:
    """The policy that an installation with a profile puts into /etc. As in install.sh, see _PROFILE."""
    return _PROFILE.sub(rb'\1: ' + profile.encode('ascii'), read_policy_file(not_installed().policy))


def setting(key: str, data: bytes) -> str:
    """The value of a setting, as it is written in a policy of which nothing else need be right; '' where it is not."""
    pattern = r'^%s:[ \t\r\f\v]+["\']?([a-z0-9-]+)["\']?(?:[ \t\r\f\v].*)?$' % key
    found = re.search(pattern.encode('ascii'), data, re.MULTILINE)
    return found.group(1).decode('ascii') if found else ''


def without_settings(data: bytes) -> bytes:
    """What of a policy counts when it is asked whether somebody has edited it."""
    return _SETTING.sub(rb'\1: ', _SETTING_ALONE.sub(b'', data))


def is_same_policy(one: str, other: str) -> bool:
    """Whether two plain files hold the same policy, whatever their mode and failure."""
    texts = [_text(path) for path in (one, other)]
    return None not in texts and texts[0] == texts[1]


def _text(path: str) -> 'Optional[bytes]':
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    return without_settings(read_policy_file(path))
