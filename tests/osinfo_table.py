# SPDX-License-Identifier: Apache-2.0
"""Makes lib/virtguard/osinfo_table.py of an osinfo-db: python3 tests/osinfo_table.py [ROOT], ROOT being / by default.

For whoever maintains virt-guard: run it where a new osinfo-db is installed, or on a package unpacked below ROOT.
"""

import pathlib
import sys

LIB = pathlib.Path(__file__).resolve().parents[1] / 'lib'
TABLE = LIB / 'virtguard' / 'osinfo_table.py'

_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""The release dates of osinfo-db (https://libosinfo.org): libosinfo id -> YYYY-MM-DD. Made by tests/osinfo_table.py."""

VERSION = '%s'
RELEASED = {
'''


def render(root):
    """The text of the table made of the osinfo-db below `root` ('' for /)."""
    from virtguard.osinfo import read_database

    database = read_database(root)
    if database.problems or not database.released:
        sys.exit('\n'.join(database.problems) or 'there is no osinfo-db below %s/' % root)
    lines = ['    %r: %r,\n' % entry for entry in sorted(database.released.items())]
    return _HEAD % database.version + ''.join(lines) + '}\n'


if __name__ == '__main__':
    sys.path.insert(0, str(LIB))
    TABLE.write_text(render(sys.argv[1].rstrip('/') if sys.argv[1:] else ''), encoding='utf-8')
