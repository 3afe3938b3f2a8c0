# SPDX-License-Identifier: Apache-2.0
"""Findings as commands to the runner of GitHub Actions, which annotates the lines of a pull request.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from ... import model
from ...wording import PROGRAM, escape
from .finding_text import one_line, whole_text
from .places import Places
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ..exit_status import Tally

_LEVELS = {
    model.DENY: 'error',
    model.ERROR: 'error',
    model.WARN: 'warning',
    model.UNKNOWN: 'warning',
    model.WAIVED: 'notice',
}
_OF_TEXT = (('%', '%25'), ('\r', '%0D'), ('\n', '%0A'))
_OF_PROPERTIES = (*_OF_TEXT, (':', '%3A'), (',', '%2C'))


class Github(VerdictFormat):
    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return ''.join(self._finding(file, verdict, finding) for finding in verdict.findings)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        return self._command(model.ERROR, file, line, PROGRAM, one_line(error))

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        # A line that is not a command may hold one all the same, in the old spelling.
        yield ''.join(escape(line).replace('##[', '## [') + '\n' for line in lines)

    def _finding(self, file: str, verdict: model.Verdict, finding: model.Finding) -> str:
        return self._command(finding.status, file, finding.line, finding.rule.id, whole_text(verdict, finding))

    def _command(self, status: str, file: str, line: int, title: str, text: str) -> str:
        properties = [('file', escape(self._places.path(file)))] if file else []
        properties += [('line', str(line))] if line else []
        properties += [('title', title)]
        shown = ','.join('%s=%s' % (name, _replaced(value, _OF_PROPERTIES)) for name, value in properties)
        return '::%s %s::%s\n' % (_LEVELS[status], shown, _replaced(text, _OF_TEXT))


def _replaced(text: str, pairs: 'Sequence[Sequence[str]]') -> str:
    for character, written in pairs:
        text = text.replace(character, written)
    return text
