# SPDX-License-Identifier: Apache-2.0
"""Which list is that of a host, and what is said where the policy is made of another one."""

import pathlib

import pytest
from virtguard.policy import load
from virtguard.policy.host_profile import difference, list_of_host, profile_of
from virtguard.policy.installation import profiles


def host(root, text):
    (root / 'etc').mkdir(exist_ok=True)
    (root / 'etc/os-release').write_text(text, encoding='utf-8')
    return str(root)


@pytest.mark.parametrize(
    ('text', 'profile', 'is_certain'),
    [
        ('ID="rhel"\nVERSION_ID="8.10"\n', 'rhel-8', True),
        ('ID=rhel\nVERSION_ID=9\n', 'rhel-9', True),
        ('ID=almalinux\nID_LIKE="rhel centos fedora"\nVERSION_ID=10.1\n', 'rhel-10', True),
        ('ID=ol\nID_LIKE=fedora\nVERSION_ID=9.4\n', 'rhel-9', True),
        ('ID=rhel\nVERSION_ID=11.0\n', 'rhel-10', True),
        ('ID=centos\nID_LIKE="rhel fedora"\nVERSION_ID=13\n', 'rhel-10', True),
        ('ID=rhvh\nVERSION_ID=4.4\n', 'rhv-4', True),
        ('ID=rhvh\nID_LIKE="rhel fedora"\nVERSION_ID=8.6\n', 'rhv-4', True),
        ('ID=rhel\nVARIANT_ID=ovirt-node\nVERSION_ID=8.6\n', 'rhv-4', True),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15"\n', 'sles-15', True),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.7"\n', 'sles-15', True),
        ('ID="sles_sap"\nID_LIKE="suse"\nVERSION_ID="15.4"\n', 'sles-15', True),
        ('ID="sled"\nID_LIKE="suse"\nVERSION_ID="15.6"\n', 'sles-15', True),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n', 'sles-15', True),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="16.0"\n', 'sles-16', True),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="17.0"\n', 'sles-16', True),
        ('ID=rhel\nVERSION_ID=7.9\n', 'rhel-8', False),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="12.5"\n', 'rhel-8', False),
        # Before Leap 15 there was Leap 42, of SLES 12.
        ('ID=opensuse\nID_LIKE="suse"\nVERSION_ID="42.3"\n', 'rhel-8', False),
        ('ID=opensuse-leap\nID_LIKE="suse"\nVERSION_ID="42.3"\n', 'rhel-8', False),
        # With numbers of their own.
        ('ID="sle-micro"\nID_LIKE="suse"\nVERSION_ID="5.5"\n', 'rhel-8', False),
        ('ID="sl-micro"\nID_LIKE="suse"\nVERSION_ID="6.1"\n', 'rhel-8', False),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nVERSION_ID="20251120"\n', 'rhel-8', False),
        (
            'ID="opensuse-microos"\nID_LIKE="suse opensuse opensuse-tumbleweed"\nVERSION_ID="20251120"\n',
            'rhel-8',
            False,
        ),
        ('ID=rhel\nVERSION_ID=\n', 'rhel-8', False),
        ('ID=rhel\nVERSION_ID=rawhide\n', 'rhel-8', False),
        ('ID=rhel\nVERSION_ID=\u00b2\n', 'rhel-8', False),
        ('ID=rhel\nVERSION_ID=%s\n' % ('9' * 5000), 'rhel-8', False),
        # Derived from RHEL, and numbered by the year.
        ('ID=amzn\nID_LIKE="centos rhel fedora"\nVERSION_ID=2023\n', 'rhel-8', False),
        ('ID=fedora\nVERSION_ID=9\n', 'rhel-8', False),
        ('ID=debian\nVERSION_ID=12\n', 'rhel-8', False),
        ('', 'rhel-8', False),
    ],
)
def test_the_list_of_a_host(tmp_path, text, profile, is_certain):
    found = list_of_host(host(tmp_path, text))
    assert (found.profile, found.is_certain) == (profile, is_certain)
    others = {name: difference(name, str(tmp_path)) for name in profiles()}
    assert others.pop(profile) == ''
    for said in others.values():
        assert said.endswith('; --profile %s takes it' % profile) if is_certain else said == ''
    assert difference('', str(tmp_path)) == '', 'whoever wrote a list of his own has no other to take'


# As the vendors write them.
@pytest.mark.parametrize(
    ('system', 'profile', 'text'),
    [
        ('ol 9.3', 'rhel-9', "ID='ol'\nID_LIKE='fedora'\nVERSION_ID='9.3'\n"),
        ('rhel 10.0', 'rhel-10', 'VERSION_ID="10.0"\nID="rhel"\nID_LIKE="centos fedora"\n'),
        ('rocky 12.1', 'rhel-10', 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="12.1"\n'),
        (
            'sles 16.0',
            'sles-16',
            'NAME="SLES"\nVERSION="16.0"\nVERSION_ID="16.0"\nPRETTY_NAME="SUSE Linux Enterprise Server 16.0"\n'
            'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:16:16.0"\n',
        ),
        (
            'opensuse-leap 15.6',
            'sles-15',
            'NAME="openSUSE Leap"\nVERSION="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n'
            'PRETTY_NAME="openSUSE Leap 15.6"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:15.6"\n',
        ),
        (
            'opensuse-leap 16.0',
            'sles-16',
            'NAME="openSUSE Leap"\nVERSION="16.0"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="16.0"\n'
            'PRETTY_NAME="openSUSE Leap 16.0"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:16.0"\n',
        ),
        (
            'sles 12.5',
            'rhel-8',
            'NAME="SLES"\nVERSION="12-SP5"\nVERSION_ID="12.5"\nPRETTY_NAME="SUSE Linux Enterprise Server 12 SP5"\n'
            'ID="sles"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:12:sp5"\n',
        ),
        (
            'opensuse-tumbleweed 20251120',
            'rhel-8',
            'NAME="openSUSE Tumbleweed"\n# VERSION="20251120"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n'
            'VERSION_ID="20251120"\nPRETTY_NAME="openSUSE Tumbleweed"\n',
        ),
        (
            'opensuse-microos 20251120',
            'rhel-8',
            'NAME="openSUSE MicroOS"\n# VERSION="20251120"\nID="opensuse-microos"\n'
            'ID_LIKE="suse opensuse opensuse-tumbleweed"\nVERSION_ID="20251120"\nPRETTY_NAME="openSUSE MicroOS"\n',
        ),
        (
            'sl-micro 6.1',
            'rhel-8',
            'NAME="SL-Micro"\nVERSION="6.1"\nID="sl-micro"\nID_LIKE="suse"\nVERSION_ID="6.1"\n',
        ),
        ('unknown', 'rhel-8', '# nothing\n'),
    ],
)
def test_whole_files(tmp_path, system, profile, text):
    found = list_of_host(host(tmp_path, text))
    assert (found.host, found.profile) == (system, profile)


def test_what_is_said(tmp_path):
    root = host(tmp_path, 'ID=rhel\nVERSION_ID=9.4\n')
    assert difference('rhel-8', root) == 'this host is rhel 9.4, whose list is rhel-9; --profile rhel-9 takes it'
    root = host(tmp_path, 'ID=rhel\nVERSION_ID=11.0\n')
    newer = 'this host is rhel 11.0, newer than every list; the newest is rhel-10; --profile rhel-10 takes it'
    assert difference('rhel-8', root) == newer
    root = host(tmp_path, 'ID="sles"\nID_LIKE="suse"\nVERSION_ID="16.0"\n')
    told = 'this host is sles 16.0, whose list is sles-16; --profile sles-16 takes it'
    assert difference('rhel-10', root) == difference('sles-15', root) == told
    root = host(tmp_path, 'ID="sles"\nID_LIKE="suse"\nVERSION_ID="17.0"\n')
    newer = 'this host is sles 17.0, newer than every list; the newest is sles-16; --profile sles-16 takes it'
    assert difference('sles-15', root) == newer


@pytest.mark.parametrize('name', sorted(profiles()))
def test_what_a_policy_is_made_of(tmp_path, name):
    path = pathlib.Path(profiles()[name])
    assert profile_of(load.as_if_in_force(str(path))) == name
    installed = tmp_path / 'policy.yaml'
    installed.write_bytes(path.read_bytes())
    assert profile_of(load.as_if_in_force(str(installed))) == name
    (tmp_path / 'policy.d').mkdir()
    (tmp_path / 'policy.d/50-site.yaml').write_text('policy: site\n')
    assert profile_of(load.as_if_in_force(str(installed))) == name, 'a drop-in only gives it another name'
    site = tmp_path / 'site.yaml'
    site.write_text('policy: ours\nextends: %s\n' % name)
    assert profile_of(load.as_if_in_force(str(site))) == name


def test_of_several_it_is_that_of_the_vendor(tmp_path):
    site = tmp_path / 'site.yaml'
    site.write_text('policy: ours\nextends: [rhel-9, kvm-baseline]\n')
    assert profile_of(load.as_if_in_force(str(site))) == 'rhel-9'
    site.write_text('extends: kvm-restricted\n')
    assert profile_of(load.as_if_in_force(str(site))) == 'kvm-restricted'


def test_a_policy_of_a_sites_own_is_made_of_no_profile(tmp_path):
    own = tmp_path / 'own.yaml'
    own.write_text('policy: own\nrules: [{id: a, title: t, action: deny, match: /domain/a, why: w, remedy: r}]\n')
    assert profile_of(load.as_if_in_force(str(own))) == ''
