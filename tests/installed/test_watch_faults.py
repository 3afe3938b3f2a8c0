# SPDX-License-Identifier: Apache-2.0
"""The installed watch when things go wrong: hostile files, lost events, exhausted limits, sudden ends."""

import hashlib
import os
import pathlib
import queue
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest
from support.capabilities import need_user_namespaces
from watching import IOTUNE, OTHER_UUID, QEMU_NAME, UUID, Watching, disk, job, rules_text, status

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

HOSTILE = {
    'empty': b'',
    'binary': bytes(range(256)) * 64,
    'truncated': status()[:5000],
    'two roots': b'<domstatus/><domstatus/>',
    'out of the transition': b'</domstatus></after><after>',
    'another document': b'<network/>',
    'no domain': b"<domstatus state='running' pid='1'/>",
    'doctype': b'<!DOCTYPE domstatus>' + status(),
    'entities': b"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>"
    + b''.join(b"<!ENTITY %c '%s'>" % (c, b'&%c;' % (c - 1) * 10) for c in b'bcdefghijk')
    + b']><domstatus>&k;<domain/></domstatus>',
    'deep': b'<domstatus>' + b'<a>' * 100000,
    'unknown encoding': b"<?xml version='1.0' encoding='KLINGON'?><domstatus/>",
    '33 MiB': b'<domstatus>' + b'<a/>' * (33 * 1024 * 1024 // 4) + b'</domstatus>',
}


@pytest.mark.parametrize('what', sorted(HOSTILE))
def test_a_file_that_is_no_status_is_told_once_and_changes_nothing(watch, what):
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    path = watch.run / 'vm.xml'
    watch.write(path, HOSTILE[what])
    records = watch.records() or [watch.receive()]
    (record,) = records
    assert record['VIRT_GUARD_DECISION'] == 'error' and record['PRIORITY'] == '3'
    assert record['MESSAGE'].startswith(str(path)) and 'Traceback' not in record['MESSAGE']
    assert (record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_UUID']) == ('vm', UUID)
    assert record['VIRT_GUARD_POLICY'] == 'rhel-8' and 'VIRT_GUARD_UNTIL' not in record
    for _ in range(3):
        watch.write(path, HOSTILE[what])
    time.sleep(0.8)  # it has been looked at again meanwhile
    assert watch.told() == []
    watch.put(vcpus=3)
    gap, news = watch.receive(), watch.receive()
    assert gap['MESSAGE'].startswith("domain 'vm' was not observed from %(VIRT_GUARD_SINCE)s to " % record)
    assert gap['VIRT_GUARD_SINCE'] <= gap['VIRT_GUARD_UNTIL'] and gap['VIRT_GUARD_UUID'] == UUID
    assert (gap['VIRT_GUARD_DECISION'], news['VIRT_GUARD_RULE']) == ('error', 'test-fewer-vcpus')
    assert watch.told() == []
    assert watch.stop() == (0, '')


def make_link(path):
    path.with_name('target').write_bytes(status())
    path.symlink_to('target')


def make_foreign(path):
    path.write_bytes(status())
    os.chown(str(path), 65534, 65534)


def make_writable(path):
    path.write_bytes(status())
    path.chmod(0o666)


def make_socket(path):
    directory = os.open(str(path.parent), os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind('/proc/self/fd/%d/%s' % (directory, path.name))  # whose own path is too long
    os.close(directory)


@pytest.mark.parametrize(
    'make, reason',
    [
        (make_socket, 'cannot be read: No such device or address'),
        (make_link, 'is a symbolic link, which libvirt does not write'),
        (lambda path: os.mkfifo(str(path)), 'is not a regular file'),
        (lambda path: path.mkdir(), 'is not a regular file'),
        (make_foreign, 'could be written by others than libvirt (uid 65534'),
        (make_writable, 'could be written by others than libvirt (uid 0, mode 0666)'),
    ],
)
def test_a_file_that_libvirt_has_not_written(watch, make, reason):
    make(watch.run / 'odd.xml')
    watch.start()
    records = watch.records()
    assert len(records) == 1 and reason in records[0]['MESSAGE']
    assert watch.told() == []
    assert watch.stop() == (0, '')


@pytest.mark.parametrize('name', ['v\udcff\udce4', 'a\nb', '\u00fc' * 120, '%s'])
def test_a_domain_of_any_name(watch, name):
    watch.start(environment={'LC_ALL': 'C'})
    watch.write(watch.run / (name + '.xml'), status(devices=disk('vda', IOTUNE)))
    assert watch.told() == [(name, 'qemu-io-throttling')]
    watch.write(watch.run / (name + '.xml'), status(devices=disk()))
    assert watch.told() == []
    assert watch.stop() == (0, '')
    watch.write(watch.run / (name + '.xml'), status(devices=disk('vda', IOTUNE)))
    watch.start(environment={'LC_ALL': 'C'})
    assert watch.told() == [(name, 'qemu-io-throttling')]


def test_a_file_caught_half_written_is_read_again(watch):
    """By a writer that does not rename, and says nothing when it has ended: by mmap, say."""
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    whole = status(vcpus=3)
    watch.write(watch.run / 'vm.xml', whole[:5000])
    with open(str(watch.run / 'vm.xml'), 'r+b') as file:
        assert len(watch.records() or [watch.receive()]) == 1
        file.seek(5000)
        file.write(whole[5000:])
        file.flush()
        assert 'was not observed' in watch.receive(timeout=15)['MESSAGE']
        assert watch.receive()['VIRT_GUARD_RULE'] == 'test-fewer-vcpus'


def test_ten_thousand_files_at_once(watch):
    watch.start()
    count = 10000
    for number in range(count):
        watch.put('vm%d' % number, devices=disk('vda', IOTUNE if number % 100 == 0 else ''))
    assert sorted(watch.told()) == sorted(('vm%d' % number, 'qemu-io-throttling') for number in range(0, count, 100))
    assert watch.stop() == (0, '')


def test_an_overflowing_queue_of_events_loses_no_state(watch):
    watch.start()
    watch.put(vcpus=8)
    watch.put('old', vcpus=8)
    assert watch.told() == []
    with open('/proc/sys/fs/inotify/max_queued_events') as file:
        limit = int(file.read())
    watch.process.send_signal(signal.SIGSTOP)
    for number in range(limit // 2 + 1000):
        (watch.run / ('flood%d.xml.new' % number)).write_bytes(b'')
        (watch.run / ('flood%d.xml.new' % number)).rename(watch.run / 'flood.xml')
    (watch.run / 'flood.xml').unlink()
    watch.put(vcpus=7)
    watch.remove('old')
    watch.put('new', devices=disk('vda', IOTUNE))
    watch.put_snapshot()
    watch.process.send_signal(signal.SIGCONT)
    assert sorted(watch.told()) == [('new', 'qemu-io-throttling'), ('vm', 'test-fewer-vcpus'), ('vm', 'test-snapshot')]


def test_directories_that_come_late_go_and_come_again(watch):
    shutil.rmtree(str(watch.root / 'run'))
    shutil.rmtree(str(watch.lib))
    watch.start()
    for round in range(3):
        watch.put(devices=disk('vda', IOTUNE))
        watch.put_snapshot()
        told = watch.told()
        assert sorted(told) == [('vm', 'qemu-io-throttling'), ('vm', 'test-snapshot')], round
        for directory in (watch.root / 'run/libvirt', watch.lib / 'snapshot'):
            shutil.rmtree(str(directory))
        assert watch.told() == []
    assert watch.stop() == (0, '')


@pytest.mark.parametrize('limit, cause', [('max_inotify_instances', 'instances'), ('max_inotify_watches', 'watches')])
def test_without_inotify_it_looks_every_second(watching, limit, cause):
    """The limits of a user namespace of its own, which is what a host's are to its users."""
    need_user_namespaces()
    script = 'echo 0 >/proc/sys/user/%s && exec "$@"' % limit
    watch = watching(prefix=['unshare', '--user', '--map-root-user', 'sh', '-c', script, 'sh'])
    watch.put(vcpus=4)
    watch.start()
    record = watch.receive()
    assert 'looked at every second' in record['MESSAGE'] and 'fs.inotify.max_user_' + cause in record['MESSAGE']
    watch.put(vcpus=3)
    watch.put_snapshot()
    assert sorted(watch.told()) == [('vm', 'test-fewer-vcpus'), ('vm', 'test-snapshot')]
    watch.remove()
    assert watch.told() == []
    assert watch.stop() == (0, '')


def test_without_inotify_nothing_is_missed_that_stands_for_longer_than_a_second(watching):
    """Also not where each look brings something to keep."""
    need_user_namespaces()
    script = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'
    watch = watching(prefix=['unshare', '--user', '--map-root-user', 'sh', '-c', script, 'sh'])
    watch.put()
    for number in range(200):
        watch.put('vm%d' % number)
    watch.start()
    assert 'looked at every second' in watch.receive()['MESSAGE']
    chance = random.Random(1711)
    for number in range(8):
        watch.put(job=job('backup', number + 1))
        watch.put('vm%d' % number, vcpus=3 + number % 2)  # something to keep
        time.sleep(chance.uniform(1.2, 1.5))
        watch.put(job=job('none', number + 1))
        time.sleep(chance.uniform(1.2, 1.5))
    told = [record['VIRT_GUARD_AFTER'] for record in watch.records()]
    starts = [re.findall('asyncStarted="(\\d+)"', after) for after in told]
    assert starts == [[str(number)] for number in range(1, 9)], told
    assert watch.stop() == (0, '')


def test_inotify_is_used_as_soon_as_there_is_room(watching):
    need_user_namespaces()
    limit = '/proc/sys/user/max_inotify_instances'
    script = 'echo 0 >%s && exec "$@"' % limit
    watch = watching(prefix=['unshare', '--user', '--map-root-user', 'sh', '-c', script, 'sh'])
    watch.start()
    assert watch.notifications[-1].startswith('READY=1\nSTATUS=looking every second at 0 running domains')
    assert 'looked at every second' in watch.receive()['MESSAGE']
    enter = ['nsenter', '--user', '--preserve-credentials', '--target', str(watch.process.pid)]
    subprocess.run(enter + ['sh', '-c', 'echo 100 >' + limit], check=True)
    watch.wait_notified('STATUS=following ')
    watch.put(vcpus=4)
    assert watch.told() == []
    watch.put(vcpus=3)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]
    assert watch.stop() == (0, '')


def test_a_directory_that_cannot_be_listed_hides_only_itself(watching):
    """To the root of a user namespace, what belongs to nobody there is closed. So is to root what QEMU's user mounts
    there by FUSE."""
    need_user_namespaces()
    watch = watching(prefix=['unshare', '--user', '--map-root-user'])
    hidden = watch.lib / 'snapshot' / 'hidden'
    hidden.mkdir(mode=0o700)
    watch.put_snapshot('vm')
    watch.put_snapshot('hidden', uuid=OTHER_UUID)
    watch.put(devices=disk('vda', IOTUNE))
    watch.start()
    assert sorted(watch.told()) == [('hidden', 'test-snapshot'), ('vm', 'qemu-io-throttling'), ('vm', 'test-snapshot')]
    os.chown(str(hidden), 65534, 65534)
    watch.put(devices=disk('vda', IOTUNE.replace('100', '200')))
    watch.process.send_signal(signal.SIGHUP)
    (error, *found) = sorted(watch.records(), key=lambda record: record['VIRT_GUARD_DECISION'])
    assert error['MESSAGE'] == '%s cannot be listed: Permission denied (run it as root)' % hidden
    assert [record['VIRT_GUARD_RULE'] for record in found] == ['qemu-io-throttling']
    watch.put('new', devices=disk('vda', IOTUNE))
    assert watch.told() == [('new', 'qemu-io-throttling')]
    os.chown(str(hidden), 0, 0)
    hidden.parent.chmod(0o744)  # now it cannot even be seen whether these are directories
    os.chown(str(hidden.parent), 65534, 65534)
    watch.process.send_signal(signal.SIGHUP)
    (error,) = watch.records()
    assert error['MESSAGE'].count(' cannot be listed: Permission denied (run it as root)') == 2
    hidden.parent.chmod(0o755)
    watch.process.send_signal(signal.SIGHUP)
    assert watch.told() == []  # all was there before
    assert watch.stop() == (0, '')


# --- the policy ----------------------------------------------------------------------------------------------------


def test_an_edited_policy_is_obeyed_at_once(installation, watch):
    watch.start()
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    records = [watch.receive(timeout=20)]
    assert records[0]['MESSAGE'].startswith("domain 'vm': warn: ")
    text = rules_text() + '\n  - {id: test-new, title: new, action: deny, match: /domain, why: w, remedy: r}\n'
    installation.policy.write_text(text)
    rules = {watch.receive(timeout=20)['VIRT_GUARD_RULE'], watch.receive()['VIRT_GUARD_RULE']}
    assert rules == {'qemu-io-throttling', 'test-new'}


def test_a_host_that_is_upgraded_is_judged_as_what_it_has_become(installation, watching, tmp_path):
    """To the next minor release, which takes no restart of what runs."""
    release = tmp_path / 'os-release'
    release.write_text('ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID=9.3\n')
    watch = watching(prefix=['sh', '-c', 'mount --bind "$0" /etc/os-release && exec "$@"', str(release)])
    rule = (
        '\n  - {id: test-%s, title: t, action: deny, host: {os: {%s: rhel-9.4}}, match: /domain, why: w, remedy: r}\n'
    )
    installation.policy.write_text(rules_text() + rule % ('old', 'before') + rule % ('new', 'from'))
    watch.start()
    watch.put()
    assert watch.told() == [('vm', 'test-old')]
    release.write_text('ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID=9.4\n')
    assert watch.receive(timeout=20)['VIRT_GUARD_RULE'] == 'test-new'
    watch.put('other', uuid=OTHER_UUID)
    assert watch.told() == [('other', 'test-new')]


def test_a_broken_policy_leaves_the_one_before_in_force(installation, watch):
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    installation.policy.write_text('rules: {')
    record = watch.receive(timeout=20)
    assert record['VIRT_GUARD_DECISION'] == 'error'
    assert record['MESSAGE'].startswith('the policy as it was stays in force: ')
    watch.put(vcpus=3)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]
    time.sleep(1.1)
    watch.put(vcpus=2)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]  # and not the error again
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    time.sleep(1.1)
    watch.put(devices=disk('vda', IOTUNE), vcpus=2)
    (record,) = watch.records()
    assert record['MESSAGE'].startswith("domain 'vm': warn: ")


def test_a_part_of_the_policy_that_comes_late(installation, watch):
    base = installation.policy.with_name('base.yaml')
    watch.start()
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    installation.policy.write_text('{policy: site, extends: base.yaml}')
    assert str(base) in watch.receive(timeout=20)['MESSAGE']
    time.sleep(1.1)
    base.write_text(rules_text(qemu_io_throttling='warn'))
    try:
        assert watch.receive(timeout=25)['MESSAGE'].startswith("domain 'vm': warn: ")
    finally:
        base.unlink()


def test_a_waiver_permits_and_is_recorded(installation, watch):
    drop_in = installation.root / 'etc/virt-guard/policy.d/50-site.yaml'
    expires = time.strftime('%Y-%m-%d', time.localtime(time.time() + 100 * 86400))
    drop_in.write_text(
        'waivers:\n  - {rules: [test-fewer-vcpus], domains: [%s], reason: a test, approved-by: somebody, expires: %s}\n'
        % (UUID, expires)
    )
    try:
        watch.start()
        watch.put(vcpus=4)
        assert watch.told() == []
        watch.put(vcpus=3)
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'vm': waived: fewer vCPUs")
        assert record['VIRT_GUARD_WAIVER'].startswith('test-fewer-vcpus approved by somebody until ' + expires)
        watch.put('other', vcpus=4, uuid=UUID.replace('5', '6'))
        assert watch.told() == []
        watch.put('other', vcpus=3, uuid=UUID.replace('5', '6'))
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'other': deny: fewer vCPUs")
        drop_in.unlink()
        watch.put(devices=disk('vda', IOTUNE), vcpus=3)
        watch.records()
        time.sleep(1.1)
        watch.put(vcpus=2)
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'vm': deny: fewer vCPUs")
    finally:
        if drop_in.exists():
            drop_in.unlink()


# --- sudden ends ---------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_loses_nothing_that_lasts(watch):
    """Each fall of the vCPUs lasts until the watch that is started next has seen it."""
    chance = random.Random(4711)
    vcpus = 200
    watch.put(vcpus=vcpus)
    watch.start()
    watch.records()
    for fall in range(8):
        vcpus -= 1
        watch.put(vcpus=vcpus)
        time.sleep(chance.uniform(0, 0.05))
        watch.process.kill()
        watch.process.communicate()
        watch.start()
        told = watch.told()
        told = [pair for pair in told if pair[1] == 'test-fewer-vcpus']
        # Told twice where it was killed between the record and its note of it, and never not at all.
        assert 1 <= len(told) <= 2, (fall, told)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_the_middle_of_work(watch, number):
    for index in range(300):
        watch.put('vm%d' % index)
    watch.start(wait=False)
    time.sleep(0.5)
    code, errors = watch.stop(number, timeout=10)
    assert code in (0, 130, -signal.SIGTERM) and errors == ''


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'another version', 'not ours'])
def test_damaged_states_are_as_good_as_none(watch, damage):
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    assert watch.stop() == (0, '')
    for path in watch.state.iterdir():
        data = path.read_bytes()
        if damage == 'cut':
            path.write_bytes(data[: len(data) // 2])
        elif damage == 'flipped':
            middle = len(data) // 2  # that of a QEMU which runs here without libvirt is short
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        elif damage == 'another version':
            path.write_bytes(data.replace(b'state 1', b'state 9', 1))
        else:
            os.chown(str(path), 65534, 65534)
    count = len(list(watch.state.iterdir()))
    watch.put(vcpus=3)
    watch.start()
    records = watch.records()
    assert len(records) == count and {r['VIRT_GUARD_DECISION'] for r in records} == {'error'}
    assert all('is left out: ' in record['MESSAGE'] for record in records)
    watch.put(vcpus=2)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]


@pytest.mark.parametrize('what', ['link', 'foreign', 'file'])
def test_a_state_directory_that_cannot_be_trusted_is_not_used(watch, tmp_path, what):
    if what == 'link':
        watch.state.symlink_to(str(tmp_path))
    elif what == 'foreign':
        watch.state.mkdir()
        os.chown(str(watch.state), 65534, 65534)
    else:
        watch.state.write_bytes(b'')
    watch.put(vcpus=4)
    watch.start()
    (record,) = watch.records()
    assert record['MESSAGE'].endswith('states are not kept') and str(watch.state) in record['MESSAGE']
    watch.put(vcpus=3)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]
    assert list(tmp_path.iterdir()) == []
    assert watch.stop() == (0, '')
    if what == 'link' or what == 'file':
        watch.state.unlink()


def wait_until(condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_is_told_once_and_tried_again(installation, watching):
    state = installation.root / 'var/lib/virt-guard'
    script = 'mkdir -p "$0" && mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" && exec "$@"'
    watch = watching(prefix=['sh', '-c', script, str(state)])
    watch.start()
    inside = pathlib.Path('/proc/%d/root%s' % (watch.process.pid, state))
    message = '.state cannot be written: No space left on device; it is tried again'
    of_the_host = hashlib.sha256(b'').hexdigest()  # real QEMU processes, of other tests, are kept there

    def kept():
        return [path for path in inside.glob('*.state') if path.stem != of_the_host]

    for number in range(20):
        watch.put('vm%d' % number)
    (record,) = watch.records() or [watch.receive()]
    assert record['MESSAGE'].startswith(str(state)) and record['MESSAGE'].endswith(message)
    assert 0 < len(kept()) < 20 and list(inside.glob('*.new')) == []
    for number in range(18):
        watch.remove('vm%d' % number)
    wait_until(lambda: len(kept()) == 3, timeout=60)  # and that of the mark
    assert watch.told() == []
    for number in range(18):
        watch.put('vm%d' % number)
    assert watch.receive()['MESSAGE'].endswith(message)
    assert watch.stop() == (0, '')


def test_a_full_disk_does_not_keep_it_from_ending(installation, watching):
    state = installation.root / 'var/lib/virt-guard'
    script = 'mkdir -p "$0" && mount -t tmpfs -o size=8k,mode=700 tmpfs "$0" && exec "$@"'
    watch = watching(prefix=['sh', '-c', script, str(state)])
    for number in range(200):
        watch.put('vm%d' % number)
    watch.start()
    assert watch.stop(timeout=10) == (0, '')


# --- two watches ---------------------------------------------------------------------------------------------------


def read_line(stream):
    assert select.select([stream], [], [], 20)[0]
    return stream.readline()


def test_of_two_watches_one_records(installation, watch):
    watch.start()
    other = Watching(installation)
    other.start(wait=False, stdout=subprocess.PIPE, environment={'NOTIFY_SOCKET': ''})
    try:
        assert b'another watch records what happens; this one only shows it' in read_line(other.process.stderr)
        # Until it follows, it may find what the first has told already.
        for limit in range(100, 200):
            watch.put(devices=disk('vda', IOTUNE.replace('100', str(limit))))
            if select.select([other.process.stdout], [], [], 1)[0]:
                break
        assert b"domain 'vm': deny: I/O throttling by QEMU" in read_line(other.process.stdout)
        assert set(watch.told()) == {('vm', 'qemu-io-throttling')}
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(timeout=10) == 0 and other.process.stderr.read() == b''
        with pytest.raises(queue.Empty):
            other.receive(timeout=0)
    finally:
        other.close()
    assert watch.stop() == (0, '')
    watch.start()
    assert watch.told() == []  # again


def test_a_service_beside_another_watch_would_be_of_no_use(installation, watch):
    watch.start()
    other = Watching(installation)
    try:
        other.start(wait=False)
        code, errors = other.end()
    finally:
        other.close()
    assert code == 2
    assert errors == 'virt-guard: another watch keeps its states in %s (end that one first)\n' % watch.state


# --- the service manager -------------------------------------------------------------------------------------------


def test_what_the_service_manager_hears(watch):
    watch.put()
    watch.start(environment={'WATCHDOG_USEC': '2000000'})
    # Real QEMU processes, of other tests, are changes too.
    assert re.match(
        "READY=1\nSTATUS=following 1 running domain by policy 'rhel-8'; (1 change|2 changes)$", watch.notifications[-1]
    )
    watch.put('two')
    watch.wait_notified('WATCHDOG=1')
    watch.process.send_signal(signal.SIGHUP)
    watch.wait_notified('RELOADING=1\nMONOTONIC_USEC=')
    watch.wait_notified("READY=1\nSTATUS=following 2 running domains by policy 'rhel-8'; ")
    watch.process.send_signal(signal.SIGTERM)
    watch.wait_notified('STOPPING=1')
    assert watch.end() == (0, '')


def test_work_at_length_is_no_silence(watch):
    for number in range(300):
        watch.put('vm%d' % number)
    watch.start(environment={'WATCHDOG_USEC': '20000'})
    assert watch.notifications.count('WATCHDOG=1') > 2 and 'READY=1' in watch.notifications[-1]


def test_a_policy_that_is_broken_at_the_start(installation, watch):
    installation.policy.write_text('rules: {')
    watch.start(wait=False)
    code, errors = watch.end()
    assert code == 2
    assert errors.startswith('%s:' % installation.policy)


# --- processes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def emulator(tmp_path):
    """A program of QEMU's name that waits; returns its process."""
    program = tmp_path / 'qemu-kvm'
    shutil.copy('/bin/sh', str(program))
    started = []

    def start(*arguments):
        process = subprocess.Popen([str(program), '-c', 'read line', *arguments], stdin=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


NAMED = ('-name', 'guest=%s,debug-threads=on' % QEMU_NAME)


def test_a_qemu_that_libvirt_does_not_own(watch, emulator):
    stranger = emulator(*NAMED)
    owned, known = emulator(*NAMED), emulator(*NAMED)
    (watch.run / 'starting.pid').write_text('%d\n' % owned.pid)
    watch.put(pid=known.pid)
    watch.start()
    record = watch.receive(timeout=40)
    assert record['VIRT_GUARD_RULE'] == 'test-process' and 'VIRT_GUARD_DOMAIN' not in record
    assert record['MESSAGE'].startswith('this host: deny: QEMU without libvirt [test-process]: <process pid="')
    assert 'pid="%d"' % stranger.pid in record['VIRT_GUARD_AFTER']
    assert watch.told() == []
    assert watch.stop() == (0, '')
    watch.start()
    assert watch.told() == []  # again


def test_once_waits_for_a_young_qemu(installation, watch, emulator):
    stranger = emulator(*NAMED)
    result = installation.run_cli('watch', '--once', '--format', 'jsonl')
    assert result.returncode == 1
    assert b'pid=\\"%d\\"' % stranger.pid in result.stdout and b'"source": "/proc"' in result.stdout


def test_once_tells_what_it_cannot_judge(installation, watch):
    watch.put()
    watch.write(watch.run / 'bad.xml', b'<domstatus>')
    result = installation.run_cli('watch', '--once')
    assert result.returncode == 2
    assert result.stderr.decode().startswith('%s: error: the XML is not well-formed' % (watch.run / 'bad.xml'))
    assert result.stdout.decode().splitlines()[-1] == '2 domains: 1 admitted, 1 not judged'


def test_once_without_the_rights_to_look(installation, watch):
    need_user_namespaces()
    watch.put()
    for directory, judged in ((watch.lib / 'snapshot', 1), (watch.run, 0)):
        directory.chmod(0o700)
        os.chown(str(directory), 65534, 65534)
        command = ['unshare', '--user', '--map-root-user', str(installation.cli), 'watch', '--once']
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.returncode == 2
        assert '%s cannot be listed: Permission denied (run it as root)' % directory in result.stderr.decode()
        assert result.stdout.count(b": admit 'vm'") == judged
