# SPDX-License-Identifier: Apache-2.0
"""When running domains were watched, and when not: records that a watch has started, that it ends and why, and each
time in which nobody watched, also one in which a watch was killed.

A watch leaves a sign of life in a file, again and again: the time of the file is when it lived last. The next watch
finds it.
"""

import os
import time

from .. import __version__, host, journal, model
from .kept_file import read_kept, write_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple

NAME = 'sign-of-life'
_FORMAT = b'virt-guard sign of life 1'
_SILENT = 60.0  # seconds between two signs, after which the watch has not done its work meanwhile
_KILLED = 'the watch was killed, or could not say why it ended'
_WENT_DOWN = 'the host went down before the watch could say that it ended'
_BOOTED = '%s; the host has been started since'
_FROZEN = 'the watch could not run: it was stopped, or the host had no time for it'


class LastWatch:
    """What is known of the watch before: when it `lived` last, and why it `ended` ('': it did not say)."""

    __slots__ = ('lived', 'ended', 'boot')

    def __init__(self, lived: float, ended: str, boot: str) -> None:
        self.lived = lived
        self.ended = ended
        self.boot = boot


def read_last_watch(directory: str) -> 'Optional[LastWatch]':
    """The watch that runs, or ran last; None if there was none.

    :raises OSError, ValueError: what it left behind cannot be used
    """
    path = os.path.join(directory, NAME)
    try:
        content = read_kept(path, _FORMAT)
        return LastWatch(os.stat(path, follow_symlinks=False).st_mtime, str(content['ended']), str(content['boot']))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError):
        raise ValueError('it is damaged') from None


class Presence:
    """Of one watch. `record` gets the fields of each record, `warn` a line about what is amiss."""

    def __init__(self, record: 'Callable[[journal.Fields], None]', warn: 'Callable[[str], None]') -> None:
        self._record = record
        self._warn = warn
        self._directory: 'Optional[str]' = None
        self._boot = ''
        self._has_begun = False
        self._sign = 0.0
        self._failure = ''  # to leave the last sign, which has been told
        self._lost: 'Optional[Tuple[str, str]]' = None  # since when nothing can be seen, and why

    def begin(self, directory: 'Optional[str]', boot: str, by: 'journal.Fields') -> 'Optional[Tuple[str, str]]':
        """Record that the watch has started, and the time before in which nobody watched, which is returned.

        :param directory: of signs of life; None: there is none, and nothing is known of a watch before
        :param by: what records say of the policy
        """
        self._directory, self._boot, self._has_begun = directory, boot, True
        before = self._read()
        self._tell(model.WATCH_STARTED, 'running domains are watched from now on, by virt-guard %s' % __version__, by)
        self._sign = time.monotonic()
        self._leave('')
        if before is None:
            return None
        since = host.shown_time(before.lived)
        self._unwatched(since, _why(before, boot), by)
        return since, host.now()

    def reload(self, by: 'journal.Fields') -> None:
        """Record that the watch has begun anew, because somebody told it to."""
        text = 'running domains are watched anew: the watch was told to reload'
        self._tell(model.WATCH_STARTED, text, [('VIRT_GUARD_CAUSE', 'reload'), *by])

    def live(self, by: 'journal.Fields') -> None:
        """Leave a sign of life; record if the last one is older than it should be."""
        now = time.monotonic()
        silent, self._sign = now - self._sign, now
        if silent > _SILENT:
            self._unwatched(host.shown_time(time.time() - silent), _FROZEN, by)
        if self._directory is not None:
            try:
                os.utime(os.path.join(self._directory, NAME), follow_symlinks=False)
                self._failure = ''
            except OSError:
                self._leave('')

    def lose(self, cause: str) -> None:
        """Note that from now on not every domain can be observed."""
        if self._lost is None:
            self._lost = host.now(), cause

    def regain(self, by: 'journal.Fields') -> None:
        """Record from when to when that was so, if it was."""
        if self._lost is not None:
            (since, cause), self._lost = self._lost, None
            self._unwatched(since, cause, by, 'not all that happened to running domains was seen')

    def end(self, cause: str, by: 'journal.Fields') -> None:
        """Record that the watch ends, if it has begun.

        :param cause: a signal, or an error
        """
        if not self._has_begun:
            return
        self.regain(by)
        self._leave(cause)
        text = 'running domains are no longer watched: the watch has ended (%s)' % cause
        self._tell(model.WATCH_STOPPED, text, [('VIRT_GUARD_CAUSE', cause), *by])

    def _unwatched(
        self, since: str, cause: str, by: 'journal.Fields', what: str = 'nobody watched running domains'
    ) -> None:
        until = host.now()
        text = '%s from %s to %s: %s' % (what, since, until, cause)
        if since > until:
            text += '; the clock was set back'
        fields = [('VIRT_GUARD_SINCE', since), ('VIRT_GUARD_UNTIL', until), ('VIRT_GUARD_CAUSE', cause)]
        self._tell(model.UNWATCHED, text, fields + by)

    def _tell(self, kind: str, text: str, fields: 'journal.Fields') -> None:
        self._record(journal.own_fields(kind, text) + [('VIRT_GUARD_OPERATION', 'watch'), *fields])

    def _read(self) -> 'Optional[LastWatch]':
        if self._directory is None:
            return None
        try:
            return read_last_watch(self._directory)
        except (OSError, ValueError) as error:
            self._warn('%s is left out: %s' % (os.path.join(self._directory, NAME), error))
            return None

    def _leave(self, ended: str) -> None:
        if self._directory is None:
            return
        path = os.path.join(self._directory, NAME)
        try:
            write_kept(path, _FORMAT, {'boot': self._boot, 'ended': ended}, durable=True)
            self._failure = ''
        except OSError as error:
            failure = '%s cannot be written: %s' % (path, error.strerror)
            if failure != self._failure:
                self._warn(failure)
            self._failure = failure


def _why(before: LastWatch, boot: str) -> str:
    is_booted = before.boot != boot
    if not before.ended:
        return _WENT_DOWN if is_booted else _KILLED
    why = 'the watch had ended (%s)' % before.ended
    return _BOOTED % why if is_booted else why
