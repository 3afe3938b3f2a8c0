# SPDX-License-Identifier: Apache-2.0
"""expected.yaml: what it says, what is wrong with it, and when a finding is the expected one."""

import pytest
from support.policies import load_policy
from virtguard import model
from virtguard.commands.policies.expectations import Expectation, compare, judge_case, load_cases
from virtguard.policy.problems import PolicyError

POLICY = """\
policy: test
rules:
  - {id: no-vnc, title: VNC, action: deny, match: "/domain/devices/graphics[@type = 'vnc']", why: w, remedy: r}
  - {id: no-lun, title: LUN, action: deny, match: /domain/devices/disk/source/@dev, probe: multipath-device, why: w,
     remedy: r}
  - {id: sleep, title: asleep, action: deny, at: runtime, match: /transition/after/domstatus/@state, why: w,
     remedy: r}
waivers:
  - {rules: [no-vnc, sleep], domains: [web], reason: r, approved-by: a, expires: 2026-11-30}
"""
VNC = b"<domain><name>%s</name><devices>\n<graphics type='vnc'/></devices></domain>"
DISK = b"<domain><devices><disk><source dev='/dev/sdb'/></disk></devices></domain>"
TRANSITION = b"""<transition><before/><after>
<domstatus state='pmsuspended'><domain><name>%s</name><devices><graphics type='vnc'/></devices></domain></domstatus>
</after></transition>"""


def load(text, files=('a.xml', 'b.xml')):
    return load_cases(text.encode(), 'expected.yaml', files)


def found(case, xml):
    verdict = judge_case(case, xml, load_policy(POLICY.encode(), 'policy.yaml'), '2026-12-24')
    return [(finding.rule.id, finding.status, finding.line, finding.path) for finding in verdict.findings]


def test_a_case_of_what_a_start_shows():
    text = POLICY.replace(
        'waivers:',
        '  - {id: label, title: no label, action: warn, phase: start, why: w, remedy: r,\n'
        "     match: '/domain[not(seclabel)]'}\nwaivers:",
    )
    start, plain = load('a.xml: {phase: start, findings: []}\nb.xml: {findings: []}\n')
    xml = b'<domain><name>a</name></domain>'
    for case, expected in ((start, ['label']), (plain, [])):
        verdict = judge_case(case, xml, load_policy(text.encode(), 'policy.yaml'), '2026-12-24')
        assert [finding.rule.id for finding in verdict.findings] == expected
    with pytest.raises(PolicyError) as caught:
        load('a.xml: {phase: prepare, findings: []}\n')
    assert "phase is 'prepare' (known are: start)" in str(caught.value)


def test_a_case():
    full, plain = load(
        'a.xml:\n  host: {os: rhel-9.4, arch: unknown}\n  date: 2026-11-25\n  findings:\n'
        '    - {rule: r, status: deny, line: 7, path: /domain}\n    - {status: waived, rule: q}\n'
        'b.xml: {findings: []}\n'
    )
    assert (full.name, full.date) == ('a.xml', '2026-11-25')
    assert (full.host.arch, full.host.container, full.host.os) == (None, 'none', 'rhel-9.4')
    assert [str(one) for one in full.expected] == ['deny [r] /domain in line 7', 'waived [q]']
    assert (plain.name, plain.date, plain.expected) == ('b.xml', '', ())
    assert (plain.host.arch, plain.host.container, plain.host.os) == ('x86_64', 'none', None)


@pytest.mark.parametrize(
    'text, expected',
    [
        ('', ['1:1: the file is empty']),
        ('[]', ['1:1: the file is a list, not a mapping']),
        ('a.xml: {findings: []}\na.xml: {findings: []}\n', ["2:1: the file has the key 'a.xml' twice"]),
        ('[a]: {findings: []}\n', ["1:1: the file has an unknown key 'a list'"]),
        ('c.xml: {findings: []}\n', ["1:1: there is no file 'c.xml' here (did you mean"]),
        ('a.xml: {finding: []}\n', ["1:8: a.xml has no 'findings'", "1:9: a.xml has an unknown key 'finding'"]),
        ('a.xml: {findings: {}}\n', ['1:19: findings is a mapping, not a list']),
        ('a.xml: {findings: [x]}\n', ['1:20: the finding is text, not a mapping']),
        ('a.xml: {findings: [{rule: r}]}\n', ["1:20: the finding has no 'status'"]),
        ('a.xml: {findings: [{rule: r, status: dney}]}\n', ["1:38: status is 'dney' (did you mean 'deny'?)"]),
        ('a.xml: {findings: [{rule: r, status: deny, line: -1}]}\n', ['1:50: line is not a whole number']),
        ('a.xml: {findings: [], date: 2026-02-30}\n', ['1:29: date is not a day of the calendar']),
        ('a.xml: {findings: [], host: {arhc: x}}\n', ["1:30: host has an unknown key 'arhc'"]),
        (
            'a.xml: {findings: 1, date: 1}\nb.xml: 1\n',
            [
                '1:19: findings is a number',
                '1:28: date is not a day',
                '2:8: b.xml is a number',
            ],
        ),
    ],
)
def test_every_problem_at_once(text, expected):
    with pytest.raises(PolicyError) as caught:
        load(text)
    problems = [str(problem) for problem in caught.value.problems]
    assert len(problems) == len(expected), problems
    assert all(one.startswith('expected.yaml:' + start) for one, start in zip(problems, expected)), problems


def test_a_case_is_judged_on_its_day():
    early, late = load('a.xml: {findings: [], date: 2026-11-30}\nb.xml: {findings: []}\n')
    place = ('no-vnc', 'waived', 2, '/domain/devices/graphics')
    assert found(early, VNC % b'web') == [place]
    assert found(late, VNC % b'web') == [('no-vnc', 'deny') + place[2:]]
    assert found(early, VNC % b'other') == [('no-vnc', 'deny') + place[2:]]


def test_the_rules_of_run_time_judge_a_transition():
    early, late = load('a.xml: {findings: [], date: 2026-11-30}\nb.xml: {findings: []}\n')
    place = (2, '/transition/after/domstatus/@state')
    assert found(early, TRANSITION % b'web') == [('sleep', 'waived') + place]
    assert found(late, TRANSITION % b'web') == [('sleep', 'deny') + place]


@pytest.mark.parametrize('answer, status', [('yes', ['deny']), ('no', []), ('unknown', ['unknown'])])
def test_a_case_answers_probes(answer, status):
    (case,) = load('a.xml: {findings: [], host: {probes: {multipath-device: {/dev/sdb: %s}}}}\n' % answer)
    assert [finding[1] for finding in found(case, DISK)] == status
    assert case.host.asked == {('multipath-device', '/dev/sdb')}


RULE = model.Rule('r', 'title', 'deny', 'why', 'remedy')


def finding(status, line, path):
    return model.Finding(RULE, status, path, line, '', '')


@pytest.mark.parametrize('order', [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], ids=str)
def test_an_open_expectation_does_not_take_a_finding_from_another(order):
    findings = [finding('deny', 1, '/a'), finding('deny', 1, '/b'), finding('deny', 2, '/b')]
    expected = [
        Expectation('r', 'deny', None, ''),
        Expectation('r', 'deny', 1, ''),
        Expectation('r', 'deny', None, '/a'),
    ]
    assert compare([expected[number] for number in order], findings) == ([], [])


def test_each_finding_meets_one_expectation():
    one = finding('deny', 1, '/a')
    same = Expectation('r', 'deny', 1, '/a')
    assert compare([same], [one, one]) == ([], [one])
    assert compare([same, same], [one]) == ([same], [])


@pytest.mark.parametrize(
    'wrong', [('q', 'deny', 1, '/a'), ('r', 'warn', 1, '/a'), ('r', 'deny', 2, '/a'), ('r', 'deny', 1, '/')]
)
def test_a_wrong_expectation_is_not_met(wrong):
    expectation, one = Expectation(*wrong), finding('deny', 1, '/a')
    assert compare([expectation], [one]) == ([expectation], [one])
