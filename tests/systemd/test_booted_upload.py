# SPDX-License-Identifier: Apache-2.0
"""The files of doc/fleet.md, under a systemd: a host sends its journal to a collector, which is the same host here, and
goes on trying while that is away."""

import json
import re
import time

import pytest
from support.paths import CHECKOUT

pytestmark = pytest.mark.systemd

GUIDE = (CHECKOUT / 'doc' / 'fleet.md').read_text(encoding='utf-8')
FILE = re.compile(r'^```\n# (/\S+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r'^```\n((?:openssl|install) .*?)^```$', re.MULTILINE | re.DOTALL)
UPLOAD, REMOTE = 'systemd-journal-upload.service', 'systemd-journal-remote'
COLLECTED = '/var/log/journal/remote'


@pytest.fixture
def host(new_host):
    host = new_host()
    host.run(['systemctl', 'cat', UPLOAD, REMOTE + '.socket'])
    host.install_here()
    files = dict(FILE.findall(GUIDE))
    assert len(files) == 8
    for path, text in files.items():
        if 'proxy' not in path and 'nginx' not in path:
            host.write(path, text)
    host.run(['sh', '-c', 'echo 127.0.0.1 collector.example.org >>/etc/hosts'])
    host.run(['mkdir', '/root/tls'])
    of_collector, of_host = COMMANDS.findall(GUIDE)
    host.run(['sh', '-ec', 'cd /root/tls\n' + of_collector])
    # The collector and the host share a directory here, and a key: it has the groups of both.
    host.run(['sh', '-ec', 'cd /root/tls\n' + of_host.replace('kvm1.', 'collector.')])
    host.run(['sh', '-c', 'usermod -a -G systemd-journal systemd-journal-remote'])
    host.systemctl('daemon-reload')
    return host


def fleet(host, *options):
    result = host.run(['virt-guard', 'fleet', '--format', 'jsonl', *options, COLLECTED], check=False)
    found = {}
    for line in result.stdout.splitlines():
        found.setdefault(json.loads(line)['kind'], []).append(json.loads(line))
    return result.returncode, found


def recorded(host):
    host.run(['journalctl', '--sync'])
    return host.run(['journalctl', '-o', 'json', '-t', 'virt-guard', '_UID=0']).stdout.count('\n')


def state(host, unit=UPLOAD):
    shown = host.systemctl('show', '--property=ActiveState,SubState,NRestarts,Result', unit).stdout
    return dict(line.split('=', 1) for line in shown.splitlines())


def test_the_guide(host):
    host.write('/etc/systemd/system/%s.d/zz-test.conf' % UPLOAD, '[Service]\nRestartSec=200ms\n')
    host.systemctl('daemon-reload')
    # The collector is away: five times within ten seconds would be the end, were it not for the drop-in.
    host.systemctl('start', UPLOAD, check=False)
    host.wait(lambda: int(state(host)['NRestarts']) >= 8, 180, 'it tries again')
    assert state(host)['ActiveState'] in ('activating', 'active')
    host.systemctl('start', REMOTE + '.socket')
    names = [host.hostname]
    host.wait(lambda: [row['host'] for row in fleet(host)[1].get('host', ())] == names, 180, 'its records arrive')
    status, found = fleet(host)
    assert status == 0 and found['host'][0]['version'] and not found['host'][0]['silent']
    # It comes back by itself, too, and what was recorded meanwhile is there once.
    host.systemctl('stop', REMOTE + '.socket', REMOTE + '.service')
    host.run(['virt-guard', 'policy', 'set', 'mode', 'audit'])
    restarts = int(state(host)['NRestarts'])
    host.wait(lambda: int(state(host)['NRestarts']) >= restarts + 8, 180, 'it tries again')
    host.systemctl('start', REMOTE + '.socket')
    host.wait(lambda: fleet(host)[1]['host'][0]['mode'] == 'audit', 180, 'the rest arrives')
    host.wait(lambda: fleet(host)[1]['fleet'][0]['records'] == recorded(host), 180, 'all of it arrives')
    time.sleep(2)  # for what may be sent again
    status, found = fleet(host)
    assert status == 0 and found['fleet'][0]['records'] <= recorded(host)
    assert len(found['host'][0]['senders']) == 1
