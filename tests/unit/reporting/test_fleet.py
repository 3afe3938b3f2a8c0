# SPDX-License-Identifier: Apache-2.0
"""What the records of many hosts add up to; tests/installed has the files of a collector, tests/live a real one."""

import json
import random

import pytest
from virtguard import model
from virtguard.errors import GuardError
from virtguard.reporting.contents import WITHOUT_VERDICT
from virtguard.reporting.fleet import Fleet
from virtguard.reporting.fleet_contents import FleetContents
from virtguard.reporting.fleet_text import fleet_json, fleet_text
from virtguard.reporting.identity import Seen
from virtguard.reporting.moments import parse_span

from .entries import BEGIN, admitted, entry, guard_changed, happened, head, judged

DAY = 86400.0
WAIVER = 'tcg approved by A. Boss until 2026-11-30%s, T-1: moves soon'
SAME = 'd' * 32


class Told:
    """What is told of these entries an hour after BEGIN."""

    def __init__(self, entries, since=None, silent_after=DAY, senders=None, heard=None, damaged=()):
        fleet = Fleet(since, BEGIN + 3600)
        for number, fields in enumerate(entries):
            fleet.add(fields, senders[number] if senders else '10.0.0.1')
        for host in fleet.hosts.values():
            host.heard = heard
        contents = FleetContents(fleet, damaged, silent_after)
        self.fleet, self.is_amiss, self.limits = fleet, contents.is_amiss, contents.limits
        self.text = ' '.join(''.join(fleet_text(contents)).split())
        self.said = [text for host in contents.hosts for _, text in contents.statements[host.machine]]
        self.objects = [json.loads(line) for line in fleet_json(contents)]

    def of_kind(self, kind):
        return [found for found in self.objects if found['kind'] == kind]


def test_hosts_rules_and_how_often_they_refused():
    told = Told(
        [
            judged(1, 'a', rules=('tcg', 'virtiofs')),
            judged(2, 'b', rules=('tcg',)),
            admitted(3, 'c'),
            judged(4, 'd', model.ERROR, rules=()),
            judged(5, 'e', host='kvm2'),
            happened(6, 'f', 'live-snapshot', host='kvm2'),
        ]
    )
    hosts = {row['host']: row for row in told.of_kind('host')}
    numbers = ('admitted', 'refused', 'not-judged', 'findings')
    assert [[hosts[name][key] for key in numbers] for name in ('kvm1', 'kvm2')] == [[1, 2, 1, 0], [0, 1, 0, 1]]
    rows = {(row['host'], row['rule']): (row['refused'], row['findings']) for row in told.of_kind('rule')}
    assert rows == {
        ('kvm1', 'tcg'): (2, 0),
        ('kvm1', 'virtiofs'): (1, 0),
        ('kvm2', 'tcg'): (1, 0),
        ('kvm2', 'live-snapshot'): (0, 1),
    }
    assert 'tcg refused 3: kvm1' in told.text and not told.is_amiss


def test_a_start_that_mode_audit_lets_pass_is_counted_once():
    told = Told(
        [
            judged(n, 'web', model.WOULD_DENY, operation=what, VIRT_GUARD_MODE='audit')
            for n, what in enumerate(('prepare', 'start', 'prepare'))
        ]
        # Another domain, of which only the last moment shows what is wrong with it.
        + [judged(3, 'db', model.WOULD_DENY, operation='start', VIRT_GUARD_MODE='audit')]
    )
    assert told.of_kind('host')[0]['would-refuse'] == 3 and told.of_kind('rule')[0]['would-refuse'] == 3
    assert 'mode audit: nothing is refused' in told.said


# Twice is once


def test_what_was_sent_again_is_counted_once_however_far_apart():
    records = [judged(n, 'vm%d' % n, _PID=str(n)) for n in range(500)]
    again = records[200:300] + records[:50]
    told = Told(records + [dict(fields, __CURSOR='other') for fields in again])
    assert (told.fleet.count, told.fleet.repeated) == (500, 150)
    assert any('150 records: stored more than once, and counted once' in limit for limit in told.limits)


@pytest.mark.parametrize(
    'field, value',
    [
        ('_PID', '4243'),
        ('_BOOT_ID', 'b' * 32),
        ('_MACHINE_ID', SAME),
        ('__MONOTONIC_TIMESTAMP', '1'),
        ('VIRT_GUARD_DOMAIN', 'db'),
        ('VIRT_GUARD_UUID', SAME),
        ('VIRT_GUARD_RULE', ['tcg', 'virtiofs']),
    ],
)
def test_two_records_of_one_microsecond_are_two(field, value):
    record = judged(1, 'web')
    assert Told([record, dict(record, **{field: value}), record]).fleet.count == 2


def test_an_event_that_a_second_watch_records_is_one():
    events = [happened(n, 'db', event='e' * 32, host=host) for n, host in ((1, 'kvm1'), (9, 'kvm1'), (9, 'kvm2'))]
    assert [row['findings'] for row in Told(events).of_kind('host')] == [1, 1]


def test_a_million_identities_take_little_and_none_is_mistaken():
    seen, choice = Seen(), random.Random(3)
    numbers = [choice.randrange(1 << 40) for _ in range(20000)]
    assert [seen.is_new(['boot', str(number)]) for number in numbers].count(True) == len(set(numbers))
    assert not any(seen.is_new(['boot', str(number)]) for number in numbers)
    assert seen.is_new(['boot1', '2']) and seen.is_new(['boot', '12', '']) and seen.is_new(['bo', 'ot12', ''])
    assert len(seen._table) * seen._table.itemsize <= 24 * 1.5 * 20000


# Silence


def test_a_host_is_silent_when_nothing_of_any_kind_arrives():
    records = [admitted(-2 * DAY, 'web')]
    told = Told(records)
    assert told.is_amiss and told.of_kind('host')[0]['silent']
    assert told.said[0].startswith('silent since ') and 'for 2 days 1 h' in told.said[0]
    assert '1 host, 1 silent' in told.text
    assert not Told(records, heard=BEGIN).is_amiss
    assert not Told(records, silent_after=3 * DAY).is_amiss


def test_a_clock_that_is_fast_does_not_hide_silence():
    told = Told([admitted(-2 * DAY, 'web'), admitted(400 * DAY, 'web')])
    assert told.of_kind('host')[0]['silent']
    assert 'its clock is wrong: 1 record from the future, not counted' in told.said
    assert told.fleet.count == 1


@pytest.mark.parametrize('text, seconds', [('36h', 129600), ('2 days', 172800), (' 90 min ', 5400), ('1week', 604800)])
def test_spans(text, seconds):
    assert parse_span('--silent-after', text) == seconds


@pytest.mark.parametrize('text', ['', '0h', '-1h', '1.5h', 'day', '1 fortnight', '1 DAY', '9999999h'])
def test_what_is_not_a_span(text):
    with pytest.raises(GuardError, match='is not a span of time .write it like 36h'):
        parse_span('--silent-after', text)


# What holds now


def test_policies_that_differ():
    told = Told([judged(1, 'a'), judged(2, 'a', host='kvm2', VIRT_GUARD_POLICY_SHA256='b' * 64)])
    assert 'Policies, which differ, in force' in told.text and 'b' * 64 in told.text
    assert 'One policy in force' in Told([judged(1, 'a'), judged(2, 'a', host='kvm2')]).text


def test_the_latest_policy_counts_in_whatever_order_the_records_come():
    old, new = judged(1, 'a', VIRT_GUARD_POLICY_SHA256='a' * 64), judged(9, 'a', VIRT_GUARD_POLICY_SHA256='b' * 64)
    for records in ([old, new], [new, old]):
        assert [row['policy']['sha256'] for row in Told(records).of_kind('host')] == ['b' * 64]


def test_a_guard_that_was_removed_and_starts_that_nobody_judged():
    told = Told([guard_changed(1, 'removed'), happened(2, 'web', WITHOUT_VERDICT)])
    assert told.is_amiss and '1 start without a verdict' in told.said
    assert any(text.startswith('the guard was removed at ') for text in told.said)
    assert not Told([guard_changed(1, 'removed'), guard_changed(2, 'installed', '0.3.0')]).is_amiss


def test_a_watch_that_has_ended():
    kinds = [entry(n, head(kind, 'x'), _PID=str(n)) for n, kind in ((1, model.WATCH_STARTED), (2, model.WATCH_STOPPED))]
    assert any('the watch has ended at' in text for text in Told(kinds).said)
    assert Told(kinds[:1]).said == []


def test_waivers_and_who_uses_them():
    used = [
        admitted(n, 'web', ('tcg',), [('VIRT_GUARD_WAIVER', WAIVER % soon)], host='kvm%d' % (n % 2), _PID=str(n))
        for n, soon in enumerate(('', ', 2 days left', ', 1 day left'))
    ]
    told = Told(used)
    assert {(row['host'], row['waiver'], row['records']) for row in told.of_kind('waiver')} == {
        ('kvm0', WAIVER % '', 2),
        ('kvm1', WAIVER % '', 1),
    }
    assert WAIVER % '' + ': 3 records' in told.text


def test_a_period_counts_less_and_forgets_no_host():
    told = Told([judged(-DAY / 2, 'a'), judged(10, 'b'), judged(-DAY / 2, 'c', host='kvm2')], since=BEGIN)
    assert [(row['host'], row['refused']) for row in told.of_kind('host')] == [('kvm1', 1), ('kvm2', 0)]


# Who is who


def test_two_hosts_of_one_name():
    told = Told([judged(1, 'a'), judged(2, 'b', _MACHINE_ID=SAME)])
    assert len(told.of_kind('host')) == 2 and not told.is_amiss
    assert told.said == ['1 other host has this name, too: hosts are told apart by their machine-ids'] * 2


def test_a_host_that_was_renamed():
    told = Told([judged(1, 'a', _MACHINE_ID=SAME), judged(2, 'b', host='new', _MACHINE_ID=SAME)])
    assert [(row['host'], row['names'], row['refused']) for row in told.of_kind('host')] == [
        ('new', ['kvm1', 'new'], 2)
    ]
    assert told.said[0].startswith('its name has changed: kvm1 until ') and not told.is_amiss


def test_records_of_one_machine_from_two_senders_at_once_are_amiss():
    records = [judged(n, 'a', _PID=str(n)) for n in range(4)]
    forged = Told(records, senders=['10.0.0.1', '10.0.0.9', '10.0.0.1', '10.0.0.9'])
    cause = 'hosts made from one image, one host with several addresses, or records that were forged'
    assert forged.is_amiss and cause in forged.said[0]
    moved = Told(records, senders=['10.0.0.1', '10.0.0.1', '10.0.0.9', '10.0.0.9'])
    assert not moved.is_amiss and moved.said[0].startswith('its sender has changed: 10.0.0.1 until ')


def test_what_is_trusted_is_said():
    assert 'each host writes its own records, with its name and machine-id' in Told([]).limits[-1]


# What others may have written


def test_who_is_not_root_says_nothing():
    told = Told([judged(1, 'a', _UID='1000'), judged(2, 'b', _UID=None), judged(3, 'c')])
    assert (told.fleet.count, told.fleet.strangers) == (1, 2)


def test_hostile_text_is_escaped_and_cut():
    name = '\x1b]0;x\x07\n' + 'n' * 1000
    record = judged(1, 'x', rules=(name,), more=[('VIRT_GUARD_WAIVER', name)], VIRT_GUARD_POLICY=name)
    told = Told([dict(record, _HOSTNAME=name, VIRT_GUARD_MODE=name)])
    assert '\x1b' not in told.text and '\x07' not in told.text and 'n' * 610 not in told.text
    assert told.fleet.count == 1


def test_a_host_that_invents_rules_takes_no_room_from_others():
    invented = [judged(n, 'x', rules=['r%d-%d' % (n, m) for m in range(100)], _PID=str(n)) for n in range(100)]
    told = Told([*invented, judged(1, 'y', host='kvm2')])
    assert [row['host'] for row in told.of_kind('rule')] == ['kvm1'] * 200 + ['kvm2']
    assert told.fleet.more == 100 * 64 - 200 and told.of_kind('host')[0]['refused'] == 100


def test_hosts_of_one_sender_are_counted():
    told = Told([judged(1, 'a'), judged(1, 'a', host='kvm2')], senders=['127.0.0.1'] * 2)
    assert '2 hosts have one sender, 127.0.0.1: it is a proxy, or one host writes for others' in told.limits
    assert len(Told([judged(1, 'a'), judged(1, 'a', host='kvm2')], senders=['1', '2']).limits) == 2


@pytest.mark.parametrize('machine', ['', '--rotate', 'x' * 32, 'a' * 31, 'a' * 32 + '\n', None])
def test_what_is_no_machine_is_no_host(machine):
    told = Told([judged(1, 'a', _MACHINE_ID=machine)])
    assert told.fleet.unreadable == 1 and told.fleet.hosts == {}


@pytest.mark.parametrize('value', ['soon', '', None, '9' * 30, '-'])
def test_a_record_without_a_time_is_not_readable(value):
    told = Told([dict(judged(1, 'a'), __REALTIME_TIMESTAMP=value), None])
    assert told.fleet.unreadable == 2 and told.fleet.hosts == {}
