# SPDX-License-Identifier: Apache-2.0
"""What each rule of each shipped policy rests on: it says so itself, and not by what another release's list says."""

import re

import pytest
import yaml
from virtguard import model
from virtguard.policy import load
from virtguard.policy.installation import profiles

NAMES = sorted(profiles())
# Of no release: what is denied there rests on what kvm-baseline, which only warns of it, does.
STRICTER = {'kvm-restricted'}


def policy(name):
    return load.as_if_in_force(profiles()[name])


@pytest.mark.parametrize('name', NAMES)
def test_every_rule_says_what_it_rests_on_and_where_that_can_be_read(name):
    rules = policy(name).rules
    assert [rule.id for rule in rules if not rule.known_from] == []
    assert [rule.id for rule in rules if not re.match(r'https://[\w.-]+/\S+$', rule.reference)] == []


@pytest.mark.parametrize('name', sorted(set(NAMES) - STRICTER))
def test_what_a_profile_changes_rests_on_grounds_of_its_own(name):
    """An inherited action or host condition speaks of another release, and so do the grounds for it."""
    source = profiles()[name]
    for rule in policy(name).rules:
        if source in (rule.origins['action'][0], rule.origins.get('host', ('',))[0]):
            assert (rule.id, rule.origins.get('known-from', ('none',))[0]) == (rule.id, source)
            assert (rule.id, rule.origins.get('reference', ('none',))[0]) == (rule.id, source)


@pytest.mark.parametrize('name', NAMES)
def test_what_nothing_confirms_refuses_no_domain(name):
    assert [r.id for r in policy(name).rules if r.known_from == model.UNCONFIRMED and r.action == model.DENY] == []


@pytest.mark.parametrize('name', NAMES)
def test_grounds_are_data(name):
    """And no marks in comments, which nobody sees who asks virt-guard explain."""
    with open(profiles()[name], encoding='utf-8') as file:
        text = file.read()
    assert re.findall(r'\[(?:C|C9\.0|S|SRC|D|K)\]', text) == []
    assert 'known-from' in yaml.safe_load(text)['rules'][-1]
