# SPDX-License-Identifier: Apache-2.0
"""Where the records of the installed hook go when the journal or the log take none."""

import os
import time

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]


def test_stopped_journald_does_not_hold_up_a_start(installed, clean, denied, journal):
    journal.fill()
    started = time.monotonic()
    assert installed.run_hook('vm', 'start', clean, timeout=20).returncode == 0
    assert installed.run_hook('vm', 'start', denied, timeout=20).returncode == 1
    assert time.monotonic() - started < 15  # not a measure of speed: it must end
    lines = installed.log.read_text().splitlines()
    assert len(lines) == 2
    assert "domain 'vm' admitted by policy 'rhel-8'" in lines[0]
    assert 'VIRT_GUARD_RULE=tcg' in lines[1]
    assert installed.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize('required, status', [('false', 0), ('true', 2)])
def test_no_sink_at_all(installed, clean, denied, no_journal, required, status):
    installed.log.parent.mkdir(parents=True, exist_ok=True)
    installed.log.symlink_to('/dev/null')  # never followed, so the last sink fails, too
    try:
        with installed.with_policy(audit='{required: %s}' % required):
            assert installed.run_hook('vm', 'prepare', clean).returncode == 0
            result = installed.run_hook('vm', 'start', clean)
            denial = installed.run_hook('vm', 'start', denied)
    finally:
        installed.log.unlink()
    assert result.returncode == status
    assert (b'no audit record could be written, and the policy requires one' in result.stderr) == (status == 2)
    assert denial.returncode == 1
    assert b'note: no audit record could be written' in denial.stderr
