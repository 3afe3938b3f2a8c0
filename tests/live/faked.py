# SPDX-License-Identifier: Apache-2.0
"""Hardware that a machine does not have, as far as the guard and libvirt ask the kernel about it: /sys is faked."""

from typing import Mapping, Tuple

from machine import Machine

# PCI bus of the adapter -> what it is. Function 0 is the physical, function 1 the virtual function.
INFINIBAND, VPI, ETHERNET, LENT = '0x3b', '0x3c', '0x3d', '0x3e'
# Block devices: a multipath map, a volume on top of it, a plain disk, and one of which /sys knows nothing.
MAP, VOLUME, PLAIN, STRANGER = '/dev/mapper/mpatha', '/dev/mapper/volume', '/dev/plain', '/dev/stranger'


class FakedHost:
    """Files that a kernel with the right hardware would show."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        for directory in ('/sys/bus/pci', '/sys/kernel/iommu_groups', '/sys/dev/block'):
            machine.run(['mount', '-t', 'tmpfs', 'tmpfs', directory])

    def block_devices(self) -> None:
        """All of them, none of which can be opened."""
        self.multipath_map((253, 70))
        files = {'dm/uuid': 'LVM-8sYk\n', 'slaves/dm-70/dm/uuid': 'mpath-3600508b400105e21\n'}
        self._block_device(VOLUME, (253, 71), files)
        self._block_device(PLAIN, (8, 70), {'queue/rotational': '0\n'})
        self._block_device(STRANGER, (8, 71), {})

    def multipath_map(self, numbers: Tuple[int, int]) -> None:
        self._block_device(MAP, numbers, {'dm/uuid': 'mpath-3600508b400105e210000900000490000\n'})

    def _block_device(self, path: str, numbers: Tuple[int, int], files: Mapping[str, str]) -> None:
        self._machine.run(['mkdir', '-p', '/dev/mapper'])
        self._machine.run(['mknod', path, 'b', *map(str, numbers)])
        for name, text in files.items():
            self._machine.write('/sys/dev/block/%d:%d/%s' % (*numbers, name), text)

    def adapter(self, bus: str, function_class: str, link_layer: str = '', lent: bool = False) -> None:
        """One adapter; its virtual function is bound to vfio-pci, so that its own network side is gone.

        :param function_class: PCI class of the virtual function
        :param link_layer: of the physical function's port
        :param lent: there is no physical function: that is a hypervisor's
        """
        physical, virtual = ('/sys/bus/pci/devices/0000:%s:00.%d' % (bus[2:], number) for number in (0, 1))
        files = {'vendor': '0x15b3\n', 'device': '0x1018\n', 'numa_node': '-1\n', 'class': '0x%s\n' % function_class}
        for name, text in files.items():
            self._machine.write('%s/%s' % (virtual, name), text)
        code = bytes.fromhex(function_class)[::-1]
        self._machine.write(virtual + '/config', b'\xb3\x15\x18\x10\0\0\x10\0\0' + code + bytes(4084))
        group = str(int(bus, 16))
        self._link('../../drivers/vfio-pci', virtual + '/driver')
        self._link('/sys/kernel/iommu_groups/' + group, virtual + '/iommu_group')
        self._link(virtual, '/sys/kernel/iommu_groups/%s/devices/%s' % (group, virtual.rpartition('/')[2]))
        self._machine.write('/sys/bus/pci/drivers/vfio-pci/bind', '')
        for name in ('vfio', group):
            if not self._machine.path('/dev/vfio/' + name).exists():
                self._machine.run(['mkdir', '-p', '/dev/vfio'])
                self._machine.run(['mknod', '/dev/vfio/' + name, 'c', '10', '196'])
        if link_layer:
            self._machine.write(physical + '/infiniband/mlx5_0/ports/1/link_layer', link_layer + '\n')
        if not lent:
            self._machine.write(physical + '/sriov_totalvfs', '8\n')
            self._link('../' + physical.rpartition('/')[2], virtual + '/physfn')

    def _link(self, target: str, path: str) -> None:
        self._machine.run(['mkdir', '-p', path.rpartition('/')[0]])
        self._machine.run(['ln', '-s', target, path])
