# SPDX-License-Identifier: Apache-2.0
"""What the command's exit status says, and the count of domains from which it follows."""

from .. import model
from ..model import Phrase
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

    def in_words(self) -> Phrase:
        """The numbers as a sentence."""
        text = counted(self.total, 'domain')
        parts = [Phrase('%d ' + _WORDS[decision], count) for decision, count in self._counts.items() if count]
        if parts:
            text = Phrase('%s: ' + ', '.join(['%s'] * len(parts)), text, *parts)
        if self.skipped:
            skipped = Phrase('%d other file skipped' if self.skipped == 1 else '%d other files skipped', self.skipped)
            text = Phrase('%s; %s', text, skipped)
        return text

    def __str__(self) -> str:
        return str(self.in_words())
