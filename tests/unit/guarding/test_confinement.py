# SPDX-License-Identifier: Apache-2.0
"""Which security domains the hook will be run from, of trees that look like hosts, and what the installer is told.

The trees stand for kernels; tests/host asks a real one about AppArmor. SELinux answers as in selinux_host.
"""

import io
import subprocess
import sys

import pytest
from support.paths import LIB
from virtguard.guarding import confinement
from virtguard.guarding.host_files import DIRECTORY, LINK, MISSING, OTHER, FileTree
from virtguard.guarding.selinux import Kernel

from .selinux_host import LABELS_9, LABELS_10, SELinuxHost, allows_virtqemud, unconfined_virtd

OWN_NAMESPACE = 'pid:[4026531836]'
PROFILES = (
    'libvirtd (enforce)\nlibvirtd//qemu_bridge_helper (enforce)\nvirt-aa-helper (enforce)\n'
    'virtiofsd (unconfined)\nlsb_release (enforce)\n'
)


class Host:
    def __init__(self, root):
        self.root = root
        self.link('/proc/self/ns/pid', OWN_NAMESPACE)
        self.link('/proc/self/root', root)

    def write(self, path, text=''):
        file = self.root / path.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    def link(self, path, target):
        link = self.root / path.lstrip('/')
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def apparmor(self, profiles=PROFILES, enabled='Y'):
        self.write('/sys/module/apparmor/parameters/enabled', enabled + '\n')
        if profiles is not None:
            self.write('/sys/kernel/security/apparmor/profiles', profiles)

    def process(self, number, name, program=None, namespace=OWN_NAMESPACE, root=None, uid=0, **attributes):
        process = '/proc/%d/' % number
        self.write(process + 'comm', name + '\n')
        self.write(process + 'status', 'Name:\t%s\nUid:\t%d\t%d\t0\t0\nGid:\t0\n' % (name, uid, uid))
        self.link(process + 'exe', program or '/usr/sbin/' + name)
        self.link(process + 'ns/pid', namespace)
        self.link(process + 'root', root or self.root)
        for attribute, text in attributes.items():
            self.write(process + 'attr/' + attribute.replace('_', '/'), text)

    def ask(self, *arguments):
        stdout = io.StringIO()
        status = confinement.main(list(arguments), stdout, str(self.root))
        return status, stdout.getvalue().splitlines()

    def domains(self):
        status, lines = self.ask('domains')
        assert status == 0
        return lines


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


# AppArmor


def test_a_daemon_that_runs_confined(host):
    host.apparmor()
    host.process(381, 'libvirtd', apparmor_current='libvirtd (enforce)\n', current='something else\n')
    assert host.domains() == ['apparmor libvirtd libvirtd']


@pytest.mark.parametrize('mode', ['enforce', 'complain', 'kill', 'prompt'])
def test_a_profile_is_named_whatever_its_mode(host, mode):
    host.apparmor()
    host.process(381, 'virtqemud', current='/usr/sbin/{virt,}q d (%s)\n' % mode)  # Linux before 5.8
    assert host.domains() == ['apparmor virtqemud /usr/sbin/{virt,}q d']


def test_both_daemons(host):
    host.apparmor('virtqemud (enforce)\n' + PROFILES)
    host.process(381, 'libvirtd', apparmor_current='libvirtd (enforce)\n')
    host.process(382, 'libvirtd', apparmor_current='libvirtd (enforce)\n')  # it forks for its capabilities
    host.process(383, 'virtqemud', program='/usr/sbin/virtqemud (deleted)', apparmor_current='virtqemud (complain)\n')
    assert host.domains() == ['apparmor virtqemud virtqemud', 'apparmor libvirtd libvirtd']


@pytest.mark.parametrize('label', ['unconfined\n', 'libvirtd (unconfined)\n'])
def test_a_daemon_that_runs_unconfined(host, label):
    """Its next start will be confined where the kernel has a profile for it by now."""
    host.apparmor('lsb_release (enforce)\n')
    host.process(381, 'libvirtd', apparmor_current=label)
    assert host.domains() == []
    host.apparmor()
    assert host.domains() == ['apparmor not-running libvirtd']


@pytest.mark.parametrize(
    'profiles, expected',
    [
        (PROFILES, ['libvirtd']),
        ('/usr/sbin/libvirtd (complain)\nvirtqemud (enforce)\n', ['/usr/sbin/libvirtd', 'virtqemud']),
        ('libvirtd (unconfined)\nlibvirtd-old (enforce)\n', []),
        ('', []),
    ],
)
def test_where_no_daemon_runs(host, profiles, expected):
    host.apparmor(profiles)
    host.process(10, 'sshd', apparmor_current='libvirtd (enforce)\n')
    assert host.domains() == ['apparmor not-running ' + name for name in expected]


def test_only_the_daemon_that_runs_is_told(host):
    """A host has one or the other."""
    host.apparmor('virtqemud (enforce)\n' + PROFILES)
    host.process(381, 'libvirtd', apparmor_current='libvirtd (enforce)\n')
    assert host.domains() == ['apparmor libvirtd libvirtd']


def test_what_cannot_be_read_is_not_known(host):
    host.apparmor(None)
    assert host.domains() == ['apparmor unknown -']
    host.process(381, 'libvirtd', apparmor_current='libvirtd (enforce)\n')
    assert host.domains() == ['apparmor libvirtd libvirtd']


def test_where_apparmor_is_off(host):
    assert host.domains() == []
    host.apparmor(enabled='N')
    host.process(381, 'libvirtd', current='libvirtd (enforce)\n')
    assert host.domains() == []


@pytest.mark.parametrize(
    'other',
    [
        {'namespace': 'pid:[4026532000]'},
        {'root': '/proc'},  # any directory but this host's
        {'uid': 1000},
        {'program': '/usr/bin/bash'},
        {'program': '/opt/other/libvirtd-wrapper'},
    ],
    ids=lambda other: next(iter(other)),
)
def test_daemons_of_others_are_not_looked_at(host, other):
    host.apparmor()
    host.process(381, 'libvirtd', apparmor_current='docker-default (enforce)\n', **other)
    assert host.domains() == ['apparmor not-running libvirtd']


def test_a_process_that_has_ended_meanwhile(host):
    host.apparmor()
    host.write('/proc/381/comm', 'libvirtd\n')
    host.write('/proc/382/stat')
    assert host.domains() == ['apparmor not-running libvirtd']


# SELinux


@pytest.fixture
def rhel_10(tmp_path):
    return SELinuxHost(tmp_path, LABELS_10, allows_virtqemud)


def find(host):
    return confinement.find_domains(host.tree, host)


def test_a_daemon_in_its_context(rhel_10):
    context = 'system_u:system_r:virtqemud_t:s0-s0:c0.c1023'
    rhel_10.process(700, 'virtqemud', context)
    assert find(rhel_10) == [('selinux', 'virtqemud', context)]
    rhel_10.process(701, 'libvirtd', 'system_u:system_r:virtd_t:s0', namespace='pid:[2]')
    assert find(rhel_10) == [('selinux', 'virtqemud', context)]


def test_the_context_that_it_would_be_started_in(rhel_10):
    rhel_10.write('/usr/sbin/virtqemud')
    rhel_10.write('/usr/sbin/libvirtd')
    rhel_10.transitions = {('init_t', 'virtqemud_exec_t'): 'virtqemud_t', ('init_t', 'virtd_exec_t'): 'virtd_t'}
    assert find(rhel_10) == [
        ('selinux', 'virtqemud', 'system_u:system_r:virtqemud_t:s0'),
        ('selinux', 'libvirtd', 'system_u:system_r:virtd_t:s0'),
    ]


def test_both_daemons_have_the_same_type_on_rhel_9(tmp_path):
    host = SELinuxHost(tmp_path, LABELS_9, unconfined_virtd)
    host.write('/usr/bin/virtqemud')
    host.link('/usr/sbin', 'bin')  # merged, as Fedora 42 has it
    host.labels = ((r'/usr/bin/virtqemud', 'virtd_exec_t'), *LABELS_9)
    host.transitions = {('init_t', 'virtd_exec_t'): 'virtd_t'}
    assert find(host) == [('selinux', 'virtqemud', 'system_u:system_r:virtd_t:s0')]


def test_where_nothing_is_installed_or_can_be_asked(rhel_10, tmp_path):
    assert find(rhel_10) == []
    rhel_10.write('/usr/sbin/virtqemud')
    assert confinement.find_domains(rhel_10.tree, Kernel(rhel_10.tree)) == [('selinux', 'unknown', '-')]
    (tmp_path / 'sys/fs/selinux/enforce').unlink()
    assert find(rhel_10) == []


# What the installer is told


def test_profile_allows(host):
    host.apparmor()
    host.write('/etc/apparmor.d/usr.sbin.libvirtd', 'profile libvirtd {\n /usr/{s,}bin/* PUx,\n /opt/a Px,\n}\n')
    host.link('/etc/libvirt/hooks/qemu', '/usr/sbin/virt-guard-hook')
    host.link('/old', '/usr/libexec/virt-guard/qemu')
    host.link('/bin', 'usr/bin')
    ask = 'profile-allows', 'libvirtd'
    # What a link leads to is judged, whether it is there or not; and so is what leads to the directory.
    assert host.ask(*ask, '/etc/libvirt/hooks/qemu', '/bin/a b') == (
        0,
        ['yes PUx /etc/libvirt/hooks/qemu', 'yes PUx /bin/a b'],
    )
    assert host.ask(*ask, '/bin/sh', '/old', '/opt/a') == (
        1,
        ['yes PUx /bin/sh', 'no - /old', 'unknown - /opt/a: it needs a profile of its own (Px)'],
    )
    assert host.ask(*ask, '/opt/a')[0] == 2
    assert host.ask('profile-allows', 'virtqemud', '/bin/sh') == (
        2,
        ['unknown - /bin/sh: no file in /etc/apparmor.d declares the profile virtqemud'],
    )


def test_a_profile_in_complain_mode_refuses_nothing(host):
    host.write('/etc/apparmor.d/usr.sbin.libvirtd', 'profile libvirtd flags=(audit, complain) {\n}\n')
    assert host.ask('profile-allows', 'libvirtd', '/bin/sh') == (0, ['yes complain /bin/sh'])
    host.apparmor()  # the kernel's word counts before that of the text
    assert host.ask('profile-allows', 'libvirtd', '/bin/sh') == (1, ['no - /bin/sh'])
    host.apparmor('libvirtd (complain)\n')
    assert host.ask('profile-allows', 'libvirtd', '/bin/sh') == (0, ['yes complain /bin/sh'])


@pytest.mark.parametrize(
    'permissive, refused, status',
    [(False, 'refused', 1), (True, 'note', 0)],
)
def test_selinux_refusals(rhel_10, monkeypatch, permissive, refused, status):
    monkeypatch.setattr(confinement, 'Kernel', lambda tree: rhel_10)
    rhel_10.is_permissive_domain = permissive
    rhel_10.link('/etc/libvirt/hooks/x', '/usr/sbin/virt-guard-hook')
    for path in ('/usr/sbin/virt-guard-hook', '/usr/bin/bash', '/usr/lib/virt-guard/a.py', '/root/p y', '/etc/v/a'):
        rhel_10.write(path)
    # In any order, several policies, and names with spaces and equals signs.
    rhel_10.write('/etc/v/b=c')
    arguments = (
        'policy=/etc/v/a',
        'policy=/etc/v/b=c',
        'journal=/run/systemd/journal/socket',
        'interpreter=/root/p y',
        'sh=/usr/bin/bash',
        'package=/usr/lib/virt-guard',
        'program=/usr/sbin/virt-guard-hook',
        'hook=/etc/libvirt/hooks/x',
    )
    context = 'system_u:system_r:virtqemud_t:s0'
    answer = Host.ask(rhel_10, 'selinux-refusals', context, *arguments)
    assert (answer[0], len(answer[1])) == (status, 1)
    assert answer[1][0].startswith(
        '%s interpreter /root/p y (admin_home_t): virtqemud_t may not execute, execute_no_trans; ' % refused
    )
    # What is certain counts, also where the rest is not.
    answer = Host.ask(rhel_10, 'selinux-refusals', context, *arguments, 'package=/none')
    assert (answer[0], answer[1][0]) == (status or 2, 'unknown /none is missing')


def test_selinux_refusals_where_it_is_off(host):
    assert host.ask('selinux-refusals', 'a:b:c_t', 'program=/bin/sh') == (
        2,
        ['unknown SELinux is off, or selinuxfs is not mounted'],
    )


@pytest.mark.parametrize(
    'arguments', [[], ['domain'], ['domains', 'x'], ['profile-allows', 'x'], ['selinux-refusals', 'a:b:c', 'x=/bin/sh']]
)
def test_other_questions_are_mistakes(host, arguments):
    host.write('/sys/fs/selinux/enforce', '1')
    with pytest.raises(ValueError, match='confinement: unknown'):
        host.ask(*arguments)


def test_as_the_installer_asks(tmp_path):
    """In another process and locale, about this machine: whatever it is, there is an answer."""
    program = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); from virtguard.guarding import confinement; '
        'sys.exit(confinement.main(sys.argv[1:], sys.stdout))'
    )

    def ask(*arguments):
        command = [sys.executable, '-I', '-B', '-c', program, str(LIB), *arguments]
        result = subprocess.run(command, env={'LC_ALL': 'C'}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.stderr == b''
        return result.returncode, result.stdout

    status, lines = ask('domains')
    assert status == 0
    assert {line.split(b' ')[0] for line in lines.splitlines()} <= {b'apparmor', b'selinux'}
    status, lines = ask('profile-allows', 'virt-guard has no such profile', '/bin/\u00e4\n')
    assert status == 2
    assert lines.startswith(b'unknown - /bin/')


# Paths


def test_every_link_on_the_way_of_a_path_is_named(tmp_path):
    host = Host(tmp_path)
    host.write('/usr/bin/python3.11')
    host.link('/usr/bin/python3', 'python3.11')
    host.link('/usr/bin/python', '/etc/alternatives/python')
    host.link('/etc/alternatives/python', '/bin/../bin/./python3')
    host.link('/bin', 'usr/bin/')
    tree = FileTree(str(tmp_path))
    assert tree.route('/bin/python3') == [
        ('/', DIRECTORY),
        ('/bin', LINK),
        ('/usr', DIRECTORY),
        ('/usr/bin', DIRECTORY),
        ('/usr/bin/python3', LINK),
        ('/usr/bin/python3.11', OTHER),
    ]
    assert tree.resolve('/usr/bin/python') == '/usr/bin/python3.11'
    assert tree.route('/bin')[-1] == tree.route('/usr//bin/.')[-1] == ('/usr/bin', DIRECTORY)
    assert tree.route('/none/x')[-1] == ('/none/x', MISSING)
    assert [tree.resolve(path) for path in ('/', '/..', '/bin/..', '/bin/../../..')] == ['/', '/', '/usr', '/']
