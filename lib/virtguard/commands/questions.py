# SPDX-License-Identifier: Apache-2.0
"""Questions to whoever sits at the terminal."""

import sys
import termios

from ..errors import GuardError
from .terminal import complain, show, show_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Optional, TypeVar

    T = TypeVar('T')

_TRIES = 3


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def ask(question: str, answers: 'Mapping[str, str]') -> str:
    """The letter of one of the answers, which are shown as `(l)etter of it`; '' if the input ends, or the terminal.

    :param answers: what each letter means, in words that begin with it
    """
    shown = '%s %s: ' % (question, ', '.join('(%s)%s' % (letter, words[1:]) for letter, words in answers.items()))
    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)  # nobody has answered before the question was asked
        while True:
            show(shown)
            line = sys.stdin.buffer.readline()
            if not line:
                show('\n')
                return ''
            word = line.strip().decode('ascii', 'replace').lower()
            for letter, words in answers.items():
                if word and word in (letter, words.split()[0]):
                    return letter
            show_line('Type one of these letters: %s' % ', '.join(answers))
    except (OSError, termios.error):  # the terminal is closed
        return ''


def given_or_asked(given: 'Optional[str]', option: str, question: str, read: 'Callable[[str], T]') -> 'T':
    """What `read` makes of an argument, or, where it is missing, of the answer to a question.

    :param read: raises a GuardError for a text that will not do; another answer may then be given
    :param option: what to type in a script
    """
    if given is not None:
        return read(given)
    if not at_terminal():
        raise GuardError('%s is missing' % option, 'on a terminal, it is asked for')
    for tries_left in reversed(range(_TRIES)):
        answer = _answer(question)
        try:
            return read(answer)
        except GuardError as error:
            if not tries_left:
                raise
            complain(str(error))
    raise AssertionError('not reached')


def _answer(question: str) -> str:
    show(question + ': ')
    try:
        line = sys.stdin.buffer.readline()
    except OSError:
        line = b''
    if not line.endswith(b'\n'):
        raise GuardError('there was no answer', 'nothing was changed')
    return line.decode('utf-8', 'surrogateescape').strip()
