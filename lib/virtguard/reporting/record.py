# SPDX-License-Identifier: Apache-2.0
"""One record as plain data: what the fields of a journal entry say, cut to what a report shows. Pure: no I/O.

Whoever defines a domain chooses its name, and any process may call itself virt-guard: only what journald itself has
noted (the fields with an underscore before their names) can be relied on.
"""

from sys import intern

from ..health.journal_reader import received, text_of, time_of, values_of
from ..wording import PROGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from ..health.journal_reader import Record as Fields

# systemd's own id of "Suppressed N messages from UNIT".
DROPPED_ID = 'a596d6fe7bfa4994828e72309e95d61e'
_ROOT = '0'
_MAX_NAME = 256  # characters
_MAX_TEXT = 600
_MAX_VALUES = 8  # of a field that may be repeated
_MAX_DIGITS = 18
_END = 2.0**35  # seconds; the year 3058


class Record:
    """`host` is the machine's id, `moment` in seconds since the epoch, `stored` that of journald's own clock.

    `run` are the boot and the time since then: two records of one process that are alike in it are one.
    What many records have in common is kept once: of each row of a report, one is kept.
    """

    __slots__ = (
        'is_of_guard',
        'host',
        'hostname',
        'moment',
        'stored',
        'boot',
        'since_boot',
        'run',
        'decision',
        'domain',
        'uuid',
        'operation',
        'rules',
        'denied',
        'findings',
        'waivers',
        'warnings',
        'mode',
        'policy',
        'policy_sha256',
        'xml_sha256',
        'message',
        'event',
        'change',
        'version',
        'user',
        'file',
        'before',
        'after',
        'since',
        'until',
        'cause',
    )

    def __init__(self, fields: 'Fields') -> None:
        """
        :raises ValueError, KeyError: an entry of a journal would say when it was written
        """
        self.is_of_guard = is_of_guard(fields)
        self.moment = time_of(fields)
        self.stored = received(fields)
        if not (0 <= self.moment < _END and 0 <= self.stored < _END):
            raise ValueError('no clock of a host shows such a time')
        self.host = intern(cut(text_of(fields, '_MACHINE_ID'), 64))
        self.hostname = intern(cut(text_of(fields, '_HOSTNAME'), 64))
        self.boot = intern(cut(text_of(fields, '_BOOT_ID'), 64))
        monotonic = text_of(fields, '__MONOTONIC_TIMESTAMP')
        self.since_boot = int(monotonic) / 1000000 if monotonic.isdigit() and len(monotonic) < _MAX_DIGITS else None
        self.run = (self.boot, cut(text_of(fields, '_PID'), 64), cut(monotonic, 64))
        self.decision = intern(cut(text_of(fields, 'VIRT_GUARD_DECISION'), 64))
        self.domain = intern(cut(text_of(fields, 'VIRT_GUARD_DOMAIN'), _MAX_NAME))
        self.uuid = intern(cut(text_of(fields, 'VIRT_GUARD_UUID'), 36))
        self.operation = intern(cut(text_of(fields, 'VIRT_GUARD_OPERATION'), 64))
        self.rules = _few(fields, 'VIRT_GUARD_RULE')
        self.denied = _few(fields, 'VIRT_GUARD_DENIED')
        self.findings = _few(fields, 'VIRT_GUARD_FINDING')
        self.waivers = _few(fields, 'VIRT_GUARD_WAIVER')
        self.warnings = _few(fields, 'VIRT_GUARD_WARNING')
        self.mode = intern(cut(text_of(fields, 'VIRT_GUARD_MODE'), 16))
        self.policy = intern(cut(text_of(fields, 'VIRT_GUARD_POLICY'), 64))
        self.policy_sha256 = intern(cut(text_of(fields, 'VIRT_GUARD_POLICY_SHA256'), 64))
        self.xml_sha256 = intern(cut(text_of(fields, 'VIRT_GUARD_XML_SHA256'), 64))
        self.message = cut(text_of(fields, 'MESSAGE'), _MAX_TEXT)
        self.event = text_of(fields, 'VIRT_GUARD_EVENT')[:64]
        self.change = cut(text_of(fields, 'VIRT_GUARD_CHANGE'), 64)
        self.version = cut(text_of(fields, 'VIRT_GUARD_VERSION'), 64)
        self.user = cut(text_of(fields, 'VIRT_GUARD_USER'), 64)
        self.file = cut(text_of(fields, 'VIRT_GUARD_FILE'), _MAX_NAME)
        self.before = cut(text_of(fields, 'VIRT_GUARD_FILE_SHA256_BEFORE'), 64)
        self.after = cut(text_of(fields, 'VIRT_GUARD_FILE_SHA256'), 64)
        self.since = cut(text_of(fields, 'VIRT_GUARD_SINCE'), 32)
        self.until = cut(text_of(fields, 'VIRT_GUARD_UNTIL'), 32)
        self.cause = cut(text_of(fields, 'VIRT_GUARD_CAUSE'), _MAX_TEXT)


def is_of_guard(fields: 'Fields') -> bool:
    """Whether an entry says that it is of the guard."""
    return PROGRAM in values_of(fields, 'SYSLOG_IDENTIFIER')


def is_of_root(fields: 'Fields') -> 'Optional[bool]':
    """Whether root has sent an entry, as journald has seen; None where it does not say."""
    sender = text_of(fields, '_UID')
    return sender == _ROOT if sender else None


def is_of_dropped(fields: 'Fields') -> bool:
    """Whether journald tells in it that it has dropped messages."""
    by_journald = text_of(fields, '_TRANSPORT') == 'driver' or text_of(fields, '_COMM').startswith('systemd-journal')
    return by_journald and text_of(fields, 'MESSAGE_ID') == DROPPED_ID


def _few(fields: 'Fields', name: str) -> 'Tuple[str, ...]':
    values = values_of(fields, name)
    kept = tuple(intern(cut(value, _MAX_TEXT)) for value in values[:_MAX_VALUES])
    more = len(values) - len(kept)
    return kept if not more else (*kept, 'and %d more' % more)


def cut(text: str, limit: int) -> str:
    """A text of at most so many characters, whoever has chosen it."""
    return text if len(text) <= limit else text[: limit - 1] + '…'
