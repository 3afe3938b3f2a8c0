# SPDX-License-Identifier: Apache-2.0
"""States that a watch keeps over its own end, and what it does with damaged ones."""

import pytest
from virtguard.watch.auditor import Tracked
from virtguard.watch.kept_states import KeptStates
from virtguard.watch.state import PROCESS, SNAPSHOT, State


def test_what_is_kept_comes_back(tmp_path):
    warnings = []
    kept_states = KeptStates(str(tmp_path / 'state'), warnings.append)
    status = '<domstatus pid="1"><domain><name>\u00e4</name></domain></domstatus>'.encode()
    others = {(SNAPSHOT, 's'): b'<domainsnapshot/>', (PROCESS, '1'): b'<process/>'}
    name = 'a/../\udcff' + 'x' * 250
    kept_states.keep(Tracked(name, 'uuid', State(status, others), {'key': 'since'}))
    kept_states.keep(Tracked('none', '', State(), {}))
    ((domain, is_rebooted),) = KeptStates(str(tmp_path / 'state'), warnings.append).load()
    assert (domain.name, domain.uuid, domain.held, is_rebooted) == (name, 'uuid', {'key': 'since'}, False)
    assert (domain.state.status, domain.state.others) == (status, others)
    kept_states.keep(Tracked(name, '', State(), {}))
    assert list((tmp_path / 'state').iterdir()) == [] and warnings == []


def test_what_was_kept_before_the_host_was_started_anew(tmp_path):
    kept_states = KeptStates(str(tmp_path), pytest.fail)
    kept_states.boot = 'another'
    kept_states.keep(Tracked('vm', '', State(None, {(SNAPSHOT, 's'): b'<a/>'}), {}))
    assert [is_rebooted for _, is_rebooted in KeptStates(str(tmp_path), pytest.fail).load()] == [True]


def test_what_a_killed_writer_left_behind(tmp_path):
    (tmp_path / 'x.state.new').write_bytes(b'half')
    assert KeptStates(str(tmp_path), pytest.fail).load() == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(tmp_path):
    warnings = []
    kept_states = KeptStates('/dev/full', warnings.append)
    kept_states.keep(Tracked('vm', '', State(None, {(SNAPSHOT, 's'): b'<a/>'}), {}))
    assert kept_states.load() == [] and len(warnings) == 1
