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
    from ..policy.installation import Layout
    from .domain_files import DomainFile
    from .output_format import OutputFormat


def check(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Judge what the paths name."""
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
    """Judge every domain that is defined, or, with --next-boot, the next start of those that run or will."""
    if arguments.next_boot:
        from .next_boot import run

        return run(arguments, layout)
    files = defined_domain_files(layout.domains)
    policy = loading.policy(arguments.policy, layout)
    output = FORMATS[arguments.format](wants_colour(), show_admitted=True)
    tally, used_waivers = _judge(arguments, policy, output, files)
    notes.complain_of_unused_waivers(policy, used_waivers)
    if arguments.policy is None and arguments.facts is None and arguments.os is None:
        for note in notes.on_host(policy, layout):
            complain('%s: note: %s' % (wording.PROGRAM, note))
    notes.complain_of_unknown_uuids(policy, layout)
    show(output.summary(str(tally)))
    return tally.exit_status


def _judge(
    arguments: 'argparse.Namespace', policy: 'Policy', output: 'OutputFormat', files: 'Iterable[DomainFile]'
) -> 'Tuple[Tally, Set[Origin]]':
    """Print the verdict on each domain. Returns their tally, and where the waivers are defined that were used."""
    from .parallel import Judge, judge_all

    host = loading.host(arguments.facts, policy.facts(), arguments.os)
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
