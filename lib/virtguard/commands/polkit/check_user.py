# SPDX-License-Identifier: Apache-2.0
"""`virt-guard polkit check USER`: what a user may do today, and what with the file of rules in force."""

import grp
import os
import pwd

from ... import model, wording
from ...errors import GuardError
from ...host import today
from ...waivers import is_uuid
from .. import loading
from ..domains.host_domains import AS_ROOT
from ..exit_status import FINE
from ..terminal import show
from .asking import NO, PASSWORD, UNKNOWN, YES, UserProcess, may_write, note_on_polkit
from .daemon import Daemon
from .permissions import ACTIONS, Denials
from .rules_file import PLACE, USERS, command_line, rules_file, waivers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Optional, Sequence, Tuple

    from ...policy.installation import Installation

_OPERATIONS = (
    ('list and read domains', 'read'),
    ('start', 'start'),
    ('shut down, destroy', 'stop'),
    ('define', 'save'),
    ('change, attach, detach', 'write'),
    ('save its memory', 'hibernate'),
    ('migrate', 'migrate'),
    ('copy, commit or resize disks', 'block-write'),
    ('snapshot', 'snapshot'),
    ('checkpoint, backup', 'checkpoint'),
    ('suspend to memory or disk', 'pm-control'),
)
_READ = 'read'
_LOGIN = 'org.libvirt.unix.manage'
_ROW = '%-29s %-12s %-16s %s'
_MAX_RULES = 1 << 20  # bytes
_LIMITS = """
What this does not say:
  - Root is never asked, and may do everything.
  - Of Cockpit, libvirt sees the user libvirtdbus, not the person: virt-guard polkit check libvirtdbus
  - Who is denied something is told "access denied", and neither rule nor remedy.
  - polkit does not see with what arguments an operation is called, such as those of a migration.
"""


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print a table of operations, and what it rests on."""
    if os.geteuid() != 0:
        raise GuardError('polkit is asked about other users by root only', AS_ROOT)
    try:
        user = pwd.getpwnam(arguments.user)
    except (KeyError, ValueError):
        raise GuardError('there is no user %r on this host' % arguments.user) from None
    policy = loading.policy(arguments.policy, installation)
    denials = Denials(policy, loading.host(None, policy.needed_facts()), arguments.also)
    daemon = Daemon()
    groups = [] if arguments.deny_only else arguments.groups or [daemon.group()]
    command = command_line(arguments.policy, arguments.also, arguments.groups, arguments.deny_only)
    place = _FileInPlace(rules_file(policy, denials, groups, today(), command), command)
    view = _View(user, daemon, denials, groups, place)
    show(_ROW % ('operation', 'permission', 'today', 'with the file') + '\n')
    with UserProcess(user) as process:
        for operation, permission, now, then in view.rows(process):
            show(_ROW % (operation, permission, now, then) + '\n')
    show('\n')
    for line in [*view.rests_on(), *_waivers(policy, denials)]:
        show('%s\n' % wording.escape(line))
    show(_LIMITS)
    return FINE


class _FileInPlace:
    """The file that is in place: whether it is `there`, and is `ours`, as `command` prints it now."""

    def __init__(self, text: str, command: str) -> None:
        self.command = command
        try:
            with open(PLACE, 'rb') as file:
                found: 'Optional[bytes]' = file.read(_MAX_RULES)
        except FileNotFoundError:
            found = None
        except OSError as error:
            raise GuardError('%s cannot be read: %s' % (PLACE, error.strerror)) from None
        self.there = found is not None
        self.ours = found == text.encode()


class _View:
    """One user, before and after."""

    def __init__(
        self, user: pwd.struct_passwd, daemon: Daemon, denials: Denials, groups: 'Sequence[str]', place: _FileInPlace
    ) -> None:
        self._user = user
        self._daemon = daemon
        self._denied = {denial.permission: [rule.id for rule in denial.rules] for denial in denials.denied}
        self._says_yes = _is_in(user, groups) or (bool(groups) and user.pw_name in USERS)
        self._deny_only = not groups
        self._groups = groups
        self._place = place
        self._silent = False

    def rows(self, process: UserProcess) -> 'Iterator[Tuple[str, str, str, str]]':
        """Operation, permission, today, with the file."""
        way_in = self._way_in(process)
        for operation, permission in _OPERATIONS:
            if self._user.pw_uid == 0:
                yield operation, permission, YES, YES
                continue
            let_in = self._way_to_read() if permission == _READ and way_in != YES else way_in
            answer = self._ask(process, permission)
            now = _both(let_in, answer) if self._daemon.asks_polkit else let_in
            decided = answer if self._place.ours and answer != UNKNOWN else self._computed(permission, answer)
            then = _both(let_in, decided)
            rules = self._denied.get(permission, ())
            yield operation, permission, now, '%s: %s' % (NO, ', '.join(rules)) if rules and then == NO else then

    def _way_in(self, process: UserProcess) -> str:
        """Whether libvirt lets the user in, to read and write."""
        may = may_write(self._user, self._daemon.socket)
        if may != YES or self._daemon.login == 'none' or self._user.pw_uid == 0:
            return may
        if self._daemon.login != 'polkit':
            return PASSWORD
        answer = process.may(_LOGIN, {})
        self._silent = answer == UNKNOWN
        return answer

    def _way_to_read(self) -> str:
        return may_write(self._user, self._daemon.socket + '-ro')

    def _ask(self, process: UserProcess, permission: str) -> str:
        if not self._place.ours and not self._daemon.asks_polkit and not self._deny_only:
            return UNKNOWN
        answer = process.may(ACTIONS + 'domain.' + permission, {'connect_driver': 'QEMU'})
        self._silent = self._silent or answer == UNKNOWN
        return answer

    def _computed(self, permission: str, answer: str) -> str:
        """What polkit will say: by the file, else by what the other rules say today, else by libvirt's defaults."""
        if permission in self._denied:
            return NO
        if self._says_yes:
            return YES
        if answer != UNKNOWN:
            return answer
        return YES if permission == _READ else NO

    def rests_on(self) -> 'Iterator[str]':
        """Where the answers come from, and what else is to be known."""
        daemon, place = self._daemon, self._place
        asks = 'asks polkit about each operation' if daemon.asks_polkit else 'does not ask polkit about operations'
        yield '%s %s (access_drivers in %s).' % (daemon.name, asks, daemon.conf)
        if not daemon.running:
            yield '%s does not run now.' % daemon.name
        elif not daemon.restarted:
            yield '%s runs since before %s was changed: it obeys what is there when it is restarted.' % (
                daemon.name,
                daemon.conf,
            )
        if not os.path.exists(daemon.socket):
            yield 'Whether it lets the user in is unknown: there is no %s.' % daemon.socket
        if daemon.login not in ('none', 'polkit'):
            yield 'It asks the user for a password (auth_unix_rw is %s).' % daemon.login
        if place.ours:
            yield '%s is in place, and made of this policy.' % PLACE
        elif place.there:
            yield '%s is not what this policy makes: %s --output %s' % (PLACE, place.command, PLACE)
        else:
            yield '%s is not there.' % PLACE
        if not place.ours and not self._deny_only:
            yield '"With the file" is computed; it holds if no other file in rules.d speaks of these operations.'
        if self._silent:
            yield 'polkit was asked, and did not answer: it does not run, or pkcheck is missing.'
        if not self._says_yes and not self._deny_only and self._user.pw_uid != 0:
            yield '%s is not in the group %s, so the file does not say yes to what it does not deny (--group).' % (
                self._user.pw_name,
                ' or '.join(self._groups),
            )
        note = note_on_polkit()
        if note:
            yield note + '.'


def _both(one: str, other: str) -> str:
    """What holds where two must say yes."""
    return next((word for word in (NO, UNKNOWN, PASSWORD) if word in (one, other)), YES)


def _is_in(user: pwd.struct_passwd, groups: 'Sequence[str]') -> bool:
    ids = os.getgrouplist(user.pw_name, user.pw_gid)
    names = set()
    for id in ids:
        try:
            names.add(grp.getgrgid(id).gr_name)
        except KeyError:
            continue
    return not names.isdisjoint(groups)


def _waivers(policy: model.Policy, denials: Denials) -> 'Iterator[str]':
    """The domains in which something is not denied."""
    day = today()
    for denial in denials.denied:
        by_rule: 'List[Dict[str, str]]' = []
        for rule in denial.rules:
            waivers = sorted(waivers_of(policy, rule, day), key=lambda waiver: waiver.expires)
            entries = {_entry(entry): waiver.expires for waiver in waivers for entry in waiver.domains}
            by_rule.append({entry: until for entry, until in entries.items() if until >= day})
        for entry in [entry for entry in by_rule[0] if all(entry in entries for entries in by_rule)]:
            until = min(entries[entry] for entries in by_rule)
            yield 'Waived until %s: %s, in the domain %s.' % (until, denial.permission, entry)


def _entry(entry: 'model.DomainEntry') -> str:
    if isinstance(entry, tuple):
        return '%s (%s)' % (entry[1], entry[0])
    return entry if is_uuid(entry) else "'%s'" % entry
