# SPDX-License-Identifier: Apache-2.0
"""evaluate(policy, subject, host, today) -> Verdict. Pure: what it must know of the host arrives as an argument."""

from functools import partial

from lxml import etree

from .. import model
from ..findings import Paths, find
from ..match.check import compile_match
from ..match.compared import compared_in
from ..waivers import Waivers
from .subject import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional

    from ..findings import Node


def evaluate(
    policy: model.Policy,
    subject: Subject,
    host: model.HostFacts,
    today: str,
    rules: 'Optional[Iterable[model.Rule]]' = None,
    limit: 'Optional[int]' = model.MAX_FINDINGS_PER_RULE,
) -> model.Verdict:
    """Judge one domain by every rule of admission. A rule that fails becomes a finding of status `error`, never a pass.

    :param today: YYYY-MM-DD by the host's calendar; waivers expire
    :param rules: those of the rules in use that may find something, where that is known; in the policy's order
    :param limit: findings of one rule and one status, beyond which they are only counted (see Finding.more)
    """
    findings: 'List[model.Finding]' = []
    paths = Paths()
    select = partial(_selected, subject)
    for rule in policy.rules_at(model.ADMISSION) if rules is None else rules:
        try:
            findings += find(rule, select, host, paths, compared_in(rule), limit)
        except etree.XPathError as error:
            message = model.Phrase('the rule could not be evaluated: %s', str(error))
            findings.append(model.Finding(rule, model.ERROR, '/domain', 0, '', message))
    if policy.waivers:
        waivers = Waivers(policy.waivers, today)
        findings = [waivers.apply(finding, subject.name, subject.uuid) for finding in findings]
    return model.Verdict(subject.name, subject.uuid, policy, findings, today)


def _selected(subject: Subject, rule: model.Rule) -> 'List[Node]':
    result = compile_match(rule.match or '')(subject.root)
    if isinstance(result, list):
        return result
    return [subject.root] if result else []
