# SPDX-License-Identifier: Apache-2.0
"""Verdicts and rules for programs: one JSON object in each line."""

import json

from ... import model
from ...policy.show import bounds_of
from ...wording import translated
from ..language import texts_asked_for
from .output_format import OutputFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, Optional, Sequence

    from ...judging.comparison import Cause, Change, Comparison
    from ...model import Occurrence
    from .groups import Group


class JsonLines(OutputFormat):
    """One object per domain, happening or rule."""

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return json.dumps(_verdict_object(file, verdict)) + '\n'

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        return json.dumps(dict(_verdict_object(file, verdict), when=when)) + '\n'

    def failure(self, file: str, error: str, line: int = 0) -> str:
        return json.dumps({'source': file, 'decision': model.ERROR, 'error': error, 'findings': []}) + '\n'

    def comparison(self, file: str, comparison: 'Comparison') -> str:
        shown = comparison.shown()
        more: 'Dict[str, int]' = {}
        for change, number in shown:
            if number:
                more[change.finding.rule.id] = more.get(change.finding.rule.id, 0) + number
        described: 'Dict[str, Any]' = {
            'source': file,
            'domain': comparison.new.domain_name,
            'uuid': comparison.new.uuid,
            'old': comparison.old.outcome,
            'new': comparison.new.outcome,
            'causes': [_cause_object(cause) for cause in comparison.causes],
            'changes': [_change_object(change) for change, _ in shown],
        }
        if more:
            described['more'] = more
        return json.dumps(described) + '\n'

    def happening(self, occurrence: 'Occurrence', verdict: model.Verdict) -> str:
        described: 'Dict[str, Any]' = {
            'domain': verdict.domain_name,
            'uuid': verdict.uuid,
            'policy': {'name': verdict.policy.name, 'sha256': verdict.policy.sha256},
            'since': occurrence.since,
            'before': occurrence.before,
            'after': occurrence.after,
            'finding': _finding_object(occurrence.finding),
        }
        if occurrence.finding.more:
            described['more'] = occurrence.finding.more
        return json.dumps(described) + '\n'

    def group(self, group: 'Group', by_name: bool) -> 'Iterator[str]':
        head = {'rule': group.id, 'title': _told(group.title), 'status': group.status, 'count': group.count}
        yield json.dumps(head)[:-1] + ', "domains": ['
        separator = ''
        for file, name, uuid in group.domains():
            yield separator + json.dumps({'source': file, 'domain': name, 'uuid': uuid})
            separator = ', '
        yield ']}\n'

    def rules(self, rules: 'Iterable[model.Rule]') -> str:
        return ''.join(json.dumps(_rule_object(rule)) + '\n' for rule in rules)

    def waiver(self, waiver: model.Waiver, days_left: int, used_by: 'Optional[Sequence[str]]') -> str:
        described: 'Dict[str, Any]' = {
            'rules': waiver.rules,
            'domains': [{'uuid': e[0], 'name': e[1]} if isinstance(e, tuple) else e for e in waiver.domains],
            **_waiver_object(waiver),
            'days-left': days_left,
            'used-by': used_by,
        }
        return json.dumps(described) + '\n'


def _verdict_object(file: str, verdict: model.Verdict) -> 'Dict[str, Any]':
    described: 'Dict[str, Any]' = {
        'source': file,
        'domain': verdict.domain_name,
        'uuid': verdict.uuid,
        'decision': verdict.decision,
        'mode': verdict.policy.mode,
        'policy': {'name': verdict.policy.name, 'sha256': verdict.policy.sha256},
        'findings': [_finding_object(finding) for finding in verdict.findings],
    }
    more = verdict.more()
    return dict(described, more=more) if more else described


def _finding_object(finding: model.Finding) -> 'Dict[str, Any]':
    described: 'Dict[str, Any]' = {
        'rule': finding.rule.id,
        'status': finding.status,
        'path': finding.path,
        'line': finding.line,
        'evidence': finding.evidence,
        'message': _told(finding.message),
        'remedy': _told(finding.remedy),
        'reference': finding.rule.reference,
        'known-from': finding.rule.known_from,
    }
    if finding.waiver is not None:
        described['waiver'] = _waiver_object(finding.waiver)
    return described


def _waiver_object(waiver: model.Waiver) -> 'Dict[str, Any]':
    return {
        'reason': waiver.reason,
        'approved-by': waiver.approved_by,
        'expires': waiver.expires,
        'ticket': waiver.ticket,
        'defined': '%s:%d' % waiver.origin,
    }


def _change_object(change: 'Change') -> 'Dict[str, Any]':
    finding = change.finding
    return {
        'rule': finding.rule.id,
        'old': change.old.status if change.old is not None else None,
        'new': change.new.status if change.new is not None else None,
        'path': finding.path,
        'line': finding.line,
        'evidence': finding.evidence,
        'message': finding.message,
        'causes': [_cause_object(cause) for cause in change.causes],
    }


def _cause_object(cause: 'Cause') -> 'Dict[str, Any]':
    old, new = ('%s:%d' % origin if origin is not None else None for origin in (cause.old, cause.new))
    return {'what': cause.what, 'old': old, 'new': new}


def _rule_object(rule: model.Rule) -> 'Dict[str, Any]':
    return {
        'rule': rule.id,
        'title': _told(rule.title),
        'action': rule.action,
        'at': rule.at,
        'host': {condition.fact: _condition(condition) for condition in rule.host},
        'why': _told(rule.why),
        'remedy': _told(rule.remedy),
        'supported': rule.supported,
        'known-from': rule.known_from,
        'reference': rule.reference,
        'waivable': rule.waivable,
        'reason': rule.reason,
        'defined': '%s:%d' % rule.origin,
    }


def _told(text: str) -> str:
    return translated(texts_asked_for(), text)


def _condition(condition: model.HostCondition) -> 'Any':
    if condition.span is not None:
        return dict(bounds_of(condition.span))
    return {'not': condition.values} if condition.negated else condition.values
