# SPDX-License-Identifier: Apache-2.0
"""How many domains a policy admits and refuses, and what it finds in them: for whoever wants numbers."""

import os

from ... import model
from ...errors import GuardError
from ...host import today
from ...judging.judge import Judge
from .. import loading
from .host_domains import as_text
from .parallel import work_on_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Sequence, Set, Tuple

    from .domain_files import DomainFile

    Judged = Tuple[str, Tuple[Tuple[str, str], ...]]  # the decision; rules and statuses, each once for a domain


class JudgedCounts:
    """`decisions`: how many domains are admitted, denied and not judged. `findings`: in how many of them a rule finds
    something, by rule and status. `denied`: the names of those that are denied."""

    __slots__ = ('decisions', 'findings', 'denied')

    def __init__(self) -> None:
        self.decisions = {model.ADMIT: 0, model.DENY: 0, model.ERROR: 0}
        self.findings: 'Dict[Tuple[str, str], int]' = {}
        self.denied: 'Set[str]' = set()


def count_judged(policy: model.Policy, files: 'Sequence[DomainFile]') -> JudgedCounts:
    """Judge libvirt's own files of domains, which are named for them, as of today, within limits of time and memory."""
    judge = Judge(policy, loading.host(None, policy.needed_facts()), today())

    def work(file: 'DomainFile') -> 'Judged':
        try:
            part = next(iter(file.parts()))
            if isinstance(part, GuardError):
                raise part
            verdict = part.judged_by(judge.judge)
        except GuardError as error:
            return give_up(file, error)
        return verdict.decision, tuple(dict.fromkeys((f.rule.id, f.status) for f in verdict.findings))

    def give_up(file: 'DomainFile', error: GuardError) -> 'Judged':
        return ('' if not os.path.lexists(file.name) else model.ERROR), ()  # '': it has gone meanwhile

    counts = JudgedCounts()
    for file, (decision, found) in zip(files, work_on_files(work, give_up, judge.seconds, files)):
        if not decision:
            continue
        counts.decisions[decision] += 1
        if decision == model.DENY:
            counts.denied.add(os.path.splitext(as_text(os.path.basename(file.name)))[0])
        for key in found:
            counts.findings[key] = counts.findings.get(key, 0) + 1
    return counts
