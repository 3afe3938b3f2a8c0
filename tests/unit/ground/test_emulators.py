# SPDX-License-Identifier: Apache-2.0
"""Whose emulator a domain names: by the file, on the host itself, and by the name where the file is not."""

import os

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.emulator_file import foreign_emulator
from virtguard.emulators import is_foreign_name
from virtguard.host import Host
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.policy.compiler import prepare

ELF = b'\x7fELF\x02\x01\x01'
SCRIPT = b'#!/bin/sh\nexec /usr/libexec/qemu-kvm "$@" -S\n'
STORE = '/nix/store/' + 'a1' * 16


@pytest.mark.parametrize(
    'path',
    [
        '/usr/libexec/qemu-kvm',
        '/usr/bin/qemu-kvm',
        '/bin/qemu-kvm',
        '/usr/bin/kvm',
        '/usr/bin/kvm-spice',
        '/usr/bin/qemu-kvm-one',
        '/usr/bin/qemu-system-x86_64',
        '/usr/bin/qemu-system-x86_64-spice',
        '/usr/bin/qemu-system-x86_64-microvm',
        '/usr/bin/qemu-system-arm',
        '/usr/bin/qemu-system-ppc64le',
        '/usr/bin/qemu-system-riscv64',
        '/usr/bin/qemu-system-loongarch64',
        '/usr/lib64/qemu/qemu-system-s390x',
        '/usr/lib/xen-4.17/bin/qemu-system-i386',
        '/usr/libexec/qemu-system-i386',
        '/usr/bin/qemu',
        '/run/libvirt/nix-emulators/qemu-system-x86_64',
        '/run/current-system/sw/bin/qemu-kvm',
        STORE + '-qemu-9.1.2/bin/qemu-system-x86_64',
        STORE + '-qemu-host-cpu-only-8.2.0/bin/qemu-kvm',
    ],
)
def test_names_of_distributions(path):
    assert not is_foreign_name(path)


@pytest.mark.parametrize(
    'path',
    [
        '',
        'qemu-kvm',
        'usr/libexec/qemu-kvm',
        '/',
        '/qemu-kvm',
        '/usr/local/bin/qemu-kvm',
        '/usr/local/libexec/qemu-kvm',
        '/opt/qemu/bin/qemu-system-x86_64',
        '/opt/usr/bin/qemu-system-x86_64',
        '/home/lab/qemu-system-x86_64',
        '/usr/bin/qemu-kvm-wrapper',
        '/usr/bin/qemu-system-x86_64-wrapper',
        '/usr/bin/qemu-system-wrapper',
        '/usr/bin/my-qemu-kvm',
        '/usr/bin/qemu-system-x86_64\n',
        '/usr/bin/qemu-kvm ',
        ' /usr/bin/qemu-kvm',
        '/usr/bin/../local/bin/qemu-kvm',
        '/usr/bin/./qemu-kvm',
        '/usr/bin//qemu-kvm',
        '/usr/bin/',
        '/usr/libexecutables/qemu-kvm',
        '/usr/lib/xen/bin/qemu-dm',
        '/run/libvirt/other/qemu-kvm',
        '/nix/store/mine/bin/qemu-system-x86_64',
        STORE + '-wrapper-1.0/bin/qemu-system-x86_64',
    ],
)
def test_names_of_others(path):
    assert is_foreign_name(path)


class Tree:
    """Files below a directory that stands for /."""

    def __init__(self, root):
        self.root = root
        self.owner = os.geteuid()

    def write(self, path, content=ELF, mode=0o755):
        file = self.root / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)

    def link(self, path, target):
        link = self.root / path[1:]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def ask(self, path):
        return foreign_emulator(path, str(self.root), self.owner)


@pytest.fixture
def tree(tmp_path):
    old = os.umask(0o022)
    yield Tree(tmp_path)
    os.umask(old)


OWN = (False, '')


def test_a_program_in_a_system_directory(tree):
    for path in ('/usr/libexec/qemu-kvm', '/usr/bin/qemu-system-riscv64', '/usr/lib64/qemu/qemu-system-arm'):
        tree.write(path)
        assert tree.ask(path) == OWN


@pytest.mark.parametrize(
    'links', [{'/bin': 'usr/bin'}, {'/bin': '/usr/bin'}, {'/bin': 'lib/../usr/./bin', '/lib': 'usr'}]
)
def test_links_of_a_merged_usr(tree, links):
    tree.write('/usr/bin/qemu-kvm')
    for path, target in links.items():
        tree.link(path, target)
    assert tree.ask('/bin/qemu-kvm') == OWN


def test_links_to_the_distributions_own(tree):
    tree.write('/usr/bin/qemu-system-x86_64')
    tree.link('/usr/bin/kvm-spice', 'kvm')
    tree.link('/usr/bin/kvm', '/etc/alternatives/kvm')
    tree.link('/etc/alternatives/kvm', '/usr/bin/qemu-system-x86_64')
    tree.link('/usr/local/bin/any', '/usr/bin/kvm')
    assert tree.ask('/usr/bin/kvm-spice') == OWN
    assert tree.ask('/usr/local/bin/any') == OWN


def test_links_that_lead_out_of_the_system(tree):
    tree.write('/opt/qemu/bin/qemu-system-x86_64')
    tree.link('/usr/bin/qemu-kvm', '/opt/qemu/bin/qemu-system-x86_64')
    assert tree.ask('/usr/bin/qemu-kvm') == (
        True,
        '/opt/qemu/bin/qemu-system-x86_64 is not in a directory of the system',
    )


def test_a_ring_of_links(tree):
    tree.link('/usr/bin/kvm', 'qemu-kvm')
    tree.link('/usr/bin/qemu-kvm', 'kvm')
    assert tree.ask('/usr/bin/kvm') == (True, 'a ring of links')


@pytest.mark.parametrize('path', ['/opt/qemu-kvm', '/usr/local/bin/qemu-kvm', '/home/lab/qemu-kvm', '/usr/qemu-kvm'])
def test_a_build_of_ones_own(tree, path):
    tree.write(path)
    assert tree.ask(path) == (True, '%s is not in a directory of the system' % path)


def test_a_script_is_a_wrapper(tree):
    tree.write('/usr/bin/qemu-system-arm', SCRIPT)
    assert tree.ask('/usr/bin/qemu-system-arm') == (True, '/usr/bin/qemu-system-arm is a script')
    tree.write('/usr/bin/qemu-system-arm', b'')
    assert tree.ask('/usr/bin/qemu-system-arm') == (True, '/usr/bin/qemu-system-arm is a script')


@pytest.mark.parametrize('package', ['qemu-system-x86.list', 'qemu-kvm.list', 'kvm:amd64.list'])
@pytest.mark.parametrize('listed', ['/usr/bin/kvm-spice', '/bin/kvm-spice'])
def test_a_script_of_the_distribution(tree, package, listed):
    tree.write('/usr/bin/kvm-spice', SCRIPT)
    tree.write('/usr/bin/kvm', SCRIPT)
    tree.write('/var/lib/dpkg/info/' + package, ('/.\n/usr\n%s\n/usr/bin/kvm-other\n' % listed).encode())
    assert tree.ask('/usr/bin/kvm-spice') == OWN
    assert tree.ask('/usr/bin/kvm') == (True, '/usr/bin/kvm is a script')


def test_a_wrapper_in_a_store_that_nobody_can_change(tree):
    program = STORE + '-qemu-9.1.2/bin/qemu-system-x86_64'
    tree.write(program, SCRIPT, 0o555)
    (tree.root / 'nix/store').chmod(0o1775)
    tree.link('/run/libvirt/nix-emulators/qemu-system-x86_64', program)
    assert tree.ask('/run/libvirt/nix-emulators/qemu-system-x86_64') == OWN
    tree.write(STORE + '-my-wrapper-1/bin/qemu-system-x86_64', SCRIPT)
    assert tree.ask(STORE + '-my-wrapper-1/bin/qemu-system-x86_64')[0] is True


@pytest.mark.parametrize('path', ['/usr/bin/qemu-system-arm', '/usr/bin', '/usr'])
def test_what_others_may_write(tree, path):
    tree.write('/usr/bin/qemu-system-arm')
    (tree.root / path[1:]).chmod(0o757)
    assert tree.ask('/usr/bin/qemu-system-arm') == (True, 'others may write %s' % path)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
@pytest.mark.parametrize('path', ['/usr/bin/qemu-system-arm', '/usr/bin', '/srv/link'])
def test_what_belongs_to_others(tree, path):
    tree.write('/usr/bin/qemu-system-arm')
    tree.link('/srv/link', '/usr/bin/qemu-system-arm')
    os.chown(str(tree.root / path[1:]), 1000, 0, follow_symlinks=False)
    assert tree.ask('/srv/link') == (True, '%s belongs to user 1000' % path)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_a_group_that_may_write(tree):
    tree.write('/usr/bin/qemu-system-arm', mode=0o775)
    os.chown(str(tree.root / 'usr/bin/qemu-system-arm'), 0, 0)
    assert tree.ask('/usr/bin/qemu-system-arm') == OWN  # that of root
    os.chown(str(tree.root / 'usr/bin/qemu-system-arm'), 0, 100)
    assert tree.ask('/usr/bin/qemu-system-arm') == (True, 'others may write /usr/bin/qemu-system-arm')


def test_other_programs_and_no_programs(tree):
    tree.write('/usr/bin/python3')
    assert tree.ask('/usr/bin/python3') == (True, '/usr/bin/python3 does not have the name of an emulator')
    (tree.root / 'usr/bin/qemu-kvm').mkdir()
    assert tree.ask('/usr/bin/qemu-kvm') == (True, '/usr/bin/qemu-kvm is not a file')
    assert tree.ask('qemu-kvm') == (True, 'a relative path')


@pytest.mark.parametrize('path', ['/usr/bin/qemu-kvm', '/usr/bin/qemu-kvm/x', '/opt/qemu-kvm', '/' + 'x' * 5000, '/\0'])
def test_where_there_is_no_such_file_the_host_cannot_tell(tree, path):
    (tree.root / 'usr/bin').mkdir(parents=True)
    assert tree.ask(path) is None


def test_names_beyond_ascii(tree):
    tree.write('/usr/bin/émulateur')
    assert tree.ask('/usr/bin/émulateur') == (True, '/usr/bin/émulateur does not have the name of an emulator')


def test_the_host_answers(tmp_path):
    assert Host(str(tmp_path)).probe('foreign-emulator', '/usr/bin/qemu-kvm') is None


SHIPPED_FILE = CHECKOUT / 'data/profiles/rhel-8.yaml'
SHIPPED = load_policy(SHIPPED_FILE.read_bytes(), 'policy.yaml')
BASE = (CHECKOUT / 'tests/cases/base-x86_64.xml').read_text(encoding='utf-8')
NO_ANSWER = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)


@pytest.mark.parametrize(
    'path', ['/usr/libexec/qemu-kvm', '/usr/bin/qemu-kvm', '/usr/bin/kvm', '/usr/bin/qemu-system-s390x']
)
def test_usual_names_take_the_fast_way(path):
    xml = BASE.replace('>/usr/libexec/qemu-kvm<', '>%s<' % path).encode()
    verdict, candidates = CompiledPolicy(prepare(SHIPPED)).judge(xml, NO_ANSWER, '2026-11-28')
    assert verdict is not None and candidates == []


def test_a_domain_with_a_directory_for_temporary_files_is_admitted():
    """The appliance of libguestfs, but for what it does not say of its system."""
    namespace = 'http://libvirt.org/schemas/domain/qemu/1.0'
    uri = "<qemu:commandline xmlns:qemu='" + namespace + "'><qemu:env name='%s' value='/var/tmp'/>"
    for name, admitted in (('TMPDIR', True), ('TMP', True), ('TEMP', True), ('TMPDIR2', False), ('tmpdir', False)):
        xml = BASE.replace('</domain>', uri % name + '</qemu:commandline></domain>').encode()
        verdict, candidates = CompiledPolicy(prepare(SHIPPED)).judge(xml, NO_ANSWER, '2026-11-28')
        assert (verdict.decision == model.ADMIT) == admitted and candidates == [], name
        found = Judge(SHIPPED, NO_ANSWER, '2026-11-27').judge(xml).findings
        assert ('qemu-command-line' in [finding.rule.id for finding in found]) == (not admitted), name


def test_a_waiver_of_the_emulator_does_not_permit_what_other_rules_deny():
    waiver = model.Waiver(('emulator-unknown',), ('*',), 'r', 'a', '2027-01-01')
    waived = load_policy(SHIPPED_FILE.read_bytes(), 'policy.yaml')
    waived.waivers = (waiver,)
    argument = "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-S'/>"
    xml = BASE.replace('>/usr/libexec/qemu-kvm<', '>/opt/qemu-kvm<')
    for text, status in ((xml, 'admit'), (xml.replace('</domain>', argument + '</qemu:commandline></domain>'), 'deny')):
        verdict = Judge(waived, NO_ANSWER, '2026-11-27').judge(text.encode())
        assert verdict.decision == status
        assert [f.rule.id for f in verdict.findings if f.status == 'waived'] == ['emulator-unknown']


# What becomes of the answers

RULE = model.Rule('emulator-unknown', 'T', 'deny', 'w', 'r', match='/domain/devices/emulator', probe='foreign-emulator')
POLICY = model.Policy('p', 'enforce', 'deny', 5.0, False, (RULE,), '', '')
XML = '<domain type="kvm"><name>a</name><devices><emulator>%s</emulator></devices></domain>'


@pytest.mark.parametrize(
    'path, answered, found',
    [
        ('/usr/bin/kvm', (False, ''), []),
        ('/opt/kvm', (False, ''), []),
        ('/usr/bin/kvm', (True, 'why'), [('deny', 'T (why)')]),
        ('/usr/bin/kvm', True, [('deny', 'T')]),
        ('/usr/bin/kvm', None, []),
        ('/opt/kvm', None, [('deny', 'T (by its name; the file is not here to be looked at)')]),
    ],
)
def test_where_the_host_cannot_tell_the_name_decides(path, answered, found):
    host = model.HostFacts('x86_64', 'none', None, lambda name, subject: answered)
    verdict = evaluate(POLICY, parse_domain((XML % path).encode()), host, '2026-11-27')
    assert [(f.status, f.message) for f in verdict.findings] == found
