# SPDX-License-Identifier: Apache-2.0
"""The installed hook as libvirt calls it: every operation, every outcome, every hostile input."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time
import venv

import pytest
import yaml
from installation import CLEAN, DENIED, ENVIRONMENT, call, domain_xml, hook_copy, policy_text
from support.capabilities import missing
from support.records import ADMITTED_ID, DENIED_ID, FAILED_ID, WOULD_DENY_ID

NOT_JUDGED = ('started', 'stopped', 'release', 'reconnect', 'attach', 'migrate', 'restore', '', 'no-such-operation')


# An expression whose evaluation takes minutes inside libxml2, where no Python signal handler runs.
ENDLESS_RULE = """
  - id: endless
    title: endless
    action: deny
    match: /domain[count(//*[count(//*[count(//*) > 1]) > 1]) = 0]
    why: It never ends.
    remedy: none
"""
LARGE = b"<domain type='kvm'><name>vm</name>" + b'<a/>' * 5000 + b'</domain>'

UNUSABLE_XML = {
    'empty': b'',
    'white space': b' \n\t\n',
    'binary': bytes(range(256)) * 8,
    'truncated': b"<domain type='kvm'><name>vm</name><devices>",
    'two roots': b'<domain/><domain/>',
    'not a domain': b'<network><name>default</name></network>',
    'undefined entity': b'<domain><name>&vm;</name></domain>',
    'doctype': b'<!DOCTYPE domain><domain/>',
    'external entity': b"<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><name>&e;</name></domain>",
    'billion laughs': b"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>"
    + b''.join(b"<!ENTITY %c '%s'>" % (c, b'&%c;' % (c - 1) * 10) for c in b'bcdefghijk')
    + b"]><domain a='&k;'>&k;</domain>",
    'deep': b'<domain>' + b'<a>' * 100000,
    'wrong encoding': b"<?xml version='1.0' encoding='UTF-8'?><domain><name>\xff\xfe</name></domain>",
    'unknown encoding': b"<?xml version='1.0' encoding='KLINGON'?><domain/>",
    '33 MiB': b'<domain>' + b'<a/>' * (33 * 1024 * 1024 // 4) + b'</domain>',
    '64 MiB text': b'<domain><name>' + b'a' * (64 * 1024 * 1024) + b'</name></domain>',
}
# What libvirt takes for a domain all the same.
ODD_XML = {
    'namespaced domain': b"<domain xmlns='urn:x' type='kvm'/>",
    'undeclared prefix': b'<domain><qemu:commandline/></domain>',
    'planted reading': b"<domain xmlns:g='urn:virt-guard:qemu-argument'><g:device driver='x'/></domain>",
}


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]


class Prepared:
    """The installation as the last test found it."""

    def __init__(self, installed):
        self._installed = installed
        self._left = None

    def again(self):
        """Put the shipped policy in force, but for the rule that would deny everything where tests run in a container;
        where nothing has changed since, that is done."""
        policy = self._installed.policy
        if self._left is None or self._look() != self._left:
            with contextlib.suppress(FileNotFoundError):
                policy.unlink()
            self._installed.write_policy()
            self._left = self._look()

    def _look(self):
        paths = (self._installed.policy, self._installed.policy.with_suffix('.compiled'))
        status = [path.lstat() for path in paths if os.path.lexists(str(path))]
        return [(one.st_ino, one.st_mode, one.st_uid, one.st_mtime_ns, one.st_ctime_ns) for one in status]


@pytest.fixture(scope='module', autouse=True, params=['YAML', 'compiled'])
def prepared(request, installed):
    saved = installed.policy.read_bytes()
    installed.compiles = request.param == 'compiled'
    yield Prepared(installed)
    installed.compiles = False
    installed.policy.unlink()
    installed.policy.write_bytes(saved)
    installed.policy.chmod(0o644)
    assert installed.run_cli('policy', 'compile').returncode == 0


@pytest.fixture(autouse=True)
def policy(prepared, installed, private_run):
    prepared.again()
    yield
    if installed.log.exists():
        installed.log.unlink()


@pytest.fixture
def clean():
    return domain_xml('vm')


@pytest.fixture
def denied(clean):
    tpm = b"<tpm model='tpm-crb'><backend type='passthrough'/></tpm></devices>"
    return clean.replace(b"type='kvm'", b"type='qemu'").replace(b'</devices>', tpm)


@pytest.fixture
def no_journal(private_run):
    """Neither journald nor syslog: /run is empty."""
    assert not os.path.exists('/run/systemd/journal/socket')


@pytest.fixture
def sysfs(private_run):
    """An empty /sys/bus/pci/devices."""
    path = pathlib.Path('/sys/bus/pci/devices')
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', str(path)], check=True)
    yield path
    subprocess.run(['umount', str(path)], check=True)


@pytest.fixture(scope='session')
def python_without_lxml(tmp_path_factory):
    """An interpreter that has PyYAML and nothing else."""
    directory = tmp_path_factory.mktemp('python')
    venv.create(str(directory), with_pip=False)
    (packages,) = directory.glob('lib/python3*/site-packages')
    source = pathlib.Path(yaml.__file__).parent
    for name in ('yaml', '_yaml'):
        if (source.parent / name).is_dir():
            shutil.copytree(str(source.parent / name), str(packages / name))
    return directory / 'bin' / 'python3'


def start_hook(installed, name, operation):
    return subprocess.Popen(
        [str(installed.hook), name, operation, 'begin', '-'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd='/',
    )


def refused(result):
    """The text of a refusal without a verdict, after asserting what holds for each."""
    assert (result.returncode, result.stdout) == (2, b'')
    text = result.stderr.decode('ascii')
    assert 'Traceback' not in text
    assert re.match(r"virt-guard: domain '.*' could not be judged: .+", text.splitlines()[0])
    return text


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
    drop_ins = str(installed.policy)[: -len('.yaml')] + '.d'
    assert lines[3:] == [
        '  more: virt-guard explain tcg tpm-passthrough; to permit it for a while: a waiver in %s, see '
        'virt-guard-policy(5)' % drop_ins
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


# --- no verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('what', sorted(UNUSABLE_XML))
def test_unusable_xml_is_refused_whatever_failure_says(installed, journal, what):
    """Whoever defines a domain chooses its document; `failure` is about the guard."""
    xml = UNUSABLE_XML[what]
    for failure in ('deny', 'admit'):
        with installed.with_policy(failure=failure):
            text = refused(installed.run_hook('vm', 'prepare', xml))
        assert len(text.splitlines()) <= 2
    records = journal.records()
    assert [record['MESSAGE_ID'] for record in records] == [[FAILED_ID], [FAILED_ID]]
    assert [record['PRIORITY'] for record in records] == [['3'], ['3']]
    for record in records:
        assert ' and is refused: ' in record['MESSAGE'][0]
        assert record['VIRT_GUARD_MODE'] == ['enforce']


@pytest.mark.parametrize('what', sorted(ODD_XML))
def test_odd_xml_that_libvirt_accepts_is_judged(installed, journal, what):
    with installed.with_policy():
        result = installed.run_hook('vm', 'start', ODD_XML[what])
    assert (result.returncode, result.stderr) == (0, b'')
    (record,) = journal.records()
    assert record['VIRT_GUARD_DECISION'] == ['admit']


@pytest.mark.parametrize('failure', ['deny', 'admit'])
@pytest.mark.parametrize('what', sorted(UNUSABLE_XML))
def test_unusable_xml_in_audit_mode(installed, journal, what, failure):
    with installed.with_policy(mode='audit', failure=failure):
        for operation in ('prepare', 'start'):
            result = installed.run_hook('vm', operation, UNUSABLE_XML[what])
            assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    first, record = journal.records()
    assert record['MESSAGE_ID'] == first['MESSAGE_ID'] == [WOULD_DENY_ID]
    assert record['VIRT_GUARD_DECISION'] == ['would-deny']
    assert (first['VIRT_GUARD_OPERATION'], record['VIRT_GUARD_OPERATION']) == (['prepare'], ['start'])
    assert record['VIRT_GUARD_DOMAIN'] == ['vm']
    assert record['VIRT_GUARD_POLICY'] == ['rhel-8']
    assert re.match('[0-9a-f]{64}$', record['VIRT_GUARD_POLICY_SHA256'][0])
    assert record['MESSAGE'][0].startswith("domain 'vm' could not be judged and would be denied (audit mode): ")


@pytest.mark.parametrize('mode', ['enforce', 'audit'])
def test_record_of_an_unusable_document_has_the_uuid_that_it_states(installed, clean, journal, mode):
    with installed.with_policy(mode=mode, failure='admit'):
        installed.run_hook('vm', 'start', clean[:-20])
    (record,) = journal.records()
    assert record['VIRT_GUARD_UUID'] == ['5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10']


BROKEN_POLICIES = {
    'not YAML': ('policy: [', 'not YAML'),
    'empty': ('', 'the policy is empty'),
    'unknown key': (
        'policy: x\nmod: audit\nrules:\n' + ENDLESS_RULE,
        "2:1: the policy has an unknown key 'mod' (did you mean 'mode'?)",
    ),
    'bad expression': (
        'policy: x\nrules: [{id: a, title: t, action: deny, match: "/domain[", why: w, remedy: r}]\n',
        'not XPath',
    ),
}


@pytest.mark.parametrize('what', sorted(BROKEN_POLICIES))
def test_broken_policy(installed, clean, journal, what):
    text, reason = BROKEN_POLICIES[what]
    with installed.with_policy(text):
        answer = refused(installed.run_hook('vm', 'prepare', clean))
    assert reason in answer and '%s:' % installed.policy in answer
    assert 'next: virt-guard policy check' in answer
    (record,) = journal.records()
    assert reason in record['MESSAGE'][0]


def test_settings_of_a_broken_policy_hold(installed, clean):
    with installed.with_policy('policy: x\nfailure: admit\nrulez: []\n'):
        assert installed.run_hook('vm', 'prepare', clean).returncode == 0


def test_broken_settings_of_a_broken_policy_do_not(installed, clean):
    with installed.with_policy('policy: x\nfailure: admitt\nrules: []\n'):
        assert "did you mean 'admit'" in refused(installed.run_hook('vm', 'prepare', clean))


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda path: path.unlink(), 'No such file'),
        (lambda path: path.chmod(0o664), 'can be written by others (mode 0664)'),
        (lambda path: path.chmod(0o646), 'can be written by others (mode 0646)'),
        (lambda path: os.chown(str(path), 12345, 0), 'belongs to uid 12345'),
        (lambda path: path.parent.chmod(0o777), 'can be written by others (mode 0777)'),
        (lambda path: (path.unlink(), os.mkfifo(str(path))), 'not a regular file'),
        (lambda path: (path.unlink(), path.mkdir()), 'not a regular file'),
        (lambda path: path.write_bytes(b'#' * (1024 * 1024 + 1)), 'larger than'),
    ],
    ids=['missing', 'group-writable', 'writable', 'foreign', 'directory writable', 'FIFO', 'directory', 'large'],
)
def test_policy_that_cannot_be_trusted(installed, clean, journal, change, reason):
    # `failure: admit` inside must not matter: whoever wrote it is not known.
    with installed.with_policy(failure='admit'):
        directory_mode = installed.policy.parent.stat().st_mode
        saved = installed.policy.read_bytes()
        try:
            change(installed.policy)
            assert reason in refused(installed.run_hook('vm', 'prepare', clean))
        finally:
            installed.policy.parent.chmod(directory_mode)
            if installed.policy.is_dir():
                installed.policy.rmdir()
            elif installed.policy.exists():
                installed.policy.unlink()
            installed.policy.write_bytes(saved)
    assert len(journal.records()) == 1


# --- the deadline ---------------------------------------------------------------------------------------------------


def orphans(installed):
    """Processes that still run the hook installed there."""
    needle = str(installed.root).encode()
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / 'cmdline').read_bytes()
            except OSError:
                continue
            if needle in command and b'virtguard' in command:
                found.append(command)
    return found


def until_gone(installed):
    """Wait for killed processes to disappear; returns those that stay."""
    limit = time.monotonic() + 5
    while orphans(installed) and time.monotonic() < limit:
        time.sleep(0.05)
    return orphans(installed)


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_deadline_on_standard_input_that_never_ends(installed, journal, failure, status):
    with installed.with_policy(failure=failure, deadline='2'):
        process = start_hook(installed, 'vm', 'start')
        process.stdin.write(b'<domain>')
        process.stdin.flush()
        # Not communicate(), which would close standard input.
        assert process.wait(timeout=20) == status
        text = process.stderr.read().decode()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()
    assert ('while reading the domain XML from standard input' in text) == (status == 2)
    (record,) = journal.records()
    assert 'the deadline of 2 seconds passed' in record['MESSAGE'][0]
    assert until_gone(installed) == []


@pytest.mark.parametrize('mode, status', [('enforce', 2), ('audit', 0)])
def test_document_that_takes_too_long_to_judge(installed, journal, mode, status):
    """Inside C code, where no signal handler runs. What a domain's owner can do to it must not admit it."""
    text = 'policy: x\nmode: %s\nfailure: admit\ndeadline: 2\nrules:%s' % (mode, ENDLESS_RULE)
    with installed.with_policy(text):
        result = installed.run_hook('vm', 'start', LARGE, timeout=20)
    assert result.returncode == status
    (record,) = journal.records()
    assert 'judging took longer than 2 seconds of processor time' in record['MESSAGE'][0]
    assert record['VIRT_GUARD_DECISION'] == ['would-deny' if mode == 'audit' else 'error']
    assert until_gone(installed) == []


def test_document_that_takes_too_much_memory(installed, journal):
    policy = 'policy: x\nfailure: admit\ndeadline: 30\nrules:' + ENDLESS_RULE.replace('count(//*)', 'count(*)')
    xml = b"<domain type='kvm'><name>vm</name>" + b'<a/>\n' * (6 << 20) + b'</domain>'
    with installed.with_policy(policy):
        text = refused(installed.run_hook('vm', 'prepare', xml, timeout=60))
    assert 'judging takes more than 1024 MiB of memory' in text
    assert len(journal.records()) == 1


def test_a_busy_host_is_no_reason_to_refuse(installed, clean, denied, journal):
    """More calls at once than can be answered within the deadline, were it that of a clock on the wall."""
    xml = clean.replace(b'http://redhat.com/rhel/8.10', b'http://example.com/none')
    count = 8 * len(os.sched_getaffinity(0))
    with installed.with_policy(deadline='0.5', failure='deny'):
        started = time.monotonic()
        calls = []
        for document in [xml, denied] * (count // 2):
            calls.append(start_hook(installed, 'vm', 'prepare'))
            calls[-1].stdin.write(document)
            calls[-1].stdin.close()
        answers = [(call_.wait(timeout=120), call_.stderr.read()) for call_ in calls]
        for call_ in calls:
            call_.stdout.close()
            call_.stderr.close()
    assert [status for status, _ in answers] == [0, 1] * (count // 2), answers
    assert time.monotonic() - started > 0.5, 'this host is too fast for the test'


def test_deadline_inside_a_probe(installed, clean, journal, sysfs):
    """A device whose driver does not answer: here a FIFO that nobody writes to."""
    device = sysfs / '0000:03:10.1'
    device.mkdir()
    os.mkfifo(str(device / 'class'))
    hostdev = b"""<hostdev mode='subsystem' type='pci' managed='yes'><source>
        <address domain='0x0000' bus='0x03' slot='0x10' function='0x1'/></source></hostdev></devices>"""
    with installed.with_policy(deadline='2'):
        refused(installed.run_hook('vm', 'prepare', clean.replace(b'</devices>', hostdev), timeout=20))
    (record,) = journal.records()
    assert 'the deadline of 2 seconds passed while judging' in record['MESSAGE'][0]
    assert until_gone(installed) == []


# --- sinks ----------------------------------------------------------------------------------------------------------


def test_stopped_journald_does_not_hold_up_a_start(installed, clean, denied, journal):
    journal.fill()
    started = time.monotonic()
    assert installed.run_hook('vm', 'start', clean, timeout=20).returncode == 0
    assert installed.run_hook('vm', 'start', denied, timeout=20).returncode == 1
    assert time.monotonic() - started < 15  # not a measure of speed: it must end
    lines = installed.log.read_text().splitlines()
    assert len(lines) == 2
    assert "domain 'vm' admitted by policy 'rhel-8'" in lines[0]
    assert 'VIRT_GUARD_RULE=tcg' in lines[1]
    assert installed.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize('required, status', [('false', 0), ('true', 2)])
def test_no_sink_at_all(installed, clean, denied, no_journal, required, status):
    installed.log.parent.mkdir(parents=True, exist_ok=True)
    installed.log.symlink_to('/dev/null')  # never followed, so the last sink fails, too
    try:
        with installed.with_policy(audit='{required: %s}' % required):
            assert installed.run_hook('vm', 'prepare', clean).returncode == 0
            result = installed.run_hook('vm', 'start', clean)
            denial = installed.run_hook('vm', 'start', denied)
    finally:
        installed.log.unlink()
    assert result.returncode == status
    assert (b'no audit record could be written, and the policy requires one' in result.stderr) == (status == 2)
    assert denial.returncode == 1
    assert b'note: no audit record could be written' in denial.stderr


# --- what the guard is made of --------------------------------------------------------------------------------------


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
@pytest.mark.parametrize(
    'variables', [{'python': '/nonexistent/python3'}, {'python': '/bin/false'}, {'lib': '/nonexistent'}], ids=str
)
def test_guard_that_cannot_run(installed, clean, tmp_path, variables, failure, status):
    with installed.with_policy(failure=failure):
        result = call(hook_copy(installed, tmp_path, **variables), ['v\x1bm', 'prepare', 'begin', '-'], clean)
    assert result.returncode == status
    assert result.stdout == b''
    text = result.stderr.decode('ascii')
    assert 'Traceback' not in text and '\x1b' not in text
    assert ("virt-guard: domain 'v?m' could not be judged: " in text) == (status == 2)


def test_policy_of_somebody_else_does_not_admit_for_a_guard_that_cannot_run(installed, clean, tmp_path):
    with installed.with_policy(failure='admit'):
        installed.policy.chmod(0o666)
        result = call(hook_copy(installed, tmp_path, python='/bin/false'), ['vm', 'prepare', 'begin', '-'], clean)
    assert result.returncode == 2


@pytest.mark.parametrize('journald_answers', [True, False])
def test_a_guard_that_cannot_run_is_recorded_once(installed, clean, tmp_path, journald_answers):
    """By syslog only where journald did not take it, and then with what its fields would have said."""
    stub = tmp_path / 'logger'
    said = tmp_path / 'said'
    stub.write_text(
        '#!/bin/sh\nprintf "%%s|" "$@" >>%s; echo >>%s\n[ "$1" != --journald ] || exit %d\n'
        % (said, said, not journald_answers)
    )
    stub.chmod(0o755)
    hook = hook_copy(installed, tmp_path, python='/bin/false', PATH='%s:/usr/bin:/bin' % tmp_path)
    assert call(hook, ['vm', 'start', 'begin', '-'], clean).returncode == 2
    calls = said.read_text().splitlines()
    assert calls[0] == '--journald|'
    assert len(calls) == 2 - journald_answers
    if not journald_answers:
        fields = ' VIRT_GUARD_DECISION=error VIRT_GUARD_DOMAIN=vm VIRT_GUARD_OPERATION=start|'
        assert calls[1].startswith("-t|virt-guard|-p|daemon.err|--|domain 'vm' could not be judged and is refused: ")
        assert calls[1].endswith(fields)


def test_a_logger_that_hangs_takes_nobody_with_it(installed, clean, tmp_path, journal):
    """timeout may not make a process group of its own where SELinux confines the daemon: then its signal is for all of
    that in which libvirt has put the hook, the daemon's own."""
    if not shutil.which('strace'):
        missing('needs strace')
    journal.fill()
    hook = hook_copy(installed, tmp_path, python='/bin/false')
    program = (
        'sleep 60 & '
        'strace -f -q -o "$1" -e trace=setpgid,kill -e inject=setpgid:error=EACCES "$0" vm prepare begin - 2>&1; '
        'echo "status $?"; kill $! && echo alive'
    )
    result = subprocess.run(
        ['sh', '-c', program, str(hook), str(tmp_path / 'calls')],
        input=clean,
        stdout=subprocess.PIPE,
        start_new_session=True,
        timeout=60,
    )
    assert result.stdout.splitlines()[-2:] == [b'status 2', b'alive'], result.stdout
    assert b'kill(0' not in (tmp_path / 'calls').read_bytes()


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_missing_lxml(installed, denied, tmp_path, journal, failure, status, python_without_lxml):
    hook = hook_copy(installed, tmp_path, python=python_without_lxml)
    with installed.with_policy(failure=failure):
        result = call(hook, ['vm', 'start', 'begin', '-'], denied)
    assert result.returncode == status
    (record,) = journal.records()
    assert "a library is missing or broken: No module named 'lxml'" in record['MESSAGE'][0]
    if status:
        assert "next: install the distribution's lxml and PyYAML" in refused(result)


def test_environment_chooses_neither_code_nor_policy(installed, denied, tmp_path):
    planted = tmp_path / 'planted'
    (planted / 'virtguard/hook').mkdir(parents=True)
    for module in (
        'sitecustomize.py',
        'usercustomize.py',
        'marshal.py',
        'lxml.py',
        'virtguard/__init__.py',
        'virtguard/hook/__init__.py',
        'virtguard/hook/call.py',
    ):
        (planted / module).write_text('import os\nos._exit(100)\n')
    for program in ('python3', 'ls', 'grep', 'tr', 'timeout', 'logger', 'readlink'):
        (planted / program).write_text('#!/bin/sh\nexit 100\n')
        (planted / program).chmod(0o755)
    environment = {
        'PATH': str(planted),
        'PYTHONPATH': str(planted),
        'PYTHONHOME': str(planted),
        'PYTHONSTARTUP': str(planted / 'lxml.py'),
        'PYTHONUSERBASE': str(planted),
        'HOME': str(planted),
        'VIRT_GUARD_POLICY': '/dev/null',
        'ENV': str(planted / 'ls'),
        'LC_ALL': 'C',
        'IFS': 'e',
        'CDPATH': str(planted),
        'python': '/bin/true',
        'status': '100',
    }
    result = subprocess.run(
        [str(installed.hook), 'vm', 'prepare', 'begin', '-'],
        input=denied,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=str(planted),
        timeout=30,
    )
    assert (result.returncode, result.stdout) == (1, b'')
    assert b"denied by policy 'rhel-8': tcg, tpm-passthrough" in result.stderr


def test_closed_descriptors(installed, denied, clean):
    def close_all():
        for descriptor in (0, 1, 2):
            os.close(descriptor)

    for operation, status in (('prepare', 2), ('stopped', 0)):
        process = subprocess.Popen([str(installed.hook), 'vm', operation, 'begin', '-'], preexec_fn=close_all)
        assert process.wait(timeout=30) == status


def test_the_hook_ends_with_its_reader(installed, denied):
    """libvirt waits for the end of both pipes: nothing may hold them open after the hook has answered."""
    process = start_hook(installed, 'vm', 'prepare')
    out, err = process.communicate(denied, timeout=30)
    assert (process.returncode, out) == (1, b'')
    assert err.startswith(b'virt-guard: ')
