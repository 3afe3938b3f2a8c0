# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests: machines, and what to do where none can run."""

import contextlib

import pytest
from support.capabilities import missing

pytest.register_assert_rewrite('guarded', 'watched')

from guarded import GuardedMachine  # noqa: E402
from machine import unavailable  # noqa: E402


@pytest.fixture(scope='session', autouse=True)
def _machines_can_run():
    reason = unavailable()
    if reason:
        missing(reason)


@pytest.fixture(scope='session')
def _guarded_machine(_machines_can_run, tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('machine')) as machine:
        machine.install('--no-deps')
        yield machine


@pytest.fixture
def host(_guarded_machine):
    """A machine with virt-guard as install.sh leaves it; tests share it, and leave it as they found it."""
    yield _guarded_machine
    _guarded_machine.clean_up()


@pytest.fixture
def new_machine(tmp_path):
    """Starts machines, without virt-guard, for tests that break things; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(GuardedMachine(tmp_path, **options))
