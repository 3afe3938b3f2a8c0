# SPDX-License-Identifier: Apache-2.0
"""The clean domain: what an administrator would run on RHEL 8, in which no rule finds anything."""

_TEMPLATE = """\
<domain type='{type}'{namespaces}>
  <name>{name}</name>
{uuid}  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
      <libosinfo:os id='http://redhat.com/rhel/8.10'/>
    </libosinfo:libosinfo>
  </metadata>
{memory}  <os>{os}</os>
  <features><acpi/></features>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
    <emulator>{emulator}</emulator>
{devices}  </devices>
</domain>
"""


def clean_domain(
    name: str = 'guest',
    type: str = 'kvm',
    namespaces: str = '',
    uuid: str = '',
    memory: str = "  <memory unit='KiB'>1048576</memory>\n",
    os: str = "<type arch='x86_64' machine='pc-q35-rhel8.6.0'>hvm</type>",
    emulator: str = '/usr/libexec/qemu-kvm',
    devices: str = '',
) -> str:
    """The XML. `uuid`, `memory` and `devices` are whole lines."""
    return _TEMPLATE.format(
        name=name, type=type, namespaces=namespaces, uuid=uuid, memory=memory, os=os, emulator=emulator, devices=devices
    )
