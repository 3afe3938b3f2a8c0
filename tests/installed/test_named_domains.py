# SPDX-License-Identifier: Apache-2.0
"""Domains of this host by name or UUID, as a user types them, and what the command prints of many of them."""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

import pytest
from installation import CHECKOUT, DENIED, as_nobody, domain_xml, need_an_ordinary_user, newly_installed

FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'
TPM = "    <tpm model='tpm-crb'><backend type='passthrough'/></tpm>\n"
NET = "    <interface type='vhostuser'/>\n"
ODD = ['7', 'check', '-x', 'a b', "it's", 'ü', 'x.xml', '\udcff']


class Host:
    """An installation with domains, and a working directory in which nothing is."""

    def __init__(self, root, work):
        self.installed = newly_installed(root)
        self.installed.write_policy(rules=['tpm-passthrough', 'vhost-user'])
        self.domains, self.run = root / 'etc/libvirt/qemu', root / 'run/libvirt/qemu'
        self.work = work
        self.facts = work.parent / 'facts.yaml'
        self.facts.write_text(FACTS)
        for path in (self.domains, self.run, work):
            path.mkdir(parents=True, exist_ok=True)

    def define(self, name, devices='', runs=False):
        text = name.encode('utf-8', 'surrogateescape')
        title = text.decode('utf-8', 'replace')  # libvirt would take no other name, but a file may have any
        xml = domain_xml(title, devices).replace(b'5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10', uuid_of(name).encode())
        path = (self.run if runs else self.domains) / os.fsdecode(text + b'.xml')
        path.write_bytes(b"<domstatus state='running'>\n%s</domstatus>" % xml if runs else xml)
        return str(path)

    def call(self, command, *words, locale='C.UTF-8', **options):
        needs_facts = command[0] in ('check', 'scan', 'policy')
        line = [*command, *(['--facts', str(self.facts)] if needs_facts else []), *words]
        environment = {'LC_ALL': locale, 'PATH': '/usr/bin:/bin'}
        result = self.installed.run_cli(*line, cwd=str(self.work), env=environment, **options)
        stdout, stderr = (text.decode('utf-8').splitlines() for text in (result.stdout, result.stderr))
        return result.returncode, stdout, stderr


def uuid_of(name):
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, repr(name)))


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    base = tmp_path_factory.mktemp('named')
    host = Host(base / 'root', base / 'work')
    host.define('web01')
    host.define('web02', TPM)
    host.define('web07', TPM)
    host.define('web07', runs=True)  # as it was before it was defined anew
    host.define('gone', NET + TPM, runs=True)
    for name in ODD:
        host.define(name, NET)
    return host


def test_check_judges_what_runs_and_scan_what_is_defined(host):
    told = "'web07' is judged as it runs; 'virt-guard scan' judges its definition, which its next start takes"
    note = 'virt-guard: note: ' + told
    for word in ('web07', uuid_of('web07'), uuid_of('web07').upper()):
        assert host.call(['check'], word) == (0, ['1 domain: 1 admitted'], [note])
        status, lines, errors = host.call(['scan'], word)
        assert (status, errors, lines[-1]) == (1, [], '1 domain: 1 denied')
        assert lines[0].startswith('%s/web07.xml:16: deny [tpm-passthrough] ' % host.domains)
    status, lines, _ = host.call(['check'], 'web02', 'gone')
    assert (status, lines[-1]) == (1, '2 domains: 2 denied')
    assert [line.split(':')[0] for line in lines if ' deny ' in line] == [
        '%s/web02.xml' % host.domains,
        *['%s/gone.xml' % host.run] * 2,
    ]
    assert host.call(['scan'], 'gone')[1][-1] == '1 domain: 1 denied'
    status, lines, _ = host.call(['policy', 'diff'], 'rhel-8', 'rhel-9', 'web01')
    assert (status, lines[-1]) == (1, '1 domain: 1 changed') and lines[0].startswith(str(host.domains))


@pytest.mark.parametrize('locale', ['C', 'C.UTF-8'])
@pytest.mark.parametrize('name', ODD)
def test_odd_names(host, name, locale):
    word = os.fsdecode(name.encode('utf-8', 'surrogateescape'))
    for command in (['check', '--quiet'], ['scan', '--quiet']):
        assert host.call(command, '--', word, locale=locale) == (1, [], [])
        assert host.call(command, uuid_of(name), locale=locale) == (1, [], [])
    status, lines, errors = host.call(['explain', '--domain=' + word], locale=locale)
    assert (status, errors) == (1, [])
    command = next(line for line in lines if line.startswith('  virt-guard waiver add '))
    typed = name if name in ('7', 'check', 'x.xml') else uuid_of(name)
    assert command == '  virt-guard waiver add %s vhost-user --until YYYY-MM-DD --reason TEXT' % typed


def test_a_file_of_that_name(host):
    (host.work / 'web01').write_bytes(DENIED)
    (host.work / 'only').write_bytes(DENIED)
    try:
        note = "virt-guard: note: 'web01' is taken for the domain of this host; for the file, type ./web01"
        assert host.call(['check'], 'web01') == (0, ['1 domain: 1 admitted'], [note])
        assert host.call(['check', '--quiet'], './web01') == (1, [], [])
        assert host.call(['check', '--quiet'], 'only') == (1, [], [])
        told = "only: error: it is a file, not a domain of this host; type 'virt-guard check' for a file"
        assert host.call(['scan'], 'only')[2] == [told]
    finally:
        for name in ('web01', 'only'):
            (host.work / name).unlink()


def test_what_is_not_here(host):
    status, lines, errors = host.call(['check'], 'web1', 'web01', 'nowhere.xml')
    near = "there is neither a file nor a domain of this host with this name (did you mean 'web01'"
    assert (status, lines) == (2, ['3 domains: 1 admitted, 2 not judged'])
    assert errors[0].startswith('web1: error: ' + near)
    assert errors[1].startswith('nowhere.xml: error: there is neither a file nor a domain ')
    status, lines, errors = host.call(['scan', '--format', 'jsonl'], 'Web07x')
    assert json.loads(lines[0])['decision'] == 'error'
    told = "Web07x: error: no domain of this host has the name or UUID 'Web07x' (did you mean 'web07'"
    assert len(errors) == 1 and errors[0].startswith(told)
    assert status == 2
    for words in (['explain', '--domain', 'wbe07'], ['explain', '--domain', 'wbe07', 'vhost-user']):
        status, lines, errors = host.call(words)
        assert (status, lines) == (2, []) and "did you mean 'web07'" in errors[0]
    assert 'not an ID of virsh' in host.call(['check'], '99')[2][0]
    assert host.call(['explain'])[0] == 2


def test_next_boot_of_some(host):
    status, lines, errors = host.call(['scan', '--next-boot'], 'web07', 'web01')
    assert (status, lines[0]) == (2, "%s/web07.xml: deny 'web07' (running)" % host.domains)
    told = "web01: error: it neither runs nor starts with the host ('virt-guard scan' judges its definition)"
    assert errors == [told]
    assert host.call(['scan', '--next-boot', '--quiet'], 'web07') == (1, [], [])
    status, lines, _ = host.call(['scan', '--next-boot', '--by', 'rule'])
    assert lines[:2] == ['deny [tpm-passthrough] TPM passthrough: 1 domain', '    web07']


# What is printed


def test_denied(host):
    status, lines, errors = host.call(['scan', '--denied'], 'web01', 'web02')
    assert (status, errors) == (1, [])
    assert [line.split(':')[0] for line in lines] == [
        '%s/web02.xml' % host.domains,
        '    remedy',
        '2 domains',
    ]
    _, lines, _ = host.call(['scan', '--denied', '--format', 'jsonl'], 'web01', 'web02')
    assert [json.loads(line)['domain'] for line in lines] == ['web02']


def test_quiet(host):
    (host.work / 'd').mkdir()
    try:
        (host.work / 'd' / 'net.xml').write_bytes(b'<network/>')
        (host.work / 'd' / 'a.xml').write_bytes(DENIED)
        assert host.call(['check', '--quiet', '--by', 'rule', '--format', 'jsonl'], 'd/a.xml') == (1, [], [])
        assert host.call(['check', '--quiet'], 'd') == (1, [], [])
        (host.work / 'd' / 'b.xml').write_bytes(b'<domain>')
        status, lines, errors = host.call(['check', '--quiet'], 'd')
        assert (status, lines, len(errors)) == (2, [], 1) and errors[0].startswith('d/b.xml:1: error: ')
    finally:
        shutil.rmtree(str(host.work / 'd'))
    assert host.call(['scan', '--quiet'], 'web01') == (0, [], [])


def test_by_rule(host):
    names = ['gone', 'web01', 'web02', 'web07', '-x']
    status, lines, errors = host.call(['scan', '--by', 'rule'], '--', *names)
    assert (status, errors) == (1, [])
    assert lines == [
        'deny [tpm-passthrough] TPM passthrough: 3 domains',
        '    gone, web02, web07',
        'deny [vhost-user] vhost-user device: 2 domains',
        '    gone, -x',
        '5 domains: 1 admitted, 4 denied',
    ]
    _, lines, _ = host.call(['scan', '--by', 'rule', '--format', 'jsonl'], '--', *names)
    first, second = map(json.loads, lines)
    assert (first['rule'], first['status'], first['count']) == ('tpm-passthrough', 'deny', 3)
    assert [domain['domain'] for domain in first['domains']] == ['gone', 'web02', 'web07']
    assert second['domains'][1] == {
        'source': str(host.domains / '-x.xml'),
        'domain': '-x',
        'uuid': uuid_of('-x'),
    }
    path = str(host.domains / 'web02.xml')
    assert host.call(['check', '--by', 'rule'], path)[1][:2] == [
        'deny [tpm-passthrough] TPM passthrough: 1 domain',
        '    ' + path,
    ]


def test_many_domains_by_rule_in_bounded_memory(host, tmp_path):
    """Ten times the domains, all refused by one rule: they are all named, and memory stays as it is."""
    peaks = []
    code = (
        'import resource, subprocess, sys\n'
        'shown = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n'
        'names = sum(line.count(b".xml") for line in shown.stdout)\n'
        'shown.wait()\n'
        'print(names, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)'
    )
    for count in (200, 2000):
        directory = tmp_path / str(count)
        directory.mkdir()
        for number in range(count):
            (directory / ('%d%s.xml' % (number, 'x' * 200))).write_bytes(DENIED)
        command = [str(host.installed.cli), 'check', '--facts', str(host.facts), '--by', 'rule', str(directory)]
        result = subprocess.run([sys.executable, '-c', code, *command], stdout=subprocess.PIPE, check=True)
        names, peak = map(int, result.stdout.split())
        assert names == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] * 1.3, peaks


# explain --domain


def test_explain_a_domain(host):
    status, lines, errors = host.call(['explain', '--domain', 'web07'])
    assert (status, errors) == (1, [])
    path = '%s/web07.xml' % host.domains
    assert lines == [
        "%s: deny 'web07'" % path,
        "policy 'rhel-8', mode enforce; it runs, and this is about its definition, which its next start takes",
        '',
        'deny [tpm-passthrough] TPM passthrough',
        '  at         %s:16' % path,
        '  found      <backend type="passthrough">',
        "  why        Assigning the host's own TPM to a guest is unsupported.",
        "  remedy     use <backend type='emulator'>, a vTPM served by swtpm",
        '  waivable   yes',
        '',
        'To permit it for a while:',
        '  virt-guard waiver add web07 tpm-passthrough --until YYYY-MM-DD --reason TEXT',
        'More about this rule:',
        '  virt-guard explain tpm-passthrough',
    ]
    status, lines, _ = host.call(['explain', '--domain', 'gone', 'vhost-user'])
    assert (status, lines[1].partition('; ')[2]) == (1, 'it has no definition, so this is about what runs')
    assert lines[-4:] == [
        'To permit it for a while:',
        '  virt-guard waiver add gone vhost-user tpm-passthrough --until YYYY-MM-DD --reason TEXT',
        'More about this rule:',
        '  virt-guard explain vhost-user',
    ]
    assert host.call(['explain', '--domain', 'web01'])[:2] == (
        0,
        ["%s/web01.xml: admit 'web01'" % host.domains, "policy 'rhel-8', mode enforce", '', 'Nothing is found in it.'],
    )


def test_explain_what_no_waiver_permits_and_what_one_does(host, tmp_path):
    rule = '- {id: %s, title: t, action: %s, match: /domain/name, why: w, remedy: r, waivable: %s}\n'
    rules = [('strict', 'deny', 'false'), ('loose', 'deny', 'true'), ('soft', 'warn', 'true'), ('hard', 'deny', 'true')]
    day = datetime.date.today() + datetime.timedelta(30)
    policy = tmp_path / 'policy.yaml'
    policy.write_text(
        'policy: site\nrules:\n%swaivers:\n'
        '- {rules: [loose], domains: [web01], reason: until spring, approved-by: me, expires: %s}\n'
        % (''.join(rule % each for each in rules), day)
    )
    status, lines, _ = host.call(['explain', '--policy', str(policy), '--domain', 'web01'])
    assert status == 1
    assert [line for line in lines if line.startswith(('deny', 'warn', 'waived', 'No ', '  waiv', '  virt-guard'))] == [
        'deny [strict] t',
        '  waivable   no',
        'waived [loose] t',
        '  waivable   yes',
        '  waived     approved by me until %s: until spring' % day,
        'warn [soft] t',
        '  waivable   yes',
        'deny [hard] t',
        '  waivable   yes',
        'No waiver permits strict.',
        '  virt-guard explain strict loose soft hard',
    ]
    _, lines, _ = host.call(['explain', '--policy', str(policy), '--domain', 'web01', 'hard', 'soft'])
    assert 'No waiver permits strict.' in lines, 'it is refused all the same'
    assert [line for line in lines if 'waiver add' in line] == []


def test_explain_a_domain_while_the_policy_is_broken(host):
    drop_in = host.installed.root / 'etc/virt-guard/policy.d/50-site.yaml'
    drop_in.write_text('dead-line: 3\n')
    try:
        status, lines, errors = host.call(['explain', '--domain', 'web07'])
        assert host.call(['explain', '--domain', 'web01'])[0] == 2
    finally:
        drop_in.unlink()
    assert status == 2 and '%s:1:1: ' % drop_in in errors[0] and errors[1].endswith('without %s' % drop_in)
    assert lines[0] == "%s/web07.xml: error 'web07'" % host.domains, 'nothing decides about its start'
    assert 'deny [tpm-passthrough] TPM passthrough' in lines
    assert lines[-1].startswith('What is shown is not a verdict') and 'waiver add' not in ' '.join(lines)


# An ordinary user


def test_an_ordinary_user_is_told_to_use_sudo():
    need_an_ordinary_user()
    with contextlib.ExitStack() as stack:
        base = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base.chmod(0o755)
        host = Host(base / 'root', base / 'work')
        path = host.define('web07')
        (host.work / 'web07').write_bytes(DENIED)
        host.domains.chmod(0o700)
        for command in (['check'], ['scan'], ['explain', '--domain']):
            status, _, errors = host.call(command, 'web08', preexec_fn=as_nobody)
            assert status == 2 and len(errors) == 1
            assert 'cannot look into %s: Permission denied (run it as root, with sudo)' % host.domains in errors[0]
        told = 'virt-guard: cannot list %s: Permission denied (run it as root, with sudo)' % host.domains
        assert host.call(['scan'], preexec_fn=as_nobody) == (2, [], [told])
        # Who may not ask which domains there are means the file.
        assert host.call(['check', '--quiet'], 'web07', preexec_fn=as_nobody) == (1, [], [])
        host.domains.chmod(0o755)
        os.chmod(path, 0o600)
        told = '%s: error: cannot be read: Permission denied (run it as root, with sudo)' % path
        assert host.call(['scan', '--quiet'], 'web07', preexec_fn=as_nobody) == (2, [], [told])
        assert str(CHECKOUT) not in told
