# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on whole hosts: which hosts, and what to do where none can run.

VIRT_GUARD_HOSTS names Debian releases, as in 'bookworm trixie'. Without it these tests are skipped, because they take
minutes; in CI one release is tested then.
"""

import os

import image
import pytest
import vm
from debian_host import DebianHost

IN_CI = bool(os.environ.get('CI'))
SUITES = os.environ.get('VIRT_GUARD_HOSTS', 'bookworm' if IN_CI else '').split()
NO_SUITE = 'minutes for each host: VIRT_GUARD_HOSTS names Debian releases to test on'

_hosts = {}
_shown = []


def pytest_generate_tests(metafunc):
    if 'suite' in metafunc.fixturenames:
        none = pytest.param('none', marks=pytest.mark.skip(reason=NO_SUITE))
        metafunc.parametrize('suite', SUITES or [none], scope='module')


@pytest.fixture(scope='module')
def host(suite):
    """A host as Debian makes it, with a running domain; the tests of a module share it, in their order."""
    reason = vm.unavailable() or image.unavailable(suite)
    if reason and IN_CI:
        pytest.fail('CI must test on a whole host, but: ' + reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    with DebianHost(image.get(suite)) as machine:
        _hosts[suite] = machine
        machine.prepare()
        yield machine
    del _hosts[suite]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the host says where it did not do what it was asked to, and with the first failure."""
    report = (yield).get_result()
    machine = _hosts.get(getattr(item, 'callspec', None) and item.callspec.params.get('suite'))
    error = call.excinfo and call.excinfo.value
    if machine and report.failed and error not in _shown and (not _shown or isinstance(error, vm.VMError)):
        _shown.append(error)
        report.sections.append(('console of the host', machine.console(30)))
        report.sections.append(('journal of the host', machine.last_journal()))
