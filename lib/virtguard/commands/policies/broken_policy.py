# SPDX-License-Identifier: Apache-2.0
"""A policy in force that is broken: how commands refuse to change it, and how one file after the other is mended."""

import os

from ... import model
from ...digest import sha256_hex
from ...errors import GuardError
from ...host import today
from ...policy import load
from ...policy.drop_ins import drop_in_directory
from ...policy.installation import SUFFIX
from ...policy.problems import PolicyError
from ...wording import counted, first_few, quoted
from .. import loading
from ..terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Tuple

    from ...policy.drop_ins import Changes
    from ...policy.installation import Installation
    from ...policy.problems import Problem

_MOST_NAMED = 3  # files, in one line
_STARTS = {'deny': 'every start is refused', 'admit': 'every start is admitted without a verdict'}


def policy_to_change(installation: 'Installation') -> model.Policy:
    """The policy in force, for a command that changes a drop-in of its own. Complains of what loading.policy does, and
    of each problem.

    :raises GuardError: it cannot be used; and which file is to be mended first
    """
    try:
        return loading.policy(None, installation)
    except PolicyError as error:
        for problem in error.problems:
            complain(str(problem))
        hint = 'first, %s' % how_to_mend(error.problems[0].source, installation.policy)
        raise GuardError('the policy is broken, so nothing was changed', hint) from None


def how_to_mend(path: str, policy_path: str) -> str:
    """What to do about a file of the policy with a problem."""
    directory, name = os.path.split(path)
    if directory == drop_in_directory(policy_path):
        return 'mend %s: virt-guard policy edit %s' % (path, quoted(name[: -len(SUFFIX)]))
    return 'mend %s by hand' % path


class StillBroken:
    """What is left to mend after a drop-in was: `problems`, all of them in other files. `sha256` is another one if
    anything of this is another."""

    def __init__(self, before: PolicyError, after: PolicyError, policy_path: str) -> None:
        self.problems = after.problems
        self._failures = [_failure(before), _failure(after)]
        self.next = how_to_mend(self.problems[0].source, policy_path)
        self.sha256 = sha256_hex('\n'.join(self.lines()).encode('utf-8', 'backslashreplace'))

    def lines(self) -> 'Iterator[str]':
        """For whoever is asked whether the drop-in is to be like this."""
        yield 'The policy is broken in other files, too, and would still be:'
        yield from map(str, self.problems)
        before, after = self._failures
        said = '%s (failure %s)' % (_STARTS[after], after)
        if before == after:
            yield 'Until that is mended, no domain is judged: %s, as before.' % said
        else:
            yield 'Until that is mended, no domain is judged: %s; as the files are now, %s.' % (said, _STARTS[before])

    def __str__(self) -> str:
        files = list(dict.fromkeys(problem.source for problem in self.problems))
        named = ', '.join(first_few(files, _MOST_NAMED))
        return 'the policy is still broken: %s in %s' % (counted(len(self.problems), 'problem'), named)


def what_is_left(installation: 'Installation', changes: 'Changes', error: PolicyError) -> StillBroken:
    """What is left to mend in the policy in force with these changes.

    :param error: of the policy with them
    :raises PolicyError: that one, if a problem is in a file that changes, or was not there before
    """
    try:
        load.trusted(installation.policy, today())
    except PolicyError as before:
        known = set(map(_identity, before.problems))
        if all(problem.source not in changes and _identity(problem) in known for problem in error.problems):
            return StillBroken(before, error, installation.policy)
    raise error


def _identity(problem: 'Problem') -> 'Tuple[str, int, int, str]':
    # Without the hint, which may name what other files define.
    return problem.source, problem.line, problem.column, problem.message


def _failure(error: PolicyError) -> str:
    """What the hook takes as `failure` of a policy with this error."""
    return str({**model.DEFAULT_SETTINGS, **error.settings}['failure'])
