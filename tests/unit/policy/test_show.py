# SPDX-License-Identifier: Apache-2.0
"""The effective policy as it is shown: every value with its place, and a policy again."""

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard.policy import load
from virtguard.policy.installation import profiles
from virtguard.policy.layer import read_layer
from virtguard.policy.merge import merge_layers
from virtguard.policy.show import bounds_of, show_policy

SITE = """\
mode: audit
rules:
  - id: tcg
    action: "off"
    reason: "a lab: nobody asks for support # yet"
  - {id: local, title: "yes", action: warn, at: runtime, match: /transition, why: "off", remedy: "07", waivable: false,
     known-from: derived, host: {arch: x86_64, os: {before: rhel-9.4, from: rhel-9.0}}}
waivers:
  - {rules: [virtiofs], reason: "näher: 'x' \\"y\\"", domains: ["*", "[ab]",
     {uuid: 6F3B1C52-8A4E-4c0b-9a57-2d1f6b0c7e11, name: "[ab]"}], approved-by: me, expires: 2027-01-31}
"""
# What must come back; places do not.
RULE = 'id title action at match probe since why remedy supported reference known_from waivable reason'.split()
WAIVER = ('rules', 'domains', 'reason', 'approved_by', 'expires', 'ticket')
POLICY = ('name', 'mode', 'failure', 'deadline', 'audit_required')


def content(policy):
    def fields(thing, names):
        return [getattr(thing, name) for name in names]

    conditions = [[(c.fact, c.values, c.negated, c.span) for c in rule.host] for rule in policy.rules]
    rules = [fields(rule, RULE) for rule in policy.rules]
    # Of a named set its name must: what its values are is another's knowledge.
    values = [rule.value_set.name if rule.value_set else rule.values for rule in policy.rules]
    return fields(policy, POLICY), rules, values, conditions, [fields(waiver, WAIVER) for waiver in policy.waivers]


def site():
    shipped = (CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes()
    return merge_layers([read_layer(shipped, 'policy.yaml'), read_layer(SITE.encode('utf-8'), '10-site.yaml')])


@pytest.mark.parametrize('profile', sorted(profiles()))
def test_a_shipped_policy_comes_back_whole(profile):
    policy = load.as_if_in_force(profiles()[profile])
    assert content(load_policy(show_policy(policy).encode('utf-8'), 'shown')) == content(policy)


def test_a_changed_policy_comes_back_whole():
    assert content(load_policy(show_policy(site()).encode('utf-8'), 'shown')) == content(site())


def test_every_value_has_its_place():
    lines = show_policy(site()).splitlines()
    assert 'mode: audit                               # 10-site.yaml:1' in lines
    assert 'deadline: 5                               # policy.yaml:' in '\n'.join(lines)
    assert '  - id: tcg                               # 10-site.yaml:3' in lines
    assert '    action: "off"                         # 10-site.yaml:4' in lines
    assert '    title: TCG software emulation         # policy.yaml:' in '\n'.join(lines)
    assert '  - rules:                                # 10-site.yaml:9' in lines
    assert '      - {uuid: "6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11", name: "[ab]"}' in lines
    assert '    approved-by: me                       # 10-site.yaml:10' in lines
    assert '    expires: "2027-01-31"                 # 10-site.yaml:10' in lines
    assert '    known-from: derived                   # 10-site.yaml:7' in lines
    assert '    host: {arch: [x86_64], os: {from: rhel-9.0, before: rhel-9.4}}  # 10-site.yaml:7' in lines
    for line in lines:
        assert '  # ' in line or line in ('rules:', 'waivers:') or line.startswith('      - '), line


def test_a_mode_that_ends_by_itself_comes_back():
    text = (
        (CHECKOUT / 'data/profiles/rhel-8.yaml')
        .read_bytes()
        .replace(b'mode: enforce', b'mode: {audit-until: 2027-01-31}')
    )
    shown = show_policy(load_policy(text, 'p'))
    assert 'mode: {audit-until: 2027-01-31}           # p:10\n' in shown
    assert load_policy(shown.encode('utf-8'), 'shown').audit_until == '2027-01-31'


def test_the_bounds_of_a_range_are_shown_with_the_numbers_that_were_written():
    assert bounds_of(('rhel', (9,), (10, 1))) == [('from', 'rhel-9'), ('before', 'rhel-10.1')]
    assert bounds_of(('sles', (), (15, 6))) == [('before', 'sles-15.6')]


def test_a_default_is_shown_as_a_default():
    text = 'policy: x\nrules: [{id: a, title: t, action: deny, match: /domain/x, why: w, remedy: r}]\n'
    assert 'failure: deny                             # default\n' in show_policy(load_policy(text.encode(), 'p'))
