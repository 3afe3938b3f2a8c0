# SPDX-License-Identifier: Apache-2.0
"""What is known of every domain: each change is told once, also if a domain gets another name or another policy."""

import pytest
from support import made
from virtguard import model
from virtguard.watch.auditor import Auditor
from virtguard.watch.kept_states import KeptStates
from virtguard.watch.ledger import Ledger
from virtguard.watch.state import SNAPSHOT, STATUS, State, take_document

HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda probe, subject: None)
TODAY = '2026-11-25'
SNAPSHOTS = made.rule('/transition/after/domainsnapshot', 'snapshots', at=model.RUNTIME)
TPM = made.rule('/domain/devices/tpm', 'tpm')
SOUND = made.rule('/domain/devices/sound', 'sound')


class Told:
    """A ledger, and what it has told: (domain, rule) each, the names of domains judged, (name, reason) of failures."""

    def __init__(self, directory, *rules):
        self.news, self.judged, self.failed = [], [], []
        self.kept_states = KeptStates(str(directory), pytest.fail)
        self.ledger = Ledger(
            Auditor(made.policy(*rules), HOST, TODAY),
            self.kept_states,
            lambda occurrence, verdict: self.news.append((verdict.domain_name, occurrence.finding.rule.id)),
            lambda name, seconds: self.judged.append(name),
            lambda name, reason: self.failed.append((name, reason)),
            (),
        )

    def take(self, name, state):
        """What is news when a domain comes to this state."""
        del self.news[:], self.judged[:]
        self.ledger.take(name, state)
        return list(self.news)


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path / 'kept', SNAPSHOTS, TPM)


def running(devices=''):
    text = "<domstatus pid='4'><domain type='kvm' id='1'><name>vm</name><devices>%s</devices></domain></domstatus>"
    return State(take_document(STATUS, (text % devices).encode()))


def with_snapshot(name='s'):
    text = '<domainsnapshot><name>%s</name><domain type="kvm"><name>vm</name></domain></domainsnapshot>' % name
    return State(None, {(SNAPSHOT, name): take_document(SNAPSHOT, text.encode())})


def test_a_change_is_told_once(told):
    assert told.take('vm', running('<tpm/>')) == [('vm', 'tpm')]
    assert (told.ledger.names(), told.ledger.running(), told.ledger.changes) == (['vm'], 1, 1)
    assert told.take('vm', running('<tpm/>')) == [] and told.judged == ['vm']
    assert told.ledger.changes == 1


def test_a_domain_that_has_gone_is_forgotten_and_news_when_it_comes_again(told):
    told.take('vm', running('<tpm/>'))
    assert told.take('vm', State()) == [] and told.ledger.names() == []
    assert told.take('vm', running('<tpm/>')) == [('vm', 'tpm')]


def test_snapshots_of_a_renamed_domain_are_not_news(told):
    assert told.take('old', with_snapshot()) == [('old', 'snapshots')]
    assert told.take('new', with_snapshot()) == []
    assert told.take('old', State()) == []
    both = State(None, {**with_snapshot().others, **with_snapshot('t').others})
    assert told.take('new', both) == [('new', 'snapshots')]


def test_snapshots_are_not_news_whichever_name_is_read_first(told):
    assert told.take('vm', with_snapshot('a')) == [('vm', 'snapshots')]
    told.take('vm', State())
    assert told.take('vm', with_snapshot('a')) == [('vm', 'snapshots')], 'it is made again'
    told.take('vm', State())
    assert told.take('other', with_snapshot('a')) == []
    assert told.take('other', with_snapshot('b')) == [('other', 'snapshots')]


def test_another_policy_tells_only_what_it_finds_in_addition(told):
    told.take('vm', running('<tpm/><sound/>'))
    del told.news[:]
    told.ledger.judge_again(Auditor(made.policy(SNAPSHOTS, TPM, SOUND), HOST, TODAY))
    assert told.news == [('vm', 'sound')] and not told.ledger.is_stale('vm')


def test_a_domain_that_cannot_be_judged_leaves_the_others_and_is_told(told, monkeypatch):
    advance = Auditor.advance

    def fail(self, tracked, state, now):
        if tracked.name == 'bad':
            raise KeyError('x')
        return advance(self, tracked, state, now)

    monkeypatch.setattr(Auditor, 'advance', fail)
    assert told.take('bad', running('<tpm/>')) == []
    (failure,) = told.failed
    assert failure[0] == 'bad' and failure[1].startswith("internal error: KeyError: 'x' (test_ledger.py:")
    assert told.take('vm', running('<tpm/>')) == [('vm', 'tpm')]
    assert told.ledger.names() == ['vm']


def test_what_was_kept_is_loaded_and_not_told_again(told, tmp_path):
    told.take('vm', running('<tpm/>'))
    told.take('quiet', running())
    assert not told.ledger.is_kept  # without news, that has time
    assert told.ledger.keep() and told.ledger.is_kept
    again = Told(tmp_path / 'kept', SNAPSHOTS, TPM)
    again.ledger.load()
    assert sorted(again.ledger.names()) == ['quiet', 'vm']
    assert again.take('vm', running('<tpm/>')) == []
