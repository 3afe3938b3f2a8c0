# SPDX-License-Identifier: Apache-2.0
"""What a format of verdicts must be able to express. Formats do not print: they return text.

The text about a domain is made in the process that judges it, so it must not depend on the domains before it; the
process that was called puts the texts together. Memory must not grow with their number: what has to stand before them
and is known only after them waits for `end`, and they wait in a Spool.
"""

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ...model import Policy, Rule, Verdict
    from ..exit_status import Tally


class VerdictFormat(ABC):
    """
    :param colour: whether the reader sees colours
    :param show_admitted: whether to mention domains without findings, where a format leaves a choice
    """

    one_document = False  # whether the text is of no use without its end

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        self._colour = colour
        self._show_admitted = show_admitted

    def begin(self, policy: 'Policy', rules: 'Sequence[Rule]') -> str:
        """The text before everything else; called before any domain is judged.

        :param rules: those of the policy by which the domains are judged
        """
        return ''

    @abstractmethod
    def verdict(self, file: str, verdict: 'Verdict') -> str:
        """The verdict on a domain; `file` is the name of the file that has it."""

    def next_start(self, file: str, verdict: 'Verdict', when: 'Sequence[str]') -> str:
        """The verdict at the next start of a domain; `when` says why there is one: `running`, `autostart`."""
        return self.verdict(file, verdict)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        """A domain that could not be judged, or, where `file` is '', why nothing more was judged. The reason also goes
        to standard error, in every format. `line` is 0 where it is not known."""
        return ''

    def add(self, text: str) -> str:
        """What to write now that the texts on some more domains are there."""
        return text

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        """The text after everything else, in pieces.

        :param tally: how many domains were judged
        :param lines: tell people how much was judged
        """
        return iter(())
