# SPDX-License-Identifier: Apache-2.0
"""Verdicts and rules for people, as lines of text."""

from ... import model, waivers, wording
from ..language import texts as texts_of_user
from .output_format import OutputFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional, Sequence

    from ...judging.comparison import Cause, Comparison
    from ...model import Occurrence
    from .groups import Group

_COLOURS = {
    model.DENY: '31',
    model.ERROR: '31',
    model.WARN: '33',
    model.UNKNOWN: '33',
    model.WAIVED: '33',
    model.ADMIT: '32',
}
_WIDTH = 96  # of a line with names
_DEFAULTS = ('at', 'mode', 'waivable')  # keys that have a default


class Text(OutputFormat):
    """One line per finding, `FILE:LINE: status [rule] ...`, with the remedy below each denial."""

    def __init__(self, colour: bool, show_admitted: bool, texts: 'Optional[wording.Texts]' = None) -> None:
        """
        :param texts: of the language to tell it in; by default that of the user
        """
        super().__init__(colour, show_admitted)
        self._texts = texts_of_user() if texts is None else texts

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        lines = self._findings(file, verdict)
        if self._show_admitted and verdict.decision == model.ADMIT:
            lines.insert(0, self._domain(file, model.ADMIT, verdict.domain_name))
        return ''.join(line + '\n' for line in lines)

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        head = '%s (%s)' % (self._domain(file, verdict.decision, verdict.domain_name), ', '.join(when))
        return ''.join(line + '\n' for line in [head] + self._findings(file, verdict))

    def comparison(self, file: str, comparison: 'Comparison') -> str:
        old, new = comparison.old, comparison.new
        decided = old.outcome if old.outcome == new.outcome else '%s -> %s' % (old.outcome, new.outcome)
        lines = ["%s: %s '%s'" % (file, decided, new.domain_name)]
        lines += ['    ' + _cause(cause) for cause in comparison.causes]
        for change, more in comparison.shown():
            finding = change.finding
            place = '%s:%d' % (file, finding.line) if finding.line else file
            text = '%s: %s [%s] %s' % (place, change.statuses, finding.rule.id, finding.message)
            if finding.evidence and finding.status != model.UNKNOWN:
                text += ': ' + finding.evidence
            lines += [text] + ['    ' + _cause(cause) for cause in change.causes]
            if more:
                lines.append('%s: %s [%s] and %d more' % (file, change.statuses, finding.rule.id, more))
        return ''.join(wording.escape(line) + '\n' for line in lines)

    def happening(self, occurrence: 'Occurrence', verdict: model.Verdict) -> str:
        waived = _waived(occurrence.finding, verdict.today, {})  # in the language of the record, as the rest of it
        return '%s %s%s\n' % (occurrence.since, wording.happening(occurrence, verdict), waived)

    def group(self, group: 'Group', by_name: bool) -> 'Iterator[str]':
        told = (
            self._status(group.status),
            group.id,
            wording.escape(self._told(group.title)),
            self._told(wording.counted(group.count, 'domain')),
        )
        yield '%s [%s] %s: %s' % told
        separator, width = '\n    ', 0
        for file, name, _ in group.domains():
            shown = wording.escape(name if by_name else file)
            if width and width + len(shown) > _WIDTH:
                separator, width = ',\n    ', 0
            yield separator + shown
            separator, width = ', ', width + len(shown) + 2
        yield '\n'

    def rules(self, rules: 'Iterable[model.Rule]') -> str:
        rules = list(rules)
        width = max(len(rule.id) for rule in rules)
        lines = ('%-*s  %-4s  %s' % (width, rule.id, rule.action, self._told(rule.title)) for rule in rules)
        return ''.join(wording.escape(line) + '\n' for line in lines)

    def waiver(self, waiver: model.Waiver, days_left: int, used_by: 'Optional[Sequence[str]]') -> str:
        names = [entry if isinstance(entry, str) else '%s (%s)' % (entry[1], entry[0]) for entry in waiver.domains]
        holds = wording.counted(days_left, 'day') + ' left' if days_left else 'expires today'
        holds = 'expired' if days_left < 0 else holds
        text = '%s:%d: %s: %s for %s' % (waiver.origin + (holds, ', '.join(waiver.rules), ', '.join(names)))
        text += '; approved by %s until %s' % (waiver.approved_by, waiver.expires)
        text += '; %s: %s' % (waiver.ticket, waiver.reason) if waiver.ticket else ': ' + waiver.reason
        if days_left >= 0 and used_by is not None:
            text += '; used by ' + ', '.join(used_by) if used_by else '; unused'
        return wording.escape(text) + '\n'

    def summary(self, *lines: str) -> str:
        return ''.join(wording.escape(self._told(line)) + '\n' for line in lines)

    def _domain(self, file: str, decision: str, name: str) -> str:
        return "%s: %s '%s'" % (wording.escape(file), self._status(decision), wording.escape(name))

    def _findings(self, file: str, verdict: model.Verdict) -> 'List[str]':
        lines = []
        for finding in verdict.findings:
            lines.append(self._finding(file, finding, verdict.today))
            if finding.more:
                more = self._filled('and %d more', finding.more)
                lines.append(
                    '%s: %s [%s] %s' % (wording.escape(file), self._status(finding.status), finding.rule.id, more)
                )
        return lines

    def _finding(self, file: str, finding: model.Finding, today: str) -> str:
        place = '%s:%d' % (wording.escape(file), finding.line) if finding.line else wording.escape(file)
        text = '%s: %s [%s] %s' % (
            place,
            self._status(finding.status),
            finding.rule.id,
            wording.escape(self._told(finding.message)),
        )
        if finding.evidence and finding.status != model.UNKNOWN:
            text += ': ' + wording.escape(finding.evidence)
        if finding.status == model.DENY:
            text += '\n    ' + self._filled('remedy: %s', wording.escape(self._told(finding.remedy)))
        return text + _waived(finding, today, self._texts)

    def _told(self, text: str) -> str:
        return wording.translated(self._texts, text)

    def _filled(self, phrase: str, *values: object) -> str:
        return wording.fill(self._texts, phrase, *values)

    def _status(self, status: str) -> str:
        return '\033[%sm%s\033[0m' % (_COLOURS[status], status) if self._colour else status


def _waived(finding: model.Finding, today: str, texts: 'wording.Texts') -> str:
    """The line below a finding that is waived, else ''."""
    if finding.status != model.WAIVED or finding.waiver is None:
        return ''
    return '\n    ' + wording.fill(
        texts, 'waived: %s', wording.escape(wording.translated(texts, waivers.describe(finding.waiver, today)))
    )


def _cause(cause: 'Cause') -> str:
    places = [_origin_text(cause, origin) for origin in (cause.old, cause.new)]
    return '%s: %s' % (cause.what, ' -> '.join(places if places[0] != places[1] else places[:1]))


def _origin_text(cause: 'Cause', origin: 'Optional[model.Origin]') -> str:
    if origin is None:
        return 'default' if cause.what in _DEFAULTS else 'none'
    return '%s:%d' % origin
