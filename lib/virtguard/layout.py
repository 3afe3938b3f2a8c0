# SPDX-License-Identifier: Apache-2.0
"""Where the command finds things: installed under a root, in a checkout, or in a Python environment."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class Layout:
    """`policy`: the policy that is in force; `domains`: the directory of libvirt's own domain definitions.

    `installed` tells whether a hook on this host obeys that policy. `host` stands for the / of the host's own libvirt.
    """

    __slots__ = ('policy', 'domains', 'installed', 'host')

    def __init__(self, policy: str, domains: str, installed: bool, host: str = '') -> None:
        self.policy = policy
        self.domains = domains
        self.installed = installed
        self.host = host


def installed(root: str) -> Layout:
    """The layout that install.sh makes; `root` is '' on a host, a directory with `--root`."""
    return Layout(root + '/etc/virt-guard/policy.yaml', root + '/etc/libvirt/qemu', True)


def found() -> Layout:
    """The layout of a checkout or a Python environment, which brings its own copy of the policy."""
    package = os.path.dirname(os.path.abspath(__file__))
    candidates = (
        os.path.join(package, '..', '..', 'policy.yaml'),
        os.path.join(sys.prefix, 'share', 'virt-guard', 'policy.yaml'),
    )
    policy = _first_existing(*candidates) or candidates[-1]
    return Layout(os.path.normpath(policy), '/etc/libvirt/qemu', False)


def _first_existing(*paths: str) -> 'Optional[str]':
    return next((path for path in paths if os.path.isfile(path)), None)
