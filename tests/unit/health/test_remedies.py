# SPDX-License-Identifier: Apache-2.0
"""What `status` proposes: only what mends."""

from virtguard.health import watching
from virtguard.health.hook_in_place import examine_hook
from virtguard.policy.installation import installed_below, installer


def test_no_link_is_proposed_to_a_program_that_is_not_there(tmp_path):
    place = installed_below(str(tmp_path))
    (tmp_path / 'etc/libvirt/hooks').mkdir(parents=True)
    link = next(iter(examine_hook(place)))
    assert (link.subject, link.remedy) == ('link', installer())
    (tmp_path / 'usr/sbin').mkdir(parents=True)
    (tmp_path / 'usr/sbin/virt-guard-hook').write_text('#!/bin/sh\n')
    link = next(iter(examine_hook(place)))
    assert (link.subject, link.remedy) == ('link', 'ln -sfn %s %s/qemu' % (place.program, place.hooks))


def test_of_times_in_which_nobody_watched_the_longest_is_told(monkeypatch):
    """Each upgrade makes a short one, and there may be many: they must not hide the one of hours."""
    times = [(0, 2), (2, 4), (9, 59), (4, 6), (None, None)]
    records = [
        {
            'MESSAGE': 'nobody watched from %s to %s' % (begin, end),
            'VIRT_GUARD_SINCE': '' if begin is None else '2026-11-01T12:%02d:00Z' % begin,
            'VIRT_GUARD_UNTIL': '2026-11-01T12:%02d:00Z' % (end or 0),
        }
        for begin, end in times
    ]
    told = 'nobody watched from 9 to 59; and 4 other times in the last 7 days: journalctl -t virt-guard MESSAGE_ID='
    for some, expected in ((records, [told]), (records[:1], ['nobody watched from 0 to 2']), ([], [])):
        monkeypatch.setattr(watching, 'read_records', lambda *arguments, some=some, **options: iter(some))
        said = list(watching._before())
        assert [condition.text[: len(told)] for condition in said] == expected
        assert not any(condition.remedy for condition in said)  # what only shows more mends nothing
