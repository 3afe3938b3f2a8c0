# SPDX-License-Identifier: Apache-2.0
"""What `check` and `scan` print of the verdicts: each one, only those that refuse, one line for each rule, or nothing.

The text about a domain is made in the process that judges it (`verdict`, `next_start`, `failure`), and is printed in
the one that was called (`begin`, `add`, `end`).
"""

from ... import model, wording
from ..terminal import complain, show, wants_colour
from .formats import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Optional, Sequence

    from .groups import Groups

_REFUSING = (model.DENY, model.ERROR)


class ShownVerdicts:
    """
    :param arguments: with the options `format`, `denied`, `quiet` and `by`
    :param by_name: whether people know the domains by their names, not by the files that they named
    """

    def __init__(self, arguments: 'argparse.Namespace', by_name: bool) -> None:
        self.is_quiet = bool(arguments.quiet)
        self._by_name = by_name
        self._only_denied = bool(arguments.denied)
        self._output = FORMATS[arguments.format](wants_colour(), show_admitted=by_name)
        self._groups: 'Optional[Groups]' = None
        if arguments.by and not self.is_quiet:
            from .groups import Groups

            self._groups = Groups()

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        if not self._is_wanted(verdict):
            return ''
        return self._output.verdict(file, verdict) if self._groups is None else self._grouped(file, verdict)

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        if not self._is_wanted(verdict):
            return ''
        return self._output.next_start(file, verdict, when) if self._groups is None else self._grouped(file, verdict)

    def failure(self, file: str, error: str) -> str:
        return '' if self.is_quiet or self._groups is not None else self._output.failure(file, error)

    def _is_wanted(self, verdict: model.Verdict) -> bool:
        return not self.is_quiet and (not self._only_denied or verdict.decision != model.ADMIT)

    def _grouped(self, file: str, verdict: model.Verdict) -> str:
        assert self._groups is not None
        return self._groups.describe(file, verdict, _REFUSING if self._only_denied else ())

    def begin(self) -> None:
        if not self.is_quiet:
            show(self._output.begin())

    def add(self, text: str) -> None:
        """Take the text about one domain."""
        if self._groups is not None:
            self._groups.add(text)
        elif text:
            show(text)

    def note(self, text: str) -> None:
        """Tell on standard error what is not an error."""
        if not self.is_quiet:
            complain(text)

    def remark(self, text: str) -> None:
        self.note('%s: note: %s' % (wording.PROGRAM, text))

    def end(self, *lines: str) -> None:
        """Print what is left, and lines that tell people how much was judged."""
        if self._groups is not None:
            for group in self._groups.in_order():
                for text in self._output.group(group, self._by_name):
                    show(text)
        if not self.is_quiet:
            show(self._output.summary(*lines))
