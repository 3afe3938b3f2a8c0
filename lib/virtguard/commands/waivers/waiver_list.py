# SPDX-License-Identifier: Apache-2.0
"""`virt-guard waiver list`: every waiver of the policy, how long it holds, and which domains of this host use it."""

from ... import model
from ...errors import GuardError
from ...host import today
from ...wording import counted
from .. import loading
from ..domains.host_domains import HostDomains, as_text
from ..exit_status import FINE, NOT_JUDGED
from ..output.formats import FORMATS
from ..terminal import complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, List, Optional

    from ...policy.installation import Installation

    Uses = Dict[model.Origin, List[str]]


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print a line, or an object, for each waiver; while the policy is broken, for those that can be read."""
    from ...waivers import days_left

    policy, is_whole = loading.policy_to_show(arguments.policy, installation)
    # What no definition shows.
    of_runtime = {rule.id for rule in (*policy.rules_at(model.START), *policy.rules_at(model.RUNTIME))}
    uses = _uses(policy, installation) if policy.waivers else {}
    output = FORMATS[arguments.format](wants_colour(), True)
    expired = 0
    for waiver in policy.waivers:
        used_by: 'Optional[List[str]]' = uses.get(waiver.origin, [])
        if not used_by and of_runtime.issuperset(waiver.rules):
            used_by = None  # the hook or the watch may use it
        left = days_left(waiver, today())
        expired += left < 0
        show(output.waiver(waiver, left, used_by))
    show(output.summary('%s%s' % (counted(len(policy.waivers), 'waiver'), ', %d expired' % expired if expired else '')))
    return FINE if is_whole else NOT_JUDGED


def _uses(policy: model.Policy, installation: 'Installation') -> 'Uses':
    """The names of the domains that use each waiver, by where it stands."""
    from ..domains.judged_domains import judge_domains

    uses: 'Uses' = {}
    try:
        known = HostDomains(installation)
        domains = [domain for domain in map(known.find, known.names()) if domain is not None]
    except GuardError as error:
        complain('virt-guard: which domains use the waivers is not known: %s' % error)
        return uses
    for judged in judge_domains(policy, domains):
        if judged.error:
            complain('%s: error: %s' % (as_text(judged.domain.name), judged.error))
        for origin in judged.waivers:
            uses.setdefault(origin, []).append(as_text(judged.domain.name))
    return uses
