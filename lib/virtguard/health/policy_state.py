# SPDX-License-Identifier: Apache-2.0
"""The policy in force: whether it can be used and is compiled, and what the site has decided in it."""

from .. import model
from ..compiled import load_compiled
from ..errors import GuardError
from ..policy import load
from ..policy.drop_ins import find_near_misses
from ..policy.host_profile import difference, profile_of
from ..policy.installation import installer
from ..policy.partial import load_partly
from ..policy.problems import PolicyError
from ..waivers import days_left, expires_soon
from ..wording import counted
from .condition import AMISS, NOTE, OK, Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Tuple

    from ..policy.installation import Installation

_CHECK = 'virt-guard policy check'


# In mode audit.
FAILURE_DENIES = 'deny still refuses every start while the guard itself fails, as with a broken policy'


def examine_policy(installation: 'Installation', today: str) -> 'Tuple[Optional[model.Policy], Iterator[Condition]]':
    """The policy in force (None: it cannot be used), and what is to be said of it.

    :param today: YYYY-MM-DD
    """
    try:
        policy = load.trusted(installation.policy, today)
    except PolicyError as error:
        more = ', and %d more' % (len(error.problems) - 1) if len(error.problems) > 1 else ''
        text = 'no domain can be judged: %s%s' % (error.problems[0], more)
        return None, _of_a_broken_policy(text, installation, today)
    except GuardError as error:
        return None, _of_a_broken_policy('no domain can be judged: %s' % error, installation, today)
    return policy, _of_a_policy(policy, installation, today)


def _of_a_broken_policy(text: str, installation: 'Installation', today: str) -> 'Iterator[Condition]':
    yield Condition('policy', AMISS, text, _CHECK)
    try:
        partial, left_out = load_partly(installation.policy, today, True)
    except GuardError:
        return  # nothing can be read
    without = ', without ' + ', '.join(left_out) if left_out else ''
    yield Condition('policy', NOTE, 'what follows is said by what can be read of it' + without)
    yield from _decided(partial, installation, today)


def _of_a_policy(policy: model.Policy, installation: 'Installation', today: str) -> 'Iterator[Condition]':
    rules = counted(len(policy.rules), 'rule')
    yield Condition('policy', OK, '%s: policy %r, %s' % (policy.source, policy.name, rules))
    compiled, warning = load_compiled(installation.policy)
    if compiled is None:
        text = 'each start takes longer than it must: %s' % (warning or 'the policy is not compiled')
        yield Condition('compiled', AMISS, text, 'virt-guard policy compile')
    else:
        yield Condition('compiled', OK, 'the compiled policy is that of these files')
    yield from _decided(policy, installation, today)


def _decided(policy: model.Policy, installation: 'Installation', today: str) -> 'Iterator[Condition]':
    yield _mode(policy)
    if policy.failure == 'admit':
        text = 'admit: what the guard cannot judge, because it fails itself, is admitted'
        yield Condition('failure', NOTE, text + _origin(policy, 'failure'))
    elif policy.mode == 'audit':
        yield Condition(
            'failure', NOTE, FAILURE_DENIES + _origin(policy, 'failure'), 'virt-guard policy set failure admit'
        )
    yield from _decisions(policy)
    for problem in find_near_misses(policy.source):
        yield Condition('drop-in', NOTE, '%s: %s' % (problem.source, problem.message), _CHECK)
    yield from _waivers(policy, today)
    said = difference(profile_of(policy), installation.host or '/')
    if said:
        text, command = said.replace('--profile', installer() + ' --profile'), 'virt-guard policy diff'
        yield Condition('profile', NOTE, text, command)


def _mode(policy: model.Policy) -> Condition:
    if policy.mode == 'enforce':
        return Condition('mode', OK, 'enforce: what the policy denies is refused')
    text = '%s: what the policy denies starts, and is recorded%s' % (policy.mode_in_words, _origin(policy, 'mode'))
    return Condition('mode', NOTE, text, 'virt-guard policy set mode enforce')


def _origin(policy: model.Policy, key: str) -> str:
    place = policy.origins.get(key)
    return ' (%s:%d)' % place if place else ''


def _decisions(policy: model.Policy) -> 'Iterator[Condition]':
    """Rules that the site has turned off, or made to warn only: by whom, that is where."""
    for rule in policy.rules:
        place = rule.origins.get('action')
        if rule.action == 'off' and place is not None:
            yield Condition('rule', NOTE, '%s is off: %s (%s:%d)' % ((rule.id, rule.reason) + place))


def _waivers(policy: model.Policy, today: str) -> 'Iterator[Condition]':
    for waiver in policy.waivers:
        what = 'the waiver of %s (%s:%d)' % ((', '.join(waiver.rules),) + waiver.origin)
        if days_left(waiver, today) < 0:
            yield Condition('waiver', NOTE, '%s expired on %s' % (what, waiver.expires))
        elif expires_soon(waiver, today):
            yield Condition('waiver', NOTE, '%s expires on %s' % (what, waiver.expires))
