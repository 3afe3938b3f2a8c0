# SPDX-License-Identifier: Apache-2.0
"""What is true of this host at the moment: the policy in force, and which running domains are outside of it now."""

from .. import model
from ..errors import GuardError
from ..health.coverage import JUDGED, UNJUDGED, find_coverage
from ..policy import load
from ..policy.drop_ins import find_drop_ins
from ..wording import counted, escape
from .moments import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

    from ..health.coverage import Start
    from ..policy.installation import Installation
    from .moments import Period


class Outside:
    """A running domain with findings: `rules` that refuse it, or would in mode enforce, and `waived` ones."""

    __slots__ = ('domain', 'uuid', 'rules', 'waived', 'findings')

    def __init__(self, verdict: model.Verdict) -> None:
        self.domain = verdict.domain_name
        self.uuid = verdict.uuid
        self.rules = tuple(verdict.rule_ids(model.DENY, model.ERROR))
        self.waived = tuple(verdict.rule_ids(model.WAIVED))
        told = [f for f in verdict.findings if f.status in (model.DENY, model.ERROR, model.WAIVED)]
        self.findings = tuple('%s %s %s' % (f.status, f.rule.id, f.path) for f in told)


class Present:
    """`judged` and `unjudged` are starts in a period that libvirt has logged, with a verdict and without one.

    `policy` is None where it cannot be used, `files` are its files; `unknown` says what could not be found out.
    """

    def __init__(self) -> None:
        self.policy: 'Optional[model.Policy]' = None
        self.files: 'Sequence[str]' = ()
        self.running = 0
        self.judged = 0
        self.unjudged: 'Sequence[Start]' = ()
        self.outside: 'List[Outside]' = []
        self.unknown: 'List[str]' = []


def look_at_present(installation: 'Installation', today: str, period: 'Period') -> Present:
    """
    :param today: YYYY-MM-DD
    :param period: in which starts are looked for
    """
    present = Present()
    try:
        _compare_starts(installation, period, present)
    except GuardError as error:
        present.unknown.append('whether each start has a verdict is not known: %s' % error)
    try:
        present.files = [installation.policy, *find_drop_ins(installation.policy, False, {})]
        present.policy = load.trusted(installation.policy, today)
        present.files = present.policy.files
        _judge(installation, present)
    except GuardError as error:
        present.unknown.append('what is outside of the policy now is not known: %s' % error)
    return present


def _compare_starts(installation: 'Installation', period: 'Period', present: Present) -> None:
    since = period.since or 0.0
    coverage = find_coverage(installation, since, period.until)
    starts = [start for start in coverage.starts if period.holds(start.time)]
    present.judged = sum(start.state == JUDGED for start in starts)
    present.unjudged = [start for start in starts if start.state == UNJUDGED]
    if since < coverage.since < period.until:
        present.unknown.append('which starts had a verdict is known since %s' % shown(coverage.since))
    reasons: 'Dict[str, int]' = {}
    for start in starts:
        if start.state not in (JUDGED, UNJUDGED):
            reasons[start.why] = reasons.get(start.why, 0) + 1
    for why, number in reasons.items():
        present.unknown.append('whether %s had a verdict is not known: %s' % (counted(number, 'start'), why))
    present.unknown += ['starts of domains may be missing: %s' % text for text in coverage.unread]


def _judge(installation: 'Installation', present: Present) -> None:
    from ..watch.once import audit_now
    from ..watch.policy_in_force import PolicyInForce

    policy = present.policy
    assert policy is not None
    auditor = PolicyInForce(lambda: policy).load()
    for file, outcome in audit_now(installation, auditor):
        if not isinstance(outcome, model.Verdict):
            present.unknown.append(escape('%s: %s' % (file, outcome)))
            continue
        present.running += bool(outcome.uuid)
        outside = Outside(outcome)
        if outside.rules or outside.waived:
            present.outside.append(outside)
