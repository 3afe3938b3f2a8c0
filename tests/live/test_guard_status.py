# SPDX-License-Identifier: Apache-2.0
"""`virt-guard status` on a machine where all is well, and with faults: each is found, and told with what mends it."""

import json
import re
import time

import pytest
from domains import domain
from guarded import CHECKOUT, HOOK, MAIN_HOOK, POLICY, GuardedMachine, library
from support.records import GUARD_CHANGED_ID

pytestmark = pytest.mark.live

DROP_IN = '/etc/virt-guard/policy.d/50-test.yaml'
SECOND_HOOK = '/etc/libvirt/hooks/qemu.d/00-virt-guard'
WATCH_LOG = '/var/log/watch.log'
OTHERS_HOOK = "printf '#!/bin/sh\\nexit 0\\n' >%s; chmod 755 %s"

# What is done, how it is undone, and what status says then: the subject, and words of its text or remedy.
FAULTS = {
    'no execute bit': ('chmod 644 ' + HOOK, 'chmod 755 ' + HOOK, 'program', 'chmod 755'),
    'not for the daemon': ('chmod 700 ' + HOOK, 'chmod 755 ' + HOOK, 'program', 'mode 0700'),
    'writable by others': ('chmod 777 ' + HOOK, 'chmod 755 ' + HOOK, 'program', 'others could change it'),
    'owned by another user': ('chown 65534 ' + HOOK, 'chown 0 ' + HOOK, 'program', 'uid 65534'),
    'program gone': ('mv {0} {0}.away'.format(HOOK), 'mv {0}.away {0}'.format(HOOK), 'program', 'install.sh'),
    'program emptied': (
        'cp -p {0} {0}.away; : >{0}'.format(HOOK),
        'mv {0}.away {0}'.format(HOOK),
        'program',
        'not the hook that install.sh writes',
    ),
    'noexec': (
        'mount --bind /usr/sbin /usr/sbin; mount -o remount,bind,noexec /usr/sbin',
        'umount /usr/sbin',
        'program',
        'noexec',
    ),
    'link removed': ('rm ' + MAIN_HOOK, 'ln -s %s %s' % (HOOK, MAIN_HOOK), 'link', 'ln -sfn'),
    'link dangling': (
        'ln -sfn /usr/sbin/nowhere ' + MAIN_HOOK,
        'ln -sfn %s %s' % (HOOK, MAIN_HOOK),
        'link',
        '/usr/sbin/nowhere, which is not there',
    ),
    "another program's hook": (
        'rm {}; {}'.format(MAIN_HOOK, OTHERS_HOOK % (MAIN_HOOK, MAIN_HOOK)),
        'ln -sfn %s %s' % (HOOK, MAIN_HOOK),
        'link',
        'another program',
    ),
    'not told': ('ln -sfn %s %s' % (HOOK, MAIN_HOOK), ':', 'daemon', 'kill -HUP'),
    'package gone': (
        'mv /usr/lib/virt-guard /usr/lib/virt-guard.away; '
        "sed 's,/usr/lib/virt-guard/,/usr/lib/virt-guard.away/,' /usr/bin/virt-guard >/tmp/vg; chmod 755 /tmp/vg",
        'mv /usr/lib/virt-guard.away /usr/lib/virt-guard',
        'package',
        'which is not there',
    ),
    'package that does not load': (
        'cd /usr/lib/virt-guard/tree-*/virtguard/hook; cp -p worker.py worker.away; echo "1/0" >worker.py',
        'cd /usr/lib/virt-guard/tree-*/virtguard/hook; mv worker.away worker.py',
        'interpreter',
        'ZeroDivisionError',
    ),
    'interpreter gone': (
        'cp -p {0} {0}.away; sed -i "s,^python=.*,python=\'/usr/bin/python3.0\'," {0}'.format(HOOK),
        'mv {0}.away {0}'.format(HOOK),
        'interpreter',
        '/usr/bin/python3.0',
    ),
    'hook of another version': (
        'cp -p {0} {0}.away; cp -a $(echo /usr/lib/virt-guard/tree-*) /usr/lib/virt-guard/old; '
        'sed -i "s,^lib=.*,lib=\'/usr/lib/virt-guard/old\'," {0}'.format(HOOK),
        'mv {0}.away {0}; rm -r /usr/lib/virt-guard/old'.format(HOOK),
        'package',
        'install.sh',
    ),
    'another policy': (
        'cp -p {0} {0}.away; sed -i "s,^policy=.*,policy=\'/root/policy.yaml\'," {0}'.format(HOOK),
        'mv {0}.away {0}'.format(HOOK),
        'program',
        'obeys /root/policy.yaml',
    ),
    'policy broken': ('echo "mode: enforced" >' + DROP_IN, 'rm ' + DROP_IN, 'policy', '50-test.yaml:1'),
    'policy of others': ('chmod 666 ' + POLICY, 'chmod 644 ' + POLICY, 'policy', 'can be written by others'),
    'policy gone': ('mv {0} {0}.away'.format(POLICY), 'mv {0}.away {0}'.format(POLICY), 'policy', 'No such file'),
    'not compiled': (
        'rm /etc/virt-guard/policy.compiled',
        'virt-guard policy compile',
        'compiled',
        'virt-guard policy compile',
    ),
    'clock set back': ('touch -d 2099-01-01 ' + HOOK, 'touch -d 2020-01-01 ' + HOOK, 'clock', 'before'),
    'disk read-only': (
        'mkdir -p /var/log/journal; mount -t tmpfs -o ro none /var/log/journal',
        'umount /var/log/journal',
        'disk',
        'read-only',
    ),
    'disk full': (
        'mkdir -p /var/log/journal; mount -t tmpfs -o size=1M none /var/log/journal',
        'umount /var/log/journal',
        'disk',
        'only 1 MiB',
    ),
    'link for the second hook only, and no libvirt that runs it': (
        'mkdir -p /etc/libvirt/hooks/qemu.d; mv %s %s; ln -sfn /usr/sbin/nowhere %s'
        % (MAIN_HOOK, '/etc/libvirt/hooks/away', SECOND_HOOK),
        'rm %s; mv /etc/libvirt/hooks/away %s' % (SECOND_HOOK, MAIN_HOOK),
        'link',
        'there is no ' + MAIN_HOOK,
    ),
}


OTHERS = OTHERS_HOOK % (MAIN_HOOK, MAIN_HOOK)
BACK = 'rm -rf /etc/libvirt/hooks/qemu.d; ln -sfn %s %s' % (HOOK, MAIN_HOOK)

# What an administrator may have as well, and how it is undone.
HEALTHY = {
    'beside another hook': (
        'rm {}; {}; mkdir -p /etc/libvirt/hooks/qemu.d; ln -s {} {}'.format(MAIN_HOOK, OTHERS, HOOK, SECOND_HOOK),
        BACK,
    ),
    'under another name beside another hook': (
        'rm {}; {}; mkdir -p /etc/libvirt/hooks/qemu.d; ln -s {} {}'.format(
            MAIN_HOOK, OTHERS, HOOK, '/etc/libvirt/hooks/qemu.d/50-guard'
        ),
        BACK,
    ),
    'called by another hook': (
        'rm {0}; printf \'#!/bin/sh\n{1} "$@"\n\' >{0}; chmod 755 {0}'.format(MAIN_HOOK, HOOK),
        BACK,
    ),
    'a relative link': ('ln -sfn ../../../usr/sbin/virt-guard-hook ' + MAIN_HOOK, BACK),
    'other hooks': ("mkdir -p /etc/libvirt/hooks; printf '#!/bin/sh\n' >/etc/libvirt/hooks/network", ':'),
    'a stricter mode': ('chmod 555 ' + HOOK, 'chmod 755 ' + HOOK),
    'mode audit by the installer': (
        '%s/install.sh --no-deps --mode audit' % CHECKOUT,
        'rm /etc/virt-guard/policy.d/70-settings.yaml',
    ),
    'installed again': ('%s/install.sh --no-deps' % CHECKOUT, ':'),
    'another list': (
        '%s/install.sh --no-deps --profile rhel-9' % CHECKOUT,
        '%s/install.sh --no-deps --profile rhel-8' % CHECKOUT,
    ),
    'failure admit': ('echo "failure: admit" >' + DROP_IN, 'rm ' + DROP_IN),
    'an empty drop-in': (': >' + DROP_IN, 'rm ' + DROP_IN),
    'a policy kept elsewhere': (
        'mkdir /root/site; mv /etc/virt-guard/policy.d /root/site/; ln -s /root/site/policy.d /etc/virt-guard/policy.d',
        'rm /etc/virt-guard/policy.d; mv /root/site/policy.d /etc/virt-guard/',
    ),
    'a waiver that ends soon': (
        'printf "waivers:\n- {rules: [tcg], domains: [a], reason: b, approved-by: c, expires: %%s}\n" $(date +%%F) >%s'
        % DROP_IN,
        'rm ' + DROP_IN,
    ),
    'records on disk': ('mkdir -p /var/log/journal; journalctl --flush', ':'),
    'no directory of domains': ('mv /etc/libvirt/qemu /etc/libvirt/away', 'mv /etc/libvirt/away /etc/libvirt/qemu'),
    'a file of domains that no domain is': ('mkdir -p /etc/libvirt/qemu; echo x >/etc/libvirt/qemu/notes.txt', ':'),
    'a umask of others': ('umask 077; virt-guard policy compile', ':'),
    'the compiled policy newer than all': ('touch /etc/virt-guard/policy.compiled', ':'),
    'the files touched': ('touch %s' % POLICY, ':'),
}


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('machine')) as machine:
        machine.install('--no-deps')
        machine.watch_pid = start_watch(machine)
        yield machine


def start_watch(machine):
    pid = machine.spawn(['/usr/bin/virt-guard', 'watch'], log=WATCH_LOG)
    deadline = time.monotonic() + 60
    while 'nobody watches' in machine.run(['virt-guard', 'status'], check=False).stdout:
        assert machine.alive(pid) and time.monotonic() < deadline, machine.read(WATCH_LOG)
        time.sleep(0.2)
    return pid


def conditions(host, status, command='/usr/bin/virt-guard'):
    """What `status` says, as (subject, state, text and remedy), after a look at its exit status and at its text."""
    result = host.run([command, 'status', '--format', 'jsonl'], check=False)
    assert result.stderr == ''
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == status, result.stdout
    return [(entry['subject'], entry['state'], entry['text'] + ' ' + entry['remedy']) for entry in found]


def amiss(host, status, **options):
    return [(subject, text) for subject, state, text in conditions(host, status, **options) if state == 'amiss']


def looked_after(host):
    """All is well again: the daemon has looked for the hook, and the policy is compiled."""
    host.compile_policy()
    host.run(['sh', '-c', 'kill -HUP $(cat /run/libvirtd.pid); : >/run/virt-guard.told'])
    assert amiss(host, 0) == []


def test_all_is_well(host):
    looked_after(host)
    said = host.run(['virt-guard', 'status']).stdout.splitlines()
    assert said[0] == 'virt-guard guards this host'
    (record,) = host.wait_journal('MESSAGE_ID=' + GUARD_CHANGED_ID)
    assert (record['VIRT_GUARD_CHANGE'], record['VIRT_GUARD_DECISION']) == ('installed', 'guard-changed')


@pytest.mark.parametrize('fault', sorted(FAULTS))
def test_a_fault_is_found(host, fault):
    do, undo, subject, words = FAULTS[fault]
    host.run(['sh', '-ec', do])
    command = '/tmp/vg' if fault == 'package gone' else '/usr/bin/virt-guard'
    try:
        found = amiss(host, 1, command=command)
    finally:
        host.run(['sh', '-ec', undo])
    looked_after(host)
    assert [text for name, text in found if name == subject and words in text], found


@pytest.mark.parametrize('kind', sorted(HEALTHY))
def test_what_is_well_raises_no_alarm(host, kind):
    do, undo = HEALTHY[kind]
    host.run(['sh', '-ec', do], timeout=180)
    try:
        looked_after(host)
    finally:
        host.run(['sh', '-ec', undo], timeout=180)
    looked_after(host)


def test_no_daemon_runs(host):
    host.stop_libvirtd()
    try:
        assert amiss(host, 0) == []
    finally:
        host.start_libvirtd()
    looked_after(host)


def test_a_library_that_is_broken(host):
    libraries = library(host, 'lxml')
    host.run(['sh', '-ec', 'mkdir /tmp/lxml; mount --bind /tmp/lxml ' + libraries])
    try:
        result = host.run(['virt-guard', 'status'], check=False)
    finally:
        host.run(['sh', '-ec', 'umount %s; rmdir /tmp/lxml' % libraries])
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.startswith('virt-guard: a library is missing or broken: ')


def test_nobody_watches(host):
    host.kill(host.watch_pid, wait=10)
    try:
        ((subject, text),) = amiss(host, 1)
        assert subject == 'watch' and 'nobody watches running domains since ' in text
    finally:
        host.watch_pid = start_watch(host)
    looked_after(host)
    (record,) = host.wait_journal('VIRT_GUARD_DECISION=unwatched')
    said = host.run(['virt-guard', 'status']).stdout
    assert re.search('^  note     watch +' + re.escape(record['MESSAGE']), said, re.MULTILINE), said


def test_what_the_site_has_decided_is_noted(host):
    host.write(DROP_IN, 'mode: audit\nrules:\n- {id: tcg, action: "off", reason: a test}\n')
    host.compile_policy()
    try:
        said = host.run(['virt-guard', 'status']).stdout
        noted = [(subject, text) for subject, state, text in conditions(host, 0) if state == 'note']
    finally:
        host.run(['rm', DROP_IN])
    looked_after(host)
    assert said.splitlines()[0] == 'virt-guard is in force, and admits what the policy denies: mode audit'
    assert any(subject == 'mode' and DROP_IN + ':1' in text for subject, text in noted)
    assert any(subject == 'rule' and 'tcg is off: a test (%s:3)' % DROP_IN in text for subject, text in noted)


def test_a_broken_policy_still_tells_what_can_be_read(host):
    host.write('/etc/virt-guard/policy.d/40-off.yaml', 'rules:\n- {id: tcg, action: "off", reason: a test}\n')
    host.write(DROP_IN, 'mode: enforced\n')
    try:
        found = conditions(host, 1)
    finally:
        host.run(['rm', DROP_IN, '/etc/virt-guard/policy.d/40-off.yaml'])
    looked_after(host)
    assert ('policy', 'note', 'what follows is said by what can be read of it, without %s ' % DROP_IN) in found
    assert any(subject == 'rule' and 'tcg is off: a test' in text for subject, _, text in found)


def test_a_start_without_a_verdict(host):
    host.run(['sh', '-c', 'rm %s; kill -HUP $(cat /run/libvirtd.pid)' % MAIN_HOOK])
    try:
        host.virsh('create', '/dev/stdin', input=domain('unseen'))
    finally:
        host.run(['ln', '-s', HOOK, MAIN_HOOK])
    host.run(['sh', '-c', 'kill -HUP $(cat /run/libvirtd.pid); : >/run/virt-guard.told'])
    host.virsh('create', '/dev/stdin', input=domain('seen'))
    try:
        deadline = time.monotonic() + 120
        while 'unseen runs since' not in host.run(['virt-guard', 'status'], check=False).stdout:
            assert time.monotonic() < deadline  # a journald that is slow may not have answered
        ((subject, text),) = amiss(host, 1)
    finally:
        host.cleanup_domains()
    assert subject == 'starts' and text.startswith('unseen runs since ') and 'without a verdict' in text
    looked_after(host)


def test_an_autostart_domain_that_was_refused(host):
    name = host.define(domain('boots').replace("type='kvm'", "type='qemu'"))
    try:
        host.virsh('autostart', name)
        assert host.try_start(name).returncode
        ((subject, text),) = amiss(host, 1)
    finally:
        host.virsh('autostart', '--disable', name)
        host.cleanup_domains()
    assert subject == 'autostart' and text.startswith('boots starts with the host, was refused (tcg)')
    looked_after(host)
