# SPDX-License-Identifier: Apache-2.0
"""One thing that was looked at: how it is, and where something is amiss, what mends it. Pure: no I/O."""

from ..host import shown_time as shown_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

# OK: as it should be. NOTE: somebody has decided so, and should know. UNKNOWN: that cannot be told, and why.
OK, NOTE, UNKNOWN, AMISS = 'ok', 'note', 'unknown', 'amiss'


class Condition:
    """`subject` is one word for what was looked at; `remedy` is the command to type, '' where there is none."""

    __slots__ = ('subject', 'state', 'text', 'remedy')

    def __init__(self, subject: str, state: str, text: str, remedy: str = '') -> None:
        self.subject = subject
        self.state = state
        self.text = text
        self.remedy = remedy


def overall(conditions: 'Iterable[Condition]') -> str:
    """AMISS if one is, else UNKNOWN if one is, else OK."""
    states = {condition.state for condition in conditions}
    return AMISS if AMISS in states else UNKNOWN if UNKNOWN in states else OK
