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


def test_what_only_shows_more_is_no_remedy(monkeypatch):
    records = [{'MESSAGE': 'nobody watched %d' % number} for number in range(7)]
    monkeypatch.setattr(watching, 'read_records', lambda *arguments, **options: iter(records))
    *_, last = watching._before()
    assert last.text.startswith('and 2 more in the last 7 days: journalctl ') and not last.remedy
