# SPDX-License-Identifier: Apache-2.0
"""`virt-guard explain --domain DOMAIN`: what is found in the definition of a domain of this host, and what to do about
it: the remedy of each finding, or the command that permits it for a while."""

from .. import model, waivers, wording
from ..errors import suggest
from ..host import today
from . import loading
from .domains.domain_files import DomainFile
from .domains.host_domains import HostDomains
from .exit_status import NOT_JUDGED, Tally
from .language import filled, translated
from .output.text import Text
from .policies.rules import in_rows
from .terminal import complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Collection, Dict, Iterator, List

    from ..policy.installation import Installation


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge the domain as its next start would be judged, and print what follows from it. While the policy is broken,
    print what is found in it by what can be read of that."""
    from ..judging.judge import Judge
    from .domains.parallel import judge_all

    policy, is_whole = loading.policy_to_show(arguments.policy, installation)
    known = {rule.id for rule in policy.rules}
    for id in arguments.rules:
        if id not in known:
            complain('%s: there is no rule %r (%s)' % (wording.PROGRAM, id, suggest(id, known)))
            return NOT_JUDGED
    domain = HostDomains(installation).require(arguments.domain)
    judge = Judge(policy, loading.host(None, policy.needed_facts()), today())
    output = _Explanation(arguments.rules, bool(domain.status), bool(domain.definition), is_whole)
    tally = Tally()
    for outcome in judge_all(judge, output, [DomainFile(domain.definition or domain.status, True)]):
        for complaint in outcome.complaints:
            complain(complaint)
        show(outcome.output)
        for decision in outcome.decisions:
            tally.add(decision)
    return tally.exit_status if is_whole else NOT_JUDGED


_MEND = 'What is shown is not a verdict: the policy is broken. What to mend in it: virt-guard policy check'


class _Explanation(Text):
    """
    :param rules: those to explain, by default all
    :param is_whole: whether the policy can be used, so that its verdict is that of the next start
    """

    def __init__(self, rules: 'Collection[str]', runs: bool, is_defined: bool, is_whole: bool) -> None:
        super().__init__(wants_colour(), show_admitted=True)
        self._rules = rules
        self._runs = runs
        self._is_defined = is_defined
        self._is_whole = is_whole

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        by_rule: 'Dict[str, List[model.Finding]]' = {}
        for finding in verdict.findings:
            if not self._rules or finding.rule.id in self._rules:
                by_rule.setdefault(finding.rule.id, []).append(finding)
        parts = [''.join(line + '\n' for line in self._head(file, verdict))]
        parts += [self._rule(file, findings, verdict.today) for findings in by_rule.values()]
        if not by_rule:
            nothing = 'Nothing of these rules is found in it.' if self._rules else 'Nothing is found in it.'
            parts.append(translated(nothing) + '\n')
        advice = _what_to_type(verdict, list(by_rule)) if self._is_whole else [translated(_MEND)]
        parts.append(''.join(line + '\n' for line in advice))
        return '\n'.join(part for part in parts if part)

    def _head(self, file: str, verdict: model.Verdict) -> 'Iterator[str]':
        decision = verdict.decision if self._is_whole else model.ERROR
        yield self._domain(file, decision, verdict.domain_name)
        policy = filled("policy '%s', mode %s", wording.escape(verdict.policy.name), verdict.policy.mode)
        if not self._is_defined:
            yield filled('%s; it has no definition, so this is about what runs', policy)
        elif self._runs:
            yield filled('%s; it runs, and this is about its definition, which its next start takes', policy)
        else:
            yield policy

    def _rule(self, file: str, findings: 'List[model.Finding]', today: str) -> str:
        rule, rows = findings[0].rule, []
        for finding in findings:
            place = '%s:%d' % (file, finding.line) if finding.line else translated('this host')
            rows += [('at', place), ('found', finding.evidence)]
            if finding.more:
                rows.append(('', filled('and %d more', finding.more)))
        rows.append(('why', translated(rule.why)))
        remedies = dict.fromkeys(finding.remedy for finding in findings)
        rows += [('remedy', translated(remedy)) for remedy in remedies]
        rows.append(('waivable', translated('yes' if rule.waivable else 'no')))
        granted = dict.fromkeys(f.waiver for f in findings if f.status == model.WAIVED and f.waiver is not None)
        rows += [('waived', translated(waivers.describe(waiver, today))) for waiver in granted]
        statuses = ', '.join(self._status(status) for status in dict.fromkeys(f.status for f in findings))
        head = '%s [%s] %s\n' % (statuses, rule.id, wording.escape(translated(findings[0].message)))
        return head + in_rows(rows)


def _what_to_type(verdict: model.Verdict, ids: 'List[str]') -> 'Iterator[str]':
    # A start needs a waiver of all that refuses it, whatever was asked for.
    every = verdict.rule_ids(model.DENY)
    waivable = {finding.rule.id: finding.rule.waivable for finding in verdict.findings}
    strict = [id for id in every if not waivable[id]]
    denied = [id for id in every if id in ids]
    if denied and strict:
        yield filled('No waiver permits %s.', ', '.join(strict))
    elif denied:
        yield translated('To permit it for a while:')
        yield '  virt-guard waiver add %s %s --until YYYY-MM-DD --reason TEXT' % (
            wording.word_for(verdict),
            ' '.join(every),
        )
    if ids:
        yield translated('More about this rule:' if len(ids) == 1 else 'More about these rules:')
        yield '  virt-guard explain %s' % ' '.join(ids)
