# SPDX-License-Identifier: Apache-2.0
"""Domain names are whatever libvirt allows, which is nearly everything: a name neither breaks nor fakes the answer."""

import re

import domains
import pytest
from domains import domain
from guarded import WAIVER, refusal, values

pytestmark = pytest.mark.live

# libvirt keeps a definition in NAME.xml.new, and file names end at 255 bytes.
LONGEST = 255 - len('.xml.new')

# Name -> as the refusal shows it.
NAMES = {
    'web-ü': 'web-ü',
    '日本': '日本',
    '🐧': '🐧',
    'two words': 'two words',
    'it\'s "quoted"': 'it\'s "quoted"',
    '-n': '-n',
    '$(reboot) `reboot` ; | & > %s %n': '$(reboot) `reboot` ; | & > %s %n',
    'a\tb': r'a\tb',
    '\x9b31mred': r'\x9b31mred',
    'desrever\u202e': r'desrever\u202e',
    'x' * LONGEST: 'x' * LONGEST,
    '長' * (LONGEST // 3): '長' * (LONGEST // 3),
}


@pytest.mark.parametrize('name', NAMES, ids=[ascii(name)[1:-1][:30] for name in NAMES])
def test_name(host, name):
    host.define(domain(name, domains.TCG).replace('\t', '&#9;'))
    lines = refusal(host.try_start(name), 1).splitlines()
    record = host.record(name, 'deny', 'prepare')
    word = name if re.match(r'\w[\w.+-]*$', name, re.ASCII) else record['VIRT_GUARD_UUID']
    assert lines == [
        "virt-guard: domain '%s' denied by policy 'rhel-8': tcg" % NAMES[name],
        '  (1) [tcg] TCG software emulation: <domain type="qemu"> (line 1 of virsh dumpxml); '
        "remedy: use <domain type='kvm'> on a host with hardware virtualization.",
        '  more: virt-guard explain tcg; ' + WAIVER + word + ' tcg',
    ]
    assert record['VIRT_GUARD_DOMAIN'] == name
    assert values(record, 'VIRT_GUARD_RULE') == ['tcg']


@pytest.mark.parametrize('name', ['web-ü', 'two words'])
def test_admitted_name(host, name):
    host.admitted(name, host.try_define_and_start(domain(name)))
