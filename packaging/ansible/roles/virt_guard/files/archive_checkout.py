#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""archive_checkout.py CHECKOUT [ARCHIVE]: what install.sh needs of a checkout, as a compressed tar archive. Prints the
SHA-256 of its content, which is the same as long as the files are."""

import gzip
import hashlib
import io
import os
import sys
import tarfile

NEEDED = ('install.sh', 'hooks', 'lib', 'data', 'doc', 'policy.yaml', 'packaging/cockpit')


def plain(member):
    name = os.path.basename(member.name)
    if name.startswith('.') or name == '__pycache__' or name.endswith('.pyc'):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ''
    # Not those of the controller, where whoever keeps the checkout may share it with others.
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def main():
    checkout = sys.argv[1]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for name in NEEDED:
            archive.add(os.path.join(checkout, name), name, filter=plain)
    for path in sys.argv[2:]:
        with gzip.open(path, 'wb') as file:
            file.write(content.getvalue())
    print(hashlib.sha256(content.getvalue()).hexdigest())


if __name__ == '__main__':
    main()
