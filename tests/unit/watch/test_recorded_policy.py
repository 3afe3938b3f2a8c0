# SPDX-License-Identifier: Apache-2.0
"""Which changes of a policy are recorded by whoever finds it changed, and what of them."""

import fcntl
import os

import pytest
from virtguard.policy import load
from virtguard.watch import recorded_policy
from virtguard.watch.policy_in_force import PolicyInForce
from virtguard.watch.recorded_policy import RecordedPolicy, noted_of, state_fields

RULE = '{id: %s, title: t, action: %s, match: /domain, why: w, remedy: r}'


def text(mode='enforce', **actions):
    rules = ', '.join(RULE % (id, '"%s"' % action) for id, action in actions.items() or [('a', 'deny')])
    return 'policy: test\nmode: %s\nrules: [%s]\n' % (mode, rules)


class Site:
    """A policy and its drop-ins, what the records know of it, and the records themselves."""

    def __init__(self, directory):
        self.path = directory / 'policy.yaml'
        self.drop_ins = directory / 'policy.d'
        self.drop_ins.mkdir()
        self.state = directory / 'state'
        self.state.mkdir()
        self.recorded = RecordedPolicy(str(self.state))
        self.records = []
        self.day = '2026-11-28'
        self.in_force = PolicyInForce(lambda: load.trusted(str(self.path), self.day))
        self.put(text())

    def put(self, content, name=''):
        path = self.drop_ins / name if name else self.path
        path.write_text(content)
        return str(path)

    def look(self):
        """What a watch does where the policy was changed; return the record if there is one."""
        self.in_force.load()
        assert self.recorded.keep_up(load.trusted(str(self.path), self.day), self.in_force, self.records.append)
        records, self.records = self.records, []
        assert len(records) <= 1
        return records[0] if records else None


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def values(fields, name):
    return [value for key, value in fields if key == name]


def message(fields):
    (said,) = values(fields, 'MESSAGE')
    return said.partition('by a command of virt-guard: ')[2] or said


def test_what_was_never_recorded_is_no_change(site):
    assert site.look() is None
    assert site.look() is None
    assert site.recorded.read().sha256 == load.trusted(str(site.path)).sha256


def test_a_file_that_comes_changes_and_goes(site):
    site.look()
    path = site.put('{rules: [{id: a, action: warn, reason: r}]}', '50-site.yaml')
    assert message(site.look()) == '%s was added' % path
    site.put('{rules: [{id: a, action: "off", reason: r}]}', '50-site.yaml')
    fields = site.look()
    assert message(fields) == '%s was changed; off now: a' % path
    assert values(fields, 'VIRT_GUARD_OFF') == ['a']
    os.unlink(path)
    fields = site.look()
    assert message(fields) == '%s was removed; no longer off: a' % path
    assert values(fields, 'VIRT_GUARD_OFF') == [] and values(fields, 'VIRT_GUARD_FILE') == [path]
    assert site.look() is None


def test_several_files_at_once(site):
    site.look()
    paths = [site.put('{}\n', '%d.yaml' % number) for number in range(9)]
    site.put('{failure: admit}\n', '9.yaml')
    fields = site.look()
    assert message(fields).startswith('%s was added, ' % paths[0]) and message(fields).endswith(' and 2 more')
    assert len(values(fields, 'VIRT_GUARD_FILE')) == 10
    assert values(fields, 'VIRT_GUARD_FILE_SHA256') == []  # of which?
    assert len(values(fields, 'VIRT_GUARD_POLICY_FILES')) == 11


def test_as_much_as_a_record_can_hold(site):
    site.look()
    for number in range(70):
        site.put('# %d\n{}\n' % number, '%02d.yaml' % number)
    fields = site.look()
    assert len(values(fields, 'VIRT_GUARD_FILE')) == 64
    assert values(fields, 'VIRT_GUARD_POLICY_FILES')[-1] == 'and 7 more'


def test_the_same_content_again_is_no_change(site):
    site.look()
    site.put(text())
    os.utime(str(site.path), (1, 1))
    assert site.look() is None


def test_mode_audit_that_ends_by_itself(site):
    site.put(text('{audit-until: 2026-11-28}'))
    site.look()
    site.day = '2026-11-29'
    fields = site.look()
    assert message(fields) == 'the policy is the same, and its mode is now enforce (it was: audit)'
    assert values(fields, 'VIRT_GUARD_MODE_BEFORE') == ['audit'] and values(fields, 'VIRT_GUARD_MODE') == ['enforce']
    assert values(fields, 'VIRT_GUARD_FILE') == []
    assert site.look() is None


def test_a_command_that_changes_the_policy_is_waited_for(site):
    site.look()
    site.put(text('audit'))
    site.in_force.load()
    policy = load.trusted(str(site.path))
    with (site.state / recorded_policy.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not site.recorded.keep_up(policy, site.in_force, pytest.fail)
        site.recorded.write(noted_of(policy))  # as the command does, when it has recorded the change
    assert site.recorded.keep_up(policy, site.in_force, pytest.fail)


def test_a_policy_that_is_another_by_now_is_left_to_whoever_looks_next(site):
    site.look()
    site.put(text('audit'))
    site.in_force.load()
    policy = load.trusted(str(site.path))
    site.put('{}\n', '50-site.yaml')
    assert site.recorded.keep_up(policy, site.in_force, pytest.fail)
    assert message(site.look()).endswith('; mode audit (it was: enforce)')


def test_a_file_of_another_content_than_was_loaded(site):
    policy = load.trusted(str(site.path))
    assert noted_of(policy).sha256 == policy.sha256
    site.put(text('audit'))
    assert noted_of(policy) is None
    site.recorded.catch_up(policy, pytest.fail)
    assert site.recorded.read() is None


def test_what_the_records_knew_is_damaged(site):
    site.look()
    path = site.state / recorded_policy.NAME
    path.write_bytes(path.read_bytes()[:-1])
    site.put(text('audit'))
    assert site.look() is None  # nobody knows what it was
    site.put(text('enforce'))
    assert site.look() is not None


def test_each_change_has_its_event(site):
    site.look()
    before = site.recorded.read()
    events = []
    for mode in ('audit', 'enforce', 'audit'):
        site.put(text(mode))
        events += values(site.look(), 'VIRT_GUARD_EVENT')
        if mode == 'enforce':
            site.recorded.write(before)  # as a watch leaves it that is killed too soon
    assert events[0] == events[2] != events[1] and len(events[0]) == 32


def test_fields_where_nothing_is_known_of_before(site):
    fields = state_fields(None, noted_of(load.trusted(str(site.path))))
    assert [name for name, _ in fields] == ['VIRT_GUARD_POLICY_FILES']
