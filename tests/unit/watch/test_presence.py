# SPDX-License-Identifier: Apache-2.0
"""From when to when nobody watched, as far as the next watch, or the same one, can tell."""

import os

import pytest
from virtguard.watch import presence
from virtguard.watch.presence import Presence, read_last_watch

POLICY = [('VIRT_GUARD_POLICY', 'p')]


@pytest.fixture
def records():
    return []


@pytest.fixture
def make(records, tmp_path):
    def begun(boot='this boot', directory=str(tmp_path)):
        watch = Presence(lambda fields: records.append(dict(fields)), pytest.fail)
        watch.begin(directory, boot, POLICY)
        return watch

    return begun


def kinds(records):
    return [record['VIRT_GUARD_DECISION'] for record in records]


def lived_at(directory, moment):
    os.utime(str(directory / presence.NAME), (moment, moment))


def test_the_first_watch_knows_of_none_before(make, records, tmp_path):
    make()
    assert kinds(records) == ['watch-started']
    assert records[0]['VIRT_GUARD_POLICY'] == 'p'
    last = read_last_watch(str(tmp_path))
    assert (last.ended, last.boot) == ('', 'this boot')


def test_nothing_is_known_where_nothing_is_kept(make, records):
    make(directory=None).end('SIGTERM', POLICY)
    make(directory=None)
    assert kinds(records) == ['watch-started', 'watch-stopped', 'watch-started']


@pytest.mark.parametrize(
    'ended, boot, cause',
    [
        ('SIGTERM', 'this boot', 'the watch had ended (SIGTERM)'),
        ('SIGTERM', 'another', 'the watch had ended (SIGTERM); the host has been started since'),
        ('', 'this boot', 'the watch was killed, or could not say why it ended'),
        ('', 'another', 'the host went down before the watch could say that it ended'),
    ],
)
def test_why_nobody_watched(make, records, tmp_path, ended, boot, cause):
    watch = make()
    if ended:
        watch.end(ended, POLICY)
    lived_at(tmp_path, 1790000000)
    del records[:]
    make(boot)
    started, unwatched = records
    assert started['VIRT_GUARD_DECISION'] == 'watch-started'
    assert (unwatched['VIRT_GUARD_SINCE'], unwatched['VIRT_GUARD_CAUSE']) == ('2026-09-21T14:13:20Z', cause)
    assert unwatched['MESSAGE'] == 'nobody watched running domains from 2026-09-21T14:13:20Z to %s: %s' % (
        unwatched['VIRT_GUARD_UNTIL'],
        cause,
    )


def test_a_clock_that_was_set_back(make, records, tmp_path):
    make()
    lived_at(tmp_path, 4000000000)
    make()
    assert records[-1]['MESSAGE'].endswith('; the clock was set back')


def test_a_sign_of_life_is_the_time_of_the_file(make, tmp_path):
    watch = make()
    lived_at(tmp_path, 1000)
    watch.live(POLICY)
    assert read_last_watch(str(tmp_path)).lived > 1790000000
    (tmp_path / presence.NAME).unlink()
    watch.live(POLICY)  # somebody has tidied
    assert read_last_watch(str(tmp_path)) is not None


def test_a_watch_that_could_not_run(make, records, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(presence.time, 'monotonic', lambda: now[0])
    watch = make()
    for seconds in (10, 59):
        now[0] += seconds
        watch.live(POLICY)
    assert kinds(records) == ['watch-started']
    now[0] += 61
    watch.live(POLICY)
    assert kinds(records) == ['watch-started', 'unwatched']
    assert records[1]['VIRT_GUARD_CAUSE'].startswith('the watch could not run')
    now[0] += 10
    watch.live(POLICY)
    assert len(records) == 2


def test_what_could_not_be_seen_meanwhile(make, records):
    watch = make()
    watch.regain(POLICY)
    watch.lose('cannot list /run')
    watch.lose('cannot list /var')
    assert kinds(records) == ['watch-started']
    watch.regain(POLICY)
    watch.regain(POLICY)
    assert kinds(records) == ['watch-started', 'unwatched']
    assert records[1]['MESSAGE'].startswith('not all that happened to running domains was seen from ')
    assert records[1]['VIRT_GUARD_CAUSE'] == 'cannot list /run'


def test_an_end_before_the_beginning_is_none(records, tmp_path):
    Presence(records.append, pytest.fail).end('SIGTERM', POLICY)
    assert records == [] and list(tmp_path.iterdir()) == []


def test_an_end_while_not_all_was_seen(make, records):
    watch = make()
    watch.lose('cannot list /run')
    watch.end('error: no memory', POLICY)
    assert kinds(records) == ['watch-started', 'unwatched', 'watch-stopped']
    assert records[2]['VIRT_GUARD_CAUSE'] == 'error: no memory'


@pytest.mark.parametrize('content', [b'', b'virt-guard sign of life 1 00000000\n{}', b'virt-guard sign of life 9 0\n'])
def test_a_file_that_cannot_be_used(records, tmp_path, content):
    (tmp_path / presence.NAME).write_bytes(content)
    warnings = []
    Presence(lambda fields: records.append(dict(fields)), warnings.append).begin(str(tmp_path), 'boot', POLICY)
    assert kinds(records) == ['watch-started'] and len(warnings) == 1
    assert read_last_watch(str(tmp_path)).boot == 'boot'  # the next one has one again


def test_a_sign_that_cannot_be_left_is_told_once_until_it_can_be(tmp_path):
    warnings = []
    directory = tmp_path / 'state'
    watch = Presence(lambda fields: None, warnings.append)
    watch.begin(str(directory), 'boot', POLICY)  # where nothing can be written: it is not there
    for _ in range(3):
        watch.live(POLICY)
    assert len(warnings) == 1 and str(directory / presence.NAME) in warnings[0]
    directory.mkdir()
    for _ in range(3):
        watch.live(POLICY)
    assert read_last_watch(str(directory)) is not None and len(warnings) == 1
    (directory / presence.NAME).unlink()
    directory.rmdir()
    for _ in range(3):
        watch.live(POLICY)
    assert len(warnings) == 2
