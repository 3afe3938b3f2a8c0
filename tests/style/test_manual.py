# SPDX-License-Identifier: Apache-2.0
"""The man pages: they are clean mdoc, their examples do what they show, and they leave out nothing that the code knows.

Above a display, a comment says what it is: `file NAME`, `drop-in NAME`, or `run`, which has commands behind `#`
and what they print.
"""

import argparse
import datetime
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from support.capabilities import missing
from support.paths import CHECKOUT
from virtguard.commands import exit_status
from virtguard.commands.parser import build_parser
from virtguard.commands.policies import expectations
from virtguard.journal import MESSAGE_IDS
from virtguard.policy import layer, load
from virtguard.policy.probes import PROBES

COMMAND, POLICY = CHECKOUT / 'doc' / 'virt-guard.8', CHECKOUT / 'doc' / 'virt-guard-policy.5'
PAGES = [COMMAND, POLICY]
EXAMPLE = re.compile(r'^\.\\" (file|drop-in|run) ?(\S*)\n\.Bd -literal.*\n((?:.*\n)*?)\.Ed$', re.MULTILINE)
ESCAPES = {r'\(aq': "'", r'\e': '\\', r'\&': ''}
DAY = re.compile(r'\b\d{4}-\d\d-\d\d\b')
# Of what is not installed where the page is checked, mandoc says so.
ABOUT_OTHER_PAGES = re.compile('referenced manual not found|outdated mandoc.db')

by_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


def text_of(page):
    return page.read_bytes().decode('ascii')


def run_tool(*command):
    if shutil.which(command[0]) is None:
        missing('%s is not installed' % command[0])
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.stdout.decode('utf-8').splitlines()


@by_page
def test_mandoc_has_nothing_to_say(page):
    said = run_tool('mandoc', '-T', 'lint', str(page))
    assert [line for line in said if not ABOUT_OTHER_PAGES.search(line)] == []


@by_page
def test_groff_has_nothing_to_say(page):
    assert run_tool('groff', '-mdoc', '-ww', '-z', '-T', 'utf8', str(page)) == []


# Examples


def examples(page):
    """(what, name, text) of each, as a reader sees it today: the days of the page are counted from its date."""
    text = text_of(page)
    written = datetime.datetime.strptime(re.search(r'^\.Dd (.*)$', text, re.MULTILINE).group(1), '%B %d, %Y').date()

    def shifted(found):
        day = datetime.date(*map(int, found.group().split('-')))
        return str(day + (datetime.date.today() - written))

    for what, name, shown in EXAMPLE.findall(text):
        for escape, meaning in ESCAPES.items():
            shown = shown.replace(escape, meaning)
        yield what, name, DAY.sub(shifted, shown)


@pytest.fixture
def shell(tmp_path):
    """A function that runs a command line where `virt-guard` is the checkout's; tmp_path is its directory."""
    (tmp_path / 'bin').mkdir()
    script = tmp_path / 'bin' / 'virt-guard'
    program = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); from virtguard.commands.main import main; sys.exit(main())'
    )
    script.write_text('#!/bin/sh\nexec "%s" -B -c "%s" "%s" "$@"\n' % (sys.executable, program, CHECKOUT / 'lib'))
    script.chmod(0o755)
    path = '%s:/usr/bin:/bin' % script.parent

    def run(line):
        result = subprocess.run(
            ['sh', '-c', line],
            cwd=str(tmp_path),
            env={'PATH': path, 'LC_ALL': 'C'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return result.stdout.decode('ascii')

    return run


@by_page
def test_examples(page, shell, tmp_path):
    ran = 0
    for what, name, text in examples(page):
        if what == 'file':
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        elif what == 'run':
            commands = [block for block in re.split('^# ', text, flags=re.MULTILINE) if block]
            for command in commands:
                line, _, expected = command.partition('\n')
                assert shell(line) == expected, line
                ran += 1
    assert ran >= 3


def test_drop_ins_change_the_shipped_policy(tmp_path):
    shutil.copy(str(CHECKOUT / 'policy.yaml'), str(tmp_path / 'policy.yaml'))
    (tmp_path / 'policy.d').mkdir()
    names = []
    for what, name, text in examples(POLICY):
        if what == 'drop-in':
            (tmp_path / 'policy.d' / name).write_text(text)
            names.append(name)
    policy = load.as_if_in_force(str(tmp_path / 'policy.yaml'), str(datetime.date.today()))
    assert [pathlib.Path(path).name for path in policy.files] == [
        'rhel-8.yaml',
        'kvm-baseline.yaml',
        'policy.yaml',
        *sorted(names),
    ]
    assert len(names) == 4 and policy.waivers
    actions = {rule.id: rule.action for rule in policy.rules}
    assert (actions['virtio-crypto'], actions['container-host'], actions['no-vnc']) == ('warn', 'off', 'deny')
    assert actions['disk-hot-plug'] == actions['post-copy'] == 'warn'


def test_every_display_is_tried():
    for page in PAGES:
        text = text_of(page)
        assert len(EXAMPLE.findall(text)) == text.count('\n.Bd -literal') > 0


# What the pages must not leave out


def section(page, title):
    found = re.search(r'^\.Sh %s\n((?:(?!\.Sh ).*\n)*)' % title, text_of(page), re.MULTILINE)
    assert found, title
    return found.group(1)


def commands(parser, path=()):
    """Every command: its words, and the long options that it takes."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for name, child in action.choices.items():
            yield from commands(child, path + (name,))
    if not inner:
        yield ' '.join(path), {text for action in parser._actions for text in action.option_strings} - {'-h', '--help'}


COMMANDS = dict(commands(build_parser()))


def options_in(text):
    return {'-' + option for option in re.findall(r'\bFl (-[a-z-]+)', text)}


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_and_option(name):
    entry = re.search(r'^\.It Cm %s(?: (.*))?\n((?:(?!\.It ).*\n)*)' % name, section(COMMAND, 'COMMANDS'), re.MULTILINE)
    assert entry, 'no entry in COMMANDS'
    assert options_in(entry.group(1) or '') == COMMANDS[name]
    synopsis = re.search(r'^\.Cm %s\n((?:(?!\.Nm).*\n)*)' % name, section(COMMAND, 'SYNOPSIS'), re.MULTILINE)
    assert synopsis, 'no entry in SYNOPSIS'
    assert options_in(synopsis.group(1)) == COMMANDS[name]
    for option in COMMANDS[name]:
        described = '.It Fl %s' % option[1:] in section(COMMAND, 'OPTIONS')
        assert described or option in options_in(entry.group(2)), '%s is not described' % option


@pytest.mark.parametrize(
    'title, keys',
    [
        ('SETTINGS', [*layer._SETTINGS, *layer._LISTS]),
        ('RULES', layer._RULE),
        ('WAIVERS', layer._WAIVER),
        ('TEST CASES', ['host', 'date', 'findings']),
    ],
)
def test_every_key(title, keys):
    described = re.findall(r'^\.It Cm (\S+) :', section(POLICY, title), re.MULTILINE)
    assert set(keys) <= set(described)


@pytest.mark.parametrize(
    'title, words',
    [
        ('SETTINGS', layer.MODES + layer.FAILURES + (str(layer.MAX_DEADLINE),)),
        ('RULES', layer.ACTIONS + layer.TIMES + PROBES + layer.FACTS),
        ('TEST CASES', expectations.STATUSES),
    ],
)
def test_every_word_of_the_language(title, words):
    text = section(POLICY, title)
    assert [word for word in words if not re.search(r'(?<![\w-])%s(?![\w-])' % word, text)] == []


def test_every_field_of_the_journal():
    sources = ''.join(path.read_text(encoding='utf-8') for path in (CHECKOUT / 'lib' / 'virtguard').glob('**/*.py'))
    fields = set(re.findall(r"'(VIRT_GUARD_[A-Z0-9_]+)'", sources))
    described = section(COMMAND, 'THE JOURNAL')
    assert len(fields) >= 13
    assert [
        field for field in sorted(fields) if not re.search(r'^\.It .*\b%s\b' % field, described, re.MULTILINE)
    ] == []
    assert [id for id in MESSAGE_IDS.values() if '.It Li %s Ta' % id not in described] == []


def test_every_exit_status():
    statuses = (exit_status.ADMITTED, exit_status.DENIED, exit_status.NOT_JUDGED, exit_status.INTERRUPTED)
    assert re.findall(r'^\.It (\d+)$', section(COMMAND, 'EXIT STATUS'), re.MULTILINE) == list(map(str, statuses))
