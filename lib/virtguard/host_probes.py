# SPDX-License-Identifier: Apache-2.0
"""Probes: what a rule asks of the host about one matched node. Reads /proc, /sys, /etc and devices; writes nothing.

Every answer is None where the host cannot tell. Nothing here has a time limit: looking at a broken device may hang, so
the hook asks from a process that it can abandon.
"""

import posix  # not os: see the import budget in hook/call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from .verdict import Answer, Answered

_INFINIBAND_CLASS = '0x0207'
_TYPE, _BLOCK_DEVICE, _REGULAR_FILE = 0o170000, 0o060000, 0o100000  # from <sys/stat.h>
_ARPHRD_INFINIBAND = '32'  # linux/if_arp.h


class Probes:
    """What the files of a host answer.

    :param host: a host.Host, which comes here with what it is asked
    """

    def __init__(self, host: 'Any') -> None:
        self._root = host.root
        self._path, self._read, self._exists = host.path, host.read, host.exists

    def answer(self, name: str, subject: str) -> 'Answered':
        """Answer one probe.

        :param name: one of PROBES in policy/probes
        :param subject: for `multipath-device` the path of a source device, for `infiniband-vf` a PCI address, for
            `foreign-emulator` the path of an emulator, for `real-path` any path
        """
        probes: 'Dict[str, Callable[[str], Answered]]' = {
            'multipath-device': self.is_multipath_device,
            'infiniband-vf': self.is_infiniband_vf,
            'foreign-emulator': self.is_foreign_emulator,
            'real-path': self.real_path,
        }
        return probes[name](subject)

    def _list(self, path: str) -> 'Optional[List[str]]':
        try:
            return sorted(name.decode('utf-8', 'surrogateescape') for name in posix.listdir(self._path(path)))
        except OSError:
            return None

    def is_foreign_emulator(self, path: str) -> 'Answered':
        """Whether a file is not the distribution's emulator, and why."""
        from .emulator_file import foreign_emulator  # hardly ever asked for

        return foreign_emulator(path, self._root)

    def real_path(self, path: str) -> 'Answered':
        """Where a path leads once its links are followed; a path that is not absolute leads nowhere. Yes where it was
        made to hide that."""
        from .real_path import HiddenPathError, real_steps  # hardly ever asked for

        if not path.startswith('/'):
            return False
        try:
            return '/' + '/'.join(real_steps(path, self._root, may_be_missing=True))
        except HiddenPathError as hidden:
            return True, str(hidden)
        except (OSError, ValueError):
            return None

    def is_multipath_device(self, device: str) -> 'Answer':
        """Whether a block device is a multipath map, or is stacked on one (a partition, a logical volume).

        For a SCSI device that is passed through (scsi:HOST:BUS:TARGET:UNIT): whether it is a path of a map.
        """
        if device.startswith('scsi:'):
            return self._is_path(device[len('scsi:') :])
        for prefix in ('host_device:', 'file:'):  # QEMU's own protocols
            device = device[len(prefix) :] if device.startswith(prefix) else device
        if not device.startswith('/'):
            return None
        try:
            status = posix.stat(self._path(device))
        except OSError:
            return None
        numbers = '%d:%d' % (posix.major(status.st_rdev), posix.minor(status.st_rdev))
        sysfs = '/sys/dev/block/%s' % numbers
        if status.st_mode & _TYPE == _REGULAR_FILE:
            return False
        if status.st_mode & _TYPE != _BLOCK_DEVICE or not self._exists(sysfs):
            return None
        return self._is_multipath(sysfs, 8)

    def _is_path(self, address: str) -> 'Answer':
        device = '/sys/bus/scsi/devices/' + address
        if not address or '/' in address or not self._exists(device):
            return None
        disks = ['%s/block/%s' % (device, name) for name in self._list(device + '/block') or []]
        holders = [disk + '/holders/' + name for disk in disks for name in self._list(disk + '/holders') or []]
        return any((self._read(holder + '/dm/uuid') or '').startswith('mpath-') for holder in holders)

    def _is_multipath(self, sysfs: str, depth: int) -> 'Answer':
        # mpath-WWID, and part1-mpath-WWID for a partition.
        uuid = (self._read(sysfs + '/dm/uuid') or '').split('-')
        if 'mpath' in uuid[: 2 if uuid[0].startswith('part') else 1]:
            return True
        if depth == 0:
            return None
        below = self._list(sysfs + '/slaves') or []
        answers = [self._is_multipath('%s/slaves/%s' % (sysfs, name), depth - 1) for name in below]
        return True if True in answers else None if None in answers else False

    def is_infiniband_vf(self, address: str) -> 'Answer':
        """Whether a PCI device is a virtual function of an InfiniBand adapter.

        At `start` the function is already bound to vfio-pci and has no network side any more. So its class and the
        links of its physical function are looked at.
        """
        if address.startswith('/sys/bus/mdev/') and '..' not in address:
            return False
        name = _pci_name(address.rstrip('/').rpartition('/')[2])
        device = '/sys/bus/pci/devices/' + name
        device_class = self._read(device + '/class')
        if not name or device_class is None:
            return None
        infiniband = device_class.startswith(_INFINIBAND_CLASS)
        if self._exists(device + '/physfn'):
            return infiniband or self._has_infiniband_link(device + '/physfn')
        if not infiniband or self._exists(device + '/sriov_totalvfs'):
            return False
        # It has no physical and no virtual functions: a plain adapter, or a virtual function given to a nested host.
        return None

    def _has_infiniband_link(self, device: str) -> bool:
        for adapter in self._list(device + '/infiniband') or []:
            ports = '%s/infiniband/%s/ports' % (device, adapter)
            for port in self._list(ports) or []:
                if (self._read('%s/%s/link_layer' % (ports, port)) or '').strip() == 'InfiniBand':
                    return True
        types = [self._read('%s/net/%s/type' % (device, name)) or '' for name in self._list(device + '/net') or []]
        return _ARPHRD_INFINIBAND in [text.strip() for text in types]


def _pci_name(address: str) -> str:
    """A PCI address as sysfs writes it, from QEMU's form too (03:10.1); '' where it is not one."""
    # No regular expression: importing re takes longer than all that the hook does for a clean domain.
    *domain, bus, rest = ['0'] * (2 - address.count(':')) + address.split(':')
    slot, _, function = rest.partition('.')
    try:
        numbers = [int(number, 16) for number in (*domain[-1:], bus, slot, function)]
    except ValueError:
        return ''
    return '%04x:%02x:%02x.%x' % tuple(numbers) if len(numbers) == 4 and len(domain) == 1 else ''
