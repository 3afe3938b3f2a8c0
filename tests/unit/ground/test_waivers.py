# SPDX-License-Identifier: Apache-2.0
"""Which waiver speaks of a finding, on which day it holds, and what is said of it."""

import pytest
from support import made
from virtguard import model
from virtguard.waivers import (
    Waivers,
    days_left,
    describe,
    expires_soon,
    latest_expiry,
    names_alone,
    uuids_not_among,
)

UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
TODAY = '2026-11-25'


def waiver(expires='2027-01-31', domains=('build-*',), rules=('one',), approved_by='operations', **fields):
    return made.waiver(rules, domains, expires, approved_by, **fields)


def finding(status=model.DENY, **fields):
    return made.finding(made.rule('/domain', **fields), status, '/domain', 1, '<domain>', 'the title')


def apply(*waivers, name='build-7', uuid=UUID, today=TODAY, of=None):
    return Waivers(waivers, today).apply(of or finding(), name, uuid)


def test_a_waived_finding_stays_whole():
    permission = waiver()
    found = apply(permission)
    assert (found.status, found.waiver) == (model.WAIVED, permission)
    assert (found.path, found.line, found.evidence, found.message) == ('/domain', 1, '<domain>', 'the title')


@pytest.mark.parametrize(
    'domains, holds',
    [
        (('build-*',), True),
        (('build-?',), True),
        (('build-[0-9]',), True),
        (('build-7',), True),
        (('*',), True),
        (('test-*', 'build-7'), True),
        (('Build-*',), False),
        (('build',), False),
        (('build-[!0-9]',), False),
        ((UUID,), True),
        (('6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e12',), False),
        (((UUID, 'build-7'),), True),
        (((UUID, 'build-*'),), True),
        (((UUID, 'build-8'),), False),
        (((UUID[:-1] + '2', 'build-7'),), False),
        (((UUID[:-1] + '2', 'build-7'), (UUID, 'build-[0-9]')), True),
        (((UUID, UUID),), False),
        ((('', 'build-7'),), False),
    ],
)
def test_domains(domains, holds):
    assert (apply(waiver(domains=domains)).status == model.WAIVED) == holds


def test_case_of_a_uuid_does_not_matter():
    assert apply(waiver(domains=(UUID,)), uuid=UUID.upper()).status == model.WAIVED


def test_a_waiver_with_uuid_and_name_needs_both():
    both = waiver(domains=((UUID, 'build-7'),))
    assert apply(both).status == apply(both, uuid=UUID.upper()).status == model.WAIVED
    for name, uuid in (('build-8', UUID), ('build-7', ''), ('build-7', UUID[:-1] + '2'), (UUID, UUID), ('', UUID)):
        assert apply(both, name=name, uuid=uuid).status == model.DENY


def test_what_a_waiver_names():
    mixed = waiver(domains=('a-*', UUID, (UUID[:-1] + '2', 'b')))
    assert names_alone(mixed) == ['a-*']
    assert uuids_not_among(mixed, ()) == [UUID, UUID[:-1] + '2']
    assert uuids_not_among(mixed, {UUID}) == [UUID[:-1] + '2']
    assert uuids_not_among(mixed, {UUID, UUID[:-1] + '2'}) == []


def test_a_name_that_looks_like_a_uuid_is_not_one():
    """A domain may be called by the UUID of another one."""
    assert apply(waiver(domains=(UUID,)), name=UUID, uuid='').status == model.DENY
    assert apply(waiver(domains=(UUID,)), name=UUID, uuid='00000000-0000-0000-0000-000000000001').status == model.DENY


def test_other_rules_are_not_waived():
    assert apply(waiver(rules=('two', 'three'))).status == model.DENY


@pytest.mark.parametrize('status', [model.DENY, model.WARN, model.UNKNOWN])
def test_statuses_that_can_be_waived(status):
    assert apply(waiver(), of=finding(status)).status == model.WAIVED


def test_what_can_never_be_waived():
    assert apply(waiver(), of=finding(model.ERROR)).status == model.ERROR
    sacred = apply(waiver(), of=finding(waivable=False))
    assert (sacred.status, sacred.waiver) == (model.DENY, None)


@pytest.mark.parametrize(
    'today, holds',
    [('2026-11-25', True), ('2027-01-30', True), ('2027-01-31', True), ('2027-02-01', False), ('2030-01-01', False)],
)
def test_a_waiver_holds_on_its_last_day(today, holds):
    found = apply(waiver(), today=today)
    assert (found.status == model.WAIVED) == holds
    assert found.waiver is not None
    expired = 'the title (its waiver by operations expired on 2027-01-31)'
    assert found.message == ('the title' if holds else expired)


def test_leap_day():
    assert apply(waiver('2028-02-29'), today='2028-02-29').status == model.WAIVED
    assert apply(waiver('2028-02-29'), today='2028-03-01').status == model.DENY
    assert days_left(waiver('2028-03-01'), '2028-02-28') == 2


def test_a_waiver_too_far_ahead_is_not_in_force():
    """Loading reports it; should the guard be asked all the same, such a waiver opens no door."""
    assert latest_expiry(TODAY) == '2027-12-30'
    assert apply(waiver('2027-12-30')).status == model.WAIVED
    found = apply(waiver('2027-12-31'))
    assert (found.status, 'more than 400 days ahead' in found.message) == (model.DENY, True)


def test_of_several_waivers_the_longest_one_in_force_counts():
    expired, short, long = waiver('2026-11-01'), waiver('2026-12-01'), waiver('2027-03-01')
    for order in ((expired, short, long), (long, short, expired)):
        assert apply(*order).waiver is long
    far = waiver('2029-01-01')
    assert apply(far, short).waiver is short
    assert apply(waiver('2026-10-01'), expired).waiver is expired


@pytest.mark.parametrize(
    'expires, soon, text',
    [
        ('2027-01-31', False, 'approved by operations until 2027-01-31: the reason'),
        ('2026-12-10', False, 'approved by operations until 2026-12-10: the reason'),
        ('2026-12-09', True, 'approved by operations until 2026-12-09, 14 days left: the reason'),
        ('2026-11-26', True, 'approved by operations until 2026-11-26, 1 day left: the reason'),
        ('2026-11-25', True, 'approved by operations until 2026-11-25, expires today: the reason'),
        ('2026-11-24', False, 'approved by operations until 2026-11-24: the reason'),
    ],
)
def test_what_is_said_of_the_last_day(expires, soon, text):
    assert expires_soon(waiver(expires), TODAY) == soon
    assert describe(waiver(expires), TODAY) == text


def test_the_ticket_is_named():
    assert describe(waiver(ticket='OPS-1'), TODAY) == 'approved by operations until 2027-01-31, OPS-1: the reason'
