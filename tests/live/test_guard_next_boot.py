# SPDX-License-Identifier: Apache-2.0
"""`virt-guard scan --next-boot` on what libvirt itself wrote: domains that run, start with the host, are saved."""

import domains
import pytest
from domains import device, domain, replace

pytestmark = pytest.mark.live


def scan(host, status):
    result = host.run(['virt-guard', 'scan', '--next-boot'], check=False)
    assert result.returncode == status, result.stderr
    lines = result.stdout.replace('/etc/libvirt/qemu/', '').splitlines()
    return [line for line in lines if not line.startswith('    ') and ': deny [' not in line], result.stderr


def test_running_and_autostart_domains(host):
    refused = device(domains.VIRTIOFS)
    for name in ('runs', 'changed', 'saved'):
        assert host.try_define_and_start(domain(name)).returncode == 0
    assert host.virsh('create', '/dev/stdin', input=domain('passing')).returncode == 0
    host.define(domain('idle', refused))
    host.define(domain('boots', refused))
    for name in ('boots', 'changed', 'saved'):
        host.virsh('autostart', name)
    same = replace('</name>', '</name><uuid>%s</uuid>' % host.virsh('domuuid', 'changed').stdout.strip())
    host.define(domain('changed', refused, same))
    host.virsh('managedsave', 'saved')
    lines, errors = scan(host, 1)
    assert lines == [
        "boots.xml: deny 'boots' (autostart)",
        "changed.xml: deny 'changed' (running, autostart)",
        "runs.xml: admit 'runs' (running)",
        "saved.xml: admit 'saved' (autostart)",
        '1 of 3 running domains would be refused at their next start; 2 of 3 that start with the host',
        'these run without a definition and have no next start: passing',
    ]
    assert errors == (
        '/etc/libvirt/qemu/saved.xml: its saved state, from which its next start goes on, was not judged\n'
    )
    # It is true: what runs is refused once it is started anew.
    host.virsh('destroy', 'changed')
    assert 'virtiofs' in host.try_start('changed').stderr
