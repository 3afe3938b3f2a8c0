# SPDX-License-Identifier: Apache-2.0
"""--host: which names there are, and what such a host says."""

import argparse

import pytest
from virtguard.commands import loading
from virtguard.commands.domains.named_hosts import NamedHost, names
from virtguard.commands.main import main
from virtguard.policy.installation import installed_below, not_installed, profiles


def test_every_name_is_a_host_that_has_a_list():
    found = {name: NamedHost(name) for name in names()}
    assert {host.profile for host in found.values()} == {
        name for name in profiles() if name.startswith(('rhel-', 'sles-'))
    }
    assert all((host.os, host.container, host.arch) == (name, 'none', 'x86_64') for name, host in found.items())
    assert all(host.probe('multipath-device', '/dev/sda') is None for host in found.values())


DISK = """<domain type='kvm'>
  <name>web</name>
  <os><type arch='x86_64' machine='pc-q35-rhel9.4.0'>hvm</type></os>
  <devices><disk type='file'><source file='/srv/web.img'/><target dev='vda'/></disk></devices>
</domain>
"""


@pytest.mark.parametrize(
    'facts, warned', [(None, False), ('{}', False), ('{probes: {real-path: {/srv/web.img: unknown}}}', True)]
)
def test_a_path_leads_where_it_is_written(tmp_path, capsys, facts, warned):
    """So that no rule about links warns of each disk."""
    domain, file = tmp_path / 'web.xml', tmp_path / 'facts.yaml'
    domain.write_text(DISK)
    file.write_text(facts or '')
    host = ['--facts', str(file)] if facts else ['--host', 'rhel-9.4']
    assert main(['check', '--policy', 'kvm-baseline', *host, str(domain)]) == 0
    assert ('[kvm-host-system-link]' in capsys.readouterr().out) == warned


@pytest.mark.parametrize(
    'name, profile',
    [('rocky-9.4', 'rhel-9'), ('centos-9', 'rhel-9'), ('ol-8.10', 'rhel-8'), ('opensuse-leap-15.6', 'sles-15')],
)
def test_rebuilds(name, profile):
    assert NamedHost(name).profile == profile


@pytest.mark.parametrize('name', ['rhel-7.9', 'rhel-9.40', 'rhel-11.0', 'sles-12.5', 'debian-12', 'rhel', '', 'rhel-x'])
def test_what_is_not_known_lists_what_is(name):
    with pytest.raises(ValueError, match='rhel-8.0 to 8.10, rhel-9.0 to 9.10, .*sles-16.0 to'):
        NamedHost(name)


@pytest.mark.parametrize(
    'name, near', [('rhel-94', "did you mean 'rhel-9.4'?"), ('rhel9.4', 'did you mean'), ('rhel', '')]
)
def test_a_near_name_is_proposed_where_one_release_is_near(name, near):
    with pytest.raises(ValueError, match='there is no host') as told:
        NamedHost(name)
    assert near in str(told.value) and ('did you mean' in str(told.value)) == bool(near)


def test_a_release_after_an_upgrade_is_that_of_a_copy():
    """`policy diff` judges for both."""
    arguments = argparse.Namespace(host=NamedHost('rhel-8.10'), facts=None)
    assert [loading.meant_host(arguments, (), release).os for release in ('rhel-9.6', None)] == [
        'rhel-9.6',
        'rhel-8.10',
    ]


def test_the_list_is_taken_where_no_policy_is_in_force(capsys):
    arguments = argparse.Namespace(host=NamedHost('sles-15.6'), policy=None)
    assert loading.policy_for_host(arguments, not_installed()).name == 'sles-15'
    assert 'sles-15, the list for sles-15.6, is taken' in capsys.readouterr().err
    arguments.policy = 'rhel-9'
    assert loading.policy_for_host(arguments, not_installed()).name == 'rhel-9'
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    'lists, told',
    [
        ('rhel-8', 'made of rhel-8; the list for rocky-9.4 is rhel-9 (--policy rhel-9)'),
        ('[rhel-8, kvm-baseline]', 'made of rhel-8; the list for rocky-9.4 is rhel-9 (--policy rhel-9)'),
        ('rhel-9', ''),
        ('kvm-baseline', ''),
        ('rhv-4', ''),  # whose hosts are those of RHEL
    ],
)
def test_who_judges_by_the_policy_in_force_is_told_that_it_is_that_of_another_release(tmp_path, capsys, lists, told):
    path = tmp_path / 'etc/virt-guard/policy.yaml'
    path.parent.mkdir(parents=True)
    path.write_text('policy: ours\nextends: %s\n' % lists)
    arguments = argparse.Namespace(host=NamedHost('rocky-9.4'), policy=None)
    assert loading.policy_for_host(arguments, installed_below(str(tmp_path))).source == str(path)
    said = capsys.readouterr().err
    assert (told in said) if told else said == '', said
