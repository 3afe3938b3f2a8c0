# SPDX-License-Identifier: Apache-2.0
"""The harness itself: it runs real domains, calls real hooks, reads a real journal, and leaves the host alone."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from machine import Machine, MachineError
from virtguard.host import read_facts

pytestmark = pytest.mark.live

DOMAIN = """\
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type></os>
</domain>
"""
REFUSING_HOOK = '#!/bin/sh\n[ "$2" != prepare ] || { echo "no $1 today" >&2; exit 1; }\n'
RECORDING_HOOK = '#!/bin/sh\necho "$1 $2" >>/run/calls\n'
# As systemd's native protocol has it: a repeated field, and one with bytes in the length-prefixed form.
NATIVE_ENTRY = b'MESSAGE=native\nVG_RULE=tcg\nVG_RULE=virtiofs\nVG_NOTE\n\x05\0\0\0\0\0\0\0a\nb\xff\x01\n'
SEND = """\
import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.stdin.buffer.read(), sys.argv[1])
"""


@pytest.fixture(scope='module')
def module_machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp('machine')) as machine:
        yield machine


@pytest.fixture
def machine(module_machine):
    yield module_machine
    module_machine.cleanup_domains()


def processes_in(namespace):
    """Return the processes, by the host's numbers, that are in a PID namespace."""
    found = set()
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(str(process / 'ns/pid')) == namespace:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_domain_runs(machine):
    name = machine.define(DOMAIN.format(name='plain'))
    machine.virsh('start', name)
    assert machine.running() == {'plain'}
    assert set(machine.qemu_pids().values()) == {'plain'}
    machine.cleanup_domains()
    assert machine.running('--all') == set()
    assert not machine.qemu_pids()


def test_domain_outlives_libvirtd(machine):
    machine.virsh('create', '/dev/stdin', input=DOMAIN.format(name='stays'))
    machine.restart_libvirtd()
    assert machine.running() == {'stays'}
    machine.stop_libvirtd(signal.SIGKILL)
    assert set(machine.qemu_pids().values()) == {'stays'}
    machine.start_libvirtd()
    assert machine.running() == {'stays'}


def test_autostart(machine):
    machine.virsh('autostart', machine.define(DOMAIN.format(name='early')))
    machine.stop_libvirtd()
    machine.path('/run/libvirt/qemu/autostarted').unlink()  # libvirt starts them once per boot
    machine.start_libvirtd()
    assert machine.running() == {'early'}


def test_hook_refuses_after_reload(machine):
    name = machine.define(DOMAIN.format(name='refused'))
    hook = machine.write('/etc/libvirt/hooks/qemu', REFUSING_HOOK, mode=0o755)
    try:
        machine.reload_libvirtd()
        refused = machine.virsh('start', name, check=False)
        assert refused.returncode == 1
        assert 'no refused today' in refused.stderr
        assert machine.running() == set()
        with pytest.raises(MachineError, match='no refused today'):
            machine.virsh('start', name)
    finally:
        hook.unlink()
        machine.reload_libvirtd()
    machine.virsh('start', name)


def test_hook_installed_before_libvirtd_starts(tmp_path):
    with Machine(tmp_path, daemon=False) as machine:
        assert not machine.libvirtd_pid
        machine.write('/etc/libvirt/hooks/qemu', RECORDING_HOOK, mode=0o755)
        machine.start_libvirtd()
        machine.virsh('create', '/dev/stdin', input=DOMAIN.format(name='first'))
        assert machine.read('/run/calls').splitlines() == ['first prepare', 'first start', 'first started']


def test_journal_reads_syslog_and_native_entries(machine):
    machine.run(['logger', '--tag', 'earlier', 'not this one'])
    machine.wait_journal('SYSLOG_IDENTIFIER=earlier')
    cursor = machine.cursor()
    machine.run(['logger', '--tag', 'probe', 'by syslog'])
    machine.run([sys.executable, '-c', SEND, '/run/systemd/journal/socket'], input=NATIVE_ENTRY)
    by_syslog, native = machine.wait_journal('MESSAGE=by syslog', 'MESSAGE=native', after=cursor, count=2)
    assert by_syslog['SYSLOG_IDENTIFIER'] == 'probe'
    assert native['VG_RULE'] == ['tcg', 'virtiofs']
    assert native['VG_NOTE'] == 'a\nb\\xff\x01'
    assert machine.journal('VG_RULE=virtiofs', 'MESSAGE=native', after=cursor) == [native]
    assert machine.journal('VG_RULE=virtiofs', 'MESSAGE=by syslog') == []
    assert machine.journal('SYSLOG_IDENTIFIER=earlier', after=cursor) == []


def test_journal_missing_entry_is_an_error(machine):
    with pytest.raises(MachineError, match='0 of 1 journal entries with MESSAGE=never'):
        machine.wait_journal('MESSAGE=never', timeout=0.2)


def test_stopped_and_killed_journald(tmp_path):
    with Machine(tmp_path, daemon=False) as machine:
        machine.freeze_journald()
        machine.run(['logger', 'while frozen'])
        assert machine.journal('MESSAGE=while frozen') == []
        machine.thaw_journald()
        assert len(machine.wait_journal('MESSAGE=while frozen')) == 1
        machine.kill_journald()
        machine.run(['logger', 'while dead'], check=False)
        machine.start_journald()
        machine.run(['logger', 'after'])
        machine.wait_journal('MESSAGE=after')
        assert machine.journal('MESSAGE=while dead') == []


def test_host_files_stay_untouched(machine):
    machine.write('/usr/lib/vg-harness-probe', 'inside')
    machine.run(['sh', '-c', 'echo inside >/etc/vg-harness-probe'])
    assert machine.run(['cat', '/usr/lib/vg-harness-probe']).stdout == 'inside'
    assert machine.read('/etc/vg-harness-probe') == 'inside\n'
    assert not os.path.exists('/usr/lib/vg-harness-probe')
    assert not os.path.exists('/etc/vg-harness-probe')


def test_links_are_followed_inside(machine, tmp_path):
    target = str(tmp_path / 'target')
    machine.run(['mkdir', '--parents', tmp_path])
    machine.run(['ln', '--symbolic', target, '/etc/vg-link'])
    machine.write('/etc/vg-link', 'inside')
    assert machine.run(['cat', target]).stdout == 'inside'
    assert not os.path.exists(target)
    assert machine.path('/etc/vg-link', follow=False).is_symlink()


def test_looks_like_a_bare_host(machine):
    # systemd 257 says of every PID namespace that it is some container.
    said = machine.run(['systemd-detect-virt', '--container'], check=False).stdout
    assert said in ('none\n', 'container-other\n')
    assert read_facts(['container'], str(machine.path('/'))).container == 'none'
    assert 'container=' not in machine.read('/proc/1/environ')
    assert machine.run(['hostname']).stdout.strip() == machine.hostname
    assert list(machine.path('/etc/libvirt/hooks').iterdir()) == []


def test_run_reports_failure_and_timeout(machine):
    with pytest.raises(MachineError, match='exit status 3: sh -c .*\nbad luck'):
        machine.run(['sh', '-c', 'echo bad luck >&2; exit 3'])
    with pytest.raises(MachineError, match='no end after 0.2 s: sleep 1000'):
        machine.run(['sleep', '1000'], timeout=0.2)
    assert b'sleep' not in {path.read_bytes().strip() for path in machine.path('/proc').glob('[0-9]*/comm')}


def test_two_machines_reach_each_other(tmp_path):
    shared = tmp_path / 'shared'
    shared.mkdir()
    with Machine(tmp_path, shared=shared) as one, Machine(tmp_path, shared=shared) as two:
        assert one.run(['virsh', '--connect', two.uri, 'hostname']).stdout.strip() == two.hostname
        one.virsh('create', '/dev/stdin', input=DOMAIN.format(name='mover'))
        one.virsh('migrate', '--live', '--unsafe', 'mover', two.uri, '--migrateuri', 'unix://%s/socket' % shared)
        assert (one.running(), two.running()) == (set(), {'mover'})
    assert not any(path.is_dir() for path in shared.iterdir())


def test_nothing_is_left(tmp_path):
    mounts = pathlib.Path('/proc/self/mounts').read_text()
    with Machine(tmp_path) as machine:
        machine.virsh('create', '/dev/stdin', input=DOMAIN.format(name='doomed'))
        machine.spawn(['sleep', '1000'])
        machine.freeze_journald()
        namespace = os.readlink('/proc/%d/ns/pid' % machine.pid)
        assert len(processes_in(namespace)) >= 5
    assert processes_in(namespace) == set()
    assert pathlib.Path('/proc/self/mounts').read_text() == mounts
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MachineError, match='not running'):
        machine.run(['true'])


def test_dies_with_the_test_process(tmp_path):
    program = (
        'import sys; from machine import Machine; machine = Machine(sys.argv[1]); machine.start();'
        'machine.freeze_journald(); print(machine.pid, flush=True); machine.run(["sleep", "1000"])'
    )
    here = os.path.dirname(os.path.abspath(__file__))
    tester = subprocess.Popen([sys.executable, '-c', program, str(tmp_path)], stdout=subprocess.PIPE, cwd=here)
    with tester:
        namespace = os.readlink('/proc/%d/ns/pid' % int(tester.stdout.readline()))
        tester.kill()
    deadline = time.monotonic() + 5
    while processes_in(namespace) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(namespace) == set()
