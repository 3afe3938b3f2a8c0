# SPDX-License-Identifier: Apache-2.0
"""`virt-guard status` where systemd runs: what it tells to type mends what is amiss."""

import json

import pytest
from booted import DAEMON, WATCH
from guarded import HOOK, MAIN_HOOK

pytestmark = pytest.mark.systemd


def amiss(host):
    """What is amiss, as (subject, remedy)."""
    result = host.run(['virt-guard', 'status', '--format', 'jsonl'], check=False)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == (1 if any(entry['state'] == 'amiss' for entry in found) else 0), result
    return [(entry['subject'], entry['remedy']) for entry in found if entry['state'] == 'amiss']


@pytest.mark.parametrize(
    'fault, subject',
    [
        ('ln -sfn %s %s' % (HOOK, MAIN_HOOK), 'daemon'),
        ('systemctl disable --now ' + WATCH, 'watch'),
        ('chmod 644 ' + HOOK, 'program'),
        ('rm /etc/virt-guard/policy.compiled', 'compiled'),
    ],
)
def test_what_is_told_mends_it(host, fault, subject):
    assert amiss(host) == []
    host.run(['sh', '-ec', 'systemctl stop virt-guard-compile.path; ' + fault])
    ((found, remedy), *_) = amiss(host)
    assert found == subject
    host.run(['sh', '-ec', remedy])
    for more in [remedy for found, remedy in amiss(host) if found == 'daemon']:  # a mode counts from its change on
        host.run(['sh', '-ec', more])
    host.wait(lambda: amiss(host) == [], 60, 'all is well')
    host.systemctl('start', 'virt-guard-compile.path')


def test_a_daemon_that_was_told_by_a_signal(new_host):
    """Where there is no /bin/kill, by which its unit reloads it."""
    host = new_host()
    host.run(['rm', '/bin/kill'])
    assert host.systemctl('reload', DAEMON, check=False).returncode != 0
    host.install('--no-deps')
    assert 'daemon' not in [subject for subject, _ in amiss(host)]
