# SPDX-License-Identifier: Apache-2.0
"""install.sh --uninstall: all of it goes, and nothing else."""

import shutil

import pytest
from installation import DENIED, Installed
from installing import FOREIGN, SETTINGS, begin_installed, install, shipped, tree

# --- uninstall


def test_uninstall_leaves_what_was_there(root):
    for directory in ('usr/bin', 'usr/lib', 'etc/libvirt/hooks', 'etc/libvirt/qemu', 'var/log'):
        (root / directory).mkdir(parents=True)
    (root / 'usr/bin/other').write_text(FOREIGN)
    (root / 'etc/libvirt/hooks/network').write_text(FOREIGN)
    before = tree(root)
    install(root, '--mode', 'audit')
    install(root, '--mode', 'enforce')
    result = install(root, '--uninstall')
    assert tree(root) == before
    assert 'kept' not in result.stdout
    assert 'not installed' in install(root, '--uninstall').stdout
    assert tree(root) == before


@pytest.mark.parametrize('hooks_existed', [True, False])
def test_uninstall_removes_only_directories_it_made(root, hooks_existed):
    if hooks_existed:
        (root / 'etc/libvirt/hooks').mkdir(parents=True)
    install(root)
    install(root)
    install(root, '--uninstall')
    assert (root / 'etc/libvirt/hooks').exists() == hooks_existed
    assert not (root / 'usr').exists()


def test_uninstall_keeps_what_is_not_its_own(root):
    begin_installed(root)
    there = Installed(root)
    edited = shipped('rhel-8') + b'deadline: 7\n'
    there.policy.write_bytes(edited)
    there.run_hook('somebody', 'prepare', DENIED)
    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    text = root / 'etc/virt-guard/policy.edit/50-site.yaml.rejected'
    text.parent.mkdir()
    others = ('usr/lib/virt-guard/note', 'etc/virt-guard/note', 'etc/libvirt/hooks/lxc')
    foreign = [*(root / name for name in others), drop_in, text]
    for path in foreign:
        path.write_text('note\n')
    result = install(root, '--uninstall')
    left = {path for path in root.glob('**/*') if not path.is_dir()}
    assert left - {there.log} == {there.policy, *foreign}
    assert 'kept       %s (edited)' % there.policy in result.stdout
    assert 'kept       %s (a drop-in of yours)' % drop_in in result.stdout
    assert 'kept       %s (of virt-guard policy edit)' % text in result.stdout
    assert there.log.exists() == ('kept       %s (audit records)' % there.log in result.stdout)

    # A policy kept is a policy found again, and so is a drop-in: 'note' is none.
    assert '50-site.yaml:1:1: the policy is text, not a mapping' in install(root, status=1).stderr
    drop_in.write_text('mode: enforce\n')
    assert 'policy.yaml.new' in install(root).stdout
    assert there.policy.read_bytes() == edited


@pytest.mark.parametrize('text', ['deadline: 9', '# until the tests are done', 'mode: {audit-until: 2099-01-31}'])
def test_uninstall_keeps_settings_of_the_site(root, text):
    """What --mode writes is not one: that goes with the guard."""
    begin_installed(root, '--mode', 'audit')
    with (root / SETTINGS).open('a') as file:
        file.write(text + '\n')
    assert 'kept       %s (a drop-in of yours)' % (root / SETTINGS) in install(root, '--uninstall').stdout
    assert (root / SETTINGS).read_text().endswith('mode: audit\nfailure: admit\n%s\n' % text)


@pytest.mark.parametrize('profile', ['rhel-8', 'rhel-9'])
def test_uninstall_after_half_an_installation(root, profile):
    install(root, '--profile', profile)
    shutil.rmtree(str(root / 'usr'))
    install(root, '--uninstall')
    assert [path for path in root.glob('**/*') if not path.is_dir()] == []


def test_uninstall_removes_what_killed_commands_have_left_behind(root):
    (root / 'etc').mkdir(parents=True)
    before = tree(root)
    install(root)
    for name in ('drop-in.new', 'policy.compiled.123'):
        (root / 'etc/virt-guard' / name).write_text('half')
    (root / 'var/lib/virt-guard').mkdir(parents=True)
    (root / 'var/lib/virt-guard/policy.lock').write_text('root (process 123)')
    install(root, '--uninstall')
    assert not (root / 'etc/virt-guard').exists() and not (root / 'var/lib/virt-guard').exists()
    assert [path for path in before if path not in tree(root)] == []
