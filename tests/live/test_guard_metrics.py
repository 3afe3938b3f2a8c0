# SPDX-License-Identifier: Apache-2.0
"""`virt-guard metrics` on a machine: records counted from its journal, whatever happens to that, and node_exporter."""

import subprocess
import time

import domains
import pytest
from domains import domain
from guarded import HOOK, MAIN_HOOK, GuardedMachine
from support.prometheus import find_program, values

pytestmark = pytest.mark.live

DIRECTORY = '/var/lib/prometheus/node-exporter'
FILE, COUNTS = DIRECTORY + '/virt-guard.prom', '/var/lib/virt-guard/counts'
KEPT = '/var/lib/virt-guard/starts'
DROP_IN = '/etc/virt-guard/policy.d/50-test.yaml'
PORT = 9100
URL = 'http://127.0.0.1:%d/metrics' % PORT
SCRAPE = 'import urllib.request as r; print(r.urlopen("%s", timeout=60).read().decode())' % URL
FORGED = """\
MESSAGE=forged
SYSLOG_IDENTIFIER=virt-guard
VIRT_GUARD_DECISION=deny
VIRT_GUARD_DOMAIN=clean
VIRT_GUARD_OPERATION=prepare
"""


class Host(GuardedMachine):
    def metrics(self):
        if self.journald_pid:
            self.run(['journalctl', '--sync'])
        return values(self.run(['virt-guard', 'metrics']).stdout)

    def counted(self):
        """admitted, refused."""
        found = self.metrics()
        return tuple(found['virt_guard_decisions_total{decision="%s"}' % word] for word in ('admit', 'deny'))

    def start_both(self):
        """One start that is admitted, and one that is refused."""
        assert self.try_start('clean').returncode == 0
        self.virsh('destroy', 'clean')
        assert self.try_start('bad').returncode == 1


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    with Host(tmp_path_factory.mktemp('machine')) as machine:
        machine.install('--no-deps')
        machine.spawn(['/usr/bin/virt-guard', 'watch'], log='/var/log/watch.log')
        machine.define(domain('clean'))
        machine.define(domain('bad', domains.TCG))
        machine.run(['mkdir', '-p', DIRECTORY])
        deadline = time.monotonic() + 120
        while machine.metrics()['virt_guard_guarding'] != 1:
            assert time.monotonic() < deadline, machine.run(['virt-guard', 'status'], check=False).stdout
            time.sleep(0.2)
        yield machine


def test_node_exporter_tells_them(host):
    program = find_program('prometheus-node-exporter')
    before = host.counted()
    host.start_both()
    host.start_both()
    host.run(['journalctl', '--sync'])
    host.run(['virt-guard', 'metrics', '--output', FILE])
    only = ['--collector.disable-defaults', '--collector.textfile', '--collector.textfile.directory=' + DIRECTORY]
    pid = host.spawn([program, *only, '--web.listen-address=127.0.0.1:%d' % PORT], log='/var/log/exporter.log')
    try:
        deadline = time.monotonic() + 120
        result = host.run(['/usr/bin/python3', '-c', SCRAPE], check=False)
        while result.returncode:
            assert host.alive(pid) and time.monotonic() < deadline, host.read('/var/log/exporter.log')
            time.sleep(0.2)
            result = host.run(['/usr/bin/python3', '-c', SCRAPE], check=False)
    finally:
        host.kill(pid, wait=60)
    scraped = {line.partition(' ')[0]: line.rpartition(' ')[2] for line in result.stdout.splitlines()}
    assert scraped['node_textfile_scrape_error'] == '0'
    found = tuple(float(scraped['virt_guard_decisions_total{decision="%s"}' % word]) for word in ('admit', 'deny'))
    assert found == (before[0] + 2, before[1] + 2)
    assert (scraped['virt_guard_guarding'], scraped['virt_guard_domains{decision="deny"}']) == ('1', '1')
    assert 'node_textfile_mtime_seconds{file="%s"}' % FILE in scraped


def test_promtool_finds_no_fault_with_them(host):
    result = subprocess.run(
        [find_program('promtool'), 'check', 'metrics'],
        input=host.run(['virt-guard', 'metrics']).stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
    )
    assert (result.returncode, result.stdout) == (0, '')


def test_nothing_is_counted_twice_or_lost_whatever_happens_to_the_journal(host):
    admitted, refused = host.counted()
    assert host.counted() == (admitted, refused)
    host.start_both()
    assert host.counted() == (admitted + 1, refused + 1)
    for step in (
        ['mkdir', '-p', '/var/log/journal'],
        ['journalctl', '--flush'],  # which copies all that there is, and gives it other names
        ['journalctl', '--rotate'],
        ['virt-guard', 'policy', 'check'],
    ):
        host.run(step)
        assert host.counted() == (admitted + 1, refused + 1), step
    host.start_both()
    host.run(['journalctl', '--rotate'])
    host.start_both()
    assert host.counted() == (admitted + 3, refused + 3)
    host.run(['journalctl', '--rotate'])
    host.run(['journalctl', '--vacuum-time=1us'])
    assert host.journal('SYSLOG_IDENTIFIER=virt-guard') == []
    assert host.counted() == (admitted + 3, refused + 3)
    host.start_both()  # the first of these is the first after the place that is gone
    assert host.counted() == (admitted + 4, refused + 4)
    host.kill_journald()
    assert host.counted() == (admitted + 4, refused + 4)
    host.start_journald()
    host.start_both()
    assert host.counted() == (admitted + 5, refused + 5)


@pytest.mark.parametrize('harm', ['rm %s', 'echo x >%s', 'chmod 666 %s'])
def test_without_its_file_it_begins_at_zero_and_with_what_is_new(host, harm):
    host.start_both()
    host.counted()
    host.start_both()
    host.run(['sh', '-c', harm % COUNTS])
    assert host.counted() == host.counted() == (0, 0)
    host.start_both()
    assert host.counted() == host.counted() == (1, 1)


def test_what_another_user_writes_is_not_counted(host):
    before = host.counted()
    log = ['setpriv', '--reuid=65534', '--clear-groups', 'logger', '--journald']
    host.run(log, input=FORGED)
    host.wait_journal('MESSAGE=forged')
    assert host.counted() == before
    host.run(['logger', '--journald'], input=FORGED)  # which root is believed
    host.wait_journal('MESSAGE=forged', count=2)
    assert host.counted() == (before[0], before[1] + 1)


def test_others_than_root_are_told_so(host):
    result = host.run(['setpriv', '--reuid=65534', '--clear-groups', 'virt-guard', 'metrics'], check=False)
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.startswith('virt-guard: ') and result.stderr.endswith(' (run it as root, with sudo)\n')


def test_a_domain_that_was_refused_when_the_host_came_up(host):
    refused, healthy = 'virt_guard_autostart_refused_domains', 'virt_guard_healthy{check="autostart"}'
    host.virsh('autostart', 'bad')
    try:
        assert host.try_start('bad').returncode == 1
        found = host.metrics()
        assert (found[refused], found[healthy], found['virt_guard_guarding']) == (1, 0, 1)
        assert 'virt-guard explain --domain bad' in host.run(['virt-guard', 'status'], check=False).stdout
        host.write(DROP_IN, 'rules:\n- {id: tcg, action: "off", reason: a test}\n')
        host.compile_policy()
        assert host.try_start('bad').returncode == 0
        host.virsh('destroy', 'bad')  # somebody wants it to be off
        assert host.metrics()[refused] == 0
        host.write(DROP_IN, 'mode: enforced\n')
        assert host.try_start('bad').returncode == 1
        found = host.metrics()
        assert (found[refused], found['virt_guard_guarding']) == (1, 0)  # it could not be judged
    finally:
        host.run(['rm', '-f', DROP_IN])
        host.compile_policy()
        host.virsh('autostart', '--disable', 'bad')
    assert host.metrics()[refused] == 0


def test_a_domain_that_the_guard_was_not_asked_about(host):
    found = host.metrics()
    assert found['virt_guard_unjudged_domains'] == 0
    host.run(['rm', MAIN_HOOK])
    host.reload_libvirtd()
    try:
        assert host.try_start('clean').returncode == 0
        found = host.metrics()
        assert (found['virt_guard_unjudged_domains'], found['virt_guard_healthy{check="link"}']) == (1, 0)
        assert (found['virt_guard_guarding'], found['virt_guard_running_domains{decision="admit"}']) == (0, 1)
    finally:
        host.virsh('destroy', 'clean')
        host.run(['ln', '-s', HOOK, MAIN_HOOK])
        host.reload_libvirtd()
    assert host.metrics()['virt_guard_unjudged_domains'] == 0


def test_what_is_known_of_starts_is_found_out_anew_when_something_has_changed(host):
    def told():
        """The metrics, and whether that was found out anew."""
        before = host.path(KEPT).stat().st_ino if host.path(KEPT).exists() else 0
        found = host.metrics()
        return found['virt_guard_unjudged_domains'], host.path(KEPT).stat().st_ino != before

    host.run(['rm', '-f', KEPT])
    host.run(['rm', MAIN_HOOK])
    host.reload_libvirtd()
    try:
        assert told() == (0, True)
        start = host.cursor()
        assert host.try_start('clean').returncode == 0
        assert told() == told() == (1, True)  # it has only just begun
        # The watch tells it, too, and a record more is something to find out anew.
        host.wait_journal('VIRT_GUARD_RULE=started-without-verdict', after=start)
        host.run(['sh', '-c', 'touch -d "-1 hour" /run/libvirt/qemu/*'])
        assert [told(), told()] == [(1, True), (1, False)]
        host.run(['sh', '-c', 'echo x >' + KEPT])
        assert [told(), told()] == [(1, True), (1, False)]
        host.virsh('destroy', 'clean')
        assert told() == (0, True)
    finally:
        host.virsh('destroy', 'clean', check=False)
        host.run(['ln', '-s', HOOK, MAIN_HOOK])
        host.reload_libvirtd()
