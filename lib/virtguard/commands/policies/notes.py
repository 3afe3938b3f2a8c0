# SPDX-License-Identifier: Apache-2.0
"""Remarks on a policy that can be used: what has no effect, expires soon, or does not suit this host."""

import os

from ... import model
from ...compiled import load_compiled
from ...errors import GuardError
from ...health.policy_state import FAILURE_DENIES
from ...host import today
from ...policy.drop_ins import NAMING, find_ignored
from ...wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

    from ...policy.installation import Installation

    Remark = Tuple[str, str]  # what the waivers of a kind do, '' for what does not speak of a waiver; the text


_MOST_RULES = 8  # of a waiver, that are named each
_MOST = 16  # remarks of a kind that are told each; a site may have thousands of waivers


def told(remarks: 'Iterable[Remark]') -> 'Iterator[str]':
    """The texts of remarks; of a kind, only the first ones, and how many there are besides."""
    counts: 'Dict[str, int]' = {}
    for kind, text in remarks:
        counts[kind] = counts.get(kind, 0) + 1
        if not kind or counts[kind] <= _MOST:
            yield text
    for kind, count in counts.items():
        if kind and count > _MOST:
            yield 'further waivers that %s: %d' % (kind, count - _MOST)


def in_words(rules: 'Sequence[str]') -> str:
    """The rules of a waiver, or how many there are: break-glass has all."""
    return ', '.join(rules) if len(rules) <= _MOST_RULES else counted(len(rules), 'rule')


def on_policy(policy: model.Policy, host: 'Optional[model.HostFacts]' = None) -> 'Iterator[Remark]':
    """What in a policy has no effect, will soon have none, or may have another effect than it seems (see told).

    :param host: what the policy is for, where that is known
    """
    from ...waivers import days_left, expires_soon, names_alone

    for known in [rule.value_set for rule in policy.rules if rule.value_set is not None]:
        for problem in known.problems:
            yield '', 'not used for %s: %s' % (known.name, problem)
    if policy.untranslated:
        yield '', 'refusals are in English, not in %s: %s' % (policy.language, policy.untranslated)
    for rule in policy.rules:
        for text in _on_a_taken_id(rule):
            yield '', text
    for path in _files_without_effect(policy):
        yield '', '%s has no effect: it is empty, or other files replace all that it says' % path
    if policy.audit_until and policy.mode == 'enforce':
        yield '', '%s:%d: mode audit ended on %s' % (*policy.origins['mode'], policy.audit_until)
    if policy.mode == 'audit' and policy.failure == 'deny':
        yield '', 'mode audit admits what rules deny, but failure ' + FAILURE_DENIES
    for waiver in policy.waivers:
        place = '%s:%d: the waiver of %s ' % (waiver.origin + (in_words(waiver.rules),))
        if days_left(waiver, today()) < 0:
            yield 'have expired', place + 'expired on %s and permits nothing any more' % waiver.expires
        elif expires_soon(waiver, today()):
            yield 'expire soon', place + 'expires on %s' % waiver.expires
        for reason in _needless(policy, waiver, host):
            yield 'permit nothing that is denied', place + 'permits nothing that is denied: ' + reason
        names = names_alone(waiver)
        if names:
            hint = 'whoever defines a domain chooses its name; to name one domain only, write {uuid: ..., name: ...}'
            yield 'name domains by name', place + 'names domains by name (%s): %s' % (', '.join(names), hint)


def _needless(policy: model.Policy, waiver: model.Waiver, host: 'Optional[model.HostFacts]') -> 'Iterator[str]':
    """For each reason why rules of a waiver deny nothing here, a text; of break-glass, whose rules nobody has chosen,
    only if it is needless as a whole."""
    by_reason: 'Dict[str, List[str]]' = {}
    for rule in policy.rules:
        if rule.id in waiver.rules:
            by_reason.setdefault(_denies_nothing(rule, host), []).append(rule.id)
    denying = by_reason.pop('', [])
    if not denying or len(waiver.rules) <= _MOST_RULES:
        for reason, rules in by_reason.items():
            yield reason % in_words(rules)


def _denies_nothing(rule: model.Rule, host: 'Optional[model.HostFacts]') -> str:
    """Why a rule denies nothing, with %s for the rule; '' where it may."""
    if rule.action == 'off':
        return '%s is off'
    if rule.action == model.WARN:
        return '%s only warns'
    if host is not None:
        for condition in rule.host:
            if condition.met_by(host) is False:
                return '%%s is not about this host (%s is %s)' % (condition.fact, getattr(host, condition.fact))
    return ''


def _files_without_effect(policy: model.Policy) -> 'List[str]':
    origins = [policy.origins, *(rule.origins for rule in policy.rules), *(waiver.origins for waiver in policy.waivers)]
    used = {file for given in origins for file, _ in given.values()}
    return [path for path in policy.files if path not in used]


def _on_a_taken_id(rule: model.Rule) -> 'Iterator[str]':
    """Whether a rule of a site seems to be new, but changes a shipped rule that an upgrade brought with the same id."""
    file, line = rule.origins['id']
    given = {key for key, origin in rule.origins.items() if origin[0] == file}
    kept = [key for key in model.FINDING_KEYS if key in rule.origins and key not in given]
    if kept and given >= {'title', 'action', 'why', 'remedy'} and given & {'match', 'host'}:
        text = '%s:%d: rule %r looks new, but changes the one in %s:%d and keeps its %s'
        yield text % ((file, line, rule.id) + rule.origin + (', '.join(kept),))


def on_ignored_files(path: str) -> 'Iterator[str]':
    """Which files in the directory of a policy's drop-ins are none."""
    for ignored in find_ignored(path):
        yield '%s is ignored: %s' % (ignored, NAMING)


def on_compiled(path: str) -> 'List[str]':
    """Why the compiled form of a policy is not used, if there is one."""
    return list(filter(None, load_compiled(path)[1:]))


def on_host(policy: model.Policy, installation: 'Installation') -> 'List[str]':
    """Whether the policy in force is made from another profile than that of this host, as after an upgrade."""
    from ...policy.host_profile import difference, profile_of
    from ...policy.installation import installer

    profile = profile_of(policy)
    said = difference(profile, installation.host or '/') if installation.installed else ''
    command = said.replace('--profile', installer() + ' --profile')
    return ['%s (the policy is made of %s)' % (command, profile)] if said else []


def complain_of_unused_waivers(
    policy: model.Policy, used: 'Set[model.Origin]', complain: 'Callable[[str], None]'
) -> None:
    """Complain of waivers whose origins are not among the `used` ones."""
    for text in told(_on_unused_waivers(policy, used)):
        complain(text)


def _on_unused_waivers(policy: model.Policy, used: 'Set[model.Origin]') -> 'Iterator[Remark]':
    # The hook or the watch may use their waivers.
    of_runtime = {rule.id for rule in (*policy.rules_at(model.START), *policy.rules_at(model.RUNTIME))}
    for waiver in policy.waivers:
        if waiver.origin not in used and not of_runtime.issuperset(waiver.rules):
            text = '%s:%d: the waiver of %s permits nothing: no domain on this host has such a finding'
            yield 'permit nothing', text % (waiver.origin + (in_words(waiver.rules),))


def on_rules_of_start(policy: model.Policy, before: 'Optional[model.Policy]' = None) -> 'Iterator[str]':
    """Which rules are not judged where only definitions are.

    :param before: leave out those that this policy has, too, with the same action
    """
    known = {(rule.id, rule.action) for rule in (before.rules_at(model.START) if before is not None else ())}
    rules = [
        rule.id + ' (deny)' * (rule.action == model.DENY)
        for rule in policy.rules_at(model.START)
        if (rule.id, rule.action) not in known
    ]
    if rules:
        yield 'not judged here, because only the start of a domain shows it: %s' % in_words(rules)


def complain_of_unknown_uuids(
    policy: model.Policy, installation: 'Installation', complain: 'Callable[[str], None]'
) -> None:
    """Complain of waivers with UUIDs that no domain on this host has: a new domain with such a UUID would be waived."""
    from ...waivers import uuids_not_among
    from ..domains.domain_files import defined_uuids

    if not os.path.isdir(installation.domains) or not any(uuids_not_among(waiver, ()) for waiver in policy.waivers):
        return
    try:
        here = defined_uuids([installation.domains, installation.run])
    except GuardError:
        return  # without the states, transient domains are not known
    for text in told(_on_unknown_uuids(policy, here)):
        complain(text)


def _on_unknown_uuids(policy: model.Policy, here: 'Set[str]') -> 'Iterator[Remark]':
    from ...waivers import uuids_not_among

    for waiver in policy.waivers:
        unknown = uuids_not_among(waiver, here)
        if unknown:
            text = '%s:%d: the waiver of %s names a UUID that no domain on this host has: %s'
            yield (
                'name a UUID that no domain has',
                text % (waiver.origin + (in_words(waiver.rules), ', '.join(unknown))),
            )
