# SPDX-License-Identifier: Apache-2.0
"""install.sh on a host where another program has the hook."""

import os

import pytest
from installing import FOREIGN, install, tree

# --- hooks of others


@pytest.fixture
def foreign(root):
    """The directory of hooks; in it, that of another program."""
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').write_text(FOREIGN)
    return hooks


# The oldest that has a directory of hooks, and one whose number has two digits.
@pytest.mark.parametrize('version', ['6.5.0', '11.10.0'])
def test_a_libvirt_that_runs_several_hooks(root, foreign, fake_libvirt, version):
    assert 'stays' in install(root, prefix=fake_libvirt(version)).stdout
    assert (foreign / 'qemu').read_text() == FOREIGN
    assert os.readlink(str(foreign / 'qemu.d/00-virt-guard')) == str(root / 'usr/sbin/virt-guard-hook')


def test_foreign_hook_stays_first(root, foreign, fake_libvirt):
    before = tree(root)
    recent = fake_libvirt('9.0.0')
    result = install(root, prefix=recent)
    assert 'stays' in result.stdout
    assert (foreign / 'qemu').read_text() == FOREIGN
    ours = foreign / 'qemu.d/00-virt-guard'
    assert os.readlink(str(ours)) == str(root / 'usr/sbin/virt-guard-hook')
    assert 'unchanged' in install(root, prefix=recent).stdout

    (foreign / 'qemu').unlink()
    install(root)
    assert (foreign / 'qemu').is_symlink()
    assert not os.path.lexists(str(ours))

    (foreign / 'qemu').unlink()
    (foreign / 'qemu').write_text(FOREIGN)
    install(root, prefix=recent)
    assert ours.is_symlink()
    install(root, '--uninstall')
    assert tree(root, times=False).keys() == before.keys()
    assert (foreign / 'qemu').read_text() == FOREIGN


@pytest.mark.parametrize('version', ['4.5.0', '6.0.0', '6.4.9'])
def test_foreign_hook_and_old_libvirt(root, foreign, fake_libvirt, version):
    before = tree(root)
    result = install(root, prefix=fake_libvirt(version), status=1)
    assert str(foreign / 'qemu') in result.stderr
    assert 'libvirt %s' % version.rpartition('.')[0] in result.stderr
    assert tree(root) == before


def test_foreign_broken_link_counts_as_a_hook(root, fake_libvirt):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').symlink_to('/nowhere/hook')
    install(root, status=1, prefix=fake_libvirt('6.0.0'))
    install(root, prefix=fake_libvirt('9.0.0'))
    install(root, '--uninstall')
    assert os.readlink(str(hooks / 'qemu')) == '/nowhere/hook'


def test_second_place_taken(root, fake_libvirt):
    hooks = root / 'etc/libvirt/hooks'
    (hooks / 'qemu.d').mkdir(parents=True)
    (hooks / 'qemu').write_text(FOREIGN)
    (hooks / 'qemu.d/00-virt-guard').write_text(FOREIGN)
    before = tree(root)
    assert '00-virt-guard' in install(root, status=1, prefix=fake_libvirt('9.0.0')).stderr
    assert tree(root) == before


def test_our_own_link_is_recognised_in_an_installation(root):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').symlink_to('../../../usr/libexec/virt-guard/qemu')  # broken, until install.sh has run
    install(root)
    assert not (hooks / 'qemu.d').exists()
    assert 'unchanged' in install(root).stdout


def test_foreign_command_stays(root):
    (root / 'usr/bin').mkdir(parents=True)
    (root / 'usr/bin/virt-guard').write_text(FOREIGN)
    before = tree(root)
    assert 'usr/bin/virt-guard' in install(root, status=1).stderr
    install(root, '--uninstall')
    assert tree(root) == before
