# SPDX-License-Identifier: Apache-2.0
"""The plugin of sos: what `sos report` collects of an installed guard.

sos is not among the packages that tests/run installs: it is called sos or sosreport, and asks a host more than a test
machine should answer. With VIRT_GUARD_SOS=DIR, the root of an unpacked package is used. Without it, not even CI runs
that one test; what the plugin asks of virt-guard itself is tested everywhere.
"""

import os
import re
import shlex

import pytest
from support.paths import CHECKOUT

PLUGIN = CHECKOUT / 'data' / 'sos' / 'virt_guard.py'
UNPACKED = os.environ.get('VIRT_GUARD_SOS', '')

# As the manual page has it; only this plugin, into a directory that is looked at, and nothing is asked.
SOS = """
install --mode audit >/dev/null
export PYTHONPATH=%s/usr/lib/python3/dist-packages
cp /checkout/data/sos/virt_guard.py %s/usr/lib/python3*/*-packages/sos/report/plugins/
mkdir /collected /var/lib/virt-guard
echo secret >/var/lib/virt-guard/0123.state
cd %s/ && python3 usr/bin/sos report --batch --build --tmp-dir /collected --only-plugins virt_guard >/said 2>&1 ||
    { cat /said; exit 1; }
cd /collected/*; find . -type f
cat sos_commands/virt_guard/virt-guard_status_--format_jsonl
"""


def test_what_sos_collects(on_host):
    found = [path for path in ('/usr/bin/sos', UNPACKED + '/usr/bin/sos') if os.path.exists(path)]
    if not found:
        pytest.skip('there is no sos here, and no VIRT_GUARD_SOS')
    root = shlex.quote(found[-1][: -len('/usr/bin/sos')])
    status, said = on_host(SOS % (root, root, root))
    assert status == 0, said
    files = set(re.findall(r'^\./(\S+)$', said, re.MULTILINE))
    commands = {name.rpartition('/')[2] for name in files if name.startswith('sos_commands/virt_guard/')}
    assert {
        'virt-guard_status_--format_jsonl',
        'virt-guard_policy_show',
        'virt-guard_policy_check',
        'virt-guard_--version',
    } <= commands
    assert len([name for name in commands if name.startswith('journalctl_') and 'virt-guard' in name]) == 2
    assert 'etc/virt-guard/policy.yaml' in files
    assert [name for name in files if name.endswith('.state')] == []
    assert '{"subject": "mode", "state": "note"' in said


def test_the_commands_that_it_runs(installed):
    commands = re.findall(r"'virt-guard (.+)',", PLUGIN.read_text(encoding='utf-8'))
    assert len(commands) >= 4
    for command in commands:
        result = installed.run_cli(*command.split())
        assert result.returncode in (0, 1, 2) and b'usage:' not in result.stderr, (command, result.stderr)
        assert result.stdout, command
