# SPDX-License-Identifier: Apache-2.0
"""install.sh where somebody has planted links and files that are not what they seem."""

import os
import shutil
import stat
import struct
import sys

import pytest
from installation import Installed
from installing import FOREIGN, begin_installed, edit, install, shipped, tree

# --- planted links


@pytest.mark.parametrize(
    'directory',
    [
        'etc',
        'usr/lib/virt-guard',
        'usr/libexec/virt-guard',
        'etc/virt-guard',
        'etc/virt-guard/policy.d',
        'usr/lib/virt-guard/virtguard',
        'etc/libvirt/hooks',
        'var/log',
    ],
)
@pytest.mark.parametrize('option', ['--no-deps', '--uninstall'])
def test_no_directory_is_reached_by_a_link(root, tmp_path, directory, option):
    victim = tmp_path / 'victim'
    victim.mkdir()
    (victim / 'qemu').write_text(FOREIGN)
    (root / directory).parent.mkdir(parents=True, exist_ok=True)
    (root / directory).symlink_to(victim)
    before, victim_before = tree(root), tree(victim)
    options = [option] if option == '--uninstall' else [option, '--python', sys.executable]
    assert 'symbolic link' in install(root, *options, status=1).stderr
    assert tree(root) == before
    assert tree(victim) == victim_before


@pytest.mark.parametrize(
    'name',
    [
        'TREE/virtguard/hook/call.py',
        'usr/lib/virt-guard/policy.yaml',
        'TREE/profiles/rhel-9.yaml',
        'usr/lib/virt-guard/created-directories',
        'usr/lib/virt-guard/.new',
        'usr/sbin/virt-guard-hook',
        'usr/sbin/virt-guard-hook.check',
        'etc/virt-guard/.virt-guard-check.yaml',
        'etc/virt-guard/policy.yaml.new',
        'TREE/virtguard/__pycache__',
    ],
)
def test_no_file_is_written_through_a_link(root, tmp_path, checkout, name):
    begin_installed(root)
    (root / 'etc/virt-guard/policy.yaml').write_bytes(shipped('rhel-8') + b'deadline: 7\n')
    name = name.replace('TREE', str(Installed(root).tree))
    victim = tmp_path / 'victim'
    if name.endswith(('__pycache__', '/.new')):
        shutil.rmtree(str(root / name), ignore_errors=True)
        victim.mkdir()
    else:
        if (root / name).exists():
            (root / name).unlink()
        victim.write_text('precious\n')
    (root / name).symlink_to(victim)
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    assert not (root / name).is_symlink()
    assert list(victim.iterdir()) == [] if victim.is_dir() else victim.read_text() == 'precious\n'


@pytest.mark.parametrize(
    'name',
    [
        'etc/virt-guard/policy.compiled',
        'usr/lib/systemd/catalog/virt-guard.catalog',
        'usr/lib/systemd/system/virt-guard-compile.path',
        'usr/lib/systemd/system/virt-guard-compile.service',
        'usr/lib/systemd/system/virt-guard-metrics.service',
        'usr/lib/systemd/system/virt-guard-metrics.timer',
        'usr/lib/systemd/system/virt-guard-watch.service',
        'usr/lib/virt-guard/policy.yaml',
        'usr/sbin/virt-guard-hook',
        'usr/share/bash-completion/completions/virt-guard',
        'usr/share/man/man8/virt-guard.8',
        'usr/share/virt-guard/virt-guard-alerts.yml',
    ],
)
def test_a_directory_where_a_file_is_to_be(root, name):
    (root / name).mkdir(parents=True)
    before = tree(root)
    assert '%s is a directory' % (root / name) in install(root, status=1).stderr
    assert tree(root) == before


def test_links_in_a_checkout_are_followed(root, checkout, tmp_path):
    (checkout / 'lib/virtguard').rename(tmp_path / 'package')
    (checkout / 'lib/virtguard').symlink_to(tmp_path / 'package')
    (tmp_path / 'package/hook/call.py').rename(tmp_path / 'elsewhere.py')
    (tmp_path / 'package/hook/call.py').symlink_to(tmp_path / 'elsewhere.py')
    install(root, checkout=checkout)
    assert [path for path in Installed(root).tree.rglob('*') if path.is_symlink()] == []


def test_a_default_acl_gives_nobody_else_the_policy(root):
    (root / 'etc/virt-guard').mkdir(parents=True)
    user, group, mask, other, nobody = 1, 4, 16, 32, 0xFFFFFFFF
    entries = [(user, 7, nobody), (group, 7, nobody), (8, 7, 65534), (mask, 7, nobody), (other, 5, nobody)]
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
    try:
        os.setxattr(str(root / 'etc/virt-guard'), 'system.posix_acl_default', acl)
    except OSError as error:
        pytest.skip('no ACLs here: %s' % error)
    install(root)
    assert stat.S_IMODE((root / 'etc/virt-guard/policy.yaml').stat().st_mode) == 0o644
