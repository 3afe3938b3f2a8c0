# SPDX-License-Identifier: Apache-2.0
"""A guard that is broken, and a journal that is gone: running domains never notice, and starts get a clear answer."""

import contextlib
import time

import domains
import pytest
from domains import domain, replace
from guarded import HOOK, LOG, POLICY, GuardedMachine, library, refusal
from support.policies import action, setting

pytestmark = pytest.mark.live

DEADLINE = 5  # seconds, of the shipped policy
# A domain that a rule warns of, so that the guard must look closely.
UNDECLARED = replace("<libosinfo:os id='http://redhat.com/rhel/8.10'/>", '')
# Leaves no room in a socket's queue. Each message by a new sender, since senders have a limit of their own.
FILL = """\
import socket, sys
for path in sys.argv[1:]:
    try:
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(b'MESSAGE=filler\\n', path)
    except BlockingIOError:
        pass
"""
JOURNAL_SOCKETS = ('/run/systemd/journal/socket', '/run/systemd/journal/dev-log')


# A broken guard


@contextlib.contextmanager
def moved_away(host, name):
    path = host.path(name, follow=False)
    away = path.with_name(path.name + '.away')
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextlib.contextmanager
def writable_by_all(host, name):
    host.path(name).chmod(0o666)
    try:
        yield
    finally:
        host.path(name).chmod(0o644)


def package(host):
    """Where the hook has its package."""
    (line,) = [line for line in host.read(HOOK).splitlines() if line.startswith('lib=')]
    return line.partition("'")[2].rstrip("'") + '/virtguard'


@contextlib.contextmanager
def without(host, name):
    """A library is needed by whoever reads the policy's text, as after an edit."""
    with host.edited_policy(setting('deadline', '4')), moved_away(host, library(host, name)):
        yield


# What breaks, and what the refusal says of it.
BREAKAGES = {
    'rule': (lambda host: host.edited_policy(action('tcg', 'forbid')), "action is 'forbid'"),
    'yaml': (lambda host: host.edited_policy(lambda text: text + 'oops: [\n'), POLICY + ':'),
    'no-policy': (lambda host: moved_away(host, POLICY), 'cannot read the policy %s: No such file' % POLICY),
    'writable-policy': (lambda host: writable_by_all(host, POLICY), POLICY + ' can be written by others'),
    'no-python': (lambda host: moved_away(host, '/usr/bin/python3'), 'there is no /usr/bin/python3'),
    'no-package': (lambda host: moved_away(host, package(host)), 'run install.sh again'),
    'no-lxml': (lambda host: without(host, 'lxml'), "No module named 'lxml'"),
    'no-pyyaml': (lambda host: without(host, 'yaml'), "No module named 'yaml'"),
}


@pytest.fixture(scope='module')
def fragile_machine(_machines_can_run, tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('fragile')) as machine:
        machine.install('--no-deps')
        yield machine


@pytest.fixture
def fragile_host(fragile_machine):
    yield fragile_machine
    fragile_machine.clean_up()


@pytest.mark.parametrize('name', BREAKAGES)
def test_broken_guard(fragile_host, name):
    host = fragile_host
    breakage, reason = BREAKAGES[name]
    host.admitted('old', host.try_define_and_start(domain('old')))
    host.define(domain('new', UNDECLARED))
    processes = host.qemu_pids()
    with breakage(host):
        # The daemon asks the hook about every running domain, and kills those for which it fails.
        host.restart_libvirtd_with('old')
        assert host.virsh('domstate', 'old').stdout.strip() == 'running'
        assert host.qemu_pids() == processes

        lines = refusal(host.try_start('new'), 2).splitlines()
        assert lines[0].startswith("virt-guard: domain 'new' could not be judged: ")
        assert reason in lines[0]
        assert 'new' not in host.running()
        record = host.failure_record('new', 'prepare')
        assert record['MESSAGE'].startswith("domain 'new' could not be judged and is refused: ")
        assert reason in record['MESSAGE']

        host.virsh('attach-device', 'old', '/dev/stdin', input=domains.RNG)
        assert 'ua-rng' in host.virsh('dumpxml', 'old').stdout
        host.virsh('suspend', 'old')
        host.virsh('resume', 'old')
        host.virsh('destroy', 'old')
        assert host.qemu_pids() == {}
        assert host.records('old') == []
    host.admitted('new', host.try_start('new'), 'guest-os-unknown')


@pytest.mark.parametrize('name', [name for name in BREAKAGES if name not in ('no-policy', 'writable-policy')])
def test_broken_guard_where_failure_is_admit(fragile_host, name):
    """A policy that can be trusted has the last word, if it is only legible."""
    host = fragile_host
    breakage, reason = BREAKAGES[name]
    host.define(domain('new', domains.TCG))
    with host.edited_policy(setting('failure', 'admit')), breakage(host):
        result = host.try_start('new')
        assert result.returncode == 0, result.stderr
        assert host.running() == {'new'}
    record = host.failure_record('new', 'start')
    assert record['MESSAGE'].startswith("domain 'new' could not be judged and is admitted: ")
    assert reason in record['MESSAGE']


@pytest.mark.parametrize('name', ['no-policy', 'writable-policy'])
def test_untrustworthy_policy_is_not_asked_whether_to_admit(fragile_host, name):
    host = fragile_host
    host.define(domain('new'))
    with host.edited_policy(setting('failure', 'admit')), BREAKAGES[name][0](host):
        assert BREAKAGES[name][1] in refusal(host.try_start('new'), 2)


def test_managed_save_survives_a_broken_guard(fragile_host):
    host = fragile_host
    host.admitted('old', host.try_define_and_start(domain('old')))
    with host.edited_policy(action('tcg', 'forbid')):
        host.virsh('managedsave', 'old')
        assert 'could not be judged' in refusal(host.try_start('old'), 2)
        host.failure_record('old', 'prepare')
    assert 'Managed save:   yes' in host.virsh('dominfo', 'old').stdout
    host.admitted('old', host.try_start('old'))


def test_policy_edit_is_obeyed_at_once(fragile_host):
    host = fragile_host
    host.define(domain('legacy', domains.TCG))
    host.refused('legacy', host.try_start('legacy'), 'tcg')
    with host.edited_policy(action('tcg', '"off"')):
        host.admitted('legacy', host.try_start('legacy'))
        host.virsh('destroy', 'legacy')
    with host.edited_policy(action('tcg', 'warn')):
        host.admitted('legacy', host.try_start('legacy'), 'tcg')
        host.virsh('destroy', 'legacy')
    host.refused('legacy', host.try_start('legacy'), 'tcg')


# A journal that takes nothing


@pytest.fixture
def mute_host(new_machine):
    """A machine whose libvirtd does not use journald: it would wait for it, and the test is about the guard."""
    machine = new_machine(daemon=False)
    conf = machine.read('/etc/libvirt/libvirtd.conf')
    assert conf.count('3:journald ') == 1
    machine.write('/etc/libvirt/libvirtd.conf', conf.replace('3:journald ', ''))
    machine.install('--no-deps')
    machine.start_libvirtd()
    machine.define(domain('good'))
    machine.define(domain('bad', domains.TCG))
    return machine


def freeze_with_full_queues(host):
    host.freeze_journald()
    host.run(['/usr/bin/python3', '-I', '-c', FILL, *JOURNAL_SOCKETS])


def logged(host, name):
    """The lines of the fallback file about one domain, without their time."""
    lines = host.read(LOG).splitlines() if host.path(LOG).exists() else []
    return [line.split(' ', 1)[1] for line in lines if ' VIRT_GUARD_DOMAIN=%s ' % name in line]


def timely(host, name):
    started = time.monotonic()
    result = host.try_start(name)
    assert time.monotonic() - started < DEADLINE + 1
    return result


def full_disk_for_the_log(host):
    """The log file takes nothing either, as on a full disk."""
    host.run(['mknod', LOG, 'c', '1', '7'])


@pytest.mark.parametrize('silence', [freeze_with_full_queues, GuardedMachine.kill_journald], ids=['stopped', 'killed'])
def test_no_journal(mute_host, silence):
    host = mute_host
    silence(host)
    assert timely(host, 'good').returncode == 0
    assert host.running() == {'good'}
    (line,) = logged(host, 'good')
    assert line.startswith("domain 'good' admitted by policy 'rhel-8' VIRT_GUARD_DECISION=admit ")
    assert ' VIRT_GUARD_OPERATION=start ' in line

    assert "domain 'bad' denied by policy 'rhel-8': tcg\n" in refusal(timely(host, 'bad'), 1)
    assert host.running() == {'good'}
    (line,) = logged(host, 'bad')
    assert line.startswith("domain 'bad' denied by policy 'rhel-8': tcg VIRT_GUARD_DECISION=deny ")
    assert ' VIRT_GUARD_FINDING=deny tcg /domain/@type line 1 ' in line
    assert host.path(LOG).stat().st_mode & 0o777 == 0o600


def test_stopped_journal_gets_the_record_later(mute_host):
    host = mute_host
    host.freeze_journald()
    assert timely(host, 'good').returncode == 0
    host.thaw_journald()
    host.record('good', 'admit', 'start')
    assert logged(host, 'good') == []


def test_nowhere_to_record(mute_host):
    """Without `audit: {required: true}`, the verdict counts all the same."""
    host = mute_host
    host.kill_journald()
    full_disk_for_the_log(host)
    assert timely(host, 'good').returncode == 0
    lines = refusal(timely(host, 'bad'), 1).splitlines()
    assert lines[0] == "virt-guard: domain 'bad' denied by policy 'rhel-8': tcg"
    assert lines[-1] == '  note: no audit record could be written'


def test_a_start_without_a_record_is_refused_where_the_policy_says_so(mute_host):
    host = mute_host
    with host.edited_policy(setting('audit', '{required: true}')):
        host.kill_journald()
        assert timely(host, 'good').returncode == 0
        assert len(logged(host, 'good')) == 1  # a record in the file will do
        host.virsh('destroy', 'good')

        host.path(LOG).unlink()
        full_disk_for_the_log(host)
        assert refusal(timely(host, 'good'), 2) == (
            "virt-guard: domain 'good' could not be judged: "
            'no audit record could be written, and the policy requires one\n'
            '  next: start systemd-journald'
        )
        assert host.running() == set()

        host.start_journald()
        host.admitted('good', timely(host, 'good'))
