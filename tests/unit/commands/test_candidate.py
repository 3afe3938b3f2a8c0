# SPDX-License-Identifier: Apache-2.0
"""The policy that an installation would put in force: which profile, and what of the one that is there stays."""

import pathlib
import re
import subprocess

import pytest
from virtguard.commands.installing.candidate import (
    EDITED,
    LINK,
    SHIPPED,
    choose_profile,
    is_offer_settled,
    is_same_policy,
    make_candidate,
    make_offer,
    setting,
    with_settings,
    without_settings,
)
from virtguard.errors import GuardError
from virtguard.policy.installation import profiles

INSTALLER = pathlib.Path(__file__).resolve().parents[3] / 'install.sh'
# As people write them, of which some are none.
VALUES = ('audit', '"enforce"', "'deny'  # why", 'admit\t', ' audit\r', 'audit#', 'audits', '"audit', '{}', '')


@pytest.fixture
def policy(tmp_path):
    return tmp_path / 'policy.yaml'


@pytest.fixture
def pristine(tmp_path):
    return tmp_path / 'pristine.yaml'


def candidate(policy, pristine, profile='rhel-9', mode=''):
    return make_candidate(str(policy), str(pristine), profile, mode)


def shipped(profile):
    with open(profiles()[profile], 'rb') as file:
        return file.read()


# --- settings in the text


@pytest.mark.parametrize(
    ('line', 'value'),
    [
        ('mode: audit', 'audit'),
        ('mode:\t"audit"  # why', 'audit'),
        ("mode: 'audit'\r", 'audit'),
        ('mode: audit#', ''),
        ('# mode: audit', ''),
        (' mode: audit', ''),
        ('mode:audit', ''),
        ('mode: {}', ''),
    ],
)
def test_a_setting_is_read_as_it_is_written(line, value):
    assert setting('mode', ('failure: deny\n%s\nrules: []\n' % line).encode()) == value


def test_the_first_of_two_settings_counts():
    assert setting('mode', b'mode: enforce\nmode: audit\n') == 'enforce'


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('mode: enforce', 'mode: audit'),
        ('mode: "enforce"', 'mode: audit'),
        ('mode:  enforce  # why', 'mode:  audit    # why'),  # the comment stays in its column
        ("mode: 'enforce' # why", 'mode: audit     # why'),
        ('mode: enforce   ', 'mode: audit   '),
        ('mode: audit # why', 'mode: audit # why'),
        ('mode: other', 'mode: other'),
        ('mode: enforce#', 'mode: enforce#'),
        (' mode: enforce', ' mode: enforce'),
        ('mode: enforce\r', 'mode: enforce\r'),
    ],
)
def test_a_setting_is_changed_in_its_place(before, after):
    text = 'policy: \xe9\n%s\nfailure: deny # as it was\n'
    changed = with_settings((text % before).encode('latin-1'), 'audit', '')
    assert changed == (text % after).encode('latin-1')


def test_a_longer_value_takes_spaces_before_the_comment():
    assert with_settings(b'mode: audit    # why\n', 'enforce', '') == b'mode: enforce  # why\n'
    assert with_settings(b'mode: audit # why\n', 'enforce', '') == b'mode: enforce # why\n'
    assert with_settings(b'mode: audit\nfailure: deny   # x', '', 'admit') == b'mode: audit\nfailure: admit  # x'


def test_the_installer_compares_as_this_does(policy):
    """--uninstall has to tell an edited policy where Python does not run."""
    lines = ['%s: %s' % (key, value) for key in ('mode', 'failure', ' mode') for value in VALUES]
    policy.write_bytes(''.join(line + '\n' for line in lines).encode() + b'policy: \xe9\nmode: audit')
    function = re.search(r'^without_settings\(\).*?^}$', INSTALLER.read_text(), re.MULTILINE | re.DOTALL).group()
    command = ['sh', '-c', function + '\nwithout_settings "$1"', 'sh', str(policy)]
    expected = subprocess.check_output(command, env={'LC_ALL': 'C', 'PATH': '/usr/bin:/bin'})
    assert without_settings(policy.read_bytes()) == expected
    assert expected.count(b'mode: \n') > 2 and b'mode: audit#' in expected


# --- what is there


def test_a_candidate_where_no_policy_is_installed(policy, pristine):
    made = candidate(policy, pristine)
    assert (made.state, made.data) == (SHIPPED, shipped('rhel-9'))
    assert made.load().name == 'rhel-9' and not policy.exists()
    made = candidate(policy, pristine, mode='audit')
    assert (made.load().mode, made.load().failure) == ('audit', 'admit')


def test_a_policy_with_only_other_settings_is_not_edited(policy, pristine):
    """An upgrade brings the new list, and keeps mode and failure."""
    pristine.write_bytes(shipped('rhel-8'))
    policy.write_bytes(with_settings(shipped('rhel-8'), 'audit', 'admit'))
    assert is_same_policy(str(policy), str(pristine))
    made = candidate(policy, pristine)
    assert (made.state, made.data) == (SHIPPED, with_settings(shipped('rhel-9'), 'audit', 'admit'))
    made = candidate(policy, pristine, mode='enforce')
    assert (made.state, made.data) == (SHIPPED, shipped('rhel-9'))


def test_an_edited_policy_is_kept(policy, pristine):
    pristine.write_bytes(shipped('rhel-8'))
    edited = shipped('rhel-8') + b'# a note of ours'
    policy.write_bytes(edited)
    assert not is_same_policy(str(policy), str(pristine))
    made = candidate(policy, pristine)
    assert (made.state, made.data) == (EDITED, edited)
    assert candidate(policy, pristine, mode='audit').load().mode == 'audit'
    assert policy.read_bytes() == edited


def test_what_is_new_is_offered_beside_an_edited_policy(policy, pristine):
    pristine.write_bytes(shipped('rhel-8'))
    policy.write_bytes(with_settings(shipped('rhel-8'), 'audit', 'admit') + b'# a note of ours\n')
    made = candidate(policy, pristine, 'rhel-9')
    offer = with_settings(shipped('rhel-9'), 'audit', 'admit')
    assert make_offer(made, str(pristine), 'rhel-9') == offer
    assert make_offer(candidate(policy, pristine, 'rhel-8'), str(pristine), 'rhel-8') is None, 'there is nothing new'
    # Once the site has taken it, the file beside it has nothing more to say.
    (policy.parent / 'policy.yaml.new').write_bytes(offer)
    assert not is_offer_settled(made, str(pristine), 'rhel-9')
    policy.write_bytes(offer)
    assert make_offer(candidate(policy, pristine, 'rhel-9'), str(pristine), 'rhel-9') is None
    policy.write_bytes(shipped('rhel-8'))
    assert is_offer_settled(candidate(policy, pristine, 'rhel-9'), str(pristine), 'rhel-9')


def test_without_what_was_shipped_every_policy_is_edited(policy, pristine):
    policy.write_bytes(shipped('rhel-8'))
    assert candidate(policy, pristine).state == EDITED


def test_a_link_is_kept_and_not_written_through(policy, pristine, tmp_path):
    policy.symlink_to(tmp_path / 'elsewhere.yaml')
    with pytest.raises(GuardError, match='is a broken link'):
        candidate(policy, pristine)
    (tmp_path / 'elsewhere.yaml').write_bytes(shipped('rhel-8'))
    assert not is_same_policy(str(policy), str(tmp_path / 'elsewhere.yaml'))
    assert candidate(policy, pristine).state == LINK
    with pytest.raises(GuardError, match=r'is a link: set mode \(audit\) and failure \(admit\)'):
        candidate(policy, pristine, mode='audit')


def test_a_policy_that_is_not_a_file(policy, pristine):
    policy.mkdir()
    with pytest.raises(GuardError, match='is not a file'):
        candidate(policy, pristine)


def test_a_mode_that_cannot_be_set_in_the_text(policy, pristine):
    policy.write_bytes(shipped('rhel-8').replace(b'\nmode: ', b'\n"mode": '))
    made = candidate(policy, pristine, mode='audit')
    with pytest.raises(GuardError, match=r'set mode \(audit\) and failure \(admit\) in .* by hand'):
        made.load()


# --- the profile


@pytest.mark.parametrize(
    ('wanted', 'before', 'chosen'),
    [
        ('sles-15', 'rhel-9', ('sles-15', '--profile')),
        ('', 'rhel-9', ('rhel-9', 'as before; --profile chooses another')),
    ],
)
def test_the_profile_is_what_is_asked_for_or_what_was_there(pristine, wanted, before, chosen):
    pristine.write_bytes(shipped(before))
    assert choose_profile(wanted, str(pristine)) == chosen


@pytest.mark.parametrize('before', [None, b'policy: of-the-site\n', b'rules: []\n'])
def test_without_an_installed_profile_that_of_the_host_is_chosen(pristine, before):
    if before is not None:
        pristine.write_bytes(before)
    profile, why = choose_profile('', str(pristine))
    assert profile in profiles() and why.startswith('this host is ')
