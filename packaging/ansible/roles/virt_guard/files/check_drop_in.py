#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""check_drop_in.py CHECKOUT NAME PROFILE <DROP-IN: virt-guard policy check --drop-in, by a checkout of which nothing is
installed. Ends with 0 if there is no problem."""

import os
import subprocess
import sys

PYTHONS = (sys.executable, '/usr/bin/python3', '/usr/libexec/platform-python')
CHECK = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from virtguard.commands.main import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    checkout, name, profile = sys.argv[1:]
    library = os.path.join(checkout, 'lib')
    if not os.path.isfile(os.path.join(library, 'virtguard', '__init__.py')):
        sys.stderr.write('%s is not a checkout of virt-guard: set virt_guard_checkout to one\n' % checkout)
        return 3
    # Ansible's own Python is often in an environment of its own, without lxml.
    for python in PYTHONS:
        tried = [python, '-I', '-B', '-c', 'import lxml.etree, yaml']
        if os.access(python, os.X_OK) and subprocess.call(tried, stderr=subprocess.DEVNULL) == 0:
            check = ['policy', 'check', '--drop-in', '-', '--as', name, profile]
            return subprocess.call([python, '-I', '-B', '-c', CHECK, library, *check])
    sys.stderr.write('no Python here has lxml and PyYAML, which the check needs: install them\n')
    return 3


if __name__ == '__main__':
    sys.exit(main())
