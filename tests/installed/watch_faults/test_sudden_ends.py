# SPDX-License-Identifier: Apache-2.0
"""The installed watch that is killed, and that finds no room: nothing is lost, and nothing is told twice."""

import hashlib
import os
import pathlib
import random
import signal
import time

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')


def test_a_watch_killed_at_any_moment_loses_nothing_that_lasts(watch):
    """Each fall of the vCPUs lasts until the watch that is started next has seen it."""
    chance = random.Random(4711)
    vcpus = 200
    watch.put(vcpus=vcpus)
    watch.start()
    watch.records()
    kept = watch.state / (hashlib.sha256(b'vm').hexdigest() + '.state')
    deadline = time.monotonic() + 60
    while not kept.exists():  # what brings no news is kept a little later
        assert time.monotonic() < deadline
        time.sleep(0.01)
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
def test_a_watch_can_be_ended_in_the_middle_of_work(watch, number):
    for index in range(300):
        watch.put('vm%d' % index)
    watch.start(wait=False)
    time.sleep(0.5)
    code, errors = watch.stop(number)
    assert code in (0, 130, -signal.SIGTERM) and errors == ''


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'another version', 'not ours'])
def test_damaged_states_are_ignored(watch, damage):
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    assert watch.stop() == (0, '')
    for path in watch.state.glob('*.state'):
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
    count = len(list(watch.state.glob('*.state')))
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


def wait_until(condition, timeout=90):
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


def test_a_watch_can_be_ended_while_the_disk_is_full(installation, watching):
    state = installation.root / 'var/lib/virt-guard'
    script = 'mkdir -p "$0" && mount -t tmpfs -o size=8k,mode=700 tmpfs "$0" && exec "$@"'
    watch = watching(prefix=['sh', '-c', script, str(state)])
    for number in range(200):
        watch.put('vm%d' % number)
    watch.start()
    assert watch.stop() == (0, '')
