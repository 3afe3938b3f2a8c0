# SPDX-License-Identifier: Apache-2.0
"""A guest of a hundred instructions, in place of a BIOS and an operating system.

It answers what QEMU asks of a guest by ACPI, and so makes real what is under test: it lets DIMMs and vCPUs go when they
are to be unplugged, and it sleeps when a key is pressed, `S` for S3 and `D` for S4. It runs at once, on KVM as well.
(A kernel takes minutes there where KVM is nested.) For machine type q35.
"""

import struct

PATH = '/var/lib/libvirt/images/firmware.bin'
LOADER = "<loader readonly='yes' type='rom'>%s</loader>" % PATH

_SIZE = 1 << 16  # it fills the segment of the reset vector
_RESET_VECTOR = 0xFFF0
_DIMMS, _VCPUS = 4, 4

# I/O ports: PCI configuration, keyboard, and the controllers of hot-plug (QEMU's docs/specs/acpi_*_hotplug).
_PCI_ADDRESS, _PCI_DATA = 0xCF8, 0xCFC
_KEYBOARD_DATA, _KEYBOARD_STATUS = 0x60, 0x64
_MEMORY_SELECTOR, _MEMORY_FLAGS = 0xA00, 0xA14
_CPU_SELECTOR, _CPU_FLAGS = 0xCD8, 0xCDC
_IS_REMOVING, _EJECT = 1 << 2, 1 << 3
# The chipset's power management: where the firmware puts its registers, and how it makes the machine sleep.
_PM_BASE = 0x600
_LPC_PM_BASE, _LPC_ACPI_CONTROL = 0x8000F840, 0x8000F844
_SLEEP = {0x1F: 1, 0x20: 2}  # key S: S3, key D: S4


def _out_byte(port: int, value: int) -> bytes:
    return struct.pack('<BHBBB', 0xBA, port, 0xB0, value, 0xEE)  # mov dx, port; mov al, value; out dx, al


def _out_word(port: int, value: int) -> bytes:
    return struct.pack('<BHBHB', 0xBA, port, 0xB8, value, 0xEF)  # mov dx, port; mov ax, value; out dx, ax


def _out_long(port: int, value: int) -> bytes:
    return struct.pack('<BHHIH', 0xBA, port, 0xB866, value, 0xEF66)  # mov dx, port; mov eax, value; out dx, eax


def _in_byte(port: int) -> bytes:
    return struct.pack('<BHB', 0xBA, port, 0xEC)  # mov dx, port; in al, dx


def _if_any_bit(bits: int, then: bytes) -> bytes:
    return struct.pack('<BBBb', 0xA8, bits, 0x74, len(then)) + then  # test al, bits; jz past `then`


def _if_equal(value: int, then: bytes) -> bytes:
    return struct.pack('<BBBb', 0x3C, value, 0x75, len(then)) + then  # cmp al, value; jnz past `then`


def _release(selector: int, flags: int, slot: int) -> bytes:
    """Let what is in a slot go, if it is asked for."""
    let_go = _out_byte(flags, _IS_REMOVING) + _out_byte(flags, _EJECT)  # the first one forgets the request
    return _out_long(selector, slot) + _in_byte(flags) + _if_any_bit(_IS_REMOVING, let_go)


def _sleep(state: int) -> bytes:
    return _out_word(_PM_BASE + 4, state << 10 | 1 << 13)


def image() -> bytes:
    begin = (
        _out_long(_PCI_ADDRESS, _LPC_PM_BASE)
        + _out_long(_PCI_DATA, _PM_BASE | 1)
        + _out_long(_PCI_ADDRESS, _LPC_ACPI_CONTROL)
        + _out_byte(_PCI_DATA, 1 << 7)
        + _out_byte(_CPU_SELECTOR, 0)  # until then it is the controller of older machines
        + _out_byte(_KEYBOARD_STATUS, 0x60)
        + _out_byte(_KEYBOARD_DATA, 1 << 6)  # from now on it speaks of keys as the PC/XT did, one byte for each
    )
    loop = b''.join(_release(_MEMORY_SELECTOR, _MEMORY_FLAGS, slot) for slot in range(_DIMMS))
    loop += b''.join(_release(_CPU_SELECTOR, _CPU_FLAGS, slot) for slot in range(1, _VCPUS))
    keys = b''.join(_if_equal(key, _sleep(state)) for key, state in _SLEEP.items())
    loop += _in_byte(_KEYBOARD_STATUS) + _if_any_bit(1, _in_byte(_KEYBOARD_DATA) + keys)
    loop += struct.pack('<Bh', 0xE9, -len(loop) - 3)  # jmp to its beginning
    start = struct.pack('<BHH', 0xEA, 0, 0xF000)  # jmp far to the beginning of the segment
    return (begin + loop).ljust(_RESET_VECTOR, b'\xf4') + start.ljust(_SIZE - _RESET_VECTOR, b'\xf4')
