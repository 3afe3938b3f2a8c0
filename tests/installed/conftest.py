# SPDX-License-Identifier: Apache-2.0
"""Fixtures of these tests. Helpers to import are in installation.py: other directories have a conftest, too."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess

import pytest
from installation import CHECKOUT, Installed, Journal, newly_installed
from support.capabilities import need_mount_namespaces
from support.host_copy import HostCopy
from watching import Watching, rules_text

CLONE_NEWNS = 0x20000


@pytest.fixture(scope='session')
def installed(tmp_path_factory: 'pytest.TempPathFactory') -> Installed:
    """One installation for all tests, with the policy as shipped. Whoever changes it changes it back."""
    return newly_installed(tmp_path_factory.mktemp('installed'))


@pytest.fixture(scope='module')
def private_run():
    """Enter a mount namespace with an empty /run, so that no record reaches the host's journal. Its end is ours."""
    need_mount_namespaces()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run'], check=True)
    if os.path.exists('/dev/log'):
        subprocess.run(['mount', '--bind', '/dev/null', '/dev/log'], check=True)
    yield
    subprocess.run(['umount', '/run'], check=True)


@pytest.fixture
def journal(private_run):
    path = pathlib.Path('/run/systemd/journal/socket')
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path)
    yield journal
    journal.close()


@pytest.fixture(scope='module')
def installation(tmp_path_factory):
    """An installation for the watch: libvirt's files are below it, too."""
    installation = newly_installed(tmp_path_factory.mktemp('watched'))
    installation.policy.write_text(rules_text())
    return installation


@pytest.fixture
def watching(installation):
    """Makes a watch that is not yet started; libvirt's directories are there, and empty."""
    need_mount_namespaces()
    with contextlib.ExitStack() as stack:

        def make(**options):
            watch = Watching(installation, **options)
            stack.callback(watch.close)
            for directory in (watch.run, watch.lib / 'snapshot', watch.lib / 'checkpoint'):
                directory.mkdir(parents=True)
            return watch

        yield make
    for directory in ('run', 'var/lib/libvirt/qemu', 'var/lib/virt-guard'):
        shutil.rmtree(str(installation.root / directory), ignore_errors=True)
    installation.policy.write_text(rules_text())


@pytest.fixture
def watch(watching):
    return watching()


@pytest.fixture
def on_host(tmp_path):
    """A function: a shell script -> what it says, on a copy of this host that nobody else sees. Its kernel says what
    the script writes below /sys, and `install` is install.sh. If virt-guard is on this host, it is not on the copy."""
    copy = HostCopy(tmp_path, {'/checkout': CHECKOUT})
    install = 'install() { /checkout/install.sh --no-deps --python /usr/bin/python3 "$@"; }\n'
    return lambda script: copy.run(install + script)
