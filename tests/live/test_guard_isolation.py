# SPDX-License-Identifier: Apache-2.0
"""The lists about isolation, beside that of a vendor, on a real libvirtd: one refusal of each group, and labels.

The daemon of these machines has no security driver, so it is a host without SELinux and AppArmor; and it runs QEMU as
root. A definition shows neither.
"""

import domains
import pytest
from domains import device, domain, replace
from guarded import refusal, values

pytestmark = pytest.mark.live

DROP_IN = '/etc/virt-guard/policy.d/60-isolation.yaml'
MISSING, ROOT = 'kvm-mac-label-missing', 'kvm-seclabel-root'
LINK = '/run/images'  # to /etc
DISK = "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>"
SERIAL = "<serial type='tcp'><source mode='bind' host='%s' service='40001'/><protocol type='raw'/></serial>"
# A rule of each group of data/profiles/kvm-baseline.yaml, and a domain that it refuses.
REFUSED = {
    ROOT: replace('  <devices>', "<seclabel type='static' model='dac'><label>+0:+107</label></seclabel>\n  <devices>"),
    'kvm-tcg': domains.TCG,
    'kvm-host-system-path': device(DISK % '//etc/./hostname'),
    'kvm-host-system-link': device(DISK % (LINK + '/hostname')),
    'kvm-filesystem-system-path': device(
        "<filesystem type='mount'><source dir='/srv/../etc'/><target dir='a'/></filesystem>"
    ),
    'kvm-chardev-network-any': device(SERIAL % '0.0.0.0'),
    'kvm-kernel-writable-place': replace('hvm</type>', 'hvm</type><kernel>/tmp/vmlinuz</kernel>'),
    'kvm-input-host-device': device("<input type='evdev'><source dev='/dev/input/event0'/></input>"),
    'kvm-memory-locked-unlimited': replace('<memoryBacking>', '<memoryBacking><locked/>'),
    'kvm-graphics-listen-any': device("<graphics type='vnc' port='-1' listen='0'/>"),
    'kvm-device-sound-legacy': device("<sound model='ac97'/>"),
}


def extend(host, name):
    host.write(DROP_IN, 'extends: %s\n' % name)
    host.compile_policy()


@pytest.fixture
def host(host):
    yield host
    host.run(['rm', '-f', DROP_IN])


def test_one_refusal_of_each_group_and_no_start_without_a_label(host):
    extend(host, 'kvm-restricted')
    host.run(['ln', '-s', '/etc', LINK])
    for rule, mutation in REFUSED.items():
        text = refusal(host.try_define_and_start(domain(rule, mutation)), 1)
        first, *_ = text.splitlines()
        assert first.startswith("virt-guard: domain '%s' denied by policy 'rhel-8 with kvm-restricted': " % rule)
        assert rule in first.replace(',', '').split(), text
        assert (' (it leads to /etc/hostname)' in text) == (rule == 'kvm-host-system-link')
        (record,) = host.records(rule)
        assert record['VIRT_GUARD_OPERATION'] == 'prepare' and rule in values(record, 'VIRT_GUARD_DENIED')
    # Nothing is wrong with this one before its last moment.
    text = refusal(host.try_define_and_start(domain('clean')), 1)
    assert text.startswith(
        "virt-guard: domain 'clean' denied by policy 'rhel-8 with kvm-restricted': %s, %s\n" % (ROOT, MISSING)
    )
    (record,) = host.records('clean')
    assert (record['VIRT_GUARD_OPERATION'], values(record, 'VIRT_GUARD_DENIED')) == ('start', [MISSING, ROOT])
    said = host.run(['virt-guard', 'check', 'clean'], check=False)
    assert said.returncode == 0, 'a definition does not show it'
    assert 'only the start of a domain shows it: ' + MISSING in said.stderr


def test_a_domain_without_a_label_is_told_at_its_start_and_while_it_runs(host):
    extend(host, 'kvm-baseline')
    result = host.try_define_and_start(domain('bare'))
    assert result.returncode == 0, result.stderr
    (record,) = host.records('bare')
    assert (record['VIRT_GUARD_DECISION'], record['VIRT_GUARD_OPERATION']) == ('admit', 'start')
    assert values(record, 'VIRT_GUARD_RULE') == [MISSING, ROOT]
    told = host.run(['virt-guard', 'watch', '--once'], check=False).stdout
    assert 'warn [%s]' % MISSING in told and 'warn [%s]' % ROOT in told


def test_an_image_that_names_another_one_relative_to_its_place(host):
    """At its start libvirt writes the path of that one, with .. in it, into the domain."""
    extend(host, 'kvm-baseline')
    images = '/var/lib/libvirt/images'
    host.run(['mkdir', '-p', images + '/clones'])
    for image, built_on in (('base', []), ('clones/a', ['-F', 'qcow2', '-b', '../base.qcow2'])):
        path = '%s/%s.qcow2' % (images, image)
        host.run(['qemu-img', 'create', '-q', '-f', 'qcow2', *built_on, path, '1M'])
    disk = DISK.replace('raw', 'qcow2') % (images + '/clones/a.qcow2')
    result = host.try_define_and_start(domain('clone', device(disk)))
    assert result.returncode == 0, result.stderr
    assert images + '/clones/../base.qcow2' in host.virsh('dumpxml', 'clone').stdout
