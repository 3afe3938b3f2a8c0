# SPDX-License-Identifier: Apache-2.0
"""A policy that extends several: whose rule counts, which reasons are told, and what cannot be joined."""

import pytest
from virtguard.policy import load, merge
from virtguard.policy.problems import PolicyError
from virtguard.policy.show import show_policy

RULE = (
    '{id: %s, title: t of %s, action: %s, match: "/domain[@type = \'qemu\']", why: Because of %s., remedy: r of %s, '
    'reference: http://%s}'
)


@pytest.fixture
def put(tmp_path):
    tmp_path.chmod(0o755)

    def put(name, text):
        path = tmp_path / name
        if not path.parent.exists():
            path.parent.mkdir(mode=0o755)
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    return put


def policy(name, *rules, settings=''):
    return 'policy: %s\n%srules:\n%s' % (name, settings, ''.join('- %s\n' % rule for rule in rules))


def rule(id, action, by):
    return RULE % (id, by, action, by, by, by)


@pytest.mark.parametrize(
    ('actions', 'stricter', 'reasons'),
    [
        (('warn', 'deny'), 'b', 'Because of b. Because of a.'),
        (('deny', 'warn'), 'a', 'Because of a. Because of b.'),
        (('deny', 'deny'), 'a', 'Because of a. Because of b.'),
        (('"off"', 'warn'), 'b', 'Because of b. Because of a.'),
    ],
)
def test_the_stricter_action_counts_and_both_reasons_are_told(put, actions, stricter, reasons):
    put('a.yaml', policy('a', rule('same', actions[0], 'a'), rule('of-a', 'warn', 'a')))
    put('b.yaml', policy('b', rule('same', actions[1], 'b'), rule('of-b', 'deny', 'b')))
    joined = load.trusted(put('site.yaml', 'extends: [./a.yaml, ./b.yaml]\n'))
    assert joined.name == 'a with b'
    assert [found.id for found in joined.rules] == ['same', 'of-a', 'of-b']
    same = joined.rules[0]
    assert same.action == max(actions, key=['"off"', 'warn', 'deny'].index)
    assert (same.why, same.title, same.remedy) == (reasons, 't of ' + stricter, 'r of ' + stricter)
    assert sorted(same.reference.split(', ')) == ['http://a', 'http://b']
    assert same.origins['action'][0].endswith('/%s.yaml' % stricter)


def test_a_rule_that_no_waiver_may_name_stays_so(put):
    put('a.yaml', policy('a', rule('same', 'deny', 'a')))
    put('b.yaml', policy('b', rule('same', 'warn', 'b').replace('title:', 'waivable: false, title:')))
    (same,) = load.trusted(put('site.yaml', 'extends: [./a.yaml, ./b.yaml]\n')).rules
    assert (same.action, same.waivable) == ('deny', False)


@pytest.mark.parametrize('order', ['./mild.yaml, ./a.yaml', './a.yaml, ./mild.yaml'])
def test_the_reason_of_an_action_that_does_not_count_is_not_told(put, order):
    put('a.yaml', policy('a', rule('same', 'deny', 'a')))
    put('mild.yaml', 'policy: mild\nextends: ./a.yaml\nrules: [{id: same, action: "off", reason: ours need it}]\n')
    (same,) = load.trusted(put('site.yaml', 'extends: [%s]\n' % order)).rules
    assert (same.action, same.reason) == ('deny', '')
    (same,) = load.trusted(put('site.yaml', 'extends: ./mild.yaml\n')).rules
    assert (same.action, same.reason) == ('off', 'ours need it')


def test_what_extends_them_has_the_last_word(put):
    put('a.yaml', policy('a', rule('same', 'warn', 'a'), settings='mode: audit\ndeadline: 3\n'))
    put('b.yaml', policy('b', rule('same', 'deny', 'b'), settings='mode: enforce\nfailure: admit\n'))
    site = put('site.yaml', 'policy: site\nextends: [./a.yaml, ./b.yaml]\nrules: [{id: same, action: warn}]\n')
    joined = load.trusted(site)
    assert (joined.name, joined.mode, joined.deadline, joined.failure) == ('site', 'audit', 3, 'admit')
    assert joined.rules[0].action == 'warn'
    assert [path.rpartition('/')[2] for path in joined.files] == ['a.yaml', 'b.yaml', 'site.yaml']
    put('shown.yaml', show_policy(joined))
    shown = load.trusted(put('shown.yaml', show_policy(joined)))
    assert (shown.name, shown.rules[0].why) == ('site', 'Because of b. Because of a.')


def test_one_policy_that_is_reached_in_two_ways(put):
    put('base.yaml', policy('base', rule('same', 'warn', 'base')))
    put('strict.yaml', 'policy: strict\nextends: base.yaml\nrules: [{id: same, action: deny}]\n')
    joined = load.trusted(put('site.yaml', 'extends: [./base.yaml, ./strict.yaml]\n'))
    assert [(found.action, found.why) for found in joined.rules] == [('deny', 'Because of base.')]
    assert [path.rpartition('/')[2] for path in joined.files] == ['base.yaml', 'strict.yaml', 'site.yaml']


def test_a_drop_in_adds_to_what_is_extended(put):
    put('a.yaml', policy('a', rule('same', 'warn', 'a'), settings='failure: admit\n'))
    put('b.yaml', policy('b', rule('same', 'deny', 'b'), rule('of-b', 'deny', 'b'), settings='failure: deny\n'))
    site = put('site.yaml', 'policy: a\nextends: ./a.yaml\n')
    put('site.d/10-off.yaml', 'rules: [{id: of-b, action: "off", reason: not here}]\n')
    put('site.d/70.yaml', 'extends: ../b.yaml\n')
    joined = load.trusted(site)
    assert (joined.name, joined.failure) == ('a with b', 'admit')
    assert [(found.id, found.action) for found in joined.rules] == [('same', 'deny'), ('of-b', 'off')]
    put('site.d/80.yaml', 'policy: ours\n')
    assert load.trusted(site).name == 'ours'


def problems(path):
    with pytest.raises(PolicyError) as caught:
        load.trusted(path)
    return [str(problem) for problem in caught.value.problems]


def test_rules_that_find_different_things_cannot_be_joined(put, tmp_path):
    put('a.yaml', policy('a', rule('same', 'warn', 'a')))
    other = rule('same', 'deny', 'b').replace("'qemu'", "'kvm'").replace('title:', 'host: {arch: x86_64}, title:')
    put('b.yaml', policy('b', other))
    assert problems(put('site.yaml', 'policy: site\nextends:\n- ./a.yaml\n- ./b.yaml\n')) == [
        "{0}/site.yaml:4:3: extends ./b.yaml, but its rule 'same' ({0}/./b.yaml:3) finds something else than that of "
        '{0}/./a.yaml:3: they differ in match, host (extend only one of the two, or give one of the rules another '
        'id)'.format(tmp_path)
    ]


def test_conditions_and_sets_that_are_written_alike_are_the_same(put):
    more = 'values: {os-released-before: 2009-01-01}, host: {os: {from: rhel-9.0}, arch: [x86_64]}, title:'
    for name in ('a', 'b'):
        put(name + '.yaml', policy(name, rule('same', 'warn', name).replace('title:', more)))
    assert len(load.trusted(put('site.yaml', 'extends: [./a.yaml, ./b.yaml]\n')).rules) == 1


@pytest.mark.parametrize(
    ('extends', 'said'),
    [
        ('[]', '1:10: extends is an empty list'),
        ('[./a.yaml, ./a.yaml]', "1:21: extends './a.yaml' twice"),
        ('[./a.yaml, 7]', '1:21: extends is a number, not text (write "7")'),
        ('[./a.yaml, rhel-88]', "1:21: extends 'rhel-88', which is not a profile (did you mean 'rhel-8'?)"),
        ('[./a.yaml, site.yaml]', 'site.yaml, which leads in a circle, or too far'),
        ('[./a.yaml, ./none.yaml]', '1:21: extends a policy that cannot be used: '),
        ('[./a.yaml, ./part.yaml]', "part.yaml:2:3: the rule has no 'why'"),
        ('[./a.yaml, ./part.yaml]', "part.yaml:1:1: the policy has no 'policy'"),
        ('{a: b}', '1:10: extends is a mapping, not text'),
    ],
)
def test_a_list_with_a_mistake(put, extends, said):
    put('a.yaml', policy('a', rule('same', 'warn', 'a')))
    put('part.yaml', 'rules:\n- {id: same, action: warn}\n')
    assert any(said in problem for problem in problems(put('site.yaml', 'extends: %s\n' % extends)))


def test_policies_that_extend_the_same_ones_are_joined_once_each(put, monkeypatch):
    """Eight levels of two policies, each of which extends both of the next level: 128 ways lead to each of the last."""
    levels = 7
    for level in range(levels + 1):
        below = 'extends: [./a%d.yaml, ./b%d.yaml]\n' % (level + 1, level + 1) if level < levels else ''
        for name in 'ab':
            text = policy(name, rule('same', 'deny', name), rule(name + '-only', 'warn', name))
            if below:
                text = below + 'rules:\n- {id: same, why: Because of %s%d.}\n' % (name, level)
            put('%s%d.yaml' % (name, level), text)
    checks = []
    check = merge._Draft.check
    monkeypatch.setattr(merge._Draft, 'check', lambda draft: checks.append(draft) or check(draft))
    joined = load.trusted(put('site.yaml', 'extends: [./a0.yaml, ./b0.yaml]\n'))
    assert [found.id for found in joined.rules] == ['same', 'a-only', 'b-only']
    assert joined.rules[0].why == 'Because of a0. Because of b0.'
    assert joined.name == 'a with b'
    assert len(checks) < 100


def test_no_reason_is_told_twice(put):
    put('d.yaml', policy('d', rule('same', 'deny', 'd')))
    put('e.yaml', policy('e', rule('same', 'deny', 'e')))
    put('b.yaml', 'extends: [./d.yaml, ./e.yaml]\n')
    put('c.yaml', 'extends: [./e.yaml, ./d.yaml]\n')
    (same,) = load.trusted(put('site.yaml', 'extends: [./b.yaml, ./c.yaml]\n')).rules
    assert same.why == 'Because of d. Because of e.'
    assert same.reference == 'http://d, http://e'
