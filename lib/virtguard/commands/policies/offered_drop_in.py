# SPDX-License-Identifier: Apache-2.0
"""A file that somebody wants to put among the drop-ins of a policy: under which name, and where its problems are."""

import os
import sys

from ...errors import GuardError
from ...model import MAX_POLICY_BYTES
from ...policy.drop_ins import NAMING, drop_in_directory, is_drop_in_name
from ...policy.files import read_policy_file
from ...policy.installation import SUFFIX
from ...policy.problems import Problem
from ..domains.domain_files import STDIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from ...policy.drop_ins import Changes

# A file under a temporary name, as from Ansible, is read after all others: '~' comes after letters.
_LAST = '~.yaml'


class OfferedDropIn:
    """`file` is what the user calls it, `path` where it would stand; `changes` are as load.trusted takes them."""

    __slots__ = ('file', 'path', 'changes', 'is_last')

    def __init__(self, file: str, name: str, policy_path: str) -> None:
        """
        :param name: of the drop-in that it is to be, '' for that of the file
        :raises GuardError: no drop-in can have that name, or the file cannot be read
        """
        if name and (os.path.basename(name) != name or not is_drop_in_name(name)):
            raise GuardError('%r is not the name of a drop-in' % name, NAMING + ', such as 50-site.yaml')
        stem = name[: -len(SUFFIX)]
        if stem != stem.strip() and not os.path.exists(os.path.join(drop_in_directory(policy_path), name)):
            hint = 'did you mean %s?' % (stem.strip() + SUFFIX) if stem.strip() else 'write it like 50-site.yaml'
            raise GuardError('%r has spaces at its edges' % name, hint)
        own = os.path.basename(file)
        self.is_last = not name and not is_drop_in_name(own)
        self.file = file
        self.path = os.path.join(drop_in_directory(policy_path), name or (_LAST if self.is_last else own))
        data = _read_stdin() if file == STDIN else read_policy_file(file, 'the drop-in')
        self.changes: 'Changes' = {self.path: data}

    def remarks(self) -> 'Iterator[str]':
        """What its name means for what was checked."""
        if self.is_last:
            yield '%s was read as the last of the drop-ins; --as NAME says which one it is, or replaces' % self.file

    def at_home(self, problem: Problem) -> Problem:
        """A problem with the place where the user can mend it."""
        if problem.source != self.path:
            return problem
        return Problem(self.file, problem.line, problem.column, problem.message, problem.hint)

    def named(self, text: str) -> str:
        """A remark that begins with a place, with the place that the user knows."""
        return self.file + text[len(self.path) :] if text.startswith(self.path) else text


def _read_stdin() -> bytes:
    if sys.stdin is None:  # whoever started the command has closed it (<&-)
        raise GuardError('standard input is closed')
    return sys.stdin.buffer.read(MAX_POLICY_BYTES + 1)
