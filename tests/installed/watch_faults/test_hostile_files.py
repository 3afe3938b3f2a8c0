# SPDX-License-Identifier: Apache-2.0
"""The installed watch among hostile files, without inotify, and among directories that it cannot read."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from support.capabilities import need_user_namespaces
from watching import IOTUNE, OTHER_UUID, UUID, disk, job, status

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
def test_a_file_that_is_not_a_status_is_told_once_and_changes_nothing(watch, what):
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
        assert 'was not observed' in watch.receive()['MESSAGE']
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
def test_without_inotify_the_watch_looks_every_second(watching, limit, cause):
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


def test_without_inotify_what_lasts_longer_than_a_second_is_found(watching):
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
