# SPDX-License-Identifier: Apache-2.0
"""What the kernel would answer: profiles compiled by apparmor_parser, and a walk through the automaton that it writes.

The walk is the kernel's own (security/apparmor/match.c); the layout of the tables is that of include/match.h there.
"""

import os
import shutil
import struct
import subprocess

from support.capabilities import missing

_PARSER = shutil.which('apparmor_parser', path='/usr/sbin:/sbin')
_FEATURES = '/etc/apparmor.d/abi/3.0'  # of a kernel, so that this one need not have AppArmor
_MAGIC = struct.pack('>I', 0x1B5E783D)
_ACCEPT, _BASE, _CHECK, _DEFAULT, _CLASSES, _NEXT = 1, 2, 3, 4, 5, 8


def need_parser():
    if _PARSER is None or not os.path.exists(_FEATURES):
        missing('apparmor_parser is not installed (package apparmor)')


def compile_profiles(text, directory='/etc/apparmor.d'):
    """The automata about files of the profiles in `text`, by their names."""
    # No differential encoding, which saves room and costs code here.
    options = '-QKS -O no-diff-encode -M'.split() + [_FEATURES, '--kernel-features', _FEATURES, '-b', str(directory)]
    result = subprocess.run(
        [_PARSER] + options, input=os.fsencode(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert result.returncode == 0, result.stderr.decode('utf-8', 'replace')
    automata = {}
    for part in result.stdout.split(b'\x04\x08\x00version\x00')[1:]:
        name = part.partition(b'profile\0')[2][4:].partition(b'\0')[0]
        automata[os.fsdecode(name)] = Automaton(part[part.index(_MAGIC, part.rindex(b'aadfa')) :])
    return automata


class Automaton:
    def __init__(self, blob):
        _, at, size, _ = struct.unpack_from('>IIIH', blob)
        self._tables = {}
        while at < size:
            name, width, _, length = struct.unpack_from('>HHII', blob, at)
            width &= 7
            self._tables[name] = struct.unpack_from('>%d%s' % (length, {1: 'B', 2: 'H', 4: 'I'}[width]), blob, at + 12)
            at += (12 + length * width + 7) & ~7

    def may_execute(self, path):
        """'yes', 'no', or 'owner' where only the file's owner may."""
        tables, state = self._tables, 1
        for byte in os.fsencode(path):
            if _CLASSES in tables:
                byte = tables[_CLASSES][byte]
            position = (tables[_BASE][state] & 0xFFFFFF) + byte
            found = position < len(tables[_CHECK]) and tables[_CHECK][position] == state
            state = tables[_NEXT][position] if found else tables[_DEFAULT][state]
        accepted = tables[_ACCEPT][state]
        return 'yes' if accepted >> 14 & 1 else 'owner' if accepted & 1 else 'no'
