# SPDX-License-Identifier: Apache-2.0
"""What is counted of records, and that no record is counted twice; tests/live has the journal itself."""

import pytest
from virtguard.health.record_counts import OTHERS, Counts, kept_counts
from virtguard.watch.kept_file import write_kept

FORMAT = b'virt-guard counts 1'


def cursor(moment, number=0, boot='b1', content='c0', file='f1'):
    """As journald names a record: `file` and `number` are not kept where it copies the record."""
    return 's=%s;i=%x;b=%s;m=%x;t=%x;x=%s' % (file, number, boot, moment, 1000 + moment, content)


def record(moment, decision='deny', operation='prepare', **options):
    return {
        '__CURSOR': cursor(moment, **options),
        'VIRT_GUARD_DECISION': decision,
        'VIRT_GUARD_OPERATION': operation,
    }


def finding(moment, rule, *values):
    return dict(record(moment, 'runtime', 'watch'), VIRT_GUARD_RULE=rule, VIRT_GUARD_FINDING=list(values))


def new_counts(last=''):
    return Counts(last, 0.0, {}, {})


def test_every_decision_is_counted_from_zero_on():
    counts = new_counts()
    assert counts.decisions == {'admit': 0, 'deny': 0, 'would-deny': 0, 'error': 0}
    counts.add([record(1, 'admit'), record(2), record(3), record(4, 'would-deny'), record(5, 'error')])
    assert counts.decisions == {'admit': 1, 'deny': 2, 'would-deny': 1, 'error': 1}
    assert counts.cursor == cursor(5)


def test_what_the_watch_complains_of_is_no_verdict_on_a_start():
    counts = new_counts()
    counts.add([record(1, 'error', 'watch'), record(2, 'error', 'start'), record(3, 'error', '')])
    assert (counts.decisions['error'], counts.cursor) == (1, cursor(3))


def test_records_of_other_things_move_the_place_only():
    counts = new_counts()
    counts.add([record(1, 'policy-changed'), record(2, 'guard-changed'), {'__CURSOR': cursor(3)}, {}])
    assert (counts.cursor, sum(counts.decisions.values()), counts.happened) == (cursor(3), 0, {})


def test_findings_of_the_watch_by_rule_and_status():
    counts = new_counts()
    counts.add(
        [
            finding(1, 'live-snapshot', 'deny live-snapshot /a', 'deny live-snapshot and 3 more'),
            finding(2, 'live-snapshot', 'waived live-snapshot /a'),
            finding(3, 'live-snapshot', 'deny live-snapshot /b'),
            finding(4, 'other'),
        ]
    )
    expected = {('live-snapshot', 'deny'): 2, ('live-snapshot', 'waived'): 1, ('other', 'unknown'): 1}
    assert counts.happened == expected


def test_however_many_rules_there_are_the_counts_are_bounded():
    counts = new_counts()
    counts.add(finding(number, 'rule-%d' % number, 'deny x /a') for number in range(1, 1000))
    assert sum(counts.happened.values()) == 999 and len(counts.happened) == 201
    assert counts.happened[OTHERS, 'unknown'] == 799


@pytest.mark.parametrize(
    'last',
    [cursor(5, 9), cursor(5, 1, file='f2'), cursor(7, content='other')],
    ids=['itself', 'copied to another file', 'a later one'],
)
def test_what_was_counted_is_not_counted_again(last):
    counts = new_counts(last)
    counts.add([record(4), record(5, number=9)])
    assert counts.decisions['deny'] == 0 and counts.cursor == last


@pytest.mark.parametrize(
    'new',
    [{'moment': 6}, {'moment': 5, 'content': 'other'}, {'moment': 1, 'boot': 'b2'}],
    ids=['later', 'at the same time', 'after a boot'],
)
def test_what_comes_after_is_counted(new):
    counts = new_counts(cursor(5))
    counts.add([record(**new), record(**new)])
    assert counts.decisions['deny'] == 1


def packed(**changes):
    content = {'cursor': cursor(5), 'since': 1.5, 'decisions': {'deny': 2}, 'happened': [['tcg', 'deny', 3]]}
    return dict(content, **changes)


def test_what_is_kept(tmp_path):
    path = str(tmp_path / 'counts')
    assert kept_counts(path) is None
    write_kept(path, FORMAT, packed())
    kept = kept_counts(path)
    assert (kept.cursor, kept.since, kept.decisions['deny']) == (cursor(5), 1.5, 2)
    assert kept.happened == {('tcg', 'deny'): 3}


@pytest.mark.parametrize(
    'content',
    [
        [],
        packed(cursor='--file=/etc/shadow'),
        packed(decisions=None),
        packed(decisions={'deny': 'x'}),
        packed(happened=[['tcg']]),
        packed(since=None),
        {},
    ],
)
def test_what_cannot_be_used_counts_as_none(tmp_path, content):
    path = str(tmp_path / 'counts')
    write_kept(path, FORMAT, content)
    assert kept_counts(path) is None


def test_a_file_that_is_damaged_or_of_others_counts_as_none(tmp_path):
    path = tmp_path / 'counts'
    write_kept(str(path), FORMAT, packed())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"deny": 2', b'"deny": 9'))
    assert kept_counts(str(path)) is None
    path.write_bytes(whole)
    assert kept_counts(str(path)) is not None
    path.chmod(0o666)
    assert kept_counts(str(path)) is None
