# SPDX-License-Identifier: Apache-2.0
"""A summary in Markdown, as GitHub shows that of a job ($GITHUB_STEP_SUMMARY, at most 1 MiB) and comments."""

import json
import re

from ... import model
from ..language import filled, texts, translated
from .finding_text import followed, one_line, seen
from .places import Places
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Tuple

    from ..exit_status import Tally

_ORDER = (model.ERROR, model.DENY, model.WARN, model.UNKNOWN, model.WAIVED)
_REFUSING = (model.DENY, model.ERROR)
_NAMES, _LONGEST_NAME = 20, 64  # of domains for each rule; characters
_DETAILS = 256 << 10  # characters
_SPECIAL = re.compile(r'([\\`*_{}\[\]<>()#+!|~&$@]|(?<=www)\.|:(?=//))')


class Markdown(VerdictFormat):
    """How many domains are denied, by which rules, and, as far as there is room, what was found in which."""

    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()
        self._policy = ''
        self._rules: 'Dict[Tuple[str, str], List[str]]' = {}
        self._counts: 'Dict[Tuple[str, str], int]' = {}
        self._details: 'List[str]' = []
        self._room = _DETAILS
        self._left_out = 0

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        self._policy = policy.name
        return ''

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        if not verdict.findings:
            return ''
        found = list(dict.fromkeys((finding.status, finding.rule.id) for finding in verdict.findings))
        refusing = [finding for finding in verdict.findings if finding.status in _REFUSING]
        details = [self._detail(file, verdict, finding) for finding in refusing]
        name = _plain(verdict.domain_name[:_LONGEST_NAME]) or self._place(file, 0)
        return json.dumps([name, found, '- **%s**\n%s' % (name, ''.join(details)) if details else '']) + '\n'

    def failure(self, file: str, error: str, line: int = 0) -> str:
        place = '%s: ' % self._place(file, line) if file else ''
        return json.dumps([_plain(file), [], '- %s%s\n' % (place, filled('not judged: %s', _plain(error)))]) + '\n'

    def add(self, text: str) -> str:
        for line in text.splitlines():
            name, found, details = json.loads(line)
            for status, rule in found:
                names = self._rules.setdefault((status, rule), [])
                self._counts[status, rule] = self._counts.get((status, rule), 0) + 1
                if len(names) < _NAMES:
                    names.append(name)
            if len(details) <= self._room:
                self._details.append(details)
                self._room -= len(details)
            elif details:
                self._left_out += 1
        return ''

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        yield '### %s\n\n' % filled('virt-guard, policy %s', _plain(self._policy))
        yield ''.join(_plain(translated(line)) + '\n' for line in lines)
        if self._rules:
            head = ' | '.join(map(translated, ('Rule', 'Status', 'Domains', 'Which')))
            yield '\n| %s |\n|---|---|---:|---|\n' % head
        for status, rule in sorted(self._rules, key=lambda key: (_ORDER.index(key[0]), -self._counts[key], key[1])):
            count, names = self._counts[status, rule], self._rules[status, rule]
            which = ', '.join(names)
            if count > len(names):
                which = filled('%s, and %d more', which, count - len(names))
            yield '| %s | %s | %d | %s |\n' % (rule, status, count, which)
        if any(self._details):
            yield '\n#### %s\n\n' % translated('Denied or not judged')
            yield from self._details
        if self._left_out:
            yield '- %s\n' % filled('and %d more, for which there is no room here', self._left_out)

    def _detail(self, file: str, verdict: model.Verdict, finding: model.Finding) -> str:
        told = (_plain(seen(finding, texts())), _plain(followed(verdict, finding, texts())))
        return '  - %s\n' % filled('%s in %s: %s; %s', finding.rule.id, self._place(file, finding.line), *told)

    def _place(self, file: str, line: int) -> str:
        path = _plain(self._places.path(file))
        return '%s:%d' % (path, line) if line else path


def _plain(text: str) -> str:
    """A text that is shown as it is: without links, tags and cells of a table."""
    return _SPECIAL.sub(r'\\\1', one_line(text))
