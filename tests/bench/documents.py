# SPDX-License-Identifier: Apache-2.0
"""Domain XML as libvirt writes it for a q35 machine on RHEL, grown to a wanted size by more devices.

No rule of the shipped policy, and none that rules.make_rules() makes, finds anything in these documents. What differs
from one to the next is what differs between domains of one host: names, identifiers, files, addresses.
"""

from typing import List

_HEAD = """\
<domain type='kvm'>
  <name>{name}</name>
  <uuid>6f3b1c52-8a4e-4c0b-9a57-2d1f{number:08x}</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://redhat.com/rhel/8.10"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='KiB'>4194304</memory>
  <currentMemory unit='KiB'>4194304</currentMemory>
  <vcpu placement='static'>4</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-rhel8.6.0'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-model' check='partial'/>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <pm>
    <suspend-to-mem enabled='no'/>
    <suspend-to-disk enabled='no'/>
  </pm>
  <devices>
    <emulator>/usr/libexec/qemu-kvm</emulator>
"""
_DISK = """\
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
      <source file='/var/lib/libvirt/images/{name}-{index}.qcow2'/>
      <target dev='vd{letters}' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x{bus:02x}' slot='0x00' function='0x0'/>
    </disk>
"""
_INTERFACE = """\
    <interface type='bridge'>
      <mac address='52:54:00:{high:02x}:{middle:02x}:{low:02x}'/>
      <source bridge='br{index}'/>
      <model type='virtio'/>
      <driver name='vhost' queues='4'/>
      <address type='pci' domain='0x0000' bus='0x{bus:02x}' slot='0x00' function='0x0'/>
    </interface>
"""
_ROOT_PORT = """\
    <controller type='pci' index='{bus}' model='pcie-root-port'>
      <model name='pcie-root-port'/>
      <target chassis='{bus}' port='0x{port:x}'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x{slot:02x}' function='0x{function:x}'/>
    </controller>
"""
_TAIL = """\
    <controller type='usb' index='0' model='none'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='sata' index='0'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/>
    </controller>
    <serial type='pty'>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
      <address type='virtio-serial' controller='0' bus='0' port='1'/>
    </channel>
    <input type='mouse' bus='ps2'/>
    <input type='keyboard' bus='ps2'/>
    <graphics type='vnc' port='-1' autoport='yes'>
      <listen type='address'/>
    </graphics>
    <video>
      <model type='virtio' heads='1' primary='yes'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>
    </video>
    <memballoon model='none'/>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
"""
_DISKS_PER_INTERFACE = 3


def make_document(number: int, size: int) -> bytes:
    """The domain of this number, as many bytes long as comes nearest to `size` by whole devices.

    Every fourth device is an interface, the others are disks; each has its own PCI Express root port.
    """
    name = 'payroll-%05d' % number
    head, tail = _HEAD.format(name=name, number=number), _TAIL
    devices: List[str] = []
    ports: List[str] = []
    length = len(head) + len(tail)
    while True:
        bus = len(devices) + 1
        device = _make_device(name, number, bus)
        port = _ROOT_PORT.format(bus=bus, port=bus + 15, slot=2 + bus // 8, function=bus % 8)
        if length + (len(device) + len(port)) / 2 > size:
            return (head + ''.join(devices) + ''.join(ports) + tail).encode()
        devices.append(device)
        ports.append(port)
        length += len(device) + len(port)


def _make_device(name: str, number: int, bus: int) -> str:
    group, place = divmod(bus - 1, _DISKS_PER_INTERFACE + 1)
    if place == _DISKS_PER_INTERFACE:
        return _INTERFACE.format(index=group, bus=bus, high=number >> 8 & 255, middle=number & 255, low=group)
    index = group * _DISKS_PER_INTERFACE + place
    letters = chr(ord('a') + index % 26)
    return _DISK.format(name=name, index=index, letters=letters * (1 + index // 26), bus=bus)
