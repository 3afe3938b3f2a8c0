# SPDX-License-Identifier: Apache-2.0
"""The errors that virt-guard raises on purpose. Imports nothing until a mistake is made.

Anything else that escapes is a defect of virt-guard itself.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence


class GuardError(Exception):
    """Something the user can mend: `message` says what is wrong, `hint` what to do next."""

    def __init__(self, message: str, hint: str = '') -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return '%s (%s)' % (self.message, self.hint) if self.hint else self.message


class PolicyFileError(GuardError):
    """A file of the policy is missing, unreadable, or not to be trusted. `settings` as in PolicyError."""

    def __init__(self, message: str, hint: str = '') -> None:
        super().__init__(message, hint)
        self.settings: 'Dict[str, object]' = {}


class NotAFileError(GuardError):
    """What should be a regular file is something else."""

    def __init__(self, path: str) -> None:
        super().__init__('%s is not a regular file' % path)


class DomainXMLError(GuardError):
    """The bytes are not a domain definition that can be judged. `line` is 1-based, 0 where unknown.

    `other_document`: they are well-formed, but describe something else, such as a network.
    """

    def __init__(self, message: str, line: int = 0, other_document: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.other_document = other_document


class StateFileError(GuardError):
    """A file or directory of a running domain's state cannot be read, or is not to be trusted.

    `head` is what it begins with, as far as that is known and libvirt has written it.
    """

    def __init__(self, message: str, hint: str = '', head: bytes = b'') -> None:
        super().__init__(message, hint)
        self.head = head


class SchemaError(GuardError):
    """A schema cannot be read, or is not RELAX NG."""


class MissingLibraryError(GuardError):
    """A library that judging needs cannot be imported, or is not whole. `settings` as in PolicyError."""

    def __init__(self, error: Exception, settings: 'Dict[str, object]') -> None:
        what = str(error) if isinstance(error, ImportError) else '%s: %s' % (type(error).__name__, error)
        ours = str(getattr(error, 'name', '')).startswith('virtguard')
        hint = 'run install.sh again' if ours else "install the distribution's lxml and PyYAML"
        super().__init__('a library is missing or broken: %s' % what, hint)
        self.settings = settings


class Expired(BaseException):
    """The hook's deadline has passed. Not an Exception, so that nothing on the way takes it for its own."""


class TooSlow(Expired):
    """Judging a document takes too long; the argument says how long it took."""


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


def nearest(word: str, known: 'List[str]') -> 'Optional[str]':
    """The known word nearest to a misspelt one, if any is near."""
    import difflib  # only needed to help with a mistake

    return next(iter(difflib.get_close_matches(word, known, 1)), None)


def suggest(word: str, known: 'Iterable[str]') -> str:
    """A hint: the known word nearest to a misspelt one, or else all of them."""
    known = list(known)
    near = nearest(word, known)
    return 'did you mean %r?' % near if near is not None else 'known are: %s' % ', '.join(known)


def describe_defect(error: BaseException) -> str:
    """An unexpected exception on one line, with the place in the code that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = '%s:%d' % (trace.tb_frame.f_code.co_filename.rpartition('/')[2], trace.tb_lineno) if trace else '?'
    return '%s: %s (%s)' % (type(error).__name__, error, place)
