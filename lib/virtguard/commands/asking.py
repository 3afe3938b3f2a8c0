# SPDX-License-Identifier: Apache-2.0
"""Questions to the user, where there is one: on a terminal, not in a script."""

import sys

from ..errors import GuardError
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, TypeVar

    T = TypeVar('T')

_TRIES = 3


def can_ask() -> bool:
    """Whether there is somebody who sees a question and can answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def given_or_asked(given: 'Optional[str]', option: str, question: str, read: 'Callable[[str], T]') -> 'T':
    """What `read` makes of an argument, or, where it is missing, of the answer to a question.

    :param read: raises a GuardError for a text that will not do; an answer may then be given again
    :param option: what to type in a script
    """
    if given is not None:
        return read(given)
    if not can_ask():
        raise GuardError('%s is missing' % option, 'on a terminal, it is asked for')
    for tries_left in reversed(range(_TRIES)):
        try:
            return read(_answer(question))
        except GuardError as error:
            if not tries_left:
                raise
            complain(str(error))
    raise AssertionError('not reached')


def _answer(question: str) -> str:
    sys.stderr.write(question + ': ')
    sys.stderr.flush()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b'\n'):
        raise GuardError('there was no answer', 'nothing was changed')
    return line.decode('utf-8', 'surrogateescape').strip()
