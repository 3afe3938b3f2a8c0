# SPDX-License-Identifier: Apache-2.0
"""What TAB offers, of every command; what it must not load; and words of bash, read and written.

That shells get it, and what they make of it, is in tests/installed/test_completion.py.
"""

import argparse
import subprocess
import sys

import pytest
from support.paths import LIB
from virtguard.commands.completing.answer import offer
from virtguard.commands.completing.bash_line import BashLine
from virtguard.commands.completing.values import FILES, NOTHING, source_of
from virtguard.commands.main import main
from virtguard.commands.parser import build_parser
from virtguard.policy.installation import installed_below, profiles

COMMANDS = {parser.prog.partition(' ')[2]: parser for parser in build_parser().everything()}
by_command = pytest.mark.parametrize('command', sorted(COMMANDS))
# What takes longer than it may: a TAB is answered within 50 ms of an interpreter's start.
TOO_LARGE = set('yaml lxml subprocess concurrent multiprocessing difflib html socket tempfile hashlib'.split())


def offered(tmp_path, *words):
    found, others, prefix = offer(words, installed_below(str(tmp_path)))
    return [word for word, _ in found], others, prefix


@by_command
def test_all_sub_commands_and_options_are_offered(tmp_path, command):
    parser, words = COMMANDS[command], command.split()
    assert set(offered(tmp_path, *words, '-')[0]) == {'--help', *parser.options()}
    if parser.commands:
        assert offered(tmp_path, *words, '') == (list(parser.commands), NOTHING, '')


def test_users_and_groups_of_this_host_are_offered(tmp_path):
    assert 'root' in offered(tmp_path, 'polkit', 'check', '')[0]
    assert {'root', 'daemon'} <= set(offered(tmp_path, 'polkit', 'print', '--group', '')[0])


@by_command
def test_somebody_has_said_what_each_value_may_be(tmp_path, command):
    for action in COMMANDS[command]._actions:
        if action.nargs != 0 and not isinstance(action, argparse._SubParsersAction):
            assert action.choices is not None or source_of(action), action
        if action.option_strings and action.choices is not None:
            option = action.option_strings[-1]
            choices = [str(choice) for choice in action.choices]
            assert offered(tmp_path, *command.split(), option, '')[0] == choices
            assert offered(tmp_path, *command.split(), option + '=') == (choices, NOTHING, option + '=')


@pytest.mark.parametrize(
    'words, found',
    [
        (['check', '--policy', ''], (sorted(profiles()), FILES, '')),
        (['check', '--policy', 'rhel-8', '--'], ['--policy']),
        (['check', '--quiet', '--'], ['--quiet']),
        (['report', '--journal', 'x', '--'], ['--journal', '--records']),
        (['waiver', 'add', '--domain', 'x', '--'], []),
        (['policy', 'set', 'mode', ''], (['enforce', 'audit', 'default'], NOTHING, '')),
        (['policy', 'set', 'mode', 'audit', ''], (['--help', '--until'], NOTHING, '')),
        (['help', 'waiver', ''], (['add', 'list', 'renew', 'remove'], NOTHING, '')),
        (['xyzzy', ''], ([], NOTHING, '')),
        (['check', '--xyzzy', ''], ([], NOTHING, '')),
        (['check', '--quiet', '--', '-'], ([], FILES, '')),
    ],
    ids=str,
)
def test_places(tmp_path, words, found):
    """Of options, those that are not offered, as they cannot be given any more."""
    if isinstance(found, list):
        parser = COMMANDS[' '.join(word for word in words[:2] if word in ('check', 'report', 'waiver', 'add'))]
        assert set(parser.options()) - set(offered(tmp_path, *words)[0]) == set(found)
    else:
        assert offered(tmp_path, *words) == found


@pytest.mark.parametrize(
    'words', [[], ['bash'], ['bash', 'x'], ['fish'], ['sh', 'x'], ['bash', 'x', 'y', 'z']], ids=str
)
def test_somebody_who_types_it(capsys, words):
    assert main(['__complete', *words]) == 2
    assert (
        capsys.readouterr().err == 'virt-guard: __complete is for shells, which ask it at each TAB (virt-guard help)\n'
    )


def test_what_is_loaded_for_an_answer(tmp_path):
    domains = tmp_path / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    (domains / 'web07.xml').write_text('')
    program = (
        'import sys; sys.path.insert(0, sys.argv[1]); from virtguard.commands.main import main;'
        'from virtguard.policy.installation import installed_below;'
        'main(sys.argv[3:], installed_below(sys.argv[2])); print(*sys.modules)'
    )
    command = [sys.executable, '-I', '-S', '-B', '-c', program, str(LIB), str(tmp_path)]
    output = subprocess.check_output([*command, '__complete', 'bash', 'virt-guard explain --domain we', 'we'])
    answer, modules = output.decode('ascii').rstrip('\n').rsplit('\n', 1)
    assert answer == 'nothing\nweb07'
    assert TOO_LARGE & {name.partition('.')[0] for name in modules.split()} == set()


@pytest.mark.parametrize(
    'line, words, word',
    [
        ('vg check ', ['vg', 'check'], ''),
        ('vg  "a b"\t\'c d\'e\\ f g', ['vg', 'a b', 'c de f'], 'g'),
        ('vg "a\\"b\\c', ['vg'], 'a"b\\c'),
        ("vg 'a\\", ['vg'], 'a\\'),
        ("vg $(rm -r '/ x", ['vg', '$(rm', '-r'], '/ x'),
        ('vg a\\', ['vg'], 'a'),
        ("vg '' ", ['vg', ''], ''),
        ('vg a 2>err b >>out c <in d', ['vg', 'a', 'b', 'c'], 'd'),
    ],
    ids=str,
)
def test_words_of_bash(line, words, word):
    read = BashLine(line)
    assert (read.words, read.word, read.redirected) == (words, word, False)


@pytest.mark.parametrize('line', ['vg >', 'vg > ou', 'vg 2>ou', 'vg a >>ou', 'vg <"ou', 'vg &>ou'])
def test_files_of_redirections(line):
    assert BashLine(line).redirected


@pytest.mark.parametrize(
    'name', ['a', "it's", 'a b', '$(x)`y`', '"\\', '!', '*?[', '~', '~r', 'ü', 'a:b=c', '#', ';|&']
)
@pytest.mark.parametrize('quote', ['', "'", '"'])
def test_bash_reads_what_is_written_as_the_name(name, quote):
    written = 'printf %s ' + quote + BashLine('printf %s ' + quote).continued(name, '') + quote
    assert subprocess.check_output(['bash', '-c', written, 'bash']).decode() == name
    assert BashLine(written).word == name
