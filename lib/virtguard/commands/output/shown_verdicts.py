# SPDX-License-Identifier: Apache-2.0
"""What `check` and `scan` tell of verdicts: each one, only those that refuse, one line for each rule, or nothing."""

from ... import model, wording
from ...errors import GuardError
from ..terminal import complain, wants_colour
from .groups import Groups
from .output_format import OutputFormat
from .outputs import Outputs, chosen_outputs
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Collection, Iterator, Sequence

    from ..exit_status import Tally

_REFUSING = (model.DENY, model.ERROR)


class _ByRule(VerdictFormat):
    """The same domains by the rules that find something in them, in another format.

    :param by_name: whether people know the domains by their names, not by the files that they named
    :param statuses: the findings to count; by default all
    """

    def __init__(self, output: 'OutputFormat', by_name: bool, statuses: 'Collection[str]') -> None:
        super().__init__(wants_colour(), by_name)
        self._output = output
        self._by_name = by_name
        self._statuses = statuses
        self._groups = Groups()

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return self._groups.describe(file, verdict, self._statuses)

    def add(self, text: str) -> str:
        self._groups.add(text)
        return ''

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        for group in self._groups.in_order():
            yield from self._output.group(group, self._by_name)
        yield self._output.summary(*lines)


class ShownVerdicts(Outputs):
    """
    :param arguments: with the options `format`, `output`, `denied`, `quiet` and `by`
    :param by_name: whether people know the domains by their names, not by the files that they named
    :raises GuardError: the options contradict each other
    """

    def __init__(self, arguments: 'argparse.Namespace', by_name: bool) -> None:
        own, files = chosen_outputs(arguments, by_name)
        self.is_quiet = bool(arguments.quiet)
        self._only_denied = bool(arguments.denied)
        if arguments.by and not self.is_quiet:
            if not isinstance(own, OutputFormat):
                raise GuardError('--by rule: not in the format %s' % arguments.format, 'text and jsonl have it')
            own = _ByRule(own, by_name, _REFUSING if self._only_denied else ())
        super().__init__(None if self.is_quiet else own, files, (model.ADMISSION,))

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return super().verdict(file, verdict) if self._is_wanted(verdict) else ''

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        return super().next_start(file, verdict, when) if self._is_wanted(verdict) else ''

    def _is_wanted(self, verdict: model.Verdict) -> bool:
        return not self._only_denied or verdict.decision != model.ADMIT

    def note(self, text: str) -> None:
        """Tell on standard error what is not an error."""
        if not self.is_quiet:
            complain(text)

    def remark(self, text: str) -> None:
        self.note('%s: note: %s' % (wording.PROGRAM, text))
