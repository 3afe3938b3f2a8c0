# SPDX-License-Identifier: Apache-2.0
"""The installed watch: what it records of state files that change as libvirt changes them."""

import json
import os
import shutil
import signal
import subprocess

import pytest
import watching
from support.capabilities import missing
from support.records import HAPPENED_ID
from watching import IOTUNE, MEMORY, OTHER_UUID, UUID, disk, job

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')


# --- what happens to a domain --------------------------------------------------------------------------------------


def test_a_clean_domain_that_starts_changes_and_stops_is_not_news(watch):
    watch.start()
    for change in (
        lambda: watch.put(pid=0),
        watch.put,
        lambda: watch.put(vcpus=3),
        lambda: watch.put_snapshot(state='shutoff'),
        watch.remove,
    ):
        change()
        assert watch.told() == []
    assert watch.stop() == (0, '')


def test_the_record_of_a_change(watch):
    watch.start()
    watch.put(vcpus=4)
    watch.records()
    watch.put(vcpus=2)
    (record,) = watch.records()
    assert record['MESSAGE'] == (
        'domain \'vm\': deny: fewer vCPUs [test-fewer-vcpus]: <vcpu current="2">, was <vcpu current="4">'
    )
    assert (record['MESSAGE_ID'], record['PRIORITY']) == (HAPPENED_ID, '4')
    assert record['SYSLOG_IDENTIFIER'] == 'virt-guard'
    assert record['VIRT_GUARD_DECISION'] == 'runtime'
    assert (record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_UUID']) == ('vm', UUID)
    assert (record['VIRT_GUARD_OPERATION'], record['VIRT_GUARD_RULE']) == ('watch', 'test-fewer-vcpus')
    assert record['VIRT_GUARD_FINDING'].startswith(
        'deny test-fewer-vcpus /transition/after/domstatus/domain/vcpu/@current line '
    )
    assert (record['VIRT_GUARD_BEFORE'], record['VIRT_GUARD_AFTER']) == ('<vcpu current="4">', '<vcpu current="2">')
    assert record['VIRT_GUARD_SINCE'].endswith('Z')
    assert record['VIRT_GUARD_POLICY'] == 'rhel-8' and len(record['VIRT_GUARD_POLICY_SHA256']) == 64


def test_a_change_is_recorded_each_time_it_happens(watch):
    watch.start()
    counts = []
    for vcpus in (4, 3, 3, 2, 4, 3):
        watch.put(vcpus=vcpus)
        counts.append(len(watch.told()))
    assert counts == [0, 1, 0, 1, 0, 1]


def test_a_job_is_one_thing_from_its_beginning_to_its_end(watch):
    watch.start()
    watch.put()
    told = watch.told()
    for phase, flags in (('begin3', '0x0'), ('perform3', '0x10'), ('finish3', '0x10')):
        watch.put(job=job('snapshot', 1, phase, flags))
        told += watch.told()
        watch.put(job=job('snapshot', 1, phase, flags), taint="  <taint flag='custom-monitor'/>\n")
        told += watch.told()
    assert told == [('vm', 'test-job')]
    watch.put(job=job('snapshot', 2))
    assert watch.told() == [('vm', 'test-job')]
    watch.put()
    watch.records()
    watch.put(job=job('snapshot', 2))
    assert watch.told() == [('vm', 'test-job')]


def test_a_limit_set_live_is_found_by_a_rule_of_admission(watch):
    watch.start()
    watch.put(devices=disk('vda') + disk('vdb'))
    assert watch.told() == []
    watch.put(devices=disk('vda') + disk('vdb', IOTUNE))
    (record,) = watch.records()
    assert record['VIRT_GUARD_RULE'] == 'qemu-io-throttling'
    assert record.get('VIRT_GUARD_BEFORE') is None
    assert '<total_iops_sec>100</total_iops_sec>' in record['VIRT_GUARD_AFTER']
    watch.put(devices=disk('vdb', IOTUNE))  # another disk goes: this one is a first, now
    assert watch.told() == []
    watch.put(devices=disk('vdb', IOTUNE.replace('100', '200')))
    (record,) = watch.records()
    assert '100' in record['VIRT_GUARD_BEFORE'] and '200' in record['VIRT_GUARD_AFTER']
    watch.put(devices=disk('vdb'))
    assert watch.told() == []
    watch.put(devices=disk('vdb', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]


def test_what_was_there_before_and_is_gone(watch):
    watch.start()
    watch.put(devices=disk() + MEMORY % 'dimm0' + MEMORY % 'dimm1')
    assert watch.told() == []
    watch.put(devices=disk() + MEMORY % 'dimm1')
    (record,) = watch.records()
    assert record['VIRT_GUARD_RULE'] == 'test-unplugged'
    assert record['VIRT_GUARD_BEFORE'] == '<memory model="dimm">' and 'VIRT_GUARD_AFTER' not in record
    assert record['MESSAGE'].endswith(': gone, was <memory model="dimm">')
    watch.put(devices=disk())
    assert watch.told() == [('vm', 'test-unplugged')]


def test_snapshots_come_in_directories_of_their_own(watch):
    watch.start()
    watch.put()
    watch.put_snapshot(name='s1')
    assert watch.told() == [('vm', 'test-snapshot')]
    watch.put_snapshot(name='s2', state='shutoff')
    watch.put_snapshot(name='s3')
    assert watch.told() == [('vm', 'test-snapshot')]
    watch.put_snapshot(domain='other', uuid=OTHER_UUID)  # which does not run
    (record,) = watch.records()
    assert (record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_UUID']) == ('other', OTHER_UUID)
    shutil.rmtree(str(watch.lib / 'snapshot' / 'vm'))
    assert watch.told() == []
    watch.put_snapshot(name='s1')
    assert watch.told() == [('vm', 'test-snapshot')]


def test_a_domain_of_another_name_is_the_same(watch):
    """libvirt gives one that is shut off another name: it writes its snapshots anew and removes the old ones."""
    watch.start()
    for name in ('s1', 's2'):
        watch.put_snapshot('vm', name)
    assert watch.told() == [('vm', 'test-snapshot')] * 2
    for name in ('s1', 's2'):
        watch.put_snapshot('renamed', name)
        assert watch.told() == []
    shutil.rmtree(str(watch.lib / 'snapshot' / 'vm'))
    assert watch.told() == []
    (watch.lib / 'snapshot' / 'renamed').rename(watch.lib / 'snapshot' / 'moved')
    assert watch.told() == []
    watch.put('moved')
    watch.remove('moved')
    assert watch.stop() == (0, '')
    (watch.lib / 'snapshot' / 'moved').rename(watch.lib / 'snapshot' / 'again')
    watch.start()
    assert watch.told() == []
    watch.put_snapshot('again', 's3')
    assert watch.told() == [('again', 'test-snapshot')]


def test_another_start_of_a_domain_is_not_compared_with_the_one_before(watch):
    """A domain that was stopped and started with fewer vCPUs, faster than anybody could look."""
    watch.start()
    watch.put(vcpus=4, devices=disk() + MEMORY % 'dimm0')
    watch.records()
    watch.process.send_signal(signal.SIGSTOP)
    watch.remove()
    watch.put(vcpus=2, id=2, pid=4343)
    watch.process.send_signal(signal.SIGCONT)
    assert watch.told() == []


def test_the_first_sight_of_a_domain_outside_the_policy_is_recorded(watch):
    watch.put(devices=disk('vda', IOTUNE))
    watch.put('job', job=job('backup'))
    watch.start()
    assert sorted(watch.told()) == [('job', 'test-job'), ('vm', 'qemu-io-throttling')]


def test_a_watch_does_not_end_when_the_service_manager_is_gone(watch):
    watch.start()
    watch.stop_listening()
    watch.process.send_signal(signal.SIGHUP)
    assert watch.told() == []
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    assert watch.stop() == (0, '')


# --- restarts ------------------------------------------------------------------------------------------------------


def test_what_changed_while_nobody_watched_is_found(watch):
    watch.start()
    watch.put(vcpus=4)
    watch.put('gone', vcpus=4)
    watch.records()
    assert watch.stop() == (0, '')
    assert oct(watch.state.stat().st_mode)[-3:] == '700'
    assert {oct(path.stat().st_mode)[-3:] for path in watch.state.iterdir()} == {'600'}
    watch.put(vcpus=2)
    watch.remove('gone')
    watch.put_snapshot()
    watch.start()
    assert sorted(watch.told()) == [('vm', 'test-fewer-vcpus'), ('vm', 'test-snapshot')]


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_was_told_before_the_end_is_not_told_again(watch, number):
    watch.start()
    watch.put(devices=disk('vda', IOTUNE), job=job('snapshot'))
    assert len(watch.told()) == 2
    code, errors = watch.stop(number)
    assert (code, errors) == (-signal.SIGKILL if number == signal.SIGKILL else 0, '')
    watch.start()
    assert watch.told() == []


def test_a_terminal_gets_lines(installation, watch):
    watch.put(devices=disk('vda', IOTUNE))
    watch._command += ['--policy', str(installation.policy)]
    watch.start(wait=False, stdout=subprocess.PIPE, environment={'NOTIFY_SOCKET': ''})
    line = watch.process.stdout.readline().decode()
    assert line.split(' ', 1)[1].startswith("domain 'vm': deny: I/O throttling by QEMU [qemu-io-throttling]: <iotune>")
    assert watch.told() == [('vm', 'qemu-io-throttling')]


def test_once_tells_what_holds_now(installation, watch):
    watch.put(devices=disk('vda', IOTUNE), job=job('snapshot'))
    watch.put('clean', uuid='5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a11')
    result = installation.run_cli('watch', '--once')
    lines = result.stdout.decode().splitlines()
    text = watching.status(devices=disk('vda', IOTUNE), job=job('snapshot')).decode()
    line = text[: text.index('<iotune>')].count('\n') + 1
    assert result.returncode == 1 and result.stderr == b''
    assert "%s: admit 'clean'" % (watch.run / 'clean.xml') in lines
    assert any(text.startswith('%s:%d: deny [qemu-io-throttling]' % (watch.run / 'vm.xml', line)) for text in lines)
    assert any(text.startswith('%s:' % (watch.run / 'vm.xml')) and 'deny [test-job]' in text for text in lines)
    assert lines[-1] == '2 domains: 1 admitted, 1 denied'
    assert not watch.state.exists()
    (run,) = json.loads(installation.run_cli('watch', '--once', '--format', 'sarif').stdout.decode())['runs']
    found = {run['tool']['driver']['rules'][result['ruleIndex']]['id'] for result in run['results']}
    assert {'qemu-io-throttling', 'test-job'} <= found == {result['ruleId'] for result in run['results']}


def test_systemd_finds_no_fault_with_the_unit(installation, tmp_path):
    unit = installation.root / 'usr/lib/systemd/system/virt-guard-watch.service'
    assert unit.read_text().count('ExecStart=/usr/bin/virt-guard watch') == 1
    assert verify(installation, tmp_path, unit) == (0, b'')


@pytest.mark.parametrize('name, suffixes', [('compile', ['.path', '.service']), ('metrics', ['.service', '.timer'])])
def test_systemd_finds_no_fault_with_the_other_units(installation, tmp_path, name, suffixes):
    units = sorted((installation.root / 'usr/lib/systemd/system').glob('virt-guard-%s.*' % name))
    assert [unit.suffix for unit in units] == suffixes
    assert verify(installation, tmp_path, *units) == (0, b'')


def verify(installation, tmp_path, *units):
    """What systemd says of units, with the command where it is."""
    if shutil.which('systemd-analyze') is None:
        missing('there is no systemd-analyze here')
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace('/usr/bin/virt-guard', str(installation.cli)))
    command = ['systemd-analyze', 'verify', '--man=no', *(str(tmp_path / unit.name) for unit in units)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.returncode, result.stdout
