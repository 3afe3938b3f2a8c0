# SPDX-License-Identifier: Apache-2.0
"""That a start without a verdict is told once, when somebody has looked, and looked for again where it is not known."""

import os
import select
import time

import pytest
from support import made
from virtguard import model
from virtguard.errors import GuardError
from virtguard.watch import unjudged_starts
from virtguard.watch.auditor import Auditor
from virtguard.watch.unjudged_starts import NAME, RULE, UnjudgedStarts

NOON = 1795867200.0  # 2026-11-28T12:00:00Z
WEB, DB = ('web', 'uuid-web', NOON, 0.0), ('db', 'uuid-db', NOON + 60.5, 0.0)
AUDITOR = Auditor(made.policy(), model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda *asked: None), '2026-11-28')


class Here:
    """A watch that asks what is without a verdict; `answers` is what it is told, or why it cannot be."""

    def __init__(self, root):
        self.state, self.logs = root / 'state', root / 'logs'
        self.state.mkdir()
        self.logs.mkdir()
        self.found, self.is_settled, self.failure = [], True, ''
        self.told, self.more, self.warned = [], [], []
        self.asked = root / 'asked'
        self.restart()

    def restart(self):
        self.starts = UnjudgedStarts(self.find, str(self.logs), str(self.state), self.tell, self.warned.append)

    def find(self, since):
        with self.asked.open('a') as file:  # in another process
            file.write('%.1f\n' % since)
        if self.failure:
            raise GuardError(self.failure)
        return self.found, NOON + 3600, self.is_settled

    def tell(self, occurrence, verdict):
        self.more.append(occurrence.finding.more)
        self.told.append((verdict.domain_name, verdict.uuid, occurrence.since, occurrence.event))

    def follow(self, *pids):
        """One look; the times since which was asked."""
        before = self.times()
        self.starts.follow(set(pids))
        while self.starts.descriptors():
            assert select.select(self.starts.descriptors(), [], [], 60)[0]
            self.starts.collect(AUDITOR)
        return self.times()[len(before) :]

    def times(self):
        return [float(line) for line in self.asked.read_text().split()] if self.asked.exists() else []

    def names(self):
        return [name for name, *_ in self.told]


@pytest.fixture
def here(tmp_path):
    return Here(tmp_path)


def test_each_start_is_told_once(here):
    here.found = [WEB, DB]
    assert here.follow(1) == [0.0]
    assert [told[:3] for told in here.told] == [
        ('web', 'uuid-web', '2026-11-28T12:00:00Z'),
        ('db', 'uuid-db', '2026-11-28T12:01:00Z'),
    ]
    assert len({event for *_, event in here.told}) == 2
    assert here.follow(1, 2) == [NOON + 3600]
    assert here.names() == ['web', 'db']


def test_a_watch_that_is_started_again_tells_nothing_twice(here):
    here.found = [WEB]
    here.follow(1)
    here.restart()
    here.found = [WEB, DB]
    assert here.follow(1) == [NOON + 3600]
    assert here.names() == ['web', 'db']


def test_what_is_killed_before_it_has_kept_that_tells_the_same_event(here):
    here.found = [WEB]
    here.follow(1)
    (here.state / NAME).unlink()
    here.restart()
    here.follow(1)
    first, second = here.told
    assert first == second


def test_a_time_that_is_vague_is_the_same_start(here):
    here.found = [('web', '', NOON, 5.0)]
    here.follow(1)
    here.found = [('web', '', NOON + 0.02, 5.0), ('web', '', NOON + 10, 5.0)]
    here.follow(1, 2)
    assert [since for _, _, since, _ in here.told] == ['2026-11-28T12:00:00Z', '2026-11-28T12:00:10Z']


def many(name, number, begin=NOON):
    return [(name, '', begin + second / 1000, 0.0) for second in range(number)]


def test_of_very_many_some_are_told_and_the_rest_are_counted(here):
    here.found = [*many('flood', 30000), WEB]
    here.follow(1)
    assert here.names() == ['flood'] * 20 + ['web']
    assert here.more == [0] * 19 + [29980, 0]
    assert here.told[19][2] == '2026-11-28T12:00:29Z'
    for pid in (2, 3):
        here.follow(pid)
        here.restart()
    assert len(here.told) == 21
    here.found.append(DB)
    here.follow(4)
    assert here.names()[21:] == ['db']


def test_no_domain_keeps_the_start_of_another_one_from_being_told(here):
    here.found = many('flood', 10000, NOON + 50)
    here.follow(1)
    here.found = [WEB, *here.found, DB]
    here.follow(2)
    assert here.names() == ['flood'] * 20 + ['web', 'db']


def test_every_domain_is_told_however_many_there_are(here):
    here.found = [start for number in range(300) for start in many('vm-%d' % number, 3)]
    here.follow(1)
    assert (len(here.told), len(set(here.names())), set(here.more)) == (300, 300, {2})
    here.follow(2)
    assert len(here.told) == 300


def test_what_is_remembered_is_bounded_without_a_directory(here):
    here.starts = UnjudgedStarts(here.find, str(here.logs), None, here.tell, here.warned.append)
    for number in range(12):
        here.found = many('flood-%d' % number, 2000, NOON + 100 * number)
        here.follow(number)
    assert len(here.told) == 12 * 20
    assert len(here.starts._told.pairs()) == 10000
    assert os.listdir(str(here.state)) == []


def test_nobody_is_asked_while_nothing_begins(here):
    assert here.follow(1, 2) == [0.0]
    assert here.follow(1, 2) == []
    assert here.follow(2) == []  # one has ended
    assert len(here.follow(2, 3)) == 1


def test_what_is_not_known_yet_is_looked_for_again(here, monkeypatch):
    here.is_settled = False
    assert len(here.follow(1)) == 1
    assert here.follow(1) == []
    now = time.monotonic()
    monkeypatch.setattr(unjudged_starts.time, 'monotonic', lambda: now + 60)
    here.is_settled, here.found = True, [WEB]
    assert len(here.follow(1)) == 1
    assert here.names() == ['web']
    assert here.follow(1) == []


def test_what_ended_before_anybody_saw_it_is_looked_for_when_something_was_logged(here, monkeypatch):
    assert len(here.follow()) == 1
    now = time.monotonic()
    clock = [now]
    monkeypatch.setattr(unjudged_starts.time, 'monotonic', lambda: clock[0])
    for seconds, is_logged, looks in ((300, True, 0), (700, False, 1), (1400, False, 0), (2100, True, 1)):
        clock[0] = now + seconds
        if is_logged:
            (here.logs / 'web.log').write_text('x')
            os.utime(str(here.logs / 'web.log'), (NOON + seconds, NOON + seconds))
        assert len(here.follow()) == looks, seconds


def test_where_it_cannot_be_known_that_is_said(here):
    here.failure = 'there is no journalctl'
    here.follow(1)
    assert here.warned == ['which starts of domains have no verdict is not known: there is no journalctl']
    assert here.told == []
    here.failure, here.found = '', [WEB]
    here.follow(1, 2)
    assert here.names() == ['web']


def test_a_kept_file_of_others(here):
    (here.state / NAME).write_bytes(b'something else')
    here.restart()
    assert here.warned == ['%s is left out: it is of another version' % (here.state / NAME)]
    here.found = [WEB]
    here.follow(1)
    assert here.names() == ['web']


def test_one_that_is_not_to_tell_asks_nobody(here):
    here.starts = UnjudgedStarts(None, str(here.logs), None, here.tell, here.warned.append)
    assert here.follow(1) == []


def test_no_waiver_speaks_of_it():
    assert (RULE.id, RULE.at, RULE.waivable, RULE.action) == ('started-without-verdict', 'runtime', False, 'deny')
