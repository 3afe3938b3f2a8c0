# SPDX-License-Identifier: Apache-2.0
"""What install.sh does with a policy that is there: an edited one stays, and a setting is changed in its place."""

import shutil

from installation import CHECKOUT, DENIED, Installed
from installing import edit, install, tree

# --- the policy


def test_mode(root):
    shipped = (CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes()
    install(root, '--mode', 'audit')
    there = Installed(root)
    lines = there.policy.read_bytes().splitlines()
    changed = [(old, new) for old, new in zip(shipped.splitlines(), lines) if old != new]
    assert [new.split()[:2] for old, new in changed] == [[b'mode:', b'audit'], [b'failure:', b'admit']]
    assert all(old.index(b'#') == new.index(b'#') for old, new in changed)
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0
    assert there.run_hook('guest', 'prepare', b'not XML').returncode == 0
    before = tree(root)
    install(root)
    assert tree(root) == before, 'without --mode, the mode stays'
    install(root, '--mode=enforce')
    assert there.policy.read_bytes() == shipped
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 1


def test_a_policy_whose_mode_was_set_counts_as_unedited(root, checkout):
    install(root, '--mode', 'audit')
    edit(checkout / 'data/profiles/rhel-8.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    there = Installed(root)
    assert b'\npolicy: newer\nmode: audit ' in there.policy.read_bytes()
    assert b'\nfailure: admit ' in there.policy.read_bytes()
    install(root, '--uninstall', checkout=checkout)
    assert not there.policy.exists()


def test_edited_policy_is_kept(root, checkout):
    install(root)
    policy, new = root / 'etc/virt-guard/policy.yaml', root / 'etc/virt-guard/policy.yaml.new'
    edit(policy, 'deadline: 5 ', 'deadline: 7 ')
    edited = policy.read_bytes()
    assert 'policy.yaml.new' not in install(root).stdout, 'nothing new to offer'
    assert not new.exists()

    edit(checkout / 'data/profiles/rhel-8.yaml', 'policy: rhel-8', 'policy: newer')
    assert str(new) in install(root, checkout=checkout).stdout
    assert policy.read_bytes() == edited
    assert new.read_bytes() == (checkout / 'data/profiles/rhel-8.yaml').read_bytes()
    before = tree(root)
    install(root, checkout=checkout)
    assert tree(root) == before

    # An administrator who takes the new one follows the shipped policy again.
    new.rename(policy)
    edit(checkout / 'data/profiles/rhel-8.yaml', 'policy: newer', 'policy: newest')
    install(root, checkout=checkout)
    assert policy.read_bytes() == (checkout / 'data/profiles/rhel-8.yaml').read_bytes()


def test_offered_policy_goes_with_the_edit(root, checkout):
    install(root)
    policy, new = root / 'etc/virt-guard/policy.yaml', root / 'etc/virt-guard/policy.yaml.new'
    edit(policy, 'deadline: 5 ', 'deadline: 7 ')
    edit(checkout / 'data/profiles/rhel-8.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    shutil.copy(str(new), str(policy))
    install(root, checkout=checkout)
    assert not new.exists()


def test_mode_of_an_edited_policy(root):
    install(root)
    there = Installed(root)
    edit(there.policy, 'mode: enforce ', 'mode: "enforce"  # see ticket 7 #')
    edit(there.policy, 'deadline: 5 ', 'deadline: 7 ')
    install(root, '--mode', 'audit')
    text = there.policy.read_bytes()
    assert b'\nmode: audit' in text
    assert b'# see ticket 7 #' in text
    assert b'\ndeadline: 7 ' in text
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_mode_that_cannot_be_set(root):
    install(root)
    edit(root / 'etc/virt-guard/policy.yaml', '\nmode: enforce ', '\n#')
    before = tree(root)
    assert 'by hand' in install(root, '--mode', 'audit', status=1).stderr
    assert tree(root) == before
    install(root)


def test_broken_policy_stops_the_upgrade(root, checkout):
    install(root)
    edit(root / 'etc/virt-guard/policy.yaml', 'deadline: 5 ', 'dead-line: 5 ')
    before = tree(root)
    edit(checkout / 'data/profiles/rhel-8.yaml', 'policy: rhel-8', 'policy: newer')
    stderr = install(root, checkout=checkout, status=1).stderr
    assert '%s/etc/virt-guard/policy.yaml:' % root in stderr
    assert 'dead-line' in stderr
    assert tree(root) == before


def test_policy_that_admits_the_check(root):
    install(root)
    there = Installed(root)
    there.policy.write_text(
        'policy: site\nmode: enforce\nrules:\n- id: none\n  title: x\n  action: deny\n'
        '  match: /domain/devices/watchdog\n  why: x\n  remedy: x\n  reference: x\n'
    )
    assert 'checked ' in install(root).stdout, 'the check is of the shipped rules'
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_linked_policy_is_never_written(root, tmp_path):
    install(root)
    policy, elsewhere = root / 'etc/virt-guard/policy.yaml', tmp_path / 'elsewhere.yaml'
    policy.rename(elsewhere)
    policy.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    install(root)
    assert 'link' in install(root, '--mode', 'audit', status=1).stderr
    install(root, '--uninstall')
    assert policy.is_symlink()
    assert elsewhere.read_bytes() == before
