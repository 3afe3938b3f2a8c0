# SPDX-License-Identifier: Apache-2.0
"""What each format of the command's output can say. Formats print nothing: they return text.

What one says of a domain must stand alone: it is made in whichever process judges that domain.
"""

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    from .. import model
    from .comparison import Comparison


class OutputFormat(ABC):
    """
    :param colour: whether the reader sees colours
    :param show_admitted: whether a domain is worth mentioning of which there is nothing to say
    """

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        self._colour = colour
        self._show_admitted = show_admitted

    def begin(self) -> str:
        """What comes before everything else."""
        return ''

    @abstractmethod
    def verdict(self, file: str, verdict: 'model.Verdict') -> str:
        """The verdict on a domain; `file` is the name of the file that has it."""

    @abstractmethod
    def next_start(self, file: str, verdict: 'model.Verdict', when: 'Sequence[str]') -> str:
        """The verdict at the next start of a domain; `when` says why there is one: `running`, `autostart`."""

    def failure(self, file: str, error: str) -> str:
        """A domain that could not be judged; standard error has the reason, too, whatever the format."""
        return ''

    @abstractmethod
    def comparison(self, file: str, comparison: 'Comparison') -> str:
        """What changes from one verdict on a domain to another one."""

    @abstractmethod
    def happening(self, occurrence: 'model.Occurrence', verdict: 'model.Verdict') -> str:
        """One thing that happened to a running domain, or, where the verdict names none, to the host."""

    @abstractmethod
    def rules(self, rules: 'Iterable[model.Rule]') -> str:
        """The rules of a policy."""

    def summary(self, *lines: str) -> str:
        """What comes after everything else; the lines say for people how much was judged."""
        return ''
