# SPDX-License-Identifier: Apache-2.0
"""A host with SELinux, as recorded: no kernel with SELinux is asked here.

The answers are those that setools gave about built policies, the labels those of matchpathcon; of RHEL's own builds
none was seen. `RHEL_9` is c9s 38.1.52 of 2025-02-07, `RHEL_10` is c10s 40.13.25 of 2025-02-17, judged as if virtqemud_t
were enforcing (in that policy it is permissive). RHEL 8 (nearest: Fedora 30) answers as RHEL 9.

Numbers of classes and permissions are made up: the kernel tells them, by files that lie in the tree here.
"""

import re

from virtguard.guarding.host_files import FileTree
from virtguard.guarding.selinux import Kernel

FILE = 'read write open getattr execute execute_no_trans entrypoint map'
PERMISSIONS = {
    'process': 'fork transition setpgid',
    'file': FILE,
    'dir': 'read open getattr search write add_name',
    'lnk_file': 'read getattr',
    'sock_file': 'write read getattr',
    'unix_dgram_socket': 'sendto connect create',
}

# What each path is labelled, the first that matches. Those of the table of labels, and of the directories above them.
LABELS_9 = (
    (r'/etc/libvirt/hooks(/.*)?', 'virt_etc_rw_t'),
    (r'/etc/libvirt(/.*)?', 'virt_etc_t'),
    (r'/usr/sbin/(libvirtd|virtqemud)', 'virtd_exec_t'),
    (r'/(usr/)?(bin|sbin)/(ba|da)?sh', 'shell_exec_t'),
    (r'/usr/(local/)?s?bin(/.*)?|/usr/libexec(/.*)?|/opt/[^/]+/bin(/.*)?', 'bin_t'),
    (r'/usr/lib(64)?(/.*)?', 'lib_t'),
    (r'/usr(/.*)?', 'usr_t'),
    (r'/etc(/.*)?', 'etc_t'),
    (r'/root(/.*)?', 'admin_home_t'),
    (r'/home/[^/]+(/.*)?', 'user_home_t'),
    (r'/tmp(/.*)?', 'tmp_t'),
    (r'/srv(/.*)?', 'var_t'),
    (r'/var/lib(/.*)?', 'var_lib_t'),
    (r'/var(/.*)?', 'var_t'),
    (r'/run/systemd/journal/socket', 'syslogd_var_run_t'),
    (r'/run(/.*)?', 'var_run_t'),
    (r'/', 'root_t'),
    (r'.*', 'default_t'),
)
LABELS_10 = (
    (r'/etc/libvirt/hooks(/.*)?', 'virt_hook_t'),
    (r'/usr/sbin/virtqemud', 'virtqemud_exec_t'),
    *LABELS_9,
)

# What virtqemud_t is refused of files; everything else that was asked about is allowed.
NOT_EXECUTED = 'virt_hook_t admin_home_t user_home_t user_tmp_t tmp_t var_lib_t default_t'.split()


def allows_everything(context, label, class_name):
    return set(PERMISSIONS[class_name].split())


def allows_virtqemud(context, label, class_name):
    allowed = allows_everything(context, label, class_name)
    if class_name == 'file' and label in NOT_EXECUTED:
        allowed -= {'execute', 'execute_no_trans', 'entrypoint'}
    if class_name == 'process':
        allowed -= {'setpgid'}
    return allowed


def unconfined_virtd(context, label, class_name):
    """RHEL 8 and 9, and libvirtd on 10: virtd_t is an unconfined domain."""
    return allows_everything(context, label, class_name)


class SELinuxHost(Kernel):
    """A tree of files below `root`, their labels, and who may do what.

    `transitions` holds what domain a file's label leads to: (domain, label) -> domain.
    """

    def __init__(self, root, labels, allows):
        self.root = root
        self.tree = FileTree(str(root))
        super().__init__(self.tree)
        self.labels, self.allows = labels, allows
        self.own_labels, self.transitions = {}, {}
        self.is_permissive_domain = False
        self.asked = []
        for number, (class_name, permissions) in enumerate(sorted(PERMISSIONS.items()), 3):
            self.write('/sys/fs/selinux/class/%s/index' % class_name, str(number))
            for bit, permission in enumerate(permissions.split(), 1):
                self.write('/sys/fs/selinux/class/%s/perms/%s' % (class_name, permission), str(bit))
        for name, value in (('enforce', '1'), ('deny_unknown', '0'), ('mls', '1')):
            self.write('/sys/fs/selinux/' + name, value)
        self.link('/proc/self/ns/pid', 'pid:[1]')

    def write(self, path, text='', label=None):
        file = self.root / path.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        if label is not None:
            self.own_labels[path] = label
        return path

    def link(self, path, target):
        file = self.root / path.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)
        return path

    def process(self, number, name, context, namespace='pid:[1]', uid='0'):
        directory = '/proc/%d/' % number
        self.write(directory + 'comm', name + '\n')
        self.write(directory + 'attr/current', context + '\0')
        self.write(directory + 'status', 'Name:\t%s\nUid:\t%s\t%s\t0\t0\n' % (name, uid, uid))
        self.link(directory + 'exe', '/usr/sbin/' + name)
        self.link(directory + 'ns/pid', namespace)

    def label(self, path):
        for pattern, label in [(re.escape(path), label) for path, label in self.own_labels.items()] + list(self.labels):
            if re.fullmatch(pattern, path):
                return 'system_u:object_r:%s:s0' % label
        raise AssertionError(path)

    def transact(self, name, request):
        context, label, number = request.split(' ')
        domain, label = context.split(':')[2], label.split(':')[2]
        class_name = sorted(PERMISSIONS)[int(number) - 3]
        if name == 'create':
            return 'system_u:system_r:%s:s0\0' % self.transitions.get((domain, label), domain)
        assert name == 'access'
        self.asked.append((domain, label, class_name))
        names = PERMISSIONS[class_name].split()
        bits = sum(1 << names.index(permission) for permission in self.allows(domain, label, class_name))
        return '%x ffffffff 0 ffffffff 9 %x' % (bits, self.is_permissive_domain)
