# SPDX-License-Identifier: Apache-2.0
"""The catalog explains each kind of record, in a form that journalctl takes, with commands that virt-guard has."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from support.capabilities import missing
from support.paths import CHECKOUT
from virtguard.commands.parser import build_parser
from virtguard.journal import MESSAGE_IDS

CATALOG = CHECKOUT / 'data' / 'virt-guard.catalog'
ENTRIES = dict(
    re.findall(r'^-- (\w+)\n(.*?)(?=^-- |\Z)', CATALOG.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL)
)
# What the shell can record by itself.
OTHERS = ('hooks/qemu', 'install.sh')


def test_every_kind_of_record_is_explained():
    known = set(MESSAGE_IDS.values())
    assert set(ENTRIES) == known
    for name in OTHERS:
        ids = set(re.findall(r'MESSAGE_ID=(\w+)', (CHECKOUT / name).read_text(encoding='utf-8')))
        assert ids and ids <= known, name


@pytest.mark.parametrize('id', sorted(ENTRIES))
def test_an_entry_says_what_to_do(id):
    head, _, text = ENTRIES[id].partition('\n\n')
    assert re.match(r'Subject: [\w,. -]{10,70}\nDefined-By: virt-guard\nDocumentation: man:virt-guard', head)
    commands = [line.strip() for line in text.splitlines() if line.startswith('  ')]
    assert commands or 'There is nothing to do' in text
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for command in commands:
        # A name is its owner's choice, and what is typed goes to a shell.
        assert set(re.findall('@(.*?)@', command)) <= {'VIRT_GUARD_UUID', 'VIRT_GUARD_RULE'}
        program, *arguments = shlex.split(re.sub('@.*?@', 'word', command).replace('...', ''))
        if program == 'virt-guard':
            assert callable(build_parser().parse_args(arguments).run)
        else:
            assert program in ('virsh', 'systemctl', 'journalctl')


def test_its_fields_are_those_of_the_journal():
    described = (CHECKOUT / 'doc' / 'virt-guard.8').read_text(encoding='utf-8')
    named = set(re.findall(r'@(\w+)@|\b(VIRT_GUARD_\w+)', CATALOG.read_text(encoding='utf-8')))
    fields = {field for pair in named for field in pair if field}
    assert len(fields) > 8
    assert [
        field for field in sorted(fields) if not re.search(r'^\.It .*\b%s\b' % field, described, re.MULTILINE)
    ] == []


def test_journalctl_takes_it(tmp_path):
    if shutil.which('journalctl') is None:
        missing('there is no journalctl')
    for directory in ('usr/lib/systemd/catalog', 'var/lib/systemd/catalog'):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(str(CATALOG), str(tmp_path / 'usr/lib/systemd/catalog'))
    said = journalctl(tmp_path, '--update-catalog')
    assert said == ''
    shown = journalctl(tmp_path, '--dump-catalog')
    assert set(re.findall(r'^-- (\w+)$', shown, re.MULTILINE)) == set(ENTRIES)
    for entry in ENTRIES.values():
        assert entry.strip() in shown


def journalctl(root, *arguments):
    environment = dict(os.environ, LC_ALL='C.UTF-8')
    command = ['journalctl', '--no-pager', '--root', str(root), *arguments]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, encoding='utf-8'
    ).stdout
