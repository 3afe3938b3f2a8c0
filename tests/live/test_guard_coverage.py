# SPDX-License-Identifier: Apache-2.0
"""Starts while the hook is switched on and off at random: each without a verdict is listed and recorded, none invented.

VIRT_GUARD_STARTS=1000 makes it as many starts, VIRT_GUARD_SEED another order.
"""

import json
import os
import random
import time

import pytest
from domains import QCOW2_DISK, device, domain
from guarded import HOOK, MAIN_HOOK, GuardedMachine
from support.paths import LIB

pytestmark = pytest.mark.live

STARTS = int(os.environ.get('VIRT_GUARD_STARTS', '40'))
SEED = int(os.environ.get('VIRT_GUARD_SEED', '1'))
RULE = 'started-without-verdict'
WATCH_LOG = '/var/log/watch.log'
IMAGE = '/var/lib/libvirt/images/broken.qcow2'
# What QEMU cannot open fails at once, so there may be many of these.
DOMAINS = ['clean-1', 'clean-2', 'clean-3', 'refused'] + ['broken'] * 5
# What the guard of this checkout knows, asked inside of the machine.
ASK = """
import json, sys
sys.path.insert(0, %r)
from virtguard.health.coverage import find_coverage
from virtguard.policy.installation import installed_below
coverage = find_coverage(installed_below(''))
print(json.dumps([[s.name, s.state, s.time, s.is_running, s.uuid, s.why] for s in coverage.starts]))
""" % str(LIB)


class Host:
    """A machine with domains that start, and what must be known of each start."""

    def __init__(self, machine, seed):
        self.machine = machine
        self.random = random.Random(seed)
        self.is_on = True
        self.expected = []  # of each start that libvirt logs: the domain, and whether it was judged
        self.up = set()
        for name in ('clean-1', 'clean-2', 'clean-3'):
            machine.define(domain(name))
        machine.define(domain('refused').replace("type='kvm'", "type='qemu'"))
        machine.write(IMAGE, 'no such image')
        machine.define(domain('broken', device(QCOW2_DISK.replace('disk.qcow2', 'broken.qcow2'))))

    def switch(self, is_on):
        if is_on != self.is_on:
            self.machine.run(['ln', '-s', HOOK, MAIN_HOOK] if is_on else ['rm', MAIN_HOOK])
            self.machine.reload_libvirtd()
            self.is_on = is_on

    def step(self):
        """One start, or what leads to one."""
        self.switch(self.is_on != (self.random.random() < 0.3))
        name = self.random.choice(DOMAINS)
        if name in self.up and self.random.random() < 0.5:
            self.machine.virsh('save', name, '/tmp/saved')
            self.logged(name, self.machine.virsh('restore', '--paused', '/tmp/saved', check=False).returncode == 0)
            return
        if name in self.up:
            self.machine.virsh('destroy', name)
            self.up.discard(name)
        self.start(name)

    def start(self, name):
        is_up = self.machine.virsh('start', '--paused', name, check=False).returncode == 0
        assert is_up == (name.startswith('clean') or (name == 'refused' and not self.is_on))
        if is_up:
            self.up.add(name)
        if is_up or name == 'broken':  # libvirt logs what QEMU refuses, and not what the hook refuses
            self.logged(name, True)

    def logged(self, name, is_up):
        if not is_up:  # a restored domain that the guard refuses is not started
            self.up.discard(name)
            assert name == 'refused'
            assert self.is_on
            return
        self.expected.append((name, self.is_on))

    def found(self):
        """What the watch has recorded."""
        return self.machine.journal('VIRT_GUARD_RULE=' + RULE)

    def wait_found(self, number):
        deadline = time.monotonic() + 300
        while len(self.found()) < number:
            assert time.monotonic() < deadline, (len(self.found()), number, self.machine.read(WATCH_LOG))
            time.sleep(0.5)
        return self.found()


def install(machine):
    """Of what starts in the two seconds after this, the guard does not say that it should have been asked."""
    machine.install('--no-deps')
    since = time.time()
    while time.time() < since + 2.5:
        time.sleep(0.1)


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('machine')) as machine:
        install(machine)
        yield Host(machine, SEED)


def start_watch(machine):
    return machine.spawn(['/usr/bin/virt-guard', 'watch'], log=WATCH_LOG, env={'NOTIFY_SOCKET': '/run/notify'})


def test_starts_with_the_hook_switched_on_and_off(host):
    machine = host.machine
    watch = start_watch(machine)
    while len(host.expected) < STARTS:
        host.step()
        if host.random.random() < 0.05:  # a watch that is started again tells nothing twice
            machine.kill(watch, wait=60)
            watch = start_watch(machine)
    # One that stays, so that the watch looks again when all others are over.
    host.switch(False)
    for name in list(host.up):
        machine.virsh('destroy', name)
    host.start('clean-1')
    host.switch(True)
    unjudged = [name for name, is_judged in host.expected if not is_judged]
    starts = settled(machine)
    assert [(name, state == 'judged') for name, state, *_ in starts] == host.expected
    assert {state for _, state, *_ in starts} == {'judged', 'unjudged'}
    assert [name for name, state, _, is_running, *_ in starts if is_running] == ['clean-1']
    found = host.wait_found(len(unjudged))
    machine.kill(watch, wait=60)
    shown = [
        time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(when)) for _, state, when, *_ in starts if state != 'judged'
    ]
    told = sorted(
        (record['VIRT_GUARD_SINCE'], record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_UUID']) for record in found
    )
    uuids = {name: machine.virsh('domuuid', name).stdout.strip() for name in set(unjudged)}
    assert told == sorted((when, name, uuids[name]) for when, name in zip(shown, unjudged))
    assert len({record['VIRT_GUARD_EVENT'] for record in found}) == len(found)
    assert machine.journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DECISION=error') == []
    print('%d starts, %d without a verdict' % (len(host.expected), len(unjudged)))


def test_status_lists_them(host):
    settled(host.machine)
    lines = host.machine.run(['virt-guard', 'status', '--format', 'jsonl'], check=False).stdout.splitlines()
    starts = [entry for entry in map(json.loads, lines) if entry['subject'] == 'starts']
    (running,) = [entry['text'] for entry in starts if entry['state'] == 'amiss']
    assert running.startswith('clean-1 runs since ')
    ended = {entry['text'].partition(' ')[0] for entry in starts if entry['state'] == 'note'}
    assert ended == {name for name, is_judged in host.expected[:-1] if not is_judged}


def covered(machine):
    return json.loads(machine.run(['/usr/bin/python3', '-B', '-c', ASK], timeout=300).stdout)


def settled(machine):
    """The same when all is known: a journald that is slow may not have answered."""
    deadline = time.monotonic() + 300
    while True:
        starts = covered(machine)
        if all(state != 'unknown' for _, state, *_ in starts):
            return starts
        assert time.monotonic() < deadline, starts
        time.sleep(0.5)


def state_of(machine, name, find=covered):
    """What is known of the last start of a domain, and why."""
    return [(state, why) for found, state, _, _, _, why in find(machine) if found == name][-1]


@pytest.fixture
def other(tmp_path):
    """Another machine, whose journald a test may stop."""
    with GuardedMachine(tmp_path) as machine:
        install(machine)
        yield Host(machine, SEED)


def test_while_journald_does_not_answer_nothing_is_alleged(other):
    machine = other.machine
    machine.freeze_journald()
    other.start('clean-1')  # its record waits
    assert state_of(machine, 'clean-1')[0] == 'unknown'
    machine.thaw_journald()
    assert state_of(machine, 'clean-1', settled) == ('judged', '')


def test_a_gap_in_the_journal(other):
    machine = other.machine
    machine.kill_journald()
    other.start('clean-1')  # recorded in a file
    other.switch(False)
    other.start('clean-2')
    state, why = state_of(machine, 'clean-2')
    assert state == 'unknown'
    assert why.startswith('journald does not answer')
    machine.start_journald()
    machine.wait_journal('MESSAGE_ID=f77379a8490b408bbe5f6940505a777b', count=2, timeout=60)
    state, why = state_of(machine, 'clean-2')
    assert state == 'unknown'
    assert why.startswith('journald did not run until ')
    assert state_of(machine, 'clean-1') == ('judged', '')
    other.start('clean-3')
    deadline = time.monotonic() + 300
    while state_of(machine, 'clean-3') != ('unjudged', ''):
        assert time.monotonic() < deadline, covered(machine)


def test_the_journal_begins_later(other):
    machine = other.machine
    other.switch(False)
    other.start('clean-1')
    assert state_of(machine, 'clean-1', settled)[0] == 'unjudged'
    machine.run(['sh', '-ec', 'journalctl --rotate; rm /run/log/journal/*/*@*'])
    other.switch(True)
    other.start('clean-2')
    assert state_of(machine, 'clean-1') == ('unknown', 'the journal begins later')
    assert state_of(machine, 'clean-2')[0] == 'judged'


def test_a_domain_that_migrates_in(tmp_path):
    source_path, destination_path = tmp_path / 'source', tmp_path / 'destination'
    for path in (source_path, destination_path):
        path.mkdir()
    with GuardedMachine(source_path, shared=tmp_path) as source, GuardedMachine(
        destination_path, shared=tmp_path
    ) as to:
        install(to)
        to.virsh('uri')

        def migrate(name):
            where = (to.uri, '--migrateuri', 'unix://%s/%s.socket' % (tmp_path, name))
            source.virsh('create', '/dev/stdin', '--paused', input=domain(name))
            source.virsh('migrate', '--unsafe', name, *where)

        migrate('judged')
        to.run(['rm', MAIN_HOOK])
        to.reload_libvirtd()
        migrate('unseen')
        assert [(name, state) for name, state, *_ in settled(to)] == [('judged', 'judged'), ('unseen', 'unjudged')]


def test_before_the_guard_and_after_it(new_machine):
    machine = new_machine()
    other = Host(machine, SEED)
    other.start('clean-1')
    machine.install('--no-deps')
    status = machine.run(['virt-guard', 'status'], check=False).stdout
    assert '1 domain runs since before the guard was installed: clean-1' in status
    assert state_of(machine, 'clean-1')[0] == 'before'
    other.start('clean-2')
    assert state_of(machine, 'clean-2')[0] == 'judged'
