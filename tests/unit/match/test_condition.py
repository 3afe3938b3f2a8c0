# SPDX-License-Identifier: Apache-2.0
"""A condition holds wherever the rule finds something, and hardly anywhere else."""

import pytest
from support.made import policy
from support.paths import CHECKOUT
from virtguard import model, xpath
from virtguard.compiled import CompiledPolicy
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.match.condition import make_condition
from virtguard.match.needs import derive_need
from virtguard.match.program import make_program
from virtguard.policy import load
from virtguard.policy.compiler import prepare
from virtguard.tree import read_tree

PROFILES = [CHECKOUT / 'policy.yaml', *sorted((CHECKOUT / 'data/profiles').glob('*.yaml'))]
DOCUMENTS = sorted((CHECKOUT / 'tests/cases').rglob('*.xml'))
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: True)
DOMAIN = b"""<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>a</name><os><type arch='x86_64'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu'/></disk><disk device='cdrom'/></devices>
  <qemu:commandline><qemu:arg value='-S'/></qemu:commandline></domain>
"""


def rule_of(match, values=None):
    return model.Rule('x', 't', 'deny', 'w', 'r', match=match, values=values)


def holds(condition, document):
    return condition is None or bool(xpath.evaluate(condition, document.elements()[0]))


def test_it_holds_wherever_a_shipped_rule_matches():
    rules = [rule for path in PROFILES for rule in load.as_if_in_force(str(path)).rules_at(model.ADMISSION)]
    different = {(rule.match, rule.values, rule.negated): rule for rule in rules if rule.match is not None}
    conditions = [(rule, make_program(rule.match), make_condition(derive_need(rule))) for rule in different.values()]
    found = kept = ruled_out = 0
    for path in DOCUMENTS[::3]:
        document = read_tree(path.read_bytes())
        if document is None or document.elements()[0].tag != 'domain':
            continue
        for rule, program, condition in conditions:
            selected = xpath.run(program, document.elements()[0])
            if rule.values is not None:
                selected = [node for node in selected if (str(node) in rule.values) != rule.negated]
            is_met = holds(condition, document)
            assert is_met or not selected, '%s, %s' % (rule.id, path)
            found += bool(selected)
            kept += is_met
            ruled_out += not is_met
    assert found > 100
    assert ruled_out > kept


@pytest.mark.parametrize(
    'match, values, is_met',
    [
        ('/domain/devices/disk', None, True),
        ('/domain/devices/hostdev', None, False),
        ("/domain/devices/disk[@device = 'cdrom']", None, True),
        ("/domain/devices/disk[@device = 'floppy']", None, False),
        ("/domain/devices/disk[@device != 'disk']", None, True),
        ("/domain[@type != 'kvm']", None, False),
        ('/domain/devices/disk[not(@type)]', None, True),
        ('/domain[not(@type)]', None, False),
        ('/domain[not(devices)]', None, False),
        ('/domain[not(metadata)]', None, True),
        ("/domain/os/type[. = 'hvm']", None, True),
        ("/domain/os/type[. = 'linux']", None, False),
        ("/domain/os/type[contains(@arch, '86')]", None, True),
        ("/domain/os/type[starts-with(., 'x')]", None, False),
        ('//driver', None, True),
        ('//filesystem', None, False),
        ('/domain/qemu:commandline/qemu:arg', None, True),
        ("/domain/qemu:commandline/qemu:arg[@value = '-T']", None, False),
        ('/domain/qemu:commandline/qemu:arg/arg:device', None, True),
        ('/domain/devices/disk/@device', ('floppy', 'lun'), False),
        ('/domain/devices/disk/@device', ('floppy', 'cdrom'), True),
        ('/domain/devices/hostdev | /domain/devices/tpm', None, False),
        ('/domain/devices/hostdev | /domain/devices[disk]', None, True),
        ('/domain/devices/disk[count(*) > 7]', None, True),
        ("/domain/devices[/ = 'x']", None, True),
        ("/domain/devices[contains(/, 'x')]", None, True),
        ('/domain/devices[not(/)]', None, True),
        ("/domain/hostdev[starts-with(/, 'x')]", None, False),
    ],
)
def test_what_it_rules_out(match, values, is_met):
    assert holds(make_condition(derive_need(rule_of(match, values))), read_tree(DOMAIN)) == is_met


# Only lxml knows namespace nodes.
LEFT_TO_LXML = "/domain/devices/hostdev[@mode = 'subsystem']/namespace::*[name() = 'xml']"


@pytest.mark.parametrize('inside, goes', [(b'', False), (b"<hostdev mode='subsystem'/>", True)])
def test_only_domains_that_it_could_match_go_to_the_worker(inside, goes):
    one, other = rule_of(LEFT_TO_LXML), rule_of('/domain/devices/disk[@type]')
    assert make_program(LEFT_TO_LXML) is None
    compiled = CompiledPolicy(prepare(policy(one, other)))
    xml = DOMAIN.replace(b'<devices>', b'<devices>' + inside)
    verdict, numbers = compiled.judge(xml, HOST, '2026-11-28')
    assert numbers == ([0, 1] if goes else [])
    if not goes:
        expected = evaluate(policy(one, other), parse_domain(xml), HOST, '2026-11-28')
        assert [finding.path for finding in verdict.findings] == [finding.path for finding in expected.findings] != []
