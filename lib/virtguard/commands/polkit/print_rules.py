# SPDX-License-Identifier: Apache-2.0
"""`virt-guard polkit print`: the rules for polkit that follow from the policy."""

from ... import model
from ...host import today
from .. import loading
from ..exit_status import FINE
from ..replaced_file import ReplacedFile
from ..terminal import complain, show
from .asking import polkit_version, reads_rules
from .daemon import Daemon, is_group
from .permissions import Denials
from .rules_file import PLACE, rules_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List

    from ...policy.installation import Installation

_MODE = 0o644  # polkitd reads it, which is not root


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print the file, or put it in place in one step."""
    policy = loading.policy(arguments.policy, installation)
    denials = Denials(policy, loading.host(None, policy.needed_facts()), arguments.also)
    daemon = Daemon()
    groups = [] if arguments.deny_only else arguments.groups or [daemon.group()]
    _warn(policy, denials, groups, daemon)
    text = rules_file(policy, denials, groups, today())
    if arguments.output is None:
        show(text)
        return FINE
    file = ReplacedFile(arguments.output, _MODE)
    try:
        file.open()
        file.write(text)
        file.close()
    finally:
        file.discard()
    return FINE


def _warn(policy: model.Policy, denials: Denials, groups: 'List[str]', daemon: Daemon) -> None:
    """Complain of what would surprise."""
    if not denials.denied:
        _say('no rule of the policy denies what libvirt can deny by a permission, so the file denies nothing')
    elif policy.mode == 'audit':
        _say('the policy is in mode %s, so the file denies nothing meanwhile' % policy.mode_in_words)
    for permission in denials.unused:
        _say('no rule that is in force here denies what %s is for, so it is not denied' % permission)
    for rule in denials.unknown:
        _say('whether the rule %s applies to this host is not known, so nothing is denied by it' % rule.id)
    for group in groups:
        if not is_group(group):
            _say('there is no group %r on this host' % group)
    if daemon.asks_polkit and groups:
        told = 'libvirt asks polkit here (%s): unless %s made it so, --deny-only leaves the answer to your own rules'
        _say(told % (daemon.conf, PLACE))
    version = polkit_version()
    if version is not None and not reads_rules(version):
        told = 'polkit is %s here, and reads no rules in JavaScript: with access_drivers, only root could use libvirt'
        _say(told % '.'.join(map(str, version)))


def _say(text: str) -> None:
    complain('virt-guard: note: %s' % text)
