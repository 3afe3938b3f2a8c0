# SPDX-License-Identifier: Apache-2.0
"""`virt-guard report` on a machine where all that a report tells of has happened: by real starts, and real records."""

import json
import time

import domains
import pytest
from domains import domain
from guarded import HOOK, MAIN_HOOK, GuardedMachine, library

pytestmark = pytest.mark.live

PROGRAM = '/usr/bin/virt-guard'
WATCH_LOG = '/var/log/watch.log'
NOBODY = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('machine'), hostname='kvm-report') as machine:
        machine.install('--no-deps')
        start_watch(machine)
        happen(machine)
        yield machine


def start_watch(machine):
    pid = machine.spawn([PROGRAM, 'watch'], log=WATCH_LOG)
    deadline = time.monotonic() + 120
    while not machine.journal('VIRT_GUARD_DECISION=watch-started'):
        assert machine.alive(pid) and time.monotonic() < deadline, machine.read(WATCH_LOG)
        time.sleep(0.2)


def happen(host):
    """A refusal, two admissions of which one by a waiver, mode audit, an edit of the policy, an unseen start."""
    host.begin = host.run(['date', '+%s']).stdout.strip()
    legacy = host.define(domain('legacy', domains.TCG))
    for _ in range(2):
        assert host.try_start(legacy).returncode
    host.virsh('create', '/dev/stdin', input=domain('fine'))
    waiver = ('--reason', 'it moves <b>soon</b>', '--approved-by', 'Jo Boss', '--until', '+30d')
    host.define(domain('moving', domains.TCG))
    host.run([PROGRAM, 'waiver', 'add', *waiver, 'moving', 'tcg'])
    assert host.try_start('moving').returncode == 0
    host.run([PROGRAM, 'policy', 'set', 'mode', 'audit'])
    assert host.try_define_and_start(domain('trial', domains.TCG)).returncode == 0
    host.run([PROGRAM, 'policy', 'set', 'mode', 'enforce'])
    host.run(['sh', '-c', 'rm %s; kill -HUP $(cat /run/libvirtd.pid)' % MAIN_HOOK])
    host.virsh('create', '/dev/stdin', input=domain('unseen'))
    host.run(['sh', '-c', 'ln -s %s %s; kill -HUP $(cat /run/libvirtd.pid)' % (HOOK, MAIN_HOOK)])


def report(host, *options, status=0):
    result = host.run([PROGRAM, 'report', *options], check=False)
    assert result.returncode == status, result.stderr
    return result.stderr if status else result.stdout


def objects(host, *options):
    found = {}
    for line in report(host, '--format', 'jsonl', *options).splitlines():
        described = json.loads(line)
        found.setdefault(described['kind'], []).append(described)
    return found


def test_what_has_happened(host):
    found = objects(host, '--since', '@' + host.begin)
    assert [(row['domain'], row['denied'], row['count']) for row in found['refused']] == [('legacy', ['tcg'], 2)]
    assert [(row['domain'], row['count']) for row in found['would-refuse']] == [('trial', 1)]
    (waiver,) = [row['waiver'] for row in found['waiver'] if row['domain'] == 'moving']
    assert waiver.startswith('tcg approved by Jo Boss until ') and waiver.endswith(': it moves <b>soon</b>')
    assert [row['domain'] for row in found['unjudged-start']] == ['unseen']
    assert {row['domain'] for row in found['outside-now']} == {'moving', 'trial'}
    assert len(found['policy-changed']) == 3 and all(row['user'] for row in found['policy-changed'])
    (policy,) = [found['now'][0]['policy']['sha256']]
    assert policy in {row['policy']['sha256'] for row in found['policy']}
    assert found['host'][0]['admitted'] >= 2 and found['host'][0]['host'] == 'kvm-report'


def test_as_text(host):
    text = ' '.join(report(host).split())
    assert "libvirt's logs tell of 1 start in the period without a verdict: unseen" in text
    assert 'the journal begins at ' in text and 'virt-guard was installed' not in text
    assert 'installed' in text.partition('Changes of the guard')[2]
    assert '2 starts refused' in text


def test_the_page(host):
    page = report(host, '--format', 'html')
    assert 'it moves &lt;b&gt;soon&lt;/b&gt;' in page and '<b>' not in page
    assert len(page.encode()) < 60000


def test_a_pack_holds_what_the_report_is_made_of(host):
    report(host, '--pack', '/root/pack')
    checked = host.run(['sh', '-c', 'cd /root/pack && sha256sum -c SHA256SUMS'])
    assert 'records.jsonl: OK' in checked.stdout and '-policy.yaml: OK' in checked.stdout
    modes = host.run(['stat', '-c', '%a %u', '/root/pack', '/root/pack/report.html']).stdout
    assert modes.split() == ['700', '0', '600', '0']
    (now,) = [json.loads(line) for line in host.read('/root/pack/report.jsonl').splitlines() if '"now"' in line]
    sums = host.run(['sha256sum', '/root/pack/policy/on-this-host.sha256']).stdout
    assert sums.startswith(now['policy']['sha256'])
    again = objects(host, '--records', '/root/pack/records.jsonl')
    first = json.loads(host.read('/root/pack/report.jsonl').splitlines()[0])
    assert again['report'][0]['sha256'] == first['sha256'] and again['report'][0]['records'] == first['records']
    assert [row['count'] for row in again['refused']] == [2]
    said = report(host, '--pack', '/root/pack', status=2)
    assert said == 'virt-guard: /root/pack is there already (name one that does not exist yet)\n'


def test_a_journal_elsewhere(host):
    host.run(['journalctl', '--sync'])
    host.run(['sh', '-c', 'cp -r $(ls -d /run/log/journal/* /var/log/journal/* 2>/dev/null | head -n 1) /root/journal'])
    found = objects(host, '--journal', '/root/journal')
    assert [row['domain'] for row in found['refused']] == ['legacy'] and 'now' not in found
    host.run(['mkdir', '/root/empty'])
    assert 'there is no journal in /root/empty' in report(host, '--journal', '/root/empty', status=2)


def test_a_library_that_is_broken_leaves_the_account_of_the_past(host):
    libraries = library(host, 'lxml')
    host.run(['sh', '-ec', 'mkdir /tmp/lxml; mount --bind /tmp/lxml ' + libraries])
    try:
        found = objects(host)
    finally:
        host.run(['sh', '-ec', 'umount %s; rmdir /tmp/lxml' % libraries])
    assert [row['domain'] for row in found['refused']] == ['legacy'] and 'now' not in found
    assert any('what holds now is not known: a library is missing' in limit['text'] for limit in found['limit'])


def test_a_period_before_everything(host):
    found = objects(host, '--until', '@' + str(int(host.begin) - 86400))
    assert 'refused' not in found and found['report'][0]['records'] == 0


def test_who_may_not_read_the_journal_is_told_so(host):
    result = host.run([*NOBODY, PROGRAM, 'report'], check=False)
    assert (result.returncode, result.stdout) == (2, '')
    assert '(run it as root)' in result.stderr


def test_records_that_another_user_sends_are_left_out(host):
    forged = 'SYSLOG_IDENTIFIER=virt-guard VIRT_GUARD_DECISION=guard-changed VIRT_GUARD_CHANGE=removed MESSAGE=x'
    host.run(['sh', '-c', "printf '%%s\\n' %s | %s logger --journald" % (forged, ' '.join(NOBODY))])
    host.wait_journal('VIRT_GUARD_CHANGE=removed')
    text = ' '.join(report(host).split())
    assert '1 record was left out: another user than root has sent what says that it comes from virt-guard' in text
    assert 'was not installed for' not in text
