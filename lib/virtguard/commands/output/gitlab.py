# SPDX-License-Identifier: Apache-2.0
"""Findings as GitLab's report on code quality.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
GitLab shows what has the same fingerprint once.
"""

import hashlib
import json

from ... import model
from ...wording import PROGRAM, escape
from .finding_text import one_line, whole_text
from .json_array import JsonArray
from .places import Places
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ..exit_status import Tally

_SEVERITIES = {
    model.DENY: 'critical',
    model.ERROR: 'major',
    model.WARN: 'minor',
    model.UNKNOWN: 'info',
    model.WAIVED: 'info',
}


class Gitlab(VerdictFormat):
    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()
        self._issues = JsonArray()

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        return '['

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return ''.join(self._finding(file, verdict, finding) for finding in verdict.findings)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        digest = hashlib.sha256(json.dumps([self._places.path(file), error]).encode('ascii')).hexdigest()
        return self._issue(file, line, PROGRAM, one_line(error), model.ERROR, digest)

    def add(self, text: str) -> str:
        return self._issues.add(text.splitlines())

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        yield '\n]\n'

    def _finding(self, file: str, verdict: model.Verdict, finding: model.Finding) -> str:
        fingerprint = self._places.fingerprint(file, verdict, finding)
        text = whole_text(verdict, finding)
        return self._issue(file, finding.line, finding.rule.id, text, finding.status, fingerprint)

    def _issue(self, file: str, line: int, name: str, text: str, status: str, fingerprint: str) -> str:
        described = {
            'description': text,
            'check_name': name,
            'fingerprint': fingerprint,
            'severity': _SEVERITIES[status],
            'location': {'path': escape(self._places.path(file)), 'lines': {'begin': max(line, 1)}},
        }
        return json.dumps(described) + '\n'
