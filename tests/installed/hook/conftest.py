# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the hook: each test finds the shipped policy in force, as YAML and compiled."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import venv

import pytest
import yaml
from installation import domain_xml


class Prepared:
    """The installation as the last test found it."""

    def __init__(self, installed):
        self._installed = installed
        self._left = None

    def again(self):
        """Put the shipped policy in force, but for the rule that would deny everything where tests run in a container;
        where nothing has changed since, that is done."""
        policy = self._installed.policy
        if self._left is None or self._look() != self._left:
            with contextlib.suppress(FileNotFoundError):
                policy.unlink()
            self._installed.write_policy()
            self._left = self._look()

    def _look(self):
        paths = (self._installed.policy, self._installed.policy.with_suffix('.compiled'))
        status = [path.lstat() for path in paths if os.path.lexists(str(path))]
        return [(one.st_ino, one.st_mode, one.st_uid, one.st_mtime_ns, one.st_ctime_ns) for one in status]


@pytest.fixture(scope='module', autouse=True, params=['YAML', 'compiled'])
def prepared(request, installed):
    saved = installed.policy.read_bytes()
    installed.compiles = request.param == 'compiled'
    yield Prepared(installed)
    installed.compiles = False
    installed.policy.unlink()
    installed.policy.write_bytes(saved)
    installed.policy.chmod(0o644)
    assert installed.run_cli('policy', 'compile').returncode == 0


@pytest.fixture(autouse=True)
def policy(prepared, installed, private_run):
    prepared.again()
    yield
    if installed.log.exists():
        installed.log.unlink()


@pytest.fixture
def clean():
    return domain_xml('vm')


@pytest.fixture
def denied(clean):
    tpm = b"<tpm model='tpm-crb'><backend type='passthrough'/></tpm></devices>"
    return clean.replace(b"type='kvm'", b"type='qemu'").replace(b'</devices>', tpm)


@pytest.fixture
def no_journal(private_run):
    """Neither journald nor syslog: /run is empty."""
    assert not os.path.exists('/run/systemd/journal/socket')


@pytest.fixture
def sysfs(private_run):
    """An empty /sys/bus/pci/devices."""
    path = pathlib.Path('/sys/bus/pci/devices')
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', str(path)], check=True)
    yield path
    subprocess.run(['umount', str(path)], check=True)


@pytest.fixture(scope='session')
def python_without_lxml(tmp_path_factory):
    """An interpreter that has PyYAML and nothing else."""
    directory = tmp_path_factory.mktemp('python')
    venv.create(str(directory), with_pip=False)
    (packages,) = directory.glob('lib/python3*/site-packages')
    source = pathlib.Path(yaml.__file__).parent
    for name in ('yaml', '_yaml'):
        if (source.parent / name).is_dir():
            shutil.copytree(str(source.parent / name), str(packages / name))
    return directory / 'bin' / 'python3'
