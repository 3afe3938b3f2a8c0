# SPDX-License-Identifier: Apache-2.0
"""Texts that YAML forbids, and texts that would take the time, the memory or the stack of a careless reader."""

import subprocess
import sys

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard.policy.problems import PolicyError

from .example import POLICY, problems_of

pytestmark = pytest.mark.usefixtures('loader')


@pytest.mark.parametrize(
    'data, line',
    [
        (b'policy: a\nmode: \xff\n', 2),
        (b'policy: a\nmode: b\xc3\n', 2),
        (b'policy: a\n\nmode: \x00\n', 3),
        (b'policy: a\nmode: \x1b[31m\n', 2),
        (b'\xff\xfea', 1),
    ],
)
def test_bytes_that_are_not_allowed_in_a_policy(data, line):
    with pytest.raises(PolicyError) as caught:
        load_policy(data, 'policy.yaml')
    (problem,) = caught.value.problems
    assert problem.message.startswith('not YAML: ')
    assert problem.line == line


@pytest.mark.parametrize(
    'text', ['[' * 2000, '{a: ' * 2000, '- ' * 2000, '[' * 500 + ']' * 500], ids=['[', '{', '-', '[]']
)
def test_deep_nesting_is_a_problem(text):
    assert problems_of(text).problems


def test_the_place_of_too_deep_nesting_is_named():
    assert [str(p) for p in problems_of('policy: x\nrules:\n  ' + '[' * 51).problems] == [
        'policy.yaml:3:52: the policy is nested too deep'
    ]


def test_absurd_nesting_does_not_crash(loader):
    """In a process of its own: C code that recurses without a limit ends by a signal."""
    program = (
        'import sys, yaml; sys.path.insert(0, sys.argv[1])\n'
        'from virtguard.policy import layer, merge, problems, yaml_reader\n'
        'yaml_reader.LOADER = getattr(yaml, sys.argv[2])\n'
        'try: merge.merge_layers([layer.read_layer(b"[" * 100000, "policy.yaml")])\n'
        'except problems.PolicyError: sys.exit(42)\n'
    )
    child = [sys.executable, '-B', '-c', program, str(CHECKOUT / 'lib'), loader.__name__]
    assert subprocess.call(child) == 42


def test_recursive_aliases_end():
    text = POLICY.replace('  - id: one', '  - &a\n    host: {arch: &b [*b]}\n    values: *a\n    id: one')
    assert problems_of(text).problems


def test_aliases_do_not_multiply():
    text = 'a: &a [x,x,x,x,x,x,x,x,x]\n' + ''.join(
        '%s: &%s [%s]\n' % (name, name, ','.join(['*' + before] * 9)) for before, name in zip('abcdefgh', 'bcdefghi')
    )
    assert len(problems_of(text + POLICY).problems) < 20
