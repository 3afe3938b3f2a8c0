# SPDX-License-Identifier: Apache-2.0
"""What the command says to a mistake on its line: one line, from the command that it is about, with what to type."""

import pytest
from virtguard.commands.parser import build_parser


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        arguments = build_parser().parse_args(words)
        arguments.run(arguments, None)
    shown, complaint = capsys.readouterr()
    assert (end.value.code, shown) == (2, '')
    assert complaint.count('\n') == 1
    return complaint


@pytest.mark.parametrize(
    'words, told',
    [
        (['chekc', 'a.xml'], "virt-guard: there is no command 'virt-guard chekc'; did you mean 'virt-guard check'? ("),
        (['diff', 'a', 'b'], "there is no command 'virt-guard diff'; did you mean 'virt-guard policy diff'? ("),
        (['policy', 'chekc'], "virt-guard policy: there is no command 'virt-guard policy chekc'; did you mean '"),
        (['policy', 'scan'], "did you mean 'virt-guard scan'?"),
        (['xyzzy'], 'known are: check, scan, '),
        (['help', 'waiver', 'add', 'x'], "'virt-guard waiver add' has none below it"),
        (['help', 'policy', 'dif'], "virt-guard policy: there is no command 'virt-guard policy dif'; did you mean '"),
        (['policy'], 'virt-guard policy: the following arguments are required: ACTION (virt-guard policy --help)'),
    ],
    ids=str,
)
def test_commands(capsys, words, told):
    assert told in refused(capsys, *words)


@pytest.mark.parametrize(
    'words, told',
    [
        (['check', '--polcy', 'x', 'a'], "virt-guard check: there is no option '--polcy'; did you mean '--policy'? ("),
        (['check', '--polcy=x', 'a'], "there is no option '--polcy'; did you mean '--policy'?"),
        (['check', '--form', 'jsonl', 'a'], "there is no option '--form'; did you mean '--format'?"),
        (['check', 'a', '-policy', 'x'], "there is no option '-policy'; did you mean '--policy'?"),
        (
            ['check', '--profile', '/x/y.yaml', 'a'],
            "there is no option '--profile'; '--policy' names a policy or profile (",
        ),
        (['scan', '--once'], "virt-guard scan: there is no option '--once' here; 'virt-guard watch' has it ("),
        (['rules', '--facts', 'x'], "'--facts' here; 'virt-guard check' and 'virt-guard scan' have it ("),
        (['--policy', 'x', 'check'], "option '--policy' belongs behind the command: virt-guard check --policy ("),
        (['check', '--xyzzy', 'a'], "virt-guard check: there is no option '--xyzzy' (virt-guard check --help)"),
        (['check', '--format', 'josnl', 'a'], "argument --format: 'josnl' is not one (did you mean 'jsonl'?)"),
        (['rules', '--format', 'sarif'], "argument --format: 'sarif' is not one (known are: text, jsonl)"),
        (
            ['check', '--output', 'sarf:x', 'a'],
            "'sarf' is not a format (did you mean 'sarif'?); a file of this name is",
        ),
        (
            ['check', '--output', 'sarif', 'a'],
            "'sarif' is a format, and names no file; write sarif:FILE, or ./sarif for",
        ),
        (['check', '--output', 'sarif:', 'a'], "'sarif:' names no file; --format is for standard output"),
        (['scan', '--output', '-'], "'-' names no file; --format is for standard output"),
        (['check', '--policy', '-x', 'a'], "--policy needs a value; if it is '-x', write --policy=-x ("),
        (['check', 'a', '--policy'], 'argument --policy: expected one argument'),
        (['rules', 'a'], 'virt-guard rules: unrecognized arguments: a (virt-guard rules --help)'),
    ],
    ids=str,
)
def test_options(capsys, words, told):
    assert told in refused(capsys, *words)


@pytest.mark.parametrize('name', ['-x', '-x y', "--it's"])
def test_names_that_begin_with_a_hyphen(capsys, name):
    assert build_parser().parse_args(['check', '--', name]).paths == [name]
    assert build_parser().parse_args(['check', '--format', 'jsonl', '--', 'a', name]).paths == ['a', name]
    if ' ' not in name and not name.startswith('--'):
        assert "write it behind '--': virt-guard check -- " in refused(capsys, 'check', name)


@pytest.mark.parametrize('name', ['7', '-7', '-1.5', 'check', 'help', 'policy', '', '.', 'a b', '--', '\udcff'])
def test_names_that_are_taken_as_they_are(name):
    words = ['--', name] if name == '--' else [name]
    assert build_parser().parse_args(['check', *words]).paths == [name]


def test_what_cannot_be_printed_is_escaped(capsys):
    assert "there is no command 'virt-guard ch\\udcff\\x1b[1mk'" in refused(capsys, 'ch\udcff\033[1mk')
    assert "there is no option '--a\\nb'" in refused(capsys, 'check', '--a\nb')
