# SPDX-License-Identifier: Apache-2.0
"""The units that renew the compiled policy, under a real systemd."""

import time

import pytest
from booted import BROKEN, DROP_INS

pytestmark = pytest.mark.systemd

RENEWAL, SERVICE = 'virt-guard-compile.path', 'virt-guard-compile.service'
COMPILED = '/etc/virt-guard/policy.compiled'


def is_current(host):
    return 'out of date' not in host.run(['virt-guard', 'policy', 'check'], check=False).stdout


def until(test, host, seconds=30):
    limit = time.monotonic() + seconds
    while not test(host) and time.monotonic() < limit:
        time.sleep(0.1)
    return test(host)


def test_units_as_systemd_has_them(host):
    assert host.show(RENEWAL, 'ActiveState', 'UnitFileState') == {'ActiveState': 'active', 'UnitFileState': 'enabled'}
    for unit in (RENEWAL, SERVICE):
        warned = host.run(['systemd-analyze', 'verify', '/usr/lib/systemd/system/' + unit])
        assert [line for line in (warned.stdout + warned.stderr).splitlines() if 'virt-guard-compile' in line] == []


CHANGES = (
    "echo '# edited' >>/etc/virt-guard/policy.yaml",
    'sed -i s/edited/changed/ /etc/virt-guard/policy.yaml',
    "echo 'deadline: 4' >%s/60-test.yaml" % DROP_INS,
    "echo 'deadline: 3' >%s/60-test.yaml" % DROP_INS,
    'rm %s/60-test.yaml' % DROP_INS,
    'mkdir -p /usr/share/osinfo; touch /usr/share/osinfo/VERSION; cp -a /usr/share/osinfo/VERSION /root/v; '
    'mv /root/v /usr/share/osinfo/VERSION',
    'mkdir -p /etc/osinfo/os',
)


def test_each_change_renews_the_compiled_policy(host):
    assert until(is_current, host)
    for change in CHANGES:
        before = host.run(['stat', '-c', '%i %z', COMPILED]).stdout
        host.run(['sh', '-c', change])
        assert until(lambda host: host.run(['stat', '-c', '%i %z', COMPILED]).stdout != before, host), change  # noqa: B023
        assert until(is_current, host), change


def test_a_broken_policy_is_told_and_the_next_one_compiled(host):
    host.write(DROP_INS + '/60-test.yaml', BROKEN)
    assert until(lambda host: "did you mean 'action'" in said(host), host)
    for _ in range(8):  # more often than systemd starts a unit by default
        host.run(['touch', DROP_INS + '/60-test.yaml'])
        time.sleep(0.2)
    host.run(['rm', DROP_INS + '/60-test.yaml'])
    assert until(is_current, host)


def said(host):
    return host.run(['journalctl', '--unit', SERVICE, '--output', 'cat', '--no-pager']).stdout
