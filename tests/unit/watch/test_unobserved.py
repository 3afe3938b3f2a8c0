# SPDX-License-Identifier: Apache-2.0
"""What is said of domains that cannot be observed, and which events are the same."""

import pytest
from virtguard import model
from virtguard.model import Occurrence
from virtguard.watch import unobserved
from virtguard.watch.auditor import Auditor, Tracked
from virtguard.watch.event_id import name_events
from virtguard.watch.state import State
from virtguard.watch.unobserved import Unobserved


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(unobserved.time, 'monotonic', lambda: now[0])
    return now


@pytest.fixture
def said():
    return []


@pytest.fixture
def gaps(said, clock):
    return Unobserved(
        lambda gap: said.append((gap.domain, gap.uuid, gap.cause)), lambda gap: said.append((gap.domain, gap.until))
    )


def test_a_cause_is_said_once(gaps, said):
    for line in range(5):
        gaps.fail('a', 'u', 'x', 'broken, line %d' % line)
    gaps.fail('a', '', 'x', 'gone')
    gaps.fail('b', '', 'x', 'gone')
    assert said == [('a', 'u', 'broken, line 0'), ('a', 'u', 'gone'), ('b', '', 'gone')]


def test_a_gap_ends_when_nothing_is_wrong_with_the_domain(gaps, said):
    gaps.mend('a', 'x')
    gaps.fail('a', 'u', 'x', 'broken')
    gaps.fail('a', 'u', 'y', 'broken')
    assert gaps.has_failed('a', 'x') and not gaps.has_failed('a', 'z')
    gaps.mend('a', 'x')
    gaps.mend('a', 'z')
    assert len(said) == 1
    gaps.mend('a', 'y')
    assert len(said) == 2 and said[1][1] != ''
    gaps.mend('a', 'y')
    assert len(said) == 2


def test_a_failure_that_comes_again_soon_is_told_once_it_stays(gaps, said, clock):
    for _ in range(3):
        gaps.fail('a', 'u', 'x', 'broken')
        gaps.mend('a', 'x')
        clock[0] += 5
    assert [len(entry) for entry in said] == [3, 2, 2, 2]
    gaps.fail('a', 'u', 'x', 'broken')
    assert len(said) == 4
    clock[0] += 60
    gaps.fail('a', 'u', 'x', 'broken')
    gaps.fail('a', 'u', 'x', 'broken')
    assert len(said) == 5


def test_causes_without_end_are_said_to_an_end(gaps, said):
    for number in range(1000):
        gaps.fail('a', 'u', 'x', 'broken' + 'x' * number)
    assert len(said) == 16


# --- events --------------------------------------------------------------------------------------------------------

RULE = model.Rule('r', 't', 'deny', 'why', 'remedy')
STATUS = b"<domstatus state='running' pid='%d'>\n  <domain type='kvm' id='%d'>\n  </domain>\n</domstatus>"


def events(domain, state, *keys):
    """What the news of these keys are called; the domain is as it is afterwards."""
    news = [Occurrence(key, model.Finding(RULE, 'deny', '/x', 1, '', ''), '', '', '') for key in keys]
    after = domain.copy()
    after.state = state
    name_events(domain, after, news, 'boot')
    return after, [occurrence.event for occurrence in news]


def test_event_ids_are_the_same_when_something_is_told_again():
    first, second = State(STATUS % (7, 1)), State(STATUS % (8, 2))
    domain = Tracked('vm', 'uuid', first, {})
    after, (a, b) = events(domain, first, 'a', 'b')
    assert events(domain, first, 'b')[1] == [b] and events(domain, first, 'a')[1] == [a]  # told again
    again, (c,) = events(after, first, 'a')
    gone, (d,) = events(again, State(), 'a')
    new, (e,) = events(gone, second, 'a')
    other = events(Tracked('vm', 'other', first, {}), first, 'a')[1][0]
    assert len({a, b, c, d, e, other}) == 6
    assert events(gone, second, 'a')[1] == [e]
    assert events(new, second)[0].told == new.told


def test_counts_do_not_grow_for_ever():
    domain = Tracked('vm', 'uuid', State(STATUS % (7, 1)), {})
    seen = set()
    for number in range(3):
        domain, names = events(domain, domain.state, 'same', *map(str, range(number * 3000, number * 3000 + 3000)))
        seen.update(names)
    assert len(seen) == 9003 and len(domain.told) < 5000


# --- metadata that rules ask for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'match, asks',
    [
        ('/domain/metadata/libosinfo:libosinfo/libosinfo:os/@id', False),
        ('/domain[not(metadata / libosinfo:libosinfo/libosinfo:os)]', False),
        ("/domain/devices/disk[@type = 'metadata']", False),
        ('//hostdev', False),
        ('/domain/metadata/*', True),
        ('//metadata', True),
        ('/domain[metadata]', True),
        ("/domain[contains(title, 'x')]", True),
        ('/transition/after/domstatus/domain/description', True),
    ],
)
def test_whether_rules_ask_for_more_metadata(match, asks):
    for action in ('deny', 'off'):
        rule = model.Rule('r', 't', action, 'why', 'remedy', match)
        policy = model.Policy('p', 'enforce', 'deny', 5.0, False, (rule,), '', '')
        host = model.HostFacts(None, None, None, lambda probe, subject: None)
        assert Auditor(policy, host, '2026-11-27').all_metadata is (asks and action != 'off')
