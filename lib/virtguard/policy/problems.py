# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a policy: each problem with its place, and all of them as one error. Pure: no I/O."""

from ..errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Sequence


class Problem:
    """One defect of a policy: where (1-based line and column), what, and what to write instead."""

    __slots__ = ('source', 'line', 'column', 'message', 'hint')

    def __init__(self, source: str, line: int, column: int, message: str, hint: str = '') -> None:
        self.source = source
        self.line = line
        self.column = column
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = '%s:%d:%d: %s' % (self.source, self.line, self.column, self.message)
        return '%s (%s)' % (text, self.hint) if self.hint else text


class PolicyError(GuardError):
    """Every problem of a policy at once.

    `settings` holds those top-level settings that were read without a problem, so that a guard whose rules are
    broken still knows what its administrator wants to happen then (`failure`, `deadline`).
    """

    def __init__(self, problems: 'Sequence[Problem]', settings: 'Dict[str, object]') -> None:
        count = len(problems)
        super().__init__('the policy has %d problem%s: %s' % (count, '' if count == 1 else 's', problems[0]))
        self.problems = tuple(problems)
        self.settings = settings
