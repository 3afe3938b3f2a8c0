# SPDX-License-Identifier: Apache-2.0
"""Every rule of the shipped policy, by real starts on a real libvirtd: who is refused, who is not, and what is said."""

from typing import NamedTuple

import domains
import pytest
from domains import arguments, both, device, domain, extension, guest_os, replace
from guarded import RULES, WAIVER, refusal
from support.policies import action

pytestmark = pytest.mark.live

CRYPTO = "<crypto model='virtio' type='qemu'><backend model='builtin'/></crypto>"
THROTTLE_GROUP = """
  <throttlegroups>
    <throttlegroup><group_name>slow</group_name><total_iops_sec>100</total_iops_sec></throttlegroup>
  </throttlegroups>"""
THROTTLE_FILTERS = "<throttlefilters><throttlefilter group='slow'/></throttlefilters>"
TPM = "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
OVERRIDE = """
  <qemu:override>
    <qemu:device alias='ua-rng'>
      <qemu:frontend><qemu:property name='max-bytes' type='unsigned' value='1024'/></qemu:frontend>
    </qemu:device>
  </qemu:override>"""


class Case(NamedTuple):
    """A domain that a rule refuses, and what the refusal quotes of its XML."""

    rule: str
    mutation: domains.Mutation
    evidence: str


NATIVE = {
    'windows-7': Case('guest-os-windows', guest_os('http://microsoft.com/win/7'), 'id="http://microsoft.com/win/7"'),
    'windows-8.1': Case('guest-os-windows', guest_os('http://microsoft.com/win/8.1'), 'microsoft.com/win/8.1"'),
    'windows-2008-r2': Case('guest-os-windows-server', guest_os('http://microsoft.com/win/2k8r2'), '/win/2k8r2"'),
    'macos': Case('guest-os-macos', guest_os('http://apple.com/macosx/10.7'), '<libosinfo:os id="http://apple.com/'),
    'solaris-10': Case('guest-os-solaris', guest_os('http://sun.com/solaris/10'), 'http://sun.com/solaris/10'),
    'solaris-11': Case('guest-os-solaris', guest_os('http://oracle.com/solaris/11'), 'http://oracle.com/solaris/11'),
    'rhel-5.2': Case('guest-os-before-2009', guest_os('http://redhat.com/rhel/5.2'), 'http://redhat.com/rhel/5.2'),
    'tcg': Case('tcg', domains.TCG, '<domain type="qemu">'),
    'qemu-argument': Case('qemu-command-line', arguments('-no-user-config'), '<qemu:arg value="-no-user-config"/>'),
    'qemu-variable': Case(
        'qemu-command-line',
        extension("<qemu:commandline><qemu:env name='QEMU_AUDIO_DRV' value='none'/></qemu:commandline>"),
        '<qemu:env name="QEMU_AUDIO_DRV"',
    ),
    'qemu-override': Case(
        'qemu-command-line',
        both(device(domains.RNG), extension(OVERRIDE)),
        '<qemu:override><qemu:device alias="ua-rng">',
    ),
    'qemu-capabilities': Case(
        'qemu-command-line',
        extension("<qemu:capabilities><qemu:del capability='seamless-migration'/></qemu:capabilities>"),
        '<qemu:del capability="seamless-migration"/>',
    ),
    'qemu-deprecation': Case(
        'qemu-command-line', extension("<qemu:deprecation behavior='omit'/>"), '<qemu:deprecation behavior="omit">'
    ),
    'qemu-wrapper': Case(
        'emulator-unknown',
        replace('/usr/bin/qemu-system-x86_64', '/usr/local/bin/wrapper'),
        '(/usr/local/bin/wrapper is not in a directory of the system): <emulator>/usr/local/bin/wrapper</emulator>',
    ),
    'iotune': Case('qemu-io-throttling', domains.disk(domains.IOTUNE), '<total_iops_sec>100</total_iops_sec>'),
    'vhost-user-net': Case('vhost-user', device(domains.VHOST_USER_INTERFACE), '<interface type="vhostuser">'),
    'vhost-user-blk': Case('vhost-user', device(domains.VHOST_USER_DISK), '<disk type="vhostuser"'),
    'vhost-user-gpu': Case(
        'vhost-user',
        device("<video><driver name='vhostuser'/><model type='virtio' heads='1'/></video>"),
        '<driver name="vhostuser">',
    ),
    's3': Case(
        'guest-suspend',
        replace("<suspend-to-mem enabled='no'/>", "<suspend-to-mem enabled='yes'/>"),
        '<suspend-to-mem enabled="yes">',
    ),
    's4': Case(
        'guest-suspend',
        replace("<suspend-to-disk enabled='no'/>", "<suspend-to-disk enabled='yes'/>"),
        '<suspend-to-disk enabled="yes">',
    ),
    'failover-standby': Case('net-failover', device(domains.TEAMING), '<teaming type="persistent">'),
    'tpm': Case('tpm-passthrough', device(TPM), '<backend type="passthrough">'),
    'virtiofs': Case('virtiofs', device(domains.VIRTIOFS), '<driver type="virtiofs">'),
}

# The same features, past libvirt.
SMUGGLED = {
    'accel-tcg': Case('tcg', arguments('-accel', 'tcg'), '"tcg"'),
    'machine-tcg': Case('tcg', arguments('-M', 'accel=kvm:tcg'), '"accel=kvm:tcg"'),
    'readconfig': Case('qemu-reads-more', arguments('-readconfig', '/srv/more.cfg'), '"/srv/more.cfg"'),
    'second-monitor': Case(
        'qemu-reads-more', arguments('--qmp', 'unix:/run/qmp.sock,server=on'), '"unix:/run/qmp.sock'
    ),
    'preload': Case(
        'qemu-reads-more',
        extension("<qemu:commandline><qemu:env name='LD_PRELOAD' value='/srv/shim.so'/></qemu:commandline>"),
        '<qemu:env name="LD_PRELOAD"',
    ),
    'applesmc': Case('guest-os-macos', arguments('-device', 'isa-applesmc,osk=x'), '"isa-applesmc,osk=x"'),
    'throttled-drive': Case(
        'qemu-io-throttling',
        arguments('-drive', 'if=none,id=x,driver=null-co,throttling.iops-total=10'),
        'throttling.iops-total=10"',
    ),
    'throttle-group': Case('qemu-io-throttling', arguments('-object', 'throttle-group,id=g'), '"throttle-group,id=g"'),
    'throttle-filter': Case(
        'qemu-io-throttling', arguments('-blockdev', '{"driver": "throttle", "node-name": "n"}'), '"throttle"'
    ),
    'vhost-user-net': Case('vhost-user', arguments('-netdev', 'vhost-user,id=n,chardev=c'), '"vhost-user,id=n'),
    'vhost-user-blk': Case(
        'vhost-user', arguments('-device', '{"driver": "vhost-user-blk-pci"}'), 'vhost-user-blk-pci'
    ),
    's3': Case('guest-suspend', arguments('-global', 'ICH9-LPC.disable_s3=0'), '"ICH9-LPC.disable_s3=0"'),
    'crypto': Case(
        'virtio-crypto',
        arguments('-object', 'cryptodev-backend-builtin,id=c', '-device', 'virtio-crypto-pci,cryptodev=c'),
        '"virtio-crypto-pci,cryptodev=c"',
    ),
    'failover': Case('net-failover', arguments('-device', 'virtio-net-pci,failover=on'), 'failover=on"'),
    'tpm': Case('tpm-passthrough', arguments('-tpmdev', 'passthrough,id=t'), '"passthrough,id=t"'),
    'virtiofs': Case('virtiofs', arguments('-device', 'vhost-user-fs-pci,tag=share'), '"vhost-user-fs-pci,tag=share"'),
}

# What libvirt 9.0 cannot express: its hook is fed what a newer libvirt would write.
NEWER_LIBVIRT = {
    'crypto': Case('virtio-crypto', device(CRYPTO), '<crypto model="virtio" type="qemu">'),
    'throttle-group': Case('qemu-io-throttling', replace('<devices>', THROTTLE_GROUP + '<devices>'), '<throttlegroup>'),
    'throttle-filter': Case('qemu-io-throttling', domains.disk(THROTTLE_FILTERS), '<throttlefilter group="slow">'),
}

# Shown where the host can be faked: test_guard_host_rules.py.
HOST_RULES = {'host-architecture', 'container-host', 'multipath-persistent-reservation', 'infiniband-sriov'}

WARNED = {
    'guest-os-unknown': replace("<libosinfo:os id='http://redhat.com/rhel/8.10'/>", ''),
    'guest-suspend-default': replace("<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>", ''),
}


@pytest.fixture(scope='module')
def _furniture(_guarded_machine):
    """What domains of this module need on the host."""
    machine = _guarded_machine
    machine.write('/var/lib/libvirt/images/disk.img', bytes(1 << 20))
    machine.write('/usr/local/bin/wrapper', '#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "$@"\n', 0o755)
    machine.virsh('net-create', '/dev/stdin', input="<network><name>lan</name><bridge name='virbr9'/></network>")


@pytest.fixture
def host(host, _furniture):
    return host


def test_every_rule_is_shown():
    denying = {case.rule for table in (NATIVE, SMUGGLED, NEWER_LIBVIRT) for case in table.values()} | HOST_RULES
    of_admission = {id: rule['action'] for id, rule in RULES.items() if 'at' not in rule}
    assert denying == {id for id, action in of_admission.items() if action == 'deny'}
    warning = {id for id, action in of_admission.items() if action == 'warn'}
    # Of a domain that libvirt has defined, the machine type has its version.
    assert set(WARNED) == warning - {'guest-suspend-alias'}


@pytest.mark.parametrize('name', NATIVE)
def test_refused(host, name):
    case = NATIVE[name]
    result = host.try_define_and_start(domain(name, case.mutation))
    assert case.evidence in host.refused(name, result, case.rule)


def test_refusal_in_full(host):
    """The whole text, as virsh, virt-manager and Cockpit show it."""
    result = host.try_define_and_start(domain('legacy', domains.TCG, device(domains.VIRTIOFS)))
    assert refusal(result, 1) == (
        "virt-guard: domain 'legacy' denied by policy 'rhel-8': tcg, virtiofs\n"
        '  (1) [tcg] TCG software emulation: <domain type="qemu"> (line 1 of virsh dumpxml); '
        "remedy: use <domain type='kvm'> on a host with hardware virtualization.\n"
        '  (2) [virtiofs] virtiofs shared directory: <driver type="virtiofs"> (line 59 of virsh dumpxml); '
        'remedy: share it over the network (NFS, Samba), or move the domain to a RHEL 9 host.\n'
        '  more: virt-guard explain tcg virtiofs; ' + WAIVER + 'legacy tcg virtiofs'
    )
    assert result.stderr.startswith("error: Failed to start domain 'legacy'\nerror: Hook script execution failed: ")
    host.refused('legacy', result, 'tcg', 'virtiofs')
    shown = host.virsh('dumpxml', 'legacy').stdout.splitlines()
    assert (shown[0], shown[58].strip()) == ("<domain type='qemu'>", "<driver type='virtiofs'/>")


@pytest.mark.parametrize(
    'mutation',
    [
        domains.unchanged,
        both(domains.disk(), device("<interface type='network'><source network='lan'/></interface>")),
        guest_os('http://microsoft.com/win/2k19'),
        guest_os('http://redhat.com/rhel/5.3'),
        device("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
    ],
    ids=['plain', 'disk-and-network', 'windows-2019', 'released-in-2009', 'vtpm'],
)
def test_admitted(host, request, mutation):
    name = request.node.callspec.id
    host.admitted(name, host.try_define_and_start(domain(name, mutation)))


@pytest.mark.parametrize('rule', WARNED)
def test_admitted_with_a_warning(host, rule):
    record = host.admitted(rule, host.try_define_and_start(domain(rule, WARNED[rule])), rule)
    assert record['VIRT_GUARD_FINDING'].startswith('warn %s /domain' % rule)
    assert record['MESSAGE'] == "domain '%s' admitted by policy 'rhel-8', with warnings: %s" % (rule, rule)


@pytest.mark.parametrize('name', SMUGGLED)
def test_refused_on_the_qemu_command_line(host, name):
    """By both rules; and with the rule against the command line switched off, by the feature's own all the same."""
    case = SMUGGLED[name]
    both = [rule for rule in RULES if rule in ('qemu-command-line', case.rule)]
    xml = domain('smuggled-' + name, case.mutation)
    text = host.refused('smuggled-' + name, host.try_define_and_start(xml), *both)
    assert case.evidence in text
    with host.edited_policy(action('qemu-command-line', '"off"')):
        text = host.refused('smuggled-' + name, host.try_start('smuggled-' + name), case.rule)
    assert case.evidence in text


def test_refusal_for_many_reasons_stays_short(host):
    """What does not fit is counted; the first line and the last are whole."""
    devices = [part for number in range(100) for part in ('-device', 'vhost-user-fs-pci,tag=share%d' % number)]
    result = host.try_define_and_start(domain('sharer', arguments(*devices)))
    text = host.refused('sharer', result, 'qemu-command-line', 'virtiofs')
    assert len(text) < 4096
    assert '\n  (shortened: ' in text


@pytest.mark.parametrize('name', NEWER_LIBVIRT)
def test_refused_in_the_xml_of_a_newer_libvirt(host, name):
    case = NEWER_LIBVIRT[name]
    answer = host.ask_hook('newer-' + name, 'prepare', domain('newer-' + name, case.mutation))
    assert (answer.returncode, answer.stdout) == (1, '')
    assert "domain 'newer-%s' denied by policy 'rhel-8': %s\n" % (name, case.rule) in answer.stderr
    assert case.evidence in answer.stderr
    host.record('newer-' + name, 'deny', 'prepare')
