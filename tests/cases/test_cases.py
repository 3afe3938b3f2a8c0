# SPDX-License-Identifier: Apache-2.0
"""The shipped policy on real domains: one directory per rule, and in each the exact findings of every file.

`virt-guard policy test` judges them as these tests do; commands/policies/expectations.py describes expected.yaml. What
is more here: `fail-*.xml` is a domain to which the rule of its directory objects, `pass-*.xml` a near miss, to which
it must not. Where the rule is one of run time, it is a transition of a domain, as `virt-guard watch` builds it of what
libvirt has written; see test_transitions.py. Every finding is expected with its line and path, and every question that
a rule asks of the host is answered.

Each domain is the base of its architecture (base-*.xml; x86_64 where there is none), which no rule objects to, with one
mutation; the tests hold them to that, so that no finding can have another cause than the mutation. To change a base,
apply the same patch to the files made of it.
"""

import difflib
import pathlib
import re
from xml.sax.saxutils import escape

import pytest
from support.policies import load_policy
from virtguard import model
from virtguard.commands.policies import expectations
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.match.check import ROOTS
from virtguard.policy.probes import PROBES

HERE = pathlib.Path(__file__).resolve().parent
POLICY_FILE = HERE.parents[1] / 'data/profiles/rhel-8.yaml'
POLICY = load_policy(POLICY_FILE.read_bytes(), str(POLICY_FILE))
RULES = {rule.id: rule for rule in POLICY.rules}
TODAY = '2026-11-25'
# A mutation is small; a file that grew away from its base is not.
MAX_HUNKS, MAX_LINES = 3, 24


def no_probe(name, subject):
    raise AssertionError('%s is asked about %r' % (name, subject))


NO_HOST = model.HostFacts(
    expectations.HOST['arch'], expectations.HOST['container'], None, no_probe
)  # nothing of it is asked


class Case:
    """One file and what is expected of it. `id` is how pytest and a person name it: tcg/fail-icount."""

    def __init__(self, directory, case):
        self.id = '%s/%s' % (directory.name, case.name[: -len('.xml')])
        self.rule = directory.name
        self.fails = case.name.startswith('fail-')
        self.path = directory / case.name
        self.case = case
        self.expected = sorted((e.rule, e.status, e.line, e.path) for e in case.expected)

    @property
    def base(self):
        arch = re.search(r"<type arch='(\w+)'", self.path.read_text(encoding='utf-8'))
        base = HERE / ('base-%s.xml' % (arch.group(1) if arch else 'x86_64'))
        return base if base.exists() else HERE / 'base-x86_64.xml'

    def judge(self, policy=POLICY):
        """The findings, in the form of `expected`."""
        self.case.host.asked.clear()
        verdict = expectations.judge_case(self.case, self.path.read_bytes(), policy, TODAY)
        if policy is POLICY:
            answers = self.case.host.answers
            answered = {(probe, subject) for probe in answers for subject in answers[probe]}
            assert self.case.host.asked == answered, '%s: the probes asked are not those answered' % self.id
        return sorted((f.rule.id, f.status, f.line, f.path) for f in verdict.findings)


def read_cases():
    found = []
    for file in sorted(HERE.glob('*/expected.yaml')):
        documents = {path.name for path in file.parent.glob('*.xml')}
        read = expectations.load_cases(file.read_bytes(), str(file), documents)
        found.extend(Case(file.parent, case) for case in sorted(read, key=lambda case: case.name))
    return found


CASES = read_cases()
DOMAINS = [case for case in CASES if RULES[case.rule].at == model.ADMISSION]
BY_RULE = {id: [case for case in CASES if case.rule == id] for id in RULES}
each_case = pytest.mark.parametrize('case', CASES, ids=lambda case: case.id)


@each_case
def test_case_yields_exactly_the_expected_findings(case):
    assert case.judge() == case.expected


@each_case
def test_case_is_named_for_what_it_shows(case):
    of_its_rule = [finding for finding in case.expected if finding[0] == case.rule]
    assert bool(of_its_rule) == case.fails


@pytest.mark.parametrize('case', DOMAINS, ids=lambda case: case.id)
def test_case_is_its_base_with_one_mutation(case):
    base = case.base.read_text(encoding='utf-8').splitlines()
    lines = case.path.read_text(encoding='utf-8').splitlines()
    changes = [c for c in difflib.SequenceMatcher(None, base, lines, False).get_opcodes() if c[0] != 'equal']
    # The namespace declaration that libvirt writes into the first line belongs to what it is declared for.
    hunks = [c for c in changes if c[1:] != (0, 1, 0, 1)]
    facts = [getattr(case.case.host, fact) for fact in ('arch', 'container')]
    assert changes or facts != [NO_HOST.arch, NO_HOST.container], 'nothing is mutated'
    assert len(hunks) <= MAX_HUNKS
    assert sum(max(c[2] - c[1], c[4] - c[3]) for c in hunks) <= MAX_LINES
    mutated = {number for c in changes for number in range(c[3] + 1, c[4] + 1)}
    for rule, _, line, path in case.expected:
        assert line in mutated or path == '/domain', '%s objects to what the mutation left as it was' % rule


@pytest.mark.parametrize('path', sorted(HERE.glob('base-*.xml')), ids=lambda path: path.stem)
def test_bases_are_clean(path):
    assert evaluate(POLICY, parse_domain(path.read_bytes()), NO_HOST, TODAY).findings == ()
    assert any(case.base == path for case in DOMAINS), 'no case is made of it'


def test_every_rule_has_cases_and_every_directory_a_rule():
    directories = {path.name for path in HERE.iterdir() if path.is_dir() and path.name != '__pycache__'}
    assert directories - {'generators'} == set(RULES)
    for id, of_rule in BY_RULE.items():
        assert len([case for case in of_rule if case.fails]) >= 2, id
        assert len([case for case in of_rule if not case.fails]) >= 2, id


@pytest.mark.parametrize('id', sorted(RULES))
def test_every_file_is_expected(id):
    files = {path.name for path in (HERE / id).iterdir()} - {'expected.yaml'}
    assert files == {case.path.name for case in BY_RULE[id]}


def branches(match):
    """The operands of the outermost unions of an expression."""
    parts, depth, quote = [''], 0, ''
    for character in match:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        else:
            depth += (character in '[(') - (character in '])')
        if character == '|' and not depth and not quote:
            parts.append('')
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def policy_of(rule, match):
    fields = {name: getattr(rule, name) for name in model.Rule.__slots__}
    rules = (model.Rule(**dict(fields, match=match)),)
    return model.Policy(POLICY.name, POLICY.mode, POLICY.failure, POLICY.deadline, False, rules, '', '')


ALL_BRANCHES = [
    pytest.param(rule, number, id='%s-%d' % (rule.id, number + 1))
    for rule in POLICY.rules
    for number in range(len(branches(rule.match or '')))
    if rule.match
]


@pytest.mark.parametrize('rule, number', ALL_BRANCHES)
def test_every_branch_of_a_match_is_needed(rule, number):
    """Without it, some case would be judged otherwise: no form of a feature is denied without a test."""
    parts = branches(rule.match)
    others = parts[:number] + parts[number + 1 :]
    without = policy_of(rule, ' | '.join(others) or '/%s[false()]' % ROOTS[rule.at])
    assert any(
        case.judge(without) != [finding for finding in case.expected if finding[0] == rule.id]
        for case in BY_RULE[rule.id]
    ), parts[number]


OF_ONE_VENDOR = ('guest-os-windows', 'guest-os-windows-server', 'guest-os-macos', 'guest-os-solaris')


@pytest.mark.parametrize('id', [rule.id for rule in POLICY.rules if rule.values and not rule.negated])
def test_every_value_is_denied_by_its_rule_alone(id):
    base = (HERE / 'base-x86_64.xml').read_bytes()
    for value in RULES[id].values:
        xml = base.replace(b'http://redhat.com/rhel/8.6', value.encode())
        findings = evaluate(POLICY, parse_domain(xml), NO_HOST, TODAY).findings
        found = [(f.rule.id, f.status) for f in findings]
        # osinfo-db knows old systems, too, that another rule is for.
        others = [(rule.id, rule.action) for rule in POLICY.rules if rule.id in OF_ONE_VENDOR and RULES[id].value_set]
        assert len(found) == 1 and found[0] in [(id, RULES[id].action), *others], value


def test_no_system_that_osinfo_db_knows_is_unknown():
    rule = RULES['guest-os-unknown']
    assert rule.negated and len(rule.values) > 900
    base = (HERE / 'base-x86_64.xml').read_bytes()
    for id in rule.values:
        findings = evaluate(
            POLICY, parse_domain(base.replace(b'http://redhat.com/rhel/8.6', id.encode())), NO_HOST, TODAY
        )
        assert rule.id not in {finding.rule.id for finding in findings.findings}, id


def test_probes_of_cases_exist():
    named = {probe for case in CASES for probe in case.case.host.answers}
    assert named == {rule.probe for rule in RULES.values()} - {None} < set(PROBES)


# A domain that others only speak of is not judged.

ELSEWHERE = {
    'metadata': ('  <metadata>\n', '  <metadata>\n<b:backup xmlns:b="http://example.com/backup/1.0">%s</b:backup>\n'),
    'description': ('  <metadata>\n', '  <description>%s</description>\n  <metadata>\n'),
    'comment': ('  <metadata>\n', '  <!--%s-->\n  <metadata>\n'),
    'other-namespace': ('  <metadata>\n', '  <devices xmlns="http://example.com/devices">%s</devices>\n  <metadata>\n'),
}


@pytest.mark.parametrize('place', sorted(ELSEWHERE))
def test_a_domain_quoted_within_another_is_not_judged(place):
    base = (HERE / 'base-x86_64.xml').read_text(encoding='utf-8')
    before, after = ELSEWHERE[place]
    assert base.count(before) == 1
    for case in DOMAINS:
        if case.fails:
            quoted = case.path.read_text(encoding='utf-8')
            if place == 'description':
                quoted = escape(quoted)
            elif place == 'comment':
                quoted = quoted.replace('--', '- -')
            findings = evaluate(
                POLICY, parse_domain(base.replace(before, after % quoted).encode()), NO_HOST, TODAY
            ).findings
            assert findings == (), '%s, in %s' % (case.id, place)


@pytest.mark.parametrize('case', [case for case in DOMAINS if case.fails], ids=lambda case: case.id)
def test_namespaces_are_told_by_their_uri(case):
    """The same elements in namespaces of others, whatever the prefixes, mean nothing here."""
    xml = case.path.read_text(encoding='utf-8').replace('://libvirt.org/', '://example.com/')
    xml = xml.replace('://libosinfo.org/xmlns', '://example.com/xmlns')
    verdict = evaluate(POLICY, parse_domain(xml.encode()), case.case.host, TODAY)
    found = {(f.rule.id, f.path) for f in verdict.findings}
    expected = {(rule, path) for rule, _, _, path in case.expected if ':' not in path}
    assert found == expected | {('guest-os-unknown', '/domain')}


@pytest.mark.parametrize(
    'emulator',
    '/usr/libexec/qemu-kvm /usr/bin/qemu-kvm /usr/bin/kvm /usr/bin/qemu-system-x86_64 /usr/bin/qemu-system-i386 '
    '/usr/bin/qemu-system-ppc64 /usr/bin/qemu-system-s390x /usr/bin/qemu-system-aarch64'.split(),
)
def test_emulators_of_distributions(emulator):
    base = (HERE / 'base-x86_64.xml').read_text(encoding='utf-8')
    looks = model.HostFacts(expectations.HOST['arch'], expectations.HOST['container'], None, lambda name, subject: None)
    for path, host, denied in (
        (emulator, NO_HOST, False),
        (emulator + '-wrapper', looks, True),
        ('/opt' + emulator, looks, True),
    ):
        xml = base.replace('>/usr/libexec/qemu-kvm<', '>%s<' % path)
        findings = evaluate(POLICY, parse_domain(xml.encode()), host, TODAY).findings
        assert [f.rule.id for f in findings] == ['emulator-unknown'] * denied, path


# The tests above would be worth nothing if a wrong expectation passed.

ONE = next(case for case in CASES if case.id == 'vhost-user/fail-device')
WITH_PROBE = next(case for case in CASES if case.id == 'infiniband-sriov/fail-hostdev')
FINDING = ONE.expected[-1]


@pytest.mark.parametrize(
    'expected',
    [
        [],
        ONE.expected[1:],
        ONE.expected + [FINDING],
        ONE.expected[:-1] + [('virtiofs',) + FINDING[1:]],
        ONE.expected[:-1] + [FINDING[:1] + ('warn',) + FINDING[2:]],
        ONE.expected[:-1] + [FINDING[:2] + (FINDING[2] + 1,) + FINDING[3:]],
        ONE.expected[:-1] + [FINDING[:3] + (FINDING[3] + '/@id',)],
    ],
    ids=['none', 'one too few', 'one too many', 'rule', 'status', 'line', 'path'],
)
def test_a_wrong_expectation_fails(expected):
    assert ONE.judge() == ONE.expected
    assert ONE.judge() != sorted(expected)


@pytest.mark.parametrize('subjects', [[], ['0000:03:10.1', '0000:03:10.2']], ids=['none', 'one too many'])
def test_the_answers_must_be_those_to_the_questions(subjects):
    host = expectations.StatedFacts(expectations.HOST, {'infiniband-vf': dict.fromkeys(subjects, True)})
    case = Case(WITH_PROBE.path.parent, expectations.Case(WITH_PROBE.path.name, host, '', []))
    with pytest.raises(AssertionError, match='not those answered'):
        case.judge()
