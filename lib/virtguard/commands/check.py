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

    from ..model import Origin, Policy
    from ..policy.installation import Installation
    from .domain_files import DomainFile
    from .output_format import OutputFormat


def check(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge the domains in the files that the user names."""
    policy = loading.policy(arguments.policy, installation)
    output = FORMATS[arguments.format](wants_colour(), show_admitted=False)
    files = find_domain_files(arguments.paths)
    tally, _ = _judge(arguments, policy, output, files)
    if not tally.total:
        show(output.summary())
        raise GuardError('there is no domain in the files given')
    if installation.domains in map(os.path.abspath, arguments.paths):
        notes.complain_of_unknown_uuids(policy, installation)
    tally.skipped += files.others
    show(output.summary(str(tally)))
    return tally.exit_status


def scan(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge every domain that is defined; with --next-boot, the next start of those that run or start with the host."""
    if arguments.next_boot:
        from .next_boot import run

        return run(arguments, installation)
    files = defined_domain_files(installation.domains)
    policy = loading.policy(arguments.policy, installation)
    output = FORMATS[arguments.format](wants_colour(), show_admitted=True)
    tally, used_waivers = _judge(arguments, policy, output, files)
    notes.complain_of_unused_waivers(policy, used_waivers)
    if arguments.policy is None and arguments.facts is None and arguments.os is None:
        for note in notes.on_host(policy, installation):
            complain('%s: note: %s' % (wording.PROGRAM, note))
    notes.complain_of_unknown_uuids(policy, installation)
    show(output.summary(str(tally)))
    return tally.exit_status


def _judge(
    arguments: 'argparse.Namespace', policy: 'Policy', output: 'OutputFormat', files: 'Iterable[DomainFile]'
) -> 'Tuple[Tally, Set[Origin]]':
    """Print the verdict on each domain. Returns the tally, and the origins of the waivers that were used."""
    from ..judging.judge import Judge
    from .parallel import judge_all

    host = loading.host(arguments.facts, policy.needed_facts(), arguments.os)
    judge = Judge(policy, host, arguments.date or today())
    show(output.begin())
    tally = Tally()
    used_waivers: 'Set[Origin]' = set()
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
    return tally, used_waivers
