# SPDX-License-Identifier: Apache-2.0
"""The command without root, as a CI job installs it: by pip from a checkout, into a home."""

import os
import shutil
import subprocess
import sys

import pytest
from installation import CHECKOUT, copy_checkout
from support.capabilities import missing

PYTHON = '/usr/bin/python3'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """What pip makes of a checkout. It builds in the checkout, so this is a copy."""
    if sys.executable != PYTHON:
        pytest.skip('pip is not that of %s' % sys.executable)
    if subprocess.call([PYTHON, '-c', 'import setuptools, pip, wheel, lxml, yaml'], stderr=subprocess.DEVNULL) != 0:
        missing('%s has no pip, setuptools and wheel' % PYTHON)
    checkout = copy_checkout(tmp_path_factory.mktemp('checkout'))
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(str(CHECKOUT / name), str(checkout / name))
    built = tmp_path_factory.mktemp('wheel')
    pip = [PYTHON, '-m', 'pip', '-q', 'wheel', '--no-index', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '-w', str(built), str(checkout)], check=True)
    (path,) = built.glob('*.whl')
    return path


def test_what_pip_installs_brings_its_lists(wheel, tmp_path):
    """The directory is not below the interpreter's: nothing but the place of the package tells where the lists are."""
    environment = dict(os.environ, PYTHONUSERBASE=str(tmp_path), PIP_BREAK_SYSTEM_PACKAGES='1')
    pip = [PYTHON, '-m', 'pip', '-q', 'install', '--no-index', '--no-deps', '--no-warn-script-location']
    subprocess.run([*pip, '--user', str(wheel)], check=True, env=environment, cwd='/')
    (program,) = tmp_path.glob('**/bin/virt-guard')
    (package,) = tmp_path.glob('**/virtguard')
    environment['PYTHONPATH'] = str(package.parent)
    command = [str(program), 'check', '--host', 'rhel-9.4', str(CHECKOUT / 'doc/examples/domains/files.xml')]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd='/')
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, b'1 domain: 1 admitted')
    told = b'no policy is in force here; rhel-9, the list for rhel-9.4, is taken'
    assert told in result.stderr
