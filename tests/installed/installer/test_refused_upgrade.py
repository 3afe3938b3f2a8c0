# SPDX-License-Identifier: Apache-2.0
"""A version that is not put in force changes nothing, and says why; so on hosts that cannot be installed on."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from installation import DENIED, Installed, copy_checkout
from installing import begin_installed, edit, install, make_old_layout
from support.capabilities import missing


@pytest.fixture
def root(no_root):
    return no_root


def contents(root):
    """Every path below `root`, with what is in it, but for the log, which the check writes to."""
    return {
        path: os.readlink(str(path)) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in root.rglob('*')
        if path.name != 'virt-guard.log'
    }


@pytest.mark.parametrize('installed_before', [False, True])
@pytest.mark.parametrize(
    ('file', 'old', 'new', 'complaint'),
    [
        ('hooks/qemu', '# What libvirt runs', 'exit 1\n# What libvirt runs', 'must not'),
        ('hooks/qemu', 'prepare | start)', 'nothing)', 'does not refuse a domain with unsupported features'),
        ('hooks/qemu', 'prepare | start) ;;', 'reconnect) exit 3 ;; prepare | start) ;;', 'end running domains'),
        ('lib/virtguard/hook/call.py', 'def main(', 'def mein(', 'it refuses a domain without'),
        (
            'lib/virtguard/hook/worker.py',
            'import _signal',
            'import _no_signal',
            'does not refuse a domain with unsupported',
        ),
        ('data/profiles/rhel-8.yaml', 'policy: rhel-8', 'polcy: rhel-8', 'polcy'),
    ],
)
def test_what_fails_the_proof_leaves_everything_as_it_was(root, tmp_path, installed_before, file, old, new, complaint):
    root.mkdir()
    if installed_before:
        install(root, '--mode', 'audit')
    before = contents(root)
    checkout = copy_checkout(tmp_path / 'checkout')
    text = (checkout / file).read_text('utf-8')
    assert old in text
    (checkout / file).write_text(text.replace(old, new), 'utf-8')
    result = install(root, checkout=checkout, status=1)
    assert complaint in result.stderr
    assert 'nothing was changed' in result.stderr
    left = contents(root)
    for path in (root / 'var/log/libvirt', root / 'var/log', root / 'var'):  # for the log of the check
        left.pop(path, None)
        before.pop(path, None)
    assert left == before
    if installed_before:
        assert 'unchanged' in install(root).stdout


@pytest.fixture
def in_place_of(tmp_path):
    """A function: a program of this host, and a shell script -> command prefix that runs with that in its place. The
    script has the program itself as $real."""

    def prefix(program, text):
        program = shutil.which(program)
        real, script = tmp_path / (os.path.basename(program) + '.real'), tmp_path / os.path.basename(program)
        shutil.copy(program, str(real))
        script.write_text('#!/bin/sh\nreal=%s\n%s\nexec $real "$@"\n' % (real, text))
        script.chmod(0o755)
        command = ['unshare', '--mount', '--', 'sh', '-c', 'mount --bind "$0" "$1" && shift && exec "$@"']
        command += [str(script), program]
        if os.geteuid() != 0 or subprocess.call([*command, 'true'], stderr=subprocess.DEVNULL) != 0:
            missing('needs root and a mount namespace')
        return command

    return prefix


@pytest.fixture
def other_version(tmp_path):
    checkout = copy_checkout(tmp_path / 'checkout')
    with (checkout / 'lib/virtguard/hook/call.py').open('a', encoding='utf-8') as file:
        file.write('# other\n')
    return checkout


def test_half_a_copy_is_never_put_back(root, in_place_of, other_version):
    """Where no more fits into /tmp."""
    begin_installed(root)
    before = contents(root)
    half = 'case $3 in */usr/sbin/virt-guard-hook) head -c 100 "$3" >"$4"; exit 1 ;; esac'
    install(root, checkout=other_version, prefix=in_place_of('cp', half), status=1)
    assert contents(root) == before


def test_a_signal_while_changes_are_put_back_does_not_stop_that(root, in_place_of, other_version):
    """A signal while what was changed is put back."""
    begin_installed(root)
    (root / 'etc/libvirt/hooks/qemu').unlink()
    before = contents(root)
    first = in_place_of('ln', 'case $4 in */hooks/.virt-guard.*) exit 1 ;; esac')
    second = in_place_of('mv', 'case $4 in */usr/sbin/virt-guard-hook) kill -TERM $PPID ;; esac')
    install(root, checkout=other_version, prefix=[*first, *second], status=1)
    assert contents(root) == before


@pytest.mark.parametrize('place', ['', 'qemu', 'qemu.d/00-virt-guard'])
def test_the_link_goes_back_with_its_program(root, in_place_of, place):
    """What fails when nothing but the label of the link was left to do."""
    root.mkdir()
    if place:
        make_old_layout(root, root / 'etc/libvirt/hooks' / place)
    before = contents(root)
    late = 'case $5$4$3 in */hooks/qemu*) $real "$@"; exit 1 ;; esac'
    install(root, prefix=in_place_of('mv', late), status=1)
    left = contents(root)
    for path in (root / 'var/log/libvirt', root / 'var/log', root / 'var'):  # for the log of the check
        left.pop(path, None)
    assert left == before


def test_no_signal_comes_between_the_program_and_its_link(root, in_place_of):
    """A call may have begun by then with code that would be taken away again."""
    late = 'case $5$4$3 in */hooks/qemu*) kill -TERM $PPID ;; esac'
    install(root, prefix=in_place_of('mv', late))
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 1


def test_the_program_in_use_never_judges_by_the_policy_of_the_proof(root, tmp_path):
    """Not even one that cannot be executed now: when it can be again is not for the proof to say."""
    begin_installed(root)
    there = Installed(root)
    there.program.chmod(0o644)
    before = there.program.read_bytes()
    checkout = copy_checkout(tmp_path / 'checkout')
    edit(checkout / 'hooks/qemu', '\nname=$1', '\ncp %s %s\nname=$1' % (there.program, tmp_path / 'seen'))
    install(root, checkout=checkout)
    assert (tmp_path / 'seen').read_bytes() == before
    assert there.program.read_bytes() != before


def test_what_runs_that_were_killed_have_left(root):
    begin_installed(root)
    left = [
        root / name
        for name in (
            'etc/virt-guard/.virt-guard.12',
            'etc/virt-guard/policy.compiled.13',
            'etc/virt-guard/policy.compiled.13.14',
            'etc/virt-guard/.virt-guard-check.yaml',
            'etc/virt-guard/.virt-guard-check.compiled.15',
            'etc/libvirt/hooks/.virt-guard.16',
            'usr/bin/.virt-guard.17',
            'usr/sbin/.virt-guard.18',
            'usr/sbin/virt-guard-hook.check',
            'usr/share/man/man5/.virt-guard.19',
            'usr/libexec/virt-guard/.virt-guard.20',
        )
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    install(root, '--uninstall')
    assert [
        path for path in root.rglob('*') if not path.is_dir() and path != root / 'var/log/libvirt/virt-guard.log'
    ] == []


# --- hosts that cannot be installed on


@pytest.mark.parametrize('read_only', ['usr', 'etc'])
@pytest.mark.parametrize('installed_before', [False, True])
@pytest.mark.parametrize('option', ['--no-deps', '--uninstall'])
def test_read_only(root, read_only, installed_before, option):
    """As on a host that is made of an image."""
    namespace = [
        'unshare',
        '--mount',
        '--',
        'sh',
        '-c',
        'mount -o bind,ro "$0" "$0" && exec "$@"',
        str(root / read_only),
    ]
    (root / 'usr').mkdir(parents=True)
    (root / 'etc').mkdir()
    if os.geteuid() != 0 or subprocess.call([*namespace, 'true'], stderr=subprocess.DEVNULL) != 0:
        missing('needs root and a mount namespace')
    if installed_before:
        install(root)
    before = contents(root)
    result = install(root, option, prefix=namespace, status=1 if installed_before or option == '--no-deps' else 0)
    if result.returncode:
        assert result.stderr.startswith('install.sh: %s' % (root / read_only))
        assert 'is read-only, and nothing was changed. On a host that is made of an image' in result.stderr
    assert contents(root) == before


def test_one_installer_at_a_time(root):
    if not shutil.which('flock'):
        missing('needs flock (util-linux)')
    root.mkdir()
    result = install(root, prefix=['flock', str(root)], status=1)
    assert 'another install.sh is at work' in result.stderr
    assert list(root.iterdir()) == []
    install(root)


# --- hosts that are slow


@pytest.mark.parametrize(('deadline', 'status'), [('60', 0), ('4', 0), ('0.5', 1)])
def test_slow_host(root, tmp_path, deadline, status):
    """A call that takes more than a fifth of the deadline is told; one that takes longer than that stops install.sh."""
    slow = tmp_path / 'python'
    slow.write_text('#!/bin/sh\n[ "$1$2" != -I-S ] || sleep 1\nexec %s "$@"\n' % sys.executable)
    slow.chmod(0o755)
    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text('deadline: %s\n' % deadline)
    result = install(root, '--python', str(slow), status=status)
    said = (result.stderr if status else result.stdout).partition('a call of the hook took ')[2]
    assert bool(said) == (deadline != '60')
    if said:
        assert 1 <= float(said.split()[0]) < 20
        (advice,) = re.findall(r"echo '(deadline: \d+)' >(\S+)", said)
        assert int(advice[0].split()[1]) > 5
        assert advice[1] == str(root / 'etc/virt-guard/policy.d/99-deadline.yaml') + ',' * status + ';' * (not status)
    assert os.path.lexists(str(root / 'etc/libvirt/hooks/qemu')) == (status == 0)
