# SPDX-License-Identifier: Apache-2.0
"""Proves a hook before it is in force: it is called as libvirt's daemon calls it, where the daemon would run it.

A hook that the daemon cannot run, or that cannot judge, would refuse every start. Who calls this has put the hook, a
policy for the proof and a link to the hook in their places, and takes them away afterwards.
"""

import errno
import io
import os
import subprocess
import sys
import time

from ...guarding import confinement
from ...guarding.apparmor import NO, YES
from ...guarding.host_files import FileTree
from ...guarding.selinux import Kernel
from ...policy.drop_ins import drop_in_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, NoReturn, Optional, Sequence, TextIO

_NAME = 'virt-guard-install-check'
_SAMPLE = """\
<domain type='%s'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>%s</devices>%s
</domain>
"""
# JSON is left to the worker: so that, and lxml, are proved, too.
_JSON = """
  <commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'>
    <arg value='-device'/><arg value='{"driver": "edu"}'/>
  </commandline>"""
_CLEAN = _SAMPLE % ('kvm', _NAME, '', '')
# Emulation is refused by each vendor's list, the devices by most; shared memory by those about isolation.
_DENIED = _SAMPLE % (
    'qemu',
    _NAME,
    """
    <filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='share'/></filesystem>
    <interface type='vhostuser'><source type='unix' path='/run/vhost' mode='client'/></interface>
    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>
    <crypto model='virtio' type='qemu'><backend model='builtin'/></crypto>
    <shmem name='virt-guard-install-check'/>
  """,
    _JSON,
)
_INDENT = ' ' * 11
_MUST_NOT_FAIL = 'it fails at an operation at which it must not'
_MUST_BE_SILENT = 'it speaks at an operation at which it must not'
_FORBIDDEN = """\
install.sh: the AppArmor profile %(profile)s does not let libvirt's daemon execute %(program)s
  Every start of a domain would fail, and a restart of the daemon would end the domains that run.
  The profiles of Debian and Ubuntu permit it ('/usr/sbin/* PUx,'), so somebody has changed this one. To permit it:
    echo '%(program)s PUx,' >>/etc/apparmor.d/local/usr.sbin.%(name)s
    apparmor_parser -r /etc/apparmor.d/usr.sbin.%(name)s
  (and remove what denies it), then run install.sh again."""


class _NotProvedError(Exception):
    """The text says why, as it is to be shown."""


class _Answer:
    """What a call returned, said, and how long (seconds) it took."""

    __slots__ = ('status', 'said', 'seconds')

    def __init__(self, status: int, said: str, seconds: float) -> None:
        self.status = status
        self.said = said
        self.seconds = seconds


class Proof:
    """`program` is what is to be in force, `proved` what stands for it until then, if another version is in use; `link`
    leads to the latter. `policy` is that of the proof, `tree` the directory of the package."""

    def __init__(
        self, stdout: 'TextIO', program: str, proved: str, link: str, policy: str, python: str, tree: str
    ) -> None:
        self._stdout = stdout
        self._program = program
        self._proved = proved
        self._link = link
        self._policy = policy
        self._python = python
        self._tree = tree
        self._places: 'List[str]' = []
        self._slowest: 'Dict[str, float]' = {}  # by the sample, in seconds

    def run(self, is_host: bool, mode: str) -> None:
        """Ask the hook in each security domain that the daemons of this host have or would have.

        :param is_host: else it is a tree of its own, which no daemon runs
        :param mode: that of the policy that is to be in force
        :raises _NotProvedError: it does not work there
        """
        tree = FileTree('/')
        for module, daemon, name in confinement.find_domains(tree, Kernel(tree)) if is_host else ():
            if module == 'apparmor':
                self._prove_under_apparmor(tree, name)
            else:
                self._prove_under_selinux(daemon, name)
        if not self._slowest:
            self._prove_answers('', '')
        places = ''.join(', ' + place for place in self._places)
        self._tell(
            'checked    the hook admits a domain without unsupported features and refuses one with them%s' % places
        )
        if mode == 'audit':
            self._note('in mode audit, which is set, it refuses nothing and only records')

    def judge_time(self, mode: str, deadline: str, drop_ins: str) -> None:
        """A start waits for the hook. What takes long now, on a host that is busy with nothing else, takes longer when
        it is.

        :param deadline: seconds, as the policy says it
        :raises _NotProvedError: it would refuse domains for that reason
        """
        slowest = max(self._slowest.values())
        if slowest * 5 <= float(deadline):
            return
        raised = min([value for value in (10, 20, 40) if slowest * 5 <= value] or [60])
        said = (
            "a call of the hook took %.2f s on this host, and the policy's deadline is %s s: a start that takes longer "
            'is refused' % (slowest, deadline)
        )
        advice = "to raise it: echo 'deadline: %d' >%s/99-deadline.yaml" % (raised, drop_ins)
        if self._slowest['clean'] >= float(deadline) and mode != 'audit':
            raise _NotProvedError('install.sh: %s\n  %s, then run install.sh again' % (said, advice))
        self._note(said)
        self._note(advice + '; virt-guard policy compile')

    def _prove_answers(self, profile: str, where: str) -> None:
        # At these a failure, or output, harms domains that run.
        answer = self._ask('stopped', 'end', 'denied', profile)
        if _is_refused_by_apparmor(answer):
            self._forbidden(profile)
        _expect(answer, 0, _MUST_NOT_FAIL, where)
        _expect_silence(answer, where)
        answer = self._ask('reconnect', 'begin', 'denied', profile)
        _expect(answer, 0, 'it fails when the daemon restarts, which would end running domains', where)
        _expect_silence(answer, where)
        for sample, status, complaint in (
            ('clean', 0, 'it refuses a domain without unsupported features'),
            ('denied', 1, 'it does not refuse a domain with unsupported features'),
        ):
            answer = self._ask('prepare', 'begin', sample, profile)
            _expect(answer, status, complaint, where)
            self._slowest[sample] = max(self._slowest.get(sample, 0), answer.seconds)

    def _ask(self, operation: str, sub_operation: str, sample: str, profile: str) -> _Answer:
        """Call the hook as libvirt does, and under an AppArmor profile ('': as this process)."""
        command = [self._link, _NAME, operation, sub_operation, '-']
        if profile:
            command = ['aa-exec', '-i', '-p', profile, '--', *command]
        environment = {'LC_ALL': 'C', 'PATH': os.environ['PATH'], 'HOME': '/'}
        document = _CLEAN if sample == 'clean' else _DENIED
        return _call(command, document.encode('ascii'), environment)

    def _prove_under_apparmor(self, tree: FileTree, profile: str) -> None:
        if profile == '-':
            self._note('not known: which AppArmor profiles are loaded (mount securityfs, and run install.sh again)')
        elif not _can_enter(profile):
            self._read_profile(tree, profile)
        else:
            where = 'under the AppArmor profile %s' % profile
            self._prove_answers('' if self._is_other_path_forbidden(profile) else profile, where)
            self._places.append(where)

    def _is_other_path_forbidden(self, profile: str) -> bool:
        """Whether the profile lets the daemon execute what is in use, but not the path that stands for it meanwhile."""
        if self._proved == self._program or not os.access(self._program, os.X_OK):
            return False
        # What is in use shows whether the daemon may execute this path; a profile may name no other.
        self._lead_to(self._program)
        answer = self._ask('stopped', 'end', 'denied', profile)
        if _is_refused_by_apparmor(answer):
            self._forbidden(profile)
        self._lead_to(self._proved)
        return _is_refused_by_apparmor(self._ask('stopped', 'end', 'denied', profile))

    def _lead_to(self, program: str) -> None:
        os.unlink(self._link)
        os.symlink(program, self._link)

    def _read_profile(self, tree: FileTree, profile: str) -> None:
        """What cannot be tried is read, and what cannot be read is said to be open."""
        answer = confinement.profile_allows(tree, profile, self._program)
        if answer.word == NO:
            self._forbidden(profile)
        elif answer.word == YES:
            text = 'and the AppArmor profile %s lets the daemon execute it (read, not tried: no aa-exec works here)'
            self._places.append(text % profile)
        else:
            self._note(
                'not known: whether the AppArmor profile %s lets the daemon execute %s' % (profile, self._program)
            )
            self._note('(%s; with aa-exec, of the package apparmor, install.sh tries it)' % answer.detail)

    def _forbidden(self, profile: str) -> 'NoReturn':
        words = {'profile': profile, 'program': self._program, 'name': profile.rpartition('/')[2]}
        raise _NotProvedError(_FORBIDDEN % words)

    def _prove_under_selinux(self, daemon: str, context: str) -> None:
        """The kernel answers for another domain; only the daemon itself can enter it."""
        if context == '-':
            self._note("not known: in which SELinux domain libvirt's daemon runs, and whether that may run the hook")
            return
        said = io.StringIO()
        question = [
            'selinux-refusals',
            context,
            'program=' + self._proved,
            'interpreter=' + self._python,
            'sh=' + os.path.realpath('/bin/sh'),
            'package=' + self._tree,
            'policy=' + self._policy,
            'hook=' + self._link,
            'journal=/run/systemd/journal/socket',
        ]
        status = confinement.main(question, said)
        lines = said.getvalue().splitlines()
        if status == 1:
            head = "install.sh: SELinux does not let libvirt's daemon (%s, %s) run the hook" % (daemon, context)
            raise _NotProvedError('\n'.join([head] + ['  ' + line for line in lines]))
        if status == 0:
            self._places.append('and SELinux lets %s run it' % daemon)
        else:
            self._note("not known: whether SELinux lets libvirt's daemon (%s) run the hook" % context)
        for line in lines:
            self._note(line)

    def _note(self, text: str) -> None:
        self._tell(_INDENT + text)

    def _tell(self, text: str) -> None:
        encoding = self._stdout.encoding or 'ascii'
        self._stdout.write(text.encode(encoding, 'backslashreplace').decode(encoding) + '\n')
        self._stdout.flush()


def _call(command: 'Sequence[str]', document: bytes, environment: 'Optional[Dict[str, str]]') -> _Answer:
    began = time.monotonic()
    try:
        result = subprocess.run(
            command, input=document, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        # As a shell tells it. In the text, Python 3.6 has the path once more.
        status = 127 if error.errno == errno.ENOENT else 126
        reason = (error.strerror or '').partition(':')[0]
        return _Answer(status, '%s: %s\n' % (command[0], reason), time.monotonic() - began)
    status = result.returncode if result.returncode >= 0 else 128 - result.returncode
    return _Answer(status, result.stdout.decode('utf-8', 'backslashreplace'), time.monotonic() - began)


def _expect(answer: _Answer, status: int, complaint: str, where: str) -> None:
    if answer.status != status:
        _fail(answer, complaint, where)


def _expect_silence(answer: _Answer, where: str) -> None:
    if answer.said:
        _fail(answer, _MUST_BE_SILENT, where)


def _fail(answer: _Answer, complaint: str, where: str) -> 'NoReturn':
    place = ' ' + where if where else ''
    lines = ['install.sh: the hook does not work%s: %s (exit status %d)' % (place, complaint, answer.status)]
    raise _NotProvedError('\n'.join(lines + ['  ' + line for line in answer.said.splitlines()]))


def _is_refused_by_apparmor(answer: _Answer) -> bool:
    return any(
        'Permission denied' in line.partition('aa-exec: ERROR: Failed to execute ')[2]
        for line in answer.said.splitlines()
    )


def _can_enter(profile: str) -> bool:
    """Not without aa-exec, and not in a container whose profiles are the host's."""
    answer = _call(['aa-exec', '-i', '-p', profile, '--', 'true'], b'', dict(os.environ, LC_ALL='C'))
    return answer.status == 0 or 'Failed to execute' in answer.said


def main(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Prove a hook, tell in which way, and whether its calls take long. Returns 0, or 1 where it does not work.

    :param argv: '' or a root, the policy that is to be in force, its mode and deadline, and what Proof takes
    """
    root, policy, mode, deadline, *rest = argv
    try:
        proof = Proof(stdout, *rest)
        proof.run(not root, mode)
        proof.judge_time(mode, deadline, drop_in_directory(policy))
    except _NotProvedError as error:
        print(str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
