# SPDX-License-Identifier: Apache-2.0
"""Three hosts and a collector with a network between them: systemd's own upload and remote, while the collector is
killed again and again. What the hosts recorded is all there in the end, and nothing counts twice."""

import contextlib
import glob
import json
import os
import random
import shutil
import subprocess
import time

import pytest
from machine import Machine
from support.capabilities import missing
from support.paths import LIB
from virtguard.health.journal_files import JournalFiles

pytestmark = pytest.mark.live

HOSTS, RECORDS, KILLS = 3, 1000, 20
PORT = 19532
COLLECTED = '/var/log/journal/remote'
# By the guard's own code, to the host's own journald.
SENDER = """\
import os, sys, time
sys.path.insert(0, %r)
from virtguard import journal, model
sinks = journal.Sinks('/nowhere')
for number in range(%d):
    while number > 900 and not os.path.exists('/root/all-kills-are-over'):
        time.sleep(0.1)
    fields = journal.own_fields(model.DENY, 'number %%d' %% number) + [
        ('VIRT_GUARD_DOMAIN', 'vm%%d' %% number), ('VIRT_GUARD_OPERATION', 'prepare'), ('VIRT_GUARD_RULE', 'tcg'),
        ('VIRT_GUARD_DENIED', 'tcg'), ('VIRT_GUARD_POLICY', 'rhel-8'), ('VIRT_GUARD_POLICY_SHA256', 'a' * 64),
        ('VIRT_GUARD_MODE', 'enforce')]
    while sinks.send(fields) != 'journal':
        raise SystemExit('journald did not take a record')
    time.sleep(%g)
"""
# What the unit of the upload does, with its drop-in.
UPLOAD = 'while :; do %s --url=http://10.99.0.1:%d --save-state=/var/lib/upload-state; sleep 0.2; done'


def program(name):
    found = [path for path in glob.glob('/*/systemd/' + name) + glob.glob('/usr/lib/systemd/' + name)]
    if not found or shutil.which('ip') is None:
        missing('%s is not installed' % name)
    return found[0]


def connect(collector, host, number):
    """A cable between two machines, each of which has its own network."""
    into = ['nsenter', '--net=/proc/%d/ns/net' % collector.pid]
    name = 'host%d' % number
    cable = ['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', str(host.pid)]
    subprocess.run([*into, *cable], check=True)
    collector.run(['ip', 'link', 'set', name, 'master', 'switch', 'up'])
    host.run(['ip', 'address', 'add', '10.99.0.%d/24' % (number + 10), 'dev', 'eth0'])
    host.run(['ip', 'link', 'set', 'eth0', 'up'])


class Collector(Machine):
    def __init__(self, workdir, remote):
        super().__init__(workdir, daemon=False, hostname='collector')
        self._remote = remote
        self._running = 0

    def set_up(self):
        self.run(['ip', 'link', 'add', 'switch', 'type', 'bridge'])
        self.run(['ip', 'address', 'add', '10.99.0.1/24', 'dev', 'switch'])
        self.run(['ip', 'link', 'set', 'switch', 'up'])
        self.run(['mkdir', '-p', COLLECTED])

    def listen(self):
        options = ['--listen-http=10.99.0.1:%d' % PORT, '--output=' + COLLECTED, '--split-mode=host']
        self._running = self.spawn([self._remote, *options], log='/var/log/remote.log')

    def crash(self):
        self.kill(self._running, 9, wait=30)

    def fleet(self, *options):
        """The objects that `virt-guard fleet` tells, by their kind; and its exit status."""
        program = (
            'import sys; sys.path.insert(0, %r); from virtguard.commands.main import main; sys.exit(main())' % str(LIB)
        )
        words = ['python3', '-B', '-c', program, 'fleet', '--format', 'jsonl', *options, COLLECTED]
        result = self.run(words, check=False, timeout=300)
        assert result.returncode in (0, 1) and result.stderr == '', result.stderr
        found = {}
        for line in result.stdout.splitlines():
            found.setdefault(json.loads(line)['kind'], []).append(json.loads(line))
        return found, result.returncode


@pytest.fixture(scope='module')
def fleet(tmp_path_factory):
    """The collector, which runs, and the hosts, which upload to it."""
    tmp_path = tmp_path_factory.mktemp('machines')
    remote, upload = program('systemd-journal-remote'), program('systemd-journal-upload')
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(Collector(tmp_path, remote))
        collector.set_up()
        collector.listen()
        hosts = []
        for number in range(HOSTS):
            host = stack.enter_context(Machine(tmp_path, daemon=False, hostname='kvm%d' % number))
            connect(collector, host, number)
            host.spawn(['sh', '-c', UPLOAD % (upload, PORT)], log='/var/log/upload.log')
            hosts.append(host)
        yield collector, hosts


def send(host, seconds):
    host.write('/root/send.py', SENDER % (str(LIB), RECORDS, seconds / RECORDS))
    return host.spawn(['python3', '-B', '/root/send.py'], log='/var/log/send.log')


def test_nothing_is_lost_and_nothing_counts_twice_while_the_collector_is_killed(fleet):
    collector, hosts = fleet
    choice = random.Random()
    senders = [(host, send(host, KILLS / 2)) for host in hosts]
    for _ in range(KILLS):
        time.sleep(choice.uniform(0.05, 0.8))
        collector.crash()
        time.sleep(choice.uniform(0, 0.3))
        collector.listen()
    for host in hosts:
        host.write('/root/all-kills-are-over', '')
    deadline = time.monotonic() + 300
    while True:
        # The rest of it comes when the last records are there.
        found, status = collector.fleet()
        counts = {row['host']: row['refused'] for row in found.get('host', ())}
        if sum(counts.values()) >= HOSTS * RECORDS:
            break
        assert time.monotonic() < deadline, (counts, [host.read('/var/log/upload.log')[-500:] for host in hosts])
        time.sleep(1)
    assert not any(host.alive(sender) for host, sender in senders), hosts[0].read('/var/log/send.log')
    time.sleep(2)  # what else may come: records that are sent again
    found, status = collector.fleet()
    rows = {row['host']: row for row in found['host'] if row['refused']}
    assert {name: row['refused'] for name, row in rows.items()} == {'kvm%d' % n: RECORDS for n in range(HOSTS)}
    assert [row['refused'] for row in found['rule']] == [RECORDS] * HOSTS
    assert [row['senders'] for row in rows.values()] == [['10.99.0.%d' % (n + 10)] for n in range(HOSTS)]
    assert status == 0 and found['fleet'][0]['records'] == HOSTS * RECORDS, found['limit']
    # By the files themselves: every one of them, and not only as many.
    stored = {}
    for _, fields in JournalFiles(str(collector.path(COLLECTED))).entries('SYSLOG_IDENTIFIER=virt-guard'):
        stored.setdefault(fields['_HOSTNAME'], []).append(fields['VIRT_GUARD_DOMAIN'])
    wanted = {'vm%d' % n for n in range(RECORDS)}
    assert {name: set(domains) for name, domains in stored.items()} == {'kvm%d' % n: wanted for n in range(HOSTS)}
    repeated = sum(map(len, stored.values())) - HOSTS * RECORDS
    assert found['fleet'][0]['repeated'] == repeated
    print('stored twice: %d, files: %d' % (repeated, len(os.listdir(str(collector.path(COLLECTED))))))


def test_a_host_that_goes_silent_is_told(fleet):
    collector, hosts = fleet
    hosts[1].run(['ip', 'link', 'set', 'eth0', 'down'])
    deadline = time.monotonic() + 300
    wanted = {'kvm0': False, 'kvm1': True, 'kvm2': False}
    found, status = {}, 0
    while {row['host']: row['silent'] for row in found.get('host', ())} != wanted:
        assert time.monotonic() < deadline, found
        for host in hosts:
            host.run(['logger', 'an entry of another kind'])
        time.sleep(1)
        found, status = collector.fleet('--silent-after', '10s')
    assert status == 1 and [row['refused'] for row in found['rule']] == [RECORDS] * HOSTS
