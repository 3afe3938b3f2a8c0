# SPDX-License-Identifier: Apache-2.0
"""`virt-guard __complete SHELL ...`: what data/completions asks at each TAB.

    bash LINE REPLACED    the line up to the cursor, and the end of it that bash replaces
    fish|zsh WORD...      the words behind the command up to the cursor, the last of them as far as it is typed

It prints what else may stand there (see values), then a line for each word: for bash as it continues the line, else the
word, a tab, and what it is. What is not printable is never offered: it could write to the terminal, or end the line.
"""

import os
import sys

from ...errors import GuardError
from ..domains.host_domains import as_text
from ..exit_status import FINE
from ..parser import build_parser
from .bash_line import BashLine
from .place import Place
from .values import DIRECTORIES, FILES, NOTHING, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List, Sequence, Tuple

    from ...policy.installation import Installation
    from .values import Words

_SHELLS = ('bash', 'fish', 'zsh')
_NO_SPACE = 'nospace'  # what else may stand there: more of the same word


def run(arguments: 'Sequence[str]', installation: 'Installation') -> int:
    """Print the answer. Returns the exit status.

    :raises GuardError: the words are not those of a shell
    """
    if len(arguments) < 2 or arguments[0] not in _SHELLS or (arguments[0] == 'bash' and len(arguments) != 3):
        raise GuardError('__complete is for shells, which ask it at each TAB', 'virt-guard help')
    # argparse looks for translations of its titles, a hundred times.
    os.environ['LANGUAGE'] = 'C'
    shell, *words = map(as_text, arguments)
    if shell == 'bash':
        lines = _for_bash(BashLine(words[0]), words[1], installation)
    else:
        offered, others, prefix = offer(words, installation)
        begin = prefix if shell == 'fish' else ''
        lines = [others] + ['%s%s\t%s' % (begin, word, told) for word, told in offered]
    sys.stdout.buffer.write(''.join(line + '\n' for line in lines).encode('utf-8'))
    sys.stdout.flush()
    return FINE


def offer(words: 'Sequence[str]', installation: 'Installation') -> 'Tuple[Words, str, str]':
    """The words that may stand in the place of the last one, and what else.

    :returns: (words, each with what it is; FILES, DIRECTORIES or NOTHING; how the last one begins, where it is
        --OPTION=VALUE: the words stand behind that)
    """
    *before, current = words
    place = Place(build_parser())
    if not all(map(place.take, before)):
        return [], NOTHING, ''
    place.arrive()
    option = place.option_of(current) if place.options else None
    if option is not None:
        return (*_values(option, place, installation), current[: current.index('=') + 1])
    offered: 'Words' = []
    others = NOTHING
    if place.action is not None and not (place.options and current.startswith('-')):
        offered, others = _values(place.action, place, installation)
    if place.options and (current.startswith('-') or place.action is None):
        offered = offered + [
            (name, _help(action))
            for action in place.open_options()
            for name in action.option_strings
            if name[:2] == '--'
        ]
    return offered, others, ''


def _values(action: 'argparse.Action', place: Place, installation: 'Installation') -> 'Tuple[Words, str]':
    words, others = values_of(action, place, installation)
    # Where an option may stand, what looks like one is one.
    is_open = place.options and place.action is action
    words = [
        (word, told if told.isprintable() else '')
        for word, told in words
        if word and word.isprintable() and not (is_open and word.startswith('-'))
    ]
    return words, others


def _help(action: 'argparse.Action') -> str:
    return (action.help or '').replace('%(choices)s', ', '.join(map(str, action.choices or ())))


def _for_bash(line: BashLine, replaced: str, installation: 'Installation') -> 'List[str]':
    if line.redirected:
        return [FILES]
    offered, others, prefix = offer([*line.words[1:], line.word], installation)
    words = [prefix + word for word, _ in offered]
    words = [word for word in words if word.startswith(line.word)]
    if words and others in (FILES, DIRECTORIES):
        words += _files_here(line.word, prefix, others)
    if [word[-1] for word in words] == ['/']:
        others = _NO_SPACE
    return [others] + [line.continued(word, replaced) for word in words]


def _files_here(word: str, prefix: str, kind: str) -> 'List[str]':
    """What bash leaves out where it is told of other words: the files of this directory."""
    with os.scandir() as entries:
        found = [(as_text(entry.name), entry.is_dir()) for entry in entries]
    begin = word[len(prefix) :]
    return sorted(
        prefix + name + ('/' if is_directory else '')
        for name, is_directory in found
        if (is_directory or kind == FILES) and name.startswith(begin) and name.isprintable()
        if begin or not name.startswith('.')
    )
