# SPDX-License-Identifier: Apache-2.0
"""The profiles of other releases: each difference from the shipped policy, and that all else holds as it does there.

profile-NAME.yaml has a mapping per rule that the profile adds, or changes in more than texts and action. In it, each
`fail-*` is a domain to which the rule objects, each `pass-*` a near miss. Of such a case it says:

    base:       the domain that it is made of, base-NAME.xml with the profile's own machine types; x86_64 if left out
    change:     texts in it, which occur once (in a transition: once or twice), and what replaces them
    models:     names of CPU models: the case is one domain with each of them
    devices:    {count, xml}: so many devices more
    transition: instead of a domain, the transition DIRECTORY/NAME of the cases for RHEL 8
    host:       facts of the host, where they are not those of HOST; `unknown` cannot be read
    findings:   all there are, as {status, path}; with `rule`, where it is not the rule itself
"""

import pathlib
import re

import profile_cases
import pytest
import yaml
from lxml import etree
from test_cases import CASES, POLICY, POLICY_FILE, TODAY
from test_grounds import STRICTER
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import Subject, parse_domain
from virtguard.policy import load
from virtguard.policy.compiler import prepare

HERE = pathlib.Path(__file__).resolve().parent
DIRECTORY = HERE.parents[1] / 'data' / 'profiles'
HOSTS = {'rhel-9': 'rhel-9.4', 'rhel-10': 'rhel-10.0'}
MACHINES = {'rhel-9': r'\1-rhel9.4.0', 'rhel-10': r'\1-rhel10.0.0'}
NAMES = sorted(HOSTS)
POLICIES = {name: load.as_if_in_force(str(DIRECTORY / (name + '.yaml'))) for name in NAMES}
TEXTS = {name: (DIRECTORY / (name + '.yaml')).read_text(encoding='utf-8') for name in NAMES}
GIVEN = {name: {rule['id']: rule for rule in yaml.safe_load(TEXTS[name])['rules']} for name in NAMES}
OF_RHEL_8 = {rule.id: rule for rule in POLICY.rules}
# What finds the same when it is changed.
WORDS = {'id', 'title', 'action', 'why', 'remedy', 'reference', 'supported', 'reason', 'since', 'known-from'}
DIFFERENT = {
    name: {id for id, rule in GIVEN[name].items() if id not in OF_RHEL_8 or set(rule) - WORDS} for name in NAMES
}


def facts(profile, host):
    return profile_cases.facts(HOSTS[profile], host)


def of_release(profile, text):
    """A domain with the machine type of the profile's release instead of RHEL 8's."""
    text, count = re.subn(r'(?<=machine=\')([a-z0-9-]+)-rhel8\.6\.0', MACHINES[profile], text)
    assert count <= 1
    return text


def judge(profile, text, host):
    """The verdict on a domain, or on a transition by the rules of run time."""
    policy = POLICIES[profile]
    if text.startswith('<transition'):
        subject = Subject('lab', '', etree.fromstring(text.encode('utf-8')))
        return evaluate(policy, subject, host, TODAY, policy.rules_at(model.RUNTIME))
    return evaluate(policy, parse_domain(text.encode('utf-8')), host, TODAY)


class Case:
    def __init__(self, profile, rule, name, given):
        assert not set(given) - {'base', 'change', 'models', 'devices', 'transition', 'host', 'findings'}, given
        assert name.startswith(('fail-', 'pass-')), name
        self.id = '%s/%s/%s' % (profile, rule, name)
        self.profile, self.rule, self.given = profile, rule, given
        self.fails = name.startswith('fail-')
        self.expected = sorted((f.get('rule', rule), f['status'], f['path']) for f in given.get('findings', ()))

    def changed(self, text, counts):
        for old, new in self.given.get('change', {}).items():
            assert text.count(old) in counts, old
            text = text.replace(old, new)
        return text

    def texts(self):
        if 'transition' in self.given:
            text = (HERE / (self.given['transition'] + '.xml')).read_text(encoding='utf-8')
            yield self.changed(text, (1, 2))
            return
        base = HERE / ('base-%s.xml' % self.given.get('base', 'x86_64'))
        text = self.changed(of_release(self.profile, base.read_text(encoding='utf-8')), (1,))
        devices = self.given.get('devices', {'count': 0, 'xml': ''})
        text = text.replace('  </devices>', devices['xml'] * devices['count'] + '  </devices>')
        if 'models' not in self.given:
            yield text
            return
        for cpu_model in self.given['models'].split():
            cpu = "<cpu mode='custom'><model fallback='forbid'>%s</model></cpu>" % cpu_model
            text, count = re.subn(r'<cpu .*/>|<cpu .*</cpu>', cpu, text)
            assert count == 1
            yield text

    def judge(self):
        for text in self.texts():
            host = facts(self.profile, self.given.get('host', {}))
            verdict = judge(self.profile, text, host)
            yield sorted((f.rule.id, f.status, f.path) for f in verdict.findings)


OWN_CASES = [Case(*case) for case in profile_cases.read_cases(NAMES)]
each_profile = pytest.mark.parametrize('profile', NAMES)


@pytest.mark.parametrize('case', OWN_CASES, ids=lambda case: case.id)
def test_case_yields_exactly_the_expected_findings(case):
    for found in case.judge():
        assert found == case.expected
    assert case.fails == (case.rule in [rule for rule, _, _ in case.expected])


@each_profile
def test_every_difference_has_cases(profile):
    for rule in DIFFERENT[profile]:
        kinds = {case.fails for case in OWN_CASES if (case.profile, case.rule) == (profile, rule)}
        is_off = GIVEN[profile][rule].get('action') == 'off'
        assert kinds == ({False} if is_off else {True, False}), rule
    assert {case.rule for case in OWN_CASES if case.profile == profile} == DIFFERENT[profile]


@each_profile
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.id)
def test_what_is_not_different_finds_what_it_does_on_rhel_8(profile, case):
    """With the action that the profile gives it."""
    same = {rule.id: rule for rule in POLICIES[profile].rules if rule.id not in DIFFERENT[profile]}
    text = of_release(profile, case.path.read_text(encoding='utf-8'))
    found = [f for f in judge(profile, text, case.case.host).findings if f.rule.id in same]
    expected = []
    for rule, status, line, path in case.expected:
        if rule in same and same[rule].action != 'off':
            action = same[rule].action if status == OF_RHEL_8[rule].action else status
            expected.append((rule, action, line, path))
    assert sorted((f.rule.id, f.status, f.line, f.path) for f in found) == sorted(expected)


@each_profile
def test_no_rule_is_lost_and_settings_are_those_of_rhel_8(profile):
    policy = POLICIES[profile]
    assert [rule.id for rule in policy.rules][: len(OF_RHEL_8)] == list(OF_RHEL_8)
    assert policy.name == profile
    assert (policy.mode, policy.settings()) == (POLICY.mode, POLICY.settings())


@each_profile
def test_a_clean_domain_is_admitted_without_its_rules(profile):
    """No rule of a profile takes the fast way from those that have a current machine type."""
    compiled = CompiledPolicy(prepare(POLICIES[profile]))
    xml = of_release(profile, (HERE / 'base-x86_64.xml').read_text(encoding='utf-8')).encode('utf-8')
    verdict, candidates = compiled.judge(xml, facts(profile, {}), '2026-11-28')
    assert candidates == []
    assert verdict is not None and verdict.decision == model.ADMIT


def test_what_is_refused_on_red_hat_virtualization():
    """The list says of itself that many of its limits may not apply there."""
    policy = load.as_if_in_force(str(DIRECTORY / 'rhv-4.yaml'))
    of_other_products = {'guest-suspend', 'guest-suspended', 'virtio-crypto', 'net-failover', 'multifd-migration'}
    of_red_hat_at_all = {'container-host', 'tcg', 'qemu-raw-access', 'qemu-outside-libvirt'}
    actions = {rule.id: rule.action for rule in policy.rules}
    assert set(actions) == set(OF_RHEL_8)
    denied = {id for id, action in actions.items() if action == 'deny'}
    assert denied >= of_other_products | of_red_hat_at_all
    text = (DIRECTORY / 'rhv-4.yaml').read_text(encoding='utf-8')
    warned = {rule['id'] for rule in yaml.safe_load(text)['rules'] if rule.get('action') == 'warn'}
    assert {
        'qemu-io-throttling',
        'live-snapshot',
        'storage-live-migration',
        'virtiofs',
    } <= warned and not warned & denied
    assert {id for id, action in actions.items() if action == 'off'} == {'guest-os-unknown'}
    assert (policy.mode, policy.settings()) == (POLICY.mode, POLICY.settings())


# --- the evidence

SHIPPED = {'rhel-8': POLICY_FILE, **{path.stem: path for path in DIRECTORY.glob('*.yaml')}}
each_shipped = pytest.mark.parametrize('name', sorted(SHIPPED))


def entries(name):
    """What the file itself has of each rule: the keys, with those of the comment above the entry under `comment`."""
    text = SHIPPED[name].read_text(encoding='utf-8')
    found = {rule['id']: dict(rule, comment='') for rule in yaml.safe_load(text)['rules']}
    comment = ''
    for line in text.splitlines():
        start = re.match(r'  - (?:id: |\{id: )([a-z0-9-]+)', line)
        if start:
            found[start.group(1)]['comment'] = comment
        comment = comment + line.strip() if line.startswith('  # ') and not line.startswith('  # ---') else ''
    return found


@each_shipped
def test_what_refuses_has_grounds_in_its_own_file(name):
    """What is inherited speaks of another release. What is derived shows from what."""
    given = entries(name)
    if name in STRICTER:
        given = {**entries('kvm-baseline'), **{id: rule for id, rule in given.items() if 'known-from' in rule}}
    for rule in load.as_if_in_force(str(SHIPPED[name])).rules:
        if rule.action == model.DENY:
            assert {'known-from', 'reference'} <= set(given.get(rule.id, ())), rule.id
            assert rule.known_from != 'derived' or 'Derived' in given[rule.id]['comment'], rule.id


@each_profile
def test_what_is_turned_off_says_why(profile):
    for rule in POLICIES[profile].rules:
        assert (rule.action == 'off') == bool(GIVEN[profile].get(rule.id, {}).get('reason')), rule.id
