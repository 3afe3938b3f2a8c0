# SPDX-License-Identifier: Apache-2.0
"""Layers become one policy: what a later one may change, whose word counts, and where each value came from."""

import hashlib
from fnmatch import fnmatchcase

import pytest
from virtguard.policy.layer import read_layer
from virtguard.policy.merge import merge_layers
from virtguard.policy.problems import PolicyError

BASE = """\
policy: base
mode: enforce
rules:
  - id: one
    title: the first
    action: deny
    match: /domain/devices/disk
    values: [a]
    why: because
    remedy: do something else
  - id: two
    title: the second
    action: deny
    match: /domain/devices/tpm
    why: because
    remedy: do something else
    waivable: false
"""
WAIVER = """\
waivers:
  - rules: [one]
    domains: [build-*]
    reason: until the new storage is there
    approved-by: operations
    expires: 2027-01-31
"""
TODAY = '2026-11-25'


def merge(*texts, **kwargs):
    names = ['base.yaml', '10-site.yaml', '20-site.yaml']
    return merge_layers([read_layer(text.encode(), name) for text, name in zip(texts, names)], **kwargs)


def problems(*texts, **kwargs):
    with pytest.raises(PolicyError) as caught:
        merge(*texts, **kwargs)
    return [str(problem) for problem in caught.value.problems]


def rule(policy, id):
    (found,) = [rule for rule in policy.rules if rule.id == id]
    return found


def test_what_a_rule_rests_on_is_kept_until_a_layer_says_otherwise():
    base = BASE.replace('    values: [a]', '    known-from: list')
    changed = merge(base, 'rules: [{id: one, action: warn, host: {arch: s390x}}]\n', 'rules: [{id: two, action: warn}]')
    assert (rule(changed, 'one').known_from, rule(changed, 'one').action) == ('list', 'warn')
    assert rule(changed, 'one').origins['known-from'] == ('base.yaml', 8)
    changed = merge(base, 'rules: [{id: one, action: warn, known-from: unconfirmed}]\n')
    assert (rule(changed, 'one').known_from, rule(changed, 'two').known_from) == ('unconfirmed', '')


def test_a_later_layer_sets_settings_anew():
    policy = merge(BASE, 'mode: audit\ndeadline: 2\n', 'deadline: 3\n')
    assert (policy.name, policy.mode, policy.deadline, policy.failure) == ('base', 'audit', 3, 'deny')
    assert policy.origins == {
        'policy': ('base.yaml', 1),
        'mode': ('10-site.yaml', 1),
        'deadline': ('20-site.yaml', 1),
    }


def test_a_rule_is_changed_only_in_the_keys_given():
    policy = merge(BASE, 'rules: [{id: one, action: warn}]\n', 'rules:\n  - id: one\n    remedy: ask us\n')
    changed = rule(policy, 'one')
    assert (changed.action, changed.remedy) == ('warn', 'ask us')
    assert (changed.title, changed.match, changed.values) == ('the first', '/domain/devices/disk', ('a',))
    assert changed.origin == ('base.yaml', 4)
    assert [changed.origins[key] for key in ('action', 'remedy', 'title')] == [
        ('10-site.yaml', 1),
        ('20-site.yaml', 3),
        ('base.yaml', 5),
    ]
    assert rule(policy, 'two').action == 'deny'
    assert [r.id for r in policy.rules] == ['one', 'two']


def test_a_new_rule_comes_last():
    new = 'rules: [{id: zero, title: t, action: warn, match: /domain/name, why: w, remedy: r}]\n'
    policy = merge(BASE, new, 'rules: [{id: zero, action: deny}]\n')
    assert [r.id for r in policy.rules] == ['one', 'two', 'zero']
    assert rule(policy, 'zero').action == 'deny'
    assert rule(policy, 'zero').origin == ('10-site.yaml', 1)


def test_turning_a_rule_off_needs_a_reason():
    assert problems(BASE, 'rules:\n  - id: one\n    action: "off"\n') == [
        "10-site.yaml:3:13: rule 'one' is turned off without a reason (add reason: and who decided it)"
    ]
    policy = merge(BASE, 'rules: [{id: one, action: "off", reason: we have no such disks}]\n')
    assert (rule(policy, 'one').action, rule(policy, 'one').reason) == ('off', 'we have no such disks')


def test_a_problem_of_two_layers_is_reported_where_it_is_written():
    assert problems(BASE, 'rules:\n  - id: one\n    at: runtime\n') == [
        'base.yaml:7:12: match can never match: the document is <transition>, not <domain> (begin with /transition)'
    ]
    assert problems(BASE, 'rules: [{id: two, values: [b], match: "/devices"}]\n') == [
        '10-site.yaml:1:40: match can never match: the document is <domain>, not <devices> (begin with /domain)'
    ]


def test_a_misspelt_id_is_not_a_new_rule():
    found = problems(BASE, 'rules: [{id: tow, action: warn}]\n')
    assert found[0] == (
        "10-site.yaml:1:9: the rule has no 'title' (there is no such rule to change; did you mean 'two'?)"
    )


def test_a_change_changes_something():
    assert problems(BASE, 'rules: [{id: two}]\n') == [
        "10-site.yaml:1:9: nothing of rule 'two' is changed (give the keys to change, or delete the entry)"
    ]


def test_a_rule_defined_twice_in_a_layer_is_a_problem():
    assert problems(BASE, 'rules: [{id: two, action: warn},\n  {id: two, action: deny}]\n') == [
        "10-site.yaml:2:3: rule 'two' is defined twice, first in line 1"
    ]


def test_problems_of_all_layers_at_once_in_their_order():
    found = problems(BASE.replace('mode: enforce', 'mode: no'), 'mode: maybe\nrules: [{id: one, acton: warn}]\n', '')
    assert found == [
        'base.yaml:2:7: mode is a boolean, not text (write "no")',
        "10-site.yaml:1:7: mode is 'maybe' (known are: enforce, audit)",
        "10-site.yaml:2:19: the rule has an unknown key 'acton' (did you mean 'action'?)",
        '20-site.yaml:1:1: the policy is empty',
    ]


@pytest.mark.parametrize(
    'first, second, failure',
    [
        ('failure: admit\n', '', 'admit'),
        ('failure: admit\n', 'failure: deny\n', 'deny'),
        ('', 'failure: admit\n', 'admit'),
        ('failure: admit\n', 'failure: admitt\n', None),
    ],
)
def test_settings_of_broken_layers(first, second, failure):
    with pytest.raises(PolicyError) as caught:
        merge(first + BASE, second + 'rulez: []\n')
    assert caught.value.settings.get('failure') == failure


def test_the_digest_is_that_of_sha256sum():
    assert merge(BASE).sha256 == hashlib.sha256(BASE.encode()).hexdigest()
    later = 'mode: audit\n'
    lines = ''.join(
        '%s  %s\n' % (hashlib.sha256(text.encode()).hexdigest(), name)
        for text, name in ((BASE, 'base.yaml'), (later, '10-site.yaml'))
    )
    assert merge(BASE, later).sha256 == hashlib.sha256(lines.encode()).hexdigest()


# Waivers as they are written


def test_waiver():
    (waiver,) = merge(BASE, WAIVER + '    ticket: OPS-1\n').waivers
    assert (waiver.rules, waiver.domains) == (('one',), ('build-*',))
    assert (waiver.reason, waiver.approved_by) == ('until the new storage is there', 'operations')
    assert (waiver.expires, waiver.ticket, waiver.origin) == ('2027-01-31', 'OPS-1', ('10-site.yaml', 2))


def test_waivers_of_all_layers_hold():
    assert [w.origin[0] for w in merge(BASE + WAIVER, WAIVER, WAIVER).waivers] == [
        'base.yaml',
        '10-site.yaml',
        '20-site.yaml',
    ]


def test_uuids_have_one_spelling():
    text = WAIVER.replace('build-*', '6F3B1C52-8A4E-4C0B-9A57-2D1F6B0C7E11')
    assert merge(BASE, text).waivers[0].domains == ('6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11',)


@pytest.mark.parametrize('day', ['2027-01-31', '"2027-01-31"', "'2027-01-31'"])
def test_days(day):
    assert merge(BASE, WAIVER.replace('2027-01-31', day)).waivers[0].expires == '2027-01-31'


@pytest.mark.parametrize('glob', ['[a-z]*', '[a-b-a]', '[]-a]', '[--a]', '[!!-~]', '[z-a', 'z-a]', '[!]', '[]', '[*'])
def test_ranges(glob):
    (waiver,) = merge(BASE, WAIVER.replace('[build-*]', "['%s']" % glob)).waivers
    assert fnmatchcase('a', waiver.domains[0]) == (glob in ('[a-z]*', '[a-b-a]', '[]-a]', '[--a]'))


UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
NO_DAY = '10-site.yaml:6:14: expires is not a day of the calendar (write it as YEAR-MONTH-DAY: 2027-01-31)'


def test_domains_of_a_waiver():
    text = WAIVER.replace('[build-*]', '[build-*, %s, {uuid: %s, name: "c[0-9]"}]' % (UUID.upper(), UUID.upper()))
    (waiver,) = merge(BASE, text, today=TODAY).waivers
    assert waiver.domains == ('build-*', UUID, (UUID, 'c[0-9]'))


@pytest.mark.parametrize(
    'old, new, problem',
    [
        (
            '[one]',
            '[ones]',
            "10-site.yaml:2:12: there is no rule 'ones' to waive (did you mean 'one'?)",
        ),
        ('[one]', '[two]', "10-site.yaml:2:12: rule 'two' cannot be waived (defined in base.yaml:11)"),
        ('[one]', 'one', '10-site.yaml:2:12: rules is text, not a list'),
        ('[build-*]', '[]', '10-site.yaml:3:14: domains is an empty list'),
        ('[build-*]', '[7]', '10-site.yaml:3:15: domains is a number, not text (write "7")'),
        (
            '[build-*]',
            '[6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e1]',
            "10-site.yaml:3:15: '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e1' is not a UUID, and hardly a name "
            '(virsh domuuid DOMAIN tells it)',
        ),
        ('[build-*]', '[a, "b[!z-a]*"]', "10-site.yaml:3:18: 'b[!z-a]*' has a range that is empty (write a-z)"),
        ('[build-*]', '["[]-A]"]', "10-site.yaml:3:15: '[]-A]' has a range that is empty (write A-])"),
        (
            '[build-*]',
            '[a, {uuid: 6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e1, name: b}]',
            "10-site.yaml:3:25: uuid is '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e1', which is not a UUID "
            '(virsh domuuid DOMAIN tells it)',
        ),
        (
            '[build-*]',
            '[{uuid: build-7, name: b}]',
            "10-site.yaml:3:22: uuid is 'build-7', which is not a UUID (virsh domuuid DOMAIN tells it)",
        ),
        ('[build-*]', '[{uuid: 7, name: b}]', '10-site.yaml:3:22: uuid is a number, not text (write "7")'),
        ('[build-*]', '[{name: b}]', "10-site.yaml:3:15: the domain has no 'uuid'"),
        ('[build-*]', '[{uuid: %s}]' % UUID, "10-site.yaml:3:15: the domain has no 'name'"),
        ('[build-*]', '[{}]', "10-site.yaml:3:15: the domain has no 'name'"),
        (
            '[build-*]',
            '[{uuid: %s, nam: b}]' % UUID,
            "10-site.yaml:3:60: the domain has an unknown key 'nam' (did you mean 'name'?)",
        ),
        ('[build-*]', '[{uuid: %s, name: [b]}]' % UUID, '10-site.yaml:3:66: name is a list, not text'),
        (
            '[build-*]',
            '[{uuid: %s, name: "b[!z-a]*"}]' % UUID,
            "10-site.yaml:3:66: 'b[!z-a]*' has a range that is empty (write a-z)",
        ),
        ('[build-*]', '[[b]]', '10-site.yaml:3:15: domains is a list, not text'),
        ('[build-*]', '{uuid: %s, name: b}' % UUID, '10-site.yaml:3:14: domains is a mapping, not a list'),
        ('    reason: until the new storage is there\n', '', "10-site.yaml:2:5: the waiver has no 'reason'"),
        ('    approved-by: operations\n', '', "10-site.yaml:2:5: the waiver has no 'approved-by'"),
        ('    expires: 2027-01-31\n', '', "10-site.yaml:2:5: the waiver has no 'expires'"),
        ('reason: until the new storage is there', 'reason: ""', '10-site.yaml:4:13: reason is empty'),
        ('approved-by', 'approved_by', "10-site.yaml:2:5: the waiver has no 'approved-by'"),
        ('2027-01-31', '2027-02-29', NO_DAY),
        ('2027-01-31', '2027-1-31', NO_DAY),
        ('2027-01-31', '31.01.2027', NO_DAY),
        ('2027-01-31', '2027-01-31 12:00:00', NO_DAY),
        ('2027-01-31', 'never', NO_DAY),
        ('2027-01-31', '[2027-01-31]', NO_DAY),
        (
            '2027-01-31',
            '2027-12-31',
            '10-site.yaml:6:14: expires is more than 400 days ahead (until 2027-12-30 at the latest; renew it then)',
        ),
    ],
)
def test_problems_of_waivers(old, new, problem):
    assert WAIVER.count(old) == 1
    assert problem in problems(BASE, WAIVER.replace(old, new), today=TODAY)


def test_the_last_day_that_a_waiver_may_name():
    assert merge(BASE, WAIVER.replace('2027-01-31', '2027-12-30'), today=TODAY).waivers
    # A leap day within the 400.
    assert merge(BASE, WAIVER.replace('2027-01-31', '2028-02-29'), today='2027-01-25').waivers
    assert problems(BASE, WAIVER.replace('2027-01-31', '2028-02-29'), today='2027-01-24')


def test_a_waiver_of_a_rule_that_a_later_layer_makes_sacred():
    assert problems(BASE, WAIVER, 'rules: [{id: one, waivable: false}]\n') == [
        "10-site.yaml:2:12: rule 'one' cannot be waived (defined in base.yaml:4)"
    ]


UNTIL = 'mode: {audit-until: 2027-01-31}\n'


@pytest.mark.parametrize(
    ('day', 'mode'), [(TODAY, 'audit'), ('2027-01-31', 'audit'), ('2027-02-01', 'enforce'), ('2028-01-01', 'enforce')]
)
def test_mode_audit_ends_by_itself(day, mode):
    policy = merge(BASE, UNTIL, day=day)
    assert (policy.mode, policy.audit_until) == (mode, '2027-01-31')
    assert {policy.on(other).mode for other in ('2020-01-01', '2027-01-31')} == {'audit'}
    assert policy.on('2027-02-01').mode == 'enforce' and policy.on(day) is policy
    assert policy.on('2027-02-01').rules is policy.rules
    assert dict(policy.fields()).get('VIRT_GUARD_AUDIT_UNTIL') == ('2027-01-31' if mode == 'audit' else None)
    assert merge(BASE, UNTIL, 'mode: audit\n', day=day).on('2028-01-01').mode == 'audit'


def test_a_broken_policy_has_the_mode_of_the_day():
    for day, mode in (('2027-01-31', 'audit'), ('2027-02-01', 'enforce')):
        with pytest.raises(PolicyError) as caught:
            merge(BASE, UNTIL + 'deadline: soon\n', day=day)
        assert caught.value.settings['mode'] == mode


@pytest.mark.parametrize('value', ['{}', '{audit-until: soon}', '{until: 2027-01-31}', '{audit-until: [a]}', '[audit]'])
def test_a_mode_that_says_nothing(value):
    with pytest.raises(PolicyError):
        merge(BASE, 'mode: %s\n' % value)
