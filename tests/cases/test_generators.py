# SPDX-License-Identifier: Apache-2.0
"""Domains as the programs write them by which people make virtual machines: one directory per program.

They are in our own words, after the templates of these programs. What the policy finds there is known to the last
warning, so that nothing is refused because of how a program writes what the vendor supports.
"""

import pathlib

import pytest
from test_cases import POLICY, TODAY
from virtguard import model
from virtguard.commands.policies import expectations
from virtguard.compiled import CompiledPolicy
from virtguard.judging.judge import Judge
from virtguard.policy import load
from virtguard.policy.compiler import prepare
from virtguard.policy.installation import profiles

HERE = pathlib.Path(__file__).resolve().parent / 'generators'


def read_cases():
    for file in sorted(HERE.glob('*/expected.yaml')):
        documents = {path.name for path in file.parent.glob('*.xml')}
        found = expectations.load_cases(file.read_bytes(), str(file), documents)
        assert {case.name for case in found} == documents, file.parent
        for case in found:
            yield pytest.param(
                file.parent / case.name, case, id='%s/%s' % (file.parent.name, case.name[: -len('.xml')])
            )


CASES = list(read_cases())


@pytest.mark.parametrize('path, case', CASES)
def test_findings(path, case):
    verdict = expectations.judge_case(case, path.read_bytes(), POLICY, TODAY)
    assert expectations.compare(case.expected, verdict.findings) == ([], [])
    assert expectations.unasked(case) == []
    found = Judge(POLICY, case.host, TODAY).judge(path.read_bytes())
    assert [(f.rule.id, f.path) for f in found.findings] == [(f.rule.id, f.path) for f in verdict.findings]


def test_nothing_but_findings_takes_long():
    """What nothing is found in needs no library: the hook admits it in a fifth of the time."""
    compiled = CompiledPolicy(prepare(POLICY))
    clean = [(path, case) for path, case in (param.values for param in CASES) if not case.expected]
    assert len(clean) > 8
    slow = {}
    for path, case in clean:
        verdict, candidates = compiled.judge(path.read_bytes(), case.host, '2026-11-28')
        if verdict is None:
            slow[path.relative_to(HERE)] = [POLICY.rules_at(model.ADMISSION)[number].id for number in candidates]
    # The one emulator of an unusual name.
    assert slow == {pathlib.Path('virt-install/on-ubuntu-14.04.xml'): ['emulator-unknown']}


def test_what_they_are_refused_for():
    """What is refused is what the vendor's list names, or what its user has added by hand."""
    reasons = {}
    for path, case in (param.values for param in CASES):
        denied = {expected.rule for expected in case.expected if expected.status == model.DENY}
        reasons.setdefault(path.parent.name, []).append(denied)
    assert len(reasons) >= 10
    for program, of_program in reasons.items():
        assert set() in of_program, '%s makes nothing that is admitted' % program


# What a list of another release refuses more than that for RHEL 8 does: devices that are gone there.
MORE = {
    'rhel-9': {
        'cockpit': {'spice'},
        'gnome-boxes': {'spice'},
        'rhv': {'floppy-drive', 'qxl-video', 'spice'},
        'terraform-provider-libvirt': {'spice'},
        'vagrant-libvirt': {'cirrus-video'},
        'virt-manager': {'spice'},
        'virt-v2v': {'qxl-video'},
    },
    'rhel-10': {
        'cockpit': {'spice'},
        'gnome-boxes': {'spice'},
        'kubevirt': {'machine-type-removed'},
        'nova': {'machine-type-removed'},
        'rhv': {'floppy-drive', 'machine-type-removed', 'qxl-video', 'spice'},
        'terraform-provider-libvirt': {'spice'},
        'vagrant-libvirt': {'removed-video'},
        'virt-manager': {'spice'},
        'virt-v2v': {'qxl-video'},
    },
}
# Domains as virt-install defines them on such a host, and the warnings that they get.
OF_ITS_HOST = {
    'rhel-9': {'defined-with-uefi.xml': [], 'on-64-bit-arm.xml': [], 'on-ibm-z.xml': ['ibm-z-boot-device']},
    'rhel-10': {'defined-with-uefi.xml': [], 'on-64-bit-arm.xml': [], 'on-ibm-z.xml': ['ibm-z-boot-device']},
}


@pytest.mark.parametrize('name', sorted(MORE))
def test_what_another_release_refuses_more(name):
    policy = load.as_if_in_force(profiles()[name])
    more = {}
    for path, case in (param.values for param in CASES):
        xml = path.read_bytes()
        if name == 'rhel-10':
            xml = xml.replace(b'pc-q35-rhel9.4.0', b'pc-q35-rhel10.0.0')
        findings = expectations.judge_case(case, xml, policy, TODAY).findings
        denied = {finding.rule.id for finding in findings if finding.status == model.DENY}
        on_rhel_8 = {expected.rule for expected in case.expected if expected.status == model.DENY}
        more.setdefault(path.parent.name, set()).update(denied - on_rhel_8)
        if path.name in OF_ITS_HOST[name]:
            assert [finding.rule.id for finding in findings] == OF_ITS_HOST[name][path.name], path
    assert {program: rules for program, rules in more.items() if rules} == MORE[name]
