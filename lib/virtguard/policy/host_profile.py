# SPDX-License-Identifier: Apache-2.0
"""Which of the shipped lists fits a host, and what to say if its policy is made of another one. Only reads."""

import os
import re

from ..errors import GuardError
from ..host import Host
from ..model import VENDORS
from .files import read_policy_file
from .installation import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Set

    from ..model import Policy

_OTHERWISE = 'rhel-8'  # the vendor's complete list
_RHV = 'rhv-4'
_OF_NO_VENDOR = 'kvm-'  # how the names begin of lists that go with any host
_NAME = re.compile(rb'^policy:[ \t]+["\']?([a-z0-9-]+)', re.MULTILINE)


class HostList:
    """`host` is the host's name and version, `profile` the list to use there; `remark` says why, if it is not obvious.

    `is_certain`: the list was made for this host, or it is the newest one and the host is newer than all lists.
    """

    __slots__ = ('host', 'profile', 'is_certain', 'remark')

    def __init__(self, host: str, profile: str, is_certain: bool, remark: str = '') -> None:
        self.host = host
        self.profile = profile
        self.is_certain = is_certain
        self.remark = remark


def list_of_host(root: str = '/') -> HostList:
    """The list of the host whose files are below `root`."""
    release = Host(root).os_release()
    id, version = release.get('ID', ''), release.get('VERSION_ID', '')
    host = ' '.join(part for part in (id or 'unknown', version) if part)
    if id == 'rhvh' or (id == 'rhel' and release.get('VARIANT_ID') == 'ovirt-node'):
        return HostList(host + ' (Red Hat Virtualization Host)', _RHV, True)
    major = version.partition('.')[0]
    names = {id, *release.get('ID_LIKE', '').split()}
    # SUSE's other systems (Tumbleweed, MicroOS, SLE Micro) have numbers of their own, and no list.
    for family, (members, last, _) in VENDORS.items():
        if names & members and major.isdecimal() and len(major) < 9:
            numbers = _numbers(family, profiles())
            if int(major) in numbers:
                return HostList(host, '%s-%s' % (family, major), True)
            newest = '%s-%d' % (family, max(numbers))
            if max(numbers) < int(major) <= last:
                return HostList(host, newest, True, 'newer than every list; the newest is ' + newest)
    return HostList(host, _OTHERWISE, False, 'which has no list of its own')


def _numbers(family: str, names: 'Iterable[str]') -> 'Set[int]':
    """The releases of a family that have a list."""
    matches = (re.match(family + r'-(\d+)\Z', name) for name in names)
    return {int(match.group(1)) for match in matches if match}


def profile_of(policy: 'Policy') -> str:
    """The profile that a policy is, or is made of; '' where there is none. Of several, one of a vendor."""
    known = profiles()
    paths = {os.path.realpath(path): name for name, path in known.items()}
    names = [policy.name]
    for path in reversed(policy.files):
        names += [paths.get(os.path.realpath(path)) or stated_name(path)]
    found = [name for name in names if name in known]
    return next((name for name in found if not name.startswith(_OF_NO_VENDOR)), found[0] if found else '')


def stated_name(path: str) -> str:
    """The name that a file gives its policy: if a drop-in gives another one, only this tells what was installed."""
    try:
        stated = _NAME.search(read_policy_file(path))
    except GuardError:
        return ''
    return stated.group(1).decode('ascii') if stated else ''


def difference(profile: str, root: str = '/') -> str:
    """What to say if a policy is made of `profile` but the host has another list; else ''."""
    host = list_of_host(root)
    if not profile or not host.is_certain or profile == host.profile:
        return ''
    remark = host.remark or 'whose list is ' + host.profile
    return 'this host is %s, %s; --profile %s takes it' % (host.host, remark, host.profile)
