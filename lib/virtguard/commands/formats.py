# SPDX-License-Identifier: Apache-2.0
"""Verdicts and rules for the command's output: text for people, JSON lines for programs. Prints nothing."""

import json

from .. import model, wording
from ..policy import waivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence

    from ..model import Occurrence

_COLOURS = {
    model.DENY: '31',
    model.ERROR: '31',
    model.WARN: '33',
    model.UNKNOWN: '33',
    model.WAIVED: '33',
    model.ADMIT: '32',
}


class Text:
    """One line per finding, `FILE:LINE: status [rule] ...`, with the remedy below what denies."""

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        self._colour = colour
        self._show_admitted = show_admitted

    def verdict(self, source: str, verdict: model.Verdict) -> str:
        lines = self._findings(source, verdict)
        if self._show_admitted and verdict.decision == model.ADMIT:
            lines.insert(0, self._domain(source, model.ADMIT, verdict.domain))
        return ''.join(line + '\n' for line in lines)

    def next_start(self, source: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        """The verdict at the next start of a domain; `when` says why there is one: `running`, `autostart`."""
        head = '%s (%s)' % (self._domain(source, verdict.decision, verdict.domain), ', '.join(when))
        return ''.join(line + '\n' for line in [head] + self._findings(source, verdict))

    def _domain(self, source: str, decision: str, name: str) -> str:
        return "%s: %s '%s'" % (wording.escape(source), self._status(decision), wording.escape(name))

    def failure(self, source: str, error: str) -> str:
        return ''  # an error goes to standard error, whatever the format

    def summary(self, admitted: int, denied: int, failed: int, skipped: int = 0) -> str:
        """How many domains were judged, and how many documents and files of other kinds were not."""
        counts = [(admitted, 'admitted'), (denied, 'denied'), (failed, 'not judged')]
        shown = ', '.join('%d %s' % pair for pair in counts if pair[0])
        total = admitted + denied + failed
        others = '; %s skipped' % wording.counted(skipped, 'other file') if skipped else ''
        return '%s%s%s\n' % (wording.counted(total, 'domain'), ': ' + shown if shown else '', others)

    def _findings(self, source: str, verdict: model.Verdict) -> 'List[str]':
        lines = []
        for finding in verdict.findings:
            lines.append(self._finding(source, finding, verdict.today))
            if finding.more:
                told = (wording.escape(source), self._status(finding.status), finding.rule.id, wording.others(finding))
                lines.append('%s: %s [%s] %s' % told)
        return lines

    def _finding(self, source: str, finding: model.Finding, today: str) -> str:
        place = '%s:%d' % (wording.escape(source), finding.line) if finding.line else wording.escape(source)
        text = '%s: %s [%s] %s' % (
            place,
            self._status(finding.status),
            finding.rule.id,
            wording.escape(finding.message),
        )
        if finding.evidence and finding.status != model.UNKNOWN:
            text += ': ' + wording.escape(finding.evidence)
        if finding.status == model.DENY:
            text += '\n    remedy: ' + wording.escape(finding.remedy)
        return text + _waived(finding, today)

    def _status(self, status: str) -> str:
        return '\033[%sm%s\033[0m' % (_COLOURS[status], status) if self._colour else status


def _waived(finding: model.Finding, today: str) -> str:
    """A line to go below a finding that is waived."""
    if finding.status != model.WAIVED or finding.waiver is None:
        return ''
    return '\n    waived: ' + wording.escape(waivers.describe(finding.waiver, today))


class JsonLines:
    """One object per document."""

    def verdict(self, source: str, verdict: model.Verdict) -> str:
        return json.dumps(_verdict_object(source, verdict)) + '\n'

    def next_start(self, source: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        return json.dumps(dict(_verdict_object(source, verdict), when=when)) + '\n'

    def failure(self, source: str, error: str) -> str:
        return json.dumps({'source': source, 'decision': model.ERROR, 'error': error, 'findings': []}) + '\n'

    def summary(self, admitted: int, denied: int, failed: int, skipped: int = 0) -> str:
        return ''


def _verdict_object(source: str, verdict: model.Verdict) -> 'Dict[str, Any]':
    described: 'Dict[str, Any]' = {
        'source': source,
        'domain': verdict.domain,
        'uuid': verdict.uuid,
        'decision': verdict.decision,
        'mode': verdict.policy.mode,
        'policy': {'name': verdict.policy.name, 'sha256': verdict.policy.sha256},
        'findings': [_finding_object(finding) for finding in verdict.findings],
    }
    more = verdict.more()
    return dict(described, more=more) if more else described


def happening_line(occurrence: 'Occurrence', verdict: model.Verdict) -> str:
    """One thing that happened to a running domain, or ('') to the host, for people."""
    waived = _waived(occurrence.finding, verdict.today)
    return '%s %s%s\n' % (occurrence.since, wording.happening(occurrence, verdict), waived)


def happening_object(occurrence: 'Occurrence', verdict: model.Verdict) -> str:
    """The same for programs."""
    document: 'Dict[str, Any]' = {
        'domain': verdict.domain,
        'uuid': verdict.uuid,
        'policy': {'name': verdict.policy.name, 'sha256': verdict.policy.sha256},
        'since': occurrence.since,
        'before': occurrence.before,
        'after': occurrence.after,
        'finding': _finding_object(occurrence.finding),
    }
    if occurrence.finding.more:
        document['more'] = occurrence.finding.more
    return json.dumps(document) + '\n'


def _finding_object(finding: model.Finding) -> 'Dict[str, Any]':
    described: 'Dict[str, Any]' = {
        'rule': finding.rule.id,
        'status': finding.status,
        'path': finding.path,
        'line': finding.line,
        'evidence': finding.evidence,
        'message': finding.message,
        'remedy': finding.remedy,
        'reference': finding.rule.reference,
        'known-from': finding.rule.known_from,
    }
    if finding.waiver is not None:
        waiver = finding.waiver
        described['waiver'] = {
            'reason': waiver.reason,
            'approved-by': waiver.approved_by,
            'expires': waiver.expires,
            'ticket': waiver.ticket,
            'defined': '%s:%d' % waiver.origin,
        }
    return described


def rule_object(rule: model.Rule) -> str:
    """A rule for programs."""
    document: 'Dict[str, Any]' = {
        'rule': rule.id,
        'title': rule.title,
        'action': rule.action,
        'at': rule.at,
        'host': {condition.fact: _condition(condition) for condition in rule.host},
        'why': rule.why,
        'remedy': rule.remedy,
        'supported': rule.supported,
        'known-from': rule.known_from,
        'reference': rule.reference,
        'waivable': rule.waivable,
        'reason': rule.reason,
        'defined': '%s:%d' % rule.origin,
    }
    return json.dumps(document) + '\n'


def _condition(condition: model.HostCondition) -> 'Any':
    if condition.span is not None:
        return dict(value.split() for value in condition.values)
    return {'not': condition.values} if condition.negated else condition.values
