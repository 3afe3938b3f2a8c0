# SPDX-License-Identifier: Apache-2.0
"""Which of the shipped lists is that of a host, and what to say where its policy is made of another one. Only reads."""

import os
import re

from .errors import GuardError
from .host import Host
from .policyfile import read_policy_file
from .sources import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Set

    from .model import Policy

_NUMBERED = re.compile(r'rhel-(\d+)\Z')
_OTHERWISE = 'rhel-8'  # the vendor's complete list
_RHV = 'rhv-4'
# Far beyond what a release of RHEL may be called; some who derive from it count years.
_LAST_RELEASE = 99
_NAME = re.compile(rb'^policy:[ \t]+["\']?([a-z0-9-]+)', re.MULTILINE)


class HostList:
    """`host` is the host's name and version, `profile` the list to take there; `remark` says why, where it must.

    `is_certain`: it was made for this host, or is the newest where the host is newer than all.
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
    numbers = _numbers(profiles())
    major = version.partition('.')[0]
    # What is built of RHEL says so, but for Oracle Linux.
    if not {id, *release.get('ID_LIKE', '').split()} & {'rhel', 'centos', 'ol'} or not major.isdigit():
        return HostList(host, _OTHERWISE, False, 'which has no list of its own')
    if int(major) in numbers:
        return HostList(host, 'rhel-' + major, True)
    newest = max(numbers)
    if newest < int(major) <= _LAST_RELEASE:
        return HostList(host, 'rhel-%d' % newest, True, 'newer than every list; the newest is rhel-%d' % newest)
    return HostList(host, _OTHERWISE, False, 'which has no list of its own')


def _numbers(names: 'Iterable[str]') -> 'Set[int]':
    return {int(match.group(1)) for match in map(_NUMBERED.match, names) if match}


def profile_of(policy: 'Policy') -> str:
    """The profile that a policy is, or is made of; '' where there is none."""
    known = profiles()
    if policy.name in known:
        return policy.name
    paths = {os.path.realpath(path): name for name, path in known.items()}
    for path in reversed(policy.files):
        name = paths.get(os.path.realpath(path)) or _stated_name(path)
        if name in known:
            return name
    return ''


def _stated_name(path: str) -> str:
    """What a file calls its policy: where a drop-in gives it another name, that alone tells what was installed."""
    try:
        stated = _NAME.search(read_policy_file(path))
    except GuardError:
        return ''
    return stated.group(1).decode('ascii') if stated else ''


def difference(profile: str, root: str = '/') -> str:
    """What to say where a policy is made of `profile` and the host has another list; '' where it has not."""
    host = list_of_host(root)
    if not profile or not host.is_certain or profile == host.profile:
        return ''
    remark = host.remark or 'whose list is ' + host.profile
    return 'this host is %s, %s; --profile %s takes it' % (host.host, remark, host.profile)
