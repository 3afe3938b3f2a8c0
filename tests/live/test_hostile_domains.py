# SPDX-License-Identifier: Apache-2.0
"""One hostile domain of each kind on a host: what happens to other domains is recorded in time all the same.

Each test changes another domain once a second while the hostile one does its worst. See hostile.py for the figures.
"""

import time

import pytest
from domains import arguments, domain, replace
from guarded import LOG as HOOK_LOG
from guarded import values
from hostile import HOSTILE, HOSTILE_UUID, LIBOSINFO, MB, HostileMachine, metadata, os_ids
from support.records import HAPPENED_ID
from watched import LOG, identity

pytestmark = pytest.mark.live

LATEST = 1.0  # seconds from a change to its record
MEMORY = 200 * MB
DEADLINE = 5.0  # of the hook
ELEMENTS = '<a/>'
# Each accepted by libvirt, which leaves it as it is.
UNPARSABLE = [
    '<a xmlns:b="not a uri"/>',
    '<a b:c="1"/>',
    '<a><b xml:id="x"/><c xml:id="x"/></a>',
    '<a xml:id="1"/>',
    '<a xmlns:b="urn:x" xmlns:c="urn:x" b:d="1" c:d="2"/>',
    '<a xmlns:b=" "><b:c/></a>',
]
STRANGER, STRANGERS = '/usr/local/bin/qemu-system-x', 2400


@pytest.fixture(scope='module')
def machine(tmp_path_factory):
    with HostileMachine(tmp_path_factory.mktemp('machine')) as machine:
        machine.begin()
        yield machine


@pytest.fixture
def host(machine):
    """The machine, on which the same watch runs before and after the test."""
    assert machine.is_watched()
    machine.records(HOSTILE)  # of a test that failed
    yield machine
    machine.end_hostile()
    assert machine.is_watched(), machine.read(LOG)


def assert_unharmed(measured):
    print(measured)
    assert measured.unrecorded == [], measured
    assert len(measured.latencies) >= 2
    assert max(measured.latencies) <= LATEST, measured
    assert measured.memory <= MEMORY, measured


def test_operating_systems(host):
    """1,500 ids at the start, others while it runs."""
    start = host.cursor()
    with host.measured() as measured:
        host.create_hostile(replace("<libosinfo:os id='http://redhat.com/rhel/8.10'/>", "<libosinfo:os id=''/>" * 1500))
        time.sleep(3)
        for number in (1500, 500, 3000):
            host.set_metadata(LIBOSINFO, '<libosinfo>%s</libosinfo>' % ("<os id=''/>" * number))
            time.sleep(1)
    assert_unharmed(measured)
    told = [message for _, message in host.hostile_records(start)]
    assert len(told) <= 3 * 17 + 3, told


def test_elements(host):
    """900,000 at the start, and so many more while it runs."""
    with host.measured() as measured:
        host.create_hostile(metadata('<x:x xmlns:x="urn:x">%s</x:x>' % (ELEMENTS * 900000)))
        time.sleep(3)
        for number in (900000, 1, 900000):
            host.set_metadata('urn:y', '<y>%s</y>' % (ELEMENTS * number))
            time.sleep(1)
    assert_unharmed(measured)


def test_watch_that_starts_beside_them(host):
    """It is ready soon, and so is what it tells of others."""
    elements = metadata('<x:x xmlns:x="urn:x">%s</x:x>' % (ELEMENTS * 900000))
    host.create_hostile(
        replace("<libosinfo:os id='http://redhat.com/rhel/8.10'/>", "<libosinfo:os id=''/>" * 1500), elements
    )
    begin = time.monotonic()
    host.restart_watch()
    assert time.monotonic() - begin < 10
    with host.measured() as measured:
        time.sleep(4)
    assert_unharmed(measured)


def test_attributes(host):
    attributes = ' '.join('a%d=""' % number for number in range(20000))
    with host.measured() as measured:
        host.create_hostile()
        host.set_metadata('urn:x', '<x %s/>' % attributes)
        time.sleep(3)
    assert_unharmed(measured)


def test_what_is_not_well_formed_to_some(host):
    """It comes and goes, and what happens to that very domain meanwhile is recorded, too."""
    start = host.cursor()
    with host.measured() as measured:
        host.create_hostile(metadata(''.join(UNPARSABLE)))
        for number, form in enumerate(UNPARSABLE, 1):
            host.set_metadata('urn:x', form)
            host.virsh('blkdeviotune', HOSTILE, 'vda', '--live', '--total-iops-sec', str(number))
            host.virsh('blkdeviotune', HOSTILE, 'vda', '--live', '--total-iops-sec', '0')
            host.remove_metadata('urn:x')
    assert_unharmed(measured)
    records = host.journal('MESSAGE_ID=' + HAPPENED_ID, 'VIRT_GUARD_DOMAIN=' + HOSTILE, after=start)
    seen = [record['VIRT_GUARD_AFTER'] for record in records if record['VIRT_GUARD_RULE'] == 'qemu-io-throttling']
    for number in range(1, len(UNPARSABLE) + 1):
        assert any('<total_iops_sec>%d<' % number in after for after in seen), (number, seen)


def test_state_of_32_mb(host):
    """In pieces, for one call carries 4 MiB; in the end the watch refuses to read it, and says so once."""
    start = host.cursor()
    with host.measured() as measured:
        host.create_hostile()
        for number in range(9):
            host.set_metadata('urn:x%d' % number, '<x>%s</x>' % ('x' * 4000000))
        for limit in (1, 0, 2, 0):
            host.virsh('blkdeviotune', HOSTILE, 'vda', '--live', '--total-iops-sec', str(limit))
        time.sleep(2)
    assert_unharmed(measured)
    failures = [message for decision, message in host.hostile_records(start) if decision == 'error']
    # On a slow machine libvirt may write it anew while it is judged, and that is told, too.
    others = [message for message in failures if '32 MiB' not in message]
    assert len(failures) - len(others) == 1, failures
    assert all('faster than it can be judged' in m or 'was not observed' in m for m in others), failures
    records = host.journal('VIRT_GUARD_DECISION=error', 'VIRT_GUARD_DOMAIN=' + HOSTILE, after=start)
    (record,) = [record for record in records if '32 MiB' in record['MESSAGE']]
    assert record['VIRT_GUARD_UUID'] == HOSTILE_UUID
    assert record['VIRT_GUARD_POLICY'] == 'rhel-8'
    # Readable again: what has changed meanwhile is judged, and from when to when nobody looked is recorded.
    host.virsh('blkdeviotune', HOSTILE, 'vda', '--live', '--total-iops-sec', '77')
    for number in range(9):
        host.remove_metadata('urn:x%d' % number)
    matches = ('MESSAGE_ID=' + HAPPENED_ID, 'VIRT_GUARD_DOMAIN=' + HOSTILE)
    deadline = time.monotonic() + 20
    while not any('<total_iops_sec>77<' in r['VIRT_GUARD_AFTER'] for r in host.journal(*matches, after=start)):
        assert time.monotonic() < deadline, host.hostile_records(start)


def test_processes_of_another_user(host):
    """2,400 of a program with QEMU's name. They are looked at every ten seconds, once they are five seconds old."""
    start = host.cursor()
    host.run(['cp', '/bin/sleep', STRANGER])
    crowd = 'i=0; while [ $i -lt %d ]; do %s 1000 & i=$((i + 1)); done; wait' % (STRANGERS, STRANGER)
    as_nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c', crowd]
    group = host.spawn(as_nobody)
    try:
        with host.measured() as measured:
            time.sleep(17)
    finally:
        host.run(['sh', '-c', 'kill -9 -%d' % group])
    assert_unharmed(measured)
    records = host.journal('VIRT_GUARD_RULE=qemu-outside-libvirt', after=start)
    assert 1 <= len(records) <= 3 * 16, len(records)
    with host.measured() as measured:  # until they are gone from the books, too
        time.sleep(12)
    assert_unharmed(measured)


# The hook, and what it takes


@pytest.mark.parametrize(
    'mutations, status, rules',
    [
        ([metadata(os_ids(1500))], 0, ['guest-os-unknown']),
        ([metadata('<x:x xmlns:x="urn:x">%s</x:x>' % (ELEMENTS * 900000))], 0, []),
        ([metadata(''.join(UNPARSABLE))], 0, []),
        ([metadata('<x:x xmlns:x="urn:x" %s/>' % ' '.join('a%d=""' % number for number in range(10000)))], 0, []),
    ],
    ids=['operating-systems', 'elements', 'unparsable', 'attributes'],
)
def test_starts(host, mutations, status, rules):
    xml = domain(HOSTILE, identity(HOSTILE_UUID), *mutations)
    begin = time.monotonic()
    result = host.ask_hook(HOSTILE, 'start', xml)
    elapsed = time.monotonic() - begin
    print('%.2f s' % elapsed)
    assert (result.returncode, result.stderr) == (status, '')
    assert elapsed < DEADLINE
    (record,) = host.records(HOSTILE)
    assert values(record, 'VIRT_GUARD_RULE') == rules
    assert len(values(record, 'VIRT_GUARD_FINDING')) <= 17
    if len(xml) > MB:  # libvirt itself takes a quarter of a minute
        return
    host.virsh('define', '/dev/stdin', input=xml)
    try:
        assert host.try_start(HOSTILE).returncode == 0
        assert len(host.records(HOSTILE)) == 1
    finally:
        host.end_hostile()
        host.undefine(HOSTILE)


@pytest.mark.parametrize(
    'xml, reason',
    [
        (lambda: domain(HOSTILE, replace('</devices>', "<interface type='vhostuser'/>" * 60000 + '</devices>')), ''),
        (lambda: domain(HOSTILE, metadata('<x>%s</x>' % ('x' * 33 * 1024 * 1024))), '32 MiB'),
        (lambda: domain(HOSTILE, arguments(*['-device'] * 50000)), 'qemu-command-line'),
    ],
    ids=['interfaces', 'size', 'arguments'],
)
def test_refused_in_time(host, xml, reason):
    """Also what libvirt itself would not start. None of it is admitted because it takes long."""
    begin = time.monotonic()
    result = host.ask_hook(HOSTILE, 'start', xml())
    elapsed = time.monotonic() - begin
    print('%.2f s: %s' % (elapsed, result.stderr.splitlines()[:1]))
    assert result.returncode in (1, 2)
    assert elapsed < DEADLINE + 1
    assert len(result.stderr.encode()) <= 4096 and reason in result.stderr
    (record,) = host.records(HOSTILE)
    assert record['VIRT_GUARD_DECISION'] in ('deny', 'error')
    assert not host.path(HOOK_LOG).exists()
