# SPDX-License-Identifier: Apache-2.0
"""Audit records, as a real receiver at the other end of a real socket reads them."""

import contextlib
import os
import re
import socket
import stat
import time

import pytest
from support import made
from support.made import verdict
from support.records import ADMITTED_ID, DENIED_ID, FAILED_ID, WOULD_DENY_ID, decode
from virtguard import journal

NASTY = 'a\nb\0\x1b[31m\u2028=\udcff\udcfeé漢'
MESSAGE = [('MESSAGE', 'hello'), ('PRIORITY', '4')]


class Receiver:
    """A datagram socket in a directory; `read` takes one datagram."""

    def __init__(self, path):
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(5)

    def read(self):
        return self._socket.recv(1 << 20)

    def is_empty(self):
        self._socket.setblocking(False)
        try:
            self._socket.recv(1 << 20)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(5)
        return False

    def fill(self):
        """What a stopped daemon looks like: the queue is full and nobody reads."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.sendto(b'x', self.path)

    def close(self):
        self._socket.close()


@pytest.fixture
def receivers(tmp_path):
    made = []

    def make(name):
        made.append(Receiver(tmp_path / name))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def sinks(tmp_path):
    return journal.Sinks(str(tmp_path / 'log'), str(tmp_path / 'journal'), str(tmp_path / 'syslog'))


@pytest.fixture
def log(tmp_path):
    return tmp_path / 'log'


def finding(id, status='deny', path='/domain/devices/tpm', line=7, more=0):
    return made.finding(made.rule('/domain', id), status, path, line, '<secret evidence="hunter2">', 'hunter2', more)


# The journal


def test_journal(sinks, receivers, log):
    receiver = receivers('journal')
    assert (
        sinks.send([('MESSAGE', 'hello'), ('PRIORITY', '4'), ('VIRT_GUARD_RULE', 'a'), ('VIRT_GUARD_RULE', 'b')])
        == 'journal'
    )
    assert decode(receiver.read()) == [
        ('MESSAGE', b'hello'),
        ('PRIORITY', b'4'),
        ('VIRT_GUARD_RULE', b'a'),
        ('VIRT_GUARD_RULE', b'b'),
    ]
    assert receiver.is_empty()
    assert not log.exists()


@pytest.mark.parametrize(
    'value, data',
    [
        ('plain', b'plain'),
        ('a=b', b'a=b'),
        ('é漢', 'é漢'.encode()),
        ('a\nPRIORITY=0', b'a\nPRIORITY=0'),
        ('\n', b'\n'),
        ('\n\n\n', b'\n\n\n'),
        ('\0', b'\0'),
        # The bytes of a name that is no UTF-8, as the system call had them.
        ('\udcff\udcfe', b'\xff\xfe'),
        ('\u2028', '\u2028'.encode()),
        (NASTY, NASTY.encode('utf-8', 'surrogateescape')),
    ],
)
def test_values_arrive_as_they_are(sinks, receivers, value, data):
    receiver = receivers('journal')
    sinks.send(MESSAGE + [('VIRT_GUARD_DOMAIN', value), ('VIRT_GUARD_OPERATION', 'start')])
    assert decode(receiver.read())[2:] == [('VIRT_GUARD_DOMAIN', data), ('VIRT_GUARD_OPERATION', b'start')]


def test_empty_values_are_left_out(sinks, receivers):
    receiver = receivers('journal')
    sinks.send(MESSAGE + [('VIRT_GUARD_UUID', '')])
    assert [name for name, _ in decode(receiver.read())] == ['MESSAGE', 'PRIORITY']


def test_long_values_are_cut(sinks, receivers):
    receiver = receivers('journal')
    sinks.send(MESSAGE + [('VIRT_GUARD_DOMAIN', 'x' * 100000)])
    value = dict(decode(receiver.read()))['VIRT_GUARD_DOMAIN']
    assert len(value) <= 4096
    assert value.endswith(b'xxx...')


def test_the_largest_record_fits(sinks, receivers):
    receiver = receivers('journal')
    findings = [finding('rule-%d' % number, path='/domain/' + 'x' * 3000) for number in range(1000)]
    assert sinks.send(journal.verdict_fields(verdict(*findings, domain_name='x' * 3000))) == 'journal'
    fields = decode(receiver.read())
    assert ('VIRT_GUARD_DECISION', b'deny') in fields
    shown = [value for name, value in fields if name == 'VIRT_GUARD_FINDING']
    assert shown[-1] == b'and %d more' % (1000 - len(shown) + 1)


def test_the_widest_record_fits(sinks, receivers):
    receiver = receivers('journal')
    findings = [finding('rule-%d' % number, path='/domain/' + '\u6f22' * 3000) for number in range(1000)]
    assert sinks.send(journal.verdict_fields(verdict(*findings, domain_name='\U0001f600' * 3000))) == 'journal'
    assert ('VIRT_GUARD_DECISION', b'deny') in decode(receiver.read())


# What a record says


def test_fields_of_a_denial():
    result = verdict(finding('a'), finding('b', 'warn', '/domain', 1), finding('a', 'deny', '/domain/x', 9))
    assert journal.verdict_fields(result) == [
        ('MESSAGE', "domain 'payroll' denied by policy 'example': a"),
        ('MESSAGE_ID', DENIED_ID),
        ('PRIORITY', '4'),
        ('SYSLOG_IDENTIFIER', 'virt-guard'),
        ('VIRT_GUARD_DECISION', 'deny'),
        ('VIRT_GUARD_UUID', '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'),
        ('VIRT_GUARD_RULE', 'a'),
        ('VIRT_GUARD_RULE', 'b'),
        ('VIRT_GUARD_DENIED', 'a'),
        ('VIRT_GUARD_FINDING', 'deny a /domain/devices/tpm line 7'),
        ('VIRT_GUARD_FINDING', 'warn b /domain line 1'),
        ('VIRT_GUARD_FINDING', 'deny a /domain/x line 9'),
        ('VIRT_GUARD_MODE', 'enforce'),
        ('VIRT_GUARD_POLICY', 'example'),
        ('VIRT_GUARD_POLICY_SHA256', 'f' * 64),
    ]


def findings_of(result):
    return [value for name, value in journal.verdict_fields(result) if name == 'VIRT_GUARD_FINDING']


def test_findings_that_are_only_counted():
    result = verdict(finding('a'), finding('b', 'warn', '/domain', 1, more=1484))
    assert findings_of(result) == ['deny a /domain/devices/tpm line 7', 'warn b /domain line 1', 'warn b and 1484 more']


def test_what_denies_goes_first_where_not_all_is_told():
    warned = [finding('w%d' % number, 'warn', more=9) for number in range(100)]
    unknown = [finding('u%d' % number, 'unknown') for number in range(10)]
    result = verdict(*warned, *unknown, finding('z', 'deny', more=2), finding('y', 'error'))
    told = findings_of(result)
    assert told[:3] == ['deny z /domain/devices/tpm line 7', 'deny z and 2 more', 'error y /domain/devices/tpm line 7']
    assert told[-1] == 'and %d more' % ((100 - (64 - 12)) * 10)
    rules = [value for name, value in journal.verdict_fields(result) if name == 'VIRT_GUARD_RULE']
    assert rules[:2] == ['z', 'y'] and len(rules) == 112


def test_the_rules_that_deny_come_first_and_once_more_alone():
    result = verdict(finding('c', 'waived'), finding('b', 'warn'), finding('z'), finding('a', 'unknown'), finding('y'))
    fields = journal.verdict_fields(result)
    assert [value for name, value in fields if name == 'VIRT_GUARD_RULE'] == ['z', 'y', 'a', 'b', 'c']
    assert [value for name, value in fields if name == 'VIRT_GUARD_DENIED'] == ['z', 'y']
    admitted = journal.verdict_fields(verdict(finding('b', 'warn'), finding('e', 'error')))
    assert 'VIRT_GUARD_DENIED' not in dict(admitted)


def test_a_finding_about_the_host_has_no_line():
    assert ('VIRT_GUARD_FINDING', 'deny a /domain') in journal.verdict_fields(
        verdict(finding('a', path='/domain', line=0))
    )


@pytest.mark.parametrize(
    'status, mode, decision, id, priority, message',
    [
        ('deny', 'enforce', 'deny', DENIED_ID, '4', 'denied by'),
        ('deny', 'audit', 'would-deny', WOULD_DENY_ID, '4', 'would be denied (mode audit) by'),
        ('warn', 'enforce', 'admit', ADMITTED_ID, '6', 'admitted by'),
        ('unknown', 'audit', 'admit', ADMITTED_ID, '6', 'admitted by'),
        ('error', 'enforce', 'error', FAILED_ID, '3', 'could not be judged by'),
    ],
)
def test_outcomes(status, mode, decision, id, priority, message):
    """The message ids are fixed for ever: administrators have filters for them."""
    fields = dict(journal.verdict_fields(verdict(finding('a', status), mode=mode)))
    assert (fields['VIRT_GUARD_DECISION'], fields['MESSAGE_ID'], fields['PRIORITY']) == (decision, id, priority)
    assert message in fields['MESSAGE']
    assert fields['VIRT_GUARD_MODE'] == mode
    assert fields['VIRT_GUARD_RULE'] == 'a'


def test_fields_of_a_failure():
    assert dict(journal.failure_fields('no policy')) == {
        'MESSAGE': 'no policy',
        'MESSAGE_ID': FAILED_ID,
        'PRIORITY': '3',
        'SYSLOG_IDENTIFIER': 'virt-guard',
        'VIRT_GUARD_DECISION': 'error',
    }


def test_no_evidence_in_a_record():
    assert 'hunter2' not in str(journal.verdict_fields(verdict(finding('a'))))


# Order and fallbacks


def test_syslog_is_used_where_there_is_no_journal(sinks, receivers, log):
    receiver = receivers('syslog')
    assert sinks.send(MESSAGE + [('SYSLOG_IDENTIFIER', 'virt-guard'), ('VIRT_GUARD_RULE', 'a')]) == 'syslog'
    data = receiver.read().decode('ascii')
    assert data == '<28>virt-guard[%d]: hello VIRT_GUARD_RULE=a' % os.getpid()  # daemon.warning
    assert not log.exists()


def test_the_log_file_is_used_where_there_is_neither_journal_nor_syslog(sinks, log):
    assert sinks.send(MESSAGE + [('VIRT_GUARD_RULE', 'a')]) == 'file'
    assert sinks.send(MESSAGE) == 'file'
    first, second = log.read_text().splitlines()
    assert re.match(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} hello VIRT_GUARD_RULE=a\Z', first)
    assert second.endswith(' hello')


def test_journal_is_the_first_choice(sinks, receivers):
    first, second = receivers('journal'), receivers('syslog')
    assert sinks.send(MESSAGE) == 'journal'
    assert first.read()
    assert second.is_empty()


def test_no_sink_at_all(tmp_path):
    nowhere = str(tmp_path / 'no' / 'where')
    assert journal.Sinks(nowhere, nowhere, nowhere).send(MESSAGE) is None


def test_lines_cannot_be_forged(sinks, receivers, log):
    receiver = receivers('syslog')
    fields = [('MESSAGE', "domain 'x\n<0>kernel: forged' denied"), ('PRIORITY', '4'), ('VIRT_GUARD_DOMAIN', NASTY)]
    sinks.send(fields)
    assert receiver.read().decode('ascii').isprintable()
    receiver.close()
    assert sinks.send(fields) == 'file'
    (line,) = log.read_bytes().decode('ascii').splitlines()
    assert line.isprintable()


def test_a_socket_without_receiver(tmp_path, sinks, receivers, log):
    receivers('journal').close()
    receivers('syslog').close()
    assert (tmp_path / 'journal').exists()
    assert sinks.send(MESSAGE) == 'file'


@pytest.mark.parametrize('kind', ['file', 'directory', 'stream', 'link'])
def test_a_socket_that_is_not_a_datagram_socket(tmp_path, sinks, kind):
    path = tmp_path / 'journal'
    if kind == 'directory':
        path.mkdir()
    elif kind == 'file':
        path.write_bytes(b'')
    elif kind == 'link':
        path.symlink_to('journal')
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
    try:
        assert sinks.send(MESSAGE) == 'file'
    finally:
        if kind == 'stream':
            listener.close()


def test_stopped_daemons_do_not_hold_up_a_start(sinks, receivers, log):
    """Both queues are full. Half a second is what each may cost."""
    receivers('journal').fill()
    receivers('syslog').fill()
    started = time.monotonic()
    assert sinks.send(MESSAGE) == 'file'
    assert time.monotonic() - started < 4
    assert log.read_text().endswith(' hello\n')


def test_a_full_journal_leaves_syslog(sinks, receivers):
    receivers('journal').fill()
    receiver = receivers('syslog')
    assert sinks.send(MESSAGE) == 'syslog'
    assert receiver.read().endswith(b'hello')


# The file


def test_the_log_file_is_private(sinks, log):
    old = os.umask(0)
    try:
        sinks.send(MESSAGE)
    finally:
        os.umask(old)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_log_file_grows(sinks, log):
    log.write_text('before\n')
    os.chmod(str(log), 0o640)
    sinks.send(MESSAGE)
    assert log.read_text().startswith('before\n')
    assert log.read_text().endswith(' hello\n')
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


@pytest.mark.parametrize('exists', [True, False], ids=['existing', 'dangling'])
def test_a_link_is_not_followed(tmp_path, sinks, log, exists):
    target = tmp_path / 'target'
    if exists:
        target.write_bytes(b'')
    log.symlink_to(target)
    assert sinks.send(MESSAGE) is None
    assert (target.read_bytes() == b'') if exists else not target.exists()


def test_a_fifo_does_not_block_the_writer(sinks, log):
    os.mkfifo(str(log))
    started = time.monotonic()
    assert sinks.send(MESSAGE) is None
    assert time.monotonic() - started < 2


def test_a_directory_is_not_a_log_file(sinks, log):
    log.mkdir()
    assert sinks.send(MESSAGE) is None


def test_a_record_on_a_full_disk_counts_as_lost():
    if not os.path.exists('/dev/full'):
        pytest.skip('there is no /dev/full')
    assert journal.Sinks('/dev/full', '/nonexistent', '/nonexistent').send(MESSAGE) is None


def test_no_descriptor_is_left(sinks, receivers):
    before = os.listdir('/proc/self/fd')
    sinks.send(MESSAGE)
    receiver = receivers('journal')
    sinks.send(MESSAGE)
    receiver.fill()
    sinks.send(MESSAGE)
    receiver.close()
    assert len(os.listdir('/proc/self/fd')) <= len(before)
