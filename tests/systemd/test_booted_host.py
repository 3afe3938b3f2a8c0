# SPDX-License-Identifier: Apache-2.0
"""install.sh under a real systemd: install, upgrade, boot, uninstall."""

import re

import domains
import pytest
from booted import BROKEN, DAEMON, LAB, UNIT, WATCH
from domains import domain
from guarded import CHECKOUT
from support.records import MARKS

pytestmark = pytest.mark.systemd

SHIPPED = ('install.sh', 'hooks', 'lib', 'policy.yaml', 'data', 'doc', 'packaging')
NEXT = '/root/next'
NEXT_UNIT = 'Description=The next audit of running domains'
# What libvirt, systemd and the tests write by themselves.
OF_OTHERS = (
    r'/(root|run|tmp)/|/etc/libvirt/|/etc/machine-id|/var/(cache|log|tmp|lib/(libvirt|systemd|swtpm.*|private))(/|$)'
)


def files(host):
    return {path for path in host.changed() if not re.match(OF_OTHERS, path)}


def is_enabled(host):
    return host.systemctl('is-enabled', WATCH, check=False).stdout.strip()


def assert_nothing_is_left(host):
    assert host.show(WATCH, 'LoadState', 'ActiveState') == {'LoadState': 'not-found', 'ActiveState': 'inactive'}
    assert host.systemctl('list-units', '--all', '--plain', '--quiet', 'virt-guard*').stdout == ''
    assert host.run(['find', '/etc/systemd', '/run/systemd', '-name', '*virt-guard*']).stdout == ''
    assert host.run(['pgrep', '--full', '/usr/lib/virt-guard'], check=False).stdout == ''


def test_install(host):
    """As README says; once more, and nothing changes."""
    for line in ('told       libvirtd to look for hooks (reload)', 'started    ' + WATCH):
        assert line in host.said_at_install.splitlines(), host.said_at_install
    assert is_enabled(host) == 'enabled'
    daemon, watch = host.main_pid(DAEMON), host.main_pid(WATCH)
    said = host.install('--no-deps')
    assert 'unchanged  everything was in place' in said
    assert (host.main_pid(DAEMON), host.main_pid(WATCH)) == (daemon, watch)


def test_minimal_system_and_uninstall(new_host):
    """Where there is no /bin/kill, by which libvirtd's own unit reloads it, and beside a running domain."""
    host = new_host()
    host.run(['rm', '/bin/kill'])
    daemon, before = host.main_pid(DAEMON), files(host)
    assert host.systemctl('reload', DAEMON, check=False).returncode != 0
    host.virsh('create', '/dev/stdin', input=domain('running'))
    host.define(domain('next'))
    processes = host.qemu_pids()

    assert 'told       libvirtd to look for hooks (reload)' in host.install('--no-deps').splitlines()
    # Without the drop-in of these tests.
    host.refused('next', host.try_start('next'), 'container-host')
    watch, start = host.main_pid(WATCH), host.cursor()
    host.put_drop_in('60-test.yaml', BROKEN)
    host.systemctl('reload', WATCH)
    host.wait_journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DECISION=error', after=start, timeout=60)
    assert host.main_pid(WATCH) == watch
    host.put_drop_in('60-test.yaml', '')

    host.install('--uninstall')
    assert host.try_start('next').returncode == 0
    assert host.records('next') == []
    assert_nothing_is_left(host)
    assert files(host) - before == set()
    assert host.main_pid(DAEMON) == daemon
    assert {host.qemu_pids()[pid] for pid in processes} == {'running'}
    # The trail outlives the guard.
    said = host.run(['journalctl', '--output=cat', 'MESSAGE_ID=' + MARKS['deny'][0]]).stdout.splitlines()
    assert "domain 'next' denied by policy 'rhel-8': container-host" in said


def test_upgrade(new_host):
    """While a domain runs: the watch is that of the new version, and knows what the old one knew."""
    host = new_host()
    host.install_here()
    host.start_lab()
    start = host.cursor()
    host.throttle(100)
    host.throttled(100, start)
    daemon, watch, processes, start = host.main_pid(DAEMON), host.main_pid(WATCH), host.qemu_pids(), host.cursor()

    host.run(['mkdir', NEXT])
    host.run(['cp', '-r', *(str(CHECKOUT / name) for name in SHIPPED), NEXT])
    version = host.path(NEXT + '/lib/virtguard/__init__.py')
    version.write_text(re.sub("__version__ = '.*'", "__version__ = '9.9'", version.read_text()))
    unit = host.path('%s/data/%s' % (NEXT, WATCH))
    unit.write_text(re.sub('^Description=.*', NEXT_UNIT, unit.read_text(), flags=re.MULTILINE))
    said = host.run([NEXT + '/install.sh', '--no-deps']).stdout
    assert 'started    %s\n' % WATCH in said
    assert host.run(['virt-guard', '--version']).stdout.split() == ['virt-guard', '9.9']
    assert host.show(WATCH, 'Description', 'SubState', 'NeedDaemonReload') == {
        'Description': NEXT_UNIT.partition('=')[2],
        'SubState': 'running',
        'NeedDaemonReload': 'no',
    }
    assert host.main_pid(WATCH) != watch
    assert (host.main_pid(DAEMON), host.qemu_pids()) == (daemon, processes)
    host.throttle(101)
    host.throttled(101, start)
    host.define(domain('bad', domains.TCG))
    host.refused('bad', host.try_start('bad'), 'tcg')

    host.run(['rm', UNIT])  # somebody has done half of the work
    host.install('--uninstall')
    assert_nothing_is_left(host)


def test_boot(host):
    """After a reboot all is as before: the hook judges what is autostarted, and the watch runs."""
    for name, mutation in (('good', domains.unchanged), ('bad', domains.TCG)):
        host.virsh('autostart', host.define(domain(name, mutation)))
    host.admitted('good', host.try_start('good'))
    host.reboot()
    assert is_enabled(host) == 'enabled'
    assert host.show(WATCH, 'SubState', 'NRestarts') == {'SubState': 'running', 'NRestarts': '0'}
    host.wait(lambda: 'good' in host.running(), 60, 'the good domain is started')
    assert host.running() == {'good'}
    # One start, one record, however one looks for it.
    for match in (['-t', 'virt-guard'], ['MESSAGE_ID=' + MARKS['deny'][0]], ['VIRT_GUARD_DOMAIN=bad']):
        said = host.run(['journalctl', '--boot', '--output=cat', *match]).stdout.splitlines()
        assert said.count("domain 'bad' denied by policy 'rhel-8': tcg") == 1, (match, said)
    before = host.run(['journalctl', '--boot=-1', '--output=cat', '-t', 'virt-guard']).stdout.splitlines()
    assert "domain 'good' admitted by policy 'rhel-8'" in before
    host.start_lab()
    start = host.cursor()
    host.throttle(100)
    host.throttled(100, start)
    assert host.running() == {'good', LAB}
