# SPDX-License-Identifier: Apache-2.0
"""`virt-guard check` and `virt-guard scan`: judges domain XML files, or every domain that this host defines."""

import os

from .. import model, wording
from ..errors import GuardError
from ..host import today
from . import loading, notes
from .domain_files import DomainFile, defined_domain_files, find_domain_files
from .exit_status import Tally
from .formats import FORMATS
from .terminal import Progress, complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, Set

    from ..policy.installation import Layout


def check(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge what the paths name."""
    return _judge_all(arguments, layout, find_domain_files(arguments.paths), show_admitted=False)


def scan(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge every domain that is defined, or, with --next-boot, the next start of those that run or will."""
    if arguments.next_boot:
        from .next_boot import run

        return run(arguments, layout)
    return _judge_all(arguments, layout, defined_domain_files(layout.domains), show_admitted=True)


def _judge_all(
    arguments: 'argparse.Namespace', layout: 'Layout', domain_files: 'Iterable[DomainFile]', show_admitted: bool
) -> int:
    from ..judging.judge import Judge
    from .parallel import judge_all

    policy = loading.policy(arguments.policy, layout)
    judge = Judge(policy, loading.host(arguments.facts, policy.facts(), arguments.os), arguments.date or today())
    output = FORMATS[arguments.format](wants_colour(), show_admitted)
    show(output.begin())
    tally = Tally()
    used: 'Set[model.Origin]' = set()
    progress = Progress()
    for outcome in judge_all(judge, output, domain_files):
        if outcome.output or outcome.complaints:
            progress.clear()
        for complaint in outcome.complaints:
            complain(complaint)
        if outcome.output:
            show(outcome.output)
        used.update(outcome.waivers)
        tally.skipped += outcome.decisions.count('')
        for decision in filter(None, outcome.decisions):
            tally.add(decision)
        progress.show(tally.total)
    progress.clear()
    if arguments.command == 'check' and not tally.total:
        raise GuardError('there is no domain in the files given')
    if arguments.command == 'scan':
        notes.complain_of_unused_waivers(policy, used)
        if arguments.policy is None and arguments.facts is None and arguments.os is None:
            for note in notes.on_host(policy, layout):
                complain('%s: note: %s' % (wording.PROGRAM, note))
    if arguments.command == 'scan' or layout.domains in map(os.path.abspath, arguments.paths):
        notes.complain_of_unknown_uuids(policy, layout)
    tally.skipped += getattr(domain_files, 'others', 0)
    show(output.summary(str(tally)))
    return tally.exit_status
