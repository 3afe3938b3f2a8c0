# SPDX-License-Identifier: Apache-2.0
"""The os-release of a guest -> the id in osinfo-db, and which metadata it contradicts."""

import pytest
from virtguard.policy import guest_systems
from virtguard.policy.guest_systems import guest_system
from virtguard.policy.os_releases import known_systems

KNOWN = frozenset(known_systems().values)
RHEL, WIN = 'http://redhat.com/rhel/', 'http://microsoft.com/win/'


def system(id, version='', **more):
    return guest_system(dict({'id': id, 'version-id': version}, **more), KNOWN)


@pytest.mark.parametrize(
    'id, version, more, expected',
    [
        ('rhel', '8.10', {}, RHEL + '8.10'),
        ('RHEL', ' 9.4 ', {}, RHEL + '9.4'),
        ('centos', '7', {'name': 'CentOS Linux'}, 'http://centos.org/centos/7.0'),
        ('centos', '8', {'name': 'CentOS Linux'}, 'http://centos.org/centos/8'),
        ('centos', '9', {'name': 'CentOS Stream'}, 'http://centos.org/centos-stream/9'),
        ('rocky', '9.4', {}, 'http://rockylinux.org/rocky/9'),
        ('almalinux', '8.9', {}, 'http://almalinux.org/almalinux/8'),
        ('ol', '8.9', {}, 'http://oracle.com/ol/8.9'),
        ('debian', '12', {}, 'http://debian.org/debian/12'),
        ('ubuntu', '22.04', {}, 'http://ubuntu.com/ubuntu/22.04'),
        ('fedora', '40', {'variant-id': 'server'}, 'http://fedoraproject.org/fedora/40'),
        ('fedora', '40', {'variant-id': 'silverblue'}, 'http://fedoraproject.org/silverblue/40'),
        ('sles', '15.5', {}, 'http://suse.com/sle/15.5'),
        ('sles', '12.5', {}, 'http://suse.com/sles/12.5'),
        ('sled', '12.5', {}, 'http://suse.com/sled/12.5'),
        ('opensuse-leap', '15.6', {}, 'http://opensuse.org/opensuse/15.6'),
        ('opensuse-tumbleweed', '20240501', {}, 'http://opensuse.org/opensuse/tumbleweed'),
        ('arch', '', {}, 'http://archlinux.org/archlinux/rolling'),
        ('freebsd', '13.2', {}, 'http://freebsd.org/freebsd/13.2'),
        ('mswindows', '2019', {'variant-id': 'server'}, WIN + '2k19'),
        ('mswindows', '2008r2', {}, WIN + '2k8r2'),
        ('mswindows', '2003', {}, WIN + '2k3'),
        ('mswindows', '10', {'variant-id': 'client'}, WIN + '10'),
        ('mswindows', '7', {}, WIN + '7'),
        # What osinfo-db does not know, or not yet, and what is no os-release at all.
        ('rhel', '99.1', {}, ''),
        ('debian', '', {}, ''),
        ('gentoo-of-mine', '1', {}, ''),
        ('', '', {}, ''),
        ('ubuntu', '9' * 100000, {}, ''),
        ('ubuntu', '../../8.10', {}, ''),
        ('http://ubuntu.com/ubuntu', '8.10', {}, ''),
    ],
)
def test_ids(id, version, more, expected):
    assert system(id, version, **more).id == expected


@pytest.mark.parametrize(
    'running, declared, expected',
    [
        (('ubuntu', '22.04'), RHEL + '8.10', True),
        (('rhel', '8.10'), RHEL + '8.6', False),
        (('rhel', '8.10'), RHEL + '8-unknown', False),
        (('rhel', '8.10'), RHEL + '9.1', True),
        (('rhel', '8.10'), 'http://centos.org/centos/8', True),
        (('rocky', '9.4'), 'http://rockylinux.org/rocky/9.0', False),
        (('centos', '9'), 'http://centos.org/centos/9', False),
        (('ubuntu', '22.10'), 'http://ubuntu.com/ubuntu/22.04', True),
        (('debian', '12'), 'http://debian.org/debian/testing', False),
        (('debian', ''), 'http://debian.org/debian/12', False),
        (('rhel', '99.1'), RHEL + '8.10', True),  # not known to osinfo-db, and not RHEL 8
        (('sles', '15.5'), 'http://suse.com/sle/15.4', False),
        (('sles', '12.5'), 'http://suse.com/sles/12.4', False),
        (('mswindows', '2019'), WIN + '2k22', True),
        (('mswindows', '2019'), WIN + '2k19', False),
        (('mswindows', '2019'), 'http://libosinfo.org/linux/2022', True),
        (('ubuntu', '22.04'), 'http://libosinfo.org/linux/2022', False),
        # Nothing is concluded from what is not known.
        (('gentoo-of-mine', '1'), RHEL + '8.10', None),
        (('gentoo-of-mine', '1'), 'http://libosinfo.org/linux/2022', None),
        (('ubuntu', '22.04'), 'http://libosinfo.org/unknown', None),
        (('ubuntu', '22.04'), 'http://example.com/appliance/3', None),
        (('ubuntu', '22.04'), '', None),
    ],
)
def test_contradictions(running, declared, expected):
    assert system(*running).contradicts(declared) is expected


def test_every_distribution_of_the_table_is_one_of_osinfo_db():
    """But for a misspelt one, no id would ever be found."""
    from virtguard.policy.osinfo_names import IDS

    prefixes = {id.rpartition('/')[0] for id in [*IDS.values(), *KNOWN]}
    for distribution in (*guest_systems._SYSTEMS.values(), *guest_systems._VARIANTS.values(), guest_systems._STREAM):
        assert set(distribution) <= prefixes
