# SPDX-License-Identifier: Apache-2.0
"""The one way in which commands change the policy in force: a drop-in is written, replaced or removed as a whole.

In this order: lock, read, check the whole policy as it would be, compare with what is on the disk now, rename, record,
compile. The rename is the one moment at which the policy changes, whatever kills the writer; the compiled policy
is out of date then, until it is renewed, and so is not used.
"""

import contextlib
import errno
import os
import signal
import stat

from ... import journal, model
from ...compiled import compiled_path
from ...digest import sha256_hex
from ...errors import GuardError
from ...host import today
from ...policy import load
from ...policy.drop_ins import drop_in_directory
from ...policy.files import read_trusted_policy_file
from ...policy.problems import PolicyError
from ...trust import write_file
from ...watch.recorded_policy import LOCK, RecordedPolicy, noted_of, state_fields
from ..calling_user import calling_user
from ..lock import locked
from ..terminal import complain
from .broken_policy import what_is_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, Optional, Tuple, Union

    from ...policy.drop_ins import Changes
    from ...policy.installation import Installation
    from .broken_policy import StillBroken

    # What a drop-in is to hold (None: there is to be none), and the sentence that the record says of the change.
    Revision = Tuple[Optional[bytes], str]
    Revise = Callable[[Optional[bytes]], Revision]

_MODE = 0o644
# Beside the directory of drop-ins, so that what a killed writer leaves behind is not taken for one, and the compiled
# policy is not out of date because of it. One at a time writes it.
_TEMPORARY = 'drop-in.new'
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def drop_in_path(installation: 'Installation', name: str) -> str:
    """Where a drop-in of that name is.

    :raises GuardError: it would be in another directory
    """
    if os.path.basename(name) != name or not name:
        raise GuardError('%r is not the name of a drop-in' % name, 'write it like 50-site.yaml')
    return os.path.join(drop_in_directory(installation.policy), name)


def read_drop_in(installation: 'Installation', name: str) -> 'Optional[bytes]':
    """What a drop-in of the policy in force holds; None if there is no such file.

    :raises GuardError: it cannot be read, or it is a link, which is not ours to replace
    """
    path = drop_in_path(installation, name)
    if os.path.islink(path):
        raise GuardError(
            '%s is a link' % path, 'edit %s by hand, then virt-guard policy check' % os.path.realpath(path)
        )
    return read_trusted_policy_file(path) if os.path.lexists(path) else None


def as_read(read: 'Optional[bytes]', data: 'Optional[bytes]', said: str) -> 'Revise':
    """For change_drop_in: put `data` in the place of what was `read` before, but not of what others have made of it."""

    def revise(before: 'Optional[bytes]') -> 'Revision':
        if before != read:
            raise GuardError('somebody else has changed the file since it was read', 'read it again')
        return data, said

    return revise


def as_seen(
    installation: 'Installation',
    path: str,
    data: 'Optional[bytes]',
    seen: 'Union[model.Policy, StillBroken]',
    revise: 'Revise',
) -> 'Revise':
    """For change_drop_in: as `revise`, but only if the policy is then the one whose effect the user has `seen`."""

    def revise_what_was_seen(before: 'Optional[bytes]') -> 'Revision':
        if _load_changed(installation, {path: data}).sha256 != seen.sha256:
            raise GuardError('another file of the policy was changed meanwhile', 'look again at what this would do')
        return revise(before)

    return revise_what_was_seen


def _load_changed(installation: 'Installation', changes: 'Changes') -> 'Union[model.Policy, StillBroken]':
    try:
        return load.trusted(installation.policy, today(), changes)
    except PolicyError as error:
        return what_is_left(installation, changes, error)


def change_drop_in(
    installation: 'Installation',
    name: str,
    revise: 'Revise',
    sinks: 'Optional[journal.Sinks]' = None,
    mends: bool = False,
) -> 'Optional[model.Policy]':
    """Put in force what `revise` makes of a drop-in of the policy. It is called while no other command can change it.

    :param mends: whether the policy may be broken afterwards, if other files have broken it before: see what_is_left
    :returns: the policy that is in force then; None where there was nothing to change, or the policy is still broken
    :raises PolicyError: the whole policy would have these problems
    :raises GuardError: or it cannot be written. The policy that was in force stays so
    """
    if not installation.installed:
        raise GuardError('virt-guard is not installed here, so there is no policy in force to change')
    path = drop_in_path(installation, name)
    try:
        with locked(_lock_path(installation)):
            before = read_drop_in(installation, name)
            data, said = revise(before)
            if data == before:
                return None
            changes = {path: data}
            changed = (
                _load_changed(installation, changes) if mends else load.trusted(installation.policy, today(), changes)
            )
            if read_drop_in(installation, name) != before:
                raise GuardError('somebody else has changed %s meanwhile' % path, 'run it again')
            sinks = sinks or journal.Sinks(installation.log)
            known = RecordedPolicy(installation.state)
            with _undisturbed():
                _catch_up(known, installation, sinks)
                _put(path, data)
                recorded = _record(said, path, before, data, changed, known, sinks)
    except OSError as error:
        message = 'cannot write %s: %s' % (error.filename or path, error.strerror or error)
        raise GuardError(message, 'run it as root' if isinstance(error, PermissionError) else '') from None
    with contextlib.suppress(OSError):
        _sync(os.path.dirname(path))
    if not recorded:
        complain('virt-guard: the file is changed, but that could not be recorded (start systemd-journald)')
    if not isinstance(changed, model.Policy):
        return None
    _compile(installation)
    return changed


def _lock_path(installation: 'Installation') -> str:
    # Not beside the policy, where anybody may open a file and so lock it.
    os.makedirs(installation.state, 0o700, exist_ok=True)
    return os.path.join(installation.state, LOCK)


@contextlib.contextmanager
def _undisturbed() -> 'Iterator[None]':
    """Whoever stops the command stops it before or after this, so that no change is without its record."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _put(path: str, data: 'Optional[bytes]') -> None:
    directory = os.path.dirname(path)
    if data is None:
        os.unlink(path)
    else:
        mode = stat.S_IMODE(os.stat(path).st_mode) & ~0o022 if os.path.exists(path) else _MODE
        if not os.path.isdir(directory):
            os.mkdir(directory)
            os.chmod(directory, 0o755)
        try:
            write_file(path, data, mode, True, os.path.join(os.path.dirname(directory), _TEMPORARY))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            write_file(path, data, mode, True)  # a file system of its own is mounted there


def _sync(directory: str) -> None:
    """Let what was put into a directory still be there after the host has lost power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _catch_up(known: RecordedPolicy, installation: 'Installation', sinks: journal.Sinks) -> None:
    """Record what others have changed before, so that each change has a record of its own."""
    with contextlib.suppress(GuardError, OSError):  # a policy that cannot be used may be what is mended now
        known.catch_up(load.trusted(installation.policy, today()), sinks.send)


def _record(
    said: str,
    path: str,
    before: 'Optional[bytes]',
    after: 'Optional[bytes]',
    changed: 'Union[model.Policy, StillBroken]',
    known: RecordedPolicy,
    sinks: journal.Sinks,
) -> bool:
    user = calling_user()
    digests = ['' if data is None else sha256_hex(data) for data in (before, after)]
    message = 'the policy was changed by %s: %s' % (user, said)
    fields = [('VIRT_GUARD_USER', user), ('VIRT_GUARD_FILE', path)]
    fields += [('VIRT_GUARD_FILE_SHA256_BEFORE', digests[0]), ('VIRT_GUARD_FILE_SHA256', digests[1])]
    noted = None
    if isinstance(changed, model.Policy):
        with contextlib.suppress(GuardError, OSError, ValueError):
            noted = noted_of(changed)
            if noted is not None:  # otherwise others have changed a file just now, and whoever notices that records it
                fields += state_fields(known.read(), noted)
        fields += changed.fields()
    else:
        with contextlib.suppress(OSError, ValueError):
            noted = known.read()
            if noted is not None:  # so that whoever records the mended policy does not say that others did this
                noted.files.pop(path, None)
                noted.files.update({path: digests[1]} if digests[1] else {})
        message += '; %s' % changed
    sent = sinks.send(journal.own_fields(model.POLICY_CHANGED, message) + fields) is not None
    if noted is not None:
        with contextlib.suppress(OSError):  # at worst, a watch records it again
            known.write(noted)
    return sent


def _compile(installation: 'Installation') -> None:
    from ...policy.compiler import compile_in_place, write_compiled

    for attempts_left in (2, 1, 0):
        try:
            data = compile_in_place(lambda: load.trusted(installation.policy, today()))
            write_compiled(compiled_path(installation.policy), data)
        except PolicyError as error:  # others have changed it meanwhile
            for problem in error.problems:
                complain(str(problem))
        except (GuardError, OSError) as error:
            if attempts_left:  # others who are about to change it compile it, too
                continue
            complain('virt-guard: the change is in force, but not compiled: %s' % error)
        return
