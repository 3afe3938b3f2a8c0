# SPDX-License-Identifier: Apache-2.0
"""A command that writes policy is killed at each system call that writes, while domains start: the old policy is in
force, or the new one, and never anything else."""

import collections
import contextlib
import re
import shutil
import subprocess
import threading

import pytest
from installation import DENIED, newly_installed
from support.capabilities import missing
from virtguard.policy import load

WRITING = 'openat mkdir write pwrite64 ftruncate fchmod fsync rename unlink connect sendto'.split()
CALL = re.compile(r'(%s)\((.*)' % '|'.join(WRITING))
NEW = ['waiver', 'add', 'guest', 'tpm-passthrough', '--until', 'today', '--reason', 'r']
# Of one rule, because the command is run some hundred times, and reads the policy each time.
POLICY = """policy: small
rules:
- id: tpm-passthrough
  title: TPM of the host
  action: deny
  match: /domain/devices/tpm/backend[@type='passthrough']
  why: why
  remedy: remedy
"""
# A command, the drop-in that it writes, and the command that has made what it changes.
COMMANDS = {
    'waiver add': (NEW, '60-waivers.yaml', None),
    'waiver renew': (['waiver', 'renew', 'guest', '--until', '+9d'], '60-waivers.yaml', NEW),
    'waiver remove': (['waiver', 'remove', 'guest'], '60-waivers.yaml', NEW),
    'policy set': (['policy', 'set', 'failure', 'admit'], '70-settings.yaml', ['policy', 'set', 'deadline', '9']),
}


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    if shutil.which('strace') is None:
        missing('strace is not installed')
    installed = newly_installed(tmp_path_factory.mktemp('host'))
    installed.policy.write_text(POLICY)
    (installed.root / 'etc/libvirt/qemu').mkdir(parents=True)
    (installed.root / 'etc/libvirt/qemu/guest.xml').write_bytes(DENIED)
    return installed


def run(host, arguments, *options):
    command = ['strace', '-qq', *options, str(host.cli), *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)


def writing_calls(host, arguments, output):
    """What the command writes by: (system call, how many of its name came before and with it)."""
    result = run(host, arguments, '-o', str(output), '-e', 'trace=' + ','.join(WRITING))
    assert result.returncode == 0, result.stderr
    counted = collections.Counter()
    found = []
    for name, rest in CALL.findall(output.read_text()):
        counted[name] += 1
        if name != 'openat' or 'O_CREAT' in rest:
            found.append((name, counted[name]))
    return found


@contextlib.contextmanager
def starts(host):
    """A domain is started over and over meanwhile; yields the exit statuses of the hook so far."""
    statuses = collections.Counter()
    over = threading.Event()

    def start():
        while not over.is_set():
            statuses[host.run_hook('guest', 'prepare', DENIED).returncode] += 1
            over.wait(0.2)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_the_old_policy_or_the_new_one(host, tmp_path, name):
    command, file, first = COMMANDS[name]
    drop_in = host.root / 'etc/virt-guard/policy.d' / file
    recorded = host.root / 'var/lib/virt-guard/recorded-policy'

    def now():
        return drop_in.read_bytes() if drop_in.exists() else None

    def begin():
        if now() != old:
            drop_in.unlink() if old is None else drop_in.write_bytes(old)
        if recorded.exists():
            recorded.unlink()  # that it was taken away is not to be recorded, which would be another call

    for path in drop_in.parent.iterdir():
        path.unlink()
    assert host.run_cli(*(first or command)).returncode == 0  # also makes what only the first one makes
    old = now() if first else None
    begin()
    calls = writing_calls(host, command, tmp_path / 'calls')
    new = now()
    assert new != old and {name for name, _ in calls} >= {'openat', 'fchmod', 'fsync', 'rename'}
    seen = []
    with starts(host) as statuses:
        for call, number in calls:
            begin()
            options = ['-e', 'trace=' + call, '-e', 'inject=%s:signal=KILL:when=%d' % (call, number)]
            killed = run(host, command, '-o', '/dev/null', *options)
            assert killed.returncode == -9, (call, number, killed.stderr)
            seen.append(now())
            assert seen[-1] in (old, new), (call, number)
            assert load.trusted(str(host.policy)).mode == 'enforce'
    assert set(statuses) <= {0, 1} and sum(statuses.values()) > 3
    assert seen.index(new) > 3 and seen == [old] * seen.index(new) + [new] * (len(seen) - seen.index(new))
    begin()
    result = host.run_cli(*command)  # what the killed ones have left behind is in nobody's way
    assert result.returncode == 0 and now() == new and not result.stderr, result.stderr
    assert 'policy.compiled' not in host.run_cli('policy', 'check').stdout.decode('utf-8'), 'it is out of date'
    left = sorted(path.name for path in drop_in.parent.parent.iterdir())
    assert [name for name in left if not re.match(r'policy\.compiled\.\d+$', name)] == [
        'policy.compiled', 'policy.d', 'policy.yaml',
    ]  # fmt: skip
