# SPDX-License-Identifier: Apache-2.0
"""How a verdict comes about: statuses, host conditions, values, probes."""

import pytest
from lxml import etree
from support.made import policy, rule, waiver
from virtguard import model
from virtguard.findings import pci_address, scsi_address
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain

from .judged import ARG, TODAY, XML, command_line, facts, finding, no_probe, statuses, verdict

# Matches


@pytest.mark.parametrize(
    'match, places',
    [
        ('/domain', [('/domain', 1)]),
        ('/domain/devices/disk', [('/domain/devices/disk[1]', 5), ('/domain/devices/disk[2]', 8)]),
        ('/domain/@type', [('/domain/@type', 1)]),
        ('//target/@dev', [('/domain/devices/disk[1]/target/@dev', 6), ('/domain/devices/disk[2]/target/@dev', 10)]),
        ("/domain/devices/disk[@type = 'lun']", []),
        ('/domain/name/text()', [('/domain/name', 2)]),
        # A condition on the domain as a whole.
        ('count(/domain/devices/disk) = 2', [('/domain', 1)]),
        ('not(/domain/pm)', [('/domain', 1)]),
        ('not(/domain/devices)', []),
    ],
)
def test_places(match, places):
    assert [(f.path, f.line) for f in verdict(rule(match)).findings] == places


def test_a_finding_says_which_rule_and_what():
    found = finding('/domain/@type', id='two')
    assert (found.rule.id, found.status, found.message) == ('two', 'deny', 'title of two')


@pytest.mark.parametrize('action, expected', [('deny', ['deny']), ('warn', ['warn']), ('off', [])])
def test_actions(action, expected):
    assert statuses(rule('/domain', action=action)) == expected


def test_rules_of_running_domains_are_not_judged_at_admission():
    assert statuses(rule('/domain', at=model.RUNTIME)) == []


def test_rules_that_are_off_ask_nothing():
    assert statuses(rule('/domain/name', action='off', probe='infiniband-vf')) == []
    assert statuses(rule('/domain/devices/disk[count("x") = 1]', action='off')) == []


def test_findings_come_in_the_order_of_the_policy():
    found = verdict(rule('//target', id='b'), rule('/domain', id='a')).findings
    assert [f.rule.id for f in found] == ['b', 'b', 'a']


def test_only_some_rules():
    rules = rule('/domain', id='a'), rule('/domain', id='b')
    result = evaluate(policy(*rules), parse_domain((XML % '').encode()), facts(), TODAY, rules[1:])
    assert [f.rule.id for f in result.findings] == ['b']


# Conditions on the host


def condition(fact, *values, negated=False):
    return model.HostCondition(fact, values, negated)


@pytest.mark.parametrize(
    'host, conditions, expected',
    [
        (facts(), [condition('arch', 'x86_64')], 'deny'),
        (facts(), [condition('arch', 's390x', 'x86_64')], 'deny'),
        (facts(), [condition('arch', 's390x')], None),
        (facts(), [condition('arch', 'x86')], None),
        (facts(), [condition('arch', 's390x', negated=True)], 'deny'),
        (facts(), [condition('arch', 's390x', 'x86_64', negated=True)], None),
        (facts(container='podman'), [condition('container', 'none', negated=True)], 'deny'),
        (facts(container='none'), [condition('container', 'none', negated=True)], None),
        # What cannot be read is neither.
        (facts(arch=None), [condition('arch', 'x86_64')], 'unknown'),
        (facts(arch=None), [condition('arch', 'x86_64', negated=True)], 'unknown'),
        (facts(container=None), [condition('container', 'none', negated=True)], 'unknown'),
        # All of several; one that is not met settles it.
        (facts(), [condition('arch', 'x86_64'), condition('os', 'rhel')], 'deny'),
        (facts(), [condition('arch', 'x86_64'), condition('os', 'debian')], None),
        (facts(os=None), [condition('arch', 'x86_64'), condition('os', 'rhel')], 'unknown'),
        (facts(os=None), [condition('os', 'rhel'), condition('arch', 'x86_64')], 'unknown'),
        (facts(os=None), [condition('os', 'rhel'), condition('arch', 's390x')], None),
        (facts(os=None), [condition('arch', 's390x'), condition('os', 'rhel')], None),
    ],
)
@pytest.mark.parametrize('match', [None, '/domain/name'], ids=['host alone', 'with match'])
def test_host_conditions(host, conditions, expected, match):
    assert statuses(rule(match, host=tuple(conditions)), host=host) == ([expected] if expected else [])


@pytest.mark.parametrize(
    'os, accepted, met',
    [
        ('rhel-8.10', 'rhel', True),
        ('rhel-8.10', 'rhel-8', True),
        ('rhel-8.10', 'rhel-8.10', True),
        ('rhel-8.10', 'rhel-8.1', False),
        ('rhel-8.10', 'rhel-9', False),
        ('rhel-80', 'rhel-8', False),
        ('rhel-8', 'rhel-8.10', False),
        ('rhelish-8', 'rhel', False),
        ('opensuse-leap-15.6', 'opensuse-leap', True),
        ('arch', 'arch', True),
    ],
)
def test_os_is_met_by_its_beginning(os, accepted, met):
    assert statuses(rule(host=(condition('os', accepted),)), host=facts(os=os)) == (['deny'] if met else [])
    assert statuses(rule(host=(condition('os', accepted, negated=True),)), host=facts(os=os)) == (
        [] if met else ['deny']
    )


def test_only_os_is_met_by_its_beginning():
    assert statuses(rule(host=(condition('container', 'lxc'),)), host=facts(container='lxc-libvirt')) == []


def test_a_host_finding_shows_the_host():
    host = facts(arch='aarch64', os=None)
    (found,) = verdict(rule(host=(condition('arch', 'aarch64'),)), host=host).findings
    assert (found.path, found.line, found.evidence) == ('/domain', 0, 'host arch is aarch64')
    (found,) = verdict(rule(host=(condition('os', 'rhel'),)), host=host).findings
    assert found.message == 'this host cannot tell: host os is unknown'


def test_a_host_finding_names_what_shows_it():
    host = model.HostFacts('x86_64', 'docker', None, no_probe, {'container': '/.dockerenv is there'})
    (found,) = verdict(
        rule(host=(condition('container', 'none', negated=True), condition('arch', 'x86_64'))), host=host
    ).findings
    assert found.evidence == 'host container is docker (/.dockerenv is there), host arch is x86_64'


@pytest.mark.parametrize('action', ['deny', 'warn'])
def test_unknown_is_unknown_whatever_the_action(action):
    assert statuses(rule(host=(condition('os', 'rhel'),), action=action), host=facts(os=None)) == ['unknown']


# Values


@pytest.mark.parametrize(
    'match, values, count',
    [
        ('/domain/@type', ('kvm',), 1),
        ('/domain/@type', ('qemu', 'kvm'), 1),
        ('/domain/@type', ('qemu',), 0),
        ('/domain/@type', ('KVM',), 0),
        ('/domain/@type', ('kv',), 0),
        ('/domain/name', ('payroll',), 1),
        ('/domain/name/text()', ('payroll',), 1),
        ('//target/@dev', ('vdb', 'vda', 'vdc'), 2),
        ('/domain/devices/disk', ('',), 0),
    ],
)
def test_values(match, values, count):
    assert len(statuses(rule(match, values=values))) == count


# Probes


@pytest.mark.parametrize(
    'answer, arch, expected',
    [
        (True, 'x86_64', ['deny']),
        (False, 'x86_64', []),
        (None, 'x86_64', ['unknown']),
        (True, None, ['unknown']),
        (False, None, []),
        (None, None, ['unknown']),
    ],
)
def test_probes_and_host_conditions(answer, arch, expected):
    probed = rule('//source/@dev', probe='multipath-device', host=(condition('arch', 'x86_64'),))
    host = facts(arch=arch, probe=lambda name, subject: answer)
    assert statuses(probed, host=host) == expected


def test_probes_are_asked_about_every_node():
    asked = []

    def probe(name, subject):
        asked.append((name, subject))
        return subject == 'vdb'

    probed = rule('//target/@dev', probe='multipath-device')
    found = verdict(probed, host=facts(probe=probe)).findings
    assert asked == [('multipath-device', 'vda'), ('multipath-device', 'vdb')]
    assert [f.path for f in found] == ['/domain/devices/disk[2]/target/@dev']


def test_probes_are_asked_about_what_values_leave():
    asked = []
    probed = rule('//target/@dev', probe='multipath-device', values=('vdb',))
    verdict(probed, host=facts(probe=lambda name, subject: asked.append(subject)))
    assert asked == ['vdb']


def test_probes_are_not_asked_where_the_host_does_not_meet_the_conditions():
    probed = rule('//target/@dev', probe='multipath-device', host=(condition('arch', 's390x'),))
    assert statuses(probed) == []


def test_an_unanswered_probe_says_what_was_asked():
    probed = rule('//source/@dev', probe='multipath-device')
    (found,) = verdict(probed, host=facts(probe=lambda name, subject: None)).findings
    assert found.message == "this host cannot tell: probe multipath-device of '/dev/sdb'"


# Many findings

TPM = '<tpm/>'


def many(number, of=TPM):
    return XML % (of * number)


@pytest.mark.parametrize('number, shown, more', [(1, 1, 0), (15, 15, 0), (16, 16, 0), (17, 16, 1), (1500, 16, 1484)])
def test_findings_of_a_rule_are_counted_beyond_a_limit(number, shown, more):
    result = verdict(rule('//tpm'), rule('//disk', id='other'), xml=many(number))
    found = [f for f in result.findings if f.rule.id == 'one']
    assert [f.path.rpartition('/')[2] for f in found] == [
        'tpm[%d]' % n if number > 1 else 'tpm' for n in range(1, shown + 1)
    ]
    assert [f.more for f in found] == [0] * (shown - 1) + [more]
    assert [f.more for f in result.findings if f.rule.id == 'other'] == [0, 0]
    assert result.more() == ({'one': more} if more else {})


def test_without_a_limit_every_finding_is_made():
    subject = parse_domain(many(500).encode())
    found = evaluate(policy(rule('//tpm')), subject, facts(), TODAY, limit=None).findings
    assert (len(found), {f.more for f in found}) == (500, {0})


def test_only_distinct_places_count():
    arguments = command_line(*[ARG % '-device', ARG % 'virtio-net-pci,id=a'] * 40)
    match = '//arg:device | //qemu:arg[arg:device] | //arg:device/@* | //qemu:arg[arg:device]/@value'
    result = verdict(rule(match), xml=arguments)
    assert sum(1 + f.more for f in result.findings) == 80  # each argument, and its value
    assert len({f.path for f in result.findings}) == 16


def test_what_denies_is_not_lost_behind_what_the_host_cannot_tell():
    answers = {'b%d' % number: None for number in range(100)}
    disks = ''.join("<disk><source dev='b%d'/></disk>" % number for number in range(100))
    disks += "<disk><source dev='last'/></disk>"
    probed = rule("//source[starts-with(@dev, 'b') or @dev = 'last']/@dev", probe='multipath-device')
    result = verdict(probed, xml=XML % disks, host=facts(probe=lambda name, subject: answers.get(subject, True)))
    assert result.decision == 'deny'
    assert [f.status for f in result.findings] == ['unknown'] * 16 + ['deny']
    assert [f.more for f in result.findings if f.more] == [84]
    assert result.findings[-1].path == '/domain/devices/disk[103]/source/@dev'


def test_a_probe_is_asked_once_about_the_same_and_no_more_when_enough_is_known():
    asked = []

    def probe(name, subject):
        asked.append(subject)
        return True

    same = "<disk><source dev='/dev/same'/></disk>" * 1000
    result = verdict(rule('//source/@dev', probe='multipath-device'), xml=XML % same, host=facts(probe=probe))
    assert asked == ['/dev/sdb', '/dev/same']
    assert sum(1 + f.more for f in result.findings) == 1001
    del asked[:]
    others = ''.join("<disk><source dev='/dev/%d'/></disk>" % number for number in range(1000))
    result = verdict(rule('//source/@dev', probe='multipath-device'), xml=XML % others, host=facts(probe=probe))
    assert 16 < len(asked) < 500
    assert sum(1 + f.more for f in result.findings) == 1001


def test_a_probe_is_asked_until_it_finds_something():
    others = ''.join("<disk><source dev='/dev/%d'/></disk>" % number for number in range(2000))
    host = facts(probe=lambda name, subject: subject == '/dev/1999')
    (found,) = verdict(rule('//source/@dev', probe='multipath-device'), xml=XML % others, host=host).findings
    assert (found.status, found.more) == ('deny', 0)


def test_waived_findings_keep_their_number():
    permission = waiver(('one',), ('payroll',), '2026-12-01')
    waived = policy(rule('//tpm'), waivers=[permission])
    result = evaluate(waived, parse_domain(many(100).encode()), facts(), TODAY)
    assert (result.decision, result.more(), {f.status for f in result.findings}) == ('admit', {'one': 84}, {'waived'})


# PCI addresses


@pytest.mark.parametrize(
    'attributes, expected',
    [
        ("domain='0x0000' bus='0x03' slot='0x10' function='0x1'", '0000:03:10.1'),
        ("domain='0' bus='3' slot='16' function='1'", '0000:03:10.1'),
        # A leading zero is octal to libvirt (strtoul, base 0).
        ("domain='00' bus='010' slot='020' function='01'", '0000:08:10.1'),
        ("domain='0X10000' bus='0xFF' slot='0X1F' function='7'", '10000:ff:1f.7'),
        ("bus='0x03' slot='0x10' function='0x1'", '0000:03:10.1'),
        ("bus='0x03'", '0000:03:00.0'),
        ("domain=' 0x0 ' bus='3' slot='0' function='0'", '0000:03:00.0'),
        # What libvirt does not take.
        ("bus='08' slot='0' function='0'", ''),
        ("bus='three' slot='0' function='0'", ''),
        ("bus='' slot='0' function='0'", ''),
        ("bus='0x' slot='0' function='0'", ''),
    ],
)
def test_pci_addresses(attributes, expected):
    assert pci_address(etree.fromstring('<address %s/>' % attributes)) == expected


@pytest.mark.parametrize(
    'address, subject',
    [
        ("<address domain='0' bus='3' slot='16' function='1'/>", '0000:03:10.1'),
        ("<address type='pci' domain='0' bus='3' slot='16' function='1'/>", '0000:03:10.1'),
        ("<address bus='many'/>", ''),
        ("<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>", ''),
    ],
)
def test_probes_of_addresses(address, subject):
    asked = []
    probed = rule('//hostdev/source/address', probe='infiniband-vf')
    xml = XML % '<hostdev><source>%s</source></hostdev>' % address
    verdict(probed, xml=xml, host=facts(probe=lambda name, subject: asked.append(subject)))
    assert asked == [subject]


@pytest.mark.parametrize(
    'source, expected',
    [
        ("<adapter name='scsi_host2'/><address bus='0' target='16' unit='1'/>", 'scsi:2:0:16:1'),
        ("<adapter name='scsi_host12'/><address bus='0x1' target='020' unit='3'/>", 'scsi:12:1:16:3'),
        ("<adapter name='scsi_host2'/><address/>", 'scsi:2:0:0:0'),
        ("<adapter name='scsi_host2'/>", ''),
        ("<adapter name='scsi_host'/><address bus='0'/>", ''),
        ("<adapter name='scsi_host2'/><address bus='x'/>", ''),
        ("<adapter name='fc0'/><address bus='0' target='0' unit='0'/>", ''),
        ("<adapter/><address bus='0' target='0' unit='0'/>", ''),
        ("<address bus='0' target='0' unit='0'/>", ''),
    ],
)
def test_scsi_addresses(source, expected):
    assert scsi_address(etree.fromstring('<source>%s</source>' % source)) == expected


# Rules that fail


FAILING = '/domain/devices/disk[count(string(@type)) = 1]'


def test_a_rule_that_fails_is_an_error_and_not_a_pass():
    (found,) = verdict(rule(FAILING)).findings
    assert (found.status, found.path, found.rule.id) == ('error', '/domain', 'one')
    assert found.message.startswith('the rule could not be evaluated: ')


def test_a_rule_that_fails_does_not_stop_the_others():
    found = verdict(rule(FAILING, id='a'), rule('/domain', id='b'), rule(FAILING, id='c', action='warn')).findings
    assert [(f.rule.id, f.status) for f in found] == [('a', 'error'), ('b', 'deny'), ('c', 'error')]


# Verdicts


@pytest.mark.parametrize(
    'rules, decision, audited',
    [
        ([], 'admit', 'admit'),
        ([rule('/domain/none')], 'admit', 'admit'),
        ([rule('/domain', action='warn')], 'admit', 'admit'),
        ([rule('/domain', action='warn'), rule('/domain')], 'deny', 'would-deny'),
        ([rule(FAILING)], 'error', 'error'),
        ([rule(FAILING), rule('/domain')], 'deny', 'would-deny'),
        ([rule(FAILING), rule('/domain', action='warn')], 'error', 'error'),
        ([rule(host=(condition('os', 'x'),))], 'admit', 'admit'),
    ],
)
def test_decisions(rules, decision, audited):
    host = facts(os=None)
    assert verdict(*rules, host=host).decision == decision
    assert verdict(*rules, host=host).outcome == decision
    assert verdict(*rules, host=host, mode='audit').decision == decision
    assert verdict(*rules, host=host, mode='audit').outcome == audited


def test_a_verdict_names_domain_policy_and_rules():
    result = verdict(rule('//target', id='b'), rule('/domain', id='a'), rule('//source', id='c', action='warn'))
    assert (result.domain_name, result.uuid) == ('payroll', '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11')
    assert result.policy.name == 'example'
    assert result.rule_ids('deny') == ('b', 'a')
    assert result.rule_ids('deny', 'warn') == ('b', 'a', 'c')
    assert result.rule_ids('error') == ()
