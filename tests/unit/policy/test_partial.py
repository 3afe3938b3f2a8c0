# SPDX-License-Identifier: Apache-2.0
"""What can be looked up while a policy is broken: as much of it as can be read, and what is missing is told."""

import os

import pytest
from virtguard.errors import PolicyFileError
from virtguard.policy.host_profile import list_of_host
from virtguard.policy.partial import load_partly
from virtguard.policy.problems import PolicyError

RULE = '{id: %s, title: t, action: deny, match: /domain/%s, why: w, remedy: r}'


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / 'policy.yaml'
    path.write_text('policy: base\nrules: [%s]\n' % (RULE % ('one', 'a')))
    path.with_suffix('.d').mkdir()
    return path


def drop_in(policy, name, text):
    path = policy.with_suffix('.d') / name
    path.write_text(text)
    return str(path)


def read(policy, is_in_force=True):
    loaded, left_out = load_partly(str(policy), '', is_in_force)
    return {rule.id: rule.action for rule in loaded.rules}, left_out


def test_a_policy_without_problems(policy):
    assert read(policy) == ({'one': 'deny'}, [])


def test_broken_drop_ins_are_left_out(policy):
    broken = [drop_in(policy, '10.yaml', 'deadlin: 3\n'), drop_in(policy, '30.yaml', 'rules: [\n')]
    drop_in(policy, '20.yaml', 'rules: [{id: one, action: warn}]\n')
    assert read(policy) == ({'one': 'warn'}, broken)


def test_what_depends_on_a_broken_drop_in_is_left_out_too(policy):
    first = drop_in(policy, '10.yaml', 'deadlin: 3\nrules: [%s]\n' % (RULE % ('two', 'b')))
    second = drop_in(policy, '20.yaml', 'rules: [{id: two, action: warn}]\n')
    third = drop_in(policy, '30.yaml', 'rules: [%s]\n' % (RULE % ('three', 'c')))
    rules, left_out = read(policy)
    assert (rules, left_out) == ({'one': 'deny', 'three': 'deny'}, [first, second])
    assert os.path.exists(third)


def test_drop_ins_that_cannot_be_read_are_left_out(policy):
    unreadable = str(policy.with_suffix('.d') / '10.yaml')
    os.mkfifo(unreadable)
    dangling = policy.with_suffix('.d') / '20.yaml'
    dangling.symlink_to('nowhere')
    drop_in(policy, '30.yaml', 'rules: [{id: one, action: warn}]\n')
    assert read(policy) == ({'one': 'warn'}, [unreadable, str(dangling)])


def test_what_the_policy_extends_stands_in_for_it(policy):
    site = policy.with_name('site.yaml')
    site.write_text('extends: "policy.yaml" # base\nrules: [\n')
    site.with_suffix('.d').mkdir()
    drop_in(site, '10.yaml', 'rules: [{id: one, action: warn}]\n')
    assert read(site, False) == ({'one': 'warn'}, ['%s (read instead: policy.yaml)' % site])


def test_all_that_the_policy_extends_stands_in_for_it(policy):
    site = policy.with_name('site.yaml')
    site.write_text('extends: [rhel-9, "policy.yaml"] # base\nrules: [\n')
    rules, left_out = read(site, False)
    assert rules['one'] and rules['tcg']
    assert left_out == ['%s (read instead: [rhel-9, policy.yaml])' % site]


def test_of_what_is_extended_only_the_broken_is_left_out(policy):
    broken = policy.with_name('broken.yaml')
    broken.write_text('policy: broken\nrules: [%s]\n' % (RULE % ('two', 'b')).replace('deny', 'dney'))
    site = policy.with_name('site.yaml')
    site.write_text('extends: [policy.yaml, broken.yaml]\nrules: [{id: one, action: warn}]\n')
    assert read(site) == ({'one': 'warn'}, [str(broken)])
    site.with_suffix('.d').mkdir()
    site.write_text('extends: policy.yaml\n')
    drop_in(site, '10.yaml', 'extends: ../broken.yaml\nrules: [{id: one, action: warn}]\n')
    assert read(site) == ({'one': 'warn'}, [os.path.join(str(site.with_suffix('.d')), '../broken.yaml')])


def test_of_what_is_extended_the_first_that_can_be_read_stands_in(policy):
    site = policy.with_name('site.yaml')
    site.write_text('extends: [nowhere.yaml, policy.yaml]\nrules: [{id: one, action: warn}]\n')
    assert read(site, False) == ({'one': 'deny'}, ['%s (read instead: policy.yaml)' % site])


@pytest.mark.parametrize('name', ['rhel-9', '"rhel-9"'])
def test_the_profile_that_it_was_made_of_stands_in_for_it(policy, name):
    policy.write_text('policy: %s\nrules: [\n' % name)
    broken = drop_in(policy, '10.yaml', 'deadlin: 3\n')
    rules, left_out = read(policy, False)
    assert rules['machine-type-deprecated'] == 'warn'
    assert left_out == ['%s (read instead: rhel-9)' % policy, broken]


def test_the_profile_of_the_host_is_read_where_nothing_else_can_be(policy):
    policy.write_text('rules: [\n')
    assert read(policy)[1] == ['%s (read instead: %s)' % (policy, list_of_host().profile)]
    policy.write_text('extends: nowhere.yaml\n')
    assert read(policy)[1] == ['%s (read instead: %s)' % (policy, list_of_host().profile)]
    policy.unlink()
    assert read(policy)[1] == ['%s (read instead: %s)' % (policy, list_of_host().profile)]


def test_what_was_read_of_another_policy_is_not_kept(policy):
    policy.write_text('policy: ours\nrules: [\n')
    with pytest.raises(PolicyError):
        read(policy, False)
    policy.unlink()
    with pytest.raises(PolicyFileError):
        read(policy, False)
