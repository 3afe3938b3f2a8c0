# SPDX-License-Identifier: Apache-2.0
"""libvirt's daemons: whether each may run the hook, and whether it has looked for hooks since there is one.

A daemon looks for hooks when it starts and when it reloads, and from then on calls what it found executable.
"""

import os
import subprocess
import time

from ..guarding import confinement
from ..guarding.apparmor import NO, YES
from ..guarding.host_files import FileTree
from ..guarding.selinux import Examination, Kernel, SELinuxError
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition, shown_time
from .hook_in_place import ways_to_hook
from .programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from ..policy.installation import Installation

TOLD = '/run/virt-guard.told'  # written by install.sh when it has told a daemon to look for hooks
_COARSE = 0.05  # seconds that the times of files lag behind the clock
_PATIENCE = 5  # seconds for systemctl


def examine_daemons(installation: 'Installation', last_call: 'Optional[float]') -> 'Iterator[Condition]':
    """:param last_call: when the hook has recorded something last, in seconds since the epoch; None: never"""
    tree = FileTree(installation.host or '/')
    running = {
        daemon: process
        for daemon in confinement.DAEMONS
        for process in tree.processes(daemon)
        if os.path.basename(tree.program(process)) == daemon
    }
    if not running:
        yield Condition('daemon', OK, 'no libvirt daemon runs; one that starts will look for the hook')
    appeared = _appeared(installation)
    for daemon, process in running.items():
        yield _has_looked(tree, daemon, process, appeared, last_call)
    yield from _confinement(tree, installation)


def _appeared(installation: 'Installation') -> 'Optional[float]':
    """When the hook became what it is: a link was made, the program put there, or its mode changed."""
    times = []
    for path in ways_to_hook(installation)[:1]:
        times.append(os.lstat(path).st_ctime)
        if os.path.exists(installation.program):
            times.append(os.stat(installation.program).st_ctime)
    return max(times, default=None)


def _has_looked(
    tree: FileTree, daemon: str, process: str, appeared: 'Optional[float]', last_call: 'Optional[float]'
) -> Condition:
    if appeared is None:
        return Condition('daemon', UNKNOWN, '%s runs, and there is no hook of ours that it could have found' % daemon)
    looked = [
        moment for moment in (tree.started(process), _reloaded(daemon), _mtime(TOLD), last_call) if moment is not None
    ]
    if max(looked, default=0.0) + _COARSE < appeared:
        said = 'the hook is there since %s, and %s has not looked for it since' % (shown_time(appeared), daemon)
        return Condition('daemon', AMISS, said, _reload(daemon, process))
    return Condition('daemon', OK, '%s runs, and has looked for the hook' % daemon)


def _reload(daemon: str, process: str) -> str:
    if os.path.isdir('/run/systemd/system'):
        return 'systemctl reload %s' % daemon
    return 'kill -HUP %s' % os.path.basename(process)


def _reloaded(daemon: str) -> 'Optional[float]':
    """When systemd has started or reloaded a daemon last."""
    if not os.path.isdir('/run/systemd/system'):
        return None
    try:
        question = ['systemctl', 'show', '--property=StateChangeTimestampMonotonic', daemon + '.service']
        said = run_program(question, _PATIENCE).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    microseconds = said.decode('ascii', 'replace').strip().partition('=')[2]
    if not microseconds.isdigit() or microseconds == '0':
        return None
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(microseconds) / 1000000


def _mtime(path: str) -> 'Optional[float]':
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


def _confinement(tree: FileTree, installation: 'Installation') -> 'Iterator[Condition]':
    kernel = Kernel(tree)
    for module, daemon, name in confinement.find_domains(tree, kernel):
        if name == '-':
            text = 'it cannot be read what %s lets libvirt execute' % {'apparmor': 'AppArmor'}.get(module, 'SELinux')
            yield Condition('confinement', UNKNOWN, text, 'run it as root')
        elif module == 'apparmor':
            yield _under_apparmor(tree, name, installation.program)
        else:
            yield from _under_selinux(tree, kernel, daemon, name, installation)


def _under_apparmor(tree: FileTree, profile: str, program: str) -> Condition:
    answer = confinement.profile_allows(tree, profile, program)
    if answer.word == YES:
        return Condition('confinement', OK, 'the AppArmor profile %s lets libvirt execute %s' % (profile, program))
    if answer.word == NO:
        text = 'the AppArmor profile %s does not let libvirt execute %s' % (profile, program)
        name = profile.rpartition('/')[2]
        remedy = "echo '%s PUx,' >>/etc/apparmor.d/local/usr.sbin.%s; apparmor_parser -r /etc/apparmor.d/usr.sbin.%s"
        return Condition('confinement', AMISS, text, remedy % (program, name, name))
    text = 'whether the AppArmor profile %s lets libvirt execute %s: %s' % (profile, program, answer.detail)
    return Condition('confinement', UNKNOWN, text)


def _under_selinux(
    tree: FileTree, kernel: Kernel, daemon: str, context: str, installation: 'Installation'
) -> 'Iterator[Condition]':
    examination = Examination(tree, kernel, context)
    try:
        for way in ways_to_hook(installation)[:1]:
            examination.examine('hook', way)
        examination.examine('program', installation.program)
        examination.examine('policy', installation.policy)
    except SELinuxError as error:
        yield Condition('confinement', UNKNOWN, 'SELinux was not asked about %s: %s' % (daemon, error))
        return
    for refusal in examination.refusals:
        state = NOTE if refusal.tolerated else AMISS
        yield Condition('confinement', state, str(refusal), 'restorecon -F %s' % installation.program)
    if not examination.refusals:
        yield Condition('confinement', OK, 'SELinux lets %s (%s) run the hook' % (daemon, context))
