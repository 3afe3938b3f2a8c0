# SPDX-License-Identifier: Apache-2.0
"""install.sh --preview on a host where libvirt runs, and virt-guard is not installed yet: what it says comes true."""

import domains
import pytest
from domains import device, domain
from guarded import CHECKOUT, MAIN_HOOK

pytestmark = pytest.mark.live

LISTING = (
    'find /etc /run/libvirt /var/lib/libvirt /usr/bin /usr/sbin /usr/lib/systemd -type f -printf "%p %T@ %C@ %s\\n"'
    ' | grep -v -e "\\.log " -e "\\.pid "'
)


def preview(host, status):
    result = host.run([CHECKOUT / 'install.sh', '--preview', '--no-deps', '--profile', 'rhel-8'], check=False)
    assert (result.returncode, result.stderr) == (status, '')
    return [line for line in result.stdout.replace('/etc/libvirt/qemu/', '').splitlines() if 'remedy: ' not in line]


def test_what_the_preview_says_comes_true(new_machine):
    host = new_machine()
    assert 'No domain is defined: there is no *.xml file in /etc/libvirt/qemu.' in preview(host, 0)

    assert host.try_define_and_start(domain('runs')).returncode == 0
    assert host.try_define_and_start(domain('emulated', domains.TCG)).returncode == 0
    assert host.virsh('create', '/dev/stdin', input=domain('passing')).returncode == 0
    host.define(domain('boots', device(domains.VIRTIOFS)))
    host.virsh('autostart', 'boots')
    host.define(domain('idle'))
    before = host.run(['sh', '-c', LISTING]).stdout
    lines = preview(host, 1)
    assert host.run(['sh', '-c', LISTING]).stdout == before and 'boots.xml' in before
    assert not host.path(MAIN_HOOK).exists()

    start = lines.index('These domains would be refused at their next start:')
    end = lines.index('4 domains: 2 refused, 2 clean')
    refused = [line for line in lines[start + 1 : end] if line]
    assert [line.partition('.xml:')[0] for line in refused] == ['boots', 'emulated']
    assert 'deny [virtiofs] ' in refused[0] and 'deny [tcg] TCG software emulation: ' in refused[1]
    assert lines[end + 1 : end + 5] == [
        '1 of 3 running domains would be refused at their next start; 1 of 1 that starts with the host',
        'these run without a definition and have no next start: passing',
        '    boots (autostart)',
        '    emulated (running)',
    ]
    command = '  %s/install.sh --profile rhel-8 --no-deps' % CHECKOUT
    assert lines[-2:] == [
        command + '               # put the guard in force: what is denied above is refused',
        command + ' --mode audit  # refuse nothing, and record what would be refused',
    ]

    host.install('--profile', 'rhel-8', '--no-deps')
    for name in ('runs', 'emulated'):
        host.virsh('destroy', name)
    assert {name: host.try_start(name).returncode for name in ('runs', 'emulated', 'boots', 'idle')} == {
        'runs': 0,
        'emulated': 1,
        'boots': 1,
        'idle': 0,
    }
    assert preview(host, 1)[1] == 'profile    rhel-8 (--profile)', 'with the guard in force, too'
