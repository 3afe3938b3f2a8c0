# SPDX-License-Identifier: Apache-2.0
"""When a policy is compiled: what is changed at the same time is not left out."""

import marshal

import pytest
from support.paths import CHECKOUT
from virtguard.errors import GuardError
from virtguard.policy.compiler import compile_policy, prepare, until_unchanged
from virtguard.policy.load import trusted


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / 'policy.yaml'
    path.write_text('policy: a')
    return path


class Work:
    """Does one thing after the other, each time that it is called; what is an error is raised."""

    def __init__(self, *results):
        self.results = list(results)

    def __call__(self):
        result = self.results.pop(0)
        if callable(result):
            result = result()
        if isinstance(result, Exception):
            raise result
        return result


def broken(*_):
    return GuardError('broken')


def test_once_where_nothing_changes(policy):
    assert until_unchanged(str(policy), Work(True)) is True
    assert until_unchanged(str(policy), Work(False)) is False
    work = Work(broken, True)
    with pytest.raises(GuardError, match='broken'):
        until_unchanged(str(policy), work)
    assert work.results == [True]


def changes(policy):
    drop_ins = policy.with_suffix('.d')
    yield lambda: policy.write_text('policy: other')
    yield drop_ins.mkdir
    yield lambda: (drop_ins / '10.yaml').write_text('broken')
    yield lambda: (drop_ins / '10.yaml').write_text('mended it is')
    yield (drop_ins / '10.yaml').unlink
    yield policy.unlink


@pytest.mark.parametrize('first', [True, broken()], ids=['done', 'failed'])
def test_again_where_something_has_changed(policy, first):
    for change in changes(policy):

        def while_working(change=change):
            change()
            return first

        work = Work(while_working, False)
        assert until_unchanged(str(policy), work) is False
        assert work.results == []


def test_not_for_ever(policy):
    work = Work(*[lambda: policy.write_text(policy.read_text() + '#') and broken()] * 100)
    with pytest.raises(GuardError, match='broken'):
        until_unchanged(str(policy), work)
    assert len(work.results) > 90


def test_what_is_equal_is_read_once():
    """And stays what it is: 1, 1.0 and True are equal, too."""
    *prepared, (_, details) = prepare(trusted(str(CHECKOUT / 'data/profiles/rhel-8.yaml')))
    stamp = (('/1', 1), ('/1', 1.0), ('/1', True), ('/1', (1,)), ('/1', (True,)), ('/1', (1,)))
    data = compile_policy(trusted(str(CHECKOUT / 'data/profiles/rhel-8.yaml')), stamp, ())
    _, numbers, payload = data.split(b'\n', 2)
    size = int(numbers.split()[0])
    read = marshal.loads(payload[:size])
    assert read == (stamp, (), tuple(prepared)) and payload[size:-size] == details
    assert repr(read[0]) == repr(stamp) and repr(read[2][2]) == repr(prepared[2])  # the programs of its rules
    assert read[0][3] is read[0][5] and read[0][3] is not read[0][4]
    assert size < len(marshal.dumps(prepared))
