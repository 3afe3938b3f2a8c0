# SPDX-License-Identifier: Apache-2.0
"""A policy that the tests of layers change, and what reading it comes to."""

import pytest
from support.policies import load_policy
from virtguard.policy.problems import PolicyError

POLICY = """\
policy: example
mode: enforce
failure: deny
deadline: 5
audit: {required: false}
rules:
  - id: one
    title: the first
    action: deny
    match: /domain/devices/disk
    why: because
    remedy: do something else
    reference: https://example.com/
"""
MATCH = 'match: /domain/devices/disk'


def load(text):
    return load_policy(text.encode('utf-8'), 'policy.yaml')


def problems_of(text):
    with pytest.raises(PolicyError) as caught:
        load(text)
    return caught.value


def changed(old, new):
    assert POLICY.count(old) == 1, old
    return POLICY.replace(old, new)
