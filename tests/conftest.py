# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests, and what is said in the end of suites of which nothing ran."""

import os
import signal
import sys

import pytest
from support.capabilities import missing
from virtguard.match.libvirt_schema import read_schema

# Directories whose tests need a machine of some kind. Where there is none all of them skip, and that may not go unseen.
SUITES = ('host', 'packages', 'systemd', 'live')

_skipped, _ran = {}, set()


@pytest.fixture(scope='session')
def host_schema():
    """The schema of the libvirt that is installed; without one the test is skipped, except in CI."""
    schema = read_schema()
    if schema is None:
        missing('there is no /usr/share/libvirt/schemas/domain.rng')
    return schema


def pytest_configure():
    # A shell lets what it runs in the background ignore it, and so would each command that a test interrupts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_teardown():
    # The command lets a closed pipe end its process; where a test has called it in this one, later tests go on.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def pytest_runtest_logreport(report):
    suite = os.path.basename(os.path.dirname(report.nodeid.split('::')[0]))
    if suite in SUITES:
        if report.skipped and isinstance(report.longrepr, tuple):
            _skipped.setdefault(suite, report.longrepr[2].replace('Skipped: ', '', 1))
        elif report.when == 'call' or report.failed:
            _ran.add(suite)
    if report.failed and os.environ.get('VIRT_GUARD_FAILED'):  # for tests/run, which tries it again
        with open(os.environ['VIRT_GUARD_FAILED'], 'a') as file:
            file.write(report.nodeid + '\n')


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if _remarks() and os.environ.get('CI') and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure():
    """Below pytest's own last line; tests/run, which has more to say, shows it in the end."""
    path = os.environ.get('VIRT_GUARD_REMARKS')
    if path:
        with open(path, 'a') as file:
            file.writelines(_remarks())
    else:
        sys.stdout.writelines(_remarks())


def _remarks():
    left = [suite for suite in SUITES if suite in _skipped and suite not in _ran]
    return ['%s suite: skipped, because: %s\n' % (suite, _skipped[suite]) for suite in left]
