# SPDX-License-Identifier: Apache-2.0
"""`virt-guard guests` asks real guest agents: one whose os-release is not what the metadata says, and hostile; one that
never answers; and a domain that has none."""

import json
import time

import pytest
from agent_guest import SILENT, make_guest
from domains import TCG, device, domain, replace
from guarded import POLICY_D

pytestmark = pytest.mark.live

DROP_IN = POLICY_D + '/50-guests.yaml'
CHANNEL = device("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>")
MEMORY = replace("<memory unit='MiB'>64</memory>", "<memory unit='MiB'>256</memory>")
OS_RELEASE = b"""ID=ubuntu
VERSION_ID="8.10"
NAME="Ubuntu \x1b[2J"
PRETTY_NAME="Ubuntu 8.10 \x1b]0;root@host\x07 %s"
""" % (b'x' * 5000)


def boots(options):
    kernel = '<kernel>/srv/vmlinuz</kernel><initrd>/srv/initrd</initrd><cmdline>%s</cmdline></os>' % options
    return replace('</os>', kernel)


def status_of(host, name):
    return host.read('/run/libvirt/qemu/%s.xml' % name)


@pytest.fixture
def guests(host):
    kernel, initrd = make_guest(OS_RELEASE)
    host.write('/srv/vmlinuz', kernel)
    host.write('/srv/initrd', initrd)
    host.write(DROP_IN, 'rules: [{id: tcg, action: "off", reason: these guests run without KVM}]\n')
    try:
        host.compile_policy()
        for name, mutations in (
            ('forged', (TCG, CHANNEL, MEMORY, boots('quiet'))),
            ('silent', (TCG, CHANNEL, MEMORY, boots('quiet ' + SILENT))),
            ('plain', ()),
        ):
            host.virsh('start', host.define(domain(name, *mutations)))
        deadline = time.monotonic() + 240
        while not all("state='connected'" in status_of(host, name) for name in ('forged', 'silent')):
            assert time.monotonic() < deadline, 'the agents do not come up'
            time.sleep(0.2)
        yield host
    finally:
        host.path(DROP_IN).unlink()


def test_guests(guests):
    result = guests.run(['virt-guard', 'guests', '--timeout', '2', '--format', 'jsonl'], check=False)
    told = {guest['domain']: guest for guest in map(json.loads, result.stdout.splitlines())}
    assert result.returncode == 2 and set(told) == {'forged', 'silent', 'plain'}
    assert [told[name]['asked'] for name in ('forged', 'silent', 'plain')] == ['answered', 'failed', 'absent']
    assert told['silent']['error'] in result.stderr and 'silent: error: ' in result.stderr
    forged = told['forged']
    assert (forged['says'], forged['really']['osinfo']) == (
        'http://redhat.com/rhel/8.10',
        'http://ubuntu.com/ubuntu/8.10',
    )
    assert forged['contradiction'] and len(forged['really']['pretty-name']) < 100
    assert forged['rules'] == [{'rule': 'guest-os-before-2009', 'now': None, 'really': 'deny'}]
    assert '<agentTimeout>-2</agentTimeout>' in status_of(guests, 'silent')  # as before

    result = guests.run(['virt-guard', 'guests', 'forged'], check=False)
    assert (result.returncode, result.stderr) == (1, '')
    first, rule, command, summary = result.stdout.splitlines()
    assert first.startswith(
        'forged: metadata says http://redhat.com/rhel/8.10, but Ubuntu 8.10 \\x1b]0;root@host\\x07 '
    )
    assert first.endswith('... (http://ubuntu.com/ubuntu/8.10) runs') and first.isprintable()
    assert rule == '  [guest-os-before-2009] would find: deny (nothing now)'
    assert command == '  to correct the metadata: virt-xml forged --edit --osinfo ubuntu8.10'
    assert summary == '1 running domain: 1 answered; 1 contradiction'

    result = guests.run(['virt-guard', 'guests', 'plain'], check=False)
    assert result.returncode == 2 and 'plain: error: it has no channel for a guest agent' in result.stderr

    can = '2 of 3 running domains can be asked which system really runs: virt-guard guests'
    assert can in guests.run(['virt-guard', 'scan'], check=False).stderr
    assert can in guests.run(['virt-guard', 'status'], check=False).stdout
