# SPDX-License-Identifier: Apache-2.0
"""Audit records: fields, and the sinks that take them (journald, else syslog, else a file).

Speaks journald's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) itself, through `_socket`: the socket
module and python3-systemd both cost more time than the rest of the record.
"""

import posix  # not os: see the import budget in hook/call
import time

from . import wording
from .verdict import (
    ADMIT,
    COMPILED,
    DENY,
    ERROR,
    EXPIRY,
    GUARD_CHANGED,
    HAPPENED,
    POLICY_CHANGED,
    UNKNOWN,
    UNWATCHED,
    WAIVED,
    WARN,
    WATCH_STARTED,
    WATCH_STOPPED,
    WOULD_DENY,
    Verdict,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from .model import Finding, Occurrence

    Fields = List[Tuple[str, str]]

# Fixed for ever: administrators filter by them (journalctl MESSAGE_ID=...).
MESSAGE_IDS = {
    ADMIT: '23879d3fea7b48338d22c201c6577e2a',
    DENY: '493275d39ad54c669c33d8328bff1447',
    WOULD_DENY: '26094ee951604dfc931e71473e1c5bc3',
    ERROR: 'f5fed29b16764425ac01972c7559af07',
    HAPPENED: '56f3aa9fc0884aca888aa25eb2ec6229',
    POLICY_CHANGED: '8a207a7f96844ca98aa39f027b04ad4a',
    COMPILED: 'b00b97a388434e8c88f63cb62c1fffbd',
    GUARD_CHANGED: '0663a4e211e84c2bbcef5dba4d777625',
    WATCH_STARTED: '2b48c9f11dc7459db3bc076f7810f2b1',
    WATCH_STOPPED: '1fbf7b9595d64dc282c3504342606a4f',
    UNWATCHED: 'fb2e0122d284473581aedf66150985be',
    EXPIRY: 'a98fdc1ae51b411692abc70f35674db7',
}
PRIORITIES = {
    ADMIT: 6,
    DENY: 4,
    WOULD_DENY: 4,
    ERROR: 3,
    HAPPENED: 4,
    POLICY_CHANGED: 5,
    COMPILED: 6,
    GUARD_CHANGED: 5,
    WATCH_STARTED: 5,
    WATCH_STOPPED: 5,
    UNWATCHED: 4,
    EXPIRY: 4,
}

_SOCKET_TIMEOUT = 0.5  # seconds; a stopped daemon must not hold up a start
_FACILITY_DAEMON = 3
_MAX_VALUE = 2048  # characters; names and paths come from the domain
# So that a record fits into a datagram (net.core.wmem_default: 208 KiB), however the elements are called.
_MAX_FINDINGS = 64
_MAX_FINDING = 512
# Which findings go first where there is no room for all.
_ORDER = (DENY, ERROR, UNKNOWN, WARN, WAIVED)


def verdict_fields(verdict: Verdict) -> 'Fields':
    """The fields that a verdict fills. No XML, and of its values only the domain's name and UUID."""
    mode = verdict.policy.mode
    fields = _head(verdict.outcome, wording.headline(verdict, mode))
    fields.append(('VIRT_GUARD_UUID', verdict.uuid))
    by_weight = sorted(verdict.findings, key=lambda finding: _ORDER.index(finding.status))
    findings = by_weight if len(by_weight) > _MAX_FINDINGS else verdict.findings
    fields += [('VIRT_GUARD_RULE', id) for id in dict.fromkeys(finding.rule.id for finding in by_weight)]
    fields += [('VIRT_GUARD_DENIED', id) for id in verdict.rule_ids(DENY)]
    fields += [('VIRT_GUARD_FINDING', value) for finding in findings[:_MAX_FINDINGS] for value in _told(finding)]
    left = sum(1 + finding.more for finding in findings[_MAX_FINDINGS:])
    if left:
        fields.append(('VIRT_GUARD_FINDING', 'and %d more' % left))
    return fields + _waiver_fields(verdict) + verdict.policy.fields()


def _waiver_fields(verdict: Verdict) -> 'Fields':
    waived = [f for f in verdict.findings if f.status == WAIVED and f.waiver is not None]
    if not waived:
        return []
    from . import waivers  # most domains need none

    used = {(f.rule.id, f.waiver.origin): f.waiver for f in waived if f.waiver is not None}
    fields = []
    for (rule, _), waiver in used.items():
        fields.append(('VIRT_GUARD_WAIVER', '%s %s' % (rule, waivers.describe(waiver, verdict.today))))
        if waivers.expires_soon(waiver, verdict.today):
            fields.append(('VIRT_GUARD_WARNING', 'the waiver of %s expires on %s' % (rule, waiver.expires)))
    return fields


def runtime_fields(occurrence: 'Occurrence', verdict: Verdict) -> 'Fields':
    """The fields of a record of one thing that happened to a running domain, or to the host; `verdict` judges only
    this."""
    return _head(HAPPENED, wording.happening(occurrence, verdict)) + [
        ('VIRT_GUARD_DOMAIN', verdict.domain_name),
        ('VIRT_GUARD_UUID', verdict.uuid),
        ('VIRT_GUARD_OPERATION', 'watch'),
        ('VIRT_GUARD_RULE', occurrence.finding.rule.id),
        *(('VIRT_GUARD_FINDING', value) for value in _told(occurrence.finding)),
        ('VIRT_GUARD_SINCE', occurrence.since),
        ('VIRT_GUARD_BEFORE', occurrence.before),
        ('VIRT_GUARD_AFTER', occurrence.after),
        *_waiver_fields(verdict),
        *verdict.policy.fields(),
    ]


def _told(finding: 'Finding') -> 'List[str]':
    """A finding, and as a second value how many more there are like it."""
    kind = '%s %s' % (finding.status, finding.rule.id)
    values = [
        '%s %s%s' % (kind, _bounded(finding.path, _MAX_FINDING), finding.line and ' line %d' % finding.line or '')
    ]
    return values + (['%s %s' % (kind, wording.others(finding))] if finding.more else [])


def failure_fields(message: str, outcome: str = ERROR) -> 'Fields':
    """The fields of a record which says that no verdict could be reached, and what was answered then."""
    return _head(outcome, message)


def expiry_fields(message: str, matters: bool) -> 'Fields':
    """The first fields of a record which says that something in the policy ends soon.

    :param matters: whether a domain on this host would be refused then, as far as that is known
    """
    fields = _head(EXPIRY, message)
    return fields if matters else [(name, '6' if name == 'PRIORITY' else value) for name, value in fields]


def own_fields(kind: str, message: str) -> 'Fields':
    """The first fields of a record of the guard itself, such as POLICY_CHANGED."""
    return _head(kind, message)


def _head(outcome: str, message: str) -> 'Fields':
    return [
        ('MESSAGE', message),
        ('MESSAGE_ID', MESSAGE_IDS[outcome]),
        ('PRIORITY', str(PRIORITIES[outcome])),
        ('SYSLOG_IDENTIFIER', wording.PROGRAM),
        ('VIRT_GUARD_DECISION', outcome),
    ]


class Sinks:
    """Where records go: to journald, else to syslog, else to a file. Paths are fixed at install time."""

    def __init__(self, log_file: str, journal: str = '/run/systemd/journal/socket', syslog: str = '/dev/log') -> None:
        self._log_file = log_file
        self._journal = journal
        self._syslog = syslog

    def send(self, fields: 'Fields') -> 'Optional[str]':
        """Hand one record to a sink.

        :returns: the name of the sink that took it, None if all have failed; a broken sink raises nothing
        """
        fields = [(name, _bounded(value)) for name, value in fields if value]
        for sink, write in (('journal', self._to_journal), ('syslog', self._to_syslog), ('file', self._to_file)):
            try:
                write(fields)
            except OSError:
                continue
            return sink
        return None

    def _to_journal(self, fields: 'Fields') -> None:
        _send_datagram(self._journal, b''.join(_native(name, value) for name, value in fields))

    def _to_syslog(self, fields: 'Fields') -> None:
        priority = _FACILITY_DAEMON * 8 + int(dict(fields)['PRIORITY'])
        _send_datagram(
            self._syslog, b'<%d>%s[%d]: ' % (priority, wording.PROGRAM.encode(), posix.getpid()) + _line(fields)
        )

    def _to_file(self, fields: 'Fields') -> None:
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
        descriptor = posix.open(self._log_file, flags, 0o600)
        try:
            stamp = time.strftime('%Y-%m-%dT%H:%M:%S%z').encode()
            line = stamp + b' ' + _line(fields) + b'\n'
            if posix.write(descriptor, line) != len(line):
                raise OSError('the log file took a part of the record')
        finally:
            posix.close(descriptor)


def _bounded(value: str, limit: int = _MAX_VALUE) -> str:
    return value if len(value) <= limit else value[: limit - 3] + '...'


def _native(name: str, value: str) -> bytes:
    data = value.encode('utf-8', 'surrogateescape')
    if value.isprintable():
        return b'%s=%s\n' % (name.encode(), data)
    return b'%s\n%s%s\n' % (name.encode(), len(data).to_bytes(8, 'little'), data)


def _line(fields: 'Fields') -> bytes:
    """One line for a sink that has no fields: the message, then the fields that are ours."""
    extra = ['%s=%s' % (name, value) for name, value in fields if name.startswith('VIRT_GUARD_')]
    return wording.ascii_only(wording.escape(' '.join([dict(fields)['MESSAGE']] + extra))).encode()


def _send_datagram(path: str, data: bytes) -> None:
    import _socket  # only when a record is sent

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_SOCKET_TIMEOUT)
        connection.connect(path)
        connection.send(data)
    finally:
        connection.close()
