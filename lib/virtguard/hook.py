# SPDX-License-Identifier: Apache-2.0
"""libvirt's qemu hook: argv and stdin in; stderr, an exit status and an audit record out.

Import budget: this module and what it imports at the top are paid at every start of every domain. So no argparse,
json, logging, pathlib, re, signal, socket, subprocess or typing, and not even os, which costs an eighth of the
interpreter's start; posix and _signal are what it and signal are made of. Only the worker imports yaml and lxml.
"""

import _signal
import posix
import sys
import time

from . import model
from .compiled import load_compiled
from .errors import DomainXMLError, Expired, GuardError, describe_defect
from .host import read_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence

JUDGED = ('prepare', 'start')
ADMITTED, DENIED, UNDECIDED = 0, 1, 2

_STAGES = {
    'policy': 'reading the policy',
    'xml': 'reading the domain XML from standard input',
    'judging': 'judging',
}


def main(arguments: 'Sequence[str]', policy_path: str, log_file: str) -> int:
    """Answer one call of libvirt.

    :param arguments: domain name, operation, sub-operation, extra; more or fewer are tolerated
    :returns: ADMITTED, DENIED or UNDECIDED, the hook's exit status
    """
    call = _Call(arguments, policy_path, log_file)
    if call.operation not in JUDGED:
        return ADMITTED
    _occupy_standard_descriptors()
    _signal.signal(_signal.SIGALRM, call.expire)
    try:
        try:
            call.arm()
            result = call.judge()
        finally:
            call.disarm()
    except Expired:
        return call.fail('the deadline of %g seconds passed while %s' % (call.settings['deadline'], call.stage))
    except GuardError as error:
        return call.fail(error.message, error.hint)
    except Exception as error:  # a defect of the guard must neither open the door nor show a traceback
        return call.fail('internal error while %s: %s' % (call.stage, describe_defect(error)))
    return call.conclude(result)


def _text(argument: str) -> str:
    """An argument as UTF-8, whatever Python has taken it for: 3.6 decodes it as ASCII under libvirt's LC_ALL=C."""
    return argument.encode(sys.getfilesystemencoding(), 'surrogateescape').decode('utf-8', 'surrogateescape')


def _occupy_standard_descriptors() -> None:
    """Where the caller left 0, 1 or 2 closed, let no file of ours take its place."""
    for descriptor in (0, 1, 2):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open('/dev/null', posix.O_RDWR)


class _Call:
    """One call of the hook, from its arguments to its exit status."""

    def __init__(self, arguments: 'Sequence[str]', policy_path: str, log_file: str) -> None:
        self._started = time.monotonic()
        name, self.operation = [_text(a) for a in (*arguments, '', '')[:2]]
        self._name = name
        self._policy_path = policy_path
        self._log_file = log_file
        self._xml = b''  # where it was read here, and not by the worker
        self._xml_sha256 = ''
        self._policy_fields: 'List[Any]' = []
        self._warning = ''
        self._armed = False
        self.settings: 'Dict[str, Any]' = dict(model.DEFAULT_SETTINGS)
        self.stage = 'starting'

    def arm(self) -> None:
        """Start the deadline, or move it to where the settings say."""
        self._armed = True
        left = self.settings['deadline'] - (time.monotonic() - self._started)
        _signal.setitimer(_signal.ITIMER_REAL, max(left, 0.001))

    def disarm(self) -> None:
        self._armed = False  # a signal may be on its way already
        _signal.setitimer(_signal.ITIMER_REAL, 0)

    def expire(self, number: int, frame: object) -> None:
        """Handle the deadline's signal."""
        if self._armed:
            raise Expired

    def judge(self) -> 'Dict[str, Any]':
        """Reach a verdict: here, where the compiled policy shows that no rule can match, else in a worker process.

        :returns: the result, see worker.ask
        """
        self.advance({'stage': 'policy'})
        compiled, self._warning = load_compiled(self._policy_path)
        if compiled is None:
            return self._ask_worker()
        self.advance({'stage': 'xml', 'settings': compiled.policy.settings(), 'fields': compiled.policy.fields()})
        xml = self._xml = read_domain()
        self.advance({'stage': 'judging'})
        host = read_facts(compiled.facts)
        verdict, candidates = compiled.judge(xml, host)
        if verdict is None:
            return self._ask_worker(compiled.narrowed(candidates), xml, host)
        if self.operation != 'start':
            return {'outcome': model.ADMIT}  # `start` follows, and is recorded
        from .journal import verdict_fields

        return {'outcome': model.ADMIT, 'fields': verdict_fields(verdict)}

    def _ask_worker(self, *prepared: 'Any') -> 'Dict[str, Any]':
        from . import worker

        task = worker.Task(self._policy_path, read_domain, *prepared)
        return worker.ask(task, self.advance)

    def advance(self, message: 'Dict[str, Any]') -> None:
        """Note what is being done, and what was found out on the way."""
        self.stage = _STAGES[message['stage']]
        self._xml_sha256 = message.get('xml_sha256', self._xml_sha256)
        self._policy_fields = message.get('fields', self._policy_fields)
        if 'settings' in message:
            self.settings.update(message['settings'])
            self.arm()

    def conclude(self, result: 'Dict[str, Any]') -> int:
        """Record the verdict and answer libvirt."""
        outcome = result['outcome']
        status = {model.DENY: DENIED, model.ERROR: self._undecided()}.get(outcome, ADMITTED)
        recorded = not self._is_to_be_recorded(status) or self._record(result['fields'])
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        note = '' if recorded else '  note: no audit record could be written\n'
        _write_stderr(result['text'] + note)
        return status

    def fail(self, reason: str, hint: str = '') -> int:
        """Answer without a verdict, as the policy's `failure` says."""
        from . import journal, report

        status = self._undecided()
        answer = 'admitted' if status == ADMITTED else 'refused'
        message = "domain '%s' could not be judged and is %s: %s" % (
            report.escape(self._name),
            answer,
            report.escape(reason),
        )
        fields = journal.failure_fields(message) + self._policy_fields
        recorded = not self._is_to_be_recorded(status) or self._record(fields)
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        _write_stderr(report.failure(self._name, reason, hint))
        return status

    def _is_to_be_recorded(self, status: int) -> bool:
        """One start, one record: `start` follows an admission at `prepare`, and judges again."""
        return status != ADMITTED or self.operation == 'start'

    def _undecided(self) -> int:
        return ADMITTED if self.settings['failure'] == 'admit' else UNDECIDED

    def _record(self, fields: 'List[Any]') -> bool:
        from . import journal  # most calls record nothing
        from .digest import sha256_hex

        elapsed = int((time.monotonic() - self._started) * 1000000)
        fields = list(fields) + [
            ('VIRT_GUARD_DOMAIN', self._name),
            ('VIRT_GUARD_OPERATION', self.operation),
            ('VIRT_GUARD_XML_SHA256', self._xml_sha256 or (sha256_hex(self._xml) if self._xml else '')),
            ('VIRT_GUARD_ELAPSED_USEC', str(elapsed)),
            ('VIRT_GUARD_WARNING', self._warning),
        ]
        return journal.Sinks(self._log_file).send(fields) is not None

    def _refuse_unrecorded(self) -> int:
        from . import report

        reason = 'no audit record could be written, and the policy requires one'
        _write_stderr(report.failure(self._name, reason, 'start systemd-journald'))
        return UNDECIDED


def read_domain() -> bytes:
    """The XML that libvirt writes to standard input.

    :raises DomainXMLError: it is too large
    """
    chunks: 'List[bytes]' = []
    size = 0
    while size <= model.MAX_XML_BYTES:
        chunk = posix.read(0, 1 << 16)
        if not chunk:
            return b''.join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    raise DomainXMLError('the XML is larger than %d MiB' % (model.MAX_XML_BYTES >> 20))


def _write_stderr(text: str) -> None:
    data = text.encode('ascii', 'backslashreplace')
    try:
        posix.write(2, data)
    except OSError:
        return  # nobody listens; the exit status and the record still say it
