# SPDX-License-Identifier: Apache-2.0
"""Which messages of journald excuse that a record is missing; tests/live has a journald that was stopped."""

import pytest
from virtguard.health import journal_gaps
from virtguard.health.journal_gaps import Gaps

NOON = 1795867200
TOO_MANY = 'journald had too many messages then, and left some out'


@pytest.fixture
def suppressed(monkeypatch):
    """What journald has told, as it would be read: moments and units."""
    told = []

    def read(*arguments, fields=()):
        if journal_gaps._SUPPRESSED not in arguments:
            return []
        return [
            {'__REALTIME_TIMESTAMP': '%d' % (moment * 1000000), 'MESSAGE': 'Suppressed 42 messages from ' + unit}
            for moment, unit in told
        ]

    monkeypatch.setattr(journal_gaps, 'read_journal', read)
    return told


@pytest.mark.parametrize(
    'unit',
    ['libvirtd.service', 'virtqemud.service', '/system.slice/libvirtd.service', 'virt-guard-watch.service'],
)
def test_what_the_daemon_sends_was_suppressed(suppressed, unit):
    suppressed.append((NOON, unit))
    gaps = Gaps(NOON - 1000, answers=True)
    assert [gaps.at(NOON + second) for second in (-60.5, -60, -1, 0, 0.5)] == ['', TOO_MANY, TOO_MANY, TOO_MANY, '']


@pytest.mark.parametrize(
    'unit',
    [
        'user@1000.service',
        'session-3.scope',
        '/user.slice/a/libvirtd.service',
        'my-libvirtd.service',
        'libvirtd.service.d',
        'libvirtd',
    ],
)
def test_what_others_flood_excuses_nothing(suppressed, unit):
    suppressed.append((NOON, unit))
    assert Gaps(NOON - 1000, answers=True).at(NOON - 1) == ''


def test_the_next_of_several_decides(suppressed):
    suppressed += [(NOON + 100, 'libvirtd.service'), (NOON, 'libvirtd.service'), (NOON + 20, 'user@1000.service')]
    gaps = Gaps(NOON - 1000, answers=True)
    assert [gaps.at(NOON + second) for second in (-1, 10, 50, 101)] == [TOO_MANY, '', TOO_MANY, '']
