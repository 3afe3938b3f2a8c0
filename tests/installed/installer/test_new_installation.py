# SPDX-License-Identifier: Apache-2.0
"""install.sh below a root of its own: nothing here touches the host."""

import glob
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest
from installation import CHECKOUT, CLEAN, DENIED, Installed, policy_text
from installing import edit, install, tree

# --- a new installation


def test_layout(installed):
    for path, value in tree(installed.root).items():
        mode, owner = int(value[0], 8), value[1]
        assert owner == os.geteuid(), path
        if stat.S_ISDIR(mode):
            assert stat.S_IMODE(mode) == 0o755, path
        elif stat.S_ISREG(mode):
            program = path in ('usr/bin/virt-guard', 'usr/sbin/virt-guard-hook')
            assert stat.S_IMODE(mode) == (0o755 if program else 0o644), path
    assert os.readlink(str(installed.hook)) == str(installed.program)
    assert sorted(path.name for path in installed.library.iterdir()) == [
        'created-directories',
        'policy.yaml',
        installed.tree.name,
    ]
    package = installed.tree / 'virtguard'
    modules = {path.relative_to(package) for path in package.glob('**/*.py')}
    assert modules == {
        path.relative_to(CHECKOUT / 'lib/virtguard') for path in (CHECKOUT / 'lib/virtguard').glob('**/*.py')
    }
    compiled = {path.parent.with_name(path.name.split('.')[0] + '.py') for path in package.glob('**/*.pyc')}
    assert {path.relative_to(package) for path in compiled} == modules
    assert installed.policy.read_bytes() == (CHECKOUT / 'policy.yaml').read_bytes()
    for language in ('', 'ja/'):
        for page in ('man8/virt-guard.8', 'man5/virt-guard-policy.5'):
            installed_page = installed.root / 'usr/share/man' / language / page
            assert installed_page.read_bytes() == (CHECKOUT / 'doc' / language / installed_page.name).read_bytes()


def test_hook_judges(installed):
    with installed.with_policy():
        for operation in ('prepare', 'start'):
            result = installed.run_hook('guest', operation, CLEAN)
            assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
            result = installed.run_hook('guest', operation, DENIED)
            assert (result.returncode, result.stdout) == (1, b'')
            assert result.stderr.startswith(b"virt-guard: domain 'guest' denied by policy 'rhel-8': tpm-passthrough\n")


def test_command_uses_the_installed_policy(installed):
    with installed.with_policy(policy_text().replace('policy: rhel-8', 'policy: of-this-test')):
        result = installed.run_cli('policy', 'check')
        assert result.returncode == 0
        assert b'of-this-test' in result.stdout
        assert str(installed.policy).encode() in result.stdout
        assert installed.run_cli('check', '-', input=CLEAN).returncode == 0
        assert installed.run_cli('check', '-', input=DENIED).returncode == 1


def test_no_environment_variable_changes_the_command(installed, tmp_path):
    (tmp_path / 'argparse.py').write_text('raise SystemExit(99)\n')
    result = installed.run_cli('--version', cwd=str(tmp_path), env={'PYTHONPATH': str(tmp_path), 'PATH': '/nowhere'})
    assert result.returncode == 0


def test_the_installer_says_what_it_did(root):
    lines = install(root).stdout.splitlines()
    done = [line.split(None, 1) for line in lines]
    program = ['installed', str(root / 'usr/sbin/virt-guard-hook')]
    link = ['linked', str(root / 'etc/libvirt/hooks/qemu')]
    # Both come after the check: a hook that fails it must not get in force.
    verbs = [words[0] for words in done if words]
    assert verbs.index('checked') < done.index(program) < done.index(link)


def test_judges_the_defined_domains(root):
    domains = root / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    (domains / 'refused.xml').write_bytes(DENIED)
    result = install(root)
    assert 'refused.xml' in result.stdout
    assert 'tpm-passthrough' in result.stdout
    assert 'virt-guard explain RULE' in result.stdout
    assert 'refused at its next start' in result.stdout
    assert 'in mode enforce' in install(root, '--mode', 'audit').stdout


# The checkout, the root and the interpreter, all relative or absolute, in a place with such a name.
@pytest.mark.parametrize(
    'name', ["it's", 'a b', 'a"b$HOME`id`\\n', '-x', 'x' * 200, os.fsdecode(b'\xc3\xa9'), os.fsdecode(b'\xe9 x')]
)
def test_installs_from_a_checkout_at_any_path(tmp_path, checkout, name, monkeypatch):
    monkeypatch.setenv('LC_ALL', 'C.UTF-8')
    directory = tmp_path / name
    directory.mkdir()
    shutil.move(str(checkout), str(directory / 'checkout'))
    python = directory / 'python'
    python.write_text('#!/bin/sh\nexec %s "$@"\n' % sys.executable)
    python.chmod(0o755)
    checkout = pathlib.Path('..') / name / 'checkout'
    install(name, '--no-deps', '--python=%s' % python, checkout=checkout, cwd=str(directory))
    there = Installed(directory / name)
    with there.with_policy():
        assert there.run_hook('guest', 'prepare', CLEAN).returncode == 0
        assert there.run_hook('guest', 'prepare', DENIED).returncode == 1
        assert there.run_cli('check', '-', input=DENIED).returncode == 1


def test_an_ordinary_user_makes_a_tree(nobody):
    # Not in tmp_path, which is root's alone.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.chown(directory, 65534, 65534)
        root = pathlib.Path(directory, 'root')
        install(root, preexec_fn=nobody, cwd='/')
        there = Installed(root)
        assert there.run_hook('guest', 'stopped', DENIED, preexec_fn=nobody).returncode == 0
        install(root, '--uninstall', preexec_fn=nobody, cwd='/')
        assert not root.exists()


def test_a_host_needs_root(nobody):
    result = subprocess.run(
        [str(CHECKOUT / 'install.sh')], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=nobody, cwd='/'
    )
    assert result.returncode == 1
    assert b'root' in result.stderr


# --- again, and newer versions


def test_second_run_changes_nothing(root):
    install(root)
    before = tree(root)
    result = install(root)
    assert 'unchanged' in result.stdout
    assert 'installed' not in result.stdout
    assert tree(root) == before


def test_repairs(root):
    install(root)
    before = tree(root, times=False)
    there = Installed(root)
    damaged = there.tree
    damaged.joinpath('virtguard/hook/call.py').write_text('broken\n')
    damaged.joinpath('virtguard').chmod(0o777)
    shutil.rmtree(str(damaged / 'virtguard/__pycache__'))
    there.program.chmod(0o600)
    there.cli.unlink()
    there.hook.unlink()
    install(root)
    after = tree(root, times=False)
    # Calls may still use what is damaged, so it is not mended in place: the new one has another name.
    assert there.tree.name == damaged.name + '.2' and not damaged.exists()
    after = {path.replace(there.tree.name, damaged.name): value for path, value in after.items()}
    named = [
        path for path in before if '__pycache__' in path or path.endswith('.compiled')
    ]  # these hold times and names
    assert named
    for path in [*named, 'usr/bin/virt-guard', 'usr/sbin/virt-guard-hook']:
        assert after.pop(path)[0] == before.pop(path)[0]
    assert after == before


def test_upgrade(root, checkout):
    (checkout / 'lib/virtguard/gone.py').write_text('pass\n')
    install(root, checkout=checkout)
    (checkout / 'lib/virtguard/gone.py').unlink()
    (checkout / 'lib/virtguard/come.py').write_text('pass\n')
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    (package,) = root.glob('usr/lib/virt-guard/tree-*/virtguard')
    names = {path.name.split('.')[0] for path in package.glob('**/*.py*')}
    assert 'come' in names
    assert 'gone' not in names
    assert (root / 'etc/virt-guard/policy.yaml').read_bytes() == (checkout / 'policy.yaml').read_bytes()
    assert not (root / 'etc/virt-guard/policy.yaml.new').exists()


def test_code_that_this_python_cannot_read_is_not_installed(root, checkout):
    install(root, checkout=checkout)
    before = tree(root)
    (checkout / 'lib/virtguard/hook/call.py').write_text('this is no Python\n')
    assert 'hook/call.py' in install(root, checkout=checkout, status=1).stderr
    assert tree(root) == before


# --- the check at the end


@pytest.mark.parametrize('mode', ['audit', 'enforce'])
@pytest.mark.parametrize(
    ('broken', 'complaint'),
    [
        ('exit 0', 'unsupported features'),
        ('[ "$2" = stopped ] && exit 0; echo Traceback >&2; exit 2', 'Traceback'),
        ('exit 1', 'must not'),
        ('[ "$2" = stopped ] && echo hello && exit 0', 'must not'),
    ],
)
def test_a_hook_that_does_not_work_is_not_put_in_force(root, checkout, mode, broken, complaint):
    edit(checkout / 'hooks/qemu', '# What libvirt runs', broken + '\n# What libvirt runs')
    assert complaint in install(root, '--mode', mode, checkout=checkout, status=1).stderr
    assert [path for path in root.rglob('*') if not path.is_dir() and path.name != 'virt-guard.log'] == []


def test_a_guard_that_fails_open_is_found_out(root):
    # The hook refuses a policy that others can write, and where failure is admit that looks just like mode audit.
    (root / 'etc').mkdir()
    (root / 'etc').chmod(0o777)
    assert 'can be written by others' in install(root, '--mode', 'audit', status=1).stderr


# --- the command line


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--frobnicate'], '--frobnicate'),
        (['install'], 'install'),
        (['--mode'], '--mode'),
        (['--mode='], '--mode'),
        (['--mode', 'permissive'], 'permissive'),
        (['--profile', 'rhel-11'], 'rhel-11'),
        (['--profile', 'rhel-8 rhel-9'], 'rhel-8 rhel-9'),
        (['--profile', './ours.yaml'], '/etc/virt-guard/policy.yaml'),
        (['--profile='], '--profile'),
        (['--uninstall', '--profile', 'rhel-9'], '--uninstall'),
        (['--python', 'python3'], 'absolute'),
        (['--uninstall', '--mode', 'audit'], '--uninstall'),
        (['--root', ''], '--root'),
        (['--root', 'a\nb'], 'control'),
    ],
)
def test_bad_options(root, options, complaint):
    result = subprocess.run(
        [str(CHECKOUT / 'install.sh'), '--root', str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
    )
    assert result.returncode == 2
    assert complaint in result.stderr.splitlines()[0]
    assert 'usage:' in result.stderr
    assert result.stdout == ''
    assert list(root.iterdir()) == []


def test_help(root):
    result = install(root, '--help')
    assert 'usage:' in result.stdout
    assert '--uninstall' in result.stdout
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ('python', 'complaint'),
    [
        ('/nowhere/python', 'no interpreter'),
        (shutil.which('false'), 'cannot import'),
    ],
)
def test_an_interpreter_that_cannot_be_used(root, python, complaint):
    assert complaint in install(root, '--python', python, status=1).stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize('missing', ['policy.yaml', 'data/profiles/rhel-8.yaml', 'data/profiles/rhel-10.yaml'])
def test_incomplete_checkout(root, checkout, missing):
    (checkout / missing).unlink()
    assert missing in install(root, checkout=checkout, status=1).stderr
    assert list(root.iterdir()) == []


# --- the end of its reader


def test_a_reader_that_goes_away_leaves_nothing_behind(root, tmp_path):
    """As in `install.sh | head`: it ends, and its temporary files with it."""
    reader, writer = os.pipe()
    os.close(reader)
    before = set(glob.glob('/tmp/virt-guard-install.*'))
    command = [str(CHECKOUT / 'install.sh'), '--root', str(root), '--no-deps', '--python', sys.executable]
    process = subprocess.run(command, stdout=writer, stderr=subprocess.DEVNULL, timeout=60)
    os.close(writer)
    assert process.returncode != 0
    assert set(glob.glob('/tmp/virt-guard-install.*')) <= before
