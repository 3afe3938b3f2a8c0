# SPDX-License-Identifier: Apache-2.0
"""The installed command as its users run it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from installation import CHECKOUT, CLEAN, DENIED, domain_xml

VHOST_USER = "<interface type='vhostuser'/>\n"
TPM = "<tpm><backend type='passthrough'/></tpm>\n"
FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'


@pytest.fixture
def facts(tmp_path):
    """A host that is not a container, whatever this one is."""
    path = tmp_path / 'facts'
    path.write_text(FACTS)
    return str(path)


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / 'domains'
    (directory / 'sub').mkdir(parents=True)
    (directory / 'b.xml').write_bytes(DENIED)
    (directory / 'a.xml').write_bytes(CLEAN)
    (directory / 'sub' / 'c.xml').write_bytes(CLEAN)
    (directory / 'network.xml').write_bytes(b'<network><name>default</name></network>')
    (directory / 'notes.txt').write_bytes(b'not XML')
    return directory


def check(installed, facts, *arguments, **options):
    return installed.run_cli('check', '--facts', facts, *arguments, **options)


def test_clean_file(installed, facts, files):
    result = check(installed, facts, str(files / 'a.xml'))
    assert (result.returncode, result.stdout, result.stderr) == (0, b'1 domain: 1 admitted\n', b'')


def test_denied_file(installed, facts, files):
    path = str(files / 'b.xml')
    result = check(installed, facts, path)
    lines = result.stdout.decode().splitlines()
    line = DENIED[: DENIED.index(b'<backend')].count(b'\n') + 1
    assert result.returncode == 1
    assert lines[0] == '%s:%d: deny [tpm-passthrough] TPM passthrough: <backend type="passthrough">' % (path, line)
    assert lines[1].startswith('    remedy: use <backend')
    assert lines[-1] == '1 domain: 1 denied'


def test_directory_is_searched_in_order_and_skips_aloud(installed, facts, files):
    result = check(installed, facts, '--format', 'jsonl', str(files))
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [os.path.relpath(item['source'], str(files)) for item in objects] == ['a.xml', 'b.xml', 'sub/c.xml']
    assert result.stderr.decode() == '%s: skipped: the document is <network>, not <domain>\n' % (files / 'network.xml')
    assert result.returncode == 1


def test_json_lines(installed, facts, files):
    result = check(installed, facts, '--format', 'jsonl', str(files / 'b.xml'))
    (item,) = [json.loads(line) for line in result.stdout.splitlines()]
    (finding,) = item.pop('findings')
    assert sorted(item) == ['decision', 'domain', 'mode', 'policy', 'source', 'uuid']
    assert (item['domain'], item['decision'], item['mode']) == ('guest', 'deny', 'enforce')
    assert item['uuid'] == '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'
    assert item['policy']['name'] == 'rhel-8' and len(item['policy']['sha256']) == 64
    assert sorted(finding) == (
        ['evidence', 'known-from', 'line', 'message', 'path', 'reference', 'remedy', 'rule', 'status']
    )
    assert (finding['rule'], finding['status']) == ('tpm-passthrough', 'deny')
    assert finding['path'] == '/domain/devices/tpm/backend'


def test_many_findings_of_one_rule(installed, facts, tmp_path):
    """Short output, which names each rule and says how many there are, whatever a domain's owner repeats."""
    path = tmp_path / 'many.xml'
    ids = '<libosinfo:libosinfo>%s</libosinfo:libosinfo>' % ("<libosinfo:os id=''/>" * 1500)
    ids = ids.replace('info>', "info xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>", 1)
    many = VHOST_USER * 60000 + TPM
    path.write_bytes(domain_xml(devices=many).replace(b'<memory', b'<metadata>%s</metadata><memory' % ids.encode(), 1))
    result = check(installed, facts, str(path))
    lines = result.stdout.decode().splitlines()
    assert (result.returncode, lines[-1], result.stderr) == (1, '1 domain: 1 denied', b'')
    assert '%s: deny [vhost-user] and 59984 more' % path in lines
    assert '%s: warn [guest-os-unknown] and 1484 more' % path in lines
    assert sum('deny [tpm-passthrough]' in line for line in lines) == 1
    assert len(result.stdout) < 10000
    result = check(installed, facts, '--format', 'jsonl', str(path))
    item = json.loads(result.stdout)
    assert item['more'] == {'vhost-user': 59984, 'guest-os-unknown': 1484}
    assert len(item['findings']) == 33
    assert len(result.stdout) < 30000


def test_standard_input(installed, facts):
    result = check(installed, facts, '-', input=DENIED)
    assert result.returncode == 1
    assert result.stdout.startswith(b'-:')


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'the XML is empty'),
        (b'<domain>', 'the XML is not well-formed'),
        (b'<network/>', 'the document is <network>, not <domain>'),
        (b'<!DOCTYPE d><domain/>', 'the XML has a DOCTYPE'),
    ],
)
def test_what_cannot_be_judged(installed, facts, files, content, reason):
    path = files / 'broken.xml'
    path.write_bytes(content)
    result = check(installed, facts, str(path), str(files / 'b.xml'))
    assert result.returncode == 2
    assert result.stderr.decode().startswith('%s:' % path) and reason in result.stderr.decode()
    assert b'deny [tpm-passthrough]' in result.stdout  # the others are judged all the same
    assert result.stdout.endswith(b'2 domains: 1 denied, 1 not judged\n')
    lines = check(installed, facts, '--format', 'jsonl', str(path)).stdout.splitlines()
    assert json.loads(lines[0])['decision'] == 'error'
    assert reason in json.loads(lines[0])['error']


def test_the_status_is_2_where_nothing_could_be_judged(installed, facts, tmp_path):
    (tmp_path / 'empty').mkdir()
    result = check(installed, facts, str(tmp_path / 'empty'))
    assert result.returncode == 2
    assert b'there is no *.xml file below it' in result.stderr
    (tmp_path / 'empty' / 'network.xml').write_bytes(b'<network/>')
    assert check(installed, facts, str(tmp_path / 'empty')).returncode == 2


@pytest.mark.parametrize(
    'arguments, reason',
    [
        (['check', '/nonexistent.xml'], b'/nonexistent.xml: error: cannot be read: No such file or directory'),
        (['check'], b'the following arguments are required'),
        (['chekc'], b"there is no command 'virt-guard chekc'; did you mean 'virt-guard check'?"),
        ([], b'the following arguments are required: COMMAND'),
        (['explain', 'virtioffs'], b"there is no rule 'virtioffs' (did you mean 'virtiofs'?)"),
        (['check', '--policy', '/nonexistent.yaml', '-'], b'the policy /nonexistent.yaml: No such file or directory\n'),
        (['check', '--policy', 'rhel-88', '-'], b"neither a file nor a profile 'rhel-88' (did you mean 'rhel-8'?)"),
        (['check', '--facts', '/nonexistent.yaml', '-'], b'the facts file /nonexistent.yaml: No such file or dir'),
        (['check', '--facts', '/dev', '-'], b'the facts file /dev is not a regular file'),
    ],
    ids=str,
)
def test_bad_usage(installed, arguments, reason):
    result = installed.run_cli(*arguments)
    assert result.returncode == 2
    assert reason in result.stderr
    assert b'Traceback' not in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_names_are_escaped(installed, facts, tmp_path):
    path = os.fsencode(str(tmp_path)) + b'/\xff\x1b[31m\n.xml'
    with open(path, 'wb') as file:
        file.write(DENIED.replace(b'guest', b'g\xc3\xbcest'))
    for arguments in ([], ['--format', 'jsonl']):
        result = subprocess.run(
            [str(installed.cli), 'check', '--facts', facts, *arguments, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={'LC_ALL': 'C', 'PATH': '/usr/bin'},
        )
        assert result.returncode == 1, result.stderr
        assert b'\x1b' not in result.stdout and b'\xff' not in result.stdout
        result.stdout.decode('utf-8')


def run_on_terminal(command, environment):
    """Run a command on a terminal of its own; returns what it showed."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=dict({'PATH': '/usr/bin', 'TERM': 'xterm'}, **environment)
    )
    os.close(other)
    shown = b''
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    process.wait(timeout=30)
    return shown


@pytest.mark.parametrize(
    'environment, coloured',
    [
        ({}, True),
        ({'NO_COLOR': '1'}, False),
        ({'NO_COLOR': ''}, True),
        ({'TERM': 'dumb'}, False),
    ],
    ids=str,
)
def test_colour_only_on_a_terminal_that_wants_it(installed, facts, files, environment, coloured):
    command = [str(installed.cli), 'check', '--facts', facts, str(files / 'b.xml')]
    assert (b'\x1b[31mdeny\x1b[0m' in run_on_terminal(command, environment)) == coloured
    assert b'\x1b' not in installed.run_cli(*command[1:], env=dict({'PATH': '/usr/bin'}, **environment)).stdout


def test_a_closed_pipe_causes_no_traceback(installed, facts, files):
    process = subprocess.Popen(
        [str(installed.cli), 'check', '--facts', facts] + [str(files / 'b.xml')] * 3000,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b''
    assert process.wait(timeout=30) == -signal.SIGPIPE
    process.stderr.close()


def test_closed_streams_cause_no_traceback(installed, facts, files):
    command = [str(installed.cli), 'check', '--facts', str(facts), str(files / 'b.xml'), str(files / 'none.xml')]
    for closed, errors in (('>&-', True), ('>&- 2>&-', False)):
        result = subprocess.run(['sh', '-c', 'exec "$@" ' + closed, 'sh', *command], stderr=subprocess.PIPE)
        assert result.returncode == 2
        assert b'Traceback' not in result.stderr and (b'none.xml' in result.stderr) == errors


def test_an_interrupt_causes_no_traceback(installed, facts):
    process = subprocess.Popen(
        [str(installed.cli), 'check', '--facts', facts, '-'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell lets what it starts in the background ignore the signal, and these tests may be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        process.stdin.write(b'<domain>')
        process.stdin.flush()
        limit = time.monotonic() + 20
        while 'pipe' not in _waits_in(process.pid) and time.monotonic() < limit:
            time.sleep(0.02)  # the interpreter is still starting
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == b''
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def _waits_in(pid):
    """The kernel function in which a process waits: pipe_read, or anon_pipe_read since Linux 6.15."""
    with open('/proc/%d/wchan' % pid) as wchan:
        return wchan.read()


def test_thousands_of_files_in_bounded_memory(installed, facts, tmp_path):
    """Ten times the files must not take much more memory; the rest is the interpreter's own."""
    peaks = []
    for count in (200, 2000):
        directory = tmp_path / str(count)
        directory.mkdir()
        xml = domain_xml(devices="<disk type='file'><source file='/x'/></disk>\n" * 200)
        for number in range(count):
            (directory / ('%d.xml' % number)).write_bytes(xml)
        code = (
            'import resource, subprocess, sys\nstatus = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n'
            'print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)'
        )
        result = subprocess.run(
            [sys.executable, '-c', code, str(installed.cli), 'check', '--facts', facts, str(directory)],
            stdout=subprocess.PIPE,
            check=True,
        )
        status, peak = result.stdout.split()
        assert status == b'0'
        peaks.append(int(peak))
    assert peaks[1] < peaks[0] * 1.3, peaks


def test_facts_replace_the_host(installed, tmp_path):
    facts = tmp_path / 'facts.yaml'
    facts.write_text('arch: aarch64\ncontainer: none\n')
    result = check(installed, str(facts), '-', input=CLEAN)
    assert result.returncode == 1
    assert b'deny [host-architecture] host architecture: host arch is aarch64' in result.stdout
    facts.write_text('container: podman\n')
    result = check(installed, str(facts), '-', input=CLEAN)
    assert b'deny [container-host] domain created in a container: host container is podman' in result.stdout
    assert b'unknown [host-architecture] this host cannot tell: host arch is unknown' in result.stdout


@pytest.mark.parametrize(
    'answer, status, shown',
    [
        ('yes', 1, b'deny [multipath-persistent-reservation]'),
        ('no', 0, b''),
        ('unknown', 0, b'unknown [multipath-persistent-reservation] this host cannot tell'),
    ],
)
def test_facts_answer_probes(installed, tmp_path, answer, status, shown):
    facts = tmp_path / 'facts.yaml'
    facts.write_text(FACTS + 'probes: {multipath-device: {/dev/mapper/a: %s}}\n' % answer)
    disk = "<disk type='block' device='lun'><source dev='/dev/mapper/a'><reservations managed='yes'/></source></disk>\n"
    result = check(installed, str(facts), '-', input=domain_xml(devices=disk))
    assert result.returncode == status
    assert shown in result.stdout


def test_problems_of_facts(installed, tmp_path):
    facts = tmp_path / 'facts.yaml'
    facts.write_text('arhc: x86_64\nprobes:\n  multipath-device: {/dev/sda: maybe}\n')
    result = check(installed, str(facts), '-', input=CLEAN)
    assert result.returncode == 2
    assert result.stderr.decode().splitlines() == [
        "%s:1:1: the facts file has an unknown key 'arhc' (did you mean 'arch'?)" % facts,
        '%s:3:32: probes.multipath-device is text, not a boolean (write true or false)' % facts,
    ]


def test_rules_and_explain(installed):
    listed = [line.split()[0] for line in installed.run_cli('rules').stdout.decode().splitlines()]
    assert 'virtiofs' in listed and len(listed) == 34
    text = installed.run_cli('explain', *listed).stdout.decode()
    for rule in listed:
        assert '\n%s: ' % rule in '\n' + text
    for row in ('at', 'why', 'remedy', 'reference', 'defined'):
        assert text.count('\n  %-10s ' % row) == len(listed)
    assert text.count('at         admission: ') == 23
    assert text.count('at         runtime: ') == 11


def test_rules_for_programs(installed, tmp_path):
    text = (
        'policy: x\nrules:\n'
        '  - {id: one, title: the first, action: warn, match: /domain/devices/tpm, why: w, remedy: r,\n'
        '     known-from: source, host: {arch: s390x, container: {not: [none]}}, supported: [RHEL 9], reference: "https://example.com/"}\n'
        '  - {id: two, title: the second, action: deny, match: /domain/devices/tpm, why: w, remedy: r,\n'
        '     known-from: %s}\n'
    )
    path = tmp_path / 'policy.yaml'
    path.write_text(text % 'unconfirmed')
    result = installed.run_cli('rules', '--policy', str(path), '--format', 'jsonl')
    first, second = [json.loads(line) for line in result.stdout.splitlines()]
    assert first == {
        'rule': 'one',
        'title': 'the first',
        'action': 'warn',
        'at': 'admission',
        'host': {'arch': ['s390x'], 'container': {'not': ['none']}},
        'why': 'w',
        'remedy': 'r',
        'supported': ['RHEL 9'],
        'known-from': 'source',
        'reference': 'https://example.com/',
        'waivable': True,
        'reason': '',
        'defined': '%s:3' % path,
    }
    assert (second['known-from'], second['host'], second['reference']) == ('unconfirmed', {}, '')
    explained = installed.run_cli('explain', '--policy', str(path), 'one', 'two').stdout.decode()
    assert '\n  known from the source of the packages of this release\n' in explained
    assert '\n  known from unconfirmed: common knowledge, which no document at hand confirms\n' in explained
    result = installed.run_cli('policy', 'check', str(path))
    problem = "%s:6:18: rule 'two' denies what is unconfirmed (let it warn, or tell what it is known from)\n" % path
    assert (result.returncode, result.stdout.decode()) == (2, problem)
    # What is no good ground is no reason to refuse a domain either: the policy can be used.
    assert installed.run_cli('policy', 'show', str(path)).returncode == 0
    path.write_text(text % 'lists')
    result = installed.run_cli('policy', 'check', str(path))
    problem = "%s:6:18: known-from is 'lists' (did you mean 'list'?)\n" % path
    assert (result.returncode, result.stdout.decode()) == (2, problem)


def test_explain_what_no_policy_has(installed):
    told = installed.run_cli('explain', 'started-without-verdict')
    assert told.returncode == 0
    text = told.stdout.decode()
    assert text.startswith('started-without-verdict: ')
    assert '  defined    in the guard itself\n' in text


def test_explain_a_named_set_and_where_a_feature_is_supported(installed):
    text = ' '.join(installed.run_cli('explain', 'guest-os-before-2009').stdout.decode().split())
    assert re.search(r'values \{os-released-before: 2009-01-01\}: \d\d\d values, from .*osinfo-db \d{8}', text)
    assert 'supported RHEL 9 or newer' in ' '.join(installed.run_cli('explain', 'virtiofs').stdout.decode().split())


@pytest.mark.parametrize('profile', ['rhel-9', 'rhel-10'])
def test_judging_by_another_profile(installed, facts, profile):
    result = check(installed, facts, '--policy', profile, '-', input=DENIED.replace(b'-rhel8.6.0', b'-rhel9.4.0'))
    assert result.returncode == 1
    assert b'deny [tpm-passthrough]' in result.stdout
    assert ('warn [machine-type-deprecated]' in result.stdout.decode()) == (profile == 'rhel-10')


def test_policy_check(installed, tmp_path):
    result = installed.run_cli('policy', 'check')
    assert result.returncode == 0
    assert result.stdout.decode().splitlines()[0] == (
        "%s: no problems: policy 'rhel-8', 34 rules, mode enforce, failure deny" % installed.policy
    )
    broken = tmp_path / 'broken.yaml'
    broken.write_text('policy: x\nmode: off\nrules:\n  - id: A\n')
    result = installed.run_cli('policy', 'check', str(broken))
    assert result.returncode == 2
    assert result.stdout.decode().splitlines()[0] == '%s:2:7: mode is a boolean, not text (write "off")' % broken
    assert len(result.stdout.splitlines()) > 3


@pytest.fixture
def misspelt(tmp_path):
    path = tmp_path / 'misspelt.yaml'
    path.write_text(
        'policy: x\nrules:\n- {id: a, title: t, action: warn, why: w, remedy: r, match: /domain/pm/suspend-to-ram}\n'
    )
    return path


def test_policy_check_looks_names_up(installed, misspelt, host_schema):
    result = installed.run_cli('policy', 'check', str(misspelt))
    assert (result.returncode, result.stderr) == (2, b'')
    assert result.stdout.decode() == (
        "%s:3:72: match: no <suspend-to-ram> under <pm> in libvirt's schema (did you mean <suspend-to-mem>?)\n"
        % misspelt
    )
    # Who only judges by a policy does not wait for that.
    assert installed.run_cli('rules', '--policy', str(misspelt)).returncode == 0


@pytest.mark.parametrize(
    'schema, note',
    [
        (None, 'names are not checked: there is no libvirt schema on this host'),
        ('<grammar', 'names are not checked: domain.rng is not well-formed: '),
        ('<grammar/>', 'names are not checked: domain.rng is not RELAX NG'),
    ],
)
def test_policy_check_without_a_schema(misspelt, tmp_path, schema, note):
    if schema is not None:
        directory = tmp_path / 'usr' / 'share' / 'libvirt' / 'schemas'
        directory.mkdir(parents=True)
        (directory / 'domain.rng').write_text(schema)
    program = (
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'from virtguard.commands import main\n'
        'from virtguard.policy.installation import Installation\n'
        "here = Installation('', False, '', host=sys.argv[2])\n"
        "sys.exit(main.main(['policy', 'check', sys.argv[3]], here))"
    )
    command = [sys.executable, '-B', '-c', program, str(CHECKOUT / 'lib'), str(tmp_path), str(misspelt)]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    first, second = result.stdout.decode().splitlines()
    assert first == "%s: no problems: policy 'x', 1 rule, mode enforce, failure deny" % misspelt
    assert second.startswith('note: ' + note)


def test_policy_in_force_must_be_one_that_the_hook_would_take(installed):
    installed.policy.chmod(0o666)
    try:
        result = installed.run_cli('rules')
    finally:
        installed.policy.chmod(0o644)
    assert result.returncode == 2
    assert b'can be written by others' in result.stderr


def test_scan_judges_what_is_defined(installed):
    directory = installed.root / 'etc/libvirt/qemu'
    (directory / 'networks').mkdir(parents=True)
    try:
        (directory / 'networks' / 'default.xml').write_bytes(b'<network/>')
        os.mkfifo(str(directory / 'fifo.xml'))
        (directory / 'guest.xml').write_bytes(CLEAN)
        facts = installed.root / 'facts.yaml'
        facts.write_text(FACTS)
        result = installed.run_cli('scan', '--facts', str(facts))
        assert (result.returncode, result.stderr) == (0, b'')
        assert result.stdout.decode() == "%s: admit 'guest'\n1 domain: 1 admitted\n" % (directory / 'guest.xml')
        (directory / 'bad.xml').write_bytes(DENIED)
        result = installed.run_cli('scan', '--facts', str(facts))
        assert result.returncode == 1
        assert result.stdout.decode().splitlines()[-1] == '2 domains: 1 admitted, 1 denied'
    finally:
        for path in sorted(directory.rglob('*.xml')):
            path.unlink()
        (directory / 'networks').rmdir()
        directory.rmdir()


def test_version(installed):
    assert installed.run_cli('--version').stdout.startswith(b'virt-guard 0.')
