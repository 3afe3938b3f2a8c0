# SPDX-License-Identifier: Apache-2.0
"""The short form of the differential fuzzer (tests/fuzz/run is the long one), and that it would find something."""

import pytest
from differential import KINDS, Fuzzer
from virtguard import compiled
from virtguard.errors import DomainXMLError
from virtguard.judging import subject

DOMAINS = 1500


@pytest.fixture(scope='module')
def fuzzer():
    return Fuzzer('suite')


def kinds(fuzzer, domains):
    return {disagreement.kind for number in range(domains) for disagreement in fuzzer.run(number)}


def test_no_way_of_reading_a_domain_differs_from_another_or_from_libvirt(fuzzer):
    disagreements = [disagreement for number in range(DOMAINS) for disagreement in fuzzer.run(number)]
    assert not disagreements, '\n'.join(map(str, disagreements[:20]))
    # Documents that nobody accepts, or that nobody objects to, would show little.
    assert fuzzer.accepted > fuzzer.documents * 0.5
    assert fuzzer.findings > DOMAINS * 0.5


@pytest.mark.parametrize(
    'kind, place, name, fault',
    [
        ('admitted', compiled, '_follow', lambda element, paths, found: None),
        ('crashed', compiled.CompiledPolicy, 'judge', lambda self, xml, host, today: 1 // 0),
        ('unread', compiled, 'read_tree', lambda data: (_ for _ in ()).throw(DomainXMLError('no'))),
    ],
)
def test_faults_are_found(monkeypatch, kind, place, name, fault):
    assert kind in KINDS
    monkeypatch.setattr(place, name, fault)
    assert kind in kinds(Fuzzer('faults'), 30)
    assert subject
