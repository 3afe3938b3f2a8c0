# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy set`: a setting of the policy in force, in a drop-in of its own, never in policy.yaml."""

import os

from ...errors import GuardError, suggest
from ...policy.layer import AUDIT_UNTIL, FAILURES, MAX_DEADLINE, MODES
from .. import loading
from ..exit_status import FINE
from ..last_day import read_last_day
from ..terminal import show, show_line
from .effect import find_effect
from .policy_change import change_drop_in, drop_in_path
from .settings_file import SETTINGS, with_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Optional, Tuple

    from ...policy.installation import Installation
    from .policy_change import Revision

DEFAULT = 'default'  # what the other files say
_AUDIT = {'required': '{required: true}', 'optional': '{required: false}'}
_KNOWN: 'Dict[str, Tuple[str, ...]]' = {
    'mode': MODES,
    'failure': FAILURES,
    'deadline': (),
    'audit': tuple(_AUDIT),
}


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Put another value in force, and tell what that does to the domains of this host."""
    key, value = arguments.key, arguments.value
    text = _written(key, value, arguments.until)
    path = drop_in_path(installation, SETTINGS)
    old = loading.load_policy(None, installation)
    said = '%s: %s' % (key, text) if text else '%s as the other files say' % key

    def revise(before: 'Optional[bytes]') -> 'Revision':
        data = with_setting(before, path, key, text)
        changed = loading.load_policy(None, installation, {path: data})
        origin = changed.origins.get(key)
        if text and origin is not None and origin[0] != path:
            message = '%s:%d sets %s, too, and counts later' % (*origin, key)
            raise GuardError(message, 'change it there: virt-guard policy edit %s' % os.path.basename(origin[0]))
        return data, said

    policy = change_drop_in(installation, SETTINGS, revise)
    if policy is None:
        show_line('%s: unchanged: %s' % (path, said))
        return FINE
    show_line('%s: %s' % (path, said))
    show(str(find_effect(old, policy, installation)))
    if policy.mode == 'audit' and policy.failure == 'deny':
        show_line('note: failure deny still refuses what cannot be judged (virt-guard policy set failure admit)')
    return FINE


def _written(key: str, value: str, until: 'Optional[str]') -> str:
    """The value as YAML; '' for the one of the other files.

    :raises GuardError: it is not a value of this setting
    """
    if until is not None and (key, value) != ('mode', 'audit'):
        raise GuardError('--until is for mode audit, which ends then', 'virt-guard policy set mode audit --until DATE')
    if value == DEFAULT:
        return ''
    if key == 'deadline':
        return _seconds(value)
    if value not in _KNOWN[key]:
        raise GuardError('%s is %r' % (key, value), suggest(value, (*_KNOWN[key], DEFAULT)))
    if until is not None:
        return '{%s: %s}' % (AUDIT_UNTIL, read_last_day(until))
    return _AUDIT[value] if key == 'audit' else value


def _seconds(text: str) -> str:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # In less than a second, a busy host may not come to ask for anything; a file may say so all the same.
    if not 1 <= seconds <= MAX_DEADLINE:
        raise GuardError('deadline is %r' % text, 'a number of seconds between 1 and %d' % MAX_DEADLINE)
    return '%g' % seconds
