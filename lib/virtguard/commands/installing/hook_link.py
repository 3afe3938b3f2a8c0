# SPDX-License-Identifier: Apache-2.0
"""Where libvirt is to find the hook on this host: as its only one, or beside that of another program. Only reads."""

import os

from ...errors import GuardError
from ...match.libvirt_schema import libvirt_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

# In the directory of libvirt's hooks. Every version of libvirt runs the first; what is in qemu.d, since SEVERAL.
ONLY, BESIDE = 'qemu', 'qemu.d/00-virt-guard'
_SEVERAL = (6, 5)


def choose_link(directory: str, programs: 'Sequence[str]') -> str:
    """The name that the link to the hook should have there: ONLY or BESIDE.

    :param directory: libvirt's own, for hooks
    :param programs: what a link of ours leads to, in this version and in earlier ones
    :raises GuardError: there is no place for it
    """
    only, beside = (os.path.join(directory, name) for name in (ONLY, BESIDE))
    if is_our_link(only, programs) or not os.path.lexists(only):
        return ONLY
    version = libvirt_version()
    if version is None:
        raise GuardError(
            '%s belongs to another program, and no libvirt is installed that could run a second hook' % only
        )
    if version[:2] < _SEVERAL:
        raise GuardError(
            '%s belongs to another program, and libvirt %d.%d runs only that one hook (6.5 runs more); remove it or '
            'upgrade libvirt, then run install.sh again' % (only, *version[:2])
        )
    if os.path.lexists(beside) and not is_our_link(beside, programs):
        raise GuardError('%s belongs to another program; remove or rename it' % beside)
    return BESIDE


def is_our_link(path: str, programs: 'Sequence[str]') -> bool:
    """Whether it is a link to one of the programs, however it is written, and whether or not they are there."""
    return os.path.islink(path) and os.path.realpath(path) in [os.path.realpath(program) for program in programs]
