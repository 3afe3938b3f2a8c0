# SPDX-License-Identifier: Apache-2.0
"""The rules that ask the host, on hosts that answer what the rules look for: /sys, /run and the kernel are faked."""

import domains
import pytest
from domains import arguments, device, domain
from faked import ETHERNET, INFINIBAND, LENT, MAP, PLAIN, STRANGER, VOLUME, VPI, FakedHost
from guarded import HOOK, MAIN_HOOK, GuardedMachine, refusal, values
from support.policies import action

pytestmark = pytest.mark.live


@pytest.fixture(scope='module')
def faked_machine(_machines_can_run, tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('faked'), daemon=False) as machine:
        faked = FakedHost(machine)
        faked.block_devices()
        faked.adapter(INFINIBAND, '020700')
        faked.adapter(VPI, '020000', 'InfiniBand')
        faked.adapter(ETHERNET, '020000', 'Ethernet')
        faked.adapter(LENT, '020700', lent=True)
        machine.install('--no-deps')
        machine.start_libvirtd()
        yield machine


@pytest.fixture
def host(faked_machine):
    yield faked_machine
    faked_machine.clean_up()


def not_refused(host, name, result, *unknown):
    """The guard admitted the domain, which failed then for want of the hardware; `unknown` are rules with no answer."""
    assert result.returncode == 1
    assert 'virt-guard' not in result.stderr
    record = host.record(name, 'admit', 'start')
    assert values(record, 'VIRT_GUARD_RULE') == sorted(unknown)
    assert [finding.split()[:2] for finding in values(record, 'VIRT_GUARD_FINDING')] == [
        ['unknown', rule] for rule in unknown
    ]


# Multipath


@pytest.mark.parametrize('path', [MAP, VOLUME])
@pytest.mark.parametrize(
    'lun',
    [('', domains.RESERVATIONS), (" rawio='yes'", '')],
    ids=['reservations', 'rawio'],
)
def test_persistent_reservations_on_multipath_are_refused(host, path, lun):
    rawio, reservations = lun
    result = host.try_define_and_start(domain('cluster', device(domains.LUN % (rawio, path, reservations))))
    text = host.refused('cluster', result, 'multipath-persistent-reservation')
    assert '<source dev="%s"' % path in text


def test_persistent_reservations_past_libvirt_are_refused(host):
    drive = 'if=none,id=x,file.driver=host_device,file.filename=%s,file.pr-manager=p' % MAP
    host.define(domain('smuggler', arguments('-object', 'pr-manager-helper,id=p,path=/run/p', '-drive', drive)))
    with host.edited_policy(action('qemu-command-line', '"off"')):
        host.refused('smuggler', host.try_start('smuggler'), 'multipath-persistent-reservation')


def test_persistent_reservations_elsewhere_are_not_refused(host):
    xml = domain('cluster', device(domains.LUN % ('', PLAIN, domains.RESERVATIONS)))
    not_refused(host, 'cluster', host.try_define_and_start(xml))


def test_multipath_device_without_reservations_is_not_refused(host):
    xml = domain('database', device(domains.LUN % ('', MAP, '')))
    not_refused(host, 'database', host.try_define_and_start(xml))


def test_persistent_reservations_on_who_knows_what_only_warn(host):
    xml = domain('cluster', device(domains.LUN % ('', STRANGER, domains.RESERVATIONS)))
    not_refused(host, 'cluster', host.try_define_and_start(xml), 'multipath-persistent-reservation')


# InfiniBand


@pytest.mark.parametrize('bus', [INFINIBAND, VPI], ids=['by-class', 'by-physical-function'])
@pytest.mark.parametrize('xml', [domains.HOSTDEV, domains.INTERFACE_HOSTDEV], ids=['hostdev', 'interface'])
def test_infiniband_function_is_refused(host, bus, xml):
    result = host.try_define_and_start(domain('hpc', device(xml % bus)))
    assert 'bus="%s"' % bus in host.refused('hpc', result, 'infiniband-sriov')


def test_infiniband_function_past_libvirt_is_refused(host):
    host.define(domain('smuggler', arguments('-device', 'vfio-pci,host=3b:00.1')))
    with host.edited_policy(action('qemu-command-line', '"off"')):
        host.refused('smuggler', host.try_start('smuggler'), 'infiniband-sriov')


def test_ethernet_function_is_not_refused(host):
    not_refused(host, 'web', host.try_define_and_start(domain('web', device(domains.HOSTDEV % ETHERNET))))


def test_function_without_a_physical_one_only_warns(host):
    """A virtual function that a hypervisor lent to this host looks like a whole adapter."""
    result = host.try_define_and_start(domain('nested', device(domains.HOSTDEV % LENT)))
    not_refused(host, 'nested', result, 'infiniband-sriov')


def test_infiniband_function_of_a_network_is_refused_at_start(host):
    """A network of forward mode hostdev shows its function at `start` only, the second time that the hook is asked.

    libvirt does not get so far without the hardware, so the hook is asked as libvirt would ask it.
    """
    before = domain('tenant', device("<interface type='network'><source network='functions'/></interface>"))
    answer = host.ask_hook('tenant', 'prepare', before)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, '', '')
    assert host.records('tenant') == []
    resolved = domain('tenant', device(domains.INTERFACE_HOSTDEV % VPI))
    answer = host.ask_hook('tenant', 'start', resolved)
    assert (answer.returncode, answer.stdout) == (1, '')
    assert answer.stderr.startswith("virt-guard: domain 'tenant' denied by policy 'rhel-8': infiniband-sriov\n")
    host.record('tenant', 'deny', 'start')


# The host itself


@pytest.mark.parametrize(
    ('path', 'text', 'technology'),
    [('/run/.containerenv', '', 'podman'), ('/.dockerenv', '', 'docker'), ('/run/systemd/container', 'lxc', 'lxc')],
    ids=['podman', 'docker', 'lxc'],
)
def test_container_is_refused(host, path, text, technology):
    host.define(domain('guest'))
    mark = host.write(path, text)
    try:
        result = host.try_start('guest')
        assert 'host container is ' + technology in host.refused('guest', result, 'container-host')
    finally:
        mark.unlink()
    host.admitted('guest', host.try_start('guest'))


def test_host_architecture_is_refused(host):
    """The hook finds a kernel of another name: libvirt calls it by way of setarch."""
    host.define(domain('guest'))
    link = host.path(MAIN_HOOK, follow=False)
    link.unlink()
    host.write(MAIN_HOOK, '#!/bin/sh\nexec setarch i686 %s "$@"\n' % HOOK, 0o755)
    try:
        result = host.try_start('guest')
        assert 'host arch is i686' in host.refused('guest', result, 'host-architecture')
    finally:
        link.unlink()
        link.symlink_to(HOOK)
    host.admitted('guest', host.try_start('guest'))


def test_refusal_for_the_host_names_no_place_in_the_domain(host):
    mark = host.write('/run/.containerenv', '')
    try:
        text = refusal(host.try_define_and_start(domain('guest')), 1)
    finally:
        mark.unlink()
    seen = 'host container is podman (/run/.containerenv is there; remove it if this host is not a container)'
    line = '  (1) [container-host] domain created in a container: %s; remedy: ' % seen
    assert text.splitlines()[1].startswith(line)
