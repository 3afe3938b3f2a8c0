# SPDX-License-Identifier: Apache-2.0
"""The profiles of SUSE, which are lists of their own: what each rule finds, and what it leaves alone.

profile-NAME.yaml has a mapping per rule but for those of SAME, which find what the policy for RHEL 8 does and are held
to its cases. In it, each `fail-*` is a domain to which the rule objects, each `pass-*` a near miss. Of a case it says:

    base:       the domain that it is made of, base-NAME.xml with an upstream machine type; x86_64 if left out
    change:     texts in it, which occur once, and what replaces them
    transition: instead of a domain, the transition DIRECTORY/NAME of the cases for RHEL 8; of what is in `change`, all
                is replaced in its second half, of what is in `both`, in both
    host:       facts of the host, where they are not those of HOSTS; `unknown` cannot be read
    findings:   all there are, as {status, path}; with `rule`, where it is not the rule itself
"""

import pathlib
import re

import profile_cases
import pytest
from lxml import etree
from test_cases import BY_RULE, POLICY, RULES, TODAY, branches, policy_of
from test_generators import CASES as GENERATED
from test_transitions import NUMBERS, SPELLINGS, after, transition
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import Subject, parse_domain
from virtguard.policy import load
from virtguard.policy.compiler import prepare

HERE = pathlib.Path(__file__).resolve().parent
DIRECTORY = HERE.parents[1] / 'data' / 'profiles'
HOSTS = {'sles-15': 'sles-15.5', 'sles-16': 'sles-16.0'}
VERSIONS = {'sles-15': '7.1', 'sles-16': '10.0'}  # of their QEMU
NAMES = sorted(HOSTS)
POLICIES = {name: load.as_if_in_force(str(DIRECTORY / (name + '.yaml'))) for name in NAMES}
BY_ID = {name: {rule.id: rule for rule in POLICIES[name].rules} for name in NAMES}
# What finds the same as on RHEL 8.
SAME = {'guest-os-unknown', 'tcg', 'emulator-unknown', 'qemu-reads-more', 'vcpu-hot-unplug'}
each_profile = pytest.mark.parametrize('profile', NAMES)


def facts(profile, host=None, probe=profile_cases.no_probe):
    return profile_cases.facts(HOSTS[profile], host or {}, probe)


def of_suse(profile, text):
    """A domain with an upstream machine type instead of RHEL 8's."""
    text = re.sub(r'(?<=machine=\')pc-q35-rhel8\.6\.0', 'pc-q35-' + VERSIONS[profile], text)
    return re.sub(r'(?<=machine=\')([a-z0-9-]+)-rhel8\.6\.0', r'\1-' + VERSIONS[profile], text)


def base(profile, name='x86_64'):
    return of_suse(profile, (HERE / ('base-%s.xml' % name)).read_text(encoding='utf-8'))


def judge(profile, text, host=None, policy=None):
    """The findings on a domain, or on a transition by the rules of run time."""
    policy = policy or POLICIES[profile]
    host = host or facts(profile)
    if text.startswith('<transition'):
        subject = Subject('lab', '', etree.fromstring(text.encode('utf-8')))
        findings = evaluate(policy, subject, host, TODAY, policy.rules_at(model.RUNTIME)).findings
    else:
        findings = evaluate(policy, parse_domain(text.encode('utf-8')), host, TODAY).findings
    return sorted((f.rule.id, f.status, f.path) for f in findings)


def rules_in(found):
    return {rule for rule, _, _ in found}


class Case:
    def __init__(self, profile, rule, name, given):
        assert not set(given) - {'base', 'change', 'both', 'transition', 'host', 'findings'}, given
        assert name.startswith(('fail-', 'pass-')), name
        self.id = '%s/%s/%s' % (profile, rule, name)
        self.profile, self.rule, self.given = profile, rule, given
        self.fails = name.startswith('fail-')
        self.expected = sorted((f.get('rule', rule), f['status'], f['path']) for f in given.get('findings', ()))

    def text(self):
        change = self.given.get('change', {})
        if 'transition' in self.given:
            text = transition(self.given['transition'])
            for old, new in self.given.get('both', {}).items():
                assert old in text, old
                text = text.replace(old, new)
            for old, new in change.items():
                text = after(text, old, new)
            return text
        text = base(self.profile, self.given.get('base', 'x86_64'))
        for old, new in change.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        return text

    def judge(self, policy=None):
        return judge(self.profile, self.text(), facts(self.profile, self.given.get('host')), policy)


OWN_CASES = [Case(*case) for case in profile_cases.read_cases(NAMES)]


@pytest.mark.parametrize('case', OWN_CASES, ids=lambda case: case.id)
def test_case_yields_exactly_the_expected_findings(case):
    assert case.judge() == case.expected
    assert case.fails == (case.rule in rules_in(case.expected))


@each_profile
def test_every_rule_has_cases(profile):
    assert set(BY_ID[profile]) >= SAME
    for rule in set(BY_ID[profile]) - SAME:
        kinds = {case.fails for case in OWN_CASES if (case.profile, case.rule) == (profile, rule)}
        assert kinds == {True, False}, rule
    assert {case.rule for case in OWN_CASES if case.profile == profile} == set(BY_ID[profile]) - SAME


@each_profile
def test_every_branch_of_a_match_is_needed(profile):
    """Without it, some case would be judged otherwise."""
    for rule in POLICIES[profile].rules:
        if rule.match and rule.id not in SAME | {'memory-limit'}:
            parts = branches(rule.match)
            cases = [case for case in OWN_CASES if (case.profile, case.rule) == (profile, rule.id)]
            for number in range(len(parts)):
                others = parts[:number] + parts[number + 1 :]
                without = policy_of(rule, ' | '.join(others) or '/%s[false()]' % parts[0].split('/')[1].split('[')[0])
                of_rule = [(case, [f for f in case.expected if f[0] == rule.id]) for case in cases]
                assert any(case.judge(without) != expected for case, expected in of_rule), (rule.id, parts[number])


@each_profile
@pytest.mark.parametrize('id', sorted(SAME))
def test_what_finds_the_same_as_on_rhel_8(profile, id):
    rule = BY_ID[profile][id]
    # Of names of systems, the tests of the other policy may know more: those of this host.
    assert (rule.match, rule.negated, rule.probe, rule.at) == tuple(
        getattr(RULES[id], key) for key in ('match', 'negated', 'probe', 'at')
    )
    for case in BY_RULE[id]:
        text = case.path.read_text(encoding='utf-8')
        answers = case.case.host.answers
        host = facts(profile, probe=lambda probe, subject, answers=answers: answers.get(probe, {}).get(subject))
        found = [(rule, status, path) for rule, status, path in judge(profile, text, host) if rule == id]
        expected = [(id, status, path) for rule, status, _, path in case.expected if rule == id]
        if rule.action == model.WARN:
            expected = [(id, model.WARN, path) for _, _, path in expected]
        assert found == sorted(expected), case.id


def test_what_may_refuse_a_domain():
    """Nothing that only the statements of QEMU's package say, nor what nobody but us says."""
    of_both = {'host-architecture', 'arm-cpu-model', 'tcg', 'emulator-unknown', 'vcpu-hot-unplug'}
    of_16 = {'spice', 'vcpu-hot-plug', *('confidential-guest-' + name for name in CONFIDENTIAL)}
    denied = {name: {id for id, rule in BY_ID[name].items() if rule.action == model.DENY} for name in NAMES}
    assert denied == {'sles-15': of_both, 'sles-16': of_both | of_16}
    for name in NAMES:
        policy = POLICIES[name]
        assert (policy.name, policy.mode, policy.settings()) == (name, POLICY.mode, POLICY.settings())
        assert all(rule.reference.startswith('https://') and rule.action != 'off' for rule in policy.rules)
        assert BY_ID[name]['qemu-reads-more'].waivable


CONFIDENTIAL = 'secure-boot passthrough huge-pages vcpu-limit migration memory'.split()


# --- what ordinary domains are


@each_profile
@pytest.mark.parametrize('arch', ['x86_64', 'aarch64', 's390x'])
def test_bases_are_clean(profile, arch):
    text = base(profile, arch)
    assert judge(profile, text, facts(profile, {'arch': arch})) == []
    compiled = CompiledPolicy(prepare(POLICIES[profile]))
    verdict, candidates = compiled.judge(text.encode('utf-8'), facts(profile, {'arch': arch}), '2026-11-28')
    assert candidates == [] and verdict is not None and verdict.decision == model.ADMIT, 'none of them costs a look'


@each_profile
def test_an_ordinary_domain_of_each_kind_is_clean(profile):
    """What virt-install, YaST and virt-manager give to a domain, though a document calls some of it unsupported."""
    text = base(profile).replace("<controller type='usb' index='0' model='none'/>", ORDINARY)
    text = text.replace("    <memballoon model='none'/>\n", "    <memballoon model='virtio'/>\n")
    loader = "<loader readonly='yes' type='pflash'>/usr/share/qemu/ovmf-x86_64-code.bin</loader>"
    text = text.replace("    <boot dev='hd'/>\n", loader)
    for cpu in ("<cpu mode='host-passthrough' check='none'/>", "<cpu mode='host-model' check='partial'/>"):
        changed = re.sub(r'<cpu .*/>', cpu, text)
        assert ORDINARY in changed and loader in changed and cpu in changed
        for machine in ('q35', 'pc', 'pc-i440fx-' + VERSIONS[profile]):
            of_machine = changed.replace('pc-q35-' + VERSIONS[profile], machine)
            assert judge(profile, of_machine) == [], machine
            assert judge(profile, of_machine.replace("type='virtio' heads", "type='bochs' heads")) == []


ORDINARY = """<controller type='usb' index='0' model='qemu-xhci' ports='15'/>
    <controller type='virtio-serial' index='0'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <sound model='ich9'/><audio id='1' type='none'/>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
    <watchdog model='itco' action='reset'/>"""


@each_profile
def test_domains_as_programs_make_them(profile):
    """Nothing is refused but emulation, another QEMU than the host's, and SPICE where it is gone."""
    spice = {'spice', 'removed-video'} if profile == 'sles-16' else set()
    of_virt_install = 0
    for path, _ in (param.values for param in GENERATED):
        text = path.read_text(encoding='utf-8')
        found = judge(profile, text)
        denied = {rule for rule, status, _ in found if status == model.DENY}
        assert denied <= {'tcg', 'emulator-unknown'} | spice, path
        assert rules_in(found) <= {'guest-os-unknown', 'tcg', 'emulator-unknown'} | spice, path
        assert ('spice' in denied) == (profile == 'sles-16' and "type='spice" in text), path
        if path.parent.name in ('virt-install', 'virt-manager', 'cockpit') and 'libosinfo:os' in text:
            of_virt_install += 1
            assert rules_in(found) <= {'tcg'} | spice, path
    assert of_virt_install >= 6


# --- limits, releases, flags

LIMITS = {'sles-15': 6, 'sles-16': 8}
UNITS = {
    '': 2**10,
    **dict.fromkeys((" unit='b'", " unit='bytes'"), 1),
    **{" unit='%s'" % unit: 1024 ** (number // 2 + 1) for number, unit in enumerate('KiB k MiB M GiB G TiB T'.split())},
    **{" unit='%s'" % unit: 1000 ** (number + 1) for number, unit in enumerate('KB MB GB TB'.split())},
}


@each_profile
@pytest.mark.parametrize('unit', sorted(UNITS))
def test_memory_in_each_unit(profile, unit):
    old = "<memory unit='KiB'>4194304</memory>"
    most = LIMITS[profile] * 2**40 // UNITS[unit]
    for size, expected in ((most, []), (most + 1, [('memory-limit', 'warn', '/domain/memory')])):
        text = base(profile)
        assert old in text
        assert judge(profile, text.replace(old, '<memory%s>%d</memory>' % (unit, size))) == expected, size


@each_profile
def test_memory_beyond_all_limits(profile):
    for unit in ('PiB', 'P', 'PB'):
        text = base(profile).replace("<memory unit='KiB'>4194304<", "<memory unit='%s'>1<" % unit)
        assert rules_in(judge(profile, text)) == {'memory-limit'}


@pytest.mark.parametrize(
    'os, status',
    [
        ('sles-15.3', None),
        ('sles-15.4', 'warn'),
        ('sled-15.5', 'warn'),
        ('opensuse-leap-15.5', 'warn'),
        ('opensuse-leap-15.6', None),
        ('sles-15.7', None),
        ('unknown', 'unknown'),
    ],
)
def test_service_packs_with_statements_on_devices(os, status):
    of_package = [rule for rule in POLICIES['sles-15'].rules if rule.id.startswith('unsupported-')]
    assert len(of_package) == 9
    text = base('sles-15').replace("<memballoon model='none'/>", "<sound model='sb16'/>")
    found = judge('sles-15', text, facts('sles-15', {'os': os}))
    assert found == [('unsupported-sound-device', status, '/domain/devices/sound')] * (status is not None)


NAMED = {'i440fx': '1.4 1.7 2.0 2.3 2.6 2.9 2.11 3.1 4.2 5.2 6.0 6.1', 'q35': '2.6 2.9 2.11 3.1 4.2 5.2 6.0 6.1'}
OTHERS = {
    'i440fx': '1.5 1.6 2.1 2.2 2.4 2.5 2.7 2.8 2.10 2.12 3.0 4.0 4.1 5.0 5.1',
    'q35': '2.4 2.5 2.10 3.0 4.0.1 5.1',
}


@pytest.mark.parametrize('chipset', sorted(NAMED))
def test_machine_types(chipset):
    for versions, expected in ((NAMED[chipset] + ' 6.2 7.1', set()), (OTHERS[chipset], {'unsupported-machine-type'})):
        for version in versions.split():
            text = base('sles-15').replace('pc-q35-7.1', 'pc-%s-%s' % (chipset, version))
            assert rules_in(judge('sles-15', text)) == expected, version


@pytest.mark.parametrize('spelling', SPELLINGS)
@pytest.mark.parametrize('end, flags', [('source', '0x301'), ('destination', '0x201')])
def test_flags_of_migrations(end, flags, spelling):
    xml = transition('multifd-migration/pass-' + end)
    for number in NUMBERS:
        found = judge('sles-16', after(xml, 'flags="%s"' % flags, 'flags="%s"' % (spelling % number)))
        assert rules_in(found) == ({'postcopy-migration'} if number & 0x8000 else set()), spelling % number
