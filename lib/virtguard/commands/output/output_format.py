# SPDX-License-Identifier: Apache-2.0
"""What a format must be able to express that every command offers: beside verdicts on domains, all else that is told
of them, of rules and of waivers."""

from abc import abstractmethod

from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Optional, Sequence

    from ... import model
    from ...judging.comparison import Comparison
    from ..exit_status import Tally
    from .groups import Group


class OutputFormat(VerdictFormat):
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
        """The text after everything else; `lines` tell people how much there was."""
        return ''

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        yield self.summary(*lines)
