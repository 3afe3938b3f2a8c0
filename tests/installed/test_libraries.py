# SPDX-License-Identifier: Apache-2.0
"""The command where lxml or PyYAML is missing, or only half there; and whatever day its caller's clock shows."""

import argparse
import compileall
import os
import subprocess
import sys

import pytest
from installation import CHECKOUT, CLEAN, DENIED, copy_checkout
from virtguard.commands.parser import build_parser
from virtguard.host import today

PROGRAM = 'import sys; from virtguard.commands.main import main; sys.exit(main(sys.argv[1:]))'
RAISES = 'raise ImportError("undefined symbol: x")\n'
# What stands in the place of a library: the files of a copy that came before it.
LIBRARIES = {
    'lxml is missing': {'lxml.py': 'raise ImportError("No module named \'lxml\'")\n'},
    'lxml without etree': {'lxml/__init__.py': ''},
    'lxml that does not load': {'lxml/__init__.py': '', 'lxml/etree.py': RAISES},
    'half of lxml': {'lxml/__init__.py': '', 'lxml/etree.py': ''},
    'yaml is missing': {'yaml.py': 'raise ImportError("No module named \'yaml\'")\n'},
    'yaml that does not load': {'yaml/__init__.py': RAISES},
    'half of yaml': {'yaml/__init__.py': ''},
    'yaml for another Python': {'yaml/__init__.py': 'print "hello"\n'},
    'yaml that fails in its own way': {'yaml/__init__.py': 'raise RuntimeError("half\\na copy")\n'},
}
COMMANDS = {
    'check': ['check', 'DOMAIN'],
    'check --facts': ['check', '--facts', 'FACTS', 'DOMAIN'],
    'scan': ['scan'],
    'scan --next-boot': ['scan', '--next-boot'],
    'watch': ['watch'],
    'watch --once': ['watch', '--once'],
    'rules': ['rules'],
    'explain': ['explain', 'tcg'],
    'policy check': ['policy', 'check'],
    'policy check --drop-in': ['policy', 'check', '--drop-in', 'FACTS'],
    'policy show': ['policy', 'show'],
    'policy test': ['policy', 'test', str(CHECKOUT / 'tests/cases')],
    'policy edit': ['policy', 'edit'],
    'policy diff': ['policy', 'diff', 'rhel-8', 'rhel-9', 'DOMAIN'],
    'policy compile': ['policy', 'compile'],
    'policy set': ['policy', 'set', 'mode', 'audit'],
    'guests': ['guests'],
    'polkit check': ['polkit', 'check', 'root'],
    'polkit print': ['polkit', 'print'],
    'waiver add': ['waiver', 'add', 'guest', 'tcg'],
    'waiver list': ['waiver', 'list'],
    'waiver renew': ['waiver', 'renew', 'guest', '--until', 'today'],
    'waiver remove': ['waiver', 'remove', 'guest'],
}
# In a checkout these say that nothing is installed, or read no policy; tests/live has what they say on a host.
WITHOUT_LIBRARIES = {'fleet', 'help', 'metrics', 'report', 'status'}


def run(arguments, **environment):
    # -S would hide the libraries altogether, of which one must be whole.
    return subprocess.run(
        [sys.executable, '-B', '-c', PROGRAM, *arguments],
        env=dict(os.environ, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
        timeout=60,
    )


def sub_commands(parser, above=''):
    """Every sub-command of a parser that has none below."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found = list(sub_commands(below, above + name + ' '))
                yield from found or [above + name]


def test_every_sub_command_is_among_them():
    assert set(sub_commands(build_parser())) == {name.partition(' --')[0] for name in COMMANDS} | WITHOUT_LIBRARIES


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """The directory of the package in a checkout where it is compiled: half of the time that a command takes here."""
    lib = copy_checkout(tmp_path_factory.mktemp('compiled') / 'checkout') / 'lib'
    assert compileall.compile_dir(str(lib), quiet=1)
    return lib


@pytest.mark.parametrize('command', sorted(COMMANDS))
@pytest.mark.parametrize('library', sorted(LIBRARIES))
def test_a_library_that_cannot_be_used(tmp_path, package, library, command):
    for name, text in LIBRARIES[library].items():
        path = tmp_path / 'broken' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / 'domain.xml').write_bytes(DENIED)
    (tmp_path / 'facts.yaml').write_text('container: none\n')
    places = {'DOMAIN': str(tmp_path / 'domain.xml'), 'FACTS': str(tmp_path / 'facts.yaml')}
    path = os.pathsep.join([str(tmp_path / 'broken'), str(package)])
    result = run([places.get(word, word) for word in COMMANDS[command]], PYTHONPATH=path)
    (line,) = result.stderr.splitlines()
    assert line.startswith('virt-guard: a library is missing or broken: ')
    assert line.endswith("(install the distribution's lxml and PyYAML)")
    assert (result.returncode, result.stdout) == (2, '')


def test_help_needs_no_library(tmp_path):
    for name in ('lxml.py', 'yaml.py'):
        (tmp_path / name).write_text(RAISES)
    result = run(['help', 'check'], PYTHONPATH=os.pathsep.join([str(tmp_path), str(CHECKOUT / 'lib')]))
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.startswith('usage: virt-guard check ')


def test_a_defect_of_the_guard_is_not_blamed_on_a_library():
    defective = """
import sys
from virtguard.commands import main, parser
def fail(*arguments):
    raise ValueError('a defect')
parser.runs.check = fail
main.main(['check', 'x.xml'])
"""
    result = subprocess.run(
        [sys.executable, '-B', '-c', defective],
        env={'PYTHONPATH': str(CHECKOUT / 'lib')},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
    )
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr.endswith('ValueError: a defect\n')


# East and west of the host by a whole day, so that it is another day there at whatever hour this runs.
@pytest.mark.parametrize('zone', ['EAST-24', 'WEST+24'])
def test_the_day_is_the_hosts_whatever_the_callers_zone(tmp_path, zone):
    (tmp_path / 'domain.xml').write_bytes(CLEAN)
    policy = tmp_path / 'policy.yaml'
    policy.write_text(
        'policy: site\nrules:\n'
        '- {id: any, title: t, action: deny, match: /domain/name, why: w, remedy: r}\n'
        'waivers:\n- {rules: [any], domains: [guest], reason: r, approved-by: me, expires: %s}\n' % today()
    )
    check = ['check', '--policy', str(policy), str(tmp_path / 'domain.xml')]
    result = run(check, PYTHONPATH=str(CHECKOUT / 'lib'), TZ=zone)
    assert 'expires today' in result.stdout, (
        'on the day before it would expire tomorrow, and on the next it has expired'
    )
    assert result.returncode == 0
