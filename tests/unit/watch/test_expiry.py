# SPDX-License-Identifier: Apache-2.0
"""Which ends of waivers are told on which day, and what tells one time from others."""

import datetime

from support import made
from virtguard.waivers import next_day
from virtguard.watch import expiry as expiries

END = '2027-03-31'


def due(waivers, today, told, audit_until=''):
    policy = made.policy(waivers=waivers, mode='audit' if audit_until else 'enforce')
    policy.audit_until = audit_until
    return expiries.due(policy, today, told)


def upcoming(waivers, today):
    return expiries.upcoming(made.policy(waivers=waivers), today)


def on(left):
    """The day so many days before END."""
    return str(datetime.date(2027, 3, 31) - datetime.timedelta(left))


def test_it_is_told_on_four_days():
    told = {}
    days = []
    for left in range(30, -10, -1):
        for expiry in due([made.waiver(expires=END)], on(left), told):
            assert (expiry.day, expiry.left) == (END, left)
            told.update(dict.fromkeys(expiry.ids()))
            days.append(left)
    assert days == [14, 7, 1, 0]


def test_each_time_once_whatever_the_clock_does():
    waivers = [made.waiver(expires=END), made.waiver(expires=on(3), rules=('two',))]
    told = {}
    count = 0
    for left in [20, 14, 14, 7, 400, 14, -3000, 7, 0, 1, 0, 14, 4, 3, 17, 0] * 3:
        for expiry in due(waivers, on(left), told):
            assert not set(expiry.ids()) & set(told)
            told.update(dict.fromkeys(expiry.ids()))
            count += len(expiry.waivers)
    assert count == 4 + 3  # of the other, which ends 3 days before: 17, 4 and 3; 10 never comes


def test_a_host_that_was_off_gets_the_next_one():
    told = dict.fromkeys(key for expiry in due([made.waiver(expires=END)], on(14), {}) for key in expiry.ids())
    assert [expiry.left for day in (5, 3, 2, 1) for expiry in due([made.waiver(expires=END)], on(day), told)] == [1]


def test_what_ends_together_is_told_together():
    ending = [made.waiver(rules=(rule,), expires=END) for rule in ('one', 'two', 'three')]
    (expiry,) = due(ending[:2], on(7), {})
    assert [waiver.rules[0] for waiver in expiry.waivers] == ['one', 'two']
    (later,) = due(ending, on(7), dict.fromkeys(expiry.ids()))
    assert [waiver.rules[0] for waiver in later.waivers] == ['three']
    assert later.event() != expiry.event()


def test_what_is_renewed_is_not_told():
    old = made.waiver(expires=END, rules=('one',), domains=('a', ('u', 'b')))
    assert due([made.waiver(expires=next_day(END), rules=('one',), domains=('a', ('u', 'b')))], on(7), {}) == []
    renewed = made.waiver(expires='2027-08-01', rules=('two', 'one'), domains=(('u', 'b'), 'a', 'c'))
    assert due([old, renewed], on(7), {}) == []
    in_part = made.waiver(expires='2027-08-01', rules=('one',), domains=('a',))
    assert [expiry.waivers for expiry in due([old, in_part], on(7), {})] == [[old]]


def test_another_reason_or_place_is_not_another_end():
    (expiry,) = due([made.waiver(expires=END, rules=('one', 'two'))], on(1), {})
    told = dict.fromkeys(expiry.ids())
    again = made.waiver(expires=END, rules=('two', 'one'), approved_by='others', ticket='T-1', origin=('q', 7))
    assert due([again], on(1), told) == []
    assert due([made.waiver(expires=END, rules=('two',))], on(1), told) != []


def test_the_end_of_mode_audit_is_told_in_the_same_way():
    told = {}
    days = []
    for left in range(30, -10, -1):
        for expiry in due([], on(left), told, audit_until=END):
            assert (expiry.day, expiry.ends_audit, list(expiry.waivers)) == (END, True, [])
            told.update(dict.fromkeys(expiry.ids()))
            days.append(left)
    assert days == [14, 7, 1, 0]
    assert due([], on(7), told, audit_until=on(-1)) == []
    (both,) = due([made.waiver(expires=END)], on(7), {}, audit_until=END)
    assert both.ends_audit and len(both.waivers) == 1
    (one,) = due([made.waiver(expires=END)], on(7), told, audit_until=END)
    assert not one.ends_audit and len(one.waivers) == 1


def test_everything_within_a_fortnight_is_upcoming():
    waivers = [made.waiver(expires=on(left), rules=('r%d' % left,)) for left in range(-20, 5)]
    found = upcoming(waivers, on(5))
    assert [expiry.left for expiry in found] == list(range(1, 15))


def test_the_day_after():
    assert next_day('2027-02-28') == '2027-03-01'
    assert next_day('2027-12-31') == '2028-01-01'
    assert next_day('9999-12-31') == '9999-12-31'
