# SPDX-License-Identifier: Apache-2.0
"""Times as journalctl takes them, in a zone with summer time; what is not a time is refused with what to type."""

import time

import pytest
from virtguard.errors import GuardError
from virtguard.reporting.moments import in_local_time, parse_period, shown, shown_span

NOW = 1793536331.0  # 2026-11-01 13:32:11 +0100


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv('TZ', 'CET-1CEST,M3.5.0,M10.5.0/3')
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    'text, meant',
    [
        ('2026-10-31', '2026-10-31 00:00:00 +0100'),
        ('2026-10-01', '2026-10-01 00:00:00 +0200'),
        ('2026-10-31 14:30', '2026-10-31 14:30:00 +0100'),
        ('2026-10-31T14:30:59', '2026-10-31 14:30:59 +0100'),
        ('2026-10-31 14:30:00 UTC', '2026-10-31 15:30:00 +0100'),
        ('2026-10-31T14:30:00Z', '2026-10-31 15:30:00 +0100'),
        ('2026-10-31 14:30:00 -0500', '2026-10-31 20:30:00 +0100'),
        ('2026-10-31 14:30:00 +05:30', '2026-10-31 10:00:00 +0100'),
        ('12:00', '2026-11-01 12:00:00 +0100'),
        ('today', '2026-11-01 00:00:00 +0100'),
        ('yesterday', '2026-10-31 00:00:00 +0100'),
        ('7 days ago', '2026-10-25 13:32:11 +0100'),
        ('-2h', '2026-11-01 11:32:11 +0100'),
        ('@1793491200', '2026-11-01 01:00:00 +0100'),
    ],
)
def test_what_journalctl_takes(text, meant):
    period = parse_period(text, None, NOW)
    assert shown(period.since) == meant
    # What is shown is taken, too.
    assert parse_period(shown(period.since), None, NOW).since == period.since


def test_the_period_is_half_open_and_ends_now():
    october = parse_period('2026-10-01', '2026-11-01', NOW)
    assert [october.holds(moment) for moment in (october.since - 1, october.since, october.until)] == [
        False,
        True,
        False,
    ]
    assert shown_span(october.until - october.since) == '31 days 1 h'  # summer time has ended
    everything = parse_period(None, 'tomorrow', NOW)
    assert everything.holds(0.0) and everything.holds(NOW) and not everything.holds(NOW + 1)


@pytest.mark.parametrize(
    'since, until, said',
    [
        ('last week', None, "--since: 'last week' is not a time (write it like 2027-01-31, "),
        ('2026-02-30', None, "--since: there is no such time as '2026-02-30' (write it like"),
        (None, '25:00', "--until: there is no such time as '25:00'"),
        ('31.10.2026', None, "--since: '31.10.2026' is not a time"),
        ('3 fortnights ago', None, "--since: '3 fortnights ago' is not a time"),
        ('', None, "--since: '' is not a time"),
        ('9999-12-31 23:59:59', None, 'is in the future'),
        ('2026-10-31', '2026-10-31', 'is not before --until'),
        ('yesterday', '2026-10-01', '(a day alone stands for its first moment)'),
    ],
)
def test_what_is_wrong_is_said(since, until, said):
    with pytest.raises(GuardError) as caught:
        parse_period(since, until, NOW)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    'seconds, words',
    [(40.9, '40 s'), (3600 * 4 + 720, '4 h 12 min'), (61, '1 min 1 s'), (90000, '1 day 1 h'), (-5, '0 s')],
)
def test_spans(seconds, words):
    assert shown_span(seconds) == words


def test_times_in_records_become_local():
    text = 'from 2026-10-25T00:59:59Z to 2026-10-25T01:00:00Z'
    assert in_local_time(text) == 'from 2026-10-25 02:59:59 +0200 to 2026-10-25 02:00:00 +0100'
    for other in ('2026-13-01T00:00:00Z', '2026-02-30T00:00:00Z', '0000-01-01T00:00:00Z', '2026-10-25T24:00:00Z', ''):
        assert in_local_time(other) == other
