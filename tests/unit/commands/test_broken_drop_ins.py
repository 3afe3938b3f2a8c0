# SPDX-License-Identifier: Apache-2.0
"""Broken drop-ins, by each way in which a command writes one: none comes into force, and none is changed unless that
mends it."""

import os

import pytest
from support.drop_ins import BASE, MISTAKES, broken, healthy
from virtguard import journal
from virtguard.commands.parser import build_parser
from virtguard.commands.policies.policy_change import as_read, change_drop_in
from virtguard.commands.policies.settings_file import with_setting
from virtguard.commands.waivers.waiver_file import WaiverFile
from virtguard.errors import GuardError
from virtguard.policy import load
from virtguard.policy.drop_ins import drop_in_directory
from virtguard.policy.installation import Installation
from virtguard.policy.problems import PolicyError

NUMBER = 200
SETTINGS, WAIVERS = '70-settings.yaml', '60-waivers.yaml'


@pytest.fixture
def installation(tmp_path):
    path = tmp_path / 'etc' / 'policy.yaml'
    path.parent.mkdir(mode=0o755)
    path.write_text(BASE)
    path.with_suffix('.d').mkdir(mode=0o755)
    return Installation(str(path), True, str(tmp_path))


@pytest.fixture
def change(installation, tmp_path):
    """change_drop_in, whose records go to a file."""
    sinks = journal.Sinks(str(tmp_path / 'log'), str(tmp_path / 'nowhere'), str(tmp_path / 'nowhere'))
    return lambda name, revise, mends=False: change_drop_in(installation, name, revise, sinks, mends)


@pytest.fixture
def put(installation):
    """A function that writes a drop-in, as an editor does, and returns a function that reads it."""

    def write(name, text):
        path = os.path.join(drop_in_directory(installation.policy), name)
        with open(path, 'wb') as file:
            file.write(text)

        def read():
            with open(path, 'rb') as file:
                return file.read()

        return read

    return write


@pytest.mark.parametrize('other', [None, b'mode: [\n'], ids=['whole', 'broken'])
def test_none_comes_into_force_by_policy_edit(installation, change, put, other):
    assert 4 * len(MISTAKES) <= NUMBER
    if other is not None:
        put('10-other.yaml', other)
    before = os.listdir(drop_in_directory(installation.policy))
    for seed in range(NUMBER):
        made = broken(seed)
        with pytest.raises(PolicyError):
            assert change('50-site.yaml', as_read(None, made.text, 'edited'), True), made
        assert os.listdir(drop_in_directory(installation.policy)) == before, made


def test_a_healthy_one_is_put_beside_a_broken_one(installation, change, put):
    put('10-other.yaml', b'mode: [\n')
    for seed in range(20):
        text = healthy(seed)
        read = put('50-site.yaml', b'mode: adit\n')
        assert change('50-site.yaml', as_read(b'mode: adit\n', text, 'edited'), True) is None
        assert read() == text


COMMANDS = (
    (SETTINGS, ['policy', 'set', 'mode', 'audit']),
    (WAIVERS, ['waiver', 'add', 'web07', 'one', '--until', 'today', '--reason', 'r']),
    (WAIVERS, ['waiver', 'renew', 'web07', '--until', 'today']),
    (WAIVERS, ['waiver', 'remove', 'web07']),
)


@pytest.mark.parametrize(('name', 'words'), COMMANDS, ids=[' '.join(words[:2]) for _, words in COMMANDS])
def test_commands_leave_a_broken_one_alone_and_say_how_to_mend_it(installation, put, capfd, name, words):
    arguments = build_parser().parse_args(words)
    path = os.path.join(drop_in_directory(installation.policy), name)
    for seed in range(NUMBER):
        made = broken(seed)
        read = put(name, made.text)
        with pytest.raises(GuardError) as caught:
            arguments.run(arguments, installation)
        hint = 'first, mend %s: virt-guard policy edit %s' % (path, name[: -len('.yaml')])
        assert (caught.value.message, caught.value.hint) == ('the policy is broken, so nothing was changed', hint)
        output, errors = capfd.readouterr()
        assert output == '' and errors.startswith(path + ':'), made
        assert read() == made.text, made


def setting(key, value):
    return lambda data: with_setting(data, SETTINGS, key, value)


EDITS = {
    'set': (SETTINGS, setting('mode', 'audit')),
    'set to default': (SETTINGS, setting('mode', '')),
    'add': (WAIVERS, lambda data: WaiverFile(data, WAIVERS).add(waiver())),
    'renew': (WAIVERS, lambda data: WaiverFile(data, WAIVERS).renew(0, {'reason': 'another'})),
    'remove': (WAIVERS, lambda data: WaiverFile(data, WAIVERS).remove(0)),
}


def waiver():
    text = b'waivers: [{rules: [one], domains: [web07], reason: r, approved-by: a, expires: 2020-01-01}]\n'
    return WaiverFile(text, WAIVERS).waivers[0]


@pytest.mark.parametrize('edit', sorted(EDITS))
def test_one_that_breaks_while_a_command_runs_is_mended_or_left_alone(installation, change, put, edit):
    """The command has read a whole policy, and finds this file when it has the lock."""
    name, edited = EDITS[edit]
    mended = 0
    for seed in range(NUMBER):
        made = broken(seed)
        read = put(name, made.text)
        try:
            changed = change(name, lambda before: (edited(before), 'edited'))
        except (GuardError, IndexError):  # there is no waiver to change
            assert read() == made.text, made
        else:
            assert changed is not None or read() == made.text, made
            mended += changed is not None
            assert changed is None or load.trusted(installation.policy).sha256 == changed.sha256
    assert mended < NUMBER / 4
