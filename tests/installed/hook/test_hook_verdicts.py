# SPDX-License-Identifier: Apache-2.0
"""The installed hook as libvirt calls it: every operation, the verdicts, and their records."""

import os
import re
import shutil

import pytest
from installation import CLEAN, DENIED, call, hook_copy, policy_text
from support.records import ADMITTED_ID, DENIED_ID, WOULD_DENY_ID

NOT_JUDGED = ('started', 'stopped', 'release', 'reconnect', 'attach', 'migrate', 'restore', '', 'no-such-operation')

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]

# --- operations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('operation', NOT_JUDGED)
def test_other_operations_end_before_python(installed, clean, operation, tmp_path):
    shutil.copy(str(installed.hook), str(tmp_path / 'qemu'))
    text = (tmp_path / 'qemu').read_text()
    (tmp_path / 'qemu').write_text(re.sub(r'(?m)^(python|lib|policy)=.*', r'\1=/nonexistent', text))
    for hook in (installed.hook, tmp_path / 'qemu'):
        result = call(hook, ['vm', operation, 'begin', '-'], b'<not xml')
        assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')


@pytest.mark.parametrize('arguments', [[], ['vm']])
def test_without_an_operation_there_is_nothing_to_judge(installed, arguments):
    result = call(installed.hook, arguments, b'')
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')


@pytest.mark.parametrize('rest', [[], ['begin'], ['begin', '-', 'surplus', '--help']])
def test_missing_and_surplus_arguments_are_tolerated(installed, clean, denied, rest):
    assert call(installed.hook, ['vm', 'prepare'] + rest, clean).returncode == 0
    assert call(installed.hook, ['vm', 'prepare'] + rest, denied).returncode == 1


# --- verdicts and their records -------------------------------------------------------------------------------------


@pytest.mark.parametrize('operation, count', [('prepare', 0), ('start', 1)])
def test_clean_domain_is_admitted_silently_and_recorded_once(installed, clean, journal, operation, count):
    result = installed.run_hook('vm', operation, clean)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    records = journal.records()
    assert len(records) == count
    for record in records:
        assert record['MESSAGE_ID'] == [ADMITTED_ID]
        assert record['PRIORITY'] == ['6']
        assert record['VIRT_GUARD_DECISION'] == ['admit']
        assert 'VIRT_GUARD_RULE' not in record


OF_START = """\
policy: labels
rules:
- {id: label, title: no label, action: deny, phase: start, match: '/domain[not(seclabel)]', why: w, remedy: r}
- {id: asked, title: asked, action: warn, phase: start, match: /domain/devices/disk/source/@dev,
   probe: multipath-device, why: w, remedy: r}
"""


def test_what_only_a_start_shows_is_judged_there(installed, clean, journal):
    labelled = clean.replace(b'</devices>', b"</devices><seclabel type='dynamic' model='selinux'/>")
    asked = labelled.replace(b'<devices>', b"<devices><disk><source dev='/dev/none'/></disk>")
    with installed.with_policy(OF_START):
        for xml in (clean, labelled, asked):
            assert installed.run_hook('vm', 'prepare', xml).returncode == 0
        assert journal.records() == []
        result = installed.run_hook('vm', 'start', clean)
        assert (result.returncode, b'denied by policy' in result.stderr) == (1, True)
        assert [record['VIRT_GUARD_RULE'] for record in journal.records()] == [['label']]
        assert installed.run_hook('vm', 'start', labelled).returncode == 0
        assert 'VIRT_GUARD_RULE' not in journal.records()[0]
        assert installed.run_hook('vm', 'start', asked).returncode == 0, 'a device that is not there is unknown'
        assert journal.records()[0]['VIRT_GUARD_RULE'] == ['asked']


@pytest.mark.parametrize('operation', ['prepare', 'start'])
def test_denied_domain(installed, denied, journal, operation):
    result = installed.run_hook('vm', operation, denied)
    assert (result.returncode, result.stdout) == (1, b'')
    lines = result.stderr.decode('ascii').splitlines()
    assert lines[0] == "virt-guard: domain 'vm' denied by policy 'rhel-8': tcg, tpm-passthrough"
    assert lines[1] == (
        '  (1) [tcg] TCG software emulation: <domain type="qemu"> (line 1 of virsh dumpxml); '
        "remedy: use <domain type='kvm'> on a host with hardware virtualization."
    )
    assert lines[2].startswith('  (2) [tpm-passthrough] TPM passthrough: ')
    assert lines[3:] == [
        '  more: virt-guard explain tcg tpm-passthrough; to permit it for a while: '
        'virt-guard waiver add vm tcg tpm-passthrough'
    ]
    (record,) = journal.records()
    assert record['MESSAGE'] == [lines[0].replace('virt-guard: ', '')]
    assert record['MESSAGE_ID'] == [DENIED_ID]
    assert record['PRIORITY'] == ['4']
    assert record['SYSLOG_IDENTIFIER'] == ['virt-guard']
    assert record['VIRT_GUARD_DECISION'] == ['deny']
    assert record['VIRT_GUARD_DOMAIN'] == ['vm']
    assert re.match('[0-9a-f-]{36}$', record['VIRT_GUARD_UUID'][0])
    assert record['VIRT_GUARD_OPERATION'] == [operation]
    assert record['VIRT_GUARD_RULE'] == ['tcg', 'tpm-passthrough']
    assert record['VIRT_GUARD_FINDING'][0] == 'deny tcg /domain/@type line 1'
    assert record['VIRT_GUARD_MODE'] == ['enforce']
    assert record['VIRT_GUARD_POLICY'] == ['rhel-8']
    assert re.match('[0-9a-f]{64}$', record['VIRT_GUARD_POLICY_SHA256'][0])
    assert re.match('[0-9a-f]{64}$', record['VIRT_GUARD_XML_SHA256'][0])
    assert 0 < int(record['VIRT_GUARD_ELAPSED_USEC'][0]) < 30 * 1000000


@pytest.mark.parametrize('operation', ['prepare', 'start'])
def test_audit_mode_admits_and_records_at_each_operation(installed, denied, journal, operation):
    """At `prepare`, too: where the start then fails, before `start`, there would be no record of it."""
    with installed.with_policy(mode='audit'):
        result = installed.run_hook('vm', operation, denied)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    (record,) = journal.records()
    assert record['MESSAGE_ID'] == [WOULD_DENY_ID]
    assert record['VIRT_GUARD_DECISION'] == ['would-deny']
    assert record['VIRT_GUARD_OPERATION'] == [operation]
    assert record['VIRT_GUARD_RULE'] == record['VIRT_GUARD_DENIED'] == ['tcg', 'tpm-passthrough']


def test_audit_mode_records_an_admission_once(installed, clean, journal):
    with installed.with_policy(mode='audit'):
        for operation in ('prepare', 'start'):
            assert installed.run_hook('vm', operation, clean).returncode == 0
    (record,) = journal.records()
    assert (record['VIRT_GUARD_DECISION'], record['VIRT_GUARD_OPERATION']) == (['admit'], ['start'])


@pytest.mark.parametrize('python', [None, '/nowhere/python'])
@pytest.mark.parametrize('xml', [CLEAN, DENIED, b'not XML'])
def test_the_proof_of_an_installation_is_not_recorded(installed, journal, tmp_path, python, xml):
    policy = installed.policy.with_name('.virt-guard-check.yaml')
    policy.write_text(policy_text())
    proof = hook_copy(installed, tmp_path, policy=str(policy), **({'python': python} if python else {}))
    try:
        answers = [
            call(proof, ['guest', operation, 'begin', '-'], xml).returncode for operation in ('prepare', 'start')
        ]
        assert answers == [2 if python or xml == b'not XML' else xml == DENIED] * 2
        assert journal.records() == []
        assert installed.run_hook('.virt-guard-check.yaml', 'prepare', DENIED).returncode == 1
        (record,) = journal.records()
        assert record['VIRT_GUARD_DECISION'] == ['deny'], 'what a domain is called does not keep it out of the records'
    finally:
        policy.unlink()


def test_warnings_admit_and_are_recorded(installed, clean, journal):
    xml = re.sub(b'<metadata>.*</metadata>', b'', clean, flags=re.DOTALL)
    result = installed.run_hook('vm', 'start', xml)
    assert (result.returncode, result.stderr) == (0, b'')
    (record,) = journal.records()
    assert record['VIRT_GUARD_DECISION'] == ['admit']
    assert record['VIRT_GUARD_RULE'] == ['guest-os-unknown']
    assert record['VIRT_GUARD_FINDING'] == ['warn guest-os-unknown /domain line 1']


def test_refusal_is_at_most_4_kib(installed, denied):
    args = b''.join(b"<qemu:arg value='-device'/><qemu:arg value='vhost-user-blk,id=%d'/>" % n for n in range(500))
    xml = denied.replace(
        b'</domain>',
        b"<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        + args
        + b'</qemu:commandline></domain>',
    )
    result = installed.run_hook('vm', 'prepare', xml)
    assert result.returncode == 1
    assert 1024 < len(result.stderr) <= 4096
    lines = result.stderr.decode('ascii').splitlines()
    assert 'vhost-user' in lines[0]
    assert lines[-1].startswith('  more: virt-guard explain ')
    assert any('shortened' in line for line in lines)


NAMES = [
    'with space',
    'quote\'"',
    'ünïcödé',
    '日本',
    'line\nbreak',
    'tab\tcr\r',
    '\x1b[31mred\x1b[0m',
    '\u202emirror',
    'x' * 5000,
]


@pytest.mark.parametrize('name', NAMES, ids=ascii)
def test_names_cannot_forge_lines_or_terminal_codes(installed, denied, journal, name):
    escaped = name.replace('&', '&amp;').replace('<', '&lt;').replace('\r', '&#13;')
    control = any(ord(character) < 32 and character not in '\t\r\n' for character in name)
    xml = denied.replace(b'<name>vm</name>', b'<name>' + escaped.encode() + b'</name>')
    result = installed.run_hook(name, 'prepare', xml)
    text = result.stderr.decode('utf-8')
    assert result.returncode == (2 if control else 1)  # XML has no way to write an escape character
    assert result.stdout == b''
    assert text.startswith("virt-guard: domain '")
    assert len(result.stderr) <= 4096
    assert text.replace('\n', '').isprintable()
    assert control or not name.isprintable() or len(name) > 2048 or "domain '%s' denied" % name in text
    (record,) = journal.records()
    assert record['VIRT_GUARD_DOMAIN'] == [name if len(name) < 2048 else name[:2045] + '...']
    assert '\n' not in record['MESSAGE'][0] and '\x1b' not in record['MESSAGE'][0]
