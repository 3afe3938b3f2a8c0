# SPDX-License-Identifier: Apache-2.0
"""The one way to change the policy in force: whole, checked, recorded, and nobody's edit is lost."""

import fcntl
import os
import stat

import pytest
from virtguard import journal
from virtguard.commands import lock
from virtguard.commands.policies.policy_change import as_read, change_drop_in, read_drop_in
from virtguard.compiled import load_compiled
from virtguard.digest import sha256_hex
from virtguard.errors import GuardError
from virtguard.policy import load
from virtguard.policy.drop_ins import drop_in_directory
from virtguard.policy.installation import Installation
from virtguard.policy.problems import PolicyError

POLICY = b"""\
policy: example
rules:
  - {id: one, title: one, action: deny, match: /domain/one, why: why, remedy: remedy}
"""
AUDIT = b'mode: audit  # for a while\n'


@pytest.fixture
def installation(tmp_path):
    directory = tmp_path / 'etc/virt-guard'
    directory.mkdir(parents=True)
    (directory / 'policy.yaml').write_bytes(POLICY)
    return Installation(str(directory / 'policy.yaml'), True, str(tmp_path))


@pytest.fixture
def drop_ins(installation):
    return drop_in_directory(installation.policy)


@pytest.fixture
def change(installation, tmp_path):
    """change_drop_in, whose records go to a file."""
    nowhere = str(tmp_path / 'nowhere')

    def change(name, revise):
        return change_drop_in(installation, name, revise, journal.Sinks(str(tmp_path / 'log'), nowhere, nowhere))

    return change


def entries(directory):
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def test_a_change_is_in_force_compiled_and_recorded(installation, drop_ins, change, tmp_path, monkeypatch):
    monkeypatch.setenv('SUDO_USER', 'daemon')
    policy = change('70-settings.yaml', as_read(None, AUDIT, 'mode audit'))
    assert policy is not None and policy.mode == 'audit'
    path = os.path.join(drop_ins, '70-settings.yaml')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644 and stat.S_IMODE(os.stat(drop_ins).st_mode) == 0o755
    assert read_drop_in(installation, '70-settings.yaml') == AUDIT
    assert entries(os.path.dirname(drop_ins)) == ['policy.compiled', 'policy.d', 'policy.yaml']
    screen, why_not = load_compiled(installation.policy)
    assert screen is not None and screen.policy.mode == 'audit', why_not
    record = (tmp_path / 'log').read_text()
    user = 'daemon' if os.geteuid() == 0 else record.split('VIRT_GUARD_USER=')[1].split()[0]
    assert 'the policy was changed by %s: mode audit' % user in record
    assert 'VIRT_GUARD_FILE=%s' % path in record
    assert 'VIRT_GUARD_FILE_SHA256=%s' % sha256_hex(AUDIT) in record and 'FILE_SHA256_BEFORE' not in record
    before, after = (sha256_hex(data) for data in ((tmp_path / 'etc/virt-guard/policy.yaml').read_bytes(), AUDIT))
    assert 'VIRT_GUARD_POLICY_SHA256_BEFORE=%s VIRT_GUARD_MODE_BEFORE=enforce' % before in record
    assert 'VIRT_GUARD_POLICY_FILES=%s  %s' % (after, path) in record
    assert 'VIRT_GUARD_POLICY_SHA256=%s' % policy.sha256 in record


def test_a_drop_in_is_removed(installation, drop_ins, change, tmp_path):
    change('70-settings.yaml', as_read(None, AUDIT, 'mode audit'))
    assert change('70-settings.yaml', as_read(AUDIT, None, 'as before')).mode == 'enforce'
    assert entries(drop_ins) == []
    last = (tmp_path / 'log').read_text().splitlines()[-1]
    assert 'VIRT_GUARD_FILE_SHA256_BEFORE=%s' % sha256_hex(AUDIT) in last and 'FILE_SHA256=' not in last


def test_nothing_is_written_where_nothing_changes(drop_ins, change, tmp_path):
    change('70-settings.yaml', as_read(None, AUDIT, 'mode audit'))
    before = os.stat(os.path.join(drop_ins, '70-settings.yaml'))
    assert change('70-settings.yaml', as_read(AUDIT, AUDIT, 'mode audit')) is None
    assert os.stat(os.path.join(drop_ins, '70-settings.yaml')).st_ino == before.st_ino
    assert len((tmp_path / 'log').read_text().splitlines()) == 1


BROKEN = (b'mode: adit\n', b'mode: [\n', b'rules:\n  - {id: two}\n', b'\xff', b'#' * (1 << 21))


@pytest.mark.parametrize('data', BROKEN, ids=lambda data: repr(data[:9]))
def test_what_would_break_the_policy_is_refused(drop_ins, change, tmp_path, data):
    change('70-settings.yaml', as_read(None, AUDIT, 'mode audit'))
    for name, read in (('70-settings.yaml', AUDIT), ('80-new.yaml', None)):
        with pytest.raises(GuardError) as caught:
            change(name, as_read(read, data, 'broken'))
        assert name in str(caught.value) or isinstance(caught.value, PolicyError)
    assert entries(drop_ins) == ['70-settings.yaml']
    assert (tmp_path / 'log').read_text().count('VIRT_GUARD_USER') == 1


@pytest.mark.parametrize('name', ['', '..', '../policy.yaml', '/tmp/50-site.yaml', '50-site.yml', '.50-site.yaml'])
def test_a_name_that_no_drop_in_has(drop_ins, change, name):
    with pytest.raises(GuardError):
        change(name, as_read(None, AUDIT, 'mode audit'))
    assert entries(drop_ins) == []


def test_a_link_is_left_alone(installation, drop_ins, change, tmp_path):
    os.mkdir(drop_ins)
    (tmp_path / 'elsewhere.yaml').write_bytes(AUDIT)
    os.symlink(str(tmp_path / 'elsewhere.yaml'), os.path.join(drop_ins, '70-settings.yaml'))
    with pytest.raises(GuardError, match='is a link'):
        change('70-settings.yaml', lambda before: (b'', 'never asked'))
    assert os.path.islink(os.path.join(drop_ins, '70-settings.yaml'))


def test_what_others_have_written_meanwhile_stays(installation, drop_ins, change):
    change('70-settings.yaml', as_read(None, AUDIT, 'mode audit'))
    path = os.path.join(drop_ins, '70-settings.yaml')

    def revise(before):
        with open(path, 'wb') as file:  # as an editor does that knows nothing of the lock
            file.write(b'failure: admit\n')
        return b'deadline: 3\n', 'another deadline'

    with pytest.raises(GuardError, match='meanwhile'):
        change('70-settings.yaml', revise)
    with pytest.raises(GuardError, match='since it was read'):
        change('70-settings.yaml', as_read(AUDIT, b'deadline: 3\n', 'another deadline'))
    assert read_drop_in(installation, '70-settings.yaml') == b'failure: admit\n'


def test_a_file_that_a_killed_writer_left_does_no_harm(installation, drop_ins, change):
    left = os.path.join(os.path.dirname(drop_ins), 'drop-in.new')
    with open(left, 'wb') as file:
        file.write(b'rules: [')
    assert load.trusted(installation.policy).mode == 'enforce'
    assert change('70-settings.yaml', as_read(None, AUDIT, 'mode audit')).mode == 'audit'
    assert not os.path.exists(left)


def test_who_has_the_lock_is_told(tmp_path):
    path = str(tmp_path / 'lock')
    with lock.locked(path), pytest.raises(GuardError) as caught, lock.locked(path, longest=0):
        raise AssertionError('two have it')
    assert 'process %d' % os.getpid() in caught.value.message
    with lock.locked(path, longest=0), open(path) as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_twenty_writers_at_once_lose_nothing(installation, change):
    """Each adds a rule to the same drop-in."""
    rule = b'  - {id: rule-%d, title: t, action: warn, match: /domain/a%d, why: why, remedy: remedy}\n'
    writers = []
    for number in range(20):
        writer = os.fork()
        if writer == 0:
            status = 1
            added = rule % (number, number)
            try:
                change('50-site.yaml', lambda before, added=added: ((before or b'rules:\n') + added, 'a rule'))
                status = 0
            finally:
                os._exit(status)
        writers.append(writer)
    assert [os.waitpid(writer, 0)[1] for writer in writers] == [0] * 20
    ids = {rule.id for rule in load.trusted(installation.policy).rules}
    assert ids == {'one', *('rule-%d' % number for number in range(20))}
    screen, why_not = load_compiled(installation.policy)
    assert screen is not None, why_not


def test_where_nothing_is_installed_nothing_is_changed(tmp_path):
    with pytest.raises(GuardError, match='not installed'):
        change_drop_in(Installation(str(tmp_path / 'policy.yaml'), False, ''), '50-site.yaml', as_read(None, AUDIT, ''))
    assert entries(str(tmp_path)) == []
