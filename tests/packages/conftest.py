# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of packages: what is built, and booted hosts to install it on (see tests/systemd)."""

import contextlib
import os
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'live'), str(TESTS / 'systemd')]
pytest.register_assert_rewrite('booted', 'guarded')

from booted import BootedHost, unavailable  # noqa: E402
from debs import build_deb  # noqa: E402


@pytest.fixture(scope='session')
def deb(tmp_path_factory):
    """The package of this tree."""
    return build_deb(tmp_path_factory.mktemp('deb'))


@pytest.fixture
def new_host(tmp_path):
    """Boots hosts that have libvirt, and no virt-guard; they end with the test."""
    reason = unavailable()
    if reason and os.environ.get('CI'):
        pytest.fail('CI must install packages under a booted systemd, but: ' + reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(BootedHost(tmp_path, **options))
