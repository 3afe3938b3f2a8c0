# SPDX-License-Identifier: Apache-2.0
"""The user's editor: which one it is, and one run of it on a file."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import termios

from ...errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Mapping

_VARIABLES = ('VISUAL', 'EDITOR')
_DEFAULTS = ('/usr/bin/editor', '/usr/bin/vi', '/bin/vi', '/usr/bin/nano', '/bin/nano')
# Where a name without a directory is looked for. PATH is the caller's, and may lead into a directory of his own.
_DIRECTORIES = ('/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin')
_PATIENCE = 5.0  # seconds for an editor to save what it has, once its terminal is closed
_WITH_LINE = ('vi', 'vim', 'nvim', 'nano', 'emacs', 'joe', 'mg')  # editors that take +LINE before the file


def find_editor(environment: 'Mapping[str, str]') -> 'List[str]':
    """The program and its arguments: of VISUAL, of EDITOR, or the first editor that this host has.

    :raises GuardError: there is none, or it cannot be run
    """
    for variable in _VARIABLES:
        said = environment.get(variable, '')
        if not said.strip():
            continue
        try:
            program, *arguments = shlex.split(said)
        except ValueError as error:
            raise GuardError('%s is %r, which cannot be split into words: %s' % (variable, said, error)) from None
        return [_find_program(program, variable), *arguments]
    found = next((path for path in _DEFAULTS if _is_program(path)), None)
    if found is None:
        raise GuardError('there is no editor: none of %s' % ', '.join(_DEFAULTS), 'set EDITOR to the path of one')
    return [found]


def _find_program(program: str, variable: str) -> str:
    if os.path.isabs(program):
        places = [program]
    elif '/' in program:
        raise GuardError(
            '%s is %r, which depends on the current directory' % (variable, program), 'give its whole path'
        )
    else:
        places = [os.path.join(directory, program) for directory in _DIRECTORIES]
    found = next(filter(_is_program, places), None)
    if found is None:
        where = '' if os.path.isabs(program) else ' in ' + ':'.join(_DIRECTORIES)
        raise GuardError(
            '%s is %r, and there is no such program%s' % (variable, program, where), 'set it to another one'
        )
    return found


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def run_editor(command: 'List[str]', path: str, line: int = 0) -> str:
    """Let the user edit a file on the terminal that standard input is. Returns what went wrong, or ''.

    :param line: where to begin, 0 for wherever the editor begins
    """
    name = os.path.basename(os.path.realpath(command[0])).partition('.')[0]
    at_line = ['+%d' % line] if line and name in _WITH_LINE else []
    settings = termios.tcgetattr(sys.stdin.fileno())
    # What the user types is the editor's, ^C and ^\ as well. A handler, unlike SIG_IGN, is not passed on to it.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        status = _run([*command, *at_line, path])
    except OSError as error:
        return 'the editor %s cannot be run: %s' % (command[0], error.strerror)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with contextlib.suppress(termios.error):  # the terminal is closed
        # An editor that was killed leaves the terminal as it was using it.
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)
    if status < 0:
        return 'the editor %s was killed by signal %d' % (command[0], -status)
    return 'the editor %s failed with status %d' % (command[0], status) if status else ''


def _run(command: 'List[str]') -> int:
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except BaseException:
        # This command is told to end: the terminal is closed, or the host shuts down. So is the editor.
        if process.poll() is None:
            process.send_signal(signal.SIGHUP)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
        raise


def _ignore(number: int, frame: object) -> None:
    pass
