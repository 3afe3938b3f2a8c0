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

SHIPPED = CHECKOUT / 'policy.yaml'
PROFILES = sorted((CHECKOUT / 'data' / 'profiles').glob('*.yaml'))

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
# The place of the problem, in the texts below.
HERE = '«'

LOADERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if hasattr(yaml, 'CSafeLoader') else [])


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__, autouse=True)
def loader(request, monkeypatch):
    """A PyYAML without libyaml reads the same policies, and finds the same problems."""
    monkeypatch.setattr(yaml_reader, 'LOADER', request.param)
    return request.param


def load(text):
    return load_policy(text.encode('utf-8'), 'policy.yaml')


def problems_of(text):
    with pytest.raises(PolicyError) as caught:
        load(text)
    return caught.value


def changed(old, new):
    assert POLICY.count(old) == 1, old
    return POLICY.replace(old, new)


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


MATCH = 'match: /domain/devices/disk'
UNDECLARED = "match uses the undeclared prefix 'qmeu'"
SECONDS = 'deadline is not a number of seconds between 0 and 60'

# Every problem: what to change, by what (with the place of the problem), what is said, and the way out.
PROBLEMS = [
    # Keys.
    ('mode: enforce', '«mod: enforce', "the policy has an unknown key 'mod'", "did you mean 'mode'?"),
    ('mode: enforce', '«xyzzy: 1', "the policy has an unknown key 'xyzzy'", 'known are: '),
    ('mode: enforce', '«[a]: 1', 'the policy has an unknown key', 'known are: '),
    ('mode: enforce', '«1: 1', 'the policy has an unknown key', 'known are: '),
    ('    title: the', '    «tittle: the', "the rule has an unknown key 'tittle'", "did you mean 'title'?"),
    ('{required: false}', '{«require: false, required: false}', "unknown key 'require'", "did you mean 'required'?"),
    ('mode: enforce', 'mode: enforce\n«mode: audit', "the policy has the key 'mode' twice", ''),
    ('    title: the', '    title: a\n    «title: the', "the rule has the key 'title' twice", ''),
    ('mode: enforce', '«<<: {mode: audit}', "the policy has an unknown key '<<'", ''),
    # What is missing.
    ('policy: example\nmode', '«mode', "the policy has no 'policy'", ''),
    ('{required: false}', '«{}', "audit has no 'required'", ''),
    ('    title: the first\n', '', "the rule has no 'title'", ''),
    ('    action: deny\n', '', "the rule has no 'action'", ''),
    ('    why: because\n', '', "the rule has no 'why'", ''),
    ('    remedy: do something else\n', '', "the rule has no 'remedy'", ''),
    ('- id: one\n    title', '- «title', "the rule has no 'id'", ''),
    ('    match: /domain/devices/disk\n', '', 'has neither match nor host, so it can never apply', ''),
    # YAML surprises.
    ('mode: enforce', 'mode: «off', 'mode is a boolean, not text', 'write "off"'),
    ('mode: enforce', 'mode: «yes', 'mode is a boolean, not text', 'write "yes"'),
    ('action: deny', 'action: «off', 'action is a boolean, not text', 'write "off"'),
    ('policy: example', 'policy: «8', 'policy is a number, not text', 'write "8"'),
    ('policy: example', 'policy: «8.10', 'policy is a number, not text', 'write "8.10"'),
    ('policy: example', 'policy: «2024-01-01', 'policy is a date, not text', 'write "2024-01-01"'),
    ('policy: example', 'policy: «~', 'policy is empty, not text', ''),
    ('policy: example', 'policy:«', 'policy is empty, not text', ''),
    ('title: the first', 'title: «{a: b}', 'title is a mapping, not text', ''),
    ('title: the first', 'title: «[a]', 'title is a list, not text', ''),
    ('title: the first', 'title: «!secret a', 'title is of type !secret, not text', ''),
    ('title: the first', 'title: «!!python/object/apply:os.system ["true"]', 'title is of type', ''),
    ('action: deny', 'action: «&a {a: b}', 'action is a mapping, not text', ''),
    ('required: false', 'required: «0', 'audit.required is a number, not a boolean', 'write true or false'),
    ('required: false', 'required: «"false"', 'audit.required is text, not a boolean', 'write true or false'),
    ('{required: false}', '«false', 'audit is a boolean, not a mapping', ''),
    # Words that are not known.
    ('mode: enforce', 'mode: «enforced', "mode is 'enforced'", "did you mean 'enforce'?"),
    ('failure: deny', 'failure: «block', "failure is 'block'", 'known are: deny, admit'),
    ('action: deny', 'action: «denny', "action is 'denny'", "did you mean 'deny'?"),
    ('action: deny', 'action: «Deny', "action is 'Deny'", "did you mean 'deny'?"),
    ('    why', '    known-from: «lists\n    why', "known-from is 'lists'", "did you mean 'list'?"),
    ('    why', '    known-from: «rumour\n    why', "known-from is 'rumour'", 'known are: list, document, source, '),
    ('    why', '    known-from: «[list]\n    why', 'known-from is a list, not text', ''),
    # Empty texts, and texts that would break a line.
    ('title: the first', 'title: «""', 'title is empty', ''),
    ('why: because', "why: «'  '", 'why is empty', ''),
    ('title: the first', 'title: «"a\\nb"', 'title is more than one line of printable text', ''),
    ('title: the first', 'title: «"\\e[31m"', 'title is more than one line of printable text', ''),
    ('policy: example', 'policy: «"a\\u202eb"', 'policy is more than one line of printable text', ''),
    ('id: one', 'id: «"a\\0"', 'id is more than one line of printable text', ''),
    ('reference: https://example.com/', 'reference: «"a\\tb"', 'reference is more than one line of printable text', ''),
    # Ids.
    ('id: one', 'id: «One', "id 'One' is not in kebab-case", 'lower-case words joined by hyphens'),
    ('id: one', 'id: «one_two', "id 'one_two' is not in kebab-case", 'lower-case'),
    ('id: one', 'id: «one--two', "id 'one--two' is not in kebab-case", 'lower-case'),
    ('id: one', 'id: «-one', "id '-one' is not in kebab-case", 'lower-case'),
    ('id: one', 'id: «"2fa"', "id '2fa' is not in kebab-case", 'lower-case'),
    # Deadlines.
    ('deadline: 5', 'deadline: «0', SECONDS, ''),
    ('deadline: 5', 'deadline: «-1', SECONDS, ''),
    ('deadline: 5', 'deadline: «61', SECONDS, ''),
    ('deadline: 5', 'deadline: «.inf', SECONDS, ''),
    ('deadline: 5', 'deadline: «.nan', SECONDS, ''),
    ('deadline: 5', 'deadline: «"5"', SECONDS, ''),
    ('deadline: 5', 'deadline: «5s', SECONDS, ''),
    ('deadline: 5', 'deadline: «0:30', SECONDS, ''),
    ('deadline: 5', 'deadline: «[5]', SECONDS, ''),
    ('deadline: 5', 'deadline: «true', SECONDS, ''),
    # Matches.
    (MATCH, 'match: «/devices', 'match can never match: the document is <domain>', 'begin with'),
    (MATCH, 'match: /domain/«qmeu:x', UNDECLARED, "did you mean 'qemu'?"),
    (MATCH, 'match: "/domain/«qmeu:x"', UNDECLARED, "did you mean 'qemu'?"),
    (MATCH, "match: '/domain/«qmeu:x'", UNDECLARED, "did you mean 'qemu'?"),
    (MATCH, 'match: «>-\n      /domain/qmeu:x', UNDECLARED, "did you mean 'qemu'?"),
    (MATCH, 'match: «/domain[', 'match is not XPath 1.0', ''),
    (MATCH, 'match: "«/domain\\0"', 'match ', ''),
    (MATCH, 'match: «[/domain]', 'match is a list, not text', ''),
    (MATCH, 'match: «""', 'match is empty', ''),
    (MATCH, 'match: «true()', 'match asks nothing of the domain', ''),
    (MATCH, 'match: «/domain/devices/disk[contains(@type)]', 'match ', ''),
    # Rules of running domains.
    (MATCH, 'at: «run-time\n    match: /domain', "at is 'run-time'", "did you mean 'runtime'?"),
    (MATCH, 'at: runtime\n    match: «/domain', 'match can never match: the document is <transition>', '/transition'),
    (MATCH, 'at: admission\n    match: «/transition', 'match can never match: the document is <domain>', '/domain'),
    (MATCH, 'at: runtime\n    match: «true()', 'match asks nothing of the transition', 'begin with /transition'),
    # What narrows a match.
    (MATCH, 'host: {arch: a}\n    values: «[a]', "'one' has 'values' but no match", ''),
    (MATCH, 'host: {arch: a}\n    probe: «infiniband-vf', "'one' has 'probe' but no match", ''),
    ('    why', '    values: «[]\n    why', 'values is an empty list', ''),
    ('    why', '    values: «kvm\n    why', 'values is text, not a list', ''),
    ('    why', '    values: [a, «8]\n    why', 'values is a number, not text', 'write "8"'),
    ('    why', '    values: [a, «no]\n    why', 'values is a boolean, not text', 'write "no"'),
    ('    why', '    values: [a, «[b]]\n    why', 'values is a list, not text', ''),
    ('    why', '    values: «{}\n    why', "values has no 'os-released-before'", ''),
    ('    why', '    values: {«os-before: 2009-01-01}\n    why', "unknown key 'os-before'", 'os-released-before'),
    (
        '    why',
        '    values: «{os-released-before: 2009-01-01, os-known: false}\n    why',
        'values names two sets',
        'make it two rules',
    ),
    ('    why', '    values: {«os-know: false}\n    why', "unknown key 'os-know'", 'os-known'),
    ('    why', '    values: {os-known: «2}\n    why', 'os-known is a number, not a boolean', 'true or false'),
    (
        '    why',
        '    values: {os-released-before: «2009}\n    why',
        'os-released-before is not a day',
        'YEAR-MONTH-DAY',
    ),
    ('    why', '    values: {os-released-before: «2009-02-30}\n    why', 'os-released-before is not a day', ''),
    ('    why', '    values: {os-released-before: «[2009-01-01]}\n    why', 'os-released-before is not a day', ''),
    (MATCH, 'host: {arch: a}\n    values: «{os-released-before: 2009-01-01}', "'one' has 'values' but no match", ''),
    ('    why', '    supported: «RHEL 9\n    why', 'supported is text, not a list', ''),
    ('    why', '    supported: [«9]\n    why', 'supported is a number, not text', 'write "9"'),
    ('    why', '    probe: «multipath\n    why', "probe is 'multipath'", "did you mean 'multipath-device'?"),
    # Host conditions.
    ('    why', '    host: «{}\n    why', 'host has no condition', 'known facts: arch, container, os'),
    ('    why', '    host: «x86_64\n    why', 'host is text, not a mapping', ''),
    ('    why', '    host: {«arc: a}\n    why', "host has an unknown key 'arc'", "did you mean 'arch'?"),
    ('    why', '    host: {arch: «[]}\n    why', 'host.arch is an empty list', ''),
    ('    why', '    host: {arch: {not: «[]}}\n    why', 'host.arch is an empty list', ''),
    ('    why', '    host: {arch: «{}}\n    why', "host.arch has no 'not'", ''),
    ('    why', '    host: {arch: {«none: [a]}}\n    why', "host.arch has an unknown key 'none'", ''),
    ('    why', '    host: {arch: {not: {«not: a}}}\n    why', 'host.arch is a mapping, not text', ''),
    ('    why', '    host: {os: «8}\n    why', 'host.os is a number, not text', 'write "8"'),
    ('    why', '    host: {os: a, «os: b}\n    why', "host has the key 'os' twice", ''),
    # Ranges of releases.
    ('    why', '    host: {os: «{}}\n    why', 'host.os has no condition', 'known are: from, before, not'),
    ('    why', '    host: {os: {«form: rhel-9.0}}\n    why', "unknown key 'form'", "did you mean 'from'?"),
    ('    why', '    host: {os: {«upto: rhel-9.0}}\n    why', "unknown key 'upto'", 'known are: from, before, not'),
    ('    why', '    host: {os: {not: rhel, «from: rhel-9.0}}\n    why', "host.os has an unknown key 'from'", ''),
    ('    why', '    host: {arch: {«from: rhel-9.0}}\n    why', "host.arch has an unknown key 'from'", ''),
    ('    why', '    host: {os: {from: «9.10}}\n    why', "'9.10', which is not a release", 'rhel-9.10 or sles-9.10'),
    ('    why', '    host: {os: {from: «[rhel-9.0]}}\n    why', 'host.os.from is a list, not text', ''),
    ('    why', '    host: {os: {from: «rhle-9.0}}\n    why', "host.os.from is 'rhle-9.0'", "did you mean 'rhel-9.0'?"),
    (
        '    why',
        '    host: {os: {from: «debian-12}}\n    why',
        'not a release that virt-guard can compare',
        'like rhel-9.4 or',
    ),
    (
        '    why',
        '    host: {os: {from: «RHEL-9.0}}\n    why',
        'not a release that virt-guard can compare',
        'like rhel-9.4 or',
    ),
    (
        '    why',
        '    host: {os: {before: «rhel}}\n    why',
        "host.os.before is 'rhel', which is no",
        'like rhel-9.4 or',
    ),
    ('    why', '    host: {os: {before: «rhel-9.4.1}}\n    why', "'rhel-9.4.1', which is no", 'like rhel-9.4 or'),
    ('    why', '    host: {os: {before: «rhel-9.04}}\n    why', "'rhel-9.04', which is no", 'like rhel-9.4 or'),
    ('    why', '    host: {os: {before: «rhel-2023}}\n    why', "'rhel-2023', which is no", 'like rhel-9.4 or'),
    (
        '    why',
        '    host: {os: {from: «rocky-9.2}}\n    why',
        "host.os.from is 'rocky-9.2', not a release of rhel",
        'write rhel-9.2, which speaks of rocky, too',
    ),
    (
        '    why',
        '    host: {os: {before: «opensuse-leap-15.4}}\n    why',
        'not a release of sles',
        'write sles-15.4, which speaks of opensuse-leap, too',
    ),
    (
        '    why',
        '    host: {os: {from: rhel-9.0, before: «sles-16.0}}\n    why',
        'from a release of rhel to one of sles',
        'make it two rules',
    ),
    (
        '    why',
        '    host: {os: «{from: rhel-9.4, before: rhel-9.0}}\n    why',
        'without any release',
        'from must be older',
    ),
    ('    why', '    host: {os: «{from: rhel-9.10, before: rhel-9.9}}\n    why', 'without any release', 'from must be'),
    ('    why', '    host: {os: «{from: rhel-9.0, before: rhel-9}}\n    why', 'without any release', 'from must be'),
    # Names that newer libvirts know.
    (MATCH, 'host: {arch: a}\n    since: «{a: 9.1.0}', "'one' has 'since' but no match", ''),
    ('    why', '    since: «{}\n    why', 'since names nothing', ''),
    ('    why', '    since: «[crypto]\n    why', 'since is a list, not a mapping', ''),
    ('    why', '    since: {a: 9.1.0, «a: 9.2.0}\n    why', "since has the key 'a' twice", ''),
    ('    why', '    since: {"/a": «9.1.0}\n    why', "since has '/a', which is not a name", ''),
    ('    why', '    since: {a: «9}\n    why', 'since.a is not a version of libvirt', 'write it like 11.2.0'),
    ('    why', '    since: {a: «v9.1.0}\n    why', 'since.a is not a version of libvirt', 'write it like 11.2.0'),
    ('    why', '    since: {a: «[9.1.0]}\n    why', 'since.a is not a version of libvirt', 'write it like 11.2.0'),
    # Lists and rules.
    ('  - id: one\n    title', '  - «just text\n  - id: one\n    title', 'the rule is text, not a mapping', ''),
    ('  - id: one\n    title', '  - «[]\n  - id: one\n    title', 'the rule is a list, not a mapping', ''),
    ('  - id: one\n    title', '  -«\n  - id: one\n    title', 'the rule is empty, not a mapping', ''),
]


@pytest.mark.parametrize('old, new, message, hint', PROBLEMS, ids=[new.replace(HERE, '') for _, new, _, _ in PROBLEMS])
def test_problem(old, new, message, hint):
    text = changed(old, new)
    if HERE in text:
        before = text[: text.index(HERE)]
        text = text.replace(HERE, '')
    else:
        before = text[: text.index('- ') + 2]  # the rule as a whole
    place = (before.count('\n') + 1, len(before) - before.rfind('\n'))
    found = [p for p in problems_of(text).problems if message in p.message]
    assert found, [str(p) for p in problems_of(text).problems]
    problem = found[0]
    if new in ('policy:«', '  -«\n  - id: one\n    title'):
        assert problem.line == place[0]  # where nothing is, libyaml and PyYAML see different columns
    elif '{not: {' not in new:
        assert (problem.source, problem.line, problem.column) == ('policy.yaml',) + place
    assert hint in problem.hint


@pytest.mark.parametrize(
    'text, message, place',
    [
        ('', 'the policy is empty', (1, 1)),
        ('# nothing\n', 'the policy is empty', (1, 1)),
        ('---\n', 'the policy is empty, not a mapping', None),
        ('- a\n', 'the policy is a list, not a mapping', (1, 1)),
        ('just text\n', 'the policy is text, not a mapping', (1, 1)),
        ('policy: a\nrules:\n', 'rules is empty, not a list', None),
        ('policy: a\nrules: []\n', 'rules is an empty list', (2, 8)),
        ('policy: a\nrules: {}\n', 'rules is a mapping, not a list', (2, 8)),
        ('policy: a\n', "the policy has no 'rules'", (1, 1)),
        # Not YAML at all.
        ('policy: a\n  b: c\n', 'not YAML', (2, 4)),
        ('policy: [a\n', 'not YAML', None),
        ('policy: "a\n', 'not YAML', None),
        ('policy: a\n\tmode: b\n', 'not YAML', (2, 1)),
        ('policy: *nowhere\n', 'not YAML: found undefined alias', (1, 9)),
        ('policy: a\n---\npolicy: b\n', 'not YAML: but found another document', (2, 1)),
        ('policy: "a\\x"\n', 'not YAML', None),
        ('%YAML 3.0\n---\na: b\n', 'not YAML', None),
    ],
)
def test_other_texts(text, message, place):
    found = [p for p in problems_of(text).problems if message in p.message]
    assert found, [str(p) for p in problems_of(text).problems]
    assert place is None or (found[0].line, found[0].column) == place


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
def test_bytes_that_no_policy_has(data, line):
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


def test_where_it_is_too_deep():
    assert [str(p) for p in problems_of('policy: x\nrules:\n  ' + '[' * 51).problems] == [
        'policy.yaml:3:52: the policy is nested too deep'
    ]


def test_absurd_nesting_is_no_crash(loader):
    """In a process of its own: C code that recurses without a limit ends by a signal."""
    program = (
        'import sys, yaml; sys.path.insert(0, sys.argv[1])\n'
        'from virtguard.policy import layer, merge, problems, yaml_reader\n'
        'yaml_reader.LOADER = getattr(yaml, sys.argv[2])\n'
        'try: merge.merge_layers([layer.read_layer(b"[" * 100000, "policy.yaml")])\n'
        'except problems.PolicyError: sys.exit(42)\n'
    )
    child = [sys.executable, '-B', '-c', program, str(SHIPPED.parent / 'lib'), loader.__name__]
    assert subprocess.call(child) == 42


def test_recursive_aliases_end():
    text = POLICY.replace('  - id: one', '  - &a\n    host: {arch: &b [*b]}\n    values: *a\n    id: one')
    assert problems_of(text).problems


def test_aliases_do_not_multiply():
    text = 'a: &a [x,x,x,x,x,x,x,x,x]\n' + ''.join(
        '%s: &%s [%s]\n' % (name, name, ','.join(['*' + before] * 9)) for before, name in zip('abcdefgh', 'bcdefghi')
    )
    assert len(problems_of(text + POLICY).problems) < 20


def test_all_problems_at_once_in_the_order_of_the_file():
    text = POLICY.replace('mode: enforce', 'mode: enforcing').replace('deadline: 5', 'deadline: never')
    text = text.replace('action: deny', 'acton: deny').replace('/domain/devices/disk', '/devices')
    text += '  - id: two\n  - {id: One, title: t, action: warn, why: w, remedy: r, host: {arch: a}}\n'
    text += '  - {id: x, title: t, action: warn, why: w, remedy: r, host: {arch: a}}\n' * 2
    error = problems_of(text)
    assert [str(problem) for problem in error.problems] == [
        "policy.yaml:2:7: mode is 'enforcing' (did you mean 'enforce'?)",
        'policy.yaml:4:11: deadline is not a number of seconds between 0 and 60',
        "policy.yaml:7:5: the rule has no 'action'",
        "policy.yaml:9:5: the rule has an unknown key 'acton' (did you mean 'action'?)",
        'policy.yaml:10:12: match can never match: the document is <domain>, not <devices> (begin with /domain)',
        "policy.yaml:14:5: the rule has no 'title'",
        "policy.yaml:14:5: the rule has no 'action'",
        "policy.yaml:14:5: the rule has no 'why'",
        "policy.yaml:14:5: the rule has no 'remedy'",
        "policy.yaml:14:5: rule 'two' has neither match nor host, so it can never apply",
        "policy.yaml:15:10: id 'One' is not in kebab-case (lower-case words joined by hyphens)",
        "policy.yaml:17:5: rule 'x' is defined twice, first in line 16",
    ]
    assert error.message == "the policy has 12 problems: policy.yaml:2:7: mode is 'enforcing' (did you mean 'enforce'?)"


def test_problems_speak_of_no_rule_called_none():
    text = changed('- id: one\n    title: the first', '- title: the first').replace(
        '    match: /domain/devices/disk\n', ''
    )
    assert not [
        problem for problem in problems_of(text).problems if "'None'" in str(problem) or 'None ' in str(problem)
    ]


# The settings that still hold where the rules are broken. `failure` decides what happens to domains then.

BROKEN = POLICY.replace('action: deny', 'action: never')


@pytest.mark.parametrize(
    'old, new, expected',
    [
        ('', '', {'mode': 'enforce', 'failure': 'deny', 'deadline': 5, 'audit': False}),
        ('failure: deny', 'failure: admit', {'failure': 'admit'}),
        ('deadline: 5', 'deadline: 9', {'deadline': 9}),
        ('required: false', 'required: true', {'audit': True}),
        ('mode: enforce', 'mode: audit', {'mode': 'audit'}),
        ('failure: deny\n', '', {'failure': 'deny'}),
    ],
)
def test_settings_of_a_broken_policy(old, new, expected):
    settings = problems_of(BROKEN.replace(old, new)).settings
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    'old, new, key',
    [
        ('failure: deny', 'failure: admitt', 'failure'),
        ('failure: deny', 'failure: no', 'failure'),
        ('failure: deny', 'failure: [admit]', 'failure'),
        ('deadline: 5', 'deadline: 61', 'deadline'),
        ('mode: enforce', 'mode: off', 'mode'),
        ('{required: false}', '{require: true}', 'audit'),
        # Which of the two is meant, nobody knows.
        ('failure: deny', 'failure: admit\nfailure: deny', 'failure'),
        ('failure: deny', 'failure: deny\nfailure: admit', 'failure'),
        ('mode: enforce', 'mode: audit\nmode: enforce', 'mode'),
    ],
)
def test_a_setting_with_a_problem_does_not_hold(old, new, key):
    settings = problems_of(BROKEN.replace(old, new)).settings
    assert settings.get(key, DEFAULT_SETTINGS[key]) == DEFAULT_SETTINGS[key]


@pytest.mark.parametrize('text', ['', 'failure: admit\n  x: [', '- failure: admit\n'])
def test_what_is_no_policy_has_no_settings(text):
    assert problems_of(text).settings.get('failure', 'deny') == 'deny'


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
