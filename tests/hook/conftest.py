# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the hook tests. Helpers to import are in installation.py: other directories have a conftest, too."""

import ctypes
import os
import pathlib
import subprocess

import pytest
from installation import Installed, Journal, run_installer

CLONE_NEWNS = 0x20000


@pytest.fixture(scope='session')
def installed(tmp_path_factory: 'pytest.TempPathFactory') -> Installed:
    """One installation for all tests, with the policy as shipped. Whoever changes it changes it back."""
    root = tmp_path_factory.mktemp('installed')
    result = run_installer(root)
    assert result.returncode == 0, result.stdout + result.stderr
    return Installed(root)


@pytest.fixture(scope='module')
def private_run():
    """Enter a mount namespace with an empty /run, so that no record reaches the host's journal. Its end is ours."""
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
