# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests."""

import os

import pytest
from virtguard.schemafile import read_schema


@pytest.fixture(scope='session')
def host_schema():
    """The schema of the libvirt that is installed; without one the test is skipped, except in CI."""
    schema = read_schema()
    if schema is None:
        assert not os.environ.get('CI'), 'libvirt, which brings the schema, is missing in CI'
        pytest.skip('there is no /usr/share/libvirt/schemas/domain.rng')
    return schema
