# SPDX-License-Identifier: Apache-2.0
"""`virt-guard guests`: asks the guest agents which systems really run, and tells where metadata says something else."""

import os

from ...errors import GuardError
from ...health.guest_agents import ABSENT, CONNECTED, DISCONNECTED, PAUSED, running_guests
from ...policy.guest_systems import guest_system
from ...policy.osinfo_db import known_systems
from ...watch.state_files import SUFFIX
from ...wording import PROGRAM, first_few
from .. import loading
from ..domains.host_domains import AS_ROOT, HostDomains, as_text
from ..exit_status import AMISS, FINE, NOT_JUDGED
from ..terminal import complain, show
from .asking import ask_guests
from .comparison import compare
from .libvirt_calls import Libvirt
from .told import ANSWERED, FAILED, Guest, as_json, as_text_lines, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterable, Iterator, List, Sequence

    from ...health.guest_agents import RunningGuest
    from ...model import Policy
    from ...policy.installation import Installation
    from .asking import Answer

_WHY_NOT = {
    ABSENT: 'it has no channel for a guest agent (org.qemu.guest_agent.0)',
    DISCONNECTED: 'no guest agent is connected; qemu-guest-agent must run in the guest',
    PAUSED: 'it is paused',
}


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Ask, and tell it. Returns the exit status: 0 no contradiction, 1 there is one, 2 something could not be asked.

    :raises GuardError: libvirt or its files cannot be asked, or the policy cannot be used
    """
    policy = loading.policy(arguments.policy, installation)
    domains = HostDomains(installation)
    running, unread = running_guests(installation)
    if unread and not running:  # as where an ordinary user asks
        raise GuardError('which domains run: %s' % '; '.join(first_few(unread, 1)), AS_ROOT)
    complaints = ['%s: error: %s' % (PROGRAM, text) for text in unread]
    if arguments.domains:
        running = list(_chosen(arguments.domains, domains, running, complaints))
    for complaint in complaints:
        complain(complaint)
    guests = _asked(running, arguments.timeout)
    _compare(policy, [guest for guest in guests if guest.asked == ANSWERED], installation)
    status = NOT_JUDGED if complaints else FINE
    for guest in guests:
        if arguments.format == 'jsonl':
            show(as_json(guest))
        else:
            show(''.join(as_text_lines(guest, bool(arguments.domains))))
        error = guest.error or (_WHY_NOT.get(guest.asked, '') if arguments.domains else '')
        if error:
            complain('%s: error: %s' % (guest.name, error))
            status = NOT_JUDGED
        elif guest.is_contradiction:
            status = status or AMISS
    if arguments.format == 'text' and (guests or not arguments.domains):
        show(summary(guests))
    return status


def _chosen(
    words: 'Iterable[str]', domains: HostDomains, running: 'Iterable[RunningGuest]', complaints: 'List[str]'
) -> 'Iterator[RunningGuest]':
    """Those that the user names, each once; adds to the complaints what does not run."""
    by_name = {guest.name: guest for guest in running}
    names = set()
    for word in words:
        try:
            name = domains.require(word).name
            if name not in by_name:
                raise GuardError('it does not run, so that nobody can be asked')
        except GuardError as error:
            complaints.append('%s: error: %s' % (as_text(word), error))
            continue
        if name not in names:
            names.add(name)
            yield by_name[name]


def _asked(running: 'Sequence[RunningGuest]', seconds: int) -> 'List[Guest]':
    """Every running domain, with the answer of its agent if it has one."""
    answers: 'Dict[str, Answer]' = {}
    askable = [guest for guest in running if guest.agent == CONNECTED]
    for guest, answer in ask_guests(askable, seconds, Libvirt):
        answers[guest.name] = answer
    guests = []
    for guest in running:
        told = Guest(as_text(guest.name), guest.uuid, guest.agent, guest.name + SUFFIX)
        guests.append(told)
        answer = answers.get(guest.name, {})
        if isinstance(answer, str):
            told.asked, told.error = FAILED, answer
        elif guest.agent == CONNECTED:
            told.take(answer)
    return guests


def _compare(policy: 'Policy', guests: 'Sequence[Guest]', installation: 'Installation') -> None:
    """Compare what was answered with the definitions, from which the domains start next."""
    if not guests:
        return
    known = frozenset(known_systems().values)
    files = {}
    for guest in guests:
        guest.system = guest_system(guest.release, known)
        # Not HostDomains: there, a name that is the UUID of another domain means that one.
        paths = [os.path.join(parent, guest.file) for parent in (installation.domains, installation.run)]
        files[next(filter(os.path.isfile, paths), paths[0])] = guest
    really = {path: guest.system.id for path, guest in files.items() if guest.system is not None}
    for guest, comparison in zip(files.values(), compare(policy, list(files), really)):
        guest.comparison = comparison
        if comparison.error:
            guest.error = 'it cannot be judged: ' + comparison.error
