# SPDX-License-Identifier: Apache-2.0
"""Both of PyYAML's loaders."""

import pytest
import yaml
from virtguard.policy import yaml_reader

LOADERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if hasattr(yaml, 'CSafeLoader') else [])


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request, monkeypatch):
    """A PyYAML without libyaml reads the same policies, and finds the same problems."""
    monkeypatch.setattr(yaml_reader, 'LOADER', request.param)
    return request.param
