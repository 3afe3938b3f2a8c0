# SPDX-License-Identifier: Apache-2.0
"""Two watches at once, and what the service manager is told."""

import os
import queue
import re
import select
import signal
import subprocess

import pytest
from watching import IOTUNE, Watching, disk, rules_text

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

# --- two watches ---------------------------------------------------------------------------------------------------


def read_line(stream):
    assert select.select([stream], [], [], 20)[0]
    return stream.readline()


def test_only_one_of_two_watches_records(installation, watch):
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
        assert other.process.wait(timeout=60) == 0 and other.process.stderr.read() == b''
        with pytest.raises(queue.Empty):
            other.receive(timeout=0)
    finally:
        other.close()
    assert watch.stop() == (0, '')
    watch.start()
    assert watch.told() == []  # again


def test_a_service_ends_where_another_watch_runs(installation, watch):
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


def test_the_watchdog_is_told_during_long_work(watch):
    for number in range(300):
        watch.put('vm%d' % number)
    watch.start(environment={'WATCHDOG_USEC': '20000'})
    assert watch.notifications.count('WATCHDOG=1') > 2 and 'READY=1' in watch.notifications[-1]


def test_a_policy_that_is_broken_at_the_start(installation, watch):
    installation.policy.write_text('rules: {')
    watch.start(wait=False, environment={'NOTIFY_SOCKET': ''})
    code, errors = watch.end()
    assert code == 2
    assert errors.startswith('%s:' % installation.policy)


def test_a_service_waits_for_a_policy_that_can_be_used(installation, watch):
    """It is not started again and again; what is wrong is recorded once, and the watch begins when it is mended."""
    installation.policy.write_text('rules: {')
    watch.put(devices=disk('vda', IOTUNE))
    watch.start(environment={'WATCHDOG_USEC': '2000000'})
    record = watch.receive()
    assert record['MESSAGE'].startswith('running domains are not observed, because the policy cannot be used: ')
    assert (record['VIRT_GUARD_DECISION'], record['VIRT_GUARD_OPERATION']) == ('error', 'watch')
    assert watch.notifications[-1] == 'READY=1\nSTATUS=running domains are not observed: the policy cannot be used'
    for _ in range(3):
        os.utime(str(installation.policy))
        watch.wait_notified('WATCHDOG=1')
    mended = installation.policy.with_name('mended')
    mended.write_text(rules_text())
    mended.rename(installation.policy)  # never half of it
    record = watch.receive()
    assert record.get('VIRT_GUARD_RULE') == 'qemu-io-throttling', record['MESSAGE']
    watch.wait_notified("STATUS=following 1 running domain by policy 'rhel-8'")
    assert watch.stop() == (0, '')


def test_a_service_that_waits_for_a_policy_ends_when_it_is_told_to(installation, watch):
    installation.policy.write_text('rules: {')
    watch.start()
    assert watch.stop() == (0, '')
