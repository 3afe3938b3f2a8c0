# SPDX-License-Identifier: Apache-2.0
"""Which of the shipped policies install.sh takes on which system, and when it takes another one."""

import os
import re
import subprocess

import pytest
from installation import DENIED, Installed, domain_xml, run_installer
from installing import OFFERED, POLICY, PROFILES, begin_installed, edit, install, listed, settings, shipped, tree
from support.capabilities import missing

# One of each kind of answer; which system has which list: tests/unit/policy/test_host_profile.py.
SYSTEMS = {
    'rhel 8.10': ('rhel-8', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"\n'),
    'rhel 9.4': ('rhel-9', 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n'),
    'rhel 10.0': ('rhel-10', 'VERSION_ID="10.0"\nID="rhel"\nID_LIKE="centos fedora"\n'),
    'rhel 8.6': ('rhv-4', 'ID="rhel"\nVERSION_ID="8.6"\nVARIANT_ID="ovirt-node"\n'),
    'sles 15.6': (
        'sles-15',
        'NAME="SLES"\nVERSION="15-SP6"\nVERSION_ID="15.6"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP6"\n'
        'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:15:sp6"\n',
    ),
    # Whoever is none of them gets the vendor's complete list, and is told so.
    'debian 12': ('rhel-8', 'ID=debian\nVERSION_ID="12"\n'),
    # What is newer than every list is nearest to the newest.
    'rhel 11.0': ('rhel-10', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="11.0"\n'),
    'unknown': ('rhel-8', '# nothing\n'),
}
OF_ITS_OWN = ('rhel 8.10', 'rhel 9.4', 'rhel 10.0', 'rhel 8.6', 'sles 15.6')


@pytest.mark.parametrize('system', sorted(SYSTEMS))
def test_profile_of_the_system(root, on_system, system):
    profile, text = SYSTEMS[system]
    lines = install(root, prefix=on_system(text)).stdout.splitlines()
    (said,) = [line for line in lines if line.startswith('profile ')]
    assert said.split()[1] == profile and 'this host is %s' % system in said
    assert ('--profile chooses another' in said) != (system in OF_ITS_OWN)
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


def test_a_profile_as_asked_stays(root):
    install(root, '--profile', 'rhv-4')
    before = tree(root)
    assert 'profile    rhv-4 (as before' in install(root).stdout
    assert tree(root) == before


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
    begin_installed(root, '--profile=rhel-9', '--mode=audit')
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
    begin_installed(root, '--mode', 'audit')
    install(root, '--profile', 'rhel-10')
    assert (root / POLICY).read_bytes() == shipped('rhel-10') and settings(root) == ['mode: audit', 'failure: admit']
    install(root, '--profile', 'rhel-8', '--mode', 'enforce')
    assert (root / POLICY).read_bytes() == shipped('rhel-8') and settings(root) == ['mode: enforce', 'failure: deny']
    install(root, '--uninstall')
    assert not (root / POLICY).exists()


def test_another_profile_than_the_edited_one_is_only_offered(root):
    begin_installed(root)
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
