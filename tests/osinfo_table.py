# SPDX-License-Identifier: Apache-2.0
"""Makes osinfo_table.py and osinfo_names.py of the package: python3 tests/osinfo_table.py [ROOT], / by default.

For whoever maintains virt-guard: run it where a new osinfo-db is installed, or on a package unpacked below ROOT.
"""

import pathlib
import sys

LIB = pathlib.Path(__file__).resolve().parents[1] / 'lib'
TABLE = LIB / 'virtguard' / 'policy' / 'osinfo_table.py'
NAMES = LIB / 'virtguard' / 'policy' / 'osinfo_names.py'

_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""The release dates of osinfo-db (https://libosinfo.org): libosinfo id -> YYYY-MM-DD. Made by tests/osinfo_table.py."""

VERSION = '%s'
RELEASED = {
'''
_HEAD_OF_NAMES = '''\
# SPDX-License-Identifier: Apache-2.0
"""The short ids of osinfo-db (https://libosinfo.org) -> libosinfo ids; each has one. Made by tests/osinfo_table.py."""

IDS = {
'''


def render(root):
    """The text of the table made of the osinfo-db below `root` ('' for /)."""
    from virtguard.policy.osinfo_db import read_database

    database = read_database(root)
    if database.problems or not database.released:
        sys.exit('\n'.join(database.problems) or 'there is no osinfo-db below %s/' % root)
    lines = ['    %r: %r,\n' % entry for entry in sorted(database.released.items())]
    return _HEAD % database.version + ''.join(lines) + '}\n'


def render_names(root):
    """The text of the table of ids, made of the same."""
    from lxml import etree

    ids = {}
    for path in sorted(pathlib.Path(root + '/usr/share/osinfo/os').glob('**/*.xml')):
        for system in etree.parse(str(path)).getroot().iterchildren('os'):
            ids.update((short.text.strip(), system.get('id')) for short in system.iterchildren('short-id'))
    return _HEAD_OF_NAMES + ''.join('    %r: %r,\n' % entry for entry in sorted(ids.items())) + '}\n'


if __name__ == '__main__':
    sys.path.insert(0, str(LIB))
    root = sys.argv[1].rstrip('/') if sys.argv[1:] else ''
    TABLE.write_text(render(root), encoding='utf-8')
    NAMES.write_text(render_names(root), encoding='utf-8')
