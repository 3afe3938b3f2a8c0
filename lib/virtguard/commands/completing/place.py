# SPDX-License-Identifier: Apache-2.0
"""The words before the cursor -> what may stand there, by the parser of the command line."""

import argparse

from ..usage import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

_REPEATED = ('*', '+')


class Place:
    """Where the cursor is: below the command of `parser`, in the value of `action` (None: there is none to be typed).

    `options` tells whether an option may stand there. `typed` are the values of before, by the names that the parser
    has for them. `ended` tells whether '--' came before, behind which nothing is an option.
    """

    __slots__ = ('root', 'parser', 'action', 'options', 'typed', 'used', 'ended')

    def __init__(self, root: Parser) -> None:
        self.root = self.parser = root
        self.action: 'Optional[argparse.Action]' = None
        self.options = False
        self.typed: 'Dict[str, List[str]]' = {}
        self.used: 'List[argparse.Action]' = []
        self.ended = False

    def take(self, word: str) -> bool:
        """Take a whole word; False where the command line is wrong, so that nothing can be said of what follows."""
        if self.action is not None:
            self._note(self.action, word)
            self.action = None
        elif not self.ended and word == '--':
            self.ended = True
        elif not self.ended and word.startswith('-') and word != '-':
            return self._take_option(word)
        elif self.parser.commands:
            if word not in self.parser.commands:
                return False
            self.parser = self.parser.commands[word]
        else:
            action = self._positional()
            if action is None:
                return False
            self._note(action, word)
        return True

    def _take_option(self, word: str) -> bool:
        name, equals, value = word.partition('=')
        action = self.parser.option(name)
        if action is None:
            return False
        self.used.append(action)
        if action.nargs is None and not equals:
            self.action = action
        elif equals:
            self._note(action, value)
        return True

    def arrive(self) -> None:
        """No more words: the cursor is here."""
        if self.action is None:
            self.options = not self.ended
            self.action = self._positional()

    def option_of(self, word: str) -> 'Optional[argparse.Action]':
        """The option whose value the word --OPTION=VALUE has."""
        name, equals, _ = word.partition('=')
        action = self.parser.option(name) if equals and not self.ended else None
        return action if action is not None and action.nargs is None else None

    def open_options(self) -> 'List[argparse.Action]':
        """The options that may still be given."""
        closed = {id(action) for action in self.used if not isinstance(action, argparse._AppendAction)}
        for group in self.parser._mutually_exclusive_groups:
            members = {id(action) for action in group._group_actions}
            if members & closed:
                closed |= members
        return [action for action in self.parser._get_optional_actions() if id(action) not in closed]

    def _note(self, action: argparse.Action, word: str) -> None:
        self.typed.setdefault(action.dest, []).append(word)

    def _positional(self) -> 'Optional[argparse.Action]':
        actions: 'Sequence[argparse.Action]' = self.parser._get_positional_actions()
        for action in actions:
            if action.nargs in _REPEATED or not self.typed.get(action.dest):
                return action
        return None
