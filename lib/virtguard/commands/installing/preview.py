# SPDX-License-Identifier: Apache-2.0
"""`install.sh --preview`: what an installation would refuse on this host. Runs from the checkout, and only reads.

It judges every domain that is defined here by the policy that an installation would put in force, and tells which would
be refused, which would be admitted with findings, how many are clean, and what it could not look at.
"""

import os
import shlex
import signal

from ... import __version__, model
from ...errors import GuardError
from ...host import read_facts, today
from ...judging.judge import Judge
from ...libraries import blame
from ...policy.drop_ins import drop_in_directory
from ...policy.host_profile import difference
from ...policy.installation import Installation, installed_below
from ...policy.load import load_timed
from ...policy.problems import PolicyError
from ...wording import PROGRAM, counted
from ..domains.domain_files import defined_domain_files
from ..domains.parallel import judge_all
from ..exit_status import ADMITTED, NOT_JUDGED
from ..next_boot import AUTOSTART, RUNNING, autostart_domains, note_on_saved_state, running_domains, summary
from ..output.text import Text
from ..policies.notes import on_rules_of_start
from ..terminal import Progress, complain, show, show_line, wants_colour
from .candidate import EDITED, LINK, SHIPPED, choose_profile, make_candidate
from .hook_link import choose_link
from .setup import describe_host_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Sequence, Set, TextIO, Tuple

    from .candidate import Candidate

# Not 1, with which Python itself ends where it cannot run this.
REFUSED = 3
_STATES = {
    SHIPPED: 'as the profile is shipped',
    EDITED: 'edited here: an installation keeps it',
    LINK: 'a link: an installation keeps it',
}


def main(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Tell what would be refused. Returns ADMITTED, REFUSED or NOT_JUDGED.

    :param argv: the root (see installed_below), the file with what was shipped when virt-guard was installed, libvirt's
        directory of hooks, the hook of this version and that of earlier ones, the profile, the mode and the profiles
        besides that somebody asks for ('' for none), and the words of the command that installs
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    root, pristine, hooks, program, old_program, profile, mode, besides, *command = argv
    try:
        preview = _Preview(installed_below(root), mode, command)
        return preview.run(profile, besides, pristine, lambda: choose_link(hooks, (program, old_program)))
    except PolicyError as error:
        for problem in error.problems:
            complain(str(problem))
        complain('install.sh: an installation would stop here: this version cannot use that policy')
    except GuardError as error:
        complain('install.sh: %s' % error)
    except Exception as error:
        complain('install.sh: %s' % blame(error))
    return NOT_JUDGED


class _Preview:
    """`command` installs; `mode` is the one that somebody asks for, '' for none."""

    def __init__(self, installation: Installation, mode: str, command: 'List[str]') -> None:
        self._installation = installation
        self._mode = mode
        self._command = command
        self._decisions: 'Dict[str, str]' = {}  # by the names of the domains
        self._refused: 'List[str]' = []
        self._warned: 'List[str]' = []
        self._missed: 'List[str]' = []
        self._is_incomplete = False

    def run(self, profile: str, besides: str, pristine: str, find_place: 'Callable[[], str]') -> int:
        show_line('%s %s, a preview: nothing on this host is changed' % (PROGRAM, __version__))
        profile, reason = choose_profile(profile, pristine)
        show_line('profile    %s (%s)' % (profile, reason))
        another = difference(profile)
        if another:
            show_line('           %s' % another)
        candidate = make_candidate(self._installation.policy, pristine, profile, self._mode, besides)
        policy, slow = load_timed(candidate.load)
        for line in filter(None, [_describe(candidate, policy, profile), slow]):
            show_line(line)
        host = read_facts(policy.needed_facts())
        self._judge(Judge(policy, host, today()))
        self._tell_of_host(policy, host)
        self._tell_of_domains(policy)
        for note in on_rules_of_start(policy):
            show_line('note: ' + note)
        self._tell_of_next_starts(policy)
        self._tell_what_was_missed()
        try:
            find_place()
        except GuardError as error:
            show('\nAn installation would stop here:\n')
            show_line(str(error))
        self._tell_what_next(candidate, policy)
        return NOT_JUDGED if self._is_incomplete else REFUSED if self._refused else ADMITTED

    def _judge(self, judge: Judge) -> None:
        try:
            domain_files = defined_domain_files(self._installation.domains)
        except GuardError as error:
            self._miss(str(error))
            return
        progress = Progress()
        outcomes = judge_all(judge, Text(wants_colour(), False), domain_files)
        for number, (domain_file, outcome) in enumerate(zip(domain_files, outcomes)):
            progress.show(number)
            decision = _worst(outcome.decisions)
            self._decisions[os.path.basename(domain_file.name)[: -len('.xml')]] = decision
            for complaint in outcome.complaints:
                self._miss(complaint)
            if decision == model.DENY:
                self._refused.append(outcome.output)
            elif decision == model.ADMIT and outcome.output:
                self._warned.append(outcome.output)
        progress.clear()

    def _miss(self, what: str) -> None:
        self._missed.append(what)
        self._is_incomplete = True

    def _tell_of_host(self, policy: model.Policy, host: model.HostFacts) -> None:
        said = describe_host_rules(policy, self._installation.policy, host)
        if said:
            show('\nEvery domain on this host %s, because of the host itself:\n%s' % (_would_be_refused(policy), said))

    def _tell_of_domains(self, policy: model.Policy) -> None:
        if not self._decisions:
            if not self._is_incomplete:
                show_line('')
                show_line('No domain is defined: there is no *.xml file in %s.' % self._installation.domains)
            return
        for heading, outputs in (
            ('These domains %s at their next start:' % _would_be_refused(policy), self._refused),
            ('These domains would be admitted, with findings that would be recorded:', self._warned),
        ):
            if outputs:
                show('\n%s\n%s' % (heading, ''.join(outputs)))
        failed = list(self._decisions.values()).count(model.ERROR)
        clean = len(self._decisions) - len(self._refused) - len(self._warned) - failed
        counts = (
            (len(self._refused), 'refused' if policy.mode == 'enforce' else 'refused in mode enforce'),
            (len(self._warned), 'admitted with findings'),
            (clean, 'clean'),
            (failed, 'not judged'),
        )
        shown = ', '.join('%d %s' % pair for pair in counts if pair[0])
        show_line('')
        show_line('%s: %s' % (counted(len(self._decisions), 'domain'), shown))

    def _tell_of_next_starts(self, policy: model.Policy) -> None:
        names: 'Dict[str, Set[str]]' = {}
        try:
            for when, find in ((RUNNING, running_domains), (AUTOSTART, autostart_domains)):
                names[when] = set(find(self._installation))
        except GuardError as error:
            self._miss(str(error))
            return
        every = sorted(names[RUNNING] | names[AUTOSTART])
        self._missed += filter(None, (note_on_saved_state(self._installation, name) for name in every))
        if not every or not self._decisions:
            return
        for line in summary(policy, self._decisions, names):
            show_line(line)
        for name in every:
            if self._decisions.get(name) == model.DENY:
                show_line('    %s (%s)' % (name, ', '.join(when for when in names if name in names[when])))

    def _tell_what_was_missed(self) -> None:
        if self._missed:
            show('\nThis could not be looked at:\n')
            for line in self._missed:
                show_line(line)

    def _tell_what_next(self, candidate: 'Candidate', policy: model.Policy) -> None:
        show('\nNext:\n')
        commands = list(self._next(candidate, policy))
        width = max(len(command) for command, _ in commands)
        for command, purpose in commands:
            show_line('  %-*s  # %s' % (width, command, purpose))

    def _next(self, candidate: 'Candidate', policy: model.Policy) -> 'Iterator[Tuple[str, str]]':
        is_root = os.geteuid() == 0
        sudo = [] if is_root or '--root' in self._command else ['sudo']

        def typed(*options: str) -> str:
            return ' '.join(map(shlex.quote, [*sudo, *self._command, *options]))

        if self._is_incomplete:
            asked = ['--mode', self._mode] if self._mode else []
            yield typed('--preview', *asked), 'look again, %s' % ('as root' if sudo else 'once that can be read')
        # What is asked for explicitly need be only where it is not what happens by itself.
        enforce, audit = (
            [] if not self._mode and policy.mode == mode else ['--mode', mode] for mode in ('enforce', 'audit')
        )
        refused = 'what is denied above is refused' if self._refused else 'what the policy denies is refused'
        yield typed(*enforce), 'put the guard in force: %s' % refused
        yield typed(*audit), 'refuse nothing, and record what would be refused'


def _describe(candidate: 'Candidate', policy: model.Policy, profile: str) -> str:
    said = _STATES[candidate.state]
    drop_ins = [path for path in policy.files if os.path.dirname(path) == drop_in_directory(candidate.path)]
    if drop_ins:
        said += ', with ' + ', '.join(drop_ins)
    said += ': mode %s, failure %s' % (policy.mode, policy.failure)
    if candidate.state != SHIPPED:
        said = '%s, %s' % (candidate.path, said)
        if policy.name != profile:
            said += '; policy %r' % policy.name
    return 'policy     ' + said


def _would_be_refused(policy: model.Policy) -> str:
    return 'would be refused' if policy.mode == 'enforce' else 'would, in mode enforce, be refused'


def _worst(decisions: 'Sequence[str]') -> str:
    return next((decision for decision in (model.ERROR, model.DENY) if decision in decisions), model.ADMIT)
