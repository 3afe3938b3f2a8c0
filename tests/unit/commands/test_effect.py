# SPDX-License-Identifier: Apache-2.0
"""What a change of the policy does to the domains of a host."""

import pytest
from support.domain import clean_domain
from support.policies import load_policy
from virtguard.commands.policies import effect
from virtguard.policy.installation import installed_below

RULE = '- {id: %s, title: t, action: %s, match: %s, why: w, remedy: r}\n'
TPM, DISK = '/domain/devices/tpm', '/domain/devices/disk'
DEVICES = {'plain': '', 'tpm': '<tpm/>\n', 'disk': '<disk/>\n', 'both': '<tpm/><disk/>\n'}


def policy(*rules, mode='enforce', more=''):
    text = 'policy: p\nmode: %s\nrules:\n%s%s' % (mode, ''.join(RULE % rule for rule in rules), more)
    return load_policy(text.encode(), 'p.yaml')


@pytest.fixture
def host(tmp_path):
    installation = installed_below(str(tmp_path))
    domains = tmp_path / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    for name, devices in DEVICES.items():
        (domains / (name + '.xml')).write_text(clean_domain(name, devices=devices))
    return installation


def kinds(found, installation):
    """What becomes of which domain."""
    return {
        (kind, text[len(installation.domains) + 1 :].partition('.xml:')[0])
        for kind, texts in found.texts.items()
        for text in texts
    }


def test_the_same_policy_changes_nothing(host):
    same = policy(('tpm', 'deny', TPM))
    assert str(effect.find_effect(same, same, host)) == 'The verdict on 4 domains of this host stays as it is.\n'


OLD = (('tpm', 'deny', TPM), ('disk', 'warn', DISK))
CHANGES = {
    'a rule denies': ((('disk', 'deny', DISK),), {('refused', 'disk'), ('other', 'both')}),
    'a rule only warns': ((('tpm', 'warn', TPM),), {('permitted', 'tpm'), ('permitted', 'both')}),
    'a new rule warns': ((('new', 'warn', '/domain/name'),), {('warned', name) for name in DEVICES}),
    'a warning goes': ((('disk', '"off"', DISK),), {('other', 'disk'), ('other', 'both')}),
}


@pytest.mark.parametrize('change', sorted(CHANGES))
def test_the_effect_of_a_change_on_a_domain(host, change):
    rules, expected = CHANGES[change]
    new = {rule[0]: rule for rule in (*OLD, *rules)}
    found = effect.find_effect(policy(*OLD), policy(*new.values()), host)
    assert kinds(found, host) == expected
    assert (found.judged, found.missed) == (4, [])


def test_another_mode(host):
    enforce, audit = policy(*OLD), policy(*OLD, mode='audit')
    assert kinds(effect.find_effect(enforce, audit, host), host) == {('permitted', 'tpm'), ('permitted', 'both')}
    assert kinds(effect.find_effect(audit, enforce, host), host) == {('refused', 'tpm'), ('refused', 'both')}
    more = policy(('tpm', 'deny', TPM), ('disk', 'deny', DISK), mode='audit')
    found = effect.find_effect(audit, more, host)
    assert kinds(found, host) == {('refused later', 'disk'), ('other', 'both')}
    said = str(found).splitlines()
    assert said[0] == 'These domains would be refused in mode enforce:'
    assert said[-1] == '4 domains: 1 refused in mode enforce, 1 otherwise changed'
    assert str(effect.find_effect(enforce, audit, host)).startswith('mode: enforce -> audit\n')


def test_each_domain_is_told_with_its_cause(host):
    (text,) = effect.find_effect(policy(*OLD), policy(OLD[0], ('disk', 'deny', DISK)), host).texts['refused']
    assert text.splitlines()[0].endswith("/disk.xml: admit -> deny 'disk'")
    assert '[disk]' in text and text.endswith('    action: p.yaml:5\n')


def test_a_policy_that_was_broken_judged_nothing(host):
    found = effect.find_effect(None, policy(*OLD), host)
    assert kinds(found, host) == {('refused', 'tpm'), ('refused', 'both'), ('warned', 'disk')}
    assert str(found).endswith('4 domains: 2 refused, 1 with a new warning\n')


def test_what_cannot_be_judged_is_told(host, tmp_path):
    (tmp_path / 'etc/libvirt/qemu/broken.xml').write_text('<domain><name>broken')
    found = effect.find_effect(policy(*OLD), policy(*OLD), host)
    assert [line.split(': ')[:2] for line in found.missed] == [[host.domains + '/broken.xml:1', 'error']]
    assert found.judged == 4 and 'This could not be judged:\n' in str(found)


def test_many_domains_leave_room_for_the_rest(host, tmp_path):
    for number in range(50):
        (tmp_path / ('etc/libvirt/qemu/many-%d.xml' % number)).write_text(
            clean_domain('many-%d' % number, devices='<disk/>\n')
        )
    said = str(effect.find_effect(policy(*OLD), policy(OLD[0], ('disk', 'deny', DISK)), host)).splitlines()
    assert 'and 31 more' in said
    assert said[-1] == '54 domains: 51 refused, 1 otherwise changed'


def test_a_host_without_domains(tmp_path):
    installation = installed_below(str(tmp_path))
    found = effect.find_effect(policy(*OLD), policy(*OLD, more='deadline: 7\n'), installation)
    assert str(found) == 'deadline: 5 -> 7\nNo domain is defined on this host.\n'
    waiver = 'waivers: [{rules: [tpm], domains: [a], reason: r, approved-by: a, expires: 2027-01-01}]\n'
    found = effect.find_effect(policy(*OLD), policy(*OLD, more=waiver), installation)
    assert found.settings == ['waivers: 0 -> 1']
