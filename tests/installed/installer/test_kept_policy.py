# SPDX-License-Identifier: Apache-2.0
"""What install.sh does with a policy that is there: an edited one stays. A mode is never written into it, but into the
drop-in of `virt-guard policy set`."""

import shutil
import threading

import pytest
from installation import CLEAN, DENIED, Installed
from installing import (
    OFFERED,
    POLICY,
    PRISTINE,
    PROFILES,
    SETTINGS,
    begin_installed,
    edit,
    install,
    make_full_policy,
    settings,
    shipped,
    tree,
)


def edit_settings(there):
    """As people do who edit what was installed, although drop-ins are made for that."""
    there.policy.write_text(there.policy.read_text() + 'deadline: 7\n')


# --- mode


def test_mode(root):
    install(root, '--mode', 'audit')
    there = Installed(root)
    assert there.policy.read_bytes() == shipped('rhel-8')
    assert settings(root) == ['mode: audit', 'failure: admit']
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0
    assert there.run_hook('guest', 'prepare', b'not XML').returncode == 0
    before = tree(root)
    install(root)
    assert tree(root) == before, 'without --mode, the mode stays'
    install(root, '--mode=enforce')
    assert there.policy.read_bytes() == shipped('rhel-8')
    assert settings(root) == ['mode: enforce', 'failure: deny']
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 1


def test_mode_that_is_so_already_is_not_written(root):
    install(root, '--mode', 'enforce')
    assert not (root / SETTINGS).exists()


def test_mode_beside_what_policy_set_has_written(root):
    begin_installed(root)
    there = Installed(root)
    for words in (['deadline', '9'], ['mode', 'audit', '--until', '+3d']):
        assert there.run_cli('policy', 'set', *words).returncode == 0
    install(root, '--mode', 'audit')
    assert settings(root) == ['deadline: 9', 'mode: audit', 'failure: admit'], 'no day ends it any more'
    assert b'unchanged' in there.run_cli('policy', 'set', 'failure', 'admit').stdout
    install(root, '--mode', 'enforce')
    assert settings(root) == ['deadline: 9', 'mode: enforce', 'failure: deny']
    assert 'kept       %s' % (root / SETTINGS) in install(root, '--uninstall').stdout


def test_mode_of_an_edited_policy(root):
    begin_installed(root)
    there = Installed(root)
    edited = make_full_policy(root, mode='"enforce"  # see ticket 7 #', deadline='7')
    install(root, '--mode', 'audit')
    assert there.policy.read_bytes() == edited
    assert settings(root) == ['mode: audit', 'failure: admit']
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_mode_that_another_drop_in_decides(root):
    begin_installed(root)
    later = root / 'etc/virt-guard/policy.d/90-site.yaml'
    later.write_text('# ours\nmode: enforce\n')
    before = tree(root)
    assert '%s:2 sets mode, too, and counts later' % later in install(root, '--mode', 'audit', status=1).stderr
    assert tree(root) == before
    install(root, '--mode', 'enforce')
    assert not (root / SETTINGS).exists()


@pytest.mark.parametrize('text', ['{deadline: 3}\n', 'deadline: 3\n...\n'])
def test_mode_beside_settings_that_cannot_be_edited(root, text):
    begin_installed(root)
    (root / SETTINGS).write_text(text)
    before = tree(root)
    assert '%s is written in a way that the command cannot edit' % (root / SETTINGS) in (
        install(root, '--mode', 'audit', status=1).stderr
    )
    assert tree(root) == before
    install(root)


# --- from versions that put the whole list into /etc


# Each profile: tests/unit/commands/test_candidate.py.
@pytest.mark.parametrize('profile', ['rhel-8', 'rhv-4'])
def test_an_unedited_list_becomes_two_lines(root, profile):
    install(root, '--profile', profile)
    make_full_policy(root, profile)
    result = install(root)
    assert 'profile    %s (as before' % profile in result.stdout and 'is edited' not in result.stdout
    assert (root / POLICY).read_bytes() == (root / PRISTINE).read_bytes() == shipped(profile)
    assert settings(root) == [] and not (root / OFFERED).exists()
    assert 'unchanged' in install(root).stdout


# More of them: tests/unit/commands/test_candidate.py.
@pytest.mark.parametrize(
    ('before', 'drop_in', 'after'),
    [
        ({'mode': "'audit'", 'failure': 'admit'}, '', ['mode: audit', 'failure: admit']),
        ({'mode': 'audit', 'failure': 'admit'}, 'mode: enforce\n', ['failure: admit']),  # it has counted, and does
        ({'mode': 'audit'}, 'mode: {audit-until: 2020-01-31}\n', []),
    ],
)
def test_mode_and_failure_of_an_unedited_list_are_kept(root, before, drop_in, after):
    begin_installed(root)
    make_full_policy(root, **before)
    if drop_in:
        (root / 'etc/virt-guard/policy.d/50-site.yaml').write_text(drop_in)
    there = Installed(root)
    answers = [there.run_hook('guest', 'prepare', xml).returncode for xml in (CLEAN, DENIED, b'not XML')]
    install(root)
    assert there.policy.read_bytes() == shipped('rhel-8')
    assert settings(root) == after
    assert [there.run_hook('guest', 'prepare', xml).returncode for xml in (CLEAN, DENIED, b'not XML')] == answers


def test_no_call_sees_another_mode_while_the_list_becomes_two_lines(root):
    """The mode moves from one file to another; beside that, in enforce mode, no start of an unsupported domain is
    admitted, and in audit mode none is refused."""
    begin_installed(root)
    there = Installed(root)
    for changes, expected in (({}, {1}), ({'mode': 'audit', 'failure': 'admit'}, {0})):
        make_full_policy(root, **changes)
        assert there.run_cli('policy', 'compile').returncode == 0
        seen, end = [], threading.Event()

        def call(seen=seen, end=end):
            while not end.is_set():
                seen.append(there.run_hook('guest', 'prepare', DENIED, timeout=60).returncode)

        thread = threading.Thread(target=call)
        thread.start()
        try:
            install(root)
        finally:
            end.set()
            thread.join()
        assert set(seen) == expected and there.policy.read_bytes() == shipped('rhel-8')


def test_an_edited_list_is_kept_and_asked_about_once(root, checkout):
    begin_installed(root)
    there = Installed(root)
    edited = make_full_policy(root, deadline='7', mode='audit')
    said = install(root).stdout
    assert OFFERED in said and 'those of new versions do not reach this host' in said
    assert there.policy.read_bytes() == edited
    assert (root / OFFERED).read_bytes() == shipped('rhel-8') + b'mode: audit\n'
    (root / OFFERED).unlink()
    edit(checkout / PROFILES['rhel-8'], 'deadline: 5 ', 'deadline: 6 ')
    said = install(root, checkout=checkout).stdout
    assert OFFERED not in said and 'those of new versions do not reach this host' in said
    assert there.policy.read_bytes() == edited and not (root / OFFERED).exists()


def test_what_was_offered_for_an_edited_list_is_taken(root):
    begin_installed(root)
    there = Installed(root)
    make_full_policy(root, deadline='7', mode='audit')
    install(root)
    (root / OFFERED).rename(there.policy)
    install(root)
    assert (there.policy.read_bytes(), settings(root)) == (shipped('rhel-8'), ['mode: audit'])
    assert 'unchanged' in install(root).stdout


# --- upgrades


def test_an_upgrade_brings_a_list_and_asks_about_no_file(root, checkout):
    begin_installed(root, '--mode', 'audit')
    there = Installed(root)
    (root / 'etc/virt-guard/policy.d/50-site.yaml').write_text('deadline: 8\n')
    edit_settings(there)
    before = [path.read_bytes() for path in (there.policy, root / SETTINGS)]
    edit(checkout / PROFILES['rhel-8'], '\n  - id: tcg\n    title: ', '\n  - id: tcg\n    title: newer ')
    assert 'policy.yaml' not in install(root, checkout=checkout).stdout.partition('checked')[2].partition('\n\n')[0]
    assert [path.read_bytes() for path in (there.policy, root / SETTINGS)] == before
    assert b'newer TCG software emulation' in there.run_cli('explain', 'tcg').stdout
    install(root, '--uninstall', checkout=checkout)
    assert there.policy.exists() and not (root / SETTINGS).exists()


def test_edited_policy_is_kept(root, checkout):
    begin_installed(root)
    policy, new = root / POLICY, root / OFFERED
    edit_settings(Installed(root))
    edited = policy.read_bytes()
    assert 'policy.yaml.new' not in install(root).stdout, 'nothing new to offer'
    assert not new.exists()

    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    assert str(new) in install(root, checkout=checkout).stdout
    assert policy.read_bytes() == edited
    assert new.read_bytes() == (checkout / 'policy.yaml').read_bytes()
    before = tree(root)
    install(root, checkout=checkout)
    assert tree(root) == before

    # An administrator who takes the new one follows the shipped policy again.
    new.rename(policy)
    edit(checkout / 'policy.yaml', 'policy: newer', 'policy: newest')
    install(root, checkout=checkout)
    assert policy.read_bytes() == (checkout / 'policy.yaml').read_bytes()


def test_offered_policy_goes_with_the_edit(root, checkout):
    begin_installed(root)
    policy, new = root / POLICY, root / OFFERED
    edit_settings(Installed(root))
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    shutil.copy(str(new), str(policy))
    install(root, checkout=checkout)
    assert not new.exists()


def test_broken_policy_stops_the_upgrade(root, checkout):
    begin_installed(root)
    (root / POLICY).write_bytes(shipped('rhel-8') + b'dead-line: 5\n')
    before = tree(root)
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    for options in ([], ['--mode', 'audit']):
        stderr = install(root, *options, checkout=checkout, status=1).stderr
        assert '%s/etc/virt-guard/policy.yaml:' % root in stderr
        assert 'dead-line' in stderr
        assert tree(root) == before


def test_policy_that_admits_the_check(root):
    begin_installed(root)
    there = Installed(root)
    there.policy.write_text(
        'policy: site\nmode: enforce\nrules:\n- id: none\n  title: x\n  action: deny\n'
        '  match: /domain/devices/watchdog\n  why: x\n  remedy: x\n  reference: x\n'
    )
    assert 'checked ' in install(root).stdout, 'the check is of the shipped rules'
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_linked_policy_is_never_written(root, tmp_path):
    begin_installed(root)
    policy, elsewhere = root / POLICY, tmp_path / 'elsewhere.yaml'
    policy.rename(elsewhere)
    policy.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    install(root)
    install(root, '--mode', 'audit')
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 0
    install(root, '--uninstall')
    assert policy.is_symlink()
    assert elsewhere.read_bytes() == before


def test_linked_settings_are_never_written(root, tmp_path):
    begin_installed(root)
    elsewhere = tmp_path / 'elsewhere.yaml'
    elsewhere.write_text('deadline: 9\n')
    (root / SETTINGS).symlink_to(elsewhere)
    assert '%s is a link' % (root / SETTINGS) in install(root, '--mode', 'audit', status=1).stderr
    install(root)
    assert elsewhere.read_text() == 'deadline: 9\n' and (root / SETTINGS).is_symlink()
