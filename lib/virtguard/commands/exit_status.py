# SPDX-License-Identifier: Apache-2.0
"""What the command's exit status says, and the count of domains from which it follows."""

from .. import model
from ..wording import counted

ADMITTED = FINE = 0
DENIED = AMISS = 1
NOT_JUDGED = 2
INTERRUPTED = 130

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

_WORDS = {model.ADMIT: 'admitted', model.DENY: 'denied', model.ERROR: 'not judged'}


class Tally:
    """How many domains were admitted, denied and not judged, and how many files were skipped."""

    def __init__(self) -> None:
        self._counts = {model.ADMIT: 0, model.DENY: 0, model.ERROR: 0}
        self.skipped = 0

    def add(self, decision: str) -> None:
        """Count a domain, or, where the decision is '', a file that was skipped."""
        if decision:
            self._counts[decision] += 1
        else:
            self.skipped += 1

    @property
    def total(self) -> int:
        """How many domains there are."""
        return sum(self._counts.values())

    @property
    def exit_status(self) -> int:
        return NOT_JUDGED if self._counts[model.ERROR] else DENIED if self._counts[model.DENY] else ADMITTED

    def counts(self) -> 'Dict[str, int]':
        """The numbers, by what they count."""
        numbers = {word.replace(' ', '-'): self._counts[decision] for decision, word in _WORDS.items()}
        return dict(numbers, skipped=self.skipped)

    def __str__(self) -> str:
        shown = ', '.join('%d %s' % (count, _WORDS[decision]) for decision, count in self._counts.items() if count)
        others = '; %s skipped' % counted(self.skipped, 'other file') if self.skipped else ''
        return '%s%s%s' % (counted(self.total, 'domain'), ': ' + shown if shown else '', others)
