# SPDX-License-Identifier: Apache-2.0
"""The compiled policy after others have changed something: the installed watch renews it, or has it renewed."""

import os
import time

import pytest
from watching import rules_text

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

# As the unit's sandbox has it.
READ_ONLY = ['sh', '-c', 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"']


@pytest.fixture
def compiled(installation):
    path = installation.policy.with_suffix('.compiled')
    installation.run_cli('policy', 'compile')
    yield path
    path.unlink()


def is_current(installation):
    compiled = installation.policy.with_suffix('.compiled')
    return b'policy.compiled' not in installation.run_cli('policy', 'check').stdout and compiled.exists()


def until(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.1)
    return condition()


def test_a_change_is_compiled(installation, watch, compiled):
    watch.start()
    base = installation.root / 'srv/base.yaml'
    base.parent.mkdir(exist_ok=True)
    for change in (
        lambda: base.write_text(rules_text()),
        lambda: installation.policy.write_text('{policy: site, extends: %s}' % base),
        lambda: base.write_text(rules_text(qemu_io_throttling='warn')),  # which virt-guard-compile.path does not follow
        compiled.unlink,
    ):
        change()
        assert until(lambda: is_current(installation))
    # What the watch has written is what anybody else would write, byte for byte, so two of them do not fight.
    before = compiled.stat().st_mtime_ns
    assert b'up to date' in installation.run_cli('policy', 'compile').stdout
    time.sleep(4)
    assert compiled.stat().st_mtime_ns == before


def test_a_change_while_no_watch_runs_is_compiled_later(installation, watch, compiled):
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    assert not is_current(installation)
    watch.start()
    assert until(lambda: is_current(installation))


def test_a_broken_policy_is_not_compiled(installation, watch, compiled):
    watch.start()
    before = compiled.read_bytes()
    installation.policy.write_text('rules: {')
    assert watch.receive()['MESSAGE'].startswith('the policy as it was stays in force: ')
    time.sleep(4)
    assert compiled.read_bytes() == before and watch.told() == []
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    assert until(lambda: is_current(installation))


def test_where_the_watch_may_not_write_it_asks(installation, watching, compiled):
    request = installation.root / 'var/lib/virt-guard/renew-policy'
    watch = watching(prefix=[*READ_ONLY, str(installation.policy.parent)])
    watch.start()
    time.sleep(4)
    assert not request.exists()  # nothing has changed
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    assert until(request.exists)
    assert not is_current(installation)
    installation.run_cli('policy', 'compile')  # as the unit does
    request.unlink()
    time.sleep(4)
    assert not request.exists()


def test_a_compiled_policy_of_another_version_is_left_to_that(installation, watch, compiled):
    head, rest = compiled.read_bytes().split(b'\n', 1)
    other = head + b' of another version\n' + rest
    compiled.write_bytes(other)
    watch.start()
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    time.sleep(5)
    assert compiled.read_bytes() == other
