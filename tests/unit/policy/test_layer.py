# SPDX-License-Identifier: Apache-2.0
"""Policy text: what a good one becomes. See test_layer_problems for bad ones."""

import hashlib

import pytest
import yaml
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model
from virtguard.policy.layer import read_layer
from virtguard.policy.merge import merge_layers
from virtguard.policy.os_releases import known_systems, released_before

from .example import MATCH, POLICY, changed, load, problems_of

pytestmark = pytest.mark.usefixtures('loader')

SHIPPED = CHECKOUT / 'data/profiles/rhel-8.yaml'
PROFILES = sorted((CHECKOUT / 'data' / 'profiles').glob('*.yaml'))


def test_policy():
    policy = load(POLICY)
    assert (policy.name, policy.mode, policy.failure, policy.deadline) == ('example', 'enforce', 'deny', 5)
    assert policy.audit_required is False
    assert policy.source == 'policy.yaml'
    assert policy.sha256 == hashlib.sha256(POLICY.encode()).hexdigest()
    (rule,) = policy.rules
    assert (rule.id, rule.title, rule.action, rule.match) == ('one', 'the first', 'deny', '/domain/devices/disk')
    assert (rule.why, rule.remedy, rule.reference) == ('because', 'do something else', 'https://example.com/')
    assert (rule.values, rule.probe, rule.host, rule.origin) == (None, None, (), ('policy.yaml', 7))


def test_settings_have_defaults():
    text = POLICY
    for line in ('mode: enforce\n', 'failure: deny\n', 'deadline: 5\n', 'audit: {required: false}\n'):
        text = text.replace(line, '')
    policy = load(text)
    assert (policy.mode, policy.failure, policy.deadline, policy.audit_required) == ('enforce', 'deny', 5, False)


@pytest.mark.parametrize(
    'old, new, attribute, value',
    [
        ('mode: enforce', 'mode: audit', 'mode', 'audit'),
        ('mode: enforce', '"mode": "audit"', 'mode', 'audit'),
        ('failure: deny', 'failure: admit', 'failure', 'admit'),
        ('deadline: 5', 'deadline: 0.25', 'deadline', 0.25),
        ('deadline: 5', 'deadline: 60', 'deadline', 60),
        ('required: false', 'required: true', 'audit_required', True),
        ('required: false', 'required: Yes', 'audit_required', True),
        ('required: false', 'required: OFF', 'audit_required', False),
        ('policy: example', 'policy: Unsere Richtlinie für Büro-VMs', 'name', 'Unsere Richtlinie für Büro-VMs'),
    ],
)
def test_settings(old, new, attribute, value):
    assert getattr(load(changed(old, new)), attribute) == value


@pytest.mark.parametrize(
    'text, expected',
    [
        ('arch: x86_64', [('arch', ('x86_64',), False)]),
        ('arch: [x86_64, s390x]', [('arch', ('x86_64', 's390x'), False)]),
        ('arch: {not: x86_64}', [('arch', ('x86_64',), True)]),
        ('container: {not: [none]}', [('container', ('none',), True)]),
        ('{os: rhel, arch: {not: [s390x]}}', [('os', ('rhel',), False), ('arch', ('s390x',), True)]),
    ],
)
def test_host_conditions(text, expected):
    text = text if text.startswith('{') else '{%s}' % text
    (rule,) = load(changed('match: /domain/devices/disk', 'host: ' + text)).rules
    assert [(c.fact, c.values, c.negated) for c in rule.host] == expected
    assert rule.match is None


@pytest.mark.parametrize(
    'text, span',
    [
        ('{from: rhel-9.0, before: rhel-9.4}', ('rhel', (9, 0), (9, 4))),
        ('{before: rhel-9.10, from: rhel-9.9}', ('rhel', (9, 9), (9, 10))),
        ('{from: "rhel-10.1"}', ('rhel', (10, 1), ())),
        ('{before: sles-15.6}', ('sles', (), (15, 6))),
        ('{from: rhel-9, before: rhel-10}', ('rhel', (9,), (10,))),
    ],
)
def test_a_range_of_releases(text, span):
    (rule,) = load(changed('match: /domain/devices/disk', 'host: {os: %s}' % text)).rules
    assert [(c.fact, c.values, c.negated, c.span) for c in rule.host] == [('os', (), False, span)]


def test_what_narrows_a_match():
    match = 'match: /domain/@type\n    values: [kvm, "1"]\n    probe: multipath-device'
    (rule,) = load(changed('match: /domain/devices/disk', match)).rules
    assert (rule.values, rule.probe) == (('kvm', '1'), 'multipath-device')


@pytest.mark.parametrize('day', ['2009-01-01', '"2009-01-01"', "'2009-01-01'"])
def test_a_named_set_of_values(day):
    (rule,) = load(changed(MATCH, MATCH + '\n    values: {os-released-before: %s}' % day)).rules
    expected = released_before('2009-01-01')
    assert rule.values == expected.values and len(rule.values) > 200
    assert (rule.value_set.name, rule.value_set.source) == ('{os-released-before: 2009-01-01}', expected.source)
    assert load(POLICY).rules[0].value_set is None


@pytest.mark.parametrize('known', ['true', 'false'])
def test_values_may_be_all_known_systems(known):
    (rule,) = load(changed(MATCH, MATCH + '\n    values: {os-known: %s}' % known)).rules
    assert (rule.value_set.name, rule.negated) == ('{os-known: %s}' % known, known == 'false')
    assert rule.values == known_systems().values and len(rule.values) > 900


def test_who_knows_the_values_of_a_named_set_is_an_argument():
    asked = []

    def know(date):
        asked.append(date)
        return model.ValueSet('name', ('a', 'b'), 'source')

    text = changed(MATCH, MATCH + '\n    values: {os-released-before: 1999-12-31}')
    (rule,) = merge_layers([read_layer(text.encode('utf-8'), 'policy.yaml')], released_before=know).rules
    assert (rule.values, rule.value_set.name, asked) == (('a', 'b'), 'name', ['1999-12-31'])


def test_supported_is_read():
    (rule,) = load(changed('    why', '    supported: [RHEL 9, OpenShift Virtualization]\n    why')).rules
    assert rule.supported == ('RHEL 9', 'OpenShift Virtualization')
    assert load(POLICY).rules[0].supported == ()


@pytest.mark.parametrize('ground', model.KNOWN_FROM)
def test_known_from_is_read(ground):
    (rule,) = load(changed('    why', '    known-from: %s\n    why' % ground)).rules
    assert (rule.known_from, rule.origins['known-from']) == (ground, ('policy.yaml', 11))
    assert load(POLICY).rules[0].known_from == ''


def test_a_rule_of_running_domains():
    (rule,) = load(changed('match: /domain/devices/disk', 'at: runtime\n    match: /transition/after')).rules
    assert (rule.at, rule.match) == ('runtime', '/transition/after')
    assert load(POLICY).rules[0].at == 'admission'


def test_a_rule_of_what_only_a_start_shows():
    (rule,) = load(changed('match: /domain/devices/disk', 'phase: start\n    match: /domain[not(seclabel)]')).rules
    assert (rule.at, rule.match) == ('start', '/domain[not(seclabel)]')
    both = 'phase: start\n    at: runtime\n    match: /transition/after'
    (problem,) = problems_of(changed('match: /domain/devices/disk', both)).problems
    assert str(problem).endswith("rule 'one' is judged at run time, so it has no phase (leave out one of the two)")
    (problem,) = problems_of(changed('match: /domain/devices/disk', 'phase: strat\n    match: /domain/a')).problems
    assert str(problem).endswith("phase is 'strat' (did you mean 'start'?)")


def test_a_change_is_something_to_match():
    old = '  - id: one\n    title: the first\n    action: deny\n    match: /domain/devices/disk'
    new = '  - id: one\n    title: the first\n    action: deny\n    at: runtime\n    host: {arch: x86_64}'
    error = problems_of(changed(old, new))
    assert [str(problem) for problem in error.problems] == [
        "policy.yaml:7:5: rule 'one' is judged at run time but has no match for a change (begin with /transition)"
    ]


@pytest.mark.parametrize(
    'text, expected',
    [
        ('{crypto: 9.1.0}', [('crypto', (9, 1, 0))]),
        ('{crypto: "9.1"}', [('crypto', (9, 1, 0))]),
        # To YAML, the first is a number, and the same as 11.1.
        ('{a: 11.10, "qemu:b": 8.2.1, 2.0: 4.4}', [('a', (11, 10, 0)), ('qemu:b', (8, 2, 1)), ('2.0', (4, 4, 0))]),
    ],
)
def test_names_that_newer_libvirts_know(text, expected):
    (rule,) = load(changed('    why', '    since: %s\n    why' % text)).rules
    assert rule.since == tuple(expected)


def test_texts_may_be_folded():
    policy = load(changed('why: because', 'why: >-\n      one\n      two'))
    assert policy.rules[0].why == 'one two'


# The policy that is shipped


def test_shipped_policy():
    policy = load_policy(SHIPPED.read_bytes(), str(SHIPPED))
    assert (policy.name, policy.mode, policy.failure) == ('rhel-8', 'enforce', 'deny')
    for rule in policy.rules:
        assert rule.reference.startswith('https://'), rule.id
        assert rule.why.endswith('.'), rule.id
        assert len(rule.title) < 80, rule.id


@pytest.mark.parametrize('path', [SHIPPED, *PROFILES], ids=lambda path: path.stem)
def test_shipped_policy_is_within_the_reach_of_every_libyaml(path):
    """Before 0.2.1 (RHEL 8 has 0.1.7), libyaml refuses a colon within an unquoted scalar of a flow collection."""
    depth = 0
    for token in yaml.scan(path.read_text(encoding='utf-8')):
        depth += isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken))
        depth -= isinstance(token, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken))
        if depth and isinstance(token, yaml.ScalarToken) and token.plain:
            assert ':' not in token.value, token.start_mark
