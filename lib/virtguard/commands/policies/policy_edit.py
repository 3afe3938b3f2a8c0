# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy edit [NAME]`: lets the user edit a copy of a drop-in, and puts it in force when nothing is wrong.

What the user has written is never lost, and never half in force: at every moment it is in the copy, in a kept text, or
in the drop-in.
"""

import contextlib
import difflib
import os
import re
import signal
from datetime import date, timedelta

from ...errors import GuardError, PolicyFileError
from ...host import today
from ...policy import load
from ...policy.drop_ins import drop_in_directory
from ...policy.installation import SUFFIX
from ...policy.problems import PolicyError
from ...trust import check_way
from .. import loading
from ..domains.absent_domains import find_absent
from ..exit_status import AMISS, FINE, NOT_JUDGED
from ..lock import locked
from ..questions import ask, at_terminal
from ..terminal import complain, show, show_line
from . import notes
from .broken_policy import StillBroken, what_is_left
from .edited_copy import EditedCopy, kept_on
from .editor import find_editor, run_editor
from .effect import find_effect
from .policy import look_closer
from .policy_change import as_read, as_seen, change_drop_in, drop_in_path, read_drop_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, NoReturn, Optional, Sequence, Union

    from ...model import Policy
    from ...policy.installation import Installation
    from ...policy.problems import Problem

DEFAULT_NAME = '50-site.yaml'
_LONGEST_NAME = 100  # bytes: other names are made of it
_DAYS = 30  # of the example of a waiver
_TEMPLATE = """\
# What this site decides: it changes the vendor's list and adds to it. An upgrade leaves this file alone.
# Take the first # away from what you need; man virt-guard-policy has the whole language. Waivers may stand here, too,
# but virt-guard waiver add checks more of them, and writes them into a file of its own.
#
#mode: audit                  # admit what rules deny, and record what would have been refused
#
#rules:
#  - id: virtiofs             # of a rule of the list, only the keys that change
#    action: warn
#  - id: container-host
#    action: "off"
#    reason: WHY, AND WHO DECIDED IT
#
#waivers:
#  - rules: [tpm-passthrough]
#    domains: [{uuid: 6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11, name: build-7}]
#    reason: WHY
#    approved-by: WHO
#    expires: %s          # the last day on which it holds
"""
_ENDINGS = re.compile(r'(\.(yaml|yml|rejected(\.\d+)?))+\Z')  # what stands behind NAME in names that users see
_DAY = re.compile(rb'\b\d{4}-\d\d-\d\d\b')
_MOST_COMPARED = 100000  # bytes: comparing lines takes the square of their number
_OTHERS_BROKEN = '%s has no problem of its own, but with it other files have these; change it, or mend them first'
_ENDING = (signal.SIGHUP, signal.SIGTERM)
_EDIT, _KEEP, _DROP, _YES = 'e', 'k', 'd', 'y'


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Edit a drop-in of the policy in force. Returns FINE where the text is in force or nothing changes, AMISS where it
    is kept or dropped, NOT_JUDGED where the editor fails, or other files still break the policy."""
    name = drop_in_name(DEFAULT_NAME if arguments.name is None else arguments.name, installation)
    with contextlib.suppress(PolicyError, PolicyFileError):
        loading.load_policy(None, installation)  # where a library is missing, nothing else is worth saying
    if not installation.installed:
        raise GuardError('virt-guard is not installed here, so there is no policy in force to edit')
    if not at_terminal():
        hint = 'to check a file as if it were a drop-in: virt-guard policy check --drop-in FILE'
        raise GuardError('policy edit needs a terminal', hint)
    editor = find_editor(os.environ)
    path = drop_in_path(installation, name)
    try:
        check_way(path)
        os.makedirs(installation.state, 0o700, exist_ok=True)
        with locked(os.path.join(installation.state, 'edit-%s.lock' % name), 0, 'is editing %s' % path):
            return _Edit(installation, name, editor).run()
    except OSError as error:
        hint = 'run it as root' if isinstance(error, PermissionError) else ''
        raise GuardError('cannot edit %s: %s' % (path, error.strerror or error), hint) from None


def drop_in_name(said: str, installation: 'Installation') -> str:
    """The name of the file that the user means.

    :raises GuardError: no drop-in can have it
    """
    directory = drop_in_directory(installation.policy)
    stem = _ENDINGS.sub('', os.path.basename(said))
    name = stem + SUFFIX
    if name == os.path.basename(installation.policy):
        message = '%s is not a drop-in, and an upgrade may replace it' % installation.policy
        raise GuardError(message, 'type virt-guard policy edit')
    if not said.isprintable():
        raise GuardError('%r is not the name of a drop-in' % said, 'a name has no control characters')
    plain = stem.strip()
    is_possible = plain and plain[0] not in '.-' and len(name.encode()) <= _LONGEST_NAME
    if is_possible and said in (stem, name) and (stem == plain or os.path.exists(os.path.join(directory, name))):
        return name
    hint = 'the drop-ins are in %s; give the name of one, such as 50-site' % directory
    if is_possible and os.path.dirname(said) in ('', directory):
        hint = 'did you mean %s?' % plain
    raise GuardError('%r is not the name of a drop-in' % said, hint)


def template() -> bytes:
    """What a new drop-in begins with: comments only."""
    expires = date(*map(int, today().split('-'))) + timedelta(_DAYS)
    return (_TEMPLATE % expires).encode('ascii')


class _Edit:
    """One session: `_before` is what the drop-in holds, `_text` what the user has written last."""

    def __init__(self, installation: 'Installation', name: str, editor: 'List[str]') -> None:
        self._installation = installation
        self._name = name
        self._editor = editor
        self._path = drop_in_path(installation, name)
        self._before = read_drop_in(installation, name)
        self._text = template() if self._before is None else self._before
        self._taken_up: 'Optional[str]' = None  # the path of the kept text with which the user goes on
        self._line = 0
        self._left: 'Optional[StillBroken]' = None  # of the policy with the text that was written last
        self._copy = EditedCopy(installation.policy, name)

    def run(self) -> int:
        try:
            with _ended_by_signals():
                self._begin()
                status = self._edit()
        except BaseException:
            self._save()
            self._copy.leave()
            raise
        self._save(self._text)  # an editor that did not stay in the foreground may have saved more since
        self._copy.remove()
        return status

    def _begin(self) -> None:
        """Write the copy: of the drop-in, or of a text that was kept."""
        self._save()  # an earlier session may have been killed
        for kept in self._copy.kept()[:1]:
            show_line('%s was kept on %s and is not in force.' % (kept, kept_on(kept)))
            answer = ask('What now?', {'t': 'take it up', 'b': 'begin with what is in force', 'd': 'drop it'})
            if answer == 't':
                self._text = self._copy.take_up(kept)
                self._taken_up = kept
                return
            if answer == 'd':
                os.unlink(kept)
        self._copy.write(self._text)

    def _edit(self) -> int:
        while True:
            failure = run_editor(self._editor, self._copy.path, self._line)
            self._line = 0
            try:
                self._text = self._copy.read()
            except GuardError as error:
                failure = str(error)
                self._copy.write(self._text)
            if self._is_nothing_new():
                show_line((failure + '; ' if failure else '') + 'nothing has changed in %s' % self._path)
                return NOT_JUDGED if failure else FINE
            answer = self._decide(failure)
            if answer == _YES:
                return FINE if self._left is None else NOT_JUDGED
            if answer == _DROP:
                show_line('%s stays as it was' % self._path)
                return AMISS
            if answer != _EDIT:
                kept = self._copy.keep(self._taken_up)
                show_line('%s stays as it was; your text is kept as %s' % (self._path, kept))
                return AMISS

    def _decide(self, failure: str) -> str:
        """Check the text, show what it would do, and ask. Returns the answer; _YES where the text is in force."""
        try:
            if failure:
                raise GuardError(failure)
            self._compare_with_disk()
            new = self._check()
            self._left = new if isinstance(new, StillBroken) else None
            answer = self._ask({_YES: 'yes'})
            if answer == _YES:
                self._put_in_force(new)
            return answer
        except PolicyError as error:
            self._show_problems(error.problems)
            if not self._line:
                show_line(_OTHERS_BROKEN % self._name)
        except GuardError as error:
            show_line(str(error))
        return self._ask({})

    def _ask(self, first: 'Dict[str, str]') -> str:
        question = 'What now?'
        if first:
            question = 'Put it in force?' if self._left is None else 'Put it in place, and mend the other files next?'
        others = {_EDIT: 'edit again', _KEEP: 'keep the text aside', _DROP: 'drop it'}
        return ask(question, {**first, **others})

    def _is_nothing_new(self) -> bool:
        if self._before is not None:
            return self._text == self._before
        return not self._text.strip() or _DAY.sub(b'', self._text) == _DAY.sub(b'', template())

    def _data(self) -> 'Optional[bytes]':
        """What the drop-in is to hold; None where it is to be removed."""
        return self._text if self._text.strip() else None

    def _compare_with_disk(self) -> None:
        """
        :raises GuardError: somebody else has changed the drop-in, and the user has not seen that yet
        """
        now = read_drop_in(self._installation, self._name)
        if now != self._before:
            for line in _difference(self._before or b'', now or b'', self._path):
                show_line(line)
            self._before = now
            raise GuardError('somebody else has changed %s since; your text would undo that' % self._path)

    def _check(self) -> 'Union[Policy, StillBroken]':
        """The whole policy as it would be, or what is left to mend; show what it would do on this host.

        :raises GuardError: it cannot come into force
        """
        changes = {self._path: self._data()}
        if changes[self._path] is None:
            show_line('The text is empty: %s would be removed.' % self._path)
        try:
            new, slow = load.load_timed(lambda: load.trusted(self._installation.policy, today(), changes))
        except PolicyError as error:
            left = what_is_left(self._installation, changes, error)
            for line in left.lines():
                show_line(line)
            return left
        try:
            unchecked = look_closer(new, self._installation.host, changes)
        except PolicyError as error:
            if any(problem.source == self._path for problem in error.problems):
                raise
            unchecked = [str(problem) for problem in error.problems]
        old = None
        try:
            old = load.trusted(self._installation.policy, today())
        except GuardError:
            show_line('The policy in force is broken: no domain is judged by it.')
        known = set(self._notes(old)) if old is not None else set()
        added = notes.told(remark for remark in self._notes(new) if remark not in known)
        for note in [*unchecked, *filter(None, [slow]), *added]:
            show_line('note: ' + note)
        show(str(find_effect(old, new, self._installation)))
        return new

    def _notes(self, policy: 'Policy') -> 'Iterator[notes.Remark]':
        yield from notes.on_policy(policy)
        yield from (('', text) for text in find_absent(policy, self._installation))

    def _put_in_force(self, seen: 'Union[Policy, StillBroken]') -> None:
        """
        :param seen: the policy whose effect the user has seen, or what is left to mend
        :raises GuardError: it is not in force, or another one than that would be
        """
        data = self._data()
        said = '%s was %s' % (self._name, 'removed' if data is None else 'edited')
        revise = as_read(self._before, data, said)
        revise = as_seen(self._installation, self._path, data, seen, revise)
        change_drop_in(self._installation, self._name, revise, mends=self._left is not None)
        if self._left is not None:
            done = 'is removed' if data is None else 'is in place'
            show_line('%s %s; %s; next, %s' % (self._path, done, self._left, self._left.next))
            return
        done = 'is removed' if data is None else 'is in force'
        show_line('%s %s; domains are judged accordingly from their next start on' % (self._path, done))

    def _show_problems(self, problems: 'Sequence[Problem]') -> None:
        for problem in problems:
            show_line(str(problem))
        own = [problem.line for problem in problems if problem.source == self._path]
        self._line = own[0] if own else 0

    def _save(self, settled: 'Optional[bytes]' = None) -> None:
        """Keep the text of the copy, where there is one that is not in force. May be called at any moment.

        :param settled: the text about which the user has decided already
        """
        with contextlib.suppress(OSError, GuardError):
            if not self._copy.is_left():
                return
            self._text = self._copy.read()
            self._before = read_drop_in(self._installation, self._name)
            if self._text == settled or self._is_nothing_new():
                os.unlink(self._copy.path)
            else:
                complain('your text is kept as %s' % self._copy.keep(self._taken_up))


def _difference(before: bytes, after: bytes, path: str) -> 'Iterator[str]':
    """What others have changed, as `diff -u` shows it."""
    if len(before) + len(after) > _MOST_COMPARED:
        return iter(())
    old, new = (data.decode('utf-8', 'replace').splitlines() for data in (before, after))
    return difflib.unified_diff(old, new, 'what you began with', path, lineterm='')


@contextlib.contextmanager
def _ended_by_signals() -> 'Iterator[None]':
    """The signals that end a command (its terminal is closed, the host shuts down) end it as an exception does."""

    def end(number: int, frame: object) -> 'NoReturn':
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
