# SPDX-License-Identifier: Apache-2.0
"""The one way to change the policy in force: whole, checked, recorded, and nobody's edit is lost."""

import fcntl
import os
import stat

import pytest
from virtguard import journal
from virtguard.commands import lock
from virtguard.commands.policies.broken_policy import what_is_left
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

    def change(name, revise, mends=False):
        return change_drop_in(installation, name, revise, journal.Sinks(str(tmp_path / 'log'), nowhere, nowhere), mends)

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


# Several drop-ins are broken


@pytest.fixture
def broken(drop_ins):
    """A function that writes drop-ins, as an editor does."""

    def write(**texts):
        os.makedirs(drop_ins, exist_ok=True)
        for name, text in texts.items():
            with open(os.path.join(drop_ins, name + '.yaml'), 'w') as file:
                file.write(text)

    return write


def mend(change, name, read, data):
    return change(name, as_read(read, data, '%s was edited' % name), True)


@pytest.mark.parametrize('data', [b'mode: audit\n', None])
def test_one_of_two_broken_drop_ins_is_mended(installation, drop_ins, change, broken, tmp_path, data):
    change('10-first.yaml', as_read(None, b'deadline: 3\n', 'before'))
    whole = load.trusted(installation.policy).sha256
    compiled = (tmp_path / 'etc/virt-guard/policy.compiled').read_bytes()
    broken(a='mode: adit\n', b='mode: [\n', c='x: 1\ny: 2\n')
    assert mend(change, 'a.yaml', b'mode: adit\n', data) is None
    assert ('a.yaml' in entries(drop_ins)) == (data is not None)
    assert (tmp_path / 'etc/virt-guard/policy.compiled').read_bytes() == compiled, 'starts do not take it: out of date'
    record = (tmp_path / 'log').read_text().splitlines()[-1]
    files = ', '.join(os.path.join(drop_ins, name) for name in ('b.yaml', 'c.yaml'))
    assert 'a.yaml was edited; the policy is still broken: 3 problems in %s' % files in record
    assert 'VIRT_GUARD_FILE_SHA256_BEFORE=%s' % sha256_hex(b'mode: adit\n') in record
    assert 'VIRT_GUARD_POLICY' not in record and 'VIRT_GUARD_MODE' not in record
    assert mend(change, 'b.yaml', b'mode: [\n', None) is None
    policy = mend(change, 'c.yaml', b'x: 1\ny: 2\n', b'failure: deny\n')
    assert policy is not None and policy.mode == ('audit' if data else 'enforce')
    record = (tmp_path / 'log').read_text().splitlines()[-1]
    assert 'VIRT_GUARD_POLICY_SHA256_BEFORE=%s' % whole in record and 'still broken' not in record
    assert load_compiled(installation.policy)[0] is not None


def test_others_are_not_said_to_have_done_what_was_edited(installation, change, broken, tmp_path):
    change('10-first.yaml', as_read(None, b'deadline: 3\n', 'before'))
    broken(a='mode: adit\n', b='mode: [\n')
    mend(change, 'a.yaml', b'mode: adit\n', b'mode: audit\n')
    broken(b='failure: deny\n')
    change('10-first.yaml', as_read(b'deadline: 3\n', b'deadline: 4\n', 'after'))
    by_others = (tmp_path / 'log').read_text().splitlines()[-2]
    assert 'not by a command of virt-guard: ' in by_others
    assert 'b.yaml was added' in by_others and 'a.yaml was added' not in by_others


REFUSED = [
    ('a.yaml', b'mode: adit\n', b'mode: aditt\n', 'a.yaml:1:7: '),  # it has a problem itself
    ('a.yaml', b'mode: adit\n', b'mode: audit\nx: 1\n', 'a.yaml:2:1: '),
    ('z.yaml', None, b'extends: rhel-7\n', 'z.yaml:1:'),
    ('c.yaml', b'rules: [{id: two, title: t, action: deny, match: /a, why: w, remedy: r}]\n', None, 'd.yaml:1:'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'read', 'data', 'place'), REFUSED, ids=[one[3] for one in REFUSED])
def test_nothing_becomes_worse_in_a_broken_policy(drop_ins, change, broken, tmp_path, name, read, data, place):
    broken(a='mode: adit\n', b='mode: [\n', c=REFUSED[3][1].decode(), d='rules: [{id: two, action: warn}]\n')
    with pytest.raises(PolicyError) as caught:
        mend(change, name, read, data)
    assert any(place in str(problem) for problem in caught.value.problems)
    assert entries(drop_ins) == ['a.yaml', 'b.yaml', 'c.yaml', 'd.yaml'] and not (tmp_path / 'log').exists()
    with open(os.path.join(drop_ins, name if read else 'a.yaml'), 'rb') as file:
        assert file.read() == (read or b'mode: adit\n')


def test_only_who_mends_may_leave_a_policy_broken(change, broken, drop_ins):
    broken(a='mode: adit\n', b='mode: [\n')
    with pytest.raises(PolicyError):
        change('a.yaml', as_read(b'mode: adit\n', AUDIT, 'audit'))
    with open(os.path.join(drop_ins, 'b.yaml'), 'w') as file:
        file.write('')
    with pytest.raises(PolicyError):
        mend(change, 'b.yaml', b'', b'mode: [\n')
    assert mend(change, 'a.yaml', b'mode: adit\n', AUDIT).mode == 'audit'


def test_what_becomes_of_starts_meanwhile_is_told(installation, drop_ins, broken):
    broken(a='mode: adit\nfailure: admit\n', b='mode: [\n')
    path = os.path.join(drop_ins, 'a.yaml')
    for data, said in (
        (b'failure: admit\n', 'every start is admitted without a verdict (failure admit), as before.'),
        (
            None,
            'every start is refused (failure deny); as the files are now, every start is admitted without a verdict.',
        ),
    ):
        with pytest.raises(PolicyError) as caught:
            load.trusted(installation.policy, changes={path: data})
        left = what_is_left(installation, {path: data}, caught.value)
        assert list(left.lines())[-1] == 'Until that is mended, no domain is judged: ' + said
        assert left.next == 'mend %s/b.yaml: virt-guard policy edit b' % drop_ins
