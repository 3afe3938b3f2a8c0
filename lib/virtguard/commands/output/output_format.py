# SPDX-License-Identifier: Apache-2.0
"""What each format of the command's output must be able to express. Formats do not print: they return text.

The text about a domain is made in the process that judges it, so it must not depend on the domains before it. A format
that is one document writes a first element in `begin`, a comma before each further one, and the end in `summary`. Every
command that prints verdicts or rules offers every format.
"""

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Optional, Sequence

    from ... import model
    from ...judging.comparison import Comparison
    from .groups import Group


class OutputFormat(ABC):
    """
    :param colour: whether the reader sees colours
    :param show_admitted: whether to mention domains without findings
    """

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        self._colour = colour
        self._show_admitted = show_admitted

    def begin(self) -> str:
        """The text before everything else."""
        return ''

    @abstractmethod
    def verdict(self, file: str, verdict: 'model.Verdict') -> str:
        """The verdict on a domain; `file` is the name of the file that has it."""

    @abstractmethod
    def next_start(self, file: str, verdict: 'model.Verdict', when: 'Sequence[str]') -> str:
        """The verdict at the next start of a domain; `when` says why there is one: `running`, `autostart`."""

    def failure(self, file: str, error: str) -> str:
        """A domain that could not be judged. The reason also goes to standard error, in every format."""
        return ''

    @abstractmethod
    def comparison(self, file: str, comparison: 'Comparison') -> str:
        """The differences between two verdicts on a domain."""

    @abstractmethod
    def happening(self, occurrence: 'model.Occurrence', verdict: 'model.Verdict') -> str:
        """One thing that happened to a running domain, or, where the verdict names none, to the host."""

    @abstractmethod
    def group(self, group: 'Group', by_name: bool) -> 'Iterator[str]':
        """One rule and the domains that have a finding of it, in pieces, as there may be very many.

        :param by_name: whether to call a domain by its name, where there is room for one of name and file
        """

    @abstractmethod
    def rules(self, rules: 'Iterable[model.Rule]') -> str:
        """The rules of a policy."""

    @abstractmethod
    def waiver(self, waiver: 'model.Waiver', days_left: int, used_by: 'Optional[Sequence[str]]') -> str:
        """A waiver, with the names of the domains that use it; None where that is not known."""

    def summary(self, *lines: str) -> str:
        """The text after everything else; `lines` tell people how much was judged."""
        return ''
