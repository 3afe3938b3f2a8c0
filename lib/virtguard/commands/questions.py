# SPDX-License-Identifier: Apache-2.0
"""Questions to whoever sits at the terminal."""

import sys
import termios

from .terminal import show, show_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


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
