# SPDX-License-Identifier: Apache-2.0
"""A policy as it would be with other files: what somebody wants to put in force can be looked at before."""

import os

import pytest
from virtguard.errors import PolicyFileError
from virtguard.model import MAX_POLICY_BYTES
from virtguard.policy import load
from virtguard.policy.problems import PolicyError

RULE = '{id: %s, title: t, action: deny, match: /domain/%s, why: w, remedy: r}'
POLICY = 'policy: base\nfailure: admit\nrules: [%s]\n' % (RULE % ('one', 'a'))


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    return put(tmp_path / 'policy.yaml', POLICY)


@pytest.fixture
def drop_ins(policy):
    directory = policy.with_suffix('.d')
    directory.mkdir(mode=0o755)
    put(directory / '10.yaml', 'deadline: 10\n')
    put(directory / '30.yaml', 'deadline: 30\n')
    return directory


@pytest.fixture(params=[load.trusted, load.as_if_in_force], ids=['trusted', 'as_if_in_force'])
def loaded(request, policy):
    def load_with(changes):
        return request.param(str(policy), '', {str(path): data for path, data in changes.items()})

    return load_with


def put(path, text):
    path.write_text(text, encoding='utf-8')
    path.chmod(0o644)
    return path


def names(policy):
    return [os.path.basename(path) for path in policy.files]


def test_a_new_drop_in_stands_where_its_name_belongs(loaded, drop_ins):
    changed = loaded({drop_ins / '20.yaml': b'deadline: 20\nmode: audit\n'})
    assert names(changed) == ['policy.yaml', '10.yaml', '20.yaml', '30.yaml']
    assert (changed.deadline, changed.mode) == (30, 'audit')
    assert changed.origins['mode'] == (str(drop_ins / '20.yaml'), 2)
    assert not (drop_ins / '20.yaml').exists(), 'nothing is written'


def test_it_is_the_policy_that_the_file_would_make(loaded, drop_ins):
    path, text = drop_ins / '20.yaml', 'rules: [{id: one, action: warn}]\n'
    ahead = loaded({path: text.encode()})
    put(path, text)
    in_force = loaded({})
    assert (ahead.sha256, ahead.files, ahead.origins) == (in_force.sha256, in_force.files, in_force.origins)


def test_a_drop_in_is_replaced(loaded, drop_ins):
    put(drop_ins / '30.yaml', 'rules: [\n')
    assert loaded({drop_ins / '30.yaml': b'deadline: 3\n'}).deadline == 3


def test_a_drop_in_is_removed(loaded, drop_ins):
    put(drop_ins / '30.yaml', 'rules: [\n')
    changed = loaded({drop_ins / '30.yaml': None, drop_ins / 'never-there.yaml': None})
    assert (names(changed), changed.deadline) == (['policy.yaml', '10.yaml'], 10)


def test_the_first_drop_in_needs_no_directory(loaded, policy):
    assert loaded({policy.with_suffix('.d') / '10.yaml': b'mode: audit\n'}).mode == 'audit'
    assert not policy.with_suffix('.d').exists()


def test_the_policy_itself_and_what_it_extends(loaded, policy, tmp_path):
    assert loaded({policy: POLICY.replace('base', 'new').encode()}).name == 'new'
    put(policy, 'extends: base.yaml\n')
    changes = {tmp_path / 'base.yaml': POLICY.encode()}
    assert loaded(changes).name == 'base'
    with pytest.raises(PolicyError) as caught:
        loaded({tmp_path / 'base.yaml': None})
    assert 'policy.yaml:1:10: extends a policy that cannot be used: the policy %s would be removed' % (
        tmp_path / 'base.yaml'
    ) in str(caught.value)


def test_problems_are_told_where_the_file_would_be(loaded, drop_ins):
    with pytest.raises(PolicyError) as caught:
        loaded({drop_ins / '20.yaml': b'mode: audit\ndeadlin: 3\n', drop_ins / '40.yaml': b'rules: [\n'})
    assert [str(problem).partition(': ')[0] for problem in caught.value.problems] == [
        '%s:2:1' % (drop_ins / '20.yaml'),
        '%s:2:1' % (drop_ins / '40.yaml'),
    ]


@pytest.mark.parametrize('name', ['20.yml', '.20.yaml', '20'])
def test_what_would_be_ignored_is_refused(loaded, drop_ins, name):
    with pytest.raises(PolicyFileError) as caught:
        loaded({drop_ins / name: b'mode: audit\n'})
    assert caught.value.message == '%s would be ignored' % (drop_ins / name)
    assert caught.value.hint == 'the name of a drop-in ends with .yaml and does not begin with a dot'


def test_what_would_be_too_large_is_refused(loaded, drop_ins):
    with pytest.raises(PolicyFileError) as caught:
        loaded({drop_ins / '20.yaml': b'#' * (MAX_POLICY_BYTES + 1)})
    assert caught.value.message == 'the policy %s is larger than %d bytes' % (drop_ins / '20.yaml', MAX_POLICY_BYTES)
    assert caught.value.settings == {'failure': 'admit'}


def test_who_could_change_the_other_files_still_counts(policy, drop_ins):
    (drop_ins / '10.yaml').chmod(0o666)
    with pytest.raises(PolicyFileError):
        load.trusted(str(policy), '', {str(drop_ins / '20.yaml'): b''})
    assert load.trusted(str(policy), '', {str(drop_ins / '10.yaml'): b''}).deadline == 30
