# SPDX-License-Identifier: Apache-2.0
"""Facts and probes, asked of small trees of files that look like the hosts in question."""

import datetime
import os
import subprocess
import sys
import time

import pytest
from support.paths import LIB
from virtguard.host import Host, read_facts, today
from virtguard.model import HostCondition, HostFacts


@pytest.fixture
def host(tmp_path):
    return FakeHost(tmp_path)


@pytest.mark.parametrize('hours', [-12, 0, 14])
def test_the_day_is_that_of_the_hosts_own_clock(monkeypatch, hours):
    def there():
        return str(datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=hours))).date())

    monkeypatch.setenv('TZ', 'HOST%+d' % -hours)  # POSIX counts to the west
    time.tzset()
    try:
        assert there() <= today() <= there()
    finally:
        monkeypatch.undo()
        time.tzset()


class FakeHost:
    """A root directory to fill; `probe` and the facts are those of the real code below it."""

    def __init__(self, root):
        self.root = root
        self._host = Host(str(root))
        self.container, self.os, self.probe = self._host.container, self._host.os, self._host.probe
        self.evidence = self._host.evidence

    def write(self, path, content=''):
        file = self.root / path.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def mkdir(self, path):
        (self.root / path.lstrip('/')).mkdir(parents=True, exist_ok=True)

    def link(self, path, target):
        link = self.root / path.lstrip('/')
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


# Containers


@pytest.mark.parametrize(
    'files, expected',
    [
        # Nothing can be read: nothing is known.
        ({}, None),
        ({'/proc/1/environ': b'HOME=/\0TERM=linux\0'}, 'none'),
        ({'/proc/1/environ': b''}, 'none'),
        # An ordinary user cannot read that environment, but systemd would have written down what it found there.
        ({'/run/systemd/system/x': b''}, 'none'),
        ({'/run/systemd/container': b'lxc\n'}, 'lxc'),
        ({'/run/systemd/container': b'\n', '/run/systemd/system/x': b''}, 'none'),
        ({'/proc/1/environ': b'HOME=/\0container=podman\0TERM=x\0'}, 'podman'),
        ({'/proc/1/environ': b'container=\0'}, 'none'),
        ({'/proc/1/environ': b'xcontainer=podman\0CONTAINER=x\0'}, 'none'),
        ({'/run/.containerenv': b''}, 'podman'),
        ({'/.dockerenv': b''}, 'docker'),
        # The order is systemd's: what the manager says, then the marks that tools leave.
        ({'/run/host/container-manager': b'systemd-nspawn\n', '/proc/1/environ': b'HOME=/\0'}, 'systemd-nspawn'),
        ({'/run/systemd/container': b'lxc', '/proc/1/environ': b'container=podman\0'}, 'lxc'),
        ({'/proc/1/environ': b'container=lxc\0', '/run/.containerenv': b''}, 'lxc'),
        ({'/run/.containerenv': b'', '/.dockerenv': b''}, 'podman'),
        ({'/.dockerenv': b'', '/proc/1/environ': b'HOME=/\0'}, 'docker'),
        ({'/run/systemd/container': b'\xff\xfe'}, '\ufffd\ufffd'),
    ],
)
def test_container(host, files, expected):
    for path, content in files.items():
        host.write(path, content)
    assert host.container() == expected


FIRST, ANOTHER = 'pid:[4026531836]', 'pid:[4026532345]'
# The environment of process 1 is no file that an image has; what is in the file system may be left of anything.
LEFT = {
    '/run/systemd/container': 'lxc',
    '/run/host/container-manager': 'systemd-nspawn',
    '/run/.containerenv': 'podman',
    '/.dockerenv': 'docker',
}


@pytest.mark.parametrize('mark', sorted(LEFT))
@pytest.mark.parametrize('by_root', [True, False])
def test_a_file_makes_no_container_of_the_first_pid_namespace(host, mark, by_root):
    host.write(mark, LEFT[mark])
    if by_root:
        host.write('/proc/1/environ', 'HOME=/\0')
    host.link('/proc/self/ns/pid', FIRST)
    assert (host.container(), host.evidence) == ('none', {})


@pytest.mark.parametrize('namespace', [ANOTHER, None])
@pytest.mark.parametrize('mark', sorted(LEFT))
def test_the_evidence_names_the_mark(host, mark, namespace):
    host.write(mark, LEFT[mark])
    host.write('/proc/1/environ', 'HOME=/\0')
    if namespace:
        host.link('/proc/self/ns/pid', namespace)
    assert host.container() == LEFT[mark]
    assert host.evidence['container'].startswith(mark + ' ')
    assert read_facts(['container'], str(host.root)).evidence == host.evidence


def test_what_process_1_says_counts_everywhere(host):
    host.write('/proc/1/environ', 'container=lxc\0')
    host.link('/proc/self/ns/pid', FIRST)
    assert host.container() == 'lxc'
    assert host.evidence == {'container': 'process 1 has it in its environment'}


# Operating systems


@pytest.mark.parametrize(
    'text, expected',
    [
        ('ID="rhel"\nVERSION_ID="8.10"\n', 'rhel-8.10'),
        ("VERSION_ID='12'\nID=debian\n", 'debian-12'),
        ('NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n', 'arch'),
        ('# ID=comment\n\nID_LIKE=fedora\n ID = "centos" \nVERSION_ID=\n', 'centos'),
        ('VERSION_ID=8\n', None),
        ('ID=\n', None),
        ('', None),
        (b'NAME="\xff"\nID=rhel\n', 'rhel'),
    ],
)
def test_os(host, text, expected):
    host.write('/etc/os-release', text)
    assert host.os() == expected


def test_os_release_has_two_places(host):
    assert host.os() is None
    host.write('/usr/lib/os-release', 'ID=vendor\n')
    assert host.os() == 'vendor'
    host.write('/etc/os-release', 'ID=admin\n')
    assert host.os() == 'admin'


def test_os_release_may_be_a_link(host):
    host.write('/usr/lib/os-release', 'ID=rhel\nVERSION_ID=9.4\n')
    host.link('/etc/os-release', '../usr/lib/os-release')
    assert host.os() == 'rhel-9.4'


# Which releases os-release is taken for: from 9.0 before 9.4 of RHEL, and from 15.4 before 15.6 of SLES.
RANGES = [
    (('rhel', (9, 0), (9, 4)), 'rhel 9.0 to 9.3'),
    (('rhel', (9, 4), ()), 'rhel 9.4 or newer'),
    (('rhel', (), (9, 0)), 'rhel before 9.0'),
    (('sles', (15, 4), (15, 6)), 'sles 15.4 and 15.5'),
    (('sles', (), (15, 4)), 'sles before 15.4'),
    (('sles', (16, 0), ()), 'sles 16.0 or newer'),
]


@pytest.mark.parametrize(
    'text, expected',
    [
        ('ID="rhel"\nVERSION_ID="9.0"\n', 'rhel 9.0 to 9.3'),
        ("ID='rhel'\nVERSION_ID='9.3'\n", 'rhel 9.0 to 9.3'),
        ('ID=rhel\nVERSION_ID=9.4\n', 'rhel 9.4 or newer'),
        ('ID=rhel\nVERSION_ID="9.10"\n', 'rhel 9.4 or newer'),
        ('ID=rhel\nVERSION_ID="10"\n', 'rhel 9.4 or newer'),
        ('ID=rhel\nVERSION_ID="8.10"\n', 'rhel before 9.0'),
        ('ID=almalinux\nID_LIKE="rhel centos fedora"\nVERSION_ID=9.2\n', 'rhel 9.0 to 9.3'),
        ('VERSION_ID=9.2\nID_LIKE="fedora centos rhel"\nID=almalinux\n', 'rhel 9.0 to 9.3'),
        ('ID=anew\nID_LIKE="centos"\nVERSION_ID=9.2.1\n', 'rhel 9.0 to 9.3'),
        ('ID=ol\nID_LIKE=fedora\nVERSION_ID=9.5\n', 'rhel 9.4 or newer'),
        # CentOS Stream names no minor release, and is ahead of all of them.
        ('ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n', 'rhel 9.4 or newer'),
        ('ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="8"\n', 'rhel before 9.0'),
        # What cannot be counted.
        ('ID=rhel\n', None),
        ('ID=rhel\nVERSION_ID=\n', None),
        ('ID=rhel\nVERSION_ID=rawhide\n', None),
        ('ID=rhel\nVERSION_ID=9.\n', None),
        ('ID=rhel\nVERSION_ID=9.x\n', None),
        ('ID=rhel\nVERSION_ID=\u00b2\n', None),
        ('ID=rhel\nVERSION_ID=%s\n' % ('9' * 5000), None),
        ('ID=anew\nID_LIKE=rhel\n', None),
        # Whose numbers are not theirs.
        ('ID=fedora\nVERSION_ID=9\n', ''),
        ('ID=debian\nVERSION_ID=9.2\n', ''),
        ('ID=rhel-like\nVERSION_ID=9.2\n', None),
        ('ID=amzn\nID_LIKE="centos rhel fedora"\nVERSION_ID=2023\n', ''),
        # SUSE's first release of a major number names no minor one.
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15"\n', 'sles before 15.4'),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.4"\n', 'sles 15.4 and 15.5'),
        ('ID="sles_sap"\nID_LIKE="suse"\nVERSION_ID="15.5"\n', 'sles 15.4 and 15.5'),
        ('ID="sled"\nID_LIKE="suse"\nVERSION_ID="16.0"\n', 'sles 16.0 or newer'),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.3"\n', 'sles before 15.4'),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="42.3"\n', ''),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nVERSION_ID="20251120"\n', ''),
        ('ID="sle-micro"\nID_LIKE="suse"\nVERSION_ID="5.5"\n', ''),
    ],
)
def test_which_release_it_is(host, text, expected):
    host.write('/etc/os-release', text.encode('utf-8'))
    facts = read_facts(['os'], str(host.root))
    answers = {name: HostCondition('os', (), False, span).met_by(facts) for span, name in RANGES}
    own = {name for name, answer in answers.items() if answer is None}
    if expected is None:
        assert own and len({name.split()[0] for name in own}) == 1
    else:
        assert own == set()
    assert [name for name, answer in answers.items() if answer] == ([expected] if expected else [])


@pytest.mark.parametrize(
    'os, met', [('rhel-8.10', False), ('rhel-9', True), ('rhel-9.0', True), ('rhel-9.10', True), ('rhel-10.0', False)]
)
def test_a_bound_without_a_minor_number_is_its_first_release(os, met):
    facts = HostFacts('x86_64', 'none', os, lambda name, subject: None)
    assert HostCondition('os', (), False, ('rhel', (9,), (10,))).met_by(facts) is met


def test_where_there_is_no_os_release_nobody_can_tell(host):
    facts = read_facts(['os'], str(host.root))
    assert [HostCondition('os', (), False, span).met_by(facts) for span, _ in RANGES] == [None] * len(RANGES)


def test_only_the_facts_needed_are_read(host):
    host.write('/etc/os-release', 'ID=rhel\n')
    host.write('/run/systemd/container', 'lxc')
    facts = read_facts(['os'], str(host.root))
    assert (facts.arch, facts.container, facts.os) == (None, None, 'rhel')
    facts = read_facts(['container', 'arch'], str(host.root))
    assert (facts.arch, facts.container, facts.os) == (os.uname().machine, 'lxc', None)


def test_facts_of_this_host():
    facts = read_facts(['arch', 'container', 'os'])
    assert facts.arch == os.uname().machine
    assert facts.probe('multipath-device', '/no/such/device') is None


# Multipath


@pytest.fixture
def block(host):
    """Make block device nodes below the root: block(name, major, minor)."""

    def make(name, major, minor, slaves=(), uuid=None, kind=0o060000):
        path = host.root / 'dev' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mknod(str(path), kind | 0o600, os.makedev(major, minor))
        except PermissionError:
            pytest.skip('needs to make device nodes')
        sysfs = '/sys/devices/virtual/block/%s' % name
        host.mkdir(sysfs + '/slaves')
        for slave in slaves:
            host.link('%s/slaves/%s' % (sysfs, slave), '../../%s' % slave)
        if uuid is not None:
            host.write(sysfs + '/dm/uuid', uuid + '\n')
        host.link('/sys/dev/block/%d:%d' % (major, minor), '../../devices/virtual/block/%s' % name)

    return make


MPATH = 'mpath-360000000000000000e00000000010001'


@pytest.mark.parametrize(
    'uuid, slaves, expected',
    [
        (MPATH, ['sda', 'sdb'], True),
        ('part1-' + MPATH, ['dm-1'], True),
        ('part1-' + MPATH, [], True),
        ('partition-mpath', ['sda'], False),
        ('LVM-abc', ['sda'], False),
        ('LVM-abc', ['dm-1'], True),
        ('LVM-abc', ['sda', 'dm-1'], True),
        ('CRYPT-LUKS2-abc-luks', ['dm-1'], True),
        ('CRYPT-LUKS2-abc-luks', ['sda'], False),
        # A name is no type.
        ('CRYPT-LUKS2-abc-mpath-data', ['sda'], False),
        (None, [], False),
    ],
)
def test_multipath(host, block, uuid, slaves, expected):
    block('sda', 8, 0)
    block('sdb', 8, 16)
    block('dm-1', 253, 1, ['sda', 'sdb'], MPATH)
    block('dm-2', 253, 2, slaves, uuid)
    assert host.probe('multipath-device', '/dev/dm-2') is expected


def test_multipath_by_any_name(host, block):
    block('sda', 8, 0)
    block('dm-1', 253, 1, ['sda'], MPATH)
    host.link('/dev/mapper/mpatha', '../dm-1')
    host.link('/dev/disk/by-id/wwn-0x6', '../../mapper/mpatha')
    assert host.probe('multipath-device', '/dev/mapper/mpatha') is True
    assert host.probe('multipath-device', '/dev/disk/by-id/wwn-0x6') is True
    assert host.probe('multipath-device', '/dev/disk/by-id/../../mapper/mpatha') is True


@pytest.mark.parametrize('prefix', ['host_device:', 'file:'])
def test_multipath_behind_a_protocol_of_qemu(host, block, prefix):
    block('dm-1', 253, 1, [], MPATH)
    assert host.probe('multipath-device', prefix + '/dev/dm-1') is True


@pytest.mark.parametrize(
    'uuid, expected', [('mpath-3600a', True), ('LVM-abc', False), ('', False)], ids=['multipath', 'volume', 'none']
)
def test_a_scsi_device_that_is_handed_over_is_a_path(host, uuid, expected):
    """What holds its disk tells: the disk itself has nothing below it."""
    host.mkdir('/sys/bus/scsi/devices/2:0:16:1/block/sdc/holders')
    host.mkdir('/sys/bus/scsi/devices/2:0:16:2/scsi_tape')
    if uuid:
        host.write('/sys/bus/scsi/devices/2:0:16:1/block/sdc/holders/dm-3/dm/uuid', uuid + '\n')
    assert host.probe('multipath-device', 'scsi:2:0:16:1') is expected
    assert host.probe('multipath-device', 'scsi:2:0:16:2') is False
    for unknown in ('scsi:2:0:16:3', 'scsi:../devices/2:0:16:1', 'scsi:'):
        assert host.probe('multipath-device', unknown) is None, unknown


def test_a_path_of_a_multipath_device_is_not_a_multipath_device(host, block):
    block('sda', 8, 0)
    block('dm-1', 253, 1, ['sda'], MPATH)
    assert host.probe('multipath-device', '/dev/sda') is False


def test_a_deep_stack(host, block):
    block('dm-0', 253, 0, [], MPATH)
    for number in range(1, 6):
        block('dm-%d' % number, 253, number, ['dm-%d' % (number - 1)], 'LVM-%d' % number)
    assert host.probe('multipath-device', '/dev/dm-5') is True


def test_a_stack_that_never_ends(host, block):
    block('dm-0', 253, 0, ['dm-1'], 'LVM-0')
    block('dm-1', 253, 1, ['dm-0'], 'LVM-1')
    assert host.probe('multipath-device', '/dev/dm-0') is None


def test_devices_that_are_not_known(host, block):
    block('sda', 8, 0)
    host.write('/srv/disk.raw', 'x')
    host.link('/dev/dangling', 'nowhere')
    host.link('/dev/loop', 'loop')
    os.mknod(str(host.root / 'dev/sdz'), 0o060600, os.makedev(65, 144))
    for path in ('', ' ', 'dm-1', 'dev/sda', '/dev/nothing', '/dev/dangling', '/dev/loop', '/dev/sdz'):
        assert host.probe('multipath-device', path) is None, path
    assert host.probe('multipath-device', '/srv/disk.raw') is False
    for path in ('/dev/' + 'x' * 5000, '/dev/\udcff', '/dev/müller'):
        assert host.probe('multipath-device', path) is None, path


def test_a_device_whose_name_is_not_ascii(host, block):
    """libvirt runs the hook with LC_ALL=C, under which Python 3.6 takes file names for ASCII."""
    block('müller', 253, 7, [], MPATH)
    program = (
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'from virtguard.host import Host\n'
        'print(Host(sys.argv[2]).probe("multipath-device", "/dev/m\\xfcller"))\n'
    )
    child = [sys.executable, '-I', '-S', '-B', '-c', program, str(LIB), str(host.root)]
    assert subprocess.check_output(child, env={'LC_ALL': 'C'}).strip() == b'True'


def test_a_character_device_is_not_the_block_device_of_its_number(host, block):
    block('dm-1', 253, 1, [], MPATH)
    os.mknod(str(host.root / 'dev/sg3'), 0o020600, os.makedev(253, 1))
    assert host.probe('multipath-device', '/dev/sg3') is not True


# InfiniBand

PCI = '/sys/bus/pci/devices/'
PF, VF = '0000:03:00.0', '0000:03:10.1'
ETHERNET, INFINIBAND, OTHER = '0x020000\n', '0x020700\n', '0x028000\n'


@pytest.fixture
def adapter(host):
    """Make an adapter with one virtual function, bound to vfio-pci: adapter(class of the function, links)."""

    def make(vf_class, link_layers=(), net_types=(), pf_class=None):
        host.write(PCI + PF + '/class', pf_class or vf_class)
        host.write(PCI + PF + '/sriov_totalvfs', '8\n')
        for number, layer in enumerate(link_layers, 1):
            host.write('%s%s/infiniband/mlx5_0/ports/%d/link_layer' % (PCI, PF, number), layer + '\n')
        for number, kind in enumerate(net_types):
            host.write('%s%s/net/dev%d/type' % (PCI, PF, number), kind + '\n')
        host.write(PCI + VF + '/class', vf_class)
        host.link(PCI + VF + '/physfn', '../' + PF)
        host.link(PCI + VF + '/driver', '../../../bus/pci/drivers/vfio-pci')

    return make


@pytest.mark.parametrize(
    'vf_class, link_layers, net_types, expected',
    [
        (INFINIBAND, ['InfiniBand'], ['32'], True),
        # By its class alone, whatever has become of the physical function's driver.
        (INFINIBAND, [], [], True),
        ('0x020701\n', [], [], True),
        # ConnectX functions that do not say: their adapter's ports do.
        (OTHER, ['InfiniBand'], [], True),
        (OTHER, ['Ethernet', 'InfiniBand'], [], True),
        (OTHER, [], ['32'], True),
        (OTHER, [], ['1', '32'], True),
        (ETHERNET, [], ['1'], False),
        # RoCE: an RDMA adapter on Ethernet.
        (ETHERNET, ['Ethernet'], ['1'], False),
        (OTHER, [], [], False),
        ('0x010802\n', [], [], False),
        ('0x120700\n', [], [], False),
    ],
)
def test_virtual_functions(host, adapter, vf_class, link_layers, net_types, expected):
    adapter(vf_class, link_layers, net_types)
    assert host.probe('infiniband-vf', VF) is expected
    assert host.probe('infiniband-vf', PCI + VF) is expected


@pytest.mark.parametrize('vf_class', [INFINIBAND, ETHERNET])
def test_a_physical_function_is_not_a_virtual_one(host, adapter, vf_class):
    adapter(vf_class, ['InfiniBand'], ['32'])
    assert host.probe('infiniband-vf', PF) is False


def test_in_a_guest_a_virtual_function_cannot_be_recognised(host):
    """A function that was assigned to this host, itself a guest, has neither physfn nor functions of its own."""
    host.write(PCI + VF + '/class', INFINIBAND)
    assert host.probe('infiniband-vf', VF) is None
    host.write(PCI + '0000:04:00.0/class', ETHERNET)
    assert host.probe('infiniband-vf', '0000:04:00.0') is False


@pytest.mark.parametrize(
    'spelling',
    [
        '0000:03:10.1',
        '03:10.1',
        '3:10.1',
        '0:3:10.1',
        '00000000:03:10.1',
        # QEMU reads hexadecimal numbers of any length, with or without 0x.
        '0000:0003:0010.1',
        '0x0000:0x03:0x10.0x1',
        '/sys/bus/pci/devices/0000:03:10.1/',
        '/sys/devices/pci0000:00/0000:00:02.0/0000:03:10.1',
        '/sys/bus/mdev/../pci/devices/0000:03:10.1',
        '/sys/bus/mdev/devices/../../pci/devices/0000:03:10.1',
        '//sys/bus/pci/devices/0000:03:10.1',
    ],
)
def test_spellings_of_one_function(host, adapter, spelling):
    adapter(INFINIBAND, ['InfiniBand'])
    host.mkdir('/sys/bus/mdev/devices')
    host.link('/sys/devices/pci0000:00/0000:00:02.0/0000:03:10.1', '../../../bus/pci/devices/0000:03:10.1')
    assert host.probe('infiniband-vf', spelling) is True


def test_numbers_are_hexadecimal(host):
    host.write(PCI + '0000:af:1e.7/class', INFINIBAND)
    host.mkdir(PCI + '0000:af:1e.7/physfn')
    assert host.probe('infiniband-vf', '0000:AF:1E.7') is True


@pytest.mark.parametrize(
    'subject', ['', ' ', '0000:03:10', '0000:03:10.8', '0000:zz:10.1', '0000:05:00.0', '../../etc', 'x/03:10.1x']
)
def test_functions_that_are_not_known(host, adapter, subject):
    adapter(INFINIBAND, ['InfiniBand'])
    assert host.probe('infiniband-vf', subject) is None


def test_mediated_devices_are_not_functions(host, adapter):
    adapter(INFINIBAND, ['InfiniBand'])
    assert host.probe('infiniband-vf', '/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804') is False
