# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests under a booted systemd: hosts, and what to do where none can boot."""

import contextlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'live'))
pytest.register_assert_rewrite('booted', 'guarded')

from booted import BootedHost, unavailable  # noqa: E402


@pytest.fixture(scope='session', autouse=True)
def _hosts_can_boot():
    reason = unavailable()
    if reason and os.environ.get('CI'):
        pytest.fail('CI must run the tests under a booted systemd, but: ' + reason, pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope='session')
def _booted_host(_hosts_can_boot, tmp_path_factory):
    with BootedHost(tmp_path_factory.mktemp('host')) as host:
        host.install_here()
        yield host


@pytest.fixture
def host(_booted_host):
    """A host with virt-guard as install.sh leaves it; tests share it, and leave it as they found it."""
    yield _booted_host
    _booted_host.clean_up()


@pytest.fixture
def lab(host):
    """The same with a running domain."""
    host.start_lab()
    return host


@pytest.fixture
def new_host(_hosts_can_boot, tmp_path):
    """Boots hosts, without virt-guard, for tests that change more than a domain; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(BootedHost(tmp_path, **options))
