# SPDX-License-Identifier: Apache-2.0
"""The deadline of the installed hook, and what is left of a call that is over."""

import contextlib
import ctypes
import os
import pathlib
import signal
import time

import pytest
from hooked import ENDLESS_RULE, refused, start_hook
from support.capabilities import missing

MNT_DETACH = 2  # sys/mount.h
LARGE = b"<domain type='kvm'><name>vm</name>" + b'<a/>' * 5000 + b'</domain>'

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]


def orphans(installed):
    """Processes that still run the hook installed there."""
    needle = str(installed.root).encode()
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / 'cmdline').read_bytes()
            except OSError:
                continue
            if needle in command and b'virtguard' in command:
                found.append(command)
    return found


def until_gone(installed):
    """Wait for killed processes to disappear; returns those that stay."""
    limit = time.monotonic() + 5
    while orphans(installed) and time.monotonic() < limit:
        time.sleep(0.05)
    return orphans(installed)


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_deadline_on_standard_input_that_never_ends(installed, journal, failure, status):
    with installed.with_policy(failure=failure, deadline='2'):
        process = start_hook(installed, 'vm', 'start')
        process.stdin.write(b'<domain>')
        process.stdin.flush()
        # Not communicate(), which would close standard input.
        assert process.wait(timeout=60) == status
        text = process.stderr.read().decode()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()
    assert ('while reading the domain XML from standard input' in text) == (status == 2)
    (record,) = journal.records()
    assert 'the deadline of 2 seconds passed' in record['MESSAGE'][0]
    assert until_gone(installed) == []


@pytest.mark.parametrize('mode, status', [('enforce', 2), ('audit', 0)])
def test_document_that_takes_too_long_to_judge(installed, journal, mode, status):
    """Inside C code, where no signal handler runs. What a domain's owner can do to it must not admit it."""
    text = 'policy: x\nmode: %s\nfailure: admit\ndeadline: 2\nrules:%s' % (mode, ENDLESS_RULE)
    with installed.with_policy(text):
        result = installed.run_hook('vm', 'start', LARGE, timeout=60)
    assert result.returncode == status
    (record,) = journal.records()
    assert 'judging took longer than 2 seconds of processor time' in record['MESSAGE'][0]
    assert record['VIRT_GUARD_DECISION'] == ['would-deny' if mode == 'audit' else 'error']
    assert until_gone(installed) == []


def test_document_that_takes_too_much_memory(installed, journal):
    policy = 'policy: x\nfailure: admit\ndeadline: 30\nrules:' + ENDLESS_RULE.replace('count(//*)', 'count(*)')
    xml = b"<domain type='kvm'><name>vm</name>" + b'<a/>\n' * (6 << 20) + b'</domain>'
    with installed.with_policy(policy):
        text = refused(installed.run_hook('vm', 'prepare', xml, timeout=60))
    assert 'judging takes more than 1024 MiB of memory' in text
    assert len(journal.records()) == 1


def test_a_start_is_not_refused_because_the_host_is_busy(installed, clean, denied, journal):
    """More calls at once than can be answered within the deadline, were it that of a clock on the wall."""
    xml = clean.replace(b'http://redhat.com/rhel/8.10', b'http://example.com/none')
    count, took = 8 * len(os.sched_getaffinity(0)), 0.0
    with installed.with_policy(deadline='0.5', failure='deny'):
        while took < 1:  # until they wait for each other for longer than the deadline
            started = time.monotonic()
            answers = answers_of_many(installed, [xml, denied] * (count // 2))
            took = time.monotonic() - started
            assert [status for status, _ in answers] == [0, 1] * (count // 2), answers
            count *= 2


def answers_of_many(installed, documents):
    """Exit status and text of calls that are made at once."""
    calls = []
    for document in documents:
        calls.append(start_hook(installed, 'vm', 'prepare'))
        calls[-1].stdin.write(document)
        calls[-1].stdin.close()
    answers = [(call_.wait(timeout=120), call_.stderr.read()) for call_ in calls]
    for call_ in calls:
        call_.stdout.close()
        call_.stderr.close()
    return answers


def guards(pid):
    """The processes below the hook's shell: the guard, and the worker in which it lets domains be judged."""
    found = []
    for child in pathlib.Path('/proc/%d/task/%d/children' % (pid, pid)).read_text().split():
        if b'virtguard' in pathlib.Path('/proc', child, 'cmdline').read_bytes():
            found.append(int(child))
        found += guards(int(child))
    return found


@contextlib.contextmanager
def stopped_while_judging(installed, xml, stopped):
    """A call of the hook whose processes are stopped soon after the worker began: it reads the policy itself, and YAML
    takes long.

    :param stopped: which of the guard and the worker
    """
    with contextlib.suppress(FileNotFoundError):
        installed.policy.with_suffix('.compiled').unlink()
    process = start_hook(installed, 'vm', 'start')
    process.stdin.write(xml)
    process.stdin.close()
    found = []
    while len(found) < 2:
        with contextlib.suppress(OSError):  # a process that has ended meanwhile
            found = guards(process.pid)
        assert process.poll() is None, 'it ended before it could be stopped'
    for pid in found[stopped]:
        os.kill(pid, signal.SIGSTOP)
    yield process, found
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize('stopped', [slice(1, 2), slice(0, 2)], ids=['worker', 'both'])
def test_a_process_that_is_stopped_is_no_reason_to_refuse(installed, clean, journal, stopped):
    """For longer than the deadline, before there is a verdict. It goes on as if nothing had been."""
    with installed.with_policy(deadline='1'), stopped_while_judging(installed, clean, stopped) as (process, found):
        time.sleep(3)
        assert process.poll() is None
        for pid in found[stopped]:
            os.kill(pid, signal.SIGCONT)
        text = process.stderr.read()
        assert (process.wait(timeout=60), text) == (0, b'')
    (record,) = journal.records()
    assert record['VIRT_GUARD_DECISION'] == ['admit']
    assert int(record['VIRT_GUARD_ELAPSED_USEC'][0]) > 2900000


def test_what_is_stopped_for_ever_ends_by_the_clock(installed, clean, journal):
    """The patience of 80 seconds, made short in this installation."""
    call = installed.tree / 'virtguard/hook/call.py'
    source, before = call.read_text(), call.stat()
    assert source.count('_PATIENCE = 80.0') == 1
    call.write_text(source.replace('_PATIENCE = 80.0', '_PATIENCE = 4.0'))
    try:
        only_worker = slice(1, 2)
        with installed.with_policy(deadline='1'), stopped_while_judging(installed, clean, only_worker) as (process, _):
            text = process.stderr.read()
            assert process.wait(timeout=60) == 2
    finally:
        call.write_text(source)
        # So that the start file, which is made for these times, fits again.
        os.utime(str(call), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert b'4 seconds passed while ' in text
    assert len(journal.records()) == 1
    assert until_gone(installed) == []


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_deadline_inside_a_probe(installed, clean, journal, sysfs, failure, status):
    """A device whose driver does not answer: here a FIFO that nobody writes to. No domain can make it so."""
    device = sysfs / '0000:03:10.1'
    device.mkdir()
    os.mkfifo(str(device / 'class'))
    hostdev = b"""<hostdev mode='subsystem' type='pci' managed='yes'><source>
        <address domain='0x0000' bus='0x03' slot='0x10' function='0x1'/></source></hostdev></devices>"""
    with installed.with_policy(deadline='2', failure=failure):
        result = installed.run_hook('vm', 'start', clean.replace(b'</devices>', hostdev), timeout=60)
    assert result.returncode == status
    (record,) = journal.records()
    assert 'the deadline of 2 seconds passed while probing the host' in record['MESSAGE'][0]
    assert until_gone(installed) == []


@pytest.fixture
def silent(tmp_path):
    """A file on a file system whose server never answers. Anybody may mount one (FUSE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        server = os.open('/dev/fuse', os.O_RDWR)
    except OSError as error:
        missing('there is no FUSE here: %s' % error)
    options = b'fd=%d,rootmode=40000,user_id=0,group_id=0' % server
    if libc.mount(b'silent', os.fsencode(str(tmp_path)), b'fuse', ctypes.c_ulong(0), options) != 0:
        missing('nothing can be mounted by FUSE: %s' % os.strerror(ctypes.get_errno()))
    yield str(tmp_path / 'disk.img')
    os.close(server)
    assert libc.umount2(os.fsencode(str(tmp_path)), MNT_DETACH) == 0


@pytest.mark.parametrize('mode, language, status', [('enforce', 'en', 2), ('enforce', 'ja', 2), ('audit', 'en', 0)])
def test_a_path_of_the_domain_that_never_answers(installed, clean, journal, silent, mode, language, status):
    """Whoever names it must not choose the answer of a policy that admits what cannot be judged."""
    disk = "<disk type='file'><source file='%s'/><target dev='vdb'/></disk></devices>" % silent
    text = 'policy: x\nextends: kvm-baseline\nmode: %s\nfailure: admit\ndeadline: 1\nlanguage: %s\n'
    with installed.with_policy(text % (mode, language)):
        result = installed.run_hook('vm', 'start', clean.replace(b'</devices>', disk.encode()), timeout=60)
    reason = 'the deadline of 1 seconds passed while the rule kvm-host-system-link looked at %s, which' % silent
    (record,) = journal.records()
    assert reason in record['MESSAGE'][0]
    assert record['VIRT_GUARD_DECISION'] == ['would-deny' if mode == 'audit' else 'error']
    told = result.stderr.decode()
    assert (result.returncode, bool(told)) == (status, bool(status))
    if status and language == 'en':
        assert reason in told and '\n  next: mend or unmount the file system there' in told
    elif status:
        shown = "virt-guard: ドメイン 'vm' を判定できませんでした: 制限時間 1 秒以内に、ルール kvm-host-system-link は"
        assert told.startswith(shown) and silent in told and '\n  次の手順: ' in told
    assert until_gone(installed) == []
