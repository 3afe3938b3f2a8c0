# SPDX-License-Identifier: Apache-2.0
"""Where the command finds things: installed under a root, in a checkout, or in a Python environment."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class Installation:
    """`policy`: the policy that is in force; `installed` tells whether a hook on this host obeys it.

    libvirt's own: `domains`, definitions; `run`, the status of what runs; `lib`, metadata of snapshots and checkpoints.
    `host` stands for the / of the host's own libvirt, whose programs and schemas no --root moves.
    Written to: `state`, the directory of what a watch keeps; `log`, the file for records that nobody else takes.
    """

    __slots__ = ('policy', 'installed', 'host', 'domains', 'run', 'lib', 'state', 'log')

    def __init__(self, policy: str, installed: bool, root: str, host: str = '') -> None:
        self.policy = policy
        self.installed = installed
        self.host = host
        self.domains = root + '/etc/libvirt/qemu'
        self.run = root + '/run/libvirt/qemu'
        self.lib = root + '/var/lib/libvirt/qemu'
        self.state = root + '/var/lib/virt-guard'
        self.log = root + '/var/log/libvirt/virt-guard.log'


def installed_below(root: str) -> Installation:
    """What install.sh makes; `root` is '' on a host, a directory with `--root`."""
    return Installation(root + '/etc/virt-guard/policy.yaml', True, root)


def not_installed() -> Installation:
    """A checkout or a Python environment, which brings its own copy of the policy."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    candidates = (
        os.path.join(package, '..', '..', 'policy.yaml'),
        os.path.join(sys.prefix, 'share', 'virt-guard', 'policy.yaml'),
    )
    policy = _first_existing(*candidates) or candidates[-1]
    return Installation(os.path.normpath(policy), False, '')


def _first_existing(*paths: str) -> 'Optional[str]':
    return next((path for path in paths if os.path.isfile(path)), None)
