# SPDX-License-Identifier: Apache-2.0
"""The policy in force as the records know it, so that each change of it is recorded, and recorded once.

A command that changes the policy records that itself, and so does a watch that finds it changed: by an editor, by
install.sh, by whatever deploys files. Whoever records it notes that in one file, with a lock that commands hold from
before a change until it is noted.
"""

import contextlib
import fcntl
import os

from .. import host, journal, model
from ..digest import sha256_hex
from ..policy.files import read_policy_file
from ..policy.merge import combined_sha256
from ..wording import first_few
from .kept_file import read_kept, write_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Optional

    from .policy_in_force import PolicyInForce

LOCK = 'policy.lock'
NAME = 'recorded-policy'
_FORMAT = b'virt-guard recorded policy 1'
_MOST = 64  # values of a field: a record must fit into a datagram, see journal
_MOST_NAMED = 8  # in the message


class Noted:
    """What is compared of a policy: `files` has the digest of each, `off` are the rules that are off."""

    __slots__ = ('sha256', 'mode', 'files', 'off', 'when')

    def __init__(self, sha256: str, mode: str, files: 'Dict[str, str]', off: 'List[str]', when: str) -> None:
        self.sha256 = sha256
        self.mode = mode
        self.files = files
        self.off = off
        self.when = when

    def is_same(self, other: 'Noted') -> bool:
        # While the policy is broken, a command may change a file of it: `files` says so, and `sha256` cannot.
        return (self.sha256, self.mode, self.files) == (other.sha256, other.mode, other.files)


def noted_of(policy: model.Policy) -> 'Optional[Noted]':
    """A policy that was just loaded; None where its files are others by now.

    :raises GuardError: a file cannot be read
    """
    files = {path: sha256_hex(read_policy_file(path)) for path in policy.files}
    if combined_sha256([(digest, path) for path, digest in files.items()]) != policy.sha256:
        return None
    off = sorted(rule.id for rule in policy.rules if rule.action == 'off')
    return Noted(policy.sha256, policy.mode, files, off, host.now())


class RecordedPolicy:
    """What the records know, in a directory that is root's."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, NAME)

    def read(self) -> 'Optional[Noted]':
        """None where the records know of none.

        :raises OSError, ValueError: the file cannot be used
        """
        try:
            content = read_kept(self._path, _FORMAT)
            return Noted(*(content[name] for name in Noted.__slots__))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError):
            raise ValueError('it is damaged') from None

    def write(self, noted: Noted) -> None:
        """:raises OSError:"""
        write_kept(self._path, _FORMAT, {name: getattr(noted, name) for name in Noted.__slots__}, durable=True)

    def catch_up(self, policy: model.Policy, record: 'Callable[[journal.Fields], object]') -> None:
        """Record that others have changed the policy to what it is now, if they have. Call it with the lock held.

        :raises GuardError, OSError: a file cannot be read or written
        """
        after = noted_of(policy)
        if after is None:
            return  # it has changed again, and whoever notices that comes here again
        try:
            before = self.read()
        except ValueError:
            before = None  # damaged: it begins anew
        if before is not None and before.is_same(after):
            return
        if before is not None:
            record(others_change_fields(before, after) + policy.fields())
        self.write(after)

    def keep_up(
        self, policy: model.Policy, in_force: 'PolicyInForce', record: 'Callable[[journal.Fields], object]'
    ) -> bool:
        """As catch_up, for whoever does not have the lock; False: a command has it, so try again.

        :param policy: what was loaded from `in_force` last
        :raises GuardError, OSError:
        """
        with self._unless_locked() as is_free:
            if is_free and in_force.is_current():  # otherwise a command has changed it since, and recorded that
                self.catch_up(policy, record)
        return is_free

    @contextlib.contextmanager
    def _unless_locked(self) -> 'Iterator[bool]':
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(os.path.join(self._directory, LOCK), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)


def others_change_fields(before: Noted, after: Noted) -> 'journal.Fields':
    """The first fields of a record which says that the policy was changed by no command of this package."""
    changed = _changed(before, after)
    if changed:
        message = 'the policy was changed, and not by a command of virt-guard: %s' % _what(before, after, changed)
    else:
        message = 'the policy is the same, and its mode is now %s (it was: %s)' % (after.mode, before.mode)
    fields = [('VIRT_GUARD_FILE', path) for path in changed[:_MOST]]
    if len(changed) == 1:
        fields += [
            ('VIRT_GUARD_FILE_SHA256_BEFORE', before.files.get(changed[0], '')),
            ('VIRT_GUARD_FILE_SHA256', after.files.get(changed[0], '')),
        ]
    # Whoever is killed before it is noted leaves it to the next one to record it again.
    event = '%s %s %s %s %s' % (before.when, before.sha256, before.mode, after.sha256, after.mode)
    fields += [('VIRT_GUARD_SINCE', before.when), ('VIRT_GUARD_EVENT', sha256_hex(event.encode())[:32])]
    return journal.own_fields(model.POLICY_CHANGED, message) + fields + state_fields(before, after)


def state_fields(before: 'Optional[Noted]', after: Noted) -> 'journal.Fields':
    """What any record of a change says of the policy before (None: that is not known) and after it."""
    fields = (
        []
        if before is None
        else [
            ('VIRT_GUARD_POLICY_SHA256_BEFORE', before.sha256),
            ('VIRT_GUARD_MODE_BEFORE', before.mode),
        ]
    )
    files = ['%s  %s' % (digest, path) for path, digest in after.files.items()]
    return fields + _repeated('VIRT_GUARD_POLICY_FILES', files) + _repeated('VIRT_GUARD_OFF', after.off)


def _changed(before: Noted, after: Noted) -> 'List[str]':
    return [path for path in {**before.files, **after.files} if before.files.get(path) != after.files.get(path)]


def _what(before: Noted, after: Noted, changed: 'List[str]') -> str:
    parts = [_few(['%s was %s' % (path, _how(path, before, after)) for path in changed])]
    if before.mode != after.mode:
        parts.append('mode %s (it was: %s)' % (after.mode, before.mode))
    for rules, text in (
        ([id for id in after.off if id not in before.off], 'off now: %s'),
        ([id for id in before.off if id not in after.off], 'no longer off: %s'),
    ):
        if rules:
            parts.append(text % _few(rules))
    return '; '.join(parts)


def _how(path: str, before: Noted, after: Noted) -> str:
    if path not in before.files:
        return 'added'
    return 'changed' if path in after.files else 'removed'


def _few(words: 'List[str]') -> str:
    return ', '.join(first_few(words, _MOST_NAMED))


def _repeated(name: str, values: 'List[str]') -> 'journal.Fields':
    return [(name, value) for value in first_few(values, _MOST)]
