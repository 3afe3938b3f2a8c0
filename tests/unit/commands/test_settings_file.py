# SPDX-License-Identifier: Apache-2.0
"""Edits of a drop-in with settings: one line changes, and all others stay as they are."""

import pytest
from virtguard.commands.policies.settings_file import with_setting
from virtguard.errors import GuardError
from virtguard.policy.problems import PolicyError

WRITTEN = """\
# Ours.
mode:   audit      # for a while

deadline: 3
rules:
  - {id: one, action: warn}
# The end.
"""


def edited(text, key, value):
    return with_setting(text.encode('utf-8'), '70-settings.yaml', key, value).decode('utf-8')


@pytest.mark.parametrize('newline', ['\n', '\r\n'])
@pytest.mark.parametrize(
    ('key', 'value', 'before', 'after'),
    [
        ('mode', 'enforce', 'mode:   audit      #', 'mode:   enforce      #'),
        ('mode', '{audit-until: 2027-01-31}', ':   audit      #', ':   {audit-until: 2027-01-31}      #'),
        ('mode', '', 'mode:   audit      # for a while\n', ''),
        ('deadline', '', 'deadline: 3\n', ''),
        ('deadline', '4.5', 'deadline: 3', 'deadline: 4.5'),
        ('failure', 'admit', '# The end.\n', '# The end.\nfailure: admit\n'),
        ('failure', '', '', ''),
    ],
)
def test_one_setting_changes(newline, key, value, before, after):
    text, expected = (one.replace('\n', newline) for one in (WRITTEN, WRITTEN.replace(before, after)))
    assert edited(text, key, value) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', 'mode: audit\n'),
        ('# none', '# none\nmode: audit\n'),
        ('mode:\n  audit-until: 2027-01-31  # Sunday\n', 'mode:\n  audit  # Sunday\n'),
        ('mode: {audit-until: 2027-01-31}', 'mode: audit'),
    ],
)
def test_a_setting_is_there_for_the_first_time_or_in_another_form(text, expected):
    assert edited(text, 'mode', 'audit') == expected


def test_a_new_file_says_who_writes_it():
    text = with_setting(None, '70-settings.yaml', 'mode', 'audit').decode('utf-8')
    assert text.startswith('# ') and text.endswith('\nmode: audit\n')
    assert edited(text + '# ours\n', 'mode', '').endswith('\n# ours\n')


def test_no_file_is_left_or_made_without_a_setting():
    text = with_setting(None, '70-settings.yaml', 'mode', 'audit')
    assert with_setting(text, '70-settings.yaml', 'mode', '') is None
    assert with_setting(None, '70-settings.yaml', 'mode', '') is None


@pytest.mark.parametrize('text', ['mode: adit\n', '{deadline: 3}\n', 'deadline: 3\n...\n', '- a\n'])
def test_what_is_broken_or_would_be_is_refused(text):
    with pytest.raises(GuardError):
        edited(text, 'mode', 'audit')
    if text[0] != '-' and 'adit' not in text:
        with pytest.raises(GuardError, match='70-settings.yaml is written in a way that the command cannot edit'):
            edited(text, 'mode', 'audit')
    with pytest.raises(PolicyError):
        edited('deadline: 3\n', 'mode', 'adit')


@pytest.mark.parametrize(
    'text', ['mode: {audit-until: 2027-01-31  # Sunday\n  }\n', 'mode: {  # now\n  audit-until: 2027-01-31}\n']
)
def test_a_comment_that_would_be_lost_is_a_reason_to_refuse(text):
    with pytest.raises(
        GuardError, match='has a comment within a value .* by hand: virt-guard policy edit 70-settings.yaml'
    ):
        edited(text, 'mode', 'audit')
    with pytest.raises(GuardError, match='by hand: virt-guard policy edit 70-settings.yaml'):
        edited('{deadline: 3}\n', 'mode', 'audit')
