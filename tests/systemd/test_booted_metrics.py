# SPDX-License-Identifier: Apache-2.0
"""The unit that writes metrics: within its sandbox it sees what root sees, and it fills no journal."""

import pytest
from support.prometheus import values

pytestmark = pytest.mark.systemd

SERVICE = 'virt-guard-metrics.service'
DIRECTORIES = ('/var/lib/prometheus/node-exporter', '/var/lib/node_exporter/textfile_collector')


def test_the_unit_tells_what_root_sees(lab):
    times = 'virt_guard_last_scan_timestamp_seconds'
    lab.run(['mkdir', '-p', *DIRECTORIES])
    lab.run(['chown', '65534', DIRECTORIES[1]])  # of the exporter's own user
    since = lab.cursor()
    try:
        lab.systemctl('start', SERVICE)
        seen = values(lab.run(['virt-guard', 'metrics']).stdout)
        for directory in DIRECTORIES:
            found = values(lab.read(directory + '/virt-guard.prom'))
            assert found.pop(times) > 0
            assert found == {name: value for name, value in seen.items() if name != times}
    finally:
        lab.run(['rm', '-r', *DIRECTORIES])
    assert (found['virt_guard_guarding'], found['virt_guard_unknown_checks']) == (1, 0)
    assert found['virt_guard_running_domains{decision="admit"}'] == 1
    assert lab.journal('UNIT=' + SERVICE, after=since) == lab.journal('_SYSTEMD_UNIT=' + SERVICE, after=since) == []


def test_the_unit_says_why_it_fails(host):
    host.run(['mkdir', '-p', DIRECTORIES[0]])
    drop_in = '/etc/systemd/system/%s.d/50-test.conf' % SERVICE
    host.write(drop_in, '[Service]\nReadOnlyPaths=/var/lib/virt-guard\n')
    host.systemctl('daemon-reload')
    since = host.cursor()
    try:
        assert host.systemctl('start', SERVICE, check=False).returncode
        (said,) = host.wait_journal('_SYSTEMD_UNIT=' + SERVICE, after=since)
    finally:
        host.run(['rm', '-r', DIRECTORIES[0], drop_in])
        host.systemctl('daemon-reload')
        host.systemctl('reset-failed', SERVICE)
    assert said['MESSAGE'].endswith('Read-only file system')


def test_the_timer_writes_them_from_installation_to_removal(new_host):
    host = new_host()
    host.run(['mkdir', '-p', DIRECTORIES[0]])
    said = host.install('--no-deps')
    assert 'started    virt-guard-metrics.timer\n' in said
    path = host.path(DIRECTORIES[0] + '/virt-guard.prom')
    host.wait(path.exists, 300, 'the metrics are there')
    assert host.systemctl('is-enabled', 'virt-guard-metrics.timer').stdout == 'enabled\n'
    host.install('--uninstall')
    assert not path.exists()
    assert host.systemctl('is-active', 'virt-guard-metrics.timer', check=False).stdout == 'inactive\n'
    assert 'virt-guard' not in host.run(['find', '/usr/share', '/etc/systemd', '-name', 'virt-guard*']).stdout
