# SPDX-License-Identifier: Apache-2.0
"""Facts of another host from a file: what it says, what it leaves open, and what is wrong with it."""

import pytest
from virtguard import model
from virtguard.commands.domains.stated_facts import load_facts
from virtguard.policy.problems import PolicyError

FACTS = """\
arch: x86_64
container: none
os: rhel-8.10
probes:
  multipath-device: {/dev/mapper/mpatha: yes, /dev/sdb: no, /dev/sdc: unknown}
  infiniband-vf:
    "0000:03:10.1": true
"""


def load(text):
    return load_facts(text.encode(), 'facts.yaml')


def problems(text):
    with pytest.raises(PolicyError) as caught:
        load(text)
    return [str(problem) for problem in caught.value.problems]


def test_facts():
    host = load(FACTS)
    assert (host.arch, host.container, host.os) == ('x86_64', 'none', 'rhel-8.10')
    assert host.probe('multipath-device', '/dev/mapper/mpatha') is True
    assert host.probe('multipath-device', '/dev/sdb') is False
    assert host.probe('multipath-device', '/dev/sdc') is None
    assert host.probe('infiniband-vf', '0000:03:10.1') is True


def test_what_is_not_said_is_unknown():
    host = load('os: rhel-8.10\n')
    assert (host.arch, host.container, host.os) == (None, None, 'rhel-8.10')
    assert host.probe('multipath-device', '/dev/sdb') is None
    host = load('probes: {multipath-device: {}}\n')
    assert host.probe('multipath-device', '/dev/sdb') is None
    assert host.probe('infiniband-vf', '0000:03:10.1') is None
    host = load('arch: unknown\ncontainer: none\n')
    assert (host.arch, host.container) == (None, 'none')


@pytest.mark.parametrize(
    'os, expected',
    [
        ('rhel-9.3', True),
        ('rocky-9.0', True),
        ('ol-9.3', True),
        ('rhel-9.10', False),
        ('centos-9', False),
        ('rhel-8.10', False),
        ('debian-12', False),
        ('sles-15.4', False),
        ('almalinux', None),
        ('unknown', None),
    ],
)
def test_a_rebuild_is_known_by_its_name(os, expected):
    span = model.HostCondition('os', (), False, ('rhel', (9, 0), (9, 4)))
    assert span.met_by(load('os: %s\n' % os)) is expected


@pytest.mark.parametrize(
    'text, expected',
    [
        ('', ['facts.yaml:1:1: the facts file is empty']),
        ('[]\n', ['facts.yaml:1:1: the facts file is a list, not a mapping']),
        ('arch: 1\n', ['facts.yaml:1:7: arch is a number, not text (write "1")']),
        ('arc: x86_64\n', ["facts.yaml:1:1: the facts file has an unknown key 'arc' (did you mean 'arch'?)"]),
        ('os: a\nos: b\n', ["facts.yaml:2:1: the facts file has the key 'os' twice"]),
        ('probes: {multipath: {}}\n', ["facts.yaml:1:10: probes has an unknown key 'multipath' (did you mean"]),
        ('probes: {multipath-device: [a]}\n', ['facts.yaml:1:28: probes.multipath-device is a list, not a mapping']),
        (
            'probes: {multipath-device: {/dev/sdb: maybe}}\n',
            ['facts.yaml:1:39: probes.multipath-device is text, not a boolean'],
        ),
        (
            'probes: {multipath-device: {/dev/sdb: yes, /dev/sdb: no}}\n',
            ["facts.yaml:1:44: probes.multipath-device has the key '/dev/sdb' twice"],
        ),
        (
            'probes: {infiniband-vf: 1}\nos: 8\n',
            ['facts.yaml:1:25: probes.infiniband-vf is a number, not a mapping', 'facts.yaml:2:5: os is a number'],
        ),
    ],
)
def test_problems_in_the_order_of_the_file(text, expected):
    found = problems(text)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected)), found
