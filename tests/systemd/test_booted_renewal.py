# SPDX-License-Identifier: Apache-2.0
"""The units that renew the compiled policy, under a real systemd."""

import time

import pytest
from booted import BROKEN, DROP_INS, WATCH

pytestmark = pytest.mark.systemd

RENEWAL, SERVICE = 'virt-guard-compile.path', 'virt-guard-compile.service'
COMPILED = '/etc/virt-guard/policy.compiled'


def is_current(host):
    return 'out of date' not in host.run(['virt-guard', 'policy', 'check'], check=False).stdout


def until(test, host, seconds=90):
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
    'rmdir /etc/osinfo/os /etc/osinfo',
)
# Which only the watch sees: it knows all that the policy depends on.
CHANGES_ELSEWHERE = (
    'mkdir -p /srv/policy; cp /etc/virt-guard/policy.yaml /srv/policy/base.yaml; '
    'cp /etc/virt-guard/policy.yaml /root/policy.yaml; '
    "echo '{policy: site, extends: /srv/policy/base.yaml}' >/etc/virt-guard/policy.yaml",
    "echo '# edited' >>/srv/policy/base.yaml",
    'cp /root/policy.yaml /etc/virt-guard/policy.yaml; rm -r /srv/policy /root/policy.yaml',
    'mkdir -p /etc/osinfo/os/example.org',
    'touch /etc/osinfo/os/example.org/own.xml; rm -r /etc/osinfo',
)


def renewed(host, changes):
    assert until(is_current, host)
    for change in changes:
        before = host.run(['stat', '-c', '%i %z', COMPILED]).stdout
        host.run(['sh', '-c', change])
        assert until(lambda host: host.run(['stat', '-c', '%i %z', COMPILED]).stdout != before, host), change  # noqa: B023
        assert until(is_current, host), change


def test_each_change_renews_the_compiled_policy_without_the_watch(host):
    host.systemctl('stop', WATCH)
    try:
        renewed(host, CHANGES)
    finally:
        host.systemctl('start', WATCH)


def test_each_change_renews_it_with_the_watch(host):
    renewed(host, CHANGES[2:5] + CHANGES_ELSEWHERE)


def test_a_change_is_compiled_once_and_then_there_is_rest(host):
    """Neither the watch nor the unit takes what the other has done for a change."""
    assert until(is_current, host)
    start = host.cursor()
    host.run(['sh', '-c', "echo 'deadline: 4' >%s/60-test.yaml" % DROP_INS])
    assert until(is_current, host)
    time.sleep(10)
    said = host.run(['journalctl', '--output=cat', '--after-cursor=' + start, '--unit=' + SERVICE]).stdout
    assert said.count(': compiled from /etc') == 1
    assert said.count(': up to date with /etc') <= 1
    assert host.show(SERVICE, 'ActiveState')['ActiveState'] == 'inactive'


def test_a_broken_policy_fails_visibly_and_the_next_one_is_compiled(host):
    start = host.cursor()
    host.write(DROP_INS + '/60-test.yaml', BROKEN)
    assert until(lambda host: SERVICE in host.systemctl('--failed', '--plain').stdout, host)
    assert "did you mean 'action'" in said(host)
    (record,) = host.wait_journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DECISION=error', after=start, timeout=60)
    assert '60-test.yaml:1:' in record['MESSAGE']
    for _ in range(8):  # more often than systemd starts a unit by default
        host.run(['touch', DROP_INS + '/60-test.yaml'])
        time.sleep(1.2)
    assert len(host.journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DECISION=error', after=start)) == 1
    host.run(['rm', DROP_INS + '/60-test.yaml'])
    assert until(is_current, host)
    assert until(lambda host: host.show(SERVICE, 'Result')['Result'] == 'success', host)
    assert host.show(RENEWAL, 'ActiveState')['ActiveState'] == 'active'


def said(host):
    return host.run(['journalctl', '--unit', SERVICE, '--output', 'cat', '--no-pager']).stdout
