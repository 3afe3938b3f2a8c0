# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch`: follows libvirt's own files and records what happens to running domains. Never calls libvirt."""

import os
import select
import time
from functools import partial

from .. import journal
from ..errors import GuardError
from ..policy.drop_ins import drop_in_directory
from ..wording import counted, escape
from .follower import Follower
from .intake import Intake
from .kept_states import KeptStates
from .ledger import HOST, Ledger
from .policy_follower import PolicyFollower
from .policy_in_force import PolicyInForce
from .presence import Presence
from .qemu_processes import Processes
from .recorded_policy import RecordedPolicy
from .reminders import Reminders
from .signals import Signals
from .state import State
from .state_files import StateFiles
from .systemd import Notifier
from .unjudged_starts import UnjudgedStarts
from .unobserved import Gap, Unobserved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Optional, Sequence, Tuple

    from ..model import Occurrence, Verdict
    from ..policy.installation import Installation
    from .auditor import Auditor
    from .reminder import Reminder
    from .renewal import Renewal
    from .unjudged_starts import Find

# Seconds
_LOOK = 10.0  # between looks at what nothing announces: processes, directories that were mounted over
_LOOK_WITHOUT_INOTIFY = 1.0
_KEEP = 1.0  # until a state that brought no news is kept, or longer while there is much to do
_SETTLED = 0.5  # until the policy is looked at, after a sign that it has changed: whoever edits it may not be done
_UNRENEWED = 2.0  # until the watch sees to it that a changed policy is compiled, if nobody else has done that
_ASKED = 60.0  # until that must have been done by whom it has asked
_RECORD = 1.0  # until the watch looks again whether a command that changes the policy has recorded that
_REMIND = 3.0  # until what ends soon is looked for, in a policy that is new: when domains have been judged by it
_LOOKS = 6  # after so many looks, all files are looked at, too, even if nothing was announced

_KEEP_AT_ONCE = 100  # states


class Watch:
    """One watch.

    :param policy: the policy in force
    :param renewal: of its compiled form; None where it has none
    :param show: gets each thing that happened, once it is recorded
    :param complain: gets a line about what is amiss
    :param find_unjudged: tells which domains were started without a verdict, see unjudged_starts
    """

    def __init__(
        self,
        installation: 'Installation',
        policy: PolicyInForce,
        renewal: 'Optional[Renewal]',
        show: 'Callable[[Occurrence, Verdict], None]',
        complain: 'Callable[[str], None]',
        find_unjudged: 'Optional[Find]' = None,
    ) -> None:
        self._installation = installation
        self._policy = policy
        self._policy_follower = PolicyFollower()
        self._renewal = renewal
        self._find_unjudged = find_unjudged
        self._show = show
        self._print = complain
        self._sinks = journal.Sinks(installation.log)
        self._notifier = Notifier(os.environ)
        self._files = StateFiles(installation.run, installation.lib)
        self._processes = Processes(installation.run, lib=installation.lib)
        self._unobserved = Unobserved(self._tell_of_gap, self._tell_of_end)
        self._intake = Intake(self._files, self._unobserved, self._notifier.alive)
        self._amiss: 'Dict[str, str]' = {}  # what is amiss -> what was said about it
        self._due: 'Dict[Callable[[], None], float]' = {}
        self._looks = 0
        self._is_alone = True
        self._presence = Presence(self._record, self._complain)
        self._recorded: 'Optional[RecordedPolicy]' = None
        self._signals = Signals()

    def run(self) -> None:
        """Watch until SIGTERM or SIGINT.

        :raises GuardError: there is no valid policy to begin with, and nobody restarts this watch
        """
        try:
            self._watch()
        except BaseException as error:
            self._presence.end('error: %s' % escape(str(error) or type(error).__name__), self._policy.fields())
            raise
        self._presence.end(self._signals.ended_by or '', self._policy.fields())

    def _watch(self) -> None:
        self._signals.catch()
        auditor = self._await_policy()
        if auditor is None:
            self._notifier.stopping()
            return
        self._policy_follower.follow(self._policy.paths())
        kept_states = KeptStates(self._installation.state, self._complain)
        if kept_states.is_taken:
            self._watch_beside_another()
        self._ledger = Ledger(
            auditor, kept_states, self._tell, self._intake.judged, self._intake.failed, self._intake.suspects
        )
        self._intake.attach(self._ledger)
        directory = self._installation.state if kept_states.is_usable else None
        self._reminders = Reminders(self._installation, directory, self._remind, self._complain)
        find = self._find_unjudged if self._is_alone else None
        warn = partial(self._say, 'starts')
        self._starts = UnjudgedStarts(find, self._installation.domain_logs, directory, self._tell, warn)
        self._ledger.load()
        self._follower = self._follow()
        self._take_everything()
        self._ledger.judge_again(auditor)
        if directory and self._renewal:  # it is the policy in force
            self._recorded = RecordedPolicy(directory)
        self._presence.begin(directory, kept_states.boot, self._policy.fields())
        self._record_policy()
        self._look()
        self._in(_UNRENEWED, self._renew)
        self._in(_REMIND, self._look_for_ends)
        self._notifier.ready(self._status())
        while not self._signals.ended_by:
            self._wait()
            self._turn()
        self._notifier.stopping()
        self._reminders.close()
        self._starts.close()
        self._ledger.close()
        self._ledger.keep()

    def _await_policy(self) -> 'Optional[Auditor]':
        """The policy to begin with; None if the watch was ended before there was one.

        A service waits for it. If it ended instead, it would be started again and again, and complain each time.
        """
        policy = self._installation.policy
        self._policy_follower.follow([policy, drop_in_directory(policy)])
        while not self._signals.ended_by:
            try:
                return self._policy.load()
            except GuardError as error:
                if not self._notifier.listens:
                    raise
                if not self._amiss:
                    self._notifier.ready('running domains are not observed: the policy cannot be used')
                text = 'running domains are not observed, because the policy cannot be used: %s' % error
                self._say('first policy', text)
            poll = select.poll()
            for readable in (self._signals.fileno(), self._policy_follower.fileno()):
                if readable is not None:
                    poll.register(readable, select.POLLIN)
            poll.poll(max(0, min(_LOOK, self._notifier.due() - time.monotonic())) * 1000 + 1)
            self._signals.drain()
            self._notifier.alive()
            if self._policy_follower.has_changed():
                time.sleep(_SETTLED)
        return None

    def _watch_beside_another(self) -> None:
        """Only show what happens, because the other watch records it, and a second record would be a duplicate.

        :raises GuardError: nobody would see what is shown
        """
        if self._notifier.listens:
            raise GuardError('another watch keeps its states in %s' % self._installation.state, 'end that one first')
        self._is_alone = False
        self._print('another watch records what happens; this one only shows it')

    # The loop

    def _wait(self) -> None:
        """Wait until there is something to do."""
        poll = select.poll()
        poll.register(self._signals.fileno(), select.POLLIN)
        followed = [self._follower.fileno()]
        if self._look_at_policy not in self._due:  # however often it is touched meanwhile
            followed.append(self._policy_follower.fileno())
        for source in (self._ledger, self._reminders, self._starts):
            followed += source.descriptors()
        for readable in followed:
            if readable is not None:
                poll.register(readable, select.POLLIN)
        idle = min(self._notifier.due(), self._intake.due(), *self._due.values()) - time.monotonic()
        poll.poll(0 if self._intake.has_work() else min(max(0, idle), _LOOK) * 1000 + 1)
        self._signals.drain()

    def _turn(self) -> None:
        if self._signals.reload:
            self._reload_all()
        if self._follower.polling:
            self._say('inotify', "libvirt's files are looked at every second: %s" % self._follower.polling)
            self._due.setdefault(self._look_at_files, time.monotonic())
        else:
            self._amiss.pop('inotify', None)
            changes = self._follower.changes()
            self._intake.announce(changes.paths)
            if changes.everything:
                self._take_everything()
        if self._policy_follower.has_changed():
            self._in(_SETTLED, self._look_at_policy)
        self._ledger.collect()
        self._reminders.collect()
        self._starts.collect(self._ledger.auditor)
        if self._intake.has_work():
            self._check_policy()
        self._intake.turn()
        for action in [action for action, due in self._due.items() if due <= time.monotonic()]:
            due = self._due.pop(action)
            # The interval begins when a look was due, so the time that it takes is not added.
            if action == self._look_at_files and self._follower.polling:
                self._in(max(0, due + _LOOK_WITHOUT_INOTIFY - time.monotonic()), action)
            action()
        if not self._ledger.is_kept:
            self._in(_KEEP, self._keep)
        self._notifier.alive()

    def _in(self, seconds: float, action: 'Callable[[], None]') -> None:
        self._due.setdefault(action, time.monotonic() + seconds)

    def _reload_all(self) -> None:
        self._signals.reload = False
        self._notifier.reloading()
        self._follower.close()
        self._follower = self._follow()
        self._policy.forget()
        self._check_policy()
        self._take_everything()
        self._presence.reload(self._policy.fields())
        self._notifier.ready(self._status())

    # Files

    def _follow(self) -> Follower:
        return Follower(self._files.run, self._files.metadata.values())

    def _keep(self) -> None:
        if not self._ledger.keep(_KEEP_AT_ONCE):
            self._in(_LOOK, self._keep)
        elif not self._ledger.is_kept:
            self._in(_KEEP if self._intake.has_work() else 0, self._keep)

    def _take_everything(self) -> None:
        unlisted = self._intake.take_everything()
        if unlisted:
            text = '; '.join(str(error) for error in unlisted.values())
            self._say('list', text)
            self._presence.lose(text)
        else:
            self._amiss.pop('list', None)
            self._presence.regain(self._policy.fields())
        self._in(_KEEP, self._keep)

    def _look_at_files(self) -> None:
        if self._follower.polling:
            self._take_everything()

    # What nothing announces

    def _look(self) -> None:
        self._presence.live(self._policy.fields())
        self._check_policy()
        self._intake.retry()
        self._looks += 1
        if self._follower.polling:
            self._follower = self._follow()  # inotify may be usable again
        if self._follower.check() or self._looks % _LOOKS == 0:
            self._take_everything()
        pids = {self._ledger.state(name).pid() for name in self._ledger.names()}
        self._starts.follow(pids)
        if not self._ledger.is_busy(HOST):
            self._ledger.take(HOST, State(None, self._processes.unowned(pids)[0]))
        self._notifier.status(self._status())
        self._in(_LOOK, self._look)

    # The policy

    def _look_at_policy(self) -> None:
        self._policy.look_at_once()
        self._check_policy()
        self._in(_UNRENEWED, self._renew)

    def _renew(self) -> None:
        if self._renewal is None or not self._is_alone or 'policy' in self._amiss:
            return
        try:
            if self._renewal.renew():
                self._amiss.pop('compiled', None)
            else:
                self._in(_ASKED, self._check_renewed)
        except (GuardError, OSError) as error:
            self._say('compiled', 'the policy could not be compiled: %s' % error)

    def _check_renewed(self) -> None:
        assert self._renewal is not None
        lack = self._renewal.lack()
        if lack and 'policy' not in self._amiss:
            self._say('compiled', '%s; virt-guard-compile.path has not seen to that' % lack)
        elif not lack:
            self._amiss.pop('compiled', None)

    def _check_policy(self) -> None:
        try:
            auditor = self._policy.renewed()
        except GuardError as error:
            self._say('policy', 'the policy as it was stays in force: %s' % error)
            return
        if auditor is not None:
            self._amiss.pop('policy', None)
            self._policy_follower.follow(self._policy.paths())
            self._in(_UNRENEWED, self._renew)
            self._in(_REMIND, self._look_for_ends)
            is_other = auditor.all_metadata != self._ledger.auditor.all_metadata
            self._ledger.judge_again(auditor)
            self._record_policy()
            if is_other:  # the rules now need more of the files, or less
                self._files.forget_others(())
                self._take_everything()

    def _record_policy(self) -> None:
        try:
            if self._recorded and not self._recorded.keep_up(self._ledger.auditor.policy, self._policy, self._record):
                self._in(_RECORD, self._record_policy)
        except (GuardError, OSError) as error:
            self._say('recorded', 'that the policy was changed could not be recorded: %s' % error)

    def _look_for_ends(self) -> None:
        if self._is_alone:
            self._reminders.look(self._ledger.auditor)

    # What is told

    def _remind(self, reminder: 'Reminder') -> None:
        self._record(reminder.fields())
        self._print(str(reminder))

    def _tell(self, occurrence: 'Occurrence', verdict: 'Verdict') -> None:
        self._record(journal.runtime_fields(occurrence, verdict) + [('VIRT_GUARD_EVENT', occurrence.event)])
        self._show(occurrence, verdict)

    def _tell_of_gap(self, gap: Gap) -> None:
        self._complain_of(gap, gap.cause)

    def _tell_of_end(self, gap: Gap) -> None:
        who = "domain '%s'" % escape(gap.domain) if gap.domain != HOST else 'this host'
        text = '%s was not observed from %s to %s: %s' % (who, gap.since, gap.until, gap.cause)
        self._complain_of(gap, text)

    def _complain_of(self, gap: Gap, text: str) -> None:
        fields = [('VIRT_GUARD_DOMAIN', gap.domain), ('VIRT_GUARD_UUID', gap.uuid)]
        fields += [('VIRT_GUARD_SINCE', gap.since), ('VIRT_GUARD_UNTIL', gap.until)]
        self._complain(text, fields)

    def _say(self, what: str, text: str) -> None:
        """Complain once, until it is mended."""
        if self._amiss.get(what) == text:
            return
        self._amiss[what] = text
        self._complain(text)

    def _complain(self, text: str, fields: 'Sequence[Tuple[str, str]]' = ()) -> None:
        text = escape(text)
        operation = [('VIRT_GUARD_OPERATION', 'watch')]
        self._record(journal.failure_fields(text) + list(fields) + operation + self._policy.fields())
        self._print(text)

    def _record(self, fields: 'journal.Fields') -> None:
        self._notifier.alive()  # if the sinks are slow, many records take long
        if not self._is_alone:
            return
        if self._sinks.send(fields) is not None:
            self._amiss.pop('record', None)
        elif 'record' not in self._amiss:
            self._amiss['record'] = 'audit record lost: journald, syslog and %s all failed' % self._installation.log
            self._print(self._amiss['record'])

    def _status(self) -> str:
        how = 'looking every second at' if self._follower.polling else 'following'
        running = counted(self._ledger.running(), 'running domain')
        changes = counted(self._ledger.changes, 'change')
        return "%s %s by policy '%s'; %s" % (how, running, self._policy.name, changes)
