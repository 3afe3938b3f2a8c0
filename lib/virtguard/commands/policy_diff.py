# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy diff OLD NEW`: which domains another policy, or another day, judges otherwise, and why.

By OLD domains are judged today on the host as it is, by NEW on the day of --date and the release of --os: with one
policy for both, what is shown is what the passing of time, or an upgrade, changes. Each policy comes with the drop-ins
beside it, as it would be in force.
"""

import json

from .. import model, wording
from ..errors import GuardError, PolicyError
from ..host import today
from . import loading
from .comparison import Cause, Change, Comparer, Comparison
from .domain_files import defined_documents, find_documents
from .exit_status import AMISS, FINE, NOT_JUDGED
from .parallel import Judge
from .terminal import Progress, complain, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

    from ..errors import Problem
    from ..policy.installation import Layout

    Format = Union['_Text', '_JsonLines']

_DEFAULTS = ('at', 'mode', 'waivable')  # a rule or policy that does not say one of these has it all the same


def run(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge every domain twice, and print what changes."""
    old, new = _load_policies([arguments.old, arguments.new])
    needed = old.facts() | new.facts()
    hosts = loading.host(arguments.facts, needed), loading.host(arguments.facts, needed, arguments.os)
    # Only of all findings of each can be told in which they differ.
    judges = Judge(old, hosts[0], today(), None), Judge(new, hosts[1], arguments.date or today(), None)
    comparer = Comparer(old, new)
    documents = find_documents(arguments.paths) if arguments.paths else defined_documents(layout.domains)
    output: 'Format' = _JsonLines() if arguments.format == 'jsonl' else _Text()
    comparisons: 'List[Comparison]' = []
    judged = failed = 0
    progress = Progress()
    for document, part in ((found, part) for found in documents for part in found.parts()):
        try:
            if isinstance(part, GuardError):
                raise part
            before, after = (part.judged_by(judge.judge) for judge in judges)
        except GuardError as error:
            progress.clear()
            complain(document.complaint(error))
            failed += not document.is_other(error)
            continue
        judged += 1
        failed += model.ERROR in (before.decision, after.decision)
        comparison = comparer.compare(before, after)
        if comparison:
            progress.clear()
            show(output.comparison(document.source, comparison))
            comparisons.append(comparison)
        progress.show(judged)
    progress.clear()
    if arguments.paths and not judged and not failed:
        raise GuardError('there is no domain in the files given')
    show(output.summary(judged, comparisons))
    return NOT_JUDGED if failed else AMISS if comparisons else FINE


def _load_policies(names: 'Iterable[str]') -> 'List[model.Policy]':
    """Load each policy; the problems of all are reported at once."""
    policies: 'Dict[str, model.Policy]' = {}
    problems: 'List[Problem]' = []
    names = list(names)
    for name in sorted(set(names), key=names.index):
        try:
            policies[name] = loading.policy_with_drop_ins(name)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(problems, {})
    return [policies[name] for name in names]


class _Text:
    """A line for the domain, one per change, and below each where the policies differ."""

    def comparison(self, source: str, comparison: Comparison) -> str:
        old, new = comparison.old, comparison.new
        decided = old.outcome if old.outcome == new.outcome else '%s -> %s' % (old.outcome, new.outcome)
        lines = ["%s: %s '%s'" % (source, decided, new.domain)]
        lines += ['    ' + _describe(cause) for cause in comparison.causes]
        for change, more in _shown(comparison):
            finding = change.finding
            place = '%s:%d' % (source, finding.line) if finding.line else source
            text = '%s: %s [%s] %s' % (place, _statuses(change), finding.rule.id, finding.message)
            if finding.evidence and finding.status != model.UNKNOWN:
                text += ': ' + finding.evidence
            lines += [text] + ['    ' + _describe(cause) for cause in change.causes]
            if more:
                lines.append('%s: %s [%s] and %d more' % (source, _statuses(change), finding.rule.id, more))
        return ''.join(wording.escape(line) + '\n' for line in lines)

    def summary(self, judged: int, comparisons: 'List[Comparison]') -> str:
        refused = [(c.old.outcome == model.DENY, c.new.outcome == model.DENY) for c in comparisons]
        counts = ((refused.count((False, True)), 'denied'), (refused.count((True, False)), 'no longer denied'))
        text = '%s: %d changed' % (wording.counted(judged, 'domain'), len(comparisons))
        return ''.join([text] + [', %d %s' % pair for pair in counts if pair[0]]) + '\n'


def _shown(comparison: Comparison) -> 'List[Tuple[Change, int]]':
    """As many changes of one kind as findings of one kind are shown; with the last one, how many more there are."""
    kinds: 'Dict[Tuple[str, str], List[Change]]' = {}
    for change in comparison.changes:
        kinds.setdefault((change.finding.rule.id, _statuses(change)), []).append(change)
    limit = model.MAX_FINDINGS_PER_RULE
    more = {id(changes[limit - 1]): len(changes) - limit for changes in kinds.values() if len(changes) > limit}
    shown = {id(change) for changes in kinds.values() for change in changes[:limit]}
    return [(change, more.get(id(change), 0)) for change in comparison.changes if id(change) in shown]


def _statuses(change: Change) -> str:
    return ' -> '.join('none' if finding is None else finding.status for finding in (change.old, change.new))


def _describe(cause: Cause) -> str:
    places = [_place(cause, origin) for origin in (cause.old, cause.new)]
    return '%s: %s' % (cause.what, ' -> '.join(places if places[0] != places[1] else places[:1]))


def _place(cause: Cause, origin: 'Optional[model.Origin]') -> str:
    if origin is None:
        return 'default' if cause.what in _DEFAULTS else 'none'
    return '%s:%d' % origin


class _JsonLines:
    """One object per domain that changes."""

    def comparison(self, source: str, comparison: Comparison) -> str:
        shown = _shown(comparison)
        more: 'Dict[str, int]' = {}
        for change, number in shown:
            if number:
                more[change.finding.rule.id] = more.get(change.finding.rule.id, 0) + number
        document: 'Dict[str, Any]' = {
            'source': source,
            'domain': comparison.new.domain,
            'uuid': comparison.new.uuid,
            'old': comparison.old.outcome,
            'new': comparison.new.outcome,
            'causes': [_cause_object(cause) for cause in comparison.causes],
            'changes': [_change_object(change) for change, _ in shown],
        }
        if more:
            document['more'] = more
        return json.dumps(document) + '\n'

    def summary(self, judged: int, comparisons: 'List[Comparison]') -> str:
        return ''


def _change_object(change: Change) -> 'Dict[str, Any]':
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


def _cause_object(cause: Cause) -> 'Dict[str, Any]':
    old, new = ('%s:%d' % origin if origin is not None else None for origin in (cause.old, cause.new))
    return {'what': cause.what, 'old': old, 'new': new}
