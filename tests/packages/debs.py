# SPDX-License-Identifier: Apache-2.0
"""Debian packages for the tests: that of this tree, and what another version of it could be."""

import pathlib
import re
import shutil
import subprocess
from typing import Callable

from support.capabilities import missing
from support.paths import CHECKOUT

INSTALLER = 'usr/share/virt-guard/installer'


def build_deb(directory: pathlib.Path) -> pathlib.Path:
    """As README says."""
    for program, package in (('dpkg-buildpackage', 'dpkg-dev'), ('dh', 'debhelper')):
        if not shutil.which(program):
            missing('needs %s, of the package %s' % (program, package))
    command = [str(CHECKOUT / 'packaging/build'), 'deb', '--version', '1.0', '--output', str(directory)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    assert result.returncode == 0, result.stderr.decode('utf-8', 'replace')
    path = pathlib.Path(result.stdout.decode().strip())
    assert path == directory / 'virt-guard_1.0_all.deb'
    return path


def other_version(deb: pathlib.Path, version: str, change: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Another version of a package: `change` is called with the directory where its files are."""
    root = deb.with_name('files-' + version)
    subprocess.check_call(['dpkg-deb', '-R', str(deb), str(root)])
    change(root)
    edit(root / 'DEBIAN/control', r'^Version: .*', 'Version: ' + version)
    edit(root / INSTALLER / 'lib/virtguard/__init__.py', r'^__version__ = .*', "__version__ = '%s'" % version)
    (root / 'DEBIAN/md5sums').unlink()
    other = deb.with_name('virt-guard_%s_all.deb' % version)
    subprocess.check_call(['dpkg-deb', '--root-owner-group', '-Znone', '-b', str(root), str(other)])
    shutil.rmtree(str(root))
    return other


def edit(path: pathlib.Path, pattern: str, text: str) -> None:
    changed, number = re.subn(pattern, lambda match: text, path.read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert number == 1, (path, pattern)
    path.write_text(changed, encoding='utf-8')
