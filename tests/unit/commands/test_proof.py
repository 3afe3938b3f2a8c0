# SPDX-License-Identifier: Apache-2.0
"""The proof of a hook before it is in force, over programs that stand for hooks, for aa-exec, and for the kernel."""

import io
import os
import sys

import pytest
from virtguard.commands.installing import proof
from virtguard.guarding import confinement
from virtguard.guarding.apparmor import NO, UNKNOWN, YES, Answer

# Judges as the hook does: a sample that is refused has a device.
HOOK = '#!/bin/sh\nanswer=0; grep -q virtiofs && [ "$2" = prepare ] && answer=1\n%s\nexit $answer\n'
WORKS = 'checked    the hook admits a domain without unsupported features and refuses one with them'
MAY_NOT = "does not let libvirt's daemon execute "
AA_EXEC = '#!/bin/sh\n[ "$1 $2 $3 $4" = "-i -p libvirtd --" ] || exit 9\nshift 4\n%s\nexec "$@"\n'
REFUSES = 'echo "aa-exec: ERROR: Failed to execute \\"$1\\": Permission denied" >&2; exit 1'


class Place:
    """A hook in its place, and what is said of it."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.program = self._write('sbin/virt-guard-hook', HOOK % '')
        self.link = directory / 'link'
        self.link.symlink_to(self.program)
        (directory / 'bin').mkdir()
        monkeypatch.setenv('PATH', '%s:/usr/bin:/bin' % (directory / 'bin'))
        self._patch = monkeypatch
        self.confine()

    def _write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def confine(self, *domains):
        self._patch.setattr(confinement, 'find_domains', lambda tree, kernel: list(domains))

    def hook(self, more):
        self.program.write_text(HOOK % more)

    def aa_exec(self, more=''):
        self._write('bin/aa-exec', AA_EXEC % more)

    def prove(self, capsys, root='', mode='enforce', deadline='60', proved=None):
        stdout = io.TextIOWrapper(io.BytesIO(), 'ascii')
        policy = str(self.directory / 'policy.yaml')
        words = [self.program, proved or self.program, self.link, policy, sys.executable, '/tree']
        status = proof.main([root, policy, mode, deadline, *map(str, words)], stdout)
        stdout.seek(0)
        return status, stdout.read(), capsys.readouterr().err


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


def test_a_hook_that_works(place, capsys):
    assert place.prove(capsys) == (0, WORKS + '\n', '')
    audited = '           in mode audit, which is set, it refuses nothing and only records\n'
    assert place.prove(capsys, mode='audit') == (0, WORKS + '\n' + audited, '')
    place.confine(('selinux', 'unknown', '-'))
    assert place.prove(capsys, root='/elsewhere') == (0, WORKS + '\n', ''), 'no daemon runs what is below a root'


@pytest.mark.parametrize(
    ('broken', 'told'),
    [
        ('exit 0', 'it does not refuse a domain with unsupported features (exit status 0)'),
        ('[ $2 = prepare ] && exit 1', 'it refuses a domain without unsupported features (exit status 1)'),
        ('echo oh; exit 3', 'it fails at an operation at which it must not (exit status 3)\n  oh'),
        ('[ $2 = prepare ] || echo oh', 'it speaks at an operation at which it must not (exit status 0)\n  oh'),
        ('[ $2 = reconnect ] && exit 2', 'it fails when the daemon restarts, which would end running domains'),
        ('[ $2 = reconnect ] && echo oh', 'it speaks at an operation at which it must not (exit status 0)\n  oh'),
        ('[ $2 = stopped ] && kill -9 $$', 'it fails at an operation at which it must not (exit status 137)'),
    ],
)
def test_a_hook_that_does_not_work(place, capsys, broken, told):
    place.hook(broken)
    status, output, errors = place.prove(capsys)
    assert (status, output) == (1, '')
    assert errors.startswith('install.sh: the hook does not work: ' + told)


def test_a_hook_that_cannot_be_run(place, capsys):
    place.program.chmod(0o644)
    assert '(exit status 126)\n  %s: Permission denied\n' % place.link in place.prove(capsys)[2]
    place.program.unlink()
    assert '(exit status 127)\n  %s: No such file or directory\n' % place.link in place.prove(capsys)[2]


# --- AppArmor


def test_under_the_profile_of_the_daemon(place, capsys):
    place.confine(('apparmor', 'libvirtd', 'libvirtd'))
    place.aa_exec('echo "$@" >>%s/calls' % place.directory)
    assert place.prove(capsys) == (0, WORKS + ', under the AppArmor profile libvirtd\n', '')
    calls = (place.directory / 'calls').read_text().splitlines()
    name = '%s virt-guard-install-check ' % place.link
    assert calls == ['true'] + [
        name + call for call in ('stopped end -', 'reconnect begin -', 'prepare begin -', 'prepare begin -')
    ]
    place.hook('exit 3')
    assert 'does not work under the AppArmor profile libvirtd: it fails' in place.prove(capsys)[2]


def test_a_profile_that_forbids_it(place, capsys):
    place.confine(('apparmor', 'not-running', '/usr/sbin/libvirtd'))
    (place.directory / 'bin/aa-exec').write_text('#!/bin/sh\nshift 4\n' + REFUSES)
    (place.directory / 'bin/aa-exec').chmod(0o755)
    status, output, errors = place.prove(capsys)
    assert (status, output) == (1, '')
    assert errors.startswith('install.sh: the AppArmor profile /usr/sbin/libvirtd ' + MAY_NOT + str(place.program))
    assert "    echo '%s PUx,' >>/etc/apparmor.d/local/usr.sbin.libvirtd\n" % place.program in errors


def test_a_profile_that_names_the_path_that_is_in_use(place, capsys):
    """What stands for it meanwhile may not be executed; what is in use shows whether it may."""
    place.confine(('apparmor', 'libvirtd', 'libvirtd'))
    proved = place._write('sbin/virt-guard-hook.check', HOOK % '')
    place.link.unlink()
    place.link.symlink_to(proved)
    place.aa_exec('case $(readlink "$1") in *.check) %s ;; esac' % REFUSES)
    assert place.prove(capsys, proved=proved) == (0, WORKS + ', under the AppArmor profile libvirtd\n', '')
    assert os.readlink(str(place.link)) == str(proved)
    place.aa_exec('[ "$1" = true ] || { %s; }' % REFUSES)
    assert MAY_NOT in place.prove(capsys, proved=proved)[2]


@pytest.mark.parametrize('useless', [False, True])
def test_what_cannot_be_tried_is_read(place, capsys, monkeypatch, useless):
    place.confine(('apparmor', 'libvirtd', 'libvirtd'))
    if useless:
        place.aa_exec('echo "aa-exec: ERROR: AppArmor interface not available" >&2; exit 1')
    answers = [Answer(YES, 'PUx'), Answer(NO, ''), Answer(UNKNOWN, 'there is no such file')]
    monkeypatch.setattr(confinement, 'profile_allows', lambda tree, name, path: answers.pop(0))
    read = ', and the AppArmor profile libvirtd lets the daemon execute it (read, not tried: no aa-exec works here)\n'
    assert place.prove(capsys) == (0, WORKS + read, '')
    assert MAY_NOT in place.prove(capsys)[2]
    unknown = (
        '           not known: whether the AppArmor profile libvirtd lets the daemon execute %s\n'
        '           (there is no such file; with aa-exec, of the package apparmor, install.sh tries it)\n'
    ) % place.program
    assert place.prove(capsys) == (0, unknown + WORKS + '\n', '')


# --- SELinux


def test_what_the_kernel_answers_for_the_daemon(place, capsys, monkeypatch):
    place.confine(('selinux', 'virtqemud', 'a:b:c'))
    answers = [(0, ['note it is not enforced']), (1, ['refused it may not read x']), (2, ['unknown it is off'])]
    asked = []

    def answer(question, stdout):
        asked.append(question)
        status, lines = answers.pop(0)
        stdout.write(''.join(line + '\n' for line in lines))
        return status

    monkeypatch.setattr(confinement, 'main', answer)
    said = '           note it is not enforced\n' + WORKS + ', and SELinux lets virtqemud run it\n'
    assert place.prove(capsys) == (0, said, '')
    assert asked[0][:2] == ['selinux-refusals', 'a:b:c'] and 'program=%s' % place.program in asked[0]
    refused = "install.sh: SELinux does not let libvirt's daemon (virtqemud, a:b:c) run the hook\n"
    assert place.prove(capsys) == (1, '', refused + '  refused it may not read x\n')
    said = "           not known: whether SELinux lets libvirt's daemon (a:b:c) run the hook\n"
    assert place.prove(capsys) == (0, said + '           unknown it is off\n' + WORKS + '\n', '')


def test_what_is_not_known_of_the_daemons(place, capsys):
    place.confine(('apparmor', 'unknown', '-'), ('selinux', 'unknown', '-'))
    first, second, checked = place.prove(capsys)[1].splitlines()
    assert first.startswith('           not known: which AppArmor profiles are loaded (mount securityfs')
    assert second.startswith("           not known: in which SELinux domain libvirt's daemon runs")
    assert checked == WORKS


# --- how long it takes


@pytest.mark.parametrize(
    ('deadline', 'clean', 'denied', 'raised'),
    [
        ('5', 1.0, 0.9, None),
        ('5', 0.9, 1.01, 10),
        ('0.5', 0.3, 1.9, 10),
        ('5', 2.1, 0.1, 20),
        ('5', 4.9, 8.1, 60),
    ],
)
def test_a_call_that_takes_more_than_a_fifth_of_the_deadline_is_told(deadline, clean, denied, raised):
    assert (time_told({'clean': clean, 'denied': denied}, 'enforce', deadline) is None) == (raised is None)
    if raised is not None:
        first, second = time_told({'clean': clean, 'denied': denied}, 'enforce', deadline)
        slow = (
            "           a call of the hook took %.2f s on this host, and the policy's deadline is %s s: a start that "
        )
        assert first == slow % (max(clean, denied), deadline) + 'takes longer is refused'
        advice = "           to raise it: echo 'deadline: %d' >/policy.d/99-deadline.yaml; virt-guard policy compile"
        assert second == advice % raised


def test_a_host_that_would_refuse_clean_domains_stops_it():
    with pytest.raises(proof._NotProvedError, match=r'is refused\n  to raise it: .*, then run install.sh again'):
        time_told({'clean': 5.0, 'denied': 0.1}, 'enforce', '5')
    assert time_told({'clean': 5.0, 'denied': 0.1}, 'audit', '5')
    assert time_told({'clean': 0.1, 'denied': 5.0}, 'enforce', '5')


def time_told(slowest, mode, deadline):
    stdout = io.StringIO()
    judged = proof.Proof(stdout, *['x'] * 6)
    judged._slowest = slowest
    judged.judge_time(mode, deadline, '/policy.d')
    return stdout.getvalue().splitlines() or None
