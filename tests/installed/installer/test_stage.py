# SPDX-License-Identifier: Apache-2.0
"""install.sh --stage: the files that a package owns."""

import os
import stat
import subprocess

from support.paths import CHECKOUT

INSTALLER = 'usr/share/virt-guard/installer/'


def stage(directory):
    command = [str(CHECKOUT / 'install.sh'), '--stage', str(directory)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)


def test_what_a_package_owns(tmp_path):
    """Plain files, none of which knows where it was made, and all that an installation of the host is made of."""
    destination = tmp_path / 'made here'
    result = stage(destination)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    found = {}
    for path in destination.rglob('*'):
        assert not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
        if path.is_file():
            found[str(path.relative_to(destination))] = path
    for name, path in found.items():
        data = path.read_bytes()
        assert os.fsencode(str(tmp_path)) not in data and os.fsencode(str(CHECKOUT)) not in data, name
        assert name.startswith('usr/') and not name.endswith('.pyc'), name
        executable = name in ('usr/bin/virt-guard', INSTALLER + 'install.sh', INSTALLER + 'hooks/qemu')
        assert bool(path.stat().st_mode & 0o111) == executable, name
        if name.startswith(INSTALLER):
            assert data == (CHECKOUT / name[len(INSTALLER) :]).read_bytes(), name
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / 'lib').rglob('*.py')}
    assert {INSTALLER + name for name in modules} <= set(found)
    units = {path.name for path in (CHECKOUT / 'data').iterdir() if path.suffix in ('.service', '.path', '.timer')}
    assert units == {path.name for name, path in found.items() if name.startswith('usr/lib/systemd/system/')}
    assert 'usr/share/man/man8/virt-guard.8' in found
    # A second version in the same place would be two in one.
    again = stage(destination)
    assert again.returncode == 1 and b'is there already' in again.stderr


def test_stage_stands_alone(tmp_path):
    result = subprocess.run(
        [str(CHECKOUT / 'install.sh'), '--stage', str(tmp_path / 'x'), '--mode', 'audit'], stderr=subprocess.PIPE
    )
    assert result.returncode == 2 and b'--stage goes with no other option' in result.stderr
    assert not (tmp_path / 'x').exists()
