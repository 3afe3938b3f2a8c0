# SPDX-License-Identifier: Apache-2.0
"""The errors that virt-guard raises on purpose and that a start may meet. Imports nothing until one is raised.

Anything else that escapes is a defect of virt-guard itself.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional


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


class Expired(BaseException):
    """The hook's deadline has passed. Not an Exception, so that no `except Exception` on the way catches it."""


class TooSlow(Expired):
    """Judging a document takes too long; the argument says how long it took."""


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
