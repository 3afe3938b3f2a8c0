# SPDX-License-Identifier: Apache-2.0
"""Where the command finds things: installed under a root, in a checkout, or in a Python environment."""

import os
import re
import sys

from ..errors import PolicyFileError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple

SUFFIX = '.yaml'  # of a policy's files
LANGUAGES = ('en', 'ja')  # of all but the first there is a catalog
_OF_PACKAGE = '/usr/share/virt-guard/installer/install.sh'
_PROFILE_NAME = re.compile(r'[a-z][a-z0-9-]*\Z')


class Installation:
    """`policy`: the policy that is in force; `installed` tells whether a hook on this host obeys it.

    `program` is the hook that libvirt runs, by a link in `hooks`, its own directory.
    libvirt's own: `domains`, definitions; `run`, the status of what runs; `lib`, metadata of snapshots and checkpoints;
    `domain_logs`, what it logs of domains.
    `host` stands for the / of the host's own libvirt: --root does not move its programs and schemas.
    Written to: `state`, the directory where a watch keeps states; `log`, the file for records that no other sink takes.
    """

    __slots__ = 'policy installed host program hooks domains run lib domain_logs state log'.split()

    def __init__(self, policy: str, installed: bool, root: str, host: str = '') -> None:
        self.policy = policy
        self.installed = installed
        self.host = host
        self.program = root + '/usr/sbin/virt-guard-hook'
        self.hooks = root + '/etc/libvirt/hooks'
        self.domains = root + '/etc/libvirt/qemu'
        self.run = root + '/run/libvirt/qemu'
        self.lib = root + '/var/lib/libvirt/qemu'
        self.domain_logs = root + '/var/log/libvirt/qemu'
        self.state = root + '/var/lib/virt-guard'
        self.log = root + '/var/log/libvirt/virt-guard.log'


def installed_below(root: str) -> Installation:
    """What install.sh makes; `root` is '' on a host, a directory with `--root`."""
    return Installation(root + '/etc/virt-guard/policy.yaml', True, root)


def installer() -> str:
    """The command that puts the guard in force on this host: that of its package, else that of a checkout."""
    return _OF_PACKAGE if os.path.exists(_OF_PACKAGE) else './install.sh'


def not_installed() -> Installation:
    """A checkout or a Python environment, which brings its own copy of the policy."""
    policies = [policy for _, policy in _places() if policy]
    return Installation(next(filter(os.path.isfile, policies), policies[-1]), False, '')


def profiles() -> 'Dict[str, str]':
    """The profiles that come with the package: their names and files."""
    return _files_named('profiles', SUFFIX)


def _files_named(directory: str, suffix: str) -> 'Dict[str, str]':
    """The files in a directory of the package, by their names without a suffix."""
    found: 'Dict[str, str]' = {}
    for above, _ in _places():
        place = os.path.join(above, directory)
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            if name.endswith(suffix):
                found.setdefault(name[: -len(suffix)], os.path.join(place, name))
    return found


def catalogs() -> 'Dict[str, str]':
    """The catalogs that come with the package: the languages, and their files."""
    return _files_named('languages', '.po')


def is_profile_name(text: str) -> bool:
    """Whether a text that names a policy is written as profiles are, and not as a path."""
    return bool(_PROFILE_NAME.match(text))


def find_policy(name: str) -> str:
    """The path of a policy that a user names: that of a file or a profile.

    :raises PolicyFileError: there is neither, and the name is like that of a profile
    """
    if os.path.exists(name):
        return name
    known = profiles()
    if is_profile_name(name) and name not in known:
        raise PolicyFileError('there is neither a file nor a profile %r' % name, suggest(name, known))
    return known.get(name, name)


def _places() -> 'Tuple[Tuple[str, str], ...]':
    """Where this package may stand: the directory that its profiles are below there, and the policy, '' where there is
    no copy."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tree, checkout = os.path.dirname(package), os.path.dirname(os.path.dirname(package))
    # pip puts them below a prefix, which is not that of the interpreter in the home of a user, and in /usr/local.
    prefixes = [sys.prefix]
    if os.path.basename(tree) in ('site-packages', 'dist-packages'):
        prefixes.insert(0, os.path.join(tree, '..', '..', '..'))
    shared = [os.path.normpath(os.path.join(prefix, 'share', 'virt-guard')) for prefix in prefixes]
    return (
        (tree, ''),
        (os.path.join(checkout, 'data'), os.path.join(checkout, 'policy.yaml')),
        *((path, os.path.join(path, 'policy.yaml')) for path in shared),
    )
