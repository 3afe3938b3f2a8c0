# SPDX-License-Identifier: Apache-2.0
"""What libvirt asks polkit about a domain, and which rules of a policy speak of it. Pure.

Rules are about what happens to running domains; a permission is about a kind of call, whatever its arguments.
"""

from ... import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

ACTIONS = 'org.libvirt.api.'

# All that needs the permission does what the rule is about, or is of no use without.
_WHOLE: 'Dict[str, Tuple[str, ...]]' = {
    'snapshot': ('live-snapshot',),
    'checkpoint': ('incremental-backup',),
    'pm-control': ('guest-suspended',),
}
# Much else needs the permission, too.
_PART: 'Dict[str, Tuple[str, ...]]' = {
    'snapshot': ('internal-snapshot',),
    'migrate': ('storage-live-migration', 'multifd-migration'),
    'block-write': ('block-copy',),
}
COARSE = sorted(_PART)
# With `also`, what is lost beside what the rules are about.
COST = {
    'snapshot': 'external snapshots, and those of domains that are shut off',
    'migrate': 'every migration',
    'block-write': 'to resize, commit and pull disk images, and full backups',
}


class Denial:
    """A permission that nobody but root has, since `rules` deny what it is for; `also` tells that it is for more."""

    def __init__(self, permission: str, rules: 'List[model.Rule]', also: bool) -> None:
        self.permission = permission
        self.rules = rules
        self.also = also


class Denials:
    """What a policy denies on a host. `denied`, in the order of the tables; `left_out`: permissions, each with the
    rules that deny a part of what it is for, and that nobody has asked for; `unknown`: rules of which the host could
    not tell whether they are in force; `unused`: permissions that were asked for, of which no rule speaks."""

    def __init__(self, policy: model.Policy, host: model.HostFacts, also: 'Sequence[str]') -> None:
        self.denied: 'List[Denial]' = []
        self.left_out: 'List[Denial]' = []
        self.unknown: 'List[model.Rule]' = []
        self._host = host
        rules = {rule.id: rule for rule in policy.rules if rule.action == model.DENY}
        for permission in dict.fromkeys([*_WHOLE, *_PART]):
            whole = self._in_force(rules, _WHOLE.get(permission, ()))
            part = self._in_force(rules, _PART.get(permission, ()))
            if whole:
                self.denied.append(Denial(permission, whole, False))
            elif part and permission in also:
                self.denied.append(Denial(permission, part, True))
            elif part:
                self.left_out.append(Denial(permission, part, True))
        denied = [denial.permission for denial in self.denied]
        self.unused = [permission for permission in also if permission not in denied]

    def _in_force(self, rules: 'Dict[str, model.Rule]', ids: 'Tuple[str, ...]') -> 'List[model.Rule]':
        found = []
        for rule in (rules[id] for id in ids if id in rules):
            met = [condition.met_by(self._host) for condition in rule.host]
            if False in met:
                continue
            if None in met:
                self.unknown.append(rule)
            else:
                found.append(rule)
        return found
