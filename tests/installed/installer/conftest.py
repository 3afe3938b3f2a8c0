# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of install.sh. Helpers to import are in installing.py."""

import glob
import os
import shutil
import subprocess

import pytest
from installation import as_nobody, copy_checkout, need_an_ordinary_user
from support.capabilities import missing

LIBVIRT = ('/usr/lib/libvirt.so.0', '/usr/lib64/libvirt.so.0', '/usr/lib/*/libvirt.so.0')


@pytest.fixture(scope='session')
def _only_root(tmp_path_factory):
    return tmp_path_factory.mktemp('installer') / 'root'


@pytest.fixture
def no_root(_only_root):
    """Where a root can be, at the same path for all tests: begin_installed copies what holds that path."""
    if _only_root.exists():
        shutil.rmtree(str(_only_root))
    return _only_root


@pytest.fixture
def root(no_root):
    no_root.mkdir()
    return no_root


@pytest.fixture
def checkout(tmp_path):
    """A checkout to change: another version to install."""
    return copy_checkout(tmp_path / 'another checkout')


@pytest.fixture(scope='module')
def fake_libvirt(tmp_path_factory):
    """A function: version -> command prefix that runs the installer where libvirt's library has that version."""
    links = [path for pattern in LIBVIRT for path in glob.glob(pattern)]
    if os.geteuid() != 0 or len(links) != 1:
        missing('needs root and libvirt')
    directory = tmp_path_factory.mktemp('libvirt')

    def prefix(version):
        major, minor, micro = map(int, version.split('.'))
        hide = (
            'mount -t tmpfs tmpfs "$0" && cd "$0" && mkdir new work && ln -s libvirt.so.0.%d.%d new/libvirt.so.0\n'
            'mount -t overlay -o lowerdir=%s,upperdir=new,workdir=work overlay %s && cd "$OLDPWD" && exec "$@"'
        ) % (1000 * major + minor, micro, *[os.path.dirname(links[0])] * 2)
        return ['unshare', '--mount', '--', 'sh', '-c', hide, str(directory)]

    if subprocess.call(prefix('1.0.0') + ['true'], stderr=subprocess.DEVNULL) != 0:
        missing('no mount namespaces here')
    return prefix


@pytest.fixture
def on_system(tmp_path):
    """A function: the text of an os-release file -> command prefix that runs the installer on that system."""
    if os.geteuid() != 0 or not os.path.exists('/etc/os-release'):
        missing('needs root and /etc/os-release')

    def prefix(text):
        file = tmp_path / 'os-release'
        file.write_text(text)
        return ['unshare', '--mount', '--', 'sh', '-c', 'mount --bind "$0" /etc/os-release && exec "$@"', str(file)]

    if subprocess.call(prefix('') + ['true'], stderr=subprocess.DEVNULL) != 0:
        missing('no mount namespaces here')
    return prefix


@pytest.fixture
def nobody():
    """What makes a command run as an ordinary user; skips where that user cannot read this checkout."""
    need_an_ordinary_user()
    return as_nobody
