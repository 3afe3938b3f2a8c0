# SPDX-License-Identifier: Apache-2.0
"""Where libvirt is to find the hook: it may be the only one, or stand beside that of another program."""

import pytest
from virtguard.commands.installing import hook_link
from virtguard.commands.installing.hook_link import BESIDE, ONLY, choose_link
from virtguard.errors import GuardError


@pytest.fixture
def hooks(tmp_path):
    (tmp_path / 'hooks/qemu.d').mkdir(parents=True)
    return tmp_path / 'hooks'


@pytest.fixture
def libvirt(monkeypatch):
    """A function: the version that the host's libvirt has from then on."""
    return lambda version: monkeypatch.setattr(hook_link, 'libvirt_version', lambda: version)


def choose(hooks):
    return choose_link(str(hooks), [str(hooks.parent / 'program'), str(hooks.parent / 'old')])


def test_where_no_hook_is(hooks, libvirt):
    libvirt(None)
    assert choose(hooks) == choose(hooks / 'nowhere') == ONLY


@pytest.mark.parametrize('target', ['../program', '../hooks/../old', 'PROGRAM'])
def test_our_own_link_is_recognised_however_it_is_written(hooks, libvirt, target):
    libvirt(None)
    (hooks / 'qemu').symlink_to(target.replace('PROGRAM', str(hooks.parent / 'program')))
    assert choose(hooks) == ONLY


@pytest.mark.parametrize('is_broken_link', [False, True])
def test_beside_the_hook_of_another_program(hooks, libvirt, is_broken_link):
    if is_broken_link:
        (hooks / 'qemu').symlink_to('/nowhere/hook')
    else:
        (hooks / 'qemu').write_text('#!/bin/sh\n')
    for version in ((6, 5, 0), (6, 10, 0), (9, 0, 0), (11, 10, 0)):
        libvirt(version)
        assert choose(hooks) == BESIDE
    for version in ((4, 5, 0), (6, 4, 9)):
        libvirt(version)
        told = 'and libvirt %d.%d runs only that one hook' % version[:2]
        with pytest.raises(GuardError, match=told):
            choose(hooks)
    libvirt(None)
    with pytest.raises(GuardError, match='no libvirt is installed that could run a second hook'):
        choose(hooks)


def test_the_second_place_is_taken(hooks, libvirt):
    libvirt((9, 0, 0))
    (hooks / 'qemu').write_text('#!/bin/sh\n')
    beside = hooks / BESIDE
    beside.symlink_to('../../program')
    assert choose(hooks) == BESIDE, 'it is ours'
    beside.unlink()
    beside.write_text('#!/bin/sh\n')
    with pytest.raises(GuardError, match='00-virt-guard belongs to another program; remove or rename it'):
        choose(hooks)
