# SPDX-License-Identifier: Apache-2.0
"""The compiled policy: the same verdicts, and as good as none wherever it cannot be trusted or used."""

import collections
import contextlib
import marshal
import multiprocessing
import os
import pathlib
import shutil
import sys
import time

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import compiled, model, source_contents, trust
from virtguard.compiled import compiled_path, load_compiled, take_stamp
from virtguard.errors import DomainXMLError
from virtguard.host import today
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.policy import compiler, load, osinfo_db
from virtguard.source_contents import take_contents

DOCUMENTS = sorted((CHECKOUT / 'tests' / 'cases').rglob('*.xml'))
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
TODAY = '2026-11-25'


def compile_to(path, policy_path):
    policy = load.trusted(str(policy_path))
    sources = compiler.what_it_depends_on(policy)
    compiled_policy = compiler.compile_policy(policy, take_stamp(sources), take_contents(sources))
    return compiler.write_compiled(str(path), compiled_policy)


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    path = tmp_path / 'policy.yaml'
    path.write_bytes((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes())
    path.chmod(0o644)
    compiler.let_clock_advance([(str(path), trust.FILE), (str(tmp_path), trust.LISTING)])
    return path


@pytest.fixture
def file(policy):
    """The compiled form of `policy`."""
    path = pathlib.Path(compiled_path(str(policy)))
    assert compile_to(path, policy)
    assert load_compiled(str(policy))[0] is not None
    return path


def refusal(policy):
    """Why the compiled form is not used; it must not be."""
    loaded, warning = load_compiled(str(policy))
    assert loaded is None
    return warning


def findings(verdict):
    return [(f.rule.id, f.status, f.path, f.line, f.evidence, f.message) for f in verdict.findings]


def assert_same_verdict(policy, judge, xml):
    try:
        expected = evaluate(policy, parse_domain(xml), HOST, TODAY)
    except DomainXMLError:
        with pytest.raises(DomainXMLError):
            judge.judge(xml)
        return None
    verdict = judge.judge(xml)
    assert findings(verdict) == findings(expected)
    assert (verdict.decision, verdict.outcome) == (expected.decision, expected.outcome)
    assert (verdict.domain_name, verdict.uuid) == (expected.domain_name, expected.uuid)
    assert (verdict.policy.name, verdict.policy.sha256) == (policy.name, policy.sha256)
    return verdict.decision


def test_lines_change_no_verdict():
    policy = load_policy((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
    judge = Judge(policy, HOST, TODAY)
    decisions = [assert_same_verdict(policy, judge, path.read_bytes()) for path in DOCUMENTS]
    assert decisions.count(model.DENY) > 50 and decisions.count(model.ADMIT) > 50


@pytest.mark.parametrize(
    'xml', [b'', b'<network/>', b'<domain>', b'<!DOCTYPE domain><domain/>', b"<network xmlns='urn:x'/>", b'<a:domain>']
)
def test_lines_do_not_admit_what_is_not_a_domain(xml):
    policy = load_policy(
        b'policy: x\nrules: [{id: a, title: t, action: deny, match: /domain/x, why: w, remedy: r}]', 'p'
    )
    with pytest.raises(DomainXMLError):
        Judge(policy, HOST, TODAY).judge(xml)


def test_rules_come_back_whole(policy, file):
    loaded, warning = load_compiled(str(policy))
    expected = load.trusted(str(policy))  # with the host's osinfo-db, too
    assert warning == ''
    assert loaded.needed_facts == tuple(sorted(expected.needed_facts()))
    for name in ('name', 'mode', 'failure', 'deadline', 'audit_required', 'sha256', 'source'):
        assert getattr(loaded.policy, name) == getattr(expected, name)
    admission = expected.rules_at(model.ADMISSION)
    for rule, other in zip(loaded.narrowed(range(len(admission))).rules, admission):
        for slot in (
            'id',
            'title',
            'action',
            'match',
            'values',
            'negated',
            'probe',
            'why',
            'remedy',
            'reference',
            'origin',
        ):
            assert getattr(rule, slot) == getattr(other, slot)
        conditions = [[(c.fact, c.values, c.negated, c.span) for c in one.host] for one in (rule, other)]
        assert conditions[0] == conditions[1]


def test_rules_that_are_off_are_left_out(tmp_path):
    text = 'policy: x\nrules:\n' + ''.join(
        '  - {id: %s, title: t, action: "%s", match: /domain/%s, why: w, remedy: r}\n' % (id, action, id)
        for id, action in (('a', 'off'), ('b', 'deny'))
    )
    judge = Judge(load_policy(text.encode(), 'p'), HOST, TODAY)
    assert findings(judge.judge(b'<domain><a/></domain>')) == []
    assert [f[0] for f in findings(judge.judge(b'<domain><a/><b/></domain>'))] == ['b']


def test_a_missing_compiled_file_is_not_warned_of(policy):
    assert refusal(policy) == ''


@pytest.mark.parametrize('size', [0, 1, 20, 60, 100, 1000, -1])
def test_truncated(policy, file, size):
    file.write_bytes(file.read_bytes()[:size])
    assert str(file) in refusal(policy)


def test_every_damaged_byte_shows(policy, file):
    data = file.read_bytes()
    for offset in list(range(0, 120)) + list(range(120, len(data), 997)):
        damaged = bytearray(data)
        damaged[offset] ^= 0x40
        file.write_bytes(bytes(damaged))
        assert str(file) in refusal(policy), offset


def test_damaged_texts_of_rules_show_when_they_are_needed(policy, file):
    """A clean domain is not made to wait for what it has no need of."""
    denied = b"<domain type='qemu'><name>a</name></domain>"
    data = file.read_bytes()
    size = int(data.split(b'\n', 2)[1].split()[0])
    for place in (len(data) - size - 1, data.index(b'swtpm')):
        damaged = bytearray(data)
        damaged[place] ^= 0x40
        file.write_bytes(bytes(damaged))
        compiled_policy, warning = load_compiled(str(policy), whole=False)
        assert warning == '' and not compiled_policy.is_whole()
        with pytest.raises(ValueError, match='texts of its rules are damaged'):
            compiled_policy.judge(denied, HOST, TODAY)
        with pytest.raises(ValueError, match='texts of its rules are damaged'):
            compiled_policy.narrowed([0])
        assert 'is damaged' in refusal(policy)
    file.write_bytes(data)
    assert load_compiled(str(policy))[0].judge(denied, HOST, TODAY)[0].decision == 'deny'


def test_other_versions(policy, file, monkeypatch):
    data = file.read_bytes()
    now, later = (b'compiled policy %d ' % number for number in (compiled._FORMAT, compiled._FORMAT + 1))
    future = data.replace(now, later, 1)
    assert future != data
    file.write_bytes(future)
    assert 'was written by another version' in refusal(policy)
    file.write_bytes(data)
    monkeypatch.setattr(compiled, '__version__', '99.0')
    assert 'was written by another version' in refusal(policy)


def everything_in(data):
    yield data
    if isinstance(data, dict):
        data = tuple(data.items())
    if isinstance(data, (tuple, frozenset)):
        for item in data:
            yield from everything_in(item)
    elif isinstance(data, bytes):
        with contextlib.suppress(EOFError, ValueError, TypeError):
            yield from everything_in(marshal.loads(data))


def test_it_is_data_that_every_python_reads(file):
    """Whichever has written it: the first line does not name one, and there is no code in it."""
    headline, sizes, payload = file.read_bytes().split(b'\n', 2)
    size = int(sizes.split()[0])
    parts = [marshal.loads(part) for part in (payload[:size], payload[size:-size], payload[-size:])]
    assert sys.implementation.cache_tag.encode() not in headline
    types = collections.Counter(type(item) for part in parts for item in everything_in(part))
    assert types.keys() == {tuple, frozenset, dict, str, bytes, int, float, bool, type(None)}
    assert types[bytes] > len(load.trusted(str(file.with_suffix('.yaml'))).rules_of_start())


@pytest.mark.parametrize('mode', [0o664, 0o646, 0o666])
def test_writable_by_others(policy, file, mode):
    file.chmod(mode)
    assert 'can be written by others' in refusal(policy)


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to give a file away')
def test_foreign_owner(policy, file):
    os.chown(str(file), 12345, -1)
    assert 'belongs to uid 12345' in refusal(policy)


def test_no_link_is_followed(policy, file):
    file.rename(file.with_name('elsewhere'))
    file.symlink_to('elsewhere')
    assert str(file) in refusal(policy)


def test_a_fifo_or_a_directory_does_not_hang_the_reader(policy, file):
    file.unlink()
    os.mkfifo(str(file))
    assert 'not a regular file' in refusal(policy)
    file.unlink()
    file.mkdir()
    assert 'not a regular file' in refusal(policy)


def replace(path):
    copy = path.with_name('copy')
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    copy.rename(path)


def edit_in_place_with_old_times(path):
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b'mode: enforce', b'mode: audit  ', 1))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size


CHANGES = {
    'edited': lambda path: path.write_bytes(path.read_bytes() + b'\n'),
    'edited, its size and time as before': edit_in_place_with_old_times,
    'chmod': lambda path: path.chmod(0o666),
    'directory chmod': lambda path: path.parent.chmod(0o777),
    'missing': lambda path: path.unlink(),
}


@pytest.mark.parametrize('what', sorted(CHANGES))
def test_changed_source(policy, file, what):
    CHANGES[what](policy)
    warning = refusal(policy)
    assert 'is out of date; run virt-guard policy compile' in warning or what == 'missing'


def restore(path):
    """The directory of the policy from a backup: other inodes, and ctimes; and the mtimes of today."""
    backup = path.parent.with_name('backup')
    shutil.copytree(str(path.parent), str(backup), copy_function=shutil.copyfile)
    shutil.rmtree(str(path.parent))
    backup.rename(path.parent)


SAME = {
    'replaced': replace,
    'touched': lambda path: os.utime(str(path)),
    'touched in its ctime': lambda path: os.chmod(str(path), 0o644),
    'the directory touched': lambda path: os.utime(str(path.parent)),
    'restored': restore,
    'made readable for its owner only': lambda path: path.chmod(0o600),
}


@pytest.mark.parametrize('what', sorted(SAME))
def test_a_source_that_only_looks_changed(tmp_path, what):
    directory = tmp_path / 'etc'
    (directory / 'policy.d').mkdir(parents=True)
    for path in (tmp_path, directory, directory / 'policy.d'):
        path.chmod(0o755)
    policy = directory / 'policy.yaml'
    policy.write_bytes((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes())
    (directory / 'policy.d/50-site.yaml').write_text('deadline: 7\n')
    assert compile_to(compiled_path(str(policy)), policy)
    compiler.let_clock_advance([(str(policy), trust.FILE), (str(directory), trust.LISTING)])
    stamp = take_stamp([(str(policy), trust.FILE), (str(directory), trust.LISTING)])
    SAME[what](policy)
    assert take_stamp([(str(policy), trust.FILE), (str(directory), trust.LISTING)]) != stamp
    loaded, warning = load_compiled(str(policy))
    assert warning == '' and loaded.policy.deadline == 7
    for changed in ('policy.yaml', 'policy.d/50-site.yaml'):
        text = (directory / changed).read_bytes()
        (directory / changed).write_bytes(text.replace(b'deadline: 7', b'deadline: 8') + b'\n')
        assert 'is out of date' in refusal(policy)
        (directory / changed).write_bytes(text)
        assert load_compiled(str(policy))[0] is not None
    (directory / 'policy.d/60-more.yaml').write_text('deadline: 8\n')
    assert 'is out of date' in refusal(policy)


def test_a_file_in_the_place_of_a_directory_of_that_name(policy, file):
    """Which is no drop-in, whatever its name, until then."""
    named = policy.with_name('policy.d') / '50-site.yaml'
    named.mkdir(parents=True)
    for path in (named.parent, named):
        path.chmod(0o755)
    assert compile_to(file, policy)
    os.utime(str(named.parent))
    assert load_compiled(str(policy))[0] is not None, 'nothing but the time is another one'
    named.rmdir()
    named.write_text('deadline: 7\n')
    assert 'is out of date' in refusal(policy)


def test_nothing_is_read_while_the_stamp_is_the_same(policy, file, monkeypatch):
    monkeypatch.setattr(source_contents, 'take_contents', None)
    assert load_compiled(str(policy))[0] is not None
    os.utime(str(policy))
    assert load_compiled(str(policy))[0] is None, 'where it differs, they are'


@pytest.mark.parametrize('where', ['policy.yaml', 'policy.d/50-site.yaml', 'policy.d', '.'])
def test_the_same_content_that_others_may_change(policy, file, where):
    drop_ins = policy.with_name('policy.d')
    drop_ins.mkdir()
    drop_ins.chmod(0o755)
    (drop_ins / '50-site.yaml').write_text('deadline: 7\n')
    assert compile_to(file, policy)
    (policy.parent / where).chmod(0o777)
    assert 'is out of date' in refusal(policy)
    (policy.parent / where).chmod(0o755)
    assert load_compiled(str(policy))[0] is not None
    if os.geteuid() == 0:
        os.chown(str(policy.parent / where), 12345, -1)
        assert 'is out of date' in refusal(policy)


@pytest.fixture
def databases(tmp_path, monkeypatch):
    """The places of osinfo-db, which are not the host's: of the distribution, of the administrator."""
    for name in ('DISTRIBUTION', 'ADMINISTRATOR'):
        monkeypatch.setattr(osinfo_db, '_' + name, str(tmp_path / name))
    monkeypatch.setattr(osinfo_db, '_VERSION', str(tmp_path / 'DISTRIBUTION' / 'VERSION'))
    return tmp_path / 'DISTRIBUTION', tmp_path / 'ADMINISTRATOR'


def test_changed_osinfo_db(databases, policy, file):
    system, own = databases
    system.mkdir()
    for path in (system / 'VERSION', own / 'os' / 'own.xml'):
        assert load_compiled(str(policy))[0] is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('<libosinfo/>')
        assert refusal(policy).endswith('is out of date; run virt-guard policy compile')
        assert compile_to(file, policy)
        path.write_text('<libosinfo><!-- --></libosinfo>')
        assert refusal(policy).endswith('is out of date; run virt-guard policy compile')
        assert compile_to(file, policy)


def test_a_policy_without_a_named_set_does_not_depend_on_osinfo_db(databases, policy):
    text = policy.read_text(encoding='utf-8')
    without = text.replace('values: {os-released-before: 2009-01-01}', 'values: [a]')
    policy.write_text(without.replace('values: {os-known: false}', 'values: [a]'), encoding='utf-8')
    listed = compiler.what_it_depends_on(load.trusted(str(policy)))
    assert not {path for path, _ in listed} & set(osinfo_db.sources())
    policy.write_text(text, encoding='utf-8')
    assert {path for path, _ in compiler.what_it_depends_on(load.trusted(str(policy)))} >= set(osinfo_db.sources())


def test_moved_link(policy, file):
    """The policy is a link, and points elsewhere now."""
    link = policy.with_name('link.yaml')
    link.symlink_to('policy.yaml')
    assert compile_to(compiled_path(str(link)), link)
    assert load_compiled(str(link))[0] is not None
    other = policy.with_name('other.yaml')
    other.write_bytes(policy.read_bytes())
    link.unlink()
    link.symlink_to('other.yaml')
    assert load_compiled(str(link))[0] is not None, 'where it leads to does not matter, but for what is there'
    other.write_bytes(policy.read_bytes() + b'\n')
    assert 'is out of date' in refusal(link)
    other.write_bytes(policy.read_bytes())
    open_to_others = policy.with_name('open')
    open_to_others.mkdir()
    open_to_others.chmod(0o777)
    (open_to_others / 'policy.yaml').write_bytes(policy.read_bytes())
    link.unlink()
    link.symlink_to('open/policy.yaml')
    assert 'is out of date' in refusal(link), 'what is there may be another thing in a moment'


def test_written_once_and_the_same_each_time(policy, file):
    before = file.stat()
    assert not compile_to(file, policy)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert file.stat().st_mode & 0o777 == 0o644


def test_failed_write_leaves_the_old_file_and_no_other(policy, file):
    before = file.read_bytes()
    with pytest.raises(TypeError):
        compiler.write_compiled(str(file), 'no bytes')
    assert file.read_bytes() == before
    assert sorted(path.name for path in policy.parent.iterdir()) == ['policy.compiled', 'policy.yaml']


def test_planted_link_is_not_written_through(policy, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_bytes(b'precious')
    path = pathlib.Path(compiled_path(str(policy)))
    path.symlink_to(victim)
    pathlib.Path('%s.%d' % (path, os.getpid())).symlink_to(victim)
    assert compile_to(path, policy)
    assert victim.read_bytes() == b'precious'
    assert path.is_file() and not path.is_symlink()


def write_often(path, data, count):
    for _ in range(count):
        compiler.write_compiled(path, data + os.urandom(1))


def test_writers_at_once_do_no_harm(policy, file):
    """A reader always finds one whole file, the first or one of the writers', and in the end nothing else is there."""
    data = file.read_bytes()
    context = multiprocessing.get_context('fork')
    writers = [context.Process(target=write_often, args=(str(file), data, 100)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(file.read_bytes()) in (len(data), len(data) + 1)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(path.name for path in policy.parent.iterdir()) == ['policy.compiled', 'policy.yaml']


@pytest.mark.parametrize(('zone', 'mode'), [('WEST+24', 'audit'), ('UTC', 'audit'), ('EAST-24', 'enforce')])
def test_mode_audit_ends_without_compiling_anew(tmp_path, monkeypatch, zone, mode):
    """What was compiled today is loaded yesterday, today and tomorrow, as time zones have it."""
    monkeypatch.setenv('TZ', 'UTC')
    time.tzset()
    try:
        shipped = (CHECKOUT / 'data/profiles/rhel-8.yaml').read_text('utf-8')
        text = shipped.replace('mode: enforce', 'mode: {audit-until: %s}' % today())
        path = tmp_path / 'policy.yaml'
        path.write_text(text, 'utf-8')
        assert compile_to(compiled_path(str(path)), path)
        monkeypatch.setenv('TZ', zone)
        time.tzset()
        screen, warning = load_compiled(str(path))
        assert screen is not None, warning
        policies = [screen.policy, screen.narrowed([0]), load.trusted(str(path))]
        assert [(policy.mode, dict(policy.fields())['VIRT_GUARD_MODE']) for policy in policies] == [(mode, mode)] * 3
    finally:
        monkeypatch.undo()
        time.tzset()
