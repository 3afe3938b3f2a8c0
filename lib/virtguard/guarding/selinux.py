# SPDX-License-Identifier: Apache-2.0
"""What SELinux allows a domain to do. The kernel is asked: selinuxfs answers for any domain what it would decide.

This module knows no policy: it reads labels from files, and everything else is the kernel's answer.
"""

import os

from .host_files import LINK, MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set, Tuple

    from .host_files import FileTree

SELINUXFS = '/sys/fs/selinux'
_PERMISSIVE_DOMAIN = 1  # SELINUX_AVD_FLAGS_PERMISSIVE
_JOURNALD = 'systemd-journal'  # all that comm holds of its name
_READ = ('read', 'open', 'getattr')
_LIST = ('search', 'read', 'open', 'getattr')
_RUN = ('read', 'open', 'getattr', 'execute')


class SELinuxError(Exception):
    """The kernel could not be asked."""


class Kernel:
    """The kernel's answers through the selinuxfs of one host."""

    def __init__(self, tree: 'FileTree') -> None:
        self._tree = tree
        self._numbers: 'Dict[Tuple[str, str], Optional[int]]' = {}

    def is_enabled(self) -> bool:
        return self._tree.read(SELINUXFS + '/enforce') is not None

    def is_enforcing(self) -> bool:
        return self._flag('enforce')

    def label(self, path: str) -> str:
        """The label of a file, directory or link itself.

        :raises SELinuxError:
        """
        try:
            value = os.getxattr(self._tree.real(path), 'security.selinux', follow_symlinks=False)
        except OSError as error:
            raise SELinuxError('the label of %s cannot be read: %s' % (path, error.strerror)) from None
        return os.fsdecode(value).rstrip('\0')

    def new_context(self, context: str, label: str, class_name: str) -> str:
        """The context of a new object of a domain; for class `process`, of one that runs a file with that label."""
        number = self._number(class_name)
        if number is None:
            raise SELinuxError('the policy has no class %s' % class_name)
        return self.transact('create', '%s %s %d' % (context, label, number)).rstrip('\0\n')

    def missing(
        self, context: str, label: str, class_name: str, permissions: 'Sequence[str]'
    ) -> 'Tuple[List[str], bool]':
        """Those of the `permissions` that the domain does not have, and whether it is a permissive domain."""
        if not permissions:
            return [], False
        unknown_is_denied = self._flag('deny_unknown')
        number = self._number(class_name)
        if number is None:
            return (list(permissions) if unknown_is_denied else []), False
        answer = self.transact('access', '%s %s %d' % (context, label, number)).split()
        try:
            allowed, flags = int(answer[0], 16), int(answer[5], 16) if len(answer) > 5 else 0
        except (IndexError, ValueError):
            raise SELinuxError('the kernel answers %r about %s' % (' '.join(answer), label)) from None
        missing = []
        for permission in permissions:
            bit = self._number(class_name, permission)
            if unknown_is_denied if bit is None else not allowed & 1 << (bit - 1):
                missing.append(permission)
        return missing, bool(flags & _PERMISSIVE_DOMAIN)

    def transact(self, name: str, request: str) -> str:
        """Write a request to a file in selinuxfs, and read the answer.

        :raises SELinuxError:
        """
        try:
            descriptor = os.open(self._tree.real('%s/%s' % (SELINUXFS, name)), os.O_RDWR | os.O_NOCTTY)
            try:
                os.write(descriptor, os.fsencode(request))
                return os.fsdecode(os.read(descriptor, 4096))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SELinuxError('the kernel does not answer %s %r: %s' % (name, request, error.strerror)) from None

    def _flag(self, name: str) -> bool:
        return (self._tree.read('%s/%s' % (SELINUXFS, name)) or '').strip() == '1'

    def _number(self, class_name: str, permission: str = '') -> 'Optional[int]':
        """The number of a class, or of one of its permissions; None if the policy does not have it."""
        if (class_name, permission) not in self._numbers:
            below = 'perms/' + permission if permission else 'index'
            text = (self._tree.read('%s/class/%s/%s' % (SELINUXFS, class_name, below)) or '').strip()
            self._numbers[class_name, permission] = int(text) if text.isdigit() else None
        return self._numbers[class_name, permission]


class Refusal:
    """What the domain may not do, and what to do about it. `tolerated` says why it is not enforced, if so."""

    __slots__ = ('what', 'path', 'label', 'domain', 'missing', 'tolerated', 'advice')

    def __init__(
        self, what: str, path: str, label: str, domain: str, missing: 'List[str]', tolerated: str, advice: str
    ) -> None:
        self.what = what
        self.path = path
        self.label = label
        self.domain = domain
        self.missing = missing
        self.tolerated = tolerated
        self.advice = advice

    def __str__(self) -> str:
        text = '%s %s (%s): %s may not %s' % (
            self.what,
            self.path,
            type_of(self.label),
            type_of(self.domain),
            ', '.join(self.missing),
        )
        return '; '.join(part for part in (text, self.tolerated, self.advice) if part)


def type_of(context: str) -> str:
    """The type in a context, which is what rules name."""
    return (context.split(':') + ['', ''])[2] or context


class Examination:
    """Asks step by step whether the domain of a daemon can run the hook. `refusals` are the results."""

    def __init__(self, tree: 'FileTree', kernel: Kernel, context: str) -> None:
        self._tree = tree
        self._kernel = kernel
        self._domain = context
        self._top = ''  # the directory that is examined with all that is in it
        self._asked: 'Set[Tuple[str, ...]]' = set()
        self.refusals: 'List[Refusal]' = []

    def examine(self, what: str, path: str) -> None:
        """Ask about one of EXAMINERS. They must come in that order: running the program may change the domain.

        :raises SELinuxError: the kernel cannot be asked
        """
        self._top = ''
        EXAMINERS[what](self, what, path)

    def _ask(self, what: str, path: str, label: str, class_name: str, permissions: 'Tuple[str, ...]') -> None:
        # Of several files with the same label only the first is reported; of directories and links, too.
        group = '' if class_name in ('dir', 'lnk_file') else what
        question = (group, self._domain, label, class_name)
        missing, is_permissive = self._kernel.missing(
            self._domain, label, class_name, [name for name in permissions if (*question, name) not in self._asked]
        )
        self._asked.update((*question, name) for name in permissions)
        if missing:
            tolerated = ''
            if is_permissive:
                tolerated = 'recorded only, because this domain is permissive'
            elif not self._kernel.is_enforcing():
                tolerated = 'recorded only, because SELinux is permissive on this host'
            advice = self._advice(what, path)
            self.refusals.append(Refusal(what, path, label, self._domain, missing, tolerated, advice))

    def _advice(self, what: str, path: str) -> str:
        if what == 'journal':
            return 'records then go to syslog, or to a file'
        if what == 'interpreter' and not path.startswith('/usr/'):
            return 'choose an interpreter under /usr (--python)'
        # The whole tree is relabelled, because only the first file with each label is reported.
        if self._top and (path + '/').startswith(self._top + '/'):
            return 'restorecon -Rv ' + self._top
        return 'restorecon -v ' + path

    def _pass(self, what: str, path: str) -> str:
        """Ask about every directory and link on the way to `path`; return what it leads to."""
        try:
            *passed, (end, kind) = self._tree.route(path)
        except OSError as error:
            raise SELinuxError('%s: %s' % (path, error.strerror)) from None
        if kind == MISSING:
            raise SELinuxError('%s is missing' % path)
        for step, step_kind in passed:
            class_name, permissions = ('lnk_file', ('read',)) if step_kind == LINK else ('dir', ('search',))
            self._ask(what, step, self._kernel.label(step), class_name, permissions)
        return end

    def _hook(self, what: str, path: str) -> None:
        self._pass(what, path)

    def _run(self, what: str, path: str) -> None:
        end = self._pass(what, path)
        label = self._kernel.label(end)
        # The kernel maps the interpreter of a script, not the script.
        permissions = _RUN if what == 'program' else (*_RUN, 'map')
        domain = self._kernel.new_context(self._domain, label, 'process')
        if type_of(domain) == type_of(self._domain):
            self._ask(what, end, label, 'file', (*permissions, 'execute_no_trans'))
            return
        self._ask(what, end, label, 'file', permissions)
        self._ask(what, end, domain, 'process', ('transition',))
        self._domain = domain
        self._ask(what, end, label, 'file', ('entrypoint',))

    def _files(self, what: str, path: str) -> None:
        end = self._pass(what, path)
        self._top = end if self._tree.names(end) is not None else ''
        todo = [end]
        while todo:
            end = self._pass(what, todo.pop())
            names = self._tree.names(end)
            if names is None:
                self._ask(what, end, self._kernel.label(end), 'file', _READ)
            else:
                self._ask(what, end, self._kernel.label(end), 'dir', _LIST)
                todo.extend(end.rstrip('/') + '/' + name for name in reversed(names))

    def _journal(self, what: str, path: str) -> None:
        # A host without it has syslog.
        if self._tree.kind(path) == MISSING:
            return
        end = self._pass(what, path)
        self._ask(what, end, self._kernel.label(end), 'sock_file', ('write',))
        for process in self._tree.processes(_JOURNALD):
            owner = (self._tree.read(process + '/attr/current') or '').strip()
            if owner:
                self._ask(what, end, owner, 'unix_dgram_socket', ('sendto',))


EXAMINERS = {
    'hook': Examination._hook,
    'program': Examination._run,
    'sh': Examination._run,
    'interpreter': Examination._run,
    'package': Examination._files,
    'policy': Examination._files,
    'journal': Examination._journal,
}
