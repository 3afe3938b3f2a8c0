# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy diff OLD NEW`: which domains get another verdict from another policy, or on another day, and why.

OLD judges domains as of today and for the host as it is, NEW as of --date and for the release of --os. With the same
policy twice, the differences are what the passing of time, or an upgrade, changes.
"""

from ... import model, wording
from ...errors import GuardError
from ...host import today
from ...judging.comparison import Comparer
from ...judging.judge import Judge
from ...policy.problems import PolicyError
from .. import loading
from ..domains.domain_files import defined_domain_files, find_domain_files
from ..domains.named import files_or_domains
from ..exit_status import AMISS, FINE, NOT_JUDGED
from ..output.formats import FORMATS
from ..terminal import Progress, complain, show, wants_colour
from .notes import on_rules_of_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterable, List

    from ...judging.comparison import Comparison
    from ...policy.installation import Installation
    from ...policy.problems import Problem
    from ..domains.domain_files import DomainFile


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge every domain twice, and print what changes."""
    old, new = _load_policies([arguments.old, arguments.new], installation)
    needed = old.needed_facts() | new.needed_facts()
    hosts = loading.meant_host(arguments, needed, None), loading.meant_host(arguments, needed, arguments.os)
    # No limit of findings: a finding that one verdict leaves out would look like a change.
    judges = Judge(old, hosts[0], today(), None), Judge(new, hosts[1], arguments.date or today(), None)
    comparer = Comparer(old, new)
    domain_files = _domain_files(arguments, installation)
    output = FORMATS[arguments.format](wants_colour(), True)
    comparisons: 'List[Comparison]' = []
    judged = failed = 0
    progress = Progress()
    for domain_file, part in ((found, part) for found in domain_files for part in found.parts()):
        try:
            if isinstance(part, GuardError):
                raise part
            before, after = (part.judged_by(judge.judge) for judge in judges)
        except GuardError as error:
            progress.clear()
            complain(domain_file.complaint(error))
            failed += not domain_file.is_other(error)
            continue
        judged += 1
        failed += model.ERROR in (before.decision, after.decision)
        comparison = comparer.compare(before, after)
        if comparison:
            progress.clear()
            show(output.comparison(domain_file.name, comparison))
            comparisons.append(comparison)
        progress.show(judged)
    progress.clear()
    for note in on_rules_of_start(new, old):
        complain('%s: note: %s' % (wording.PROGRAM, note))
    if arguments.paths and not judged and not failed:
        raise GuardError('there is no domain in the files given')
    show(output.summary(_summary(judged, comparisons)))
    return NOT_JUDGED if failed else AMISS if comparisons else FINE


def _domain_files(arguments: 'argparse.Namespace', installation: 'Installation') -> 'Iterable[DomainFile]':
    if not arguments.paths:
        return defined_domain_files(installation.domains)

    def remark(text: str) -> None:
        complain('%s: note: %s' % (wording.PROGRAM, text))

    return find_domain_files(files_or_domains(arguments.paths, installation, remark))


def _load_policies(names: 'Iterable[str]', installation: 'Installation') -> 'List[model.Policy]':
    """Load each policy; the problems of all are reported at once."""
    policies: 'Dict[str, model.Policy]' = {}
    problems: 'List[Problem]' = []
    names = list(names)
    for name in sorted(set(names), key=names.index):
        try:
            policies[name] = loading.policy(name, installation)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(problems, {})
    return [policies[name] for name in names]


def _summary(judged: int, comparisons: 'List[Comparison]') -> str:
    refused = [(c.old.outcome == model.DENY, c.new.outcome == model.DENY) for c in comparisons]
    counts = ((refused.count((False, True)), 'denied'), (refused.count((True, False)), 'no longer denied'))
    text = '%s: %d changed' % (wording.counted(judged, 'domain'), len(comparisons))
    return ''.join([text] + [', %d %s' % pair for pair in counts if pair[0]])
