# SPDX-License-Identifier: Apache-2.0
"""Files as systemd-journal-remote writes them for many hosts, whole and damaged, read by journalctl."""

import glob
import json
import os
import shutil
import subprocess
import time

import pytest
from support.capabilities import missing
from virtguard.commands import main
from virtguard.errors import GuardError
from virtguard.health.journal_files import JournalFile, JournalFiles
from virtguard.reporting.collected import read_fleet
from virtguard.reporting.fleet import Fleet
from virtguard.reporting.fleet_contents import FleetContents

from .entries import BEGIN, admitted, entry, guard_changed, judged

NOW = BEGIN + 3600
DAY = 86400.0
OURS = 'SYSLOG_IDENTIFIER=virt-guard'


def collect(path, entries):
    """A file of a collector, with these entries in this order."""
    programs = glob.glob('/*/systemd/systemd-journal-remote') + glob.glob('/usr/lib/systemd/systemd-journal-remote')
    if not programs or shutil.which('journalctl') is None:
        missing('systemd-journal-remote is not installed')
    data = b''.join(map(exported, entries))
    result = subprocess.run(
        [programs[0], '--output=' + str(path), '-'], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert result.returncode == 0 and path.exists(), result.stdout


def exported(fields):
    """An entry in journald's export format."""
    lines = []
    for name, values in sorted(fields.items(), key=lambda item: not item[0].startswith('__')):
        for value in values if isinstance(values, list) else [values] if name != '__CURSOR' else []:
            data = value if isinstance(value, bytes) else value.encode()
            if b'\n' in data:
                lines.append(b'%s\n%s%s' % (name.encode(), len(data).to_bytes(8, 'little'), data))
            else:
                lines.append(b'%s=%s' % (name.encode(), data))
    return b'\n'.join(lines) + b'\n\n'


class Read:
    def __init__(self, directory, since=None, silent_after=DAY, now=NOW):
        self.fleet = Fleet(since, now)
        self.damaged = read_fleet(str(directory), self.fleet, silent_after)
        self.contents = FleetContents(self.fleet, self.damaged, silent_after)
        self.hosts = {host.name: host for host in self.contents.hosts}


def records(host, number=200, boot=None):
    boot = boot or (host.encode().hex() + '0' * 32)[:32]
    return [judged(n, 'vm%d' % n, host=host, _PID=str(n), _BOOT_ID=boot) for n in range(number)]


def test_each_sender_has_its_own_files(tmp_path):
    collect(tmp_path / 'remote-10.0.0.1.journal', records('kvm1'))
    collect(tmp_path / 'remote-10.0.0.2.journal', records('kvm2')[:50] + records('kvm2')[20:])
    read = Read(tmp_path)
    assert {name: (host.refused, list(host.senders)) for name, host in read.hosts.items()} == {
        'kvm1': (200, ['10.0.0.1']),
        'kvm2': (200, ['10.0.0.2']),
    }
    assert (read.fleet.repeated, read.damaged) == (30, [])
    assert read.hosts['kvm1'].rules['tcg'].refused == 200 and not read.contents.is_amiss


def test_the_files_of_a_collector_that_was_killed(tmp_path):
    whole = records('kvm1')
    name = 'remote-10.0.0.1@%016x-%016x.journal~'
    collect(tmp_path / 'x.journal', whole[:120])
    (tmp_path / 'x.journal').rename(tmp_path / (name % (1, 7)))
    collect(tmp_path / 'remote-10.0.0.1.journal', whole[100:])
    read = Read(tmp_path)
    assert (read.hosts['kvm1'].refused, read.fleet.repeated) == (200, 20)
    assert list(read.hosts['kvm1'].senders) == ['10.0.0.1']


@pytest.mark.parametrize(
    'name, sender',
    [
        ('remote-10.0.0.1.journal', '10.0.0.1'),
        ('remote-10.0.0.1@%s-%016x-%016x.journal' % ('a' * 32, 1, 2), '10.0.0.1'),
        ('remote-kvm1.example.org@%016x-%016x.journal~' % (1, 2), 'kvm1.example.org'),
        ('remote-C=DE CN=kvm1@x.journal', 'C=DE CN=kvm1@x'),
        ('system.journal', 'system'),
    ],
)
def test_whose_file_it_is(name, sender):
    assert JournalFile('/srv/' + name).sender == sender


# What cannot be read


def cut(data, used):
    return data[: used // 2]


def zeroed(data, used):
    return data[: used * 3 // 4] + bytes(len(data) - used * 3 // 4)


def without_a_field(data, used):
    return data.replace(b'VIRT_GUARD_DECISION=deny', b'\0' * 24)


def garbage(data, used):
    return os.urandom(100000)


def nothing(data, used):
    return b''


@pytest.mark.parametrize('harm', [cut, zeroed, without_a_field, garbage, nothing])
def test_a_damaged_file_is_named_and_hides_no_other(tmp_path, harm):
    for host in ('kvm1', 'kvm2', 'kvm3'):
        collect(tmp_path / ('remote-%s.journal' % host), records(host))
    path = tmp_path / 'remote-kvm2.journal'
    data = path.read_bytes()
    path.write_bytes(harm(data, len(data.rstrip(b'\0'))))
    read = Read(tmp_path)
    assert [read.hosts[name].refused for name in ('kvm1', 'kvm3')] == [200, 200]
    assert [damaged for damaged, _ in read.damaged] == [str(path)]
    assert 'not all of %s could be read: ' % path in read.contents.limits[0]


def test_a_file_in_which_journalctl_finds_nothing_and_says_nothing(tmp_path):
    path = tmp_path / 'remote-kvm1.journal'
    collect(path, records('kvm1', 20))
    data = path.read_bytes()
    # The list of its entries by the header, https://systemd.io/JOURNAL_FILE_FORMAT/, and what is looked for.
    data = data[:176] + bytes(8) + data[184:].replace(b'SYSLOG_IDENTIFIER=virt-guard', b'SYSLOG_IDENTIFIER=virt-guarx')
    path.write_bytes(data)
    files = JournalFiles(str(tmp_path))
    assert list(files.entries(OURS)) == []
    assert files.damaged == [(str(path), 'none of its 20 entries is found')]


def test_a_long_text_hides_nothing_and_forges_nothing(tmp_path):
    forged = exported(dict(judged(2, 'forged', _UID='0'), __CURSOR='x'))
    long = b'\n\n' + b'x' * (5 << 20) + b'\n\n__CURSOR=x\n' + forged
    sent = [judged(1, 'before'), judged(2, 'x', _UID='1000', VIRT_GUARD_UUID=long), judged(3, 'after')]
    collect(tmp_path / 'remote-kvm1.journal', sent)
    read = Read(tmp_path)
    assert (read.hosts['kvm1'].refused, read.fleet.unreadable, read.damaged) == (2, 1, [])


def test_what_is_no_file_of_a_journal(tmp_path):
    place = tmp_path / 'a [1]*?'
    place.mkdir()
    decoy = tmp_path / 'a 1xx'  # which that name would mean as a pattern
    decoy.mkdir()
    for directory, host in ((place, 'kvm1'), (decoy, 'kvm2')):
        collect(directory / 'remote-kvm1.journal', records(host, 5))
    os.mkfifo(str(place / 'pipe.journal'))
    (place / 'directory.journal').mkdir()
    (place / 'link.journal').symlink_to(place / 'remote-kvm1.journal')
    (place / 'nowhere.journal').symlink_to('/nowhere')
    (place / 'README').write_text('x')
    read = Read(place)
    assert list(read.hosts) == ['kvm1']
    assert (read.hosts['kvm1'].refused, read.fleet.repeated, read.damaged) == (5, 0, [])


@pytest.mark.parametrize('name, said', [('none', 'is not a directory'), ('', 'there is no journal in')])
def test_a_directory_without_journals(tmp_path, name, said):
    with pytest.raises(GuardError, match=said + '.*name the directory that has the files'):
        JournalFiles(str(tmp_path / name))


@pytest.mark.parametrize('name', ['remote-a.journal', 'remote-b.journal'])
def test_a_file_that_is_closed_meanwhile(tmp_path, name):
    """Whether it is being read, or is to be read next."""
    for host in 'ab':
        collect(tmp_path / ('remote-%s.journal' % host), records(host, 150))
    found = []
    for _, fields in JournalFiles(str(tmp_path)).entries(OURS):
        if not found:
            closed = name.replace('.journal', '@%s-%016x-%016x.journal' % ('a' * 32, 1, BEGIN * 1000000))
            (tmp_path / name).rename(tmp_path / closed)
            collect(tmp_path / name, records(name[-9], 200)[150:])
        found.append(fields['_HOSTNAME'] + fields['VIRT_GUARD_DOMAIN'])
    wanted = {host + 'vm%d' % n for host in 'ab' for n in range(150)}
    assert set(found) == wanted | {name[-9] + 'vm%d' % n for n in range(150, 200)}


# Hosts that have gone silent


def other(seconds, host, **others):
    return entry(seconds, [('MESSAGE', 'hello'), ('SYSLOG_IDENTIFIER', 'sshd')], host, **others)


def test_a_host_is_heard_of_by_any_entry(tmp_path):
    collect(tmp_path / 'remote-1.journal', [admitted(-3 * DAY, 'a', host='alive'), other(-DAY / 2, 'alive')])
    collect(tmp_path / 'remote-2.journal', [admitted(-3 * DAY, 'a', host='silent'), other(-2 * DAY, 'silent')])
    read = Read(tmp_path)
    assert [read.contents.is_silent(read.hosts[name]) for name in ('alive', 'silent')] == [False, True]
    assert read.hosts['silent'].last == BEGIN - 2 * DAY


def test_hosts_behind_one_proxy_are_told_apart(tmp_path):
    late = [admitted(-5 * DAY + n, 'late%d' % n, host='late', _PID=str(n)) for n in range(50)]
    mixed = [admitted(-3 * DAY, 'a', host='alive'), *records('busy', 50), other(-DAY / 2, 'alive'), *late]
    collect(tmp_path / 'remote-127.0.0.1.journal', mixed)
    read = Read(tmp_path, since=BEGIN - 6 * DAY)
    assert {name: read.contents.is_silent(host) for name, host in read.hosts.items()} == {
        'alive': False,
        'busy': False,
        'late': True,
    }
    assert (read.hosts['late'].admitted, read.hosts['busy'].refused) == (50, 50)


def test_a_host_without_a_guard_is_named(tmp_path):
    collect(tmp_path / 'remote-1.journal', records('kvm1', 3))
    collect(tmp_path / 'remote-2.journal', [other(5, 'web'), other(6, 'web')])
    read = Read(tmp_path)
    (said,) = read.contents.statements[read.hosts['web'].machine]
    assert said == ('note', 'no record of the guard: it may not be installed there')
    assert list(read.hosts['web'].senders) == ['2'] and not read.contents.is_amiss


@pytest.mark.parametrize('machine', ['--rotate', '+', 'a b', 'x\ny', 'x' * 5000])
def test_what_is_no_machine_is_not_asked_for(tmp_path, machine):
    collect(tmp_path / 'remote-1.journal', [*records('kvm1', 3), other(5, 'odd', _MACHINE_ID=machine)])
    assert list(Read(tmp_path).hosts) == ['kvm1']


# The commands


@pytest.fixture
def run(capfd):
    def call(*words):
        status = main.main(list(words))
        said, complaint = capfd.readouterr()
        return status, said, complaint

    return call


def test_the_command(tmp_path, run):
    begin = time.time() - BEGIN - 60
    collect(tmp_path / 'remote-1.journal', [judged(begin + n, 'web', _PID=str(n)) for n in range(3)])
    status, said, complaint = run('fleet', '--since', 'yesterday', str(tmp_path))
    assert (status, complaint) == (0, '') and '1 host, 0 silent' in said and 'tcg refused 3: kvm1' in said
    status, said, _ = run('fleet', '--silent-after', '1 s', '--format', 'jsonl', str(tmp_path))
    rows = [json.loads(line) for line in said.splitlines()]
    assert status == 1 and [row['silent'] for row in rows if row['kind'] == 'host'] == [True]
    status, said, complaint = run('fleet', '--silent-after', 'soon', str(tmp_path))
    assert (status, said) == (2, '') and "--silent-after: 'soon' is not a span of time" in complaint


def test_a_report_of_collected_journals(tmp_path, run):
    """As the report of one host, with the state of each when the period begins, and with what is damaged."""
    for host, change in (('kvm1', 'removed'), ('kvm2', 'installed')):
        sent = [guard_changed(-DAY, change, host=host), *records(host, 40), *records(host, 40)[20:]]
        collect(tmp_path / ('remote-%s.journal' % host), sent)
    (tmp_path / 'remote-kvm3.journal').write_bytes(b'x' * 9999)
    status, said, _ = run(
        'report', '--since', '@%d' % BEGIN, '--until', '@%d' % NOW, '--journal', str(tmp_path), '--format', 'jsonl'
    )
    rows = [json.loads(line) for line in said.splitlines()]
    hosts = {row['host']: row for row in rows if row['kind'] == 'host'}
    assert status == 0 and [hosts[name]['refused'] for name in ('kvm1', 'kvm2')] == [40, 40]
    assert hosts['kvm1']['removed'] and not hosts['kvm2']['removed']
    limits = '; '.join(row['text'] for row in rows if row['kind'] == 'limit')
    assert limits.count('20 records were stored more than once') == 2
    assert 'not all of %s could be read' % (tmp_path / 'remote-kvm3.journal') in limits
