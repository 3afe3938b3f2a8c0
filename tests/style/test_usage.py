# SPDX-License-Identifier: Apache-2.0
"""Every command's --help: what it is for, two examples that its parser takes, and the exit statuses."""

import re
import shlex

import pytest
from virtguard.commands.parser import build_parser

PARSERS = {parser.prog: parser for parser in build_parser().everything()}
by_command = pytest.mark.parametrize('name', sorted(PARSERS))


def commands_in(example):
    """The calls of virt-guard in a line of a shell, each as its arguments."""
    for command in re.split(r' (?:[|]{1,2}|&&) ', example):
        program, *arguments = shlex.split(command.partition(' <')[0])
        if program == 'sudo':
            program, *arguments = arguments
        if program == 'virt-guard':
            yield arguments


@by_command
def test_examples_parse_and_are_about_the_command(name):
    parser = PARSERS[name]
    assert len(parser.examples) >= 2
    assert len(set(parser.examples)) == len(parser.examples)
    for example in parser.examples:
        assert re.search(r'\b%s\b' % name, example) or (parser.commands and 'virt-guard help' in example), example
        called = list(commands_in(example))
        assert called
        for arguments in called:
            assert callable(build_parser().parse_args(arguments).run)


@by_command
def test_help_shows_them_and_the_exit_statuses(name, capsys):
    parser = PARSERS[name]
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args([*name.split()[1:], '--help'])
    shown, complaints = capsys.readouterr()
    assert (end.value.code, complaints) == (0, '')
    assert shown == parser.format_help()
    assert all(example in shown for example in parser.examples)
    assert re.search(r'^exit status:\n(  .+\n)+\Z', shown, re.MULTILINE)
    assert parser.description and parser.description.endswith('.')
    if not parser.commands:
        assert [status.split()[0] for status in parser.statuses] in (['0', '1', '2'], ['0', '2'])
    # What a terminal of 80 columns shows in one line, but for what is told of examples.
    assert [line for line in shown.splitlines() if len(line.partition('  # ')[0]) > 90] == []


def test_help_of_help_is_that_of_the_option(capsys):
    arguments = build_parser().parse_args(['help', 'policy', 'diff'])
    assert arguments.run(arguments, None) == 0
    assert capsys.readouterr().out == PARSERS['virt-guard policy diff'].format_help()
