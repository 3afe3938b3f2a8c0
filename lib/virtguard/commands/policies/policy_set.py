# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy set`: a setting of the policy in force, in a drop-in of its own, never in policy.yaml."""

import os

from ...errors import GuardError, suggest
from ...health.policy_state import FAILURE_DENIES
from ...policy.installation import LANGUAGES
from ...policy.layer import AUDIT_UNTIL, FAILURES, MAX_DEADLINE, MODES
from .. import loading
from ..exit_status import AMISS, FINE
from ..last_day import read_last_day
from ..questions import ask, at_terminal
from ..terminal import show, show_line
from .broken_policy import policy_to_change
from .effect import find_effect
from .policy_change import as_read, as_seen, change_drop_in, drop_in_path, read_drop_in
from .settings_file import SETTINGS, extends_text, with_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Optional, Tuple

    from ...model import Policy
    from ...policy.installation import Installation
    from .policy_change import Revision

DEFAULT = 'default'  # what the other files say
_AUDIT = {'required': '{required: true}', 'optional': '{required: false}'}
_KNOWN: 'Dict[str, Tuple[str, ...]]' = {
    'mode': MODES,
    'failure': FAILURES,
    'deadline': (),
    'audit': tuple(_AUDIT),
    'language': LANGUAGES,
    'extends': (),
}


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Show what another value does to the domains of this host, ask where somebody can be asked, and put it in force.
    Returns AMISS where the answer is no."""
    key, value = arguments.key, arguments.value
    text = _written(key, value, arguments.until)
    path = drop_in_path(installation, SETTINGS)
    old = policy_to_change(installation)
    said = '%s: %s' % (key, text) if text else '%s as the other files say' % key

    def revise(before: 'Optional[bytes]') -> 'Revision':
        return with_setting(before, path, key, text), said

    before = read_drop_in(installation, SETTINGS)
    data, _ = revise(before)
    if data == before:
        show_line('%s: unchanged: %s' % (path, said))
        return FINE
    seen = loading.load_policy(None, installation, {path: data})
    _refuse_later(seen, key, text, path)
    show(str(find_effect(old, seen, installation)))
    if seen.mode == 'audit' and seen.failure == 'deny':
        show_line('note: failure %s (virt-guard policy set failure admit)' % FAILURE_DENIES)
    elif key == 'mode' and seen.failure == 'admit' and (seen.mode == 'enforce' or seen.audit_until):
        stays = 'failure admit stays: in mode enforce, too, every domain starts while the guard itself fails'
        show_line('note: %s (virt-guard policy set failure default)' % stays)
    if at_terminal():
        if ask('Put it in force?', {'y': 'yes', 'n': 'no'}) != 'y':
            show_line('%s stays as it was' % path)
            return AMISS
        change_drop_in(installation, SETTINGS, as_seen(installation, path, data, seen, as_read(before, data, said)))
    else:
        change_drop_in(installation, SETTINGS, revise)
    show_line('%s: %s' % (path, said))
    return FINE


def _refuse_later(policy: 'Policy', key: str, text: str, path: str) -> None:
    """
    :raises GuardError: another file counts later than the one at `path`
    """
    origin = policy.origins.get(key)
    if key == 'extends':
        return  # what several files extend is joined
    if text and origin is not None and origin[0] != path:
        message = '%s:%d sets %s, too, and counts later' % (*origin, key)
        raise GuardError(message, 'change it there: virt-guard policy edit %s' % os.path.basename(origin[0]))


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
    if key == 'extends':
        return extends_text(value)
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
