# SPDX-License-Identifier: Apache-2.0
"""`virt-guard check` and `virt-guard scan`: judges domain XML files, or every domain that this host defines."""

import os

from .. import wording
from ..errors import GuardError
from ..host import today
from . import loading, notes
from .domain_files import defined_domain_files, find_domain_files
from .exit_status import Tally
from .formats import FORMATS
from .terminal import Progress, complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, Set, Tuple

    from ..policy.installation import Installation

    Format = Union[Text, JsonLines]


def check(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge the domains in the files that the user names."""
    policy = loading.policy(arguments.policy, layout)
    output = FORMATS[arguments.format](wants_colour(), show_admitted=False)
    files = find_domain_files(arguments.paths)
    tally, _ = _judge(arguments, policy, output, files)
    if not tally.total:
        raise GuardError('there is no domain in the files given')
    if layout.domains in map(os.path.abspath, arguments.paths):
        notes.complain_of_unknown_uuids(policy, layout)
    tally.skipped += files.others
    show(output.summary(str(tally)))
    return tally.exit_status


def scan(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge every domain that is defined; with --next-boot, the next start of those that run or start with the host."""
    if arguments.next_boot:
        from .next_boot import run

        return run(arguments, installation)
    return _judge_all(arguments, installation, defined_documents(installation.domains), show_admitted=True)


def _judge(
    arguments: 'argparse.Namespace', policy: 'Policy', output: 'OutputFormat', files: 'Iterable[DomainFile]'
) -> 'Tuple[Tally, Set[Origin]]':
    """Print the verdict on each domain. Returns the tally, and the origins of the waivers that were used."""
    from .parallel import Judge, judge_all

    policy = loading.policy(arguments.policy, installation)
    judge = Judge(policy, loading.host(arguments.facts, policy.needed_facts(), arguments.os), arguments.date or today())
    output = FORMATS[arguments.format](wants_colour(), show_admitted)
    show(output.begin())
    tally = Tally()
    used: 'Set[model.Origin]' = set()
    skipped = 0
    progress = Progress()
    for outcome in judge_all(judge, output, files):
        if outcome.output or outcome.complaints:
            progress.clear()
        for complaint in outcome.complaints:
            complain(complaint)
        if outcome.output:
            show(outcome.output)
        used_waivers.update(outcome.waivers)
        for decision in outcome.decisions:
            tally.add(decision)
        progress.show(tally.total)
    progress.clear()
    if arguments.command == 'check' and not any(counts.values()):
        raise GuardError('there is no domain in the files given')
    if arguments.command == 'scan':
        notes.complain_of_unused_waivers(policy, used)
        if arguments.policy is None and arguments.facts is None and arguments.os is None:
            for note in notes.on_host(policy, installation):
                complain('%s: note: %s' % (wording.PROGRAM, note))
    if arguments.command == 'scan' or installation.domains in map(os.path.abspath, arguments.paths):
        notes.complain_of_unknown_uuids(policy, installation)
    skipped += getattr(documents, 'others', 0)
    show(output.summary(counts[model.ADMIT], counts[model.DENY], counts[model.ERROR], skipped))
    return NOT_JUDGED if counts[model.ERROR] else DENIED if counts[model.DENY] else ADMITTED
