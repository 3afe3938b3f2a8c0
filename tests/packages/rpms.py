# SPDX-License-Identifier: Apache-2.0
"""rpm packages for the tests: that of this tree, what other versions of it could be, and one that stands for others."""

import pathlib
import re
import shutil
import subprocess

from support.capabilities import missing
from support.paths import CHECKOUT

# Of osinfo-db, and of a Python that is preferred to /usr/bin/python3, with its library.
_OTHER = """\
Name: other
Version: 1
Release: 1
Summary: s
License: l
BuildArch: noarch
%description
d
%install
mkdir -p %{buildroot}/usr/share/osinfo/os %{buildroot}/usr/libexec %{buildroot}/usr/lib64/python3.99/encodings
touch %{buildroot}/usr/share/osinfo/os/virt-guard-test.txt %{buildroot}/usr/lib64/python3.99/encodings/__init__.py
printf '#!/bin/sh\\nexec /usr/bin/python3 "$@"\\n' >%{buildroot}/usr/libexec/platform-python
%files
/usr/share/osinfo/os/virt-guard-test.txt
/usr/lib64/python3.99
%attr(755,root,root) /usr/libexec/platform-python
"""


def build(checkout: pathlib.Path, directory: pathlib.Path) -> pathlib.Path:
    """As README says; the source package is beside it."""
    if not shutil.which('rpmbuild'):
        missing('needs rpmbuild, of the package rpm')
    directory.mkdir()
    command = [str(checkout / 'packaging/build'), 'rpm', '--output', str(directory)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    assert result.returncode == 0, result.stderr.decode('utf-8', 'replace')
    (path,) = directory.glob('*.noarch.rpm')
    assert result.stdout.decode() == '%s\n' % path
    return path


def other_version(checkout: pathlib.Path, number: str, old: str = '', new: str = '') -> pathlib.Path:
    """Another version of this tree, with a change in the hook."""
    ignored = shutil.ignore_patterns('__pycache__', '.git', 'tests', '.*_cache')
    shutil.copytree(str(CHECKOUT), str(checkout), ignore=ignored, symlinks=True)
    _edit(checkout / 'lib/virtguard/__init__.py', "__version__ = '.*'", "__version__ = '%s'" % number)
    _edit(checkout / 'hooks/qemu', re.escape(old), new)
    return checkout


def _edit(path: pathlib.Path, pattern: str, text: str) -> None:
    changed, number = re.subn(pattern, lambda match: text, path.read_text(encoding='utf-8'), count=1)
    assert number == 1, (path, pattern)
    path.write_text(changed, encoding='utf-8')


def build_other(directory: pathlib.Path) -> pathlib.Path:
    spec = directory / 'other.spec'
    spec.write_text(_OTHER)
    subprocess.run(['rpmbuild', '-bb', '--quiet', '-D', '_topdir %s' % directory, str(spec)], check=True, timeout=600)
    return directory / 'RPMS/noarch/other-1-1.noarch.rpm'
