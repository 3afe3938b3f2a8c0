# SPDX-License-Identifier: Apache-2.0
"""How the command line is read and explained: help with examples and exit statuses, and what to type after a mistake.

The command that a mistake is about tells it, in one line. An unknown option is told before anything else is looked at:
what argparse would say of the rest of the line would lead astray.
"""

import argparse
import functools
import re
import sys

from ..errors import nearest, suggest
from ..wording import quoted
from .exit_status import NOT_JUDGED
from .terminal import complain, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Sequence, Tuple

    Commands = argparse._SubParsersAction['Parser']
    Examples = Sequence[Tuple[str, str]]
    Run = Callable[..., int]

_NUMBER = re.compile(r'-\d+\Z|-\d*\.\d+\Z')  # argparse does not take it for an option
# What the option of the installer is called here, which takes a file, too.
_CALLED = {'--profile': '--policy'}


class Parser(argparse.ArgumentParser):
    """The parser of one command; `commands` are those below it, by their names.

    :param examples: command lines, each with what it does
    :param statuses: the exit statuses, each with what it means
    """

    _width: 'Optional[int]' = 80

    def __init__(
        self,
        examples: 'Examples' = (),
        statuses: 'Sequence[str]' = (),
        above: 'Optional[Parser]' = None,
        **options: 'Any',
    ) -> None:
        # A script that abbreviates an option would break when another option is added.
        super().__init__(allow_abbrev=False, **options)
        self.examples = [line for line, _ in examples]
        self.statuses = list(statuses)
        self.commands: 'Dict[str, Parser]' = {}
        self._above = above
        self.epilog = _epilog(examples, statuses)

    def add_commands(self, metavar: str) -> 'Commands':
        """The place to add commands below this one."""
        below: 'Any' = functools.partial(Parser, above=self)
        commands: 'Commands' = self.add_subparsers(dest=metavar.lower(), metavar=metavar, parser_class=below)
        commands.required = True
        self.commands = commands.choices
        return commands

    def command(self, name: str) -> 'Parser':
        """The command of that name below this one; the program ends if there is none."""
        if not self.commands:
            self.error("there is no command '%s %s'; '%s' has none below it" % (self.prog, name, self.prog))
        if name not in self.commands:
            near = nearest(name, list(self.commands))
            others = [parser.prog for parser in self._root().everything() if parser.prog.endswith(' ' + name)]
            if near is not None:
                others = ['%s %s' % (self.prog, near)]
            hint = "did you mean '%s'?" % others[0] if others else 'known are: ' + ', '.join(self.commands)
            self.error("there is no command '%s %s'; %s" % (self.prog, name, hint))
        return self.commands[name]

    def parse_known_args(  # type: ignore[override]
        self, args: 'Optional[Sequence[str]]' = None, namespace: 'Optional[argparse.Namespace]' = None
    ) -> 'Tuple[argparse.Namespace, List[str]]':
        words = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown_options(words)
        known, surplus = super().parse_known_args(words, namespace)
        if surplus and not self.commands:
            hint = '; put options before files' if any(word.startswith('--') for word in words) else ''
            self.error('unrecognized arguments: %s%s' % (' '.join(surplus), hint))
        return known, surplus

    def _refuse_unknown_options(self, words: 'Sequence[str]') -> None:
        needs_value = ''
        for word in words:
            is_option = len(word) > 1 and word.startswith('-') and ' ' not in word and not _NUMBER.match(word)
            if needs_value:
                if is_option:
                    told = (needs_value, word, needs_value, quoted(word))
                    self.error("%s needs a value; if it is '%s', write %s=%s" % told)
                needs_value = ''
            elif word == '--' or (self.commands and not is_option):
                return
            elif is_option:
                name, equals, _ = word.partition('=')
                option = self.option(name)
                if option is None:
                    self.error(self._on_unknown_option(name))
                needs_value = name if option.nargs is None and not equals else ''

    def _on_unknown_option(self, name: str) -> str:
        others = [parser for parser in self._root().everything() if name in parser.options()]
        below = [parser for parser in others if parser.prog.startswith(self.prog + ' ')]
        if below:
            return "option '%s' belongs behind the command: %s %s" % (name, below[0].prog, name)
        told = "there is no option '%s'" % name
        near = nearest('--' + name.lstrip('-'), self.options())
        called = _CALLED.get(name)
        if called in self.options():
            told += "; '%s' names a policy or profile" % called
        elif others:
            names = "' and '".join(parser.prog for parser in others[:2])
            told += " here; '%s' %s it" % (names, 'has' if len(others) == 1 else 'have')
        elif near is not None:
            told += "; did you mean '%s'?" % near
        if not name.startswith('--') and self._get_positional_actions():
            told += "; if it is a name, write it behind '--': %s -- %s" % (self.prog, quoted(name))
        return told

    def _check_value(self, action: argparse.Action, value: 'Any') -> None:
        if isinstance(action, argparse._SubParsersAction):
            self.command(value)
        elif action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, "'%s' is not one (%s)" % (value, suggest(value, action.choices)))

    def error(self, message: str) -> 'NoReturn':
        complain('%s: %s (%s --help)' % (self.prog, message, self.prog))
        self.exit(NOT_JUDGED)

    def _get_formatter(self) -> argparse.HelpFormatter:
        # Argparse makes one for each argument, and only looks whether it can: the terminal need not be asked for that.
        return argparse.RawDescriptionHelpFormatter(self.prog, width=self._width)

    def format_help(self) -> str:
        self._width = None
        return super().format_help()

    def _print_message(self, message: str, file: 'Any' = None) -> None:
        show(message)

    def everything(self) -> 'Iterator[Parser]':
        """This command and all below it."""
        yield self
        for parser in self.commands.values():
            yield from parser.everything()

    def options(self) -> 'List[str]':
        """The long options, but for --help, which every command has."""
        return [name for name in self._option_string_actions if name.startswith('--') and name != '--help']

    def option(self, name: str) -> 'Optional[argparse.Action]':
        """The option of that name."""
        return self._option_string_actions.get(name)

    def _root(self) -> 'Parser':
        return self if self._above is None else self._above._root()


def add_command(
    commands: 'Commands',
    name: str,
    purpose: str,
    examples: 'Examples',
    statuses: 'Sequence[str]',
    run: 'Optional[Run]' = None,
) -> Parser:
    """Add a command that calls `run` with the arguments and the installation, or that has others below it.

    :param purpose: a phrase, for the list of commands
    """
    sentence = purpose[0].upper() + purpose[1:] + '.'
    parser = commands.add_parser(name, help=purpose, description=sentence, examples=examples, statuses=statuses)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _epilog(examples: 'Examples', statuses: 'Sequence[str]') -> str:
    width = max((len(line) for line, _ in examples), default=0)
    parts = [('examples', ['%-*s  # %s' % (width, line, told) for line, told in examples]), ('exit status', statuses)]
    return '\n\n'.join('%s:\n%s' % (title, '\n'.join('  ' + line for line in lines)) for title, lines in parts if lines)
