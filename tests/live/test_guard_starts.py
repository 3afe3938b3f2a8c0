# SPDX-License-Identifier: Apache-2.0
"""Every way that leads to a running domain leads past the guard: saved images, snapshots, autostart, migration."""

import domains
import pytest
from domains import device, domain, guest_os, replace
from support.policies import action

pytestmark = pytest.mark.live

WINDOWS_7 = guest_os('http://microsoft.com/win/7')


# Managed save, save and restore


def test_managed_save_of_a_clean_domain(host):
    host.admitted('saved', host.try_define_and_start(domain('saved')))
    host.virsh('managedsave', 'saved')
    host.admitted('saved', host.try_start('saved'))


def test_managed_save_of_what_is_denied_now(host):
    """The saved state is not lost: it starts as soon as the policy permits."""
    with host.edited_policy(action('guest-os-windows', 'warn')):
        host.admitted('saved', host.try_define_and_start(domain('saved', WINDOWS_7)), 'guest-os-windows')
    host.virsh('managedsave', 'saved')
    host.refused('saved', host.try_start('saved'), 'guest-os-windows')
    assert 'Managed save:   yes' in host.virsh('dominfo', 'saved').stdout
    with host.edited_policy(action('guest-os-windows', 'warn')):
        host.admitted('saved', host.try_start('saved'), 'guest-os-windows')
    assert 'Managed save:   no' in host.virsh('dominfo', 'saved').stdout


def test_restore_with_edited_xml(host):
    host.write('/var/lib/libvirt/images/disk.img', bytes(1 << 20))
    host.admitted('saved', host.try_define_and_start(domain('saved', domains.disk())))
    host.virsh('save', 'saved', '/var/lib/libvirt/saved')
    image_xml = host.virsh('save-image-dumpxml', '/var/lib/libvirt/saved').stdout
    throttled = replace("<target dev='vda'", domains.IOTUNE + "<target dev='vda'")(image_xml)
    restore = ('restore', '/var/lib/libvirt/saved')
    result = host.virsh(*restore, '--xml', '/dev/stdin', input=throttled, check=False)
    host.refused('saved', result, 'qemu-io-throttling')
    host.admitted('saved', host.virsh(*restore))


# Snapshots


@pytest.fixture
def snapshot_host(host):
    """A machine with one running domain, which has a snapshot of itself running."""
    host.make_qcow2('/var/lib/libvirt/images/disk.qcow2')
    host.admitted('lab', host.try_define_and_start(domain('lab', device(domains.QCOW2_DISK))))
    host.virsh('snapshot-create-as', 'lab', 'before')
    return host


def test_revert_to_a_clean_snapshot(snapshot_host):
    host = snapshot_host
    host.virsh('destroy', 'lab')
    host.admitted('lab', host.virsh('snapshot-revert', 'lab', 'before', check=False))


def test_revert_to_a_snapshot_of_what_is_denied(snapshot_host):
    """libvirt ends the running domain, and takes the snapshot's definition for its own, before it asks the hook."""
    host = snapshot_host
    snapshot = host.virsh('snapshot-dumpxml', 'lab', 'before').stdout
    snapshot = snapshot.replace('http://redhat.com/rhel/8.10', 'http://microsoft.com/win/7')
    host.virsh('snapshot-create', 'lab', '/dev/stdin', '--redefine', input=snapshot)
    host.refused('lab', host.virsh('snapshot-revert', 'lab', 'before', check=False), 'guest-os-windows')
    assert host.virsh('domstate', 'lab').stdout.strip() == 'shut off'
    reverted = host.virsh('dumpxml', 'lab').stdout
    host.define(reverted.replace('http://microsoft.com/win/7', 'http://redhat.com/rhel/8.10'))
    host.admitted('lab', host.try_start('lab'))


# Autostart and transient domains


def test_autostart(host):
    for name, mutation in (('good', domains.unchanged), ('bad', domains.TCG)):
        host.virsh('autostart', host.define(domain(name, mutation)))
    host.stop_libvirtd()
    host.path('/run/libvirt/qemu/autostarted').unlink(missing_ok=True)  # libvirt starts them once per boot
    host.start_libvirtd()
    assert host.running() == {'good'}
    host.record('good', 'admit', 'start')
    host.record('bad', 'deny', 'prepare')
    by_libvirt = [entry['MESSAGE'] for entry in host.journal('_COMM=libvirtd')]
    wanted = "Failed to autostart VM 'bad': Hook script execution failed"
    assert any(wanted in message and "domain 'bad' denied by policy 'rhel-8': tcg" in message for message in by_libvirt)


def test_transient_domain(host):
    create = ('create', '/dev/stdin')
    host.refused('brief', host.virsh(*create, input=domain('brief', domains.TCG), check=False), 'tcg')
    assert 'brief' not in host.running('--all')
    host.admitted('brief', host.virsh(*create, input=domain('brief'), check=False))


def test_start_paused(host):
    host.define(domain('paused', domains.TCG))
    host.refused('paused', host.virsh('start', '--paused', 'paused', check=False), 'tcg')


# Migration


@pytest.fixture
def hosts(new_machine, tmp_path):
    """Two hosts; the source admits Windows 7."""
    shared = tmp_path / 'shared'
    shared.mkdir()
    source, destination = (new_machine(shared=shared) for _ in range(2))
    for machine in (source, destination):
        machine.install('--no-deps')
    with source.edited_policy(action('guest-os-windows', '"off"')):
        yield source, destination


@pytest.mark.parametrize('options', [(), ('--p2p',)], ids=['by-virsh', 'by-libvirtd'])
def test_migration(hosts, options):
    source, destination = hosts

    def migrate(name):
        where = (destination.uri, '--migrateuri', 'unix://%s/%s.socket' % (source.shared, name))
        return source.virsh('migrate', '--live', '--unsafe', *options, name, *where, check=False)

    source.admitted('welcome', source.try_define_and_start(domain('welcome')))
    destination.admitted('welcome', migrate('welcome'))
    assert source.running() == set()

    source.admitted('unwelcome', source.try_define_and_start(domain('unwelcome', WINDOWS_7)))
    text = destination.refused('unwelcome', migrate('unwelcome'), 'guest-os-windows')
    assert 'http://microsoft.com/win/7' in text
    assert source.virsh('domstate', 'unwelcome').stdout.strip() == 'running'
    assert destination.running('--all') == {'welcome'}
    assert source.records('unwelcome') == []
