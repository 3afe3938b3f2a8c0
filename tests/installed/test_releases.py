# SPDX-License-Identifier: Apache-2.0
"""A rule for some releases of a vendor: the hook, compiled or not, and what the command says of it."""

import json
import shutil
import subprocess

import pytest
from installation import CLEAN, domain_xml
from support.capabilities import need_mount_namespaces

POLICY = """\
policy: releases
rules:
  - id: early
    title: an emulator before RHEL 9.4
    action: deny
    match: /domain/devices/emulator
    host: {os: {from: rhel-9.0, before: rhel-9.4}}
    why: w
    remedy: r
"""
ALMALINUX = 'NAME="AlmaLinux"\nVERSION="%s"\nID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="%s"\n'
HOSTS = [
    ('ID="rhel"\nVERSION_ID="9.0"\n', 1),
    ('ID="rhel"\nVERSION_ID="9.4"\n', 0),
    ('ID="rhel"\nVERSION_ID="9.10"\n', 0),
    (ALMALINUX % ('9.3', '9.3'), 1),
    ('ID="anew"\nID_LIKE="rhel"\nVERSION_ID="9.3"\n', 1),  # known to nobody, but says what it is built of
    ('ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n', 0),
    ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n', 0),
    ('ID=rhel\n', 0),  # the host cannot tell, which never denies
]


@pytest.fixture
def policy(installed):
    with installed.with_policy(POLICY):
        yield installed.policy


def test_the_hook_knows_whose_release_its_host_is(installed, policy, tmp_path):
    need_mount_namespaces()
    path = tmp_path / 'os-release'
    command = ['unshare', '--mount', 'sh', '-c', 'mount --bind %s /etc/os-release && exec "$@"' % path, 'sh']
    compiled = policy.with_suffix('.compiled')
    assert installed.run_cli('policy', 'compile').returncode == 0
    for _ in range(2):
        found = []
        for text, _ in HOSTS:
            path.write_text(text)
            call = [*command, str(installed.hook), 'guest', 'prepare', 'begin', '-']
            result = subprocess.run(call, input=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            assert (b'[early] an emulator before RHEL 9.4' in result.stderr) == bool(result.returncode), result.stderr
            found.append((text, result.returncode))
        assert found == HOSTS
        if compiled.exists():
            compiled.unlink()


@pytest.mark.parametrize(
    'os, finding',
    [
        ('rhel-9.3', 'deny [early] an emulator before RHEL 9.4'),
        ('rocky-9.0', 'deny [early] an emulator before RHEL 9.4'),
        ('rhel-9.10', ''),
        ('centos-9', ''),
        ('sles-15.4', ''),
        ('unknown', 'unknown [early] this host cannot tell: host os is unknown'),
        ('rhel', 'unknown [early] this host cannot tell: host os is rhel'),
    ],
)
def test_a_host_that_is_stated(installed, policy, tmp_path, os, finding):
    facts, domain = tmp_path / 'facts.yaml', tmp_path / 'domain.xml'
    facts.write_text('os: %s\n' % os)
    domain.write_bytes(CLEAN)
    result = installed.run_cli('check', '--facts', str(facts), str(domain))
    lines = [line for line in result.stdout.decode().splitlines() if '[early]' in line]
    told = [line.partition(': ')[2].partition(': <')[0] for line in lines]
    assert told == ([finding] if finding else [])
    assert result.returncode == finding.startswith('deny')


def test_cases_state_a_host(installed, policy, tmp_path):
    cases = tmp_path / 'cases' / 'early'
    cases.mkdir(parents=True)
    for name in ('fail.xml', 'pass.xml', 'unknown.xml'):
        (cases / name).write_bytes(CLEAN)
    text = (
        'fail.xml: {host: {os: ol-9.3}, findings: [{rule: early, status: deny}]}\n'
        'pass.xml: {host: {os: ol-9.%d}, findings: []}\n'
        'unknown.xml: {findings: [{rule: early, status: unknown}]}\n'
    )
    for minor, status, last in ((4, 0, '3 cases: all as expected'), (2, 1, '3 cases: 1 failure')):
        (cases / 'expected.yaml').write_text(text % minor)
        result = installed.run_cli('policy', 'test', '--policy', str(policy), str(cases.parent))
        assert (result.returncode, result.stdout.decode().splitlines()[-1]) == (status, last)


def test_what_is_said_of_a_range(installed, policy):
    explained = installed.run_cli('explain', 'early').stdout.decode()
    assert '\n  host       os is from rhel-9.0, before rhel-9.4\n' in explained
    (rule,) = installed.run_cli('rules', '--format', 'jsonl').stdout.splitlines()
    assert json.loads(rule)['host'] == {'os': {'from': 'rhel-9.0', 'before': 'rhel-9.4'}}
    shown = installed.run_cli('policy', 'show').stdout.decode()
    assert '    host: {os: {from: rhel-9.0, before: rhel-9.4}}  # %s:7\n' % policy in shown


def test_a_range_that_is_moved_changes_verdicts(installed, policy, tmp_path):
    facts, domain, new = (tmp_path / name for name in ('facts.yaml', 'domain.xml', 'new.yaml'))
    facts.write_text('os: rhel-9.3\n')
    domain.write_bytes(CLEAN)
    for before, expected in (
        ('9.2', ['admit', '%s:7 -> %s:7' % (policy, new)]),
        ('9.5', []),
    ):
        new.write_text(POLICY.replace('9.4', before))
        result = installed.run_cli('policy', 'diff', '--facts', str(facts), '--format', 'jsonl', policy, new, domain)
        changes = [json.loads(line) for line in result.stdout.splitlines()]
        causes = [cause for change in changes for item in change['changes'] for cause in item['causes']]
        told = [change['new'] for change in changes] + ['%(old)s -> %(new)s' % cause for cause in causes]
        assert (result.returncode, told) == (bool(expected), expected)
        assert {cause['what'] for cause in causes} <= {'host'}


@pytest.fixture
def domains(installed):
    """Two domains that are defined in the installation, of which one starts with the host."""
    directory = installed.root / 'etc/libvirt/qemu'
    (directory / 'autostart').mkdir(parents=True)
    for name in ('one', 'two'):
        (directory / (name + '.xml')).write_bytes(domain_xml(name))
    (directory / 'autostart/one.xml').symlink_to(directory / 'one.xml')
    yield directory
    shutil.rmtree(str(directory))


def test_what_an_upgrade_will_refuse(installed, policy, domains, tmp_path):
    facts = tmp_path / 'facts.yaml'
    facts.write_text('os: rhel-8.10\n')
    for options, finding in ((('--os', 'rhel-9.3'), 1), (('--os', 'rhel-9.4'), 0), ((), 0)):
        result = installed.run_cli('scan', '--next-boot', '--facts', facts, *options)
        assert (result.returncode, result.stdout.count(b'deny [early]')) == (finding, finding), result
        result = installed.run_cli('scan', '--facts', facts, *options)
        assert (result.returncode, result.stdout.count(b'deny [early]')) == (finding, 2 * finding)
        result = installed.run_cli('check', '--facts', facts, *options, domains / 'two.xml')
        assert (result.returncode, result.stdout.count(b'deny [early]')) == (finding, finding)
        result = installed.run_cli('policy', 'diff', '--facts', facts, *options, policy, policy)
        shown = [line.partition(': ')[2] for line in result.stdout.decode().splitlines()]
        assert (result.returncode, shown.count('admit -> deny ' + "'one'")) == (finding, finding)
        # The condition is the same, and the cause: the releases on its two sides are not.
        assert shown.count('%s:7' % policy) == 2 * finding


@pytest.mark.parametrize('release', ['rhel10.1', 'rhel', 'debian-12', 'rhel-rawhide', ''])
def test_a_release_that_nobody_can_count(installed, release):
    result = installed.run_cli('scan', '--os', release)
    assert result.returncode == 2
    assert b'is not a release that virt-guard can compare; write it like rhel-10.1' in result.stderr


def test_profiles_go_by_name(installed, domains, tmp_path):
    facts = tmp_path / 'facts.yaml'
    facts.write_text('arch: x86_64\ncontainer: none\nos: rhel-9.4\n')
    cirrus = "    <video><model type='cirrus'/></video>\n    <sound model='sb16'/>\n"
    (domains / 'one.xml').write_bytes(domain_xml('one', cirrus))
    options = ('--facts', facts, '--os', 'rhel-10.1')
    result = installed.run_cli('scan', '--policy', 'rhel-10', '--next-boot', *options)
    assert (result.returncode, result.stderr) == (1, b'')
    assert b'deny [removed-sound]' in result.stdout
    assert result.stdout.endswith(
        b'0 of 0 running domains would be refused at their next start; 1 of 1 that starts with the host\n'
    )
    result = installed.run_cli('policy', 'diff', *options, 'rhel-9', 'rhel-10')
    assert (result.returncode, result.stderr) == (1, b'')
    assert b'none -> deny [removed-sound]' in result.stdout
    assert result.stdout.splitlines()[-1].startswith(b'2 domains: 2 changed')
