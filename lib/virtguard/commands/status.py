# SPDX-License-Identifier: Apache-2.0
"""`virt-guard status`: whether the guard is in force on this host, and what mends it where it is not."""

import json

from ..health.condition import AMISS, NOTE, OK, UNKNOWN, Condition, overall
from ..health.daemons import examine_daemons
from ..health.guest_agents import examine_guests
from ..health.hook_in_place import examine_hook
from ..health.policy_state import examine_policy
from ..health.starts import examine_starts
from ..health.trail import examine_trail, last_call
from ..host import today
from ..wording import escape
from . import exit_status
from .terminal import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable, Iterable, Iterator, List, Optional, Tuple

    from ..model import Policy
    from ..policy.installation import Installation

_STATUS = {OK: exit_status.FINE, AMISS: exit_status.AMISS, UNKNOWN: exit_status.NOT_JUDGED}
_INDENT = ' ' * 23


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print every condition, and first what they come to. Returns the exit status: 0 guarding, 1 amiss, 2 unknown."""
    policy, conditions = examine(installation)
    conditions += examine_guests(installation)
    state = overall(conditions)
    if arguments.format == 'jsonl':
        for condition in conditions:
            show(json.dumps({key: getattr(condition, key) for key in Condition.__slots__}) + '\n')
    else:
        show('%s\n' % _headline(state, policy))
        for condition in conditions:
            show(''.join(_lines(condition)))
    return _STATUS[state]


def examine(
    installation: 'Installation', starts: 'Callable[[Installation], Iterable[Condition]]' = examine_starts
) -> 'Tuple[Optional[Policy], List[Condition]]':
    """The policy in force (None: it cannot be used), and every condition.

    :param starts: what examines the starts of domains
    """
    if not installation.installed:
        return None, [Condition('guard', AMISS, 'virt-guard is not installed on this host', './install.sh')]
    policy, of_policy = examine_policy(installation, today())
    called = last_call()
    return policy, [
        *examine_hook(installation),
        *examine_daemons(installation, called),
        *of_policy,
        *examine_trail(installation, called),
        *starts(installation),
    ]


def _headline(state: str, policy: 'Optional[Policy]') -> str:
    if state == AMISS:
        return 'virt-guard does not guard this host as it should'
    if state == UNKNOWN:
        return 'whether virt-guard guards this host cannot be told in full'
    if policy is not None and policy.mode != 'enforce':
        return 'virt-guard is in force, and admits what the policy denies: mode %s' % policy.mode_in_words
    return 'virt-guard guards this host'


def _lines(condition: Condition) -> 'Iterator[str]':
    yield '  %-8s %-11s %s\n' % (condition.state, condition.subject, escape(condition.text))
    if condition.remedy and condition.state in (AMISS, NOTE, UNKNOWN):
        yield '%sto mend it: %s\n' % (_INDENT, escape(condition.remedy))
