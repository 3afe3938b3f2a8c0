# SPDX-License-Identifier: Apache-2.0
"""The policy that an installation would put in force: which profile, and what of the one that is there stays."""

import pathlib
import re
import subprocess

import pytest
from support import policies
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
    settings_path,
    shipped_policy,
    without_settings,
)
from virtguard.errors import GuardError
from virtguard.host import today
from virtguard.policy import load
from virtguard.policy.installation import profiles
from virtguard.policy.problems import PolicyError

INSTALLER = pathlib.Path(__file__).resolve().parents[3] / 'install.sh'
# As people write them, of which some are none.
VALUES = ('audit', '"enforce"', "'deny'  # why", 'admit\t', ' audit\r', 'audit#', 'audits', '"audit', '{}', '')


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path / 'policy.yaml'


@pytest.fixture
def pristine(tmp_path):
    return tmp_path / 'pristine.yaml'


def candidate(policy, pristine, profile='rhel-9', mode=''):
    return make_candidate(str(policy), str(pristine), profile, mode)


def listed(profile, mode='enforce', failure='deny'):
    """What earlier versions have put into /etc."""
    text = pathlib.Path(profiles()[profile]).read_text()
    for key, value in (('mode', mode), ('failure', failure)):
        text = policies.setting(key, value)(text)
    return text.encode()


def drop_in(policy, name, text):
    path = policy.with_name('policy.d') / name
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    return path


def lines(candidate):
    """What is to be in the drop-in of settings, but for the comment; None where it stays as it is."""
    return None if candidate.settings is None else candidate.settings.decode().splitlines()[1:]


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


def function_of_installer(name):
    return re.search(r'^%s\(\).*?^}$' % name, INSTALLER.read_text(), re.MULTILINE | re.DOTALL).group()


def test_the_installer_compares_as_this_does(policy):
    """--uninstall has to tell an edited policy where Python does not run."""
    values = [(key, value) for key in ('mode', 'failure', ' mode') for value in VALUES]
    policy.write_bytes(
        ''.join('%s: %s\n' % pair for pair in values).encode() + b'policy: \xe9\nmode: audit  # x\nmode: audit'
    )
    command = ['sh', '-c', function_of_installer('without_settings') + '\nwithout_settings "$1"', 'sh', str(policy)]
    expected = subprocess.check_output(command, env={'LC_ALL': 'C', 'PATH': '/usr/bin:/bin'})
    assert without_settings(policy.read_bytes()) == expected
    assert b'mode: # x\n' in expected and b'mode: audit#\n' in expected and b'\nmode: audit\n' not in expected


@pytest.mark.parametrize('profile', sorted(profiles()))
def test_the_installer_ships_as_this_does(profile):
    script = 'checkout=%s\n%s\nwrite_policy %s' % (INSTALLER.parent, function_of_installer('write_policy'), profile)
    written = subprocess.check_output(['sh', '-c', script], env={'LC_ALL': 'C', 'PATH': '/usr/bin:/bin'})
    assert shipped_policy(profile) == written
    assert [line for line in written.decode().splitlines() if not re.match('#|$', line)] == [
        'policy: ' + profile,
        'extends: ' + profile,
    ]


# --- what is there


def test_a_candidate_where_no_policy_is_installed(policy, pristine):
    made = candidate(policy, pristine)
    assert (made.state, made.data, made.settings) == (SHIPPED, shipped_policy('rhel-9'), None)
    assert made.load().name == 'rhel-9' and not policy.exists()
    made = candidate(policy, pristine, mode='audit')
    assert (made.load().mode, made.load().failure) == ('audit', 'admit')
    assert (made.data, lines(made)) == (shipped_policy('rhel-9'), ['mode: audit', 'failure: admit'])
    assert candidate(policy, pristine, mode='enforce').settings is None, 'so it is already'


@pytest.mark.parametrize(
    ('before', 'site', 'after'),
    [
        (('enforce', 'deny'), '', None),
        (('audit', 'admit'), '', ['mode: audit', 'failure: admit']),
        (('audit', 'deny'), '', ['mode: audit']),
        (('enforce', 'admit'), 'mode: audit', ['failure: admit']),
        (('audit', 'admit'), 'mode: enforce\nfailure: deny', None),
        (('audit', 'deny'), 'mode: {audit-until: 2020-01-31}', None),
    ],
)
def test_a_list_with_only_other_settings_is_not_edited(policy, pristine, before, site, after):
    """It becomes two lines; its mode and failure move, unless a drop-in has decided before, and still does."""
    pristine.write_bytes(listed('rhel-8'))
    policy.write_bytes(listed('rhel-8', *before))
    if site:
        drop_in(policy, '50-site.yaml', site)
    made = candidate(policy, pristine)
    assert is_same_policy(str(policy), str(pristine))
    assert (made.state, made.data, lines(made)) == (SHIPPED, shipped_policy('rhel-9'), after)
    then = load.trusted(str(policy), today())
    assert (made.load().mode, made.load().failure) == (then.mode, then.failure)
    made = candidate(policy, pristine, mode='enforce')
    assert (made.load().mode, made.load().failure) == ('enforce', 'deny')


@pytest.mark.parametrize('profile', sorted(profiles()))
def test_an_unedited_list_of_any_profile_becomes_two_lines(policy, pristine, profile):
    for path in (policy, pristine):
        path.write_bytes(pathlib.Path(profiles()[profile]).read_bytes())
    chosen, reason = choose_profile('', str(pristine))
    assert (chosen, reason.startswith('as before')) == (profile, True)
    made = candidate(policy, pristine, chosen)
    assert (made.state, made.data, lines(made)) == (SHIPPED, shipped_policy(profile), None)
    assert made.load().name == profile


def test_a_mode_that_was_added_to_the_two_lines_moves(policy, pristine):
    pristine.write_bytes(shipped_policy('rhel-8'))
    policy.write_bytes(shipped_policy('rhel-8') + b'mode: audit\n')
    made = candidate(policy, pristine)
    assert (made.state, made.data, lines(made)) == (SHIPPED, shipped_policy('rhel-9'), ['mode: audit'])


def test_settings_of_before_stay(policy, pristine):
    path = drop_in(policy, '70-settings.yaml', '# ours\ndeadline: 9\nmode: {audit-until: 2099-01-31}  # x\n')
    assert settings_path(str(policy)) == str(path)
    assert candidate(policy, pristine).settings is None
    made = candidate(policy, pristine, mode='audit')
    assert made.settings == b'# ours\ndeadline: 9\nmode: audit  # x\nfailure: admit\n', 'no day ends it'


def test_an_edited_policy_is_kept(policy, pristine):
    pristine.write_bytes(listed('rhel-8'))
    edited = listed('rhel-8') + b'# a note of ours'
    policy.write_bytes(edited)
    assert not is_same_policy(str(policy), str(pristine))
    made = candidate(policy, pristine)
    assert (made.state, made.data) == (EDITED, edited)
    made = candidate(policy, pristine, mode='audit')
    assert (made.load().mode, made.data, lines(made)) == ('audit', edited, ['mode: audit', 'failure: admit'])
    assert policy.read_bytes() == edited


def test_what_is_new_is_offered_beside_an_edited_policy(policy, pristine):
    pristine.write_bytes(listed('rhel-8'))
    policy.write_bytes(listed('rhel-8', 'audit', 'admit') + b'# a note of ours\n')
    made = candidate(policy, pristine, 'rhel-9')
    offer = shipped_policy('rhel-9') + b'mode: audit\nfailure: admit\n'
    assert make_offer(made, str(pristine), 'rhel-9') == offer
    # Once the site has taken it, the file beside it has nothing more to say.
    pristine.write_bytes(shipped_policy('rhel-9'))
    assert make_offer(candidate(policy, pristine, 'rhel-9'), str(pristine), 'rhel-9') is None, 'there is nothing new'
    (policy.parent / 'policy.yaml.new').write_bytes(offer)
    assert not is_offer_settled(made, str(pristine), 'rhel-9')
    policy.write_bytes(offer)
    made = candidate(policy, pristine, 'rhel-9')
    assert is_offer_settled(made, str(pristine), 'rhel-9')
    assert (made.data, lines(made)) == (shipped_policy('rhel-9'), ['mode: audit', 'failure: admit'])


def test_without_what_was_shipped_every_policy_is_edited(policy, pristine):
    policy.write_bytes(listed('rhel-8'))
    assert candidate(policy, pristine).state == EDITED


def test_a_link_is_kept_and_not_written_through(policy, pristine, tmp_path):
    policy.symlink_to(tmp_path / 'elsewhere.yaml')
    with pytest.raises(GuardError, match='is a broken link'):
        candidate(policy, pristine)
    (tmp_path / 'elsewhere.yaml').write_bytes(listed('rhel-8'))
    assert not is_same_policy(str(policy), str(tmp_path / 'elsewhere.yaml'))
    assert candidate(policy, pristine).state == LINK
    made = candidate(policy, pristine, mode='audit')
    assert (made.state, made.data, lines(made)) == (LINK, listed('rhel-8'), ['mode: audit', 'failure: admit'])


def test_a_policy_that_is_not_a_file(policy, pristine):
    policy.mkdir()
    with pytest.raises(GuardError, match='is not a file'):
        candidate(policy, pristine)


def test_a_mode_that_a_later_drop_in_decides(policy, pristine):
    later = drop_in(policy, '90-site.yaml', 'deadline: 3\nfailure: deny\n')
    with pytest.raises(GuardError, match='90-site.yaml:2 sets failure, too, and counts later'):
        candidate(policy, pristine, mode='audit').load()
    later.unlink()
    assert candidate(policy, pristine, mode='audit').load().mode == 'audit'


def test_a_policy_that_cannot_be_read_is_told_when_it_is_loaded(policy, pristine):
    drop_in(policy, '50-site.yaml', 'dead-line: 3\n')
    made = candidate(policy, pristine, mode='audit')
    with pytest.raises(PolicyError, match='dead-line'):
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
    pristine.write_bytes(shipped_policy(before))
    assert choose_profile(wanted, str(pristine)) == chosen


@pytest.mark.parametrize('before', [None, b'policy: of-the-site\n', b'rules: []\n'])
def test_without_an_installed_profile_that_of_the_host_is_chosen(pristine, before):
    if before is not None:
        pristine.write_bytes(before)
    profile, why = choose_profile('', str(pristine))
    assert profile in profiles() and why.startswith('this host is ')
