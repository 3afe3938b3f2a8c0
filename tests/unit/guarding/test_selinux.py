# SPDX-License-Identifier: Apache-2.0
"""What SELinux refuses a daemon, by recorded answers (see selinux_host); nothing here was asked of RHEL.

And how the kernel is asked: its files in a tree, and a terminal in the place of the two that answer what is written to
them. Not played are the kernel's own checks: of the caller's right to ask, and of a context's validity. The same code
was run once on a kernel with SELinux (Debian 12, its default policy): what was refused at exec(2) of six programs as
virtd_t is what it had answered.
"""

import os
import pty
import re
import threading
import tty

import pytest
from virtguard.guarding.host_files import FileTree
from virtguard.guarding.selinux import EXAMINERS, Examination, Kernel, SELinuxError, type_of

from .selinux_host import LABELS_9, LABELS_10, PERMISSIONS, SELinuxHost, allows_virtqemud, unconfined_virtd

VIRTQEMUD = 'system_u:system_r:virtqemud_t:s0-s0:c0.c1023'
VIRTD = 'system_u:system_r:virtd_t:s0-s0:c0.c1023'
SYSLOGD = 'system_u:system_r:syslogd_t:s0'
PROGRAM = '/usr/sbin/virt-guard-hook'

# What each release labels what the daemon executes and reads, which decides where things may lie.
LABELS = {
    PROGRAM: ('bin_t', 'bin_t'),
    '/usr/bin/bash': ('shell_exec_t', 'shell_exec_t'),
    '/usr/libexec/platform-python3.6': ('bin_t', 'bin_t'),
    '/usr/bin/python3.12': ('bin_t', 'bin_t'),
    '/usr/bin/timeout': ('bin_t', 'bin_t'),
    '/usr/bin/logger': ('bin_t', 'bin_t'),
    '/usr/bin/virt-guard': ('bin_t', 'bin_t'),
    '/usr/local/bin/python3': ('bin_t', 'bin_t'),
    '/opt/python/bin/python3': ('bin_t', 'bin_t'),
    '/usr/lib/virt-guard/tree-1/virtguard/hook/call.py': ('lib_t', 'lib_t'),
    '/usr/lib64/python3.12/site.py': ('lib_t', 'lib_t'),
    '/etc/virt-guard/policy.yaml': ('etc_t', 'etc_t'),
    '/etc/libvirt/hooks/qemu': ('virt_etc_rw_t', 'virt_hook_t'),
    '/etc/libvirt/hooks/qemu.d/00-virt-guard': ('virt_etc_rw_t', 'virt_hook_t'),
    '/root/python/bin/python3': ('admin_home_t', 'admin_home_t'),
    '/var/lib/python/bin/python3': ('var_lib_t', 'var_lib_t'),
}
RELEASES = {'8 and 9': LABELS_9, '10': LABELS_10}
EXECUTABLE_TYPES = {'bin_t', 'shell_exec_t'}


def lay_out(host):
    """What install.sh makes, and what is on the host from the beginning."""
    host.write(PROGRAM)
    host.write('/usr/bin/bash')
    host.link('/usr/bin/sh', 'bash')
    host.link('/bin', 'usr/bin')
    host.write('/usr/bin/python3.12')
    host.link('/usr/bin/python3', 'python3.12')
    host.write('/usr/lib/virt-guard/tree-1/virtguard/hook/call.py')
    host.write('/usr/lib/virt-guard/tree-1/virtguard/hook/__pycache__/call.pyc')
    host.write('/etc/virt-guard/policy.yaml')
    host.write('/etc/virt-guard/policy.d/10-site.yaml')
    host.link('/etc/libvirt/hooks/.virt-guard-check', PROGRAM)
    host.write('/run/systemd/journal/socket')
    host.process(1, 'systemd', 'system_u:system_r:init_t:s0')
    host.process(50, 'systemd-journal', SYSLOGD)
    host.process(51, 'systemd-journal', 'system_u:system_r:container_t:s0', namespace='pid:[2]')


@pytest.fixture
def rhel_10(tmp_path):
    host = SELinuxHost(tmp_path, LABELS_10, allows_virtqemud)
    lay_out(host)
    return host


@pytest.fixture
def rhel_9(tmp_path):
    host = SELinuxHost(tmp_path, LABELS_9, unconfined_virtd)
    lay_out(host)
    return host


def examine(host, context=VIRTQEMUD, **changed):
    paths = {
        'hook': '/etc/libvirt/hooks/.virt-guard-check',
        'program': PROGRAM,
        'sh': '/bin/sh',
        'interpreter': '/usr/bin/python3',
        'package': '/usr/lib/virt-guard/tree-1',
        'policy': '/etc/virt-guard',
        'journal': '/run/systemd/journal/socket',
    }
    paths.update(changed)
    examination = Examination(host.tree, host, context)
    for what in EXAMINERS:
        examination.examine(what, paths[what])
    return [str(refusal) for refusal in examination.refusals]


@pytest.mark.parametrize('path', sorted(LABELS))
def test_the_labels_are_those_of_the_table(tmp_path, path):
    hosts = [SELinuxHost(tmp_path / name, labels, unconfined_virtd) for name, labels in RELEASES.items()]
    assert tuple(type_of(host.label(path)) for host in hosts) == LABELS[path]


def test_what_is_executed_has_a_type_that_can_be():
    """The link's own label does not matter, that of what it leads to does: for the old program it was bin_t, too."""
    executed = [path for path in LABELS if re.match(r'/usr/s?bin/|/usr/libexec/', path)]
    assert len(executed) == 7
    assert {label for path in executed for label in LABELS[path]} <= EXECUTABLE_TYPES


def test_nothing_is_refused_where_everything_lies_as_installed(rhel_10):
    assert examine(rhel_10) == []
    # It was asked, and about these: in one domain, because nothing leads to another.
    assert {domain for domain, _, _ in rhel_10.asked} == {'virtqemud_t'}
    assert {(label, class_name) for _, label, class_name in rhel_10.asked} == {
        ('root_t', 'dir'),
        ('usr_t', 'dir'),
        ('bin_t', 'dir'),
        ('lib_t', 'dir'),
        ('etc_t', 'dir'),
        ('virt_etc_t', 'dir'),
        ('virt_hook_t', 'dir'),
        ('var_run_t', 'dir'),
        ('virt_hook_t', 'lnk_file'),
        ('bin_t', 'lnk_file'),
        ('default_t', 'lnk_file'),
        ('shell_exec_t', 'lnk_file'),
        ('bin_t', 'file'),
        ('shell_exec_t', 'file'),
        ('lib_t', 'file'),
        ('etc_t', 'file'),
        ('syslogd_var_run_t', 'sock_file'),
        ('syslogd_t', 'unix_dgram_socket'),
    }


def test_nothing_is_refused_to_an_unconfined_daemon(rhel_9):
    rhel_9.write('/root/python/bin/python3')
    assert examine(rhel_9, VIRTD) == examine(rhel_9, VIRTD, interpreter='/root/python/bin/python3') == []


def test_a_program_that_lies_in_hooks_is_refused(rhel_10):
    path = rhel_10.write('/etc/libvirt/hooks/program')
    assert examine(rhel_10, program=path) == [
        'program /etc/libvirt/hooks/program (virt_hook_t): virtqemud_t may not execute, execute_no_trans; '
        'restorecon -v /etc/libvirt/hooks/program'
    ]


def test_a_program_that_was_moved_here_is_refused(rhel_10):
    """As mv does: the label of the place that it was made in."""
    rhel_10.own_labels[PROGRAM] = 'admin_home_t'
    assert examine(rhel_10) == [
        'program /usr/sbin/virt-guard-hook (admin_home_t): virtqemud_t may not execute, execute_no_trans; '
        'restorecon -v /usr/sbin/virt-guard-hook'
    ]


@pytest.mark.parametrize(
    'path, label',
    [
        ('/root/python/bin/python3', 'admin_home_t'),
        ('/home/alice/venv/bin/python3', 'user_home_t'),
        ('/tmp/python/bin/python3', 'tmp_t'),
        ('/var/lib/python/bin/python3', 'var_lib_t'),
        ('/data/python/bin/python3', 'default_t'),
    ],
)
def test_an_interpreter_that_lies_elsewhere_is_refused(rhel_10, path, label):
    rhel_10.write(path)
    expected = (
        'interpreter %s (%s): virtqemud_t may not execute, execute_no_trans; '
        'choose an interpreter under /usr (--python)' % (path, label)
    )
    assert examine(rhel_10, interpreter=path) == [expected]
    # What a link says does not matter; where it leads to does.
    assert examine(rhel_10, interpreter=rhel_10.link('/usr/bin/python', path)) == [expected]


@pytest.mark.parametrize('path', ['/usr/local/bin/python3', '/opt/python/bin/python3', '/usr/libexec/platform-python'])
def test_an_interpreter_of_the_system_is_not_refused(rhel_10, path):
    assert examine(rhel_10, interpreter=rhel_10.write(path)) == []


def test_an_interpreter_under_usr_with_a_wrong_label(rhel_10):
    rhel_10.own_labels['/usr/bin/python3.12'] = 'default_t'
    assert examine(rhel_10)[0].endswith('; restorecon -v /usr/bin/python3.12')


def test_every_label_of_the_package_is_asked_about(rhel_10):
    tree = '/usr/lib/virt-guard/tree-1'
    for name in ('a.py', 'b.py'):
        rhel_10.write('%s/virtguard/%s' % (tree, name), label='secret_t')
    rhel_10.allows = lambda domain, label, name: set() if label == 'secret_t' else allows_virtqemud(domain, label, name)
    assert examine(rhel_10) == [  # the label once, not each file
        'package %s/virtguard/a.py (secret_t): virtqemud_t may not read, open, getattr; restorecon -Rv %s'
        % (tree, tree)
    ]


def test_a_directory_above_is_asked_about(rhel_10):
    rhel_10.own_labels['/etc/virt-guard'] = 'secret_t'
    rhel_10.allows = lambda domain, label, name: (
        {'getattr'} if label == 'secret_t' else allows_virtqemud(domain, label, name)
    )
    expected = 'policy /etc/virt-guard (secret_t): virtqemud_t may not %s; restorecon -Rv /etc/virt-guard'
    assert examine(rhel_10) == [expected % 'search, read, open']
    file = '/etc/virt-guard/policy.yaml'
    assert examine(rhel_10, policy=file) == [(expected % 'search').replace('-Rv', '-v')]


def test_the_journal(rhel_10):
    rhel_10.allows = lambda domain, label, name: (
        set() if label in ('syslogd_t', 'container_t') else allows_virtqemud(domain, label, name)
    )
    assert examine(rhel_10) == [  # that of a container is another one
        'journal /run/systemd/journal/socket (syslogd_t): virtqemud_t may not sendto; '
        'records then go to syslog, or to a file'
    ]
    assert examine(rhel_10, journal='/run/systemd/journal/none') == []


def test_a_domain_of_its_own(rhel_10):
    """As if a policy had one for the hook: what follows is asked for that one."""
    rhel_10.transitions['virtqemud_t', 'bin_t'] = 'virt_guard_t'
    assert examine(rhel_10) == []
    domains = {class_name: domain for domain, _, class_name in rhel_10.asked}
    assert (domains['process'], domains['sock_file']) == ('virtqemud_t', 'virt_guard_t')
    assert ('virt_guard_t', 'bin_t', 'file') in rhel_10.asked
    rhel_10.allows = lambda domain, label, name: (
        set() if name == 'process' else allows_virtqemud(domain, label, name) - {'execute_no_trans'}
    )
    assert examine(rhel_10)[0] == (
        'program /usr/sbin/virt-guard-hook (virt_guard_t): virtqemud_t may not transition; '
        'restorecon -v /usr/sbin/virt-guard-hook'
    )


def test_what_is_permissive_refuses_nothing(rhel_10):
    path = rhel_10.write('/root/python3')
    refused = 'interpreter /root/python3 (admin_home_t): virtqemud_t may not execute, execute_no_trans; '
    advice = '; choose an interpreter under /usr (--python)'
    rhel_10.is_permissive_domain = True
    expected = [refused + 'recorded only, because this domain is permissive' + advice]
    assert examine(rhel_10, interpreter=path) == expected
    rhel_10.is_permissive_domain = False
    rhel_10.write('/sys/fs/selinux/enforce', '0')
    expected = [refused + 'recorded only, because SELinux is permissive on this host' + advice]
    assert examine(rhel_10, interpreter=path) == expected


@pytest.mark.parametrize('denied', [False, True])
def test_what_the_policy_does_not_know(rhel_10, denied):
    """RHEL 8 may not know a permission, or a class, that a later kernel has: the policy says what holds for those."""
    (rhel_10.root / 'sys/fs/selinux/class/file/perms/map').unlink()
    (rhel_10.root / 'sys/fs/selinux/class/sock_file/index').unlink()
    rhel_10.write('/sys/fs/selinux/deny_unknown', str(int(denied)))
    refused = [text.partition(':')[0] + text.partition(' may not')[2].partition(';')[0] for text in examine(rhel_10)]
    assert refused == (
        [
            'sh /usr/bin/bash (shell_exec_t) map',
            'interpreter /usr/bin/python3.12 (bin_t) map',
            'journal /run/systemd/journal/socket (syslogd_var_run_t) write',
        ]
        if denied
        else []
    )


@pytest.mark.parametrize('what, path', [('program', '/usr/sbin/none'), ('policy', '/etc/none/policy.yaml')])
def test_what_is_missing_cannot_be_asked_about(rhel_10, what, path):
    with pytest.raises(SELinuxError, match='%s is missing' % path):
        examine(rhel_10, **{what: path})


def test_links_that_lead_to_each_other(rhel_10):
    rhel_10.link('/usr/bin/one', 'two')
    rhel_10.link('/usr/bin/two', 'one')
    with pytest.raises(SELinuxError, match='/usr/bin/one: Too many levels'):
        examine(rhel_10, interpreter='/usr/bin/one')


# How the kernel is asked


class Answering:
    """A terminal where selinuxfs has a file: it answers, on the descriptor that it is written to, from a table."""

    def __init__(self, path, answers):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        path.symlink_to(os.ttyname(self._slave))
        self.answers, self.requests = answers, []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                request = os.read(self._master, 4096).decode()
            except OSError:
                return
            if request == 'end':
                return
            self.requests.append(request)
            os.write(self._master, self.answers[request].encode())

    def close(self):
        os.write(self._slave, b'end')
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)


@pytest.fixture
def selinuxfs(tmp_path):
    host = SELinuxHost(tmp_path, LABELS_10, allows_virtqemud)  # for its tree
    opened = []

    def serve(name, answers):
        opened.append(Answering(tmp_path / 'sys/fs/selinux' / name, answers))
        return opened[-1]

    serve.tree = host.tree
    yield serve
    for answering in opened:
        answering.close()


def test_access(selinuxfs):
    number = sorted(PERMISSIONS).index('file') + 3
    assert PERMISSIONS['file'].split()[:5] == ['read', 'write', 'open', 'getattr', 'execute']
    request = 'a:b:c_t:s0 d:e:f_t:s0 %d' % number
    served = selinuxfs('access', {request: '1d ffffffff 0 ffffffff 7 0'})
    kernel = Kernel(selinuxfs.tree)
    ask = 'a:b:c_t:s0', 'd:e:f_t:s0', 'file'
    assert kernel.missing(*ask, ['read', 'write', 'open', 'execute', 'map']) == (['write', 'map'], False)
    assert served.requests == [request]

    def missing(answer, *permissions):
        served.answers[request] = answer
        return Kernel(selinuxfs.tree).missing(*ask, permissions)

    assert missing('0 ffffffff 0 ffffffff 7 1', 'read') == (['read'], True)
    assert missing('ffffffff ffffffff 0 ffffffff 7', 'read', 'map') == ([], False)  # flags came with Linux 2.6.32
    with pytest.raises(SELinuxError, match="answers 'what\\?' about d:e:f_t:s0"):
        missing('what?', 'read')


def test_create(selinuxfs):
    number = sorted(PERMISSIONS).index('process') + 3
    selinuxfs('create', {'a:b:init_t:s0 a:b:x_exec_t:s0 %d' % number: 'a:b:x_t:s0\0'})
    kernel = Kernel(selinuxfs.tree)
    assert kernel.new_context('a:b:init_t:s0', 'a:b:x_exec_t:s0', 'process') == 'a:b:x_t:s0'
    with pytest.raises(SELinuxError, match='has no class nothing'):
        kernel.new_context('a:b:init_t:s0', 'a:b:x_exec_t:s0', 'nothing')


def test_a_kernel_that_does_not_answer(tmp_path):
    kernel = Kernel(FileTree(str(tmp_path)))
    assert not kernel.is_enabled()
    with pytest.raises(SELinuxError, match="does not answer access 'a b 1': No such file"):
        kernel.transact('access', 'a b 1')
    with pytest.raises(SELinuxError, match='the label of /none cannot be read: No such file'):
        kernel.label('/none')


def test_a_label_is_read_from_the_file(tmp_path):
    file, link = tmp_path / 'file', tmp_path / 'link'
    file.write_bytes(b'')
    link.symlink_to(file)
    try:
        os.setxattr(str(file), 'security.selinux', b'a:b:file_t:s0\0')
        os.setxattr(str(link), 'security.selinux', b'a:b:link_t:s0\0', follow_symlinks=False)
    except OSError as error:
        pytest.skip('no label can be set here: %s' % error)
    kernel = Kernel(FileTree(str(tmp_path)))
    assert [kernel.label('/file'), kernel.label('/link')] == ['a:b:file_t:s0', 'a:b:link_t:s0']
