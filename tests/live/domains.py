# SPDX-License-Identifier: Apache-2.0
"""Domain XML of the live tests: a domain that every rule admits, and mutations that make it one that a rule does not.

A mutation takes the XML of a domain and returns that of another. Each changes one thing, as an administrator would.
"""

import functools
from typing import Callable
from xml.sax.saxutils import escape, quoteattr

from support.domain import clean_domain

Mutation = Callable[[str], str]

# The clean domain as far as 64 MB and Debian's QEMU allow. Shared memory is what vhost-user devices need.
CLEAN = clean_domain(
    '%s',
    namespaces=" xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'",
    memory="  <memory unit='MiB'>64</memory>\n"
    "  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>\n",
    os="<type arch='x86_64' machine='q35'>hvm</type>",
    emulator='/usr/bin/qemu-system-x86_64',
    devices="    <memballoon model='none'/>\n",
)

DISK = """
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/disk.img'/>%s
      <target dev='vda' bus='virtio'/>
    </disk>"""
QCOW2_DISK = DISK.replace("'raw'", "'qcow2'").replace('disk.img', 'disk.qcow2') % ''
IOTUNE = '<iotune><total_iops_sec>100</total_iops_sec></iotune>'
# A virtio device that can be plugged into a running domain.
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng>"
HOSTDEV = """
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='%s' slot='0' function='1'/></source>
    </hostdev>"""
INTERFACE_HOSTDEV = """
    <interface type='hostdev' managed='no'>
      <source><address type='pci' domain='0' bus='%s' slot='0' function='1'/></source>
    </interface>"""
LUN = """
    <disk type='block' device='lun'%s>
      <driver name='qemu' type='raw'/>
      <source dev='%s'>%s</source>
      <target dev='sda' bus='scsi'/>
    </disk>"""
RESERVATIONS = "<reservations managed='yes'/>"
VHOST_USER_INTERFACE = """
    <interface type='vhostuser'>
      <source type='unix' path='/run/vhost-user.sock' mode='client'/>
      <model type='virtio'/>
    </interface>"""
VHOST_USER_DISK = """
    <disk type='vhostuser' device='disk'>
      <driver name='qemu' type='raw'/>
      <source type='unix' path='/run/vhost-user.sock'/>
      <target dev='vda' bus='virtio'/>
    </disk>"""
VIRTIOFS = """
    <filesystem type='mount'>
      <driver type='virtiofs'/>
      <source dir='/srv'/>
      <target dir='share'/>
    </filesystem>"""
TEAMING = """
    <interface type='user'>
      <mac address='52:54:00:00:00:01'/>
      <model type='virtio'/>
      <teaming type='persistent'/>
      <alias name='ua-standby'/>
    </interface>"""


def domain(name: str, *mutations: Mutation) -> str:
    """The clean domain, mutated."""
    return functools.reduce(lambda xml, mutate: mutate(xml), mutations, CLEAN % escape(name))


def replace(old: str, new: str) -> Mutation:
    """Put `new` in the one place of `old`."""

    def mutate(xml: str) -> str:
        assert xml.count(old) == 1, old
        return xml.replace(old, new)

    return mutate


def device(xml: str) -> Mutation:
    return replace('</devices>', xml + '\n  </devices>')


def disk(inside: str = '') -> Mutation:
    """An image that Machine.write('/var/lib/libvirt/images/disk.img', ...) made, with elements `inside` its own."""
    return device(DISK % inside)


def extension(xml: str) -> Mutation:
    """An element of the qemu namespace, which libvirt keeps at the end of the domain."""
    return replace('</domain>', xml + '\n</domain>')


def arguments(*values: str) -> Mutation:
    """Arguments for QEMU's command line."""
    lines = ''.join('<qemu:arg value=%s/>' % quoteattr(value) for value in values)
    return extension('<qemu:commandline>%s</qemu:commandline>' % lines)


def guest_os(id: str) -> Mutation:
    """The guest operating system by its id in osinfo-db."""
    return replace('http://redhat.com/rhel/8.10', id)


def both(one: Mutation, other: Mutation) -> Mutation:
    return lambda xml: other(one(xml))


def unchanged(xml: str) -> str:
    return xml


TCG = replace("type='kvm'", "type='qemu'")
