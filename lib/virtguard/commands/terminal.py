# SPDX-License-Identifier: Apache-2.0
"""Standard output and standard error of the command: any text in any encoding, colours, and progress."""

import codecs
import os
import sys
import time

from .. import wording
from ..errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, TextIO


def complain(text: str) -> None:
    """Print a line on standard error."""
    _write(sys.stderr, wording.escape(text) + '\n')


def show(text: str) -> None:
    """Print text on standard output, as it is."""
    _write(sys.stdout, text)


def show_line(text: str) -> None:
    """Print a line on standard output, with control characters escaped."""
    show(wording.escape(text) + '\n')


def _write(stream: 'Optional[TextIO]', text: str) -> None:
    if stream is None:  # whoever started the command has closed it (>&-)
        return
    try:
        stream.buffer.write(text.encode(encoding_of(stream), 'backslashreplace'))
        stream.flush()
    except BrokenPipeError:
        raise  # the reader has seen enough, which is not an error
    except OSError as error:
        _drop_the_rest(stream)
        raise GuardError('cannot write the output: %s' % (error.strerror or error)) from None


def encoding_of(stream: 'TextIO') -> str:
    """The encoding of a stream. Where there is no such locale on this host as is asked for, Python 3.6 takes ASCII; but
    who asks for UTF-8 has a terminal that shows it."""
    encoding = codecs.lookup(stream.encoding or 'ascii').name
    if encoding != 'ascii':
        return encoding
    locale = next((os.environ[name] for name in ('LC_ALL', 'LC_CTYPE', 'LANG') if os.environ.get(name)), '')
    codeset = locale.partition('.')[2].partition('@')[0]
    return 'utf-8' if codeset.replace('-', '').lower() == 'utf8' else encoding


def give_up_output() -> None:
    """Print nothing more on standard output, which nobody reads any longer."""
    if sys.stdout is not None:
        _drop_the_rest(sys.stdout)


def _drop_the_rest(stream: 'TextIO') -> None:
    # Otherwise the interpreter would try to write it when it ends, and fail with its own message and status.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def wants_colour() -> bool:
    """Whether standard output is a terminal that shows colours."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'


class Progress:
    """A count on the terminal's last line, for work that takes longer than a moment."""

    _INTERVAL = 0.5  # seconds

    def __init__(self) -> None:
        self._wanted = sys.stderr is not None and sys.stderr.isatty() and os.environ.get('TERM') != 'dumb'
        self._next = time.monotonic() + self._INTERVAL
        self._shown = False

    def show(self, count: int) -> None:
        if self._wanted and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._INTERVAL
            self._shown = True
            _write(sys.stderr, '\r%d domains judged' % count)

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            _write(sys.stderr, '\r\033[K')
