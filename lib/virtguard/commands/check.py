# SPDX-License-Identifier: Apache-2.0
"""`virt-guard check` and `virt-guard scan`: judges domain XML files, or every domain that this host defines."""

import os

from ..errors import GuardError
from ..host import today
from . import loading
from .domains.domain_files import defined_domain_files, find_domain_files
from .domains.named import definitions, files_or_domains
from .output.shown_verdicts import ShownVerdicts
from .policies import notes
from .terminal import Progress, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, Set

    from ..model import Origin, Policy
    from ..policy.installation import Installation
    from .domains.domain_files import DomainFile


def check(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge the domains in the files, or of this host, that the user names."""
    policy = loading.policy_for_host(arguments, installation)
    with ShownVerdicts(arguments, by_name=False) as shown:
        files = find_domain_files(files_or_domains(arguments.paths, installation, shown.remark))
        _judge(arguments, policy, shown, files)
        if not shown.tally.total:
            raise GuardError('there is no domain in the files given')
        if installation.domains in map(os.path.abspath, arguments.paths):
            notes.complain_of_unknown_uuids(policy, installation, shown.note)
        shown.tally.skipped += files.others
        for note in notes.on_rules_of_start(policy):
            shown.remark(note)
        shown.end()
    return shown.tally.exit_status


def scan(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge every domain that is defined, or those that the user names; with --next-boot, the next start of those that
    run or start with the host."""
    if arguments.next_boot:
        from .next_boot import run

        return run(arguments, installation)
    with ShownVerdicts(arguments, by_name=True) as shown:
        if arguments.domains:
            policy = loading.policy_for_host(arguments, installation)
            _judge(arguments, policy, shown, definitions(arguments.domains, installation))
        else:
            files = defined_domain_files(installation.domains)
            policy = loading.policy_for_host(arguments, installation)
            used_waivers = _judge(arguments, policy, shown, files)
            notes.complain_of_unused_waivers(policy, used_waivers, shown.note)
            if arguments.policy is arguments.facts is arguments.host is arguments.os is None:
                for note in notes.on_host(policy, installation):
                    shown.remark(note)
            notes.complain_of_unknown_uuids(policy, installation, shown.note)
            from ..health.guest_agents import askable  # with what reads states of running domains

            guests = askable(installation)
            if guests:
                shown.remark(guests)
        for note in notes.on_rules_of_start(policy):
            shown.remark(note)
        shown.end()
    return shown.tally.exit_status


def _judge(
    arguments: 'argparse.Namespace', policy: 'Policy', shown: ShownVerdicts, files: 'Iterable[DomainFile]'
) -> 'Set[Origin]':
    """Tell the verdict on each domain. Returns the origins of the waivers that were used."""
    from ..judging.judge import Judge
    from .domains.parallel import judge_all

    host = loading.meant_host(arguments, policy.needed_facts(), arguments.os)
    judge = Judge(policy, host, arguments.date or today())
    shown.begin(policy)
    used_waivers: 'Set[Origin]' = set()
    progress = Progress()
    for outcome in judge_all(judge, shown, files):
        if outcome.output or outcome.complaints or outcome.skipped:
            progress.clear()
        for complaint in outcome.complaints:
            complain(complaint)
        for skipped in outcome.skipped:
            shown.note(skipped)
        shown.add(outcome.output, outcome.decisions)
        used_waivers.update(outcome.waivers)
        progress.show(shown.tally.total)
    progress.clear()
    return used_waivers
