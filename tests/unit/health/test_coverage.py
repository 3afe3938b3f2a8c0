# SPDX-License-Identifier: Apache-2.0
"""What is known of starts, from what libvirt has logged and what the guard has recorded."""

import os
import time

import pytest
from virtguard.errors import GuardError
from virtguard.health import coverage
from virtguard.health.coverage import (
    BEFORE,
    JUDGED,
    UNJUDGED,
    UNKNOWN,
    Coverage,
    Running,
    Start,
    conclude,
    merge_starts,
)
from virtguard.health.domain_logs import DomainLogs
from virtguard.health.guard_records import GuardRecords
from virtguard.policy.installation import installed_below

INSTALLED = ((1000.0, 'installed'),)
NEVER = float('inf')


def states(starts, verdicts=(), changes=INSTALLED, seen=NEVER, begins=0.0):
    """What becomes of starts (name, time): their states, in order."""
    made = [Start(name, '', time) for name, time in starts]
    conclude(made, GuardRecords(verdicts, changes, seen), begins)
    return [start.state for start in made]


def test_each_start_has_a_verdict_of_its_own():
    starts = [('a', 2000.0), ('b', 2000.5), ('a', 2010.0), ('a', 2020.0)]
    verdicts = [('a', 1999.99, True), ('b', 2000.499, True), ('a', 2019.98, True)]
    assert states(starts, verdicts) == [JUDGED, JUDGED, UNJUDGED, JUDGED]


def test_the_verdict_on_the_next_start_is_not_for_this_one():
    assert states([('a', 2000.0), ('a', 2000.3)], [('a', 2000.28, True)]) == [UNJUDGED, JUDGED]


@pytest.mark.parametrize(
    ('before', 'state'), [(0.0, JUDGED), (200.0, JUDGED), (300.0, UNJUDGED), (400.0, UNJUDGED), (-0.5, UNJUDGED)]
)
def test_other_hooks_may_run_between_verdict_and_start(before, state):
    assert states([('a', 2000.0)], [('a', 2000.0 - before, True)]) == [state]


def test_what_was_refused_and_starts_all_the_same():
    assert states([('a', 2000.0)], [('a', 1998.0, False)]) == [UNJUDGED]
    assert states([('a', 2000.0)], [('a', 1998.0, False), ('a', 1999.9, True)]) == [JUDGED]


def test_the_journal_begins_later():
    assert states([('a', 2000.0), ('b', 3000.0)], begins=2500.0) == [UNKNOWN, UNJUDGED]
    assert states([('a', 2000.0)], [('a', 1999.0, True)], begins=2500.0) == [JUDGED]
    assert states([('a', 2000.0)], begins=NEVER) == [UNKNOWN]


def test_before_there_was_a_guard():
    assert states([('a', 900.0), ('b', 1500.0)]) == [BEFORE, UNJUDGED]
    assert states([('a', 1001.0), ('a', 1002.5)]) == [BEFORE, UNJUDGED]  # the daemon had not been told of it
    assert states([('a', 900.0)], changes=()) == [BEFORE]


def test_while_it_was_removed():
    changes = [(1000.0, 'installed'), (2000.0, 'removed'), (3000.0, 'installed'), (3500.0, 'installed')]
    starts = [('a', 1500.0), ('a', 2500.0), ('a', 3200.0), ('a', 3600.0)]
    assert states(starts, changes=changes) == [UNJUDGED, BEFORE, UNJUDGED, UNJUDGED]


def test_what_tells_that_there_was_a_guard_though_nobody_recorded_it():
    starts = [('a', 900.0), ('a', 1200.0), ('a', 1500.0)]
    verdict = [('b', 1100.0, True)]
    assert states(starts, verdict) == [BEFORE, UNJUDGED, UNJUDGED]
    assert states(starts, verdict, changes=[(1400.0, 'installed')]) == [BEFORE, UNJUDGED, UNJUDGED]
    assert states(starts, changes=[(1400.0, 'upgraded')], seen=1150.0) == [BEFORE, UNJUDGED, UNJUDGED]
    assert states(starts, changes=[], seen=1150.0) == [BEFORE, UNJUDGED, UNJUDGED]
    # Not even by whom it was put back.
    removed = [(1000.0, 'installed'), (1050.0, 'removed')]
    assert states(starts, verdict, changes=removed) == [BEFORE, UNJUDGED, UNJUDGED]


def test_a_name_that_is_not_shown_as_it_is():
    start = Start('t\xe4st \u2028', '', 2000.0)
    conclude([start], GuardRecords([('t\\xe4st \\u2028', 1999.0, True)], INSTALLED, NEVER), 0.0)
    assert start.state == JUDGED


def merged(starts, running, ends=()):
    logs = DomainLogs()
    logs.starts.update((start, '') for start in starts)
    logs.ends.update(ends)
    found = merge_starts(logs, [Running(name, 'uuid-' + name, time) for name, time in running])
    return [(start.name, start.time, start.is_running, start.is_logged) for start in found]


def test_what_runs_is_what_was_logged_last():
    assert merged([('a', 10.0), ('a', 20.0), ('b', 15.0)], [('a', 20.1)], [('a', 19.0), ('b', 16.0)]) == [
        ('a', 10.0, False, True),
        ('b', 15.0, False, True),
        ('a', 20.0, True, True),
    ]


def test_the_clock_was_set_since():
    assert merged([('a', 20.0)], [('a', 7220.1)]) == [('a', 20.0, True, True)]


def test_qemu_writes_that_it_had_ended():
    assert merged([('a', 20.0)], [('a', 20.1)], [('a', 25.0)]) == [('a', 20.0, True, True)]


def test_what_runs_and_has_no_log_or_an_old_one():
    assert merged([('a', 10.0)], [('a', 20.0), ('b', 5.0)], [('a', 11.0)]) == [
        ('b', 5.0, True, False),
        ('a', 10.0, False, True),
        ('a', 20.0, True, False),
    ]


def test_a_watch_that_does_not_know_what_was_told_begins_with_what_runs_and_a_day(monkeypatch):
    asked = []

    def found(installation, since, with_older):
        asked.append((since, with_older))
        return Coverage([], since)

    monkeypatch.setattr(coverage, 'find_coverage', found)
    before = time.time()
    answer = coverage.unjudged_since(None, 0.0)
    coverage.unjudged_since(None, 2000.0)
    (first, with_older), then = asked
    assert before - 86400 <= first <= time.time() - 86400 and with_older
    assert then == (2000.0, False)
    assert answer[0] == [] and answer[2]


UUIDS = ['5dd0a2f7-6f3c-4b5e-9c43-%012x' % number for number in range(2)]
STATUS = "<domstatus state='running' pid='%d'>\n  <domain type='kvm'>\n    <uuid>%s</uuid>\n  </domain>\n</domstatus>\n"


@pytest.mark.skipif(os.geteuid() != 0, reason='libvirt runs as root')
@pytest.mark.parametrize('odd', [os.mkdir, os.mkfifo, lambda path: os.symlink('web.xml', path)])
def test_a_file_that_libvirt_has_not_written_hides_only_itself(tmp_path, odd):
    installation = installed_below(str(tmp_path))
    run = tmp_path / 'run/libvirt/qemu'
    run.mkdir(parents=True)
    for name, uuid in zip(('db', 'web'), UUIDS):
        (run / (name + '.xml')).write_text(STATUS % (os.getpid(), uuid))
    odd(str(run / 'odd.xml'))
    (tmp_path / 'var/lib/libvirt/qemu').mkdir(parents=True)
    (tmp_path / 'var/lib/libvirt/qemu/snapshot').symlink_to('snapshot')  # cannot be listed, and tells of no start
    running, unread = coverage.running_domains(installation)
    assert [(domain.name, domain.uuid) for domain in running] == [('db', UUIDS[0]), ('web', UUIDS[1])]
    (said,) = unread
    assert said.startswith('%s/odd.xml ' % run) and '; ' not in said
    for name in ('another', 'other'):
        odd(str(run / (name + '.xml')))
    again, (said,) = coverage.running_domains(installation)
    assert len(again) == 2
    assert said.startswith('%s/another.xml ' % run) and said.endswith('; 2 other files cannot be read either')


def test_a_directory_of_domains_that_cannot_be_listed(tmp_path):
    (tmp_path / 'run/libvirt').mkdir(parents=True)
    (tmp_path / 'run/libvirt/qemu').symlink_to('qemu')
    with pytest.raises(GuardError, match='/run/libvirt/qemu cannot be listed'):
        coverage.running_domains(installed_below(str(tmp_path)))
