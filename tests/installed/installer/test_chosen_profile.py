# SPDX-License-Identifier: Apache-2.0
"""Which of the shipped policies install.sh takes on which system, and when it takes another one."""

import os
import re
import subprocess

import pytest
from installation import DENIED, Installed, domain_xml, run_installer
from installing import OFFERED, POLICY, PROFILES, edit, install, listed, settings, shipped, tree
from support.capabilities import missing

SYSTEMS = {
    'rhel 8.10': ('rhel-8', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"\n'),
    'rhel 9.4': ('rhel-9', 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n'),
    'rhel 10.0': ('rhel-10', 'VERSION_ID="10.0"\nID="rhel"\nID_LIKE="centos fedora"\n'),
    'almalinux 9.4': ('rhel-9', 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'),
    'centos 10': ('rhel-10', 'ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="10"\n'),
    'ol 9.3': ('rhel-9', "ID='ol'\nID_LIKE='fedora'\nVERSION_ID='9.3'\n"),
    # Whoever is none of them gets the vendor's complete list, and is told so.
    'debian 12': ('rhel-8', 'ID=debian\nVERSION_ID="12"\n'),
    'fedora 9': ('rhel-8', 'ID=fedora\nVERSION_ID=9\n'),
    'amzn 2023': ('rhel-8', 'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2023"\n'),
    'rhel 7.9': ('rhel-8', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="7.9"\n'),
    # What is newer than every list is nearest to the newest.
    'rhel 11.0': ('rhel-10', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="11.0"\n'),
    'rocky 12.1': ('rhel-10', 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="12.1"\n'),
    'rhvh 4.4': ('rhv-4', 'ID="rhvh"\nID_LIKE="rhel fedora"\nVERSION_ID="4.4"\n'),
    'rhel 8.6': ('rhv-4', 'ID="rhel"\nVERSION_ID="8.6"\nVARIANT_ID="ovirt-node"\n'),
    'sles 15.6': (
        'sles-15',
        'NAME="SLES"\nVERSION="15-SP6"\nVERSION_ID="15.6"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP6"\n'
        'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:15:sp6"\n',
    ),
    'sles 16.0': (
        'sles-16',
        'NAME="SLES"\nVERSION="16.0"\nVERSION_ID="16.0"\nPRETTY_NAME="SUSE Linux Enterprise Server 16.0"\n'
        'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:16:16.0"\n',
    ),
    'opensuse-leap 15.6': (
        'sles-15',
        'NAME="openSUSE Leap"\nVERSION="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n'
        'PRETTY_NAME="openSUSE Leap 15.6"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:15.6"\n',
    ),
    'opensuse-leap 16.0': (
        'sles-16',
        'NAME="openSUSE Leap"\nVERSION="16.0"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="16.0"\n'
        'PRETTY_NAME="openSUSE Leap 16.0"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:16.0"\n',
    ),
    'sles 12.5': (
        'rhel-8',
        'NAME="SLES"\nVERSION="12-SP5"\nVERSION_ID="12.5"\nPRETTY_NAME="SUSE Linux Enterprise Server 12 SP5"\n'
        'ID="sles"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:12:sp5"\n',
    ),
    'opensuse-tumbleweed 20251120': (
        'rhel-8',
        'NAME="openSUSE Tumbleweed"\n# VERSION="20251120"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n'
        'VERSION_ID="20251120"\nPRETTY_NAME="openSUSE Tumbleweed"\n',
    ),
    'opensuse-microos 20251120': (
        'rhel-8',
        'NAME="openSUSE MicroOS"\n# VERSION="20251120"\nID="opensuse-microos"\n'
        'ID_LIKE="suse opensuse opensuse-tumbleweed"\nVERSION_ID="20251120"\nPRETTY_NAME="openSUSE MicroOS"\n',
    ),
    'sl-micro 6.1': ('rhel-8', 'NAME="SL-Micro"\nVERSION="6.1"\nID="sl-micro"\nID_LIKE="suse"\nVERSION_ID="6.1"\n'),
    'unknown': ('rhel-8', '# nothing\n'),
}


@pytest.mark.parametrize('system', sorted(SYSTEMS))
def test_profile_of_the_system(root, on_system, system):
    profile, text = SYSTEMS[system]
    lines = install(root, prefix=on_system(text)).stdout.splitlines()
    (said,) = [line for line in lines if line.startswith('profile ')]
    assert said.split()[1] == profile and 'this host is %s' % system in said
    of_its_own = system in (
        'rhel 8.10',
        'rhel 9.4',
        'rhel 10.0',
        'almalinux 9.4',
        'centos 10',
        'ol 9.3',
        'rhvh 4.4',
        'rhel 8.6',
        'sles 15.6',
        'sles 16.0',
        'opensuse-leap 15.6',
        'opensuse-leap 16.0',
    )
    assert ('--profile chooses another' in said) != of_its_own
    assert (root / POLICY).read_bytes() == shipped(profile)


@pytest.mark.parametrize('profile', sorted(PROFILES))
def test_profile_as_asked(root, profile):
    assert 'profile    %s (--profile)' % profile in install(root, '--profile', profile).stdout
    there = Installed(root)
    assert there.policy.read_bytes() == shipped(profile)
    check = there.run_cli('policy', 'check')
    assert check.returncode == 0 and b"policy '%s'" % profile.encode() in check.stdout
    denied = DENIED.replace(b"type='kvm'", b"type='qemu'").replace(b'</devices>', b"<shmem name='a'/></devices>")
    denied = there.run_hook('guest', 'prepare', denied)
    assert denied.returncode == 1 and b"denied by policy '%s'" % profile.encode() in denied.stderr
    assert (b'[tpm-passthrough]' in denied.stderr) == profile.startswith('rhel-')
    virtiofs = domain_xml(devices="<filesystem><driver type='virtiofs'/></filesystem>\n")
    assert (b'deny [virtiofs]' in there.run_cli('check', '-', input=virtiofs).stdout) == (profile == 'rhel-8')
    for name in PROFILES:
        assert (there.tree / 'profiles' / (name + '.yaml')).read_bytes() == listed(name)
    assert tree(root) == (install(root), tree(root))[1], 'the profile stays, and a second run changes nothing'


def test_a_list_about_isolation_besides(root):
    """It stays at an upgrade, is judged by in a preview, and goes with all else."""
    shared = domain_xml(devices="<shmem name='a'/>\n")
    (root / 'etc/libvirt/qemu').mkdir(parents=True)
    (root / 'etc/libvirt/qemu/guest.xml').write_bytes(shared)
    asked = ('--profile', 'rhel-9', '--with', 'kvm-baseline')
    said = run_installer(root, '--preview', *asked)
    assert said.returncode == 1 and '[kvm-shared-memory-device]' in said.stdout
    assert ' --profile rhel-9 --with kvm-baseline ' in said.stdout and not (root / POLICY).exists()
    said = run_installer(root, '--preview', '--with', 'kvm-restricted')
    assert 'because only the start of a domain shows it: kvm-mac-label-missing (deny)\n' in said.stdout
    for misspelt in ('kvm-baselin', 'rhel-9,kvm-baselin', 'kvm-baseline,', ',kvm-baseline', 'kvm-baseline rhel-9'):
        said = run_installer(root, '--with', misspelt)
        assert (said.returncode, said.stdout) == (2, ''), said.stdout
        first, *_ = said.stderr.splitlines()
        assert first.startswith('install.sh: --with is one of rhel-8 ') and first.endswith('not: ' + misspelt)
    install(root, *asked)
    assert (root / POLICY).read_bytes() == shipped('rhel-9') and settings(root) == ['extends: kvm-baseline']
    there = Installed(root)
    refused = there.run_hook('guest', 'prepare', shared)
    assert refused.returncode == 1
    assert b"denied by policy 'rhel-9 with kvm-baseline': kvm-shared-memory-device" in refused.stderr
    install(root, '--mode', 'audit')
    assert settings(root) == ['extends: kvm-baseline', 'mode: audit', 'failure: admit']
    install(root, '--with=kvm-restricted')
    assert settings(root)[0] == 'extends: kvm-restricted'
    there.run_cli('policy', 'set', 'extends', 'default')
    assert settings(root) == ['mode: audit', 'failure: admit']
    install(root, '--with', 'kvm-baseline')
    install(root, '--uninstall')
    assert not (root / 'etc/virt-guard').exists()


def test_upgrade_keeps_the_profile(root, checkout, on_system):
    install(root, '--profile=rhel-9', '--mode=audit')
    edit(checkout / PROFILES['rhel-9'], 'deadline: 5 ', 'deadline: 6 ')
    result = install(root, checkout=checkout, prefix=on_system(SYSTEMS['rhel 10.0'][1]))
    assert 'profile    rhel-9 (as before' in result.stdout
    assert (root / POLICY).read_bytes() == shipped('rhel-9') and settings(root) == ['mode: audit', 'failure: admit']
    shown = Installed(root).run_cli('policy', 'show').stdout
    assert re.findall(rb'(?m)^(mode|deadline): *(\w+)', shown) == [(b'mode', b'audit'), (b'deadline', b'6')]


def test_a_host_that_has_become_another_is_told(root, on_system):
    """As after leapp."""
    install(root, prefix=on_system(SYSTEMS['rhel 8.10'][1]))
    there = Installed(root)
    prefix = on_system(SYSTEMS['rhel 9.4'][1])
    told = 'this host is rhel 9.4, whose list is rhel-9; %s--profile rhel-9 takes it'

    def says():
        return [
            told % './install.sh '
            in subprocess.check_output([*prefix, str(there.cli), *words], stderr=subprocess.STDOUT, encoding='utf-8')
            for words in (['policy', 'check'], ['scan'])
        ]

    assert told % '' in install(root, prefix=prefix).stdout
    assert says() == [True, True]
    site = '\npolicy: site\nextends: rhel-8\n'
    there.policy.write_text(site)
    assert says() == [True, True], 'also where the policy has another name'
    there.policy.write_text(site.replace('rhel-8', 'rhel-9'))
    assert says() == [False, False]
    there.policy.write_text(
        'policy: own\nrules:\n- {id: a, title: t, action: deny, match: /domain/devices/watchdog, why: w, remedy: r}\n'
    )
    assert says() == [False, False], 'whoever wrote a list of his own has no other to take'
    there.policy.unlink()
    assert told % '' not in install(root, '--profile', 'rhel-9', prefix=prefix).stdout
    assert says() == [False, False]


def test_another_profile(root):
    install(root, '--mode', 'audit')
    install(root, '--profile', 'rhel-10')
    assert (root / POLICY).read_bytes() == shipped('rhel-10') and settings(root) == ['mode: audit', 'failure: admit']
    install(root, '--profile', 'rhel-8', '--mode', 'enforce')
    assert (root / POLICY).read_bytes() == shipped('rhel-8') and settings(root) == ['mode: enforce', 'failure: deny']
    install(root, '--uninstall')
    assert not (root / POLICY).exists()


def test_another_profile_than_the_edited_one_is_only_offered(root):
    install(root)
    edited = shipped('rhel-8') + b'deadline: 7\n'
    (root / POLICY).write_bytes(edited)
    assert OFFERED in install(root, '--profile', 'rhel-9').stdout
    assert (root / POLICY).read_bytes() == edited
    assert (root / OFFERED).read_bytes() == shipped('rhel-9')
    before = tree(root)
    assert 'profile    rhel-9' in install(root).stdout
    assert tree(root) == before


def test_profile_of_a_user_s_own_checkout(root, checkout):
    """What is installed from is the user's; only what is installed must be root's."""
    if os.geteuid() != 0:
        missing('needs root')
    for path in [checkout, *checkout.rglob('*')]:
        os.chown(str(path), 65534, 65534)
    install(root, '--profile', 'rhel-9', checkout=checkout)
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 1
