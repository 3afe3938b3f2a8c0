# SPDX-License-Identifier: Apache-2.0
"""What AppArmor and SELinux allow libvirt's daemons to execute and read on this host; for the installer.

    domains                       a line for each security domain in which the hook must work:
                                      apparmor DAEMON PROFILE    a daemon runs, confined by PROFILE
                                      apparmor not-running PROFILE    will be confined by PROFILE when it starts
                                      apparmor unknown -         AppArmor is on, but the kernel's list cannot be read
                                      selinux DAEMON CONTEXT     runs in CONTEXT, or would be started in it
                                      selinux unknown -          SELinux is on, but that cannot be found out
    profile-allows PROFILE PATH...
                                  a line for each PATH, whether the text of PROFILE allows to execute it:
                                      yes MODE PATH | no - PATH | unknown - PATH: REASON
                                  status 0: all are allowed, 1: one is not, 2: one is unknown
    selinux-refusals CONTEXT hook=LINK program=PATH sh=PATH interpreter=PATH package=DIR policy=PATH... journal=SOCKET
                                  a line for each thing that the domain may not do with these:
                                      refused SENTENCE | note SENTENCE (if it is not enforced) | unknown SENTENCE
                                  status 0: nothing is refused, 1: something is, 2: the kernel could not be asked

Fields are separated by one space; the last may hold spaces. Reads /proc, /sys and /etc, and changes nothing.
"""

import os

from .apparmor import NO, UNKNOWN, YES, Answer, load_profile
from .apparmor_globs import ProfileError
from .host_files import FileTree
from .selinux import EXAMINERS, Examination, Kernel, SELinuxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, TextIO, Tuple

    Running = Dict[str, List[str]]  # a daemon, and the /proc directories of its processes
    Domain = Tuple[str, str, str]  # the module, the daemon or what is known of it, the name

DAEMONS = ('virtqemud', 'libvirtd')
NOT_RUNNING, UNKNOWN_DOMAIN = 'not-running', 'unknown'
_APPARMOR = '/sys/kernel/security/apparmor'
_DIRECTORIES = ('/usr/sbin', '/usr/bin', '/usr/local/sbin')


def find_domains(tree: FileTree, kernel: Kernel) -> 'List[Domain]':
    """The security domains from which the hook will be run; none if the daemons are not confined."""
    running = {}
    for daemon in DAEMONS:
        processes = [process for process in tree.processes(daemon) if os.path.basename(tree.program(process)) == daemon]
        if processes:
            running[daemon] = processes
    domains = []
    if (tree.read('/sys/module/apparmor/parameters/enabled') or '').strip() == 'Y':
        domains.extend(_apparmor_domains(tree, running))
    if kernel.is_enabled():
        domains.extend(_selinux_domains(tree, kernel, running))
    return domains


def _labels(tree: FileTree, processes: 'List[str]', *names: str) -> 'List[str]':
    """The labels of processes, each from the first of these files in /proc that can be read."""
    labels = set()
    for process in processes:
        texts = [tree.read('%s/attr/%s' % (process, name)) for name in names]
        labels.update([text.strip() for text in texts if text and text.strip()][:1])
    return sorted(labels)


def _profile_and_mode(line: str) -> 'Tuple[str, str]':
    name, parenthesis, mode = line.strip().rpartition(' (')
    return (name, mode.rstrip(')')) if parenthesis else (line.strip(), 'unconfined')


def loaded_profiles(tree: FileTree) -> 'Optional[Dict[str, str]]':
    """The profiles that the kernel has loaded, each with its mode; None if the list cannot be read."""
    text = tree.read(_APPARMOR + '/profiles')
    return None if text is None else dict(_profile_and_mode(line) for line in text.splitlines() if line)


def _apparmor_domains(tree: FileTree, running: 'Running') -> 'List[Domain]':
    domains, unconfined = [], []
    for daemon in DAEMONS:
        labels = _labels(tree, running.get(daemon, []), 'apparmor/current', 'current')
        confined = [name for name, mode in map(_profile_and_mode, labels) if mode != 'unconfined']
        domains.extend([('apparmor', daemon, profile) for profile in confined])
        if not confined and (daemon in running or not running):
            unconfined.append(daemon)
    # A profile that was loaded after the daemon started will confine the next daemon.
    if unconfined:
        loaded = loaded_profiles(tree)
        if loaded is None:
            return domains + [('apparmor', UNKNOWN_DOMAIN, '-')]
        for name, mode in sorted(loaded.items()):
            if name.rpartition('/')[2] in unconfined and '//' not in name and mode != 'unconfined':
                domains.append(('apparmor', NOT_RUNNING, name))
    return domains


def _selinux_domains(tree: FileTree, kernel: Kernel, running: 'Running') -> 'List[Domain]':
    domains = []
    for daemon, processes in running.items():
        domains.extend([('selinux', daemon, context) for context in _labels(tree, processes, 'current')])
    if domains:
        return domains
    mls = (tree.read('/sys/fs/selinux/mls') or '1').strip() == '1'
    init = 'system_u:system_r:init_t' + (':s0' if mls else '')
    for daemon in DAEMONS:
        programs = [directory + '/' + daemon for directory in _DIRECTORIES]
        for program in [name for name in programs if os.path.exists(tree.real(tree.resolve(name)))][:1]:
            try:
                label = kernel.label(tree.resolve(program))
                domains.append(('selinux', daemon, kernel.new_context(init, label, 'process')))
            except SELinuxError:
                return [('selinux', UNKNOWN_DOMAIN, '-')]
    return domains


def profile_allows(tree: FileTree, name: str, path: str) -> Answer:
    """Whether a profile, by its text and by the mode that the kernel reports, allows to execute `path`."""
    try:
        profile = load_profile(tree, name)
        mode = (loaded_profiles(tree) or {}).get(name)
        if mode == 'complain' or (mode is None and 'complain' in profile.flags):
            return Answer(YES, 'complain')
        return profile.may_execute(tree.resolve(path))
    except ProfileError as error:
        return Answer(UNKNOWN, str(error))
    except OSError as error:
        return Answer(UNKNOWN, error.strerror or '')


def main(argv: 'List[str]', stdout: 'TextIO', root: str = '/') -> int:
    """Answer one question of the installer; `argv` is described at the top of this module."""
    tree = FileTree(root)
    kernel = Kernel(tree)
    lines: 'List[str]' = []
    status = 0
    if argv == ['domains']:
        lines.extend(' '.join(domain) for domain in find_domains(tree, kernel))
    elif argv[:1] == ['profile-allows'] and len(argv) > 2:
        status = _answer_profile_allows(tree, argv[1], argv[2:], lines)
    elif argv[:1] == ['selinux-refusals'] and len(argv) > 2:
        status = _answer_selinux_refusals(tree, kernel, argv[1], argv[2:], lines)
    else:
        raise ValueError('confinement: unknown question: %s' % ' '.join(argv))
    encoding = getattr(stdout, 'encoding', None) or 'utf-8'
    for line in lines:
        stdout.write(line.encode(encoding, 'backslashreplace').decode(encoding) + '\n')
    return status


def _answer_profile_allows(tree: FileTree, name: str, paths: 'List[str]', lines: 'List[str]') -> int:
    words = []
    for path in paths:
        answer = profile_allows(tree, name, path)
        words.append(answer.word)
        lines.append(
            {
                YES: 'yes %s %s' % (answer.detail, path),
                NO: 'no - %s' % path,
                UNKNOWN: 'unknown - %s: %s' % (path, answer.detail),
            }[answer.word]
        )
    return 1 if NO in words else 2 if UNKNOWN in words else 0


def _answer_selinux_refusals(
    tree: FileTree, kernel: Kernel, context: str, arguments: 'List[str]', lines: 'List[str]'
) -> int:
    pairs = [argument.partition('=')[::2] for argument in arguments]
    unknown = [what for what, _ in pairs if what not in EXAMINERS]
    if unknown:
        raise ValueError('confinement: unknown: %s' % unknown[0])
    if not kernel.is_enabled():
        lines.append('unknown SELinux is off, or selinuxfs is not mounted')
        return 2
    examination = Examination(tree, kernel, context)
    status = 0
    try:
        for examined in EXAMINERS:
            for path in [path for what, path in pairs if what == examined]:
                examination.examine(examined, path)
    except SELinuxError as error:
        lines.append('unknown %s' % error)
        status = 2
    for refusal in examination.refusals:
        lines.append('%s %s' % ('note' if refusal.tolerated else 'refused', refusal))
        status = status if refusal.tolerated else 1
    return status
