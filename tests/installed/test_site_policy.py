# SPDX-License-Identifier: Apache-2.0
"""Drop-ins and waivers where they count: in the installed hook, and in what the installed command says of them."""

import datetime
import json
import os
import re
import shlex
import struct
import subprocess

import pytest
from installation import CLEAN, DENIED, ENVIRONMENT, call, domain_xml, hook_copy
from support.capabilities import need_mount_namespaces
from support.paths import CHECKOUT

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]

UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'
NOT_THIS_HOST = 'rules: [{id: container-host, action: "off", reason: the tests may run in one}]\n'
FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'


def day(offset):
    return str(datetime.date.today() + datetime.timedelta(offset))


def waiver(expires, domains=UUID, rules='tpm-passthrough'):
    return (
        'waivers:\n  - rules: [%s]\n    domains: ["%s"]\n    reason: until the vTPM is there\n'
        '    approved-by: operations\n    expires: %s\n    ticket: OPS-1\n' % (rules, domains, expires)
    )


@pytest.fixture(scope='module', autouse=True)
def compiled_again(installed):
    yield
    assert installed.run_cli('policy', 'compile').returncode == 0


@pytest.fixture(params=['YAML', 'compiled'])
def site(request, installed):
    """A function that puts drop-ins in force; the policy was compiled before, or with them."""
    directory = installed.policy.with_suffix('.d')

    def put(**texts):
        texts.setdefault('_00_tests', NOT_THIS_HOST)
        for name, text in texts.items():
            path = directory / (name[1:].replace('_', '-') + '.yaml')
            path.write_text(text, encoding='utf-8')
            path.chmod(0o644)
        if request.param == 'compiled':
            installed.run_cli('policy', 'compile')  # fails for a broken one, as it should

    yield put
    for path in directory.iterdir():
        path.unlink()
    if installed.log.exists():
        installed.log.unlink()


def test_a_drop_in_holds_at_the_next_start(installed, site):
    site()
    assert installed.run_hook('guest', 'prepare', DENIED).returncode == 1
    site(_10_site='rules: [{id: tpm-passthrough, action: warn}]\n')
    assert installed.run_hook('guest', 'prepare', DENIED).returncode == 0
    site(_20_site='rules: [{id: tpm-passthrough, action: deny}]\n')
    assert installed.run_hook('guest', 'prepare', DENIED).returncode == 1


@pytest.mark.parametrize('site', ['YAML'], indirect=True)
def test_compiled_form_is_out_of_date_after_any_change(installed, site):
    directory = installed.policy.with_suffix('.d')
    site(_10_site='mode: enforce\n')

    def is_current():
        return 'out of date' not in installed.run_cli('policy', 'check').stdout.decode()

    def compile_policy():
        assert installed.run_cli('policy', 'compile').returncode == 0
        assert is_current()

    compile_policy()
    (directory / '10-site.yaml').write_text('mode: audit  \n')
    assert not is_current()
    compile_policy()
    (directory / '20-new.yaml').write_text('mode: enforce\n')
    assert not is_current()
    compile_policy()
    (directory / '20-new.yaml').unlink()
    assert not is_current()
    compile_policy()
    (directory / '10-site.yaml').rename(directory / '10-site.yaml.off')
    assert not is_current()


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_a_broken_drop_in_is_answered_as_failure_says(installed, site, journal, failure, status):
    site(_10_site='failure: %s\n' % failure, _20_site='rules: [{id: tpm-passthrough, acton: warn}]\n')
    result = installed.run_hook('guest', 'start', CLEAN)
    assert result.returncode == status
    (record,) = journal.records()
    assert "20-site.yaml:1:31: the rule has an unknown key 'acton' (did you mean 'action'?)" in record['MESSAGE'][0]
    assert ('virt-guard policy check' in result.stderr.decode()) == (status == 2)


@pytest.mark.parametrize(
    'drop_in, spoil, status',
    [
        ('failure: admit\n', lambda path: None, 0),
        ('failure: admit # really\n', lambda path: None, 0),
        ('mode: audit\n', lambda path: None, 2),
        ('failure: admit\n', lambda path: path.chmod(0o666), 2),
        ('failure: admit\n', lambda path: os.chown(str(path), 12345, -1), 2),
    ],
)
def test_a_guard_that_cannot_run_obeys_the_drop_ins(installed, site, tmp_path, drop_in, spoil, status):
    site(_10_site='failure: deny\n', _20_site=drop_in)
    spoil(installed.policy.with_suffix('.d') / '20-site.yaml')
    hook = hook_copy(installed, tmp_path, python='/bin/false')
    assert call(hook, ['guest', 'prepare', 'begin', '-'], CLEAN).returncode == status


def test_a_start_is_not_refused_for_what_only_looks_like_a_drop_in(installed, site, tmp_path):
    directory = installed.policy.with_suffix('.d')
    misnamed = directory / '30-site.yaml'
    misnamed.mkdir()
    try:
        for name in ('20-site.yml', '20-site.YAML', '.20-site.yaml', '20-site.yaml.rejected', '20-site.yaml~'):
            (directory / name).write_text('rules: [\n')
            (directory / name).chmod(0o666)
        site(_10_site='failure: admit\n')
        assert installed.run_hook('guest', 'start', CLEAN).stderr == b''
        # Nor does it where only the shell is left to decide.
        hook = hook_copy(installed, tmp_path, python='/bin/false')
        assert call(hook, ['guest', 'prepare', 'begin', '-'], CLEAN).returncode == 0
    finally:
        misnamed.rmdir()


def test_a_waived_domain_starts_and_the_record_names_who_approved_it(installed, site, journal):
    site(_10_site=waiver(day(100)))
    result = installed.run_hook('guest', 'start', DENIED)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    (record,) = journal.records()
    assert record['MESSAGE'] == ["domain 'guest' admitted by policy 'rhel-8', waived: tpm-passthrough"]
    assert record['VIRT_GUARD_DECISION'] == ['admit']
    assert record['VIRT_GUARD_FINDING'] == ['waived tpm-passthrough /domain/devices/tpm/backend line 16']
    assert record['VIRT_GUARD_WAIVER'] == [
        'tpm-passthrough approved by operations until %s, OPS-1: until the vTPM is there' % day(100)
    ]
    assert 'the waiver' not in ''.join(record.get('VIRT_GUARD_WARNING', []))


def test_a_waiver_does_not_permit_what_other_rules_deny(installed, site):
    site(_10_site=waiver(day(100)))
    other = domain_xml(devices='<interface type="vhostuser"/><tpm><backend type="passthrough"/></tpm>')
    result = installed.run_hook('guest', 'start', other)
    assert result.returncode == 1
    assert result.stderr.decode().splitlines()[0] == "virt-guard: domain 'guest' denied by policy 'rhel-8': vhost-user"
    assert installed.run_hook('guest', 'start', DENIED.replace(UUID.encode(), b'0' * 8 + UUID[8:].encode())).returncode


def test_the_record_warns_of_a_waiver_that_ends_soon(installed, site, journal):
    site(_10_site=waiver(day(3), domains='gue*'))
    assert installed.run_hook('guest', 'start', DENIED).returncode == 0
    (record,) = journal.records()
    assert 'the waiver of tpm-passthrough expires on %s' % day(3) in record['VIRT_GUARD_WARNING']
    assert ', 3 days left' in record['VIRT_GUARD_WAIVER'][0]


def test_an_expired_waiver_denies_and_the_text_says_so(installed, site):
    site(_10_site=waiver(day(-1)))
    result = installed.run_hook('guest', 'start', DENIED)
    assert result.returncode == 1
    assert '(its waiver by operations expired on %s)' % day(-1) in result.stderr.decode()


def test_a_waiver_too_far_ahead_permits_nothing_and_the_text_says_so(installed, site):
    """What policy check calls a problem may have been none on the day it was written: clocks are set back."""
    site(_10_site=waiver(day(401)))
    result = installed.run_hook('guest', 'start', DENIED)
    assert result.returncode == 1
    text = '(more than 400 days ahead, so not in force: its waiver by operations until %s)' % day(401)
    assert text in result.stderr.decode()
    assert installed.run_hook('guest', 'start', CLEAN).returncode == 0


def zone(path, hours):
    """A time zone file (RFC 8536) of one offset from UTC."""
    counts = struct.pack('>6l', 0, 0, 0, 0, 1, 4)
    path.write_bytes(b'TZif' + bytes(16) + counts + struct.pack('>lBB', hours * 3600, 0, 0) + b'XXX\0')
    return path


@pytest.mark.skipif(not os.path.exists('/etc/localtime'), reason='this host has no local time')
def test_the_clock_passes_the_last_day(installed, site, tmp_path):
    """At one moment it is still the waiver's last day in the far west, and not any more in the far east."""
    need_mount_namespaces()
    west = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=-12)))
    site(_10_site=waiver(str(west.date())))
    statuses = {}
    for hours in (-12, 14):
        program = 'mount --make-rprivate / && mount --bind "$0" /etc/localtime && exec "$@"'
        command = ['unshare', '-m', 'sh', '-c', program, str(zone(tmp_path / 'zone', hours)), str(installed.hook)]
        result = subprocess.run(
            command + ['guest', 'prepare', 'begin', '-'], input=DENIED, env=ENVIRONMENT, stderr=subprocess.PIPE
        )
        statuses[hours] = (result.returncode, b'expired on' in result.stderr)
    assert statuses == {-12: (0, False), 14: (1, True)}


# --- the command ------------------------------------------------------------------------------------------------------


def test_policy_check_reads_every_file(installed, site):
    site(_10_site='deadline: 2\n', _20_site=waiver(day(5), domains='gue*'))
    directory = installed.policy.with_suffix('.d')
    (directory / 'notes.txt').write_text('not read')
    result = installed.run_cli('policy', 'check')
    assert result.returncode == 0
    lines = result.stdout.decode().splitlines()
    assert lines[0].startswith("%s: no problems: policy 'rhel-8', " % installed.policy)
    assert 'with %s/10-site.yaml' % directory in lines
    place = 'note: %s/20-site.yaml:2: the waiver of tpm-passthrough ' % directory
    assert place + 'expires on %s' % day(5) in lines
    assert [line for line in lines if line.startswith(place + 'names domains by name (gue*): ')]
    assert [line for line in lines if line.startswith('note: %s/notes.txt is ignored: ' % directory)]


@pytest.mark.parametrize('site', ['YAML'], indirect=True)
def test_ansible_puts_no_broken_drop_in_in_force(installed, site, tmp_path):
    """Its module copy runs `validate` without a shell, on a copy that has a temporary name."""
    page = (CHECKOUT / 'doc' / 'site-policy.md').read_text(encoding='ascii')
    program, *words = shlex.split(re.search(r'^ *validate: (.*)$', page, re.MULTILINE).group(1))
    assert program == '/usr/bin/virt-guard'
    site(_50_site='deadlin: 2\n')
    temporary = tmp_path / '.ansible_tmp7f3k50-site.yaml'
    for text, status in (('deadline: 2\n' + waiver(day(5)), 0), ('deadlin: 2\n', 2), (waiver(day(500)), 2)):
        temporary.write_text(text)
        result = installed.run_cli(*[word.replace('%s', str(temporary)) for word in words])
        assert (result.returncode, result.stderr) == (status, b'')
        first = result.stdout.decode().splitlines()[0]
        assert re.match(r'%s:%s' % (temporary, r'\d+:\d+: ' if status else ' no problems: '), first)
    assert installed.run_cli('policy', 'check').returncode == 2, 'what is in force stays until it is replaced'


def test_a_rule_whose_id_is_taken_is_told(installed, site):
    """As by an upgrade, whose rule of that id narrows what a site's own rule has always found."""
    new = 'title: t, action: deny, match: /domain/name, why: w, remedy: r'
    changes = '{id: tcg, %s}, {id: guest-os-macos, action: warn, title: t, why: w, remedy: r}' % new
    site(_10_site='rules: [%s,\n  {id: guest-os-windows, %s}]\n' % (changes, new))
    place = "%s/10-site.yaml:2: rule 'guest-os-windows' looks new, but changes the one in " % (
        installed.policy.with_suffix('.d')
    )
    lines = [line for line in installed.run_cli('policy', 'check').stdout.decode().splitlines() if 'looks new' in line]
    assert len(lines) == 1
    assert lines[0].startswith('note: ' + place)
    assert re.search(r'/profiles/rhel-8\.yaml:\d+ and keeps its values$', lines[0])


def test_policy_check_reports_the_problems_of_every_file(installed, site):
    site(_10_site='deadlin: 2\n', _20_site=waiver(day(401)))
    result = installed.run_cli('policy', 'check')
    assert result.returncode == 2
    directory = installed.policy.with_suffix('.d')
    assert result.stdout.decode().splitlines() == [
        "%s/10-site.yaml:1:1: the policy has an unknown key 'deadlin' (did you mean 'deadline'?)" % directory,
        '%s/20-site.yaml:6:14: expires is more than 400 days ahead (until %s at the latest; renew it then)'
        % (directory, day(400)),
    ]


def test_policy_show(installed, site):
    site(_10_site='mode: audit\n' + waiver(day(5)))
    result = installed.run_cli('policy', 'show')
    assert (result.returncode, result.stderr) == (0, b'')
    lines = result.stdout.decode().splitlines()
    directory = installed.policy.with_suffix('.d')
    assert 'mode: audit                               # %s/10-site.yaml:1' % directory in lines
    assert '  - rules:                                # %s/10-site.yaml:3' % directory in lines


def test_check_shows_what_is_waived(installed, site, tmp_path):
    site(_10_site=waiver(day(100)))
    (tmp_path / 'guest.xml').write_bytes(DENIED)
    (tmp_path / 'facts').write_text(FACTS)
    arguments = ['check', '--facts', str(tmp_path / 'facts'), str(tmp_path / 'guest.xml')]
    result = installed.run_cli(*arguments)
    assert result.returncode == 0
    lines = result.stdout.decode().splitlines()
    assert lines[0].startswith('%s/guest.xml:16: waived [tpm-passthrough] TPM passthrough: ' % tmp_path)
    assert lines[1:] == [
        '    waived: approved by operations until %s, OPS-1: until the vTPM is there' % day(100),
        '1 domain: 1 admitted',
    ]
    (document,) = [json.loads(line) for line in installed.run_cli(*arguments, '--format', 'jsonl').stdout.splitlines()]
    assert document['decision'] == 'admit'
    assert document['findings'][0]['status'] == 'waived'
    assert document['findings'][0]['waiver'] == {
        'reason': 'until the vTPM is there',
        'approved-by': 'operations',
        'expires': day(100),
        'ticket': 'OPS-1',
        'defined': '%s/10-site.yaml:2' % installed.policy.with_suffix('.d'),
    }


def test_scan_tells_of_waivers_that_permit_nothing(installed, site):
    site(
        _10_site=waiver(day(100)),
        _20_site=waiver(day(100), domains='other'),
        _30_off=waiver(day(100), rules='container-host'),
        _40_runtime=waiver(day(100), rules='live-snapshot'),
    )
    directory = installed.root / 'etc/libvirt/qemu'
    directory.mkdir()
    try:
        (directory / 'guest.xml').write_bytes(DENIED)
        (installed.root / 'facts').write_text(FACTS)
        result = installed.run_cli('scan', '--facts', str(installed.root / 'facts'))
    finally:
        (directory / 'guest.xml').unlink()
        directory.rmdir()
    assert result.returncode == 0
    text = (
        '%s/%%s.yaml:2: the waiver of %%s permits nothing: no domain on this host has such a finding'
        % installed.policy.with_suffix('.d')
    )
    assert result.stderr.decode().splitlines() == [
        text % ('20-site', 'tpm-passthrough'),
        text % ('30-off', 'container-host'),
    ]


def test_thousands_of_waivers_are_counted_in_a_few_lines(installed, site):
    """As a list of who may do what that was made by a program."""
    one = '- {rules: [tpm-passthrough], domains: [vm%d], reason: r, approved-by: me, expires: %s}\n'
    site(_10_site='waivers:\n' + ''.join(one % (number, day(5)) for number in range(1000)))
    told = installed.run_cli('policy', 'check').stdout.decode().splitlines()
    assert len([line for line in told if ' names domains by name (vm' in line]) == 16
    assert told[-2:] == [
        'note: further waivers that expire soon: 984',
        'note: further waivers that name domains by name: 984',
    ]
    directory = installed.root / 'etc/libvirt/qemu'
    directory.mkdir()
    try:
        (directory / 'guest.xml').write_bytes(CLEAN)
        (installed.root / 'facts').write_text(FACTS)
        scanned = installed.run_cli('scan', '--facts', str(installed.root / 'facts'))
    finally:
        (directory / 'guest.xml').unlink()
        directory.rmdir()
    lines = scanned.stderr.decode().splitlines()
    assert len([line for line in lines if ' permits nothing: ' in line]) == 16
    assert 'further waivers that permit nothing: 984' in lines


@pytest.mark.parametrize('text', ['', '# rules:\n#   - id: virtiofs\n', 'rules: []\n', 'waivers:\n'])
def test_a_drop_in_that_says_nothing_refuses_nothing_and_is_told(installed, site, text):
    site(_50_site=text)
    for document, status in ((CLEAN, 0), (DENIED, 1)):
        assert installed.run_hook('guest', 'prepare', document).returncode == status
        assert installed.run_cli('check', '-', input=document).returncode == status
    check = installed.run_cli('policy', 'check')
    note = 'note: %s/50-site.yaml has no effect' % installed.policy.with_suffix('.d')
    assert (check.returncode, check.stdout.decode().count(note), check.stdout.decode().count('has no effect')) == (
        0,
        1,
        1,
    )


ELSEWHERE = '00000000-0000-4000-8000-000000000001'


def waiver_of(domains):
    text = waiver(day(100), domains='DOMAINS')
    assert '["DOMAINS"]' in text
    return text.replace('["DOMAINS"]', '[%s]' % domains)


@pytest.mark.parametrize('command', [['scan'], ['scan', '--next-boot'], ['check']])
def test_a_waiver_for_uuids_of_unknown_domains_is_told(installed, site, command):
    """A state is a domain, too: one without a definition runs with a UUID of its own."""
    transient = '00000000-0000-4000-8000-000000000002'
    both = '{uuid: %s, name: x}'
    site(
        _10_site=waiver_of(UUID.upper()),
        _20_site=waiver_of(both % UUID),
        _30_site=waiver_of(ELSEWHERE),
        _40_site=waiver_of('%s, %s, x' % (both % ELSEWHERE, transient)),
    )
    definitions, states = installed.root / 'etc/libvirt/qemu', installed.root / 'run/libvirt/qemu'
    definitions.mkdir()
    states.mkdir(parents=True)
    (installed.root / 'facts').write_text(FACTS)
    try:
        (definitions / 'guest.xml').write_bytes(DENIED)
        assert DENIED.count(UUID.encode()) == 1
        state = "<domstatus><domain type='kvm'><name>t</name><uuid>%s</uuid></domain></domstatus>" % transient
        (states / 't.xml').write_text(state)
        paths = [str(definitions)] if command == ['check'] else []
        result = installed.run_cli(*command, '--facts', str(installed.root / 'facts'), *paths)
        (states / 't.xml').unlink()
        elsewhere = installed.root / 'copy.xml'
        elsewhere.write_bytes(DENIED)
        other = installed.run_cli('check', '--facts', str(installed.root / 'facts'), str(elsewhere))
    finally:
        (definitions / 'guest.xml').unlink()
        definitions.rmdir()
        states.rmdir()
    directory = installed.policy.with_suffix('.d')
    text = '%s/%%s.yaml:2: the waiver of tpm-passthrough names a UUID that no domain on this host has: %s' % (
        directory,
        ELSEWHERE,
    )
    told = [line for line in result.stderr.decode().splitlines() if 'UUID' in line]
    assert told == [text % '30-site', text % '40-site']
    assert b'UUID' not in other.stderr


def test_a_waiver_by_both_is_in_force(installed, site):
    assert DENIED.count(UUID.encode()) == 1
    for domains, status in (
        ('{uuid: %s, name: "g*t"}' % UUID, 0),
        ('{uuid: %s, name: another}' % UUID, 1),
        ('{uuid: %s, name: "*"}' % ELSEWHERE, 1),
    ):
        site(_10_site=waiver_of(domains))
        assert installed.run_hook('guest', 'prepare', DENIED).returncode == status, domains
