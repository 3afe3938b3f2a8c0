# SPDX-License-Identifier: Apache-2.0
"""Every rule of run time, by what administrators do to real domains on a real libvirtd while the watch runs."""

import json
import pathlib
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import domains
import pytest
from domains import domain, replace
from faked import ETHERNET, INFINIBAND, MAP, VPI, FakedHost
from guarded import RULES
from support.capabilities import missing
from support.records import HAPPENED_ID
from watched import IMAGES, LOG, QUIET, WatchedMachine, image_of

pytestmark = pytest.mark.live

DIMM = "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>"
VIRTIO_MEM = """
  <memory model='virtio-mem'>
    <target>
      <size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>64</requested>
    </target>
  </memory>"""
BACKUP = """
  <domainbackup%s>%s
    <disks><disk name='vda' backup='yes' type='file'><%s file='%s/lab-backup'/></disk></disks>
  </domainbackup>"""
SERVER = "<server transport='unix' socket='%s/lab-backup.socket'/>" % IMAGES
FUNCTION_OF_A_NETWORK = """
    <interface type='network'>
      <source network='functions'/>
      <actual type='hostdev'>
        <source><address type='pci' domain='0' bus='%s' slot='0' function='1'/></source>
      </actual>
    </interface>"""
LAB_STATUS = '/run/libvirt/qemu/lab.xml'
BY_HAND = ['/usr/bin/qemu-system-x86_64', '-name', 'by-hand', '-machine', 'q35', '-nodefaults', '-display', 'none']


@pytest.fixture(scope='module')
def hosts(tmp_path_factory):
    """Two watched machines that reach each other. On the second runs a QEMU that its libvirt knows nothing of."""
    shared = tmp_path_factory.mktemp('shared')
    workdir = tmp_path_factory.mktemp('machine')
    with WatchedMachine(workdir, shared=shared) as one, WatchedMachine(workdir, shared=shared) as two:
        two.by_hand = two.spawn(BY_HAND)
        with ThreadPoolExecutor() as pool:
            list(pool.map(WatchedMachine.begin, (one, two)))
        yield one, two


@pytest.fixture
def host(hosts):
    """A watched machine with a running domain, `lab`, which tests share."""
    host = hosts[0]
    if 'lab' not in host.running():
        host.start_lab()
    host.happened()
    return host


@pytest.fixture
def used_up(host):
    """For a test after which `lab` is not what it was."""
    yield
    host.end_lab()


def lab(*rules):
    return [('lab', rule) for rule in rules]


def test_every_rule_is_shown():
    with open(__file__) as file:
        text = file.read()
    assert [id for id, rule in RULES.items() if rule.get('at') == 'runtime' and id not in text] == []


def test_vcpus(host):
    host.virsh('setvcpus', 'lab', '3', '--live')
    assert host.found() == []
    host.virsh('setvcpus', 'lab', '2', '--live')
    (record,) = host.happened()
    assert (record['VIRT_GUARD_RULE'], record['VIRT_GUARD_DOMAIN']) == ('vcpu-hot-unplug', 'lab')
    assert (record['VIRT_GUARD_BEFORE'], record['VIRT_GUARD_AFTER']) == (
        '<vcpu placement="static">',
        '<vcpu placement="static" current="2">',
    )
    host.virsh('setvcpu', 'lab', '--disable', '--live', '1')
    assert host.found() == lab('vcpu-hot-unplug')
    host.virsh('setvcpus', 'lab', '1', '--config')
    assert host.found() == []


def test_memory(host, used_up):
    for xml in (DIMM, VIRTIO_MEM):
        host.plug(xml)
    assert host.found() == []
    host.virsh('detach-device', 'lab', '/dev/stdin', '--live', input=DIMM)
    assert host.found() == lab('memory-hot-unplug')
    for size, rules in (('96M', []), ('32M', ['virtio-mem-shrink']), ('0M', ['virtio-mem-shrink'])):
        host.virsh('update-memory-device', 'lab', '--requested-size', size, '--live')
        assert host.found() == lab(*rules), size


def test_hot_plug(host, used_up):
    """Rules of admission, on what was not there when the domain was admitted."""
    host.virsh('blkdeviotune', 'lab', 'vda', '--total-iops-sec', '100', '--live')
    assert host.found() == lab('qemu-io-throttling')
    host.virsh('blkdeviotune', 'lab', 'vda', '--total-iops-sec', '0', '--live')
    assert host.found() == []
    for name, limits, rules in (('vdb', '', []), ('vdc', domains.IOTUNE, ['qemu-io-throttling'])):
        host.make_qcow2(image_of('lab-' + name))
        xml = domains.QCOW2_DISK.replace('disk.qcow2', 'lab-%s.qcow2' % name).replace(
            "<target dev='vda'", limits + "<target dev='%s'" % name
        )
        host.plug(xml)
        assert host.found() == lab(*rules)
    host.plug(domains.TEAMING)
    assert host.found() == lab('net-failover')


@pytest.fixture
def serve(host, used_up):
    """Start a process that serves a device of `lab` on a socket; it ends with the test."""
    pids = []
    yield lambda argv, path: pids.append(host.serve(argv, path))
    for pid in pids:
        host.kill(pid, wait=10)


def test_hot_plug_of_vhost_user(host, serve):
    """The server of a disk does for an interface, too: what else they have to agree on they ask when a driver runs."""
    daemon = ['qemu-storage-daemon', '--blockdev', 'driver=null-co,node-name=nothing', '--export']
    for name, xml, shown in (
        ('disk', domains.VHOST_USER_DISK.replace('vda', 'vdb'), '<disk type="vhostuser" device="disk" snapshot="no">'),
        ('interface', domains.VHOST_USER_INTERFACE, '<interface type="vhostuser">'),
    ):
        path = '/run/%s.sock' % name
        serve([*daemon, 'type=vhost-user-blk,id=export,node-name=nothing,addr.type=unix,addr.path=' + path], path)
        host.plug(xml.replace('/run/vhost-user.sock', path))
        assert host.plugged() == [('lab', 'vhost-user', shown)]


def test_hot_plug_of_virtiofs(host, serve, virtiofsd):
    """Not started by libvirt, which crashes then (9.0) where a domain has no cgroup, as in these machines."""
    serve([virtiofsd, '--socket-path=/run/virtiofs.sock', '-o', 'source=/srv'], '/run/virtiofs.sock')
    host.plug(domains.VIRTIOFS.replace("dir='/srv'", "socket='/run/virtiofs.sock'"))
    assert host.plugged() == [('lab', 'virtiofs', '<driver type="virtiofs">')]


@pytest.fixture
def virtiofsd():
    """The program, found as libvirt finds it."""
    for file in sorted(pathlib.Path('/usr/share/qemu/vhost-user').glob('*.json')):
        described = json.loads(file.read_text())
        if described['type'] == 'fs':
            return described['binary']
    return missing('needs virtiofsd')


@pytest.fixture(scope='module')
def faked(hosts):
    faked = FakedHost(hosts[0])
    # A device that QEMU, where it opens it, finds empty.
    unused = subprocess.check_output(['losetup', '--find']).decode().strip()
    faked.multipath_map((7, int(unused[len('/dev/loop') :])))
    return faked


def test_hot_plug_of_persistent_reservations(host, faked):
    """LUNs are of SCSI devices; but in an old machine type, virtio-blk takes any device for one."""
    if 'scsi=' not in host.run(['qemu-system-x86_64', '-device', 'virtio-blk-pci,help']).stdout:
        pytest.skip('virtio-blk of this QEMU (since 9.1) takes no device for a LUN')
    host.virsh('create', '/dev/stdin', input=domain('old', replace("machine='q35'", "machine='pc-i440fx-2.6'")))
    try:
        for name, rawio, reservations, is_found in (
            ('vda', '', '', False),
            ('vdb', '', domains.RESERVATIONS, True),
            ('vdc', " rawio='yes'", '', True),
        ):
            target = "<target dev='%s' bus='virtio'/><readonly/>" % name
            lun = domains.LUN % (rawio, MAP, reservations)
            host.plug(lun.replace("<target dev='sda' bus='scsi'/>", target), 'old')
            finding = ('old', 'multipath-persistent-reservation', '<source dev="%s">' % MAP)
            assert host.plugged() == [finding] * is_found
    finally:
        host.virsh('destroy', 'old')


def find_plugged(host, devices):
    """What QEMU does not take here, libvirt finds in its own file, and writes that anew."""
    host.stop_libvirtd()
    with host.watch_stopped():
        plug = replace("<memballoon model='none'/>", devices + "<memballoon model='none'/>")
        host.write(LAB_STATUS, plug(host.read(LAB_STATUS)), 0o600)
        host.restart_libvirtd_with('lab')


def test_persistent_reservations(host, faked, used_up):
    unmanaged = (
        "<reservations managed='no'><source type='unix' path='/run/helper.socket' mode='client'/></reservations>"
    )
    for name, rawio, reservations, is_found in (
        ('vdx', '', '', False),
        ('vdy', '', unmanaged, True),
        ('vdz', " rawio='yes'", '', True),
    ):
        target = "<target dev='%s' bus='virtio'/><alias name='ua-%s'/>" % (name, name)
        lun = (domains.LUN % (rawio, MAP, reservations)).replace("<target dev='sda' bus='scsi'/>", target)
        find_plugged(host, lun)
        finding = ('lab', 'multipath-persistent-reservation', '<source dev="%s">' % MAP)
        assert host.plugged() == [finding] * is_found


def test_host_devices(host, faked, used_up):
    """The kernel may have no VFIO."""
    faked.adapter(INFINIBAND, '020700')
    faked.adapter(VPI, '020000', 'InfiniBand')
    faked.adapter(ETHERNET, '020000', 'Ethernet')
    devices = FUNCTION_OF_A_NETWORK % VPI + domains.HOSTDEV % ETHERNET
    teaming = "<teaming type='transient' persistent='ua-x'/>"
    devices += (domains.HOSTDEV % INFINIBAND).replace('</source>', '</source>' + teaming)
    devices = devices.replace('<source><address', "<driver name='vfio'/><source><address")
    find_plugged(host, devices)
    # In libvirt's own spelling: these are no longer the numbers as they were written above.
    address = '<address %sdomain="0x0000" bus="%s" slot="0x00" function="0x1">'
    assert host.plugged() == [
        ('lab', 'net-failover', '<teaming type="transient" persistent="ua-x">'),
        ('lab', 'infiniband-sriov', address % ('type="pci" ', VPI)),
        ('lab', 'infiniband-sriov', address % ('', INFINIBAND)),
    ]


@pytest.mark.parametrize(
    'name, options',
    [
        ('memory-inside', []),
        ('disks', ['--disk-only']),
        ('memory-outside', ['--memspec', IMAGES + '/lab-memory']),
        ('memory-live', ['--memspec', IMAGES + '/lab-memory-live', '--live']),
        ('memory-inside-bare', ['--no-metadata']),
        ('disks-bare', ['--disk-only', '--no-metadata']),
    ],
)
def test_snapshot(host, name, options):
    """There may be two records: of the snapshot as it is made, and of its metadata."""
    host.virsh('snapshot-create-as', 'lab', name, *options)
    assert host.found() in (lab('live-snapshot'), lab('live-snapshot') * 2)


def test_snapshot_of_a_paused_domain(host, used_up):
    host.virsh('suspend', 'lab')
    host.virsh('snapshot-create-as', 'lab', 'one')
    assert host.found() == lab('live-snapshot')


def test_snapshot_is_loaded(host, used_up):
    host.virsh('snapshot-create-as', 'lab', 'one')
    host.found()
    host.virsh('snapshot-revert', 'lab', 'one')
    assert host.found() == lab('live-snapshot')
    host.virsh('destroy', 'lab')
    host.virsh('snapshot-revert', 'lab', 'one', '--paused')
    assert host.found() == lab('live-snapshot')


def test_snapshots_that_are_not_live(host, used_up):
    host.virsh('destroy', 'lab')
    host.virsh('snapshot-create-as', 'lab', 'off')
    host.virsh('start', 'lab')
    xml = host.virsh('snapshot-dumpxml', 'lab', 'off').stdout
    host.virsh('snapshot-create', 'lab', '/dev/stdin', '--redefine', input=xml)
    host.virsh('snapshot-delete', 'lab', 'off')
    assert host.found() == []


def test_another_name_for_a_domain_with_snapshots(host, used_up):
    for name in ('one', 'two'):
        host.virsh('snapshot-create-as', 'lab', name)
    host.found()
    host.virsh('destroy', 'lab')
    found = []
    for names in (('lab', 'other'), ('other', 'lab')):
        host.virsh('domrename', *names)
        found += host.found()
    assert found == []


def test_block_jobs(host, used_up):
    host.virsh('snapshot-create-as', 'lab', 'one', '--disk-only', '--no-metadata')
    host.found()
    host.virsh('blockcommit', 'lab', 'vda', '--active', '--wait', '--pivot')
    assert host.found() == []
    host.virsh('blockcopy', 'lab', 'vda', IMAGES + '/lab-copy', '--transient-job', '--wait', '--pivot')
    assert host.found() == lab('block-copy')


def test_backups(host):
    def back_up(mode='', server='', checkpoint='', target='target'):
        incremental = checkpoint and '<incremental>%s</incremental>' % checkpoint
        xml = BACKUP % (mode, incremental + server, target, IMAGES)
        host.virsh('backup-begin', 'lab', '/dev/stdin', input=xml)
        if mode:
            host.virsh('domjobabort', 'lab')
        else:
            while host.virsh('domjobinfo', 'lab').stdout.split()[-1] != 'None':
                time.sleep(0.02)
        host.run(['rm', '-f', IMAGES + '/lab-backup'])

    pull = (" mode='pull'", SERVER)
    back_up()
    back_up(*pull, target='scratch')
    assert host.found() == []
    host.virsh('checkpoint-create-as', 'lab', 'monday')
    assert host.found() == lab('incremental-backup')
    seen = []
    for _ in range(3):  # each takes some 50 ms, too short for a busy host to see every one
        back_up(checkpoint='monday')
        seen += host.found()
    assert seen and set(seen) == set(lab('incremental-backup'))
    back_up(*pull, checkpoint='monday', target='scratch')
    assert host.found() == lab('incremental-backup')
    host.virsh('checkpoint-delete', 'lab', 'monday')
    assert host.found() == []


def test_guest_that_sleeps(host):
    """Though its definition says that it cannot: the chipset obeys all the same."""
    for _ in range(2):
        host.virsh('send-key', 'lab', 'KEY_S')
        assert host.found() == lab('guest-suspended')
        host.virsh('dompmwakeup', 'lab')
        assert host.found() == []


def test_monitor_command(host):
    host.virsh('qemu-monitor-command', 'lab', '--hmp', 'info version')
    assert host.found() == lab('qemu-raw-access')
    host.virsh('qemu-monitor-command', 'lab', '--hmp', 'info version')
    assert host.found() == []  # it is so already


def test_ordinary_life(host):
    host.virsh('suspend', 'lab')
    host.virsh('resume', 'lab')
    host.virsh('dump', 'lab', IMAGES + '/lab-dump', '--memory-only')
    host.virsh('save', 'lab', IMAGES + '/lab-save')
    host.virsh('restore', IMAGES + '/lab-save')
    host.virsh('managedsave', 'lab')
    host.virsh('start', 'lab')
    host.virsh('reset', 'lab')
    assert host.found() == []


def test_what_was_too_short_to_be_seen(host, used_up):
    """Of what is over before the watch comes to look, it finds what is left."""
    with host.watch_stopped():
        host.virsh('snapshot-create-as', 'lab', 'short', '--disk-only', '--no-metadata')
    assert host.found() == lab('live-snapshot')
    with host.watch_stopped():
        host.virsh('snapshot-create-as', 'lab', 'long')
    assert host.found() == lab('live-snapshot')
    host.virsh('setvcpus', 'lab', '3', '--live')
    assert host.found() == []
    with host.watch_stopped():
        host.virsh('setvcpus', 'lab', '1', '--live')
        host.virsh('suspend', 'lab')
        host.virsh('resume', 'lab')
    assert host.found() == lab('vcpu-hot-unplug')


def test_migration(hosts):
    one, two = hosts
    for host in hosts:
        host.end_lab()
        host.happened()
    one.start_lab()

    def migrate(source, destination, *options):
        destination.make_qcow2(image_of('lab'))
        sockets = ['--migrateuri', 'unix://%s/migration' % source.shared]
        if '--copy-storage-all' in options:
            sockets += ['--disks-uri', 'unix://%s/disks' % source.shared]
        source.virsh('migrate', '--live', '--unsafe', '--persistent', *options, 'lab', destination.uri, *sockets)
        return source.found(), destination.found()

    try:
        assert migrate(one, two) == ([], [])
        both = lab('multifd-migration')
        assert migrate(two, one, '--parallel', '--parallel-connections', '2') == (both, both)
        both = lab('storage-live-migration')
        assert migrate(one, two, '--copy-storage-all') == (both, both)
    finally:
        for host in hosts:
            host.end_lab()


def test_qemu_outside_libvirt(hosts):
    two = hosts[1]
    (record,) = two.wait_journal('MESSAGE_ID=' + HAPPENED_ID, 'VIRT_GUARD_RULE=qemu-outside-libvirt', timeout=60)
    assert record['MESSAGE'].startswith('this host: deny: QEMU that libvirt does not manage [qemu-outside-libvirt]')
    assert '<process pid="%d" ' % two.by_hand in record['VIRT_GUARD_AFTER']
    assert 'name="by-hand"' in record['VIRT_GUARD_AFTER']


def test_nothing_is_recorded_of_domains_to_which_nothing_happens(hosts):
    for host in hosts:
        assert QUIET in host.running()
        assert host.journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DOMAIN=' + QUIET) == []
        assert host.read(LOG) == ''
