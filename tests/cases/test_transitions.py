# SPDX-License-Identifier: Apache-2.0
"""What the rules of run time make of transitions that differ in one thing from those of their directories.

Those are recorded: what libvirt 9.0 wrote on two hosts that migrate a domain between each other, for every operation
that a rule is about and for what is next to it. Some are not whole truths: in live-snapshot/fail-job-not-seen the
states between two others are left out; the size in memory-hot-unplug/pass-balloon was edited, because the guest had no
balloon driver; and memory-hot-unplug/fail-nvdimm, virtio-mem-shrink/fail-unplug and block-copy/fail-ready are edited
from those beside them.
"""

import pathlib
import re

import pytest
from test_cases import BY_RULE, CASES, NO_HOST, POLICY, RULES, TODAY
from virtguard import model
from virtguard.commands.policies import expectations

HERE = pathlib.Path(__file__).resolve().parent
RUNTIME = [rule.id for rule in POLICY.rules if rule.at == model.RUNTIME]


def transition(name):
    return (HERE / (name + '.xml')).read_text(encoding='utf-8')


def after(xml, old, new):
    """Change the second half."""
    before, half = xml.split('<after>')
    assert old in half, old
    return '%s<after>%s' % (before, half.replace(old, new))


def judge(xml):
    return expectations.judge_case(expectations.Case('', NO_HOST, '', ()), xml.encode('utf-8'), POLICY, TODAY)


def found(xml):
    return sorted({finding.rule.id for finding in judge(xml).findings})


# Flags of jobs: for every bit that a rule asks for, what else may be set, and how the number may be written.

SNAPSHOT_BITS, REDEFINE = 0x110, 0x1
NUMBERS = sorted(
    {0, REDEFINE, 0xF, 0xFF, 0xFFFFFFFFFFFFFFFF}
    | {1 << bit for bit in range(64)}
    | {(1 << bit) - 1 for bit in range(64)}
    | {0xFFFFFF ^ 1 << bit for bit in range(24)}
    | {REDEFINE | 1 << bit for bit in range(12)}
)
SPELLINGS = ['0x%x', '0x%X', '0X%x', '0x%08x', '%d']


def flagged(name, flags, number, spelling):
    return found(after(transition(name), 'flags="%s"' % flags, 'flags="%s"' % (spelling % number)))


@pytest.mark.parametrize('spelling', SPELLINGS)
@pytest.mark.parametrize('end, flags', [('source', '0x301'), ('destination', '0x201')])
def test_flags_of_migrations(end, flags, spelling):
    for number in NUMBERS:
        bits = (('multifd-migration', 0x20000), ('storage-live-migration', 0xC0))
        expected = [rule for rule, mask in bits if number & mask]
        assert flagged('multifd-migration/pass-' + end, flags, number, spelling) == expected, spelling % number


@pytest.mark.parametrize('spelling', SPELLINGS)
def test_flags_of_snapshots(spelling):
    for number in NUMBERS:
        expected = ['live-snapshot'] * bool(number & SNAPSHOT_BITS and not number & REDEFINE)
        assert flagged('live-snapshot/fail-disk-only', '0x10', number, spelling) == expected, spelling % number


@pytest.mark.parametrize('job', ['save', 'dump', 'start', 'backup', 'none', 'migration'])
def test_flags_mean_something_else_in_other_jobs(job):
    for name in ('live-snapshot/fail-disk-only', 'multifd-migration/fail-source'):
        xml = re.sub(
            '(<job type="none" async=)"[^"]*"( [^>]*flags=)"[^"]*"', r'\1"%s"\2"0xffffff"' % job, transition(name)
        )
        assert found(xml) == []


@pytest.mark.parametrize('flags', ['', '0x', 'x', '-', 'none', 'ffffff', '0xffffffg', '-1', '1e9'])
def test_flags_that_are_not_a_number(flags):
    for name in ('live-snapshot/fail-disk-only', 'multifd-migration/fail-source'):
        xml = re.sub(' flags="[^"]*"', ' flags="%s"' % flags, transition(name))
        assert found(xml) == []


# Disks and memory devices


@pytest.mark.parametrize('attribute', ['file', 'dev', 'name'])
def test_overlays_over_any_kind_of_disk(attribute):
    xml = re.sub(
        '<source file=("[^"]*/lab[^"]*")', r'<source %s=\1' % attribute, transition('live-snapshot/fail-job-not-seen')
    )
    assert found(xml) == ['live-snapshot']


def test_an_overlay_that_was_there_before_is_not_found():
    before, half = transition('live-snapshot/fail-job-not-seen').split('<after>')
    assert found('<transition><before>%s<after>%s' % (half.split('</after>')[0] + '</before>', half)) == []


def test_memory_that_shrinks_to_the_size_of_another():
    xml = after(transition('virtio-mem-shrink/fail-shrink'), '>81920</requested>', '>65536</requested>')
    paths = [finding.path for finding in judge(xml).findings]
    assert paths == ['/transition/after/domstatus/domain/devices/memory[2]/target']


def test_memory_that_shrinks_while_another_one_grows():
    """By as much: the domain has the same memory as before."""
    xml = transition('virtio-mem-shrink/fail-shrink')
    before, half = xml.split('<after>')
    assert '>81920</requested>' in half and '>65536</requested>' in half and '>98304</requested>' in before
    half = half.replace('>65536</requested>', '>98304</requested>').replace('>81920</requested>', '>65536</requested>')
    paths = [finding.path for finding in judge('%s<after>%s' % (before, half)).findings]
    assert paths == ['/transition/after/domstatus/domain/devices/memory[2]/target']


def test_memory_devices_end_with_the_domain():
    """Not those that were plugged out: the domain was shut down."""
    xml = transition('memory-hot-unplug/fail-dimm')
    assert found(xml[: xml.index('<after>')] + '<after/></transition>') == []


# Every rule


@pytest.mark.parametrize('rule', RUNTIME)
def test_nothing_is_found_in_what_a_domain_only_speaks_of(rule):
    outer = transition('live-snapshot/pass-pause')
    for case in BY_RULE[rule]:
        inner = case.path.read_text(encoding='utf-8')
        assert found(outer.replace('<metadata>', '<metadata><x xmlns="urn:x">%s</x>' % inner)) == []
        assert found(outer.replace('</metadata>', '%s</metadata>' % inner)) == []


def test_only_what_lasts_is_found_at_first_sight():
    """Of changes nothing can be said before there are two states."""
    for case in CASES:
        if RULES[case.rule].at == model.RUNTIME and case.fails:
            xml = case.path.read_text(encoding='utf-8')
            rules = found(xml[: xml.index('<before')] + '<before/>' + xml[xml.index('<after') :])
            of_two_states = ('vcpu-hot-unplug', 'memory-hot-unplug', 'virtio-mem-shrink')
            assert (case.rule in rules) != (case.rule in of_two_states), case.id
