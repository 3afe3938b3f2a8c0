# SPDX-License-Identifier: Apache-2.0
"""What the records of a period add up to, and what is said of those that are not there."""

import json

import pytest
from virtguard import model
from virtguard.reporting import groups
from virtguard.reporting.account import Account
from virtguard.reporting.contents import WITHOUT_VERDICT, Contents, Origin
from virtguard.reporting.json_lines import json_lines
from virtguard.reporting.moments import Period, shown
from virtguard.reporting.reading import Reading, entries_of_file
from virtguard.reporting.text import text_lines
from virtguard.watch.unjudged_starts import RULE

from .entries import BEGIN, POLICY, admitted, entry, guard_changed, happened, head, judged, lines, uuid_of

WHOLE = Period(None, BEGIN + 1e6)
DROPPED = 'a596d6fe7bfa4994828e72309e95d61e'
WAIVER = 'tcg approved by A. Boss until 2026-11-30%s, T-1: moves soon'


class Told:
    """A report on these entries: its account, its text, its limits and its objects by their kind."""

    def __init__(self, entries, period=WHOLE, **origin):
        self.reading, self.account = Reading(), Account(period)
        self.account.add_all(self.reading.records(entries, period))
        origin = Origin('a test', **origin)
        contents = Contents(self.account, self.reading, origin, BEGIN)
        self.text = ' '.join(''.join(text_lines(contents, {})).split())
        self.limits = '; '.join(contents.limits)
        self.statements = '; '.join(text for host in contents.hosts for _, text in host.statements)
        self.objects = [json.loads(line) for line in json_lines(self.account, self.reading, origin, BEGIN, contents)]

    def of_kind(self, kind):
        return [found for found in self.objects if found['kind'] == kind]


def test_refusals_are_put_together_by_domain_and_rules():
    told = Told(
        [judged(n, 'web', rules=('tcg', 'virtiofs')) for n in (1, 5, 9)] + [judged(20, 'web'), judged(21, 'db')]
    )
    rows = [(found['domain'], found['denied'], found['count']) for found in told.of_kind('refused')]
    assert rows == [('db', ['tcg'], 1), ('web', ['tcg'], 1), ('web', ['tcg', 'virtiofs'], 3)]
    assert '0 starts admitted; 5 starts refused' in told.statements
    assert told.of_kind('refused')[2]['uuid'] == uuid_of('web')


def test_a_start_that_mode_audit_lets_pass_is_counted_once():
    told = Told([judged(n, 'web', model.WOULD_DENY, operation=what) for n, what in ((1, 'prepare'), (2, 'start'))])
    assert [found['count'] for found in told.of_kind('would-refuse')] == [1]
    assert '1 start admitted that mode enforce would refuse' in told.statements


def test_a_waiver_and_who_approved_it():
    used = [admitted(n, 'web', ('tcg',), [('VIRT_GUARD_WAIVER', WAIVER % soon)]) for n, soon in enumerate(
        ('', ', 2 days left', ', 1 day left', ', expires today')
    )]  # fmt: skip
    (row,) = Told(used).of_kind('waiver')
    assert (row['domain'], row['count'], row['waiver']) == ('web', 4, WAIVER % '')


def test_when_the_guard_was_away():
    changes = [guard_changed(0, 'installed'), guard_changed(100, 'removed'), guard_changed(3700, 'installed')]
    told = Told([*changes, judged(4000, 'web')])
    assert 'the guard was not installed for 1 h 0 min' in told.statements
    assert 'no record says that the guard was away' not in told.statements
    (span,) = told.of_kind('host')[0]['removed']
    assert span['from'] < span['until']


def test_the_state_when_the_period_begins_comes_from_the_record_before_it():
    period = Period(BEGIN + 50, BEGIN + 150)
    away = Told([guard_changed(0, 'removed')], period)
    assert 'the guard was not installed for 1 min 40 s' in away.statements
    assert 'nothing is recorded in this period' in away.statements
    there = Told([guard_changed(0, 'upgraded', '0.3.0'), judged(60, 'web')], period)
    assert 'virt-guard 0.3.0 was in place when the period began' in there.statements
    assert there.reading.count == 1  # what is before it does not belong to it


def test_starts_without_a_verdict_that_the_watch_has_found():
    told = Told([happened(5, 'web', WITHOUT_VERDICT)])
    assert '1 start without a verdict: web' in told.statements
    assert 'no record says that the guard was away' not in told.statements


def test_a_policy_that_no_command_has_changed():
    other = [('VIRT_GUARD_POLICY_SHA256', 'b' * 64)]
    changed = entry(
        50,
        [*head(model.POLICY_CHANGED, 'the policy was changed by root: x'), ('VIRT_GUARD_USER', 'root'), *POLICY[:2]],
        VIRT_GUARD_POLICY_SHA256='b' * 64,
    )
    before, after = judged(1, 'web'), judged(100, 'web', VIRT_GUARD_POLICY_SHA256=other[0][1])
    assert 'no record tells of that change: ' + 'b' * 64 in Told([before, after]).statements
    told = Told([before, changed, after])
    assert 'no record tells' not in told.statements
    assert [found['user'] for found in told.of_kind('policy-changed')] == ['root']


def test_a_policy_that_was_changed_in_an_editor():
    told = Told([entry(5, head(model.POLICY_CHANGED, 'the policy was changed'), VIRT_GUARD_OPERATION='watch')])
    assert 'by other means than a command of virt-guard (1 record): by whom is not known' in told.statements
    assert 'by not known' in told.text


def test_when_nobody_watched():
    text = 'nobody watched running domains from 2026-11-01T12:00:00Z to 2026-11-01T12:30:00Z: a test'
    own = [('VIRT_GUARD_OPERATION', 'watch'), ('VIRT_GUARD_CAUSE', 'a test')]
    kinds = (
        (model.WATCH_STOPPED, 'it has ended'),
        (model.UNWATCHED, text),
        (model.WATCH_STARTED, 'it runs'),
        (model.COMPILED, 'the policy was compiled'),
    )
    told = Told(entry(n, [*head(*kind), *own], _PID=str(n)) for n, kind in enumerate(kinds))
    assert (
        'nobody watched running domains from %s to ' % shown(BEGIN) in told.statements and 'it has ended' in told.text
    )
    assert 'compiled' not in told.text
    assert [found['message'] for found in told.of_kind('watch')] == ['it has ended', 'it runs']
    assert [found['cause'] for found in told.of_kind('unwatched')] == ['a test']


def test_the_rule_of_the_watch_is_known_here():
    assert RULE.id == WITHOUT_VERDICT


def test_mode_audit_is_said():
    told = Told([admitted(1, 'web', VIRT_GUARD_MODE='audit')])
    assert 'mode audit, which refuses nothing, is named by records from' in told.statements


def test_what_a_watch_could_not_observe():
    gap = [
        *head(model.ERROR, 'too large'),
        ('VIRT_GUARD_OPERATION', 'watch'),
        ('VIRT_GUARD_DOMAIN', 'web'),
        ('VIRT_GUARD_SINCE', '2026-11-01T00:00:01Z'),
    ]
    ended = [*gap, ('VIRT_GUARD_UNTIL', '2026-11-01T00:10:00Z')]
    told = Told([entry(1, gap), entry(600, ended)])
    (row,) = told.of_kind('not-observed')
    assert (row['since'], row['until']) == ('2026-11-01T00:00:01Z', '2026-11-01T00:10:00Z')
    assert 'not all of 1 domain could be observed' in told.statements


def test_starts_that_could_not_be_judged():
    told = Told([judged(1, 'web', model.ERROR, rules=())])
    assert '1 start not judged' in told.statements
    assert told.of_kind('not-judged')[0]['message'] == "domain 'web': error"


# What the records do not hold


@pytest.mark.parametrize(
    'since, oldest, said',
    [
        (None, 0.0, 'the journal is empty'),
        (None, BEGIN, 'the journal begins at ' + shown(BEGIN)),
        (BEGIN - 100, BEGIN, 'until then is not known'),
        (None, None, 'a file of records cannot tell what was left out of it'),
    ],
)
def test_where_it_begins(since, oldest, said):
    assert said in Told([], Period(since, BEGIN + 9), oldest=oldest).limits


def test_a_journal_that_reaches_further_back_has_no_limit():
    assert Told([judged(5, 'web')], Period(BEGIN, BEGIN + 9), oldest=BEGIN - 1).limits == ''


def test_messages_that_journald_dropped():
    def suppressed(**others):
        return entry(
            3, [('MESSAGE', 'Suppressed 42 messages from libvirtd.service'), ('MESSAGE_ID', DROPPED)], **others
        )

    told = Told([suppressed(_TRANSPORT='driver')])
    assert 'journald dropped messages, of the guard perhaps, too: Suppressed 42 messages' in told.limits
    assert Told([suppressed(_TRANSPORT='journal', _COMM='logger')]).account.hosts == {}


def test_a_clock_that_was_set_back():
    later = admitted(10, 'web', __MONOTONIC_TIMESTAMP='2000000000000')
    told = Told([admitted(500, 'web'), later])
    assert 'the clock was set back' in told.limits and told.account.hosts
    # Records of one boot that come in another order than they were stored in say nothing of the clock.
    assert 'the clock' not in Told([admitted(500, 'web'), admitted(10, 'web')]).limits


def test_records_that_are_stored_twice_are_counted_once():
    twice = judged(1, 'web')
    told = Told([twice, twice, happened(2, 'db', event='e' * 32), happened(9, 'db', event='e' * 32)])
    assert [found['count'] for found in told.of_kind('refused') + told.of_kind('finding')] == [1, 1]
    assert '2 records were stored more than once' in told.limits


def test_whoever_is_not_root_says_nothing():
    told = Told([judged(1, 'web', _UID='1000'), guard_changed(2, 'removed', _UID='1000'), judged(3, 'db', _UID=None)])
    assert '2 records were left out: another user than root' in told.limits
    assert '1 record is without the field _UID' in told.limits
    assert [found['domain'] for found in told.of_kind('refused')] == ['db'] and not told.of_kind('guard-changed')


def test_what_cannot_be_read_is_counted(tmp_path):
    path = tmp_path / 'records'
    broken = ['{"a": ', '[1]', '{}', '{"SYSLOG_IDENTIFIER": "virt-guard"}', '"x"', '[' * 100000]
    times = [dict(judged(1, 'web'), __REALTIME_TIMESTAMP=value) for value in ('soon', '', None, [], '9' * 30)]
    others = {'SYSLOG_IDENTIFIER': 'sshd', 'MESSAGE': 'no record of ours'}
    path.write_text('\n'.join([*broken, lines(times), lines([others, judged(2, 'web')])]))
    told = Told(entries_of_file(str(path)))
    # {} is an entry of somebody else.
    assert told.reading.unreadable == 10 and told.reading.count == 1
    assert '10 entries could not be read' in told.limits


def test_records_that_came_through_syslog_are_shown_as_they_are():
    told = Told(
        [entry(1, [('MESSAGE', "domain 'a' denied VIRT_GUARD_DECISION=deny"), ('SYSLOG_IDENTIFIER', 'virt-guard')])]
    )
    assert "domain 'a' denied VIRT_GUARD_DECISION=deny" in told.text
    assert told.of_kind('without-fields') and not told.of_kind('refused')


def test_text_that_journalctl_writes_as_bytes():
    name = 'a\x1b[31mb'
    told = Told([judged(1, 'x', VIRT_GUARD_DOMAIN=list(name.encode()))])
    assert told.of_kind('refused')[0]['domain'] == name
    assert r'a\x1b[31mb' in told.text and '\x1b' not in told.text


# How much there may be


def test_the_rows_are_limited_and_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr(groups, 'MOST_ROWS', 30)
    told = Told(judged(n, 'vm%d' % n, _PID=str(n)) for n in range(500))
    assert len([row for row in told.of_kind('refused') if 'domain' in row]) == 30
    assert '0 starts admitted; 500 starts refused' in told.statements
    assert '470 records were counted, but without a row' in told.limits


def test_a_table_shows_the_latest_rows_and_says_so():
    told = Told(judged(n, 'vm%d' % n, _PID=str(n)) for n in range(150))
    assert 'The latest 100 of 150 rows; --format jsonl has them all.' in told.text
    assert 'vm149 ' in told.text and 'vm49 ' not in told.text
    assert len(told.of_kind('refused')) == 150


def test_many_hosts_share_the_room():
    room = groups.Room(3)
    kinds = [groups.Groups(room) for _ in range(2)]
    told = Told([judged(1, 'a', host='kvm1'), judged(1, 'b', host='kvm2'), judged(2, 'c', host='kvm1')])
    records = list(Reading().records([judged(n, str(n), _PID=str(n)) for n in range(6)], WHOLE))
    for number, record in enumerate(records):
        kinds[number % 2].add(record.domain, record)
    assert sum(kind.more for kind in kinds) == 3
    assert [(host['host'], host['refused']) for host in told.of_kind('host')] == [('kvm1', 2), ('kvm2', 1)]


def test_the_digest_is_that_of_the_kept_records(tmp_path):
    kept = []
    reading = Reading(kept.append)
    found = [judged(n, 'web', _PID=str(n)) for n in range(5)]
    assert len(list(reading.records(found, WHOLE))) == 5
    again = tmp_path / 'records.jsonl'
    again.write_bytes(b''.join(kept))
    reread = Reading()
    list(reread.records(entries_of_file(str(again)), WHOLE))
    assert (reread.count, reread.sha256) == (5, reading.sha256)
