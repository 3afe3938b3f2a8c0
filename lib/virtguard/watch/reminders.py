# SPDX-License-Identifier: Apache-2.0
"""Reminds of what in the policy ends soon, on certain days before, each time once, also if the watch is started again.

Which domains would be refused then is found out in a process of its own: there may be many.
"""

import os
from functools import partial

from ..errors import GuardError
from .expiry import due, upcoming
from .kept_file import read_kept, write_kept
from .limited import Apart
from .refusals import refusals_after
from .reminder import Reminder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

    from ..policy.installation import Installation
    from .auditor import Auditor
    from .expiry import Expiry
    from .refusals import Refusals

NAME = 'told-expiries'
_FORMAT = b'virt-guard told expiries 1'
_MOST_TOLD = 10000
# For the verdicts on all domains of a host.
_PROCESSOR_SECONDS = 120.0
_SECONDS = 600.0


class Reminders:
    """`tell` gets each reminder once. What was told is kept in `directory`, if there is one.

    :param warn: gets a line about what is amiss
    """

    def __init__(
        self,
        installation: 'Installation',
        directory: 'Optional[str]',
        tell: 'Callable[[Reminder], None]',
        warn: 'Callable[[str], None]',
    ) -> None:
        self._installation = installation
        self._path = None if directory is None else os.path.join(directory, NAME)
        self._tell = tell
        self._warn = warn
        self._apart: 'Optional[Apart]' = None
        self._waiting: 'Tuple[Sequence[Expiry], Optional[Auditor]]' = ((), None)
        self._told: 'Dict[str, None]' = dict.fromkeys(self._load())  # the last one last

    def look(self, auditor: 'Auditor') -> None:
        """See whether there is something to tell by this policy, on its day."""
        self.close()
        expiries = due(auditor.policy, auditor.today, self._told)
        if not expiries:
            return
        self._waiting = expiries, auditor
        try:
            self._apart = _start(expiries, self._installation, auditor)
        except OSError as error:
            self._finish([(([], []), 'no process can be started: %s' % error.strerror)] * len(expiries))

    def descriptors(self) -> 'List[int]':
        """Descriptors that are readable when there is something to collect."""
        return [] if self._apart is None else [self._apart.fileno()]

    def collect(self) -> None:
        """Tell what was found out meanwhile."""
        if self._apart is None or not self._apart.take():
            return
        apart, self._apart = self._apart, None
        self._finish(_answers(apart, len(self._waiting[0])))

    def close(self) -> None:
        """Give up what is being found out; the next look begins anew."""
        if self._apart is not None:
            self._apart.kill()
            self._apart = None

    def _finish(self, answers: 'Sequence[Tuple[Refusals, str]]') -> None:
        expiries, auditor = self._waiting
        assert auditor is not None
        for expiry, (refusals, unknown) in zip(expiries, answers):
            self._tell(Reminder(expiry, refusals, auditor.policy, auditor.today, unknown))
            self._told.update(dict.fromkeys(expiry.ids()))
        self._waiting = (), None
        self._keep()

    def _load(self) -> 'List[str]':
        if self._path is None:
            return []
        try:
            return [str(id) for id in read_kept(self._path, _FORMAT)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            self._warn('%s is left out: %s' % (self._path, error))
            return []

    def _keep(self) -> None:
        if self._path is None:
            return
        self._told = dict.fromkeys(list(self._told)[-_MOST_TOLD:])
        try:
            write_kept(self._path, _FORMAT, list(self._told), durable=True)
        except OSError as error:
            self._warn('%s cannot be written: %s; what it is about may be told again' % (self._path, error.strerror))


def reminders_now(installation: 'Installation', auditor: 'Auditor') -> 'Iterator[Reminder]':
    """What ends within a fortnight, whether it has been told or not."""
    expiries = upcoming(auditor.policy, auditor.today)
    if not expiries:
        return
    try:
        apart = _start(expiries, installation, auditor)
    except OSError as error:
        raise GuardError('no process can be started: %s' % error.strerror) from None
    os.set_blocking(apart.fileno(), True)
    apart.take()
    for expiry, (refusals, unknown) in zip(expiries, _answers(apart, len(expiries))):
        yield Reminder(expiry, refusals, auditor.policy, auditor.today, unknown)


def _start(expiries: 'Sequence[Expiry]', installation: 'Installation', auditor: 'Auditor') -> Apart:
    return Apart(partial(_find_out, expiries, installation, auditor), _PROCESSOR_SECONDS, _SECONDS)


def _find_out(expiries: 'Sequence[Expiry]', installation: 'Installation', auditor: 'Auditor') -> 'List[Refusals]':
    return [refusals_after(expiry.day, expiry.ends_audit, installation, auditor) for expiry in expiries]


def _answers(apart: Apart, number: int) -> 'List[Tuple[Refusals, str]]':
    try:
        return [(refusals, '') for refusals in apart.answer()]
    except GuardError as error:
        return [(([], []), str(error))] * number
