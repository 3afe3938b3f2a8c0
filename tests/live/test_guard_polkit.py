# SPDX-License-Identifier: Apache-2.0
"""The rules for polkit in force: a real polkitd, a libvirtd that asks it, and users who work with virsh."""

import datetime
import re
import shutil
import time

import pytest
from domains import QCOW2_DISK, device, domain
from guarded import POLICY_D, GuardedMachine
from support.capabilities import missing
from virtguard.commands.polkit.rules_file import PLACE

pytestmark = pytest.mark.live

POLKITD, DBUS = '/usr/lib/polkit-1/polkitd', '/usr/bin/dbus-daemon'
LOG = '/var/log/polkitd.log'
WARNS = POLICY_D + '/70-warn.yaml'
SOCKET_FOR_GROUP = 'unix_sock_group = "libvirt"\nunix_sock_rw_perms = "0770"\n'
# As a domain's owner may call it, who would like to write a rule of polkit.
HOSTILE = '"}]}; polkit.Result.NO = polkit.Result.YES; \'\\ \N{GRINNING FACE} [a-z]*'
SNAPSHOT = ('snapshot-create-as', '--name', 's1', '--domain')
DENIED = [
    SNAPSHOT,
    ('checkpoint-create-as', '--name', 'c1', '--domain'),
    ('dompmsuspend', '--target', 'mem', '--domain'),
]
WAIVERS = """\
waivers:
  - {rules: [live-snapshot], domains: ['wa[h-j]v?d*'], reason: r, approved-by: me, expires: %s}
  - {rules: [live-snapshot], domains: [expired], reason: r, approved-by: me, expires: %s}
  - {rules: [live-snapshot], domains: ["%s"], reason: r, approved-by: me, expires: %s}
"""


def names_of(domain_name):
    """A glob that means this name only, as a text of YAML in double quotes."""
    glob = re.sub(r'([*?[])', r'[\1]', domain_name)
    return glob.replace('\\', '\\\\').replace('"', '\\"')


def put_rules(machine, *options):
    said = machine.run(['virt-guard', 'polkit', 'print', '--output', PLACE, *options])
    assert machine.path(PLACE).stat().st_mode & 0o777 == 0o644
    return said


@pytest.fixture(scope='module')
def machine(tmp_path_factory):
    absent = [program for program in (POLKITD, DBUS, '/usr/bin/pkcheck') if not shutil.which(program)]
    if absent:
        missing('polkitd and dbus are not installed: ' + ' '.join(absent))
    with GuardedMachine(tmp_path_factory.mktemp('polkit')) as machine:
        machine.install('--no-deps')
        machine.run(['useradd', '-m', '-G', 'libvirt', 'op'])
        machine.run(['useradd', '-m', 'outsider'])
        today = datetime.date.today()
        days = (today + datetime.timedelta(1), today - datetime.timedelta(1), names_of(HOSTILE), today)
        machine.write(POLICY_D + '/60-waivers.yaml', WAIVERS % days)
        machine.write('/etc/libvirt/libvirtd.conf', machine.read('/etc/libvirt/libvirtd.conf') + SOCKET_FOR_GROUP)
        machine.stop_libvirtd()
        machine.start_libvirtd()
        for number, name in enumerate(('plain', 'waived', 'expired', HOSTILE)):
            image = '/var/lib/libvirt/images/%d.qcow2' % number
            machine.make_qcow2(image)
            machine.define(domain(name, device(QCOW2_DISK.replace('/var/lib/libvirt/images/disk.qcow2', image))))
            machine.virsh('start', '--domain', name)
        machine.define(domain('off'))
        machine.run(['mkdir', '-p', '/run/dbus'])
        machine.spawn([DBUS, '--system', '--nofork', '--nopidfile'])
        until(machine.path('/run/dbus/system_bus_socket').exists)
        machine.spawn([POLKITD], log=LOG)
        until(lambda: 'Acquired the name' in machine.read(LOG))  # else the bus starts another one
        machine.before = {user: table(machine, user) for user in ('op', 'outsider', 'root')}
        machine.allowed_before = virsh(machine, 'op', *SNAPSHOT, 'plain')
        machine.virsh('snapshot-delete', 'plain', 's1')
        machine.ran_before = machine.qemu_pids()
        said = put_rules(machine)
        assert (said.stdout, said.stderr) == ('', '')
        conf = machine.read('/etc/libvirt/libvirtd.conf')
        machine.write('/etc/libvirt/libvirtd.conf', conf + 'access_drivers = [ "polkit" ]\n')
        machine.not_yet = table(machine, 'op')
        machine.stop_libvirtd()
        machine.start_libvirtd()
        yield machine


def virsh(machine, user, *words):
    return machine.run(['runuser', '-u', user, '--', 'virsh', *words], check=False)


def table(machine, user):
    """Permission -> (today, with the file), and what is said below."""
    said = machine.run(['virt-guard', 'polkit', 'check', user]).stdout
    rows, _, rest = said.partition('\n\n')
    found = {line[30:42].strip(): (line[43:59].strip(), line[60:].strip()) for line in rows.splitlines()[1:]}
    assert len(found) == 11, said
    return found, rest


def until(condition):
    """Wait for a process, or until polkitd has seen another file."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_before(machine):
    found, said = machine.before['op']
    assert found['snapshot'] == ('yes', 'no: live-snapshot')
    assert found['checkpoint'] == ('yes', 'no: incremental-backup')
    assert found['pm-control'] == ('yes', 'no: guest-suspended')
    assert {found[permission] for permission in ('read', 'start', 'write', 'migrate')} == {('yes', 'yes')}
    assert 'libvirtd does not ask polkit about operations' in said and PLACE + ' is not there.' in said
    assert "in the domain 'wa[h-j]v?d*'" in said and "'expired'" not in said
    found, said = machine.before['outsider']
    assert (found['start'], found['snapshot'], found['read']) == (
        ('no', 'no'),
        ('no', 'no: live-snapshot'),
        ('yes', 'yes'),
    )
    assert set(machine.before['root'][0].values()) == {('yes', 'yes')}
    assert machine.allowed_before.returncode == 0


def test_in_force(machine):
    assert 'it obeys what is there when it is restarted' in machine.not_yet[1]
    assert machine.ran_before.items() <= machine.qemu_pids().items()
    found, said = table(machine, 'op')
    assert found['snapshot'] == ('no', 'no: live-snapshot')
    assert found['write'] == found['start'] == ('yes', 'yes')
    assert 'is in place, and made of this policy' in said and 'is computed' not in said
    assert table(machine, 'outsider')[0]['start'] == ('no', 'no')


@pytest.mark.parametrize('words', DENIED, ids=lambda words: words[0])
def test_denied_to_the_group(machine, words):
    said = virsh(machine, 'op', *words, 'plain')
    assert (said.returncode, 'access denied' in said.stderr) == (1, True), said.stderr
    said = virsh(machine, 'op', *words, 'expired')
    assert 'access denied' in said.stderr


def test_all_else_is_as_before(machine):
    listed = virsh(machine, 'op', 'list', '--all', '--name').stdout.split('\n')
    assert {'plain', 'waived', 'off', HOSTILE} <= set(listed)
    for words in (
        ('start', 'off'),
        ('setvcpus', 'off', '1', '--config'),
        ('setmem', 'off', '32M', '--config'),
        ('suspend', 'off'),
        ('dumpxml', 'off', '--security-info'),
        ('destroy', 'off'),
        ('net-list', '--all'),
        ('snapshot-list', 'plain'),
        ('undefine', 'off'),
    ):
        said = virsh(machine, 'op', *words)
        assert said.returncode == 0, (words, said.stderr)
    assert virsh(machine, 'outsider', 'list').returncode == 1
    assert virsh(machine, 'outsider', '--readonly', 'list').returncode == 0


@pytest.mark.parametrize('name', ['waived', HOSTILE])
def test_waived_domains_are_exceptions(machine, name):
    said = virsh(machine, 'op', *SNAPSHOT, name)
    assert said.returncode == 0, said.stderr
    machine.virsh('snapshot-delete', name, 's1')
    assert 'access denied' in virsh(machine, 'op', 'dompmsuspend', '--target', 'mem', '--domain', name).stderr


def test_root_is_not_asked(machine):
    machine.virsh(*SNAPSHOT, 'plain')
    assert 'access denied' in virsh(machine, 'op', 'snapshot-delete', 'plain', 's1').stderr
    machine.virsh('snapshot-delete', 'plain', 's1')


def test_polkit_has_loaded_the_rules_and_says_why_it_denies(machine):
    assert virsh(machine, 'op', *SNAPSHOT, 'plain').returncode == 1
    text = machine.read(LOG)
    uuid = machine.virsh('domuuid', 'plain').stdout.strip()
    assert 'denied org.libvirt.api.domain.snapshot of domain "plain" (%s) to user "op" by live-snapshot' % uuid in text
    entries = machine.wait_journal('SYSLOG_IDENTIFIER=polkitd')
    text += ''.join(str(entry['MESSAGE']) for entry in entries)
    # With its path polkit names a file that it cannot compile.
    assert 'Finished loading' in text and PLACE not in text


def test_another_policy_is_another_file_and_needs_no_restart(machine):
    machine.write(WARNS, 'rules:\n  - {id: live-snapshot, action: warn, reason: tried}\n')
    try:
        assert 'is not what this policy makes: virt-guard polkit print --output' in table(machine, 'op')[1]
        said = machine.run(['virt-guard', 'polkit', 'print', '--deny-only'])
        assert 'begins: // Written by: virt-guard polkit print\n' in said.stderr
        assert put_rules(machine).stderr == ''
        until(lambda: virsh(machine, 'op', *SNAPSHOT, 'plain').returncode == 0)
        machine.virsh('snapshot-delete', 'plain', 's1')
        assert 'access denied' in virsh(machine, 'op', 'dompmsuspend', '--target', 'mem', '--domain', 'plain').stderr
    finally:
        machine.path(WARNS).unlink()
        put_rules(machine)
    until(lambda: table(machine, 'op')[0]['snapshot'] == ('no', 'no: live-snapshot'))


def test_without_the_file_users_look_on_only(machine):
    machine.path(PLACE).unlink()
    try:
        until(lambda: table(machine, 'op')[0]['start'] == ('no', 'yes'))
        assert virsh(machine, 'op', 'dominfo', 'plain').returncode == 0
        assert 'access denied' in virsh(machine, 'op', 'destroy', 'plain').stderr
        # Rules of the site may be in force, which permit less than the group may without polkit.
        refused = machine.run(['virt-guard', 'polkit', 'print', '--output', PLACE], check=False)
        assert (refused.returncode, machine.path(PLACE).exists()) == (2, False)
        assert 'libvirt asks polkit here already' in refused.stderr and '--group libvirt permits it' in refused.stderr
        put_rules(machine, '--deny-only')
        again = machine.run(['virt-guard', 'polkit', 'print', '--output', PLACE], check=False)
        assert again.returncode == 2 and '--deny-only' in machine.read(PLACE).splitlines()[0]
    finally:
        assert 'libvirt asks polkit here already' not in put_rules(machine, '--group', 'libvirt').stderr
    until(lambda: table(machine, 'op')[0]['start'] == ('yes', 'yes'))
