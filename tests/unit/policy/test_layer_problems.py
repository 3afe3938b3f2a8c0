# SPDX-License-Identifier: Apache-2.0
"""Every problem of a bad policy is named with its place and a way out, and settings that are clear still hold."""

import pytest
from virtguard.model import DEFAULT_SETTINGS

from .example import MATCH, POLICY, changed, problems_of

pytestmark = pytest.mark.usefixtures('loader')

# The place of the problem, in the texts below.
HERE = '«'
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
    ('policy: example\nmode', '«mode', "the policy has no 'policy'", '--drop-in FILE'),
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


def test_problems_never_name_a_rule_none():
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
def test_what_is_not_a_policy_has_no_settings(text):
    assert problems_of(text).settings.get('failure', 'deny') == 'deny'
