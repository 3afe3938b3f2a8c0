# SPDX-License-Identifier: Apache-2.0
"""Verdicts for programs, as one JSON document: what JsonLines tells of each domain, and how many there were."""

import json

from ... import __version__, model
from .json_array import JsonArray
from .json_lines import JsonLines
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ..exit_status import Tally


class JsonDocument(VerdictFormat):
    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._lines = JsonLines(colour, show_admitted)
        self._domains = JsonArray()

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        known = {'name': policy.name, 'sha256': policy.sha256, 'mode': policy.mode}
        return json.dumps({'version': __version__, 'policy': known})[:-1] + ', "domains": ['

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return self._lines.verdict(file, verdict)

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        return self._lines.next_start(file, verdict, when)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        return self._lines.failure(file, error)

    def add(self, text: str) -> str:
        return self._domains.add(text.splitlines())

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        yield '\n], "counts": %s}\n' % json.dumps(tally.counts())
