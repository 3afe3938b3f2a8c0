# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the hook tests. Helpers to import are in installation.py: other directories have a conftest, too."""

import pytest
from installation import Installed, run_installer


@pytest.fixture(scope='session')
def installed(tmp_path_factory: 'pytest.TempPathFactory') -> Installed:
    """One installation for all tests, with the policy as shipped. Whoever changes it changes it back."""
    root = tmp_path_factory.mktemp('installed')
    result = run_installer(root)
    assert result.returncode == 0, result.stdout + result.stderr
    return Installed(root)
