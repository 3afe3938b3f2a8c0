# SPDX-License-Identifier: Apache-2.0
"""The profiles about isolation, kvm-baseline and kvm-restricted: what each rule finds, and what it leaves alone.

profile-kvm-restricted.yaml has a mapping per rule. In it, each `fail-*` is a domain to which the rule objects, each
`pass-*` a near miss; `pass-remedy` is what the rule's remedy makes of such a domain, so no vendor's list may refuse it.
A case is BASE with:

    change:       texts in it, which occur once, and what replaces them
    devices:      elements at the end of <devices>
    domain:       elements before <devices>
    qemu:         arguments in <qemu:commandline>
    environment:  the name of a variable in it
    links:        paths that are links on the host, and where they lead; all others are none
    phase:        start, for what the start of a domain shows; then it has LABEL, or what `label` says instead
    finds:        where the rule finds something
    also:         other rules that do
"""

import functools
import pathlib
import re

import profile_cases
import pytest
import security_profiles
import yaml
from test_cases import branches, policy_of
from test_profiles import HOSTS, of_release
from test_sles import HOSTS as HOSTS_OF_SUSE
from test_sles import of_suse
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.policy import load
from virtguard.policy.compiler import prepare
from virtguard.policy.installation import profiles

HERE = pathlib.Path(__file__).resolve().parent
TODAY = '2026-11-28'
NAMES = ('kvm-baseline', 'kvm-restricted')
POLICIES = {name: load.as_if_in_force(profiles()[name]) for name in NAMES}
COMPILED = {name: CompiledPolicy(prepare(policy)) for name, policy in POLICIES.items()}
RULES = {name: {rule.id: rule for rule in policy.rules} for name, policy in POLICIES.items()}
RESTRICTED = RULES['kvm-restricted']
# No guest that filters its network itself is clean there.
BASE = (
    (HERE / 'base-x86_64.xml')
    .read_text(encoding='utf-8')
    .replace("<source bridge='br0'/>", "<source bridge='br0'/><filterref filter='clean-traffic'/>")
)
# Denied, and hardly any of 453 public domains has one.
HARMLESS_TO_DENY = set(
    'seclabel-none seclabel-foreign-type helper-program host-system-path host-path-dotdot filesystem-system-path '
    'host-system-link host-read-link filesystem-system-link filesystem-medium-link '
    'chardev-run-socket chardev-network-any firmware-writable shared-memory-device input-host-device rng-source '
    'disk-directory sgio-unfiltered smartcard-database'.split()
)
VENDORS = {'rhel-8': 'rhel-8.10', **HOSTS, **HOSTS_OF_SUSE}
QEMU = "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>%s</q:commandline></domain>"


LABEL = "<seclabel type='dynamic' model='selinux'><label>system_u:system_r:svirt_t:s0:c1,c2</label></seclabel>"


class Case:
    def __init__(self, rule, name, given):
        assert not set(given) - {
            'change',
            'devices',
            'domain',
            'qemu',
            'environment',
            'links',
            'phase',
            'label',
            'finds',
            'also',
        }, given
        assert name.startswith(('fail-', 'pass-')), name
        self.id = '%s/%s' % (rule, name)
        self.rule, self.name, self.given = rule, name, given
        self.finds = sorted(given.get('finds', ()))
        self.starting = given.get('phase') == 'start'
        assert bool(self.finds) == name.startswith('fail-'), self.id

    @property
    def text(self):
        text = BASE
        for old, new in self.given.get('change', {}).items():
            assert text.count(old) == 1, (self.id, old)
            text = text.replace(old, new)
        for key, mark in (('devices', '  </devices>'), ('domain', '  <devices>')):
            text = text.replace(mark, self.given.get(key, '') + mark)
        if self.starting:
            text = text.replace('</domain>', self.given.get('label', LABEL) + '</domain>')
        passed = ''.join("<q:arg value='%s'/>" % argument for argument in self.given.get('qemu', ()))
        if 'environment' in self.given:
            passed += "<q:env name='%s' value='a'/>" % self.given['environment']
        return text.replace('</domain>', QEMU % passed) if passed else text

    @property
    def host(self):
        return profile_cases.facts('debian-12', {}, lambda name, path: self.given.get('links', {}).get(path, path))

    def judge(self, policy):
        host = self.host
        rules = policy.rules_of_start() if self.starting else None
        return evaluate(policy, parse_domain(self.text.encode()), host, TODAY, rules).findings


CASES = [Case(rule, name, given) for _, rule, name, given in profile_cases.read_cases(['kvm-restricted'])]
each_case = pytest.mark.parametrize('case', CASES, ids=lambda case: case.id)
each_profile = pytest.mark.parametrize('name', NAMES)


@each_profile
@each_case
def test_case_yields_exactly_the_expected_findings(case, name):
    found = case.judge(POLICIES[name])
    if case.rule in RULES[name]:
        assert sorted(f.path for f in found if f.rule.id == case.rule) == case.finds
    others = {id for id in case.given.get('also', ()) if id in RULES[name]}
    assert {f.rule.id for f in found} - {case.rule} == others
    assert all(f.status == RULES[name][f.rule.id].action for f in found)


@pytest.mark.parametrize('id', sorted(RESTRICTED))
def test_every_rule_has_cases(id):
    kinds = {case.name[:4] for case in CASES if case.rule == id}
    assert kinds == {'fail', 'pass'}
    # A remedy that names something to write is tried; what removes something leaves the base.
    remedy = RESTRICTED[id].remedy
    if re.search(r'[<=]|/\w+/', remedy) and not remedy.startswith('remove'):
        assert 'pass-remedy' in {case.name for case in CASES if case.rule == id}


def test_every_case_has_a_rule():
    assert {case.rule for case in CASES} == set(RESTRICTED)


@pytest.mark.parametrize('id', sorted(RESTRICTED))
def test_every_branch_of_a_match_is_needed(id):
    rule = RESTRICTED[id]
    parts = branches(rule.match)
    cases = [case for case in CASES if case.rule == id]
    for number, part in enumerate(parts):
        others = parts[:number] + parts[number + 1 :]
        without = policy_of(rule, ' | '.join(others) or '/domain[false()]')
        assert any(sorted(f.path for f in case.judge(without)) != case.finds for case in cases), part


@each_profile
def test_the_base_is_clean_and_admitted_without_lxml(name):
    document = BASE.encode()
    assert evaluate(POLICIES[name], parse_domain(document), profile_cases.facts('debian-12', {}), TODAY).findings == ()
    verdict, candidates = COMPILED[name].judge(document, profile_cases.facts('debian-12', {}), TODAY)
    assert candidates == [] and verdict is not None and verdict.decision == model.ADMIT


@each_case
def test_the_hook_needs_no_lxml_for_any_verdict(case):
    policy = POLICIES['kvm-restricted']
    verdict, candidates = COMPILED[policy.name].judge(
        case.text.encode(), case.host, TODAY, case.starting, may_probe=True
    )
    assert candidates == [] and verdict is not None
    expected = sorted((f.rule.id, f.status, f.path) for f in case.judge(policy))
    assert sorted((f.rule.id, f.status, f.path) for f in verdict.findings) == expected


# --- what the profiles are


@functools.lru_cache(maxsize=None)
def of_profile(name):
    return load.as_if_in_force(profiles()[name])


def test_ids_are_their_own():
    for name in NAMES:
        assert [id for id in RULES[name] if not id.startswith('kvm-')] == []
    others = {rule.id for name in VENDORS for rule in of_profile(name).rules}
    assert not others & set(RESTRICTED)


def test_baseline_denies_what_hurts_nobody_and_warns_of_the_rest():
    denied = {id[len('kvm-') :] for id, rule in RULES['kvm-baseline'].items() if rule.action == 'deny'}
    assert denied == HARMLESS_TO_DENY
    assert {rule.action for rule in RULES['kvm-baseline'].values()} == {'deny', 'warn'}


def test_restricted_is_never_milder():
    order = ['warn', 'deny']
    for id, rule in RULES['kvm-baseline'].items():
        assert order.index(RESTRICTED[id].action) >= order.index(rule.action)
        assert all(getattr(RESTRICTED[id], key) == getattr(rule, key) for key in ('match', 'why', 'remedy'))


@pytest.mark.parametrize('vendor', sorted(VENDORS))
@each_profile
def test_it_goes_with_the_list_of_each_vendor(tmp_path, name, vendor):
    path = tmp_path / 'site.yaml'
    path.write_text('extends: [%s, %s]\n' % (vendor, name))
    joined = load.as_if_in_force(str(path))
    assert joined.name == '%s with %s' % (vendor, name)
    assert len(joined.rules) == len(of_profile(vendor).rules) + len(RULES[name])


# --- remedies: none names what a vendor refuses


def of_vendor(vendor, text):
    if vendor in HOSTS_OF_SUSE:
        return of_suse(vendor, text)
    return text if vendor == 'rhel-8' else of_release(vendor, text)


def answer(probe, subject):
    return probe == 'foreign-emulator' and not subject.startswith(('/usr/libexec/', '/usr/bin/', '/run/libvirt/'))


def refused(vendor, text):
    """What a vendor's list says of a domain on a host of this vendor."""
    policy = of_profile(vendor)
    host = profile_cases.facts(VENDORS[vendor], {}, answer)
    verdict = evaluate(policy, parse_domain(of_vendor(vendor, text).encode()), host, TODAY)
    return {(f.rule.id, f.status) for f in verdict.findings}


def kind_of_vendor(vendor, cases):
    """What a vendor's list says of domains, where it says more than of the base: the mildest; `-` for nothing."""
    base = refused(vendor, BASE)
    statuses = [{status for _, status in refused(vendor, case.text) - base} for case in cases]
    milder = ['-', 'warn', 'deny']
    return min((max(found or {'-'}, key=milder.index) for found in statuses), key=milder.index)


@pytest.mark.parametrize('vendor', sorted(VENDORS))
def test_what_a_remedy_makes_of_a_domain_no_vendor_refuses(vendor):
    for case in CASES:
        if case.name == 'pass-remedy':
            before = [other.text for other in CASES if other.rule == case.rule and other.name.startswith('fail-')]
            known = set().union(*(refused(vendor, text) for text in [BASE, *before]))
            assert refused(vendor, case.text) <= known, case.id


def test_remedies_do_not_name_what_a_vendor_refuses():
    """Of what cannot be tried as an element: virtiofs, 9p, throttling, reservations, SPICE, redirection, floppies."""
    for rule in RESTRICTED.values():
        assert not re.search('virtiofs|9p|iotune|reservation|spice|redir|floppy|cirrus', rule.remedy.lower()), rule.id


def test_the_page_is_current():
    assert set(security_profiles.HAVE) == set(RESTRICTED)
    shown, made = security_profiles.PAGE.read_text(encoding='utf-8'), security_profiles.render()
    assert shown.splitlines() == made.splitlines(), 'renew it: python3 tests/security_profiles.py'


def test_the_file_of_restricted_repeats_nothing():
    given = yaml.safe_load(pathlib.Path(profiles()['kvm-restricted']).read_text(encoding='utf-8'))['rules']
    for rule in given:
        if rule['id'] in RULES['kvm-baseline']:
            assert set(rule) == {'id', 'action'}, rule['id']
