# SPDX-License-Identifier: Apache-2.0
"""libvirt's qemu hook: argv and stdin in; stderr, an exit status and an audit record out.

Import budget: this module and what it imports at the top are paid at every start of every domain. So no argparse,
json, logging, pathlib, signal, socket, subprocess or typing; yaml and lxml are imported only by the worker.

Judging runs in a worker process, because a deadline must also hold inside C code (a pathological expression) and
inside the kernel (a probe on a dead device), where no signal handler runs. The worker has none of libvirt's file
descriptors, so it can be killed, or abandoned where even that does not help.
"""

import _signal
import marshal
import os
import time

from . import journal, model, report
from .digest import sha256_hex
from .errors import DomainXMLError, GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

    from .model import Policy

JUDGED = ('prepare', 'start')
ADMITTED, DENIED, UNDECIDED = 0, 1, 2

_WORKER_LIFETIME = 120.0  # seconds: an end for a worker whose parent was killed


class _Expired(BaseException):
    """The deadline has passed. Not an Exception, so that nothing on the way takes it for its own."""


def main(arguments: 'Sequence[str]', policy_path: str, log_file: str) -> int:
    """Answer one call of libvirt.

    :param arguments: domain name, operation, sub-operation, extra; more or fewer are tolerated
    :returns: ADMITTED, DENIED or UNDECIDED, the hook's exit status
    """
    call = _Call(arguments, policy_path, journal.Sinks(log_file))
    if call.operation not in JUDGED:
        return ADMITTED
    _signal.signal(_signal.SIGALRM, _expire)
    try:
        try:
            call.arm()
            call.read_domain()
            result = call.judge()
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
    except _Expired:
        return call.fail('the deadline of %g seconds passed while %s' % (call.settings['deadline'], call.stage))
    except GuardError as error:
        return call.fail(error.message, error.hint)
    except Exception as error:  # a defect of the guard must neither open the door nor show a traceback
        return call.fail('internal error while %s: %s' % (call.stage, describe_defect(error)))
    return call.conclude(result)


def _expire(number: int, frame: object) -> None:
    raise _Expired


def describe_defect(error: BaseException) -> str:
    """An unexpected exception on one line, with the place in the code that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = '%s:%d' % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace else '?'
    return '%s: %s (%s)' % (type(error).__name__, error, place)


class _Call:
    """One call of the hook, from its arguments to its exit status."""

    def __init__(self, arguments: 'Sequence[str]', policy_path: str, sinks: journal.Sinks) -> None:
        self._started = time.monotonic()
        # Python 3.6 decodes arguments as ASCII under libvirt's LC_ALL=C.
        name, self.operation = [os.fsencode(a).decode('utf-8', 'surrogateescape') for a in (*arguments, '', '')[:2]]
        self._name = name
        self._policy_path = policy_path
        self._sinks = sinks
        self._xml = b''
        self.settings: 'Dict[str, Any]' = dict(model.DEFAULT_SETTINGS)
        self.stage = 'starting'

    def arm(self) -> None:
        """Start the deadline, or move it to where the settings say."""
        left = self.settings['deadline'] - (time.monotonic() - self._started)
        _signal.setitimer(_signal.ITIMER_REAL, max(left, 0.001))

    def read_domain(self) -> None:
        self.stage = 'reading the domain XML from standard input'
        chunks: 'List[bytes]' = []
        size = 0
        while size <= model.MAX_XML_BYTES:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                self._xml = b''.join(chunks)
                return
            chunks.append(chunk)
            size += len(chunk)
        raise DomainXMLError('the XML is larger than %d MiB' % (model.MAX_XML_BYTES >> 20))

    def judge(self) -> 'Dict[str, Any]':
        """Let a worker judge; apply the settings as soon as it has read them.

        :returns: the worker's result, see _result
        """
        self.stage = 'judging'
        reader, writer = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(reader)
            _run_worker(writer, self._policy_path, self._xml)
        os.close(writer)
        result: 'Optional[Dict[str, Any]]' = None
        try:
            with open(reader, 'rb', buffering=0) as pipe:
                result = self._follow(pipe)
            _, status = os.waitpid(worker, 0)
        except _Expired:
            os.kill(worker, _signal.SIGKILL)
            os.waitpid(worker, os.WNOHANG)
            raise
        if result is None:
            ending = 'by signal %d' % (status & 0x7F) if status & 0x7F else 'with exit status %d' % (status >> 8)
            raise GuardError('the judging process ended %s' % ending)
        if 'failed' in result:
            raise GuardError(result['failed'], result['hint'])
        return result

    def _follow(self, pipe: 'Any') -> 'Optional[Dict[str, Any]]':
        result = None
        received = b''
        while True:
            chunk = pipe.read(1 << 16)
            if not chunk:
                return result
            received += chunk
            while len(received) >= 4 and len(received) >= 4 + int.from_bytes(received[:4], 'little'):
                end = 4 + int.from_bytes(received[:4], 'little')
                result = marshal.loads(received[4:end])
                received = received[end:]
                if 'settings' in result:
                    self.settings.update(result['settings'])
                    self.arm()
                    result = None

    def conclude(self, result: 'Dict[str, Any]') -> int:
        """Record the verdict and answer libvirt."""
        outcome = result['outcome']
        status = {journal.DENIED: DENIED, journal.FAILED: self._undecided()}.get(outcome, ADMITTED)
        # One start, one record: `start` follows an admission at `prepare`.
        recorded = True
        if status != ADMITTED or outcome == journal.FAILED or self.operation == 'start':
            recorded = self._record(result['fields'])
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        note = '' if recorded else '  note: no audit record could be written\n'
        _write_stderr(result['text'] + note)
        return status

    def fail(self, reason: str, hint: str = '') -> int:
        """Answer without a verdict, as the policy's `failure` says."""
        status = self._undecided()
        answer = 'admitted' if status == ADMITTED else 'refused'
        message = "domain '%s' could not be judged and is %s: %s" % (
            report.escape(self._name),
            answer,
            report.escape(reason),
        )
        recorded = self._record(journal.failure_fields(message))
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        _write_stderr(report.failure(self._name, reason, hint))
        return status

    def _undecided(self) -> int:
        return ADMITTED if self.settings['failure'] == 'admit' else UNDECIDED

    def _record(self, fields: 'List[Any]') -> bool:
        elapsed = int((time.monotonic() - self._started) * 1000000)
        fields = list(fields) + [
            ('VIRT_GUARD_DOMAIN', self._name),
            ('VIRT_GUARD_OPERATION', self.operation),
            ('VIRT_GUARD_XML_SHA256', sha256_hex(self._xml) if self._xml else ''),
            ('VIRT_GUARD_ELAPSED_USEC', str(elapsed)),
        ]
        return self._sinks.send(fields) is not None

    def _refuse_unrecorded(self) -> int:
        reason = 'no audit record could be written, and the policy requires one'
        _write_stderr(report.failure(self._name, reason, 'start systemd-journald'))
        return UNDECIDED


def _write_stderr(text: str) -> None:
    data = text.encode('ascii', 'backslashreplace')
    try:
        os.write(2, data)
    except OSError:
        return  # nobody listens; the exit status and the record still say it


def _run_worker(writer: int, policy_path: str, xml: bytes) -> None:
    """Judge, write the results to the pipe, and end: this never returns."""
    status = 1
    try:
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
        _signal.setitimer(_signal.ITIMER_REAL, _WORKER_LIFETIME)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        _send(writer, _result(writer, policy_path, xml))
        status = 0
    finally:
        os._exit(status)


def _send(writer: int, message: 'Dict[str, Any]') -> None:
    data = marshal.dumps(message)
    data = len(data).to_bytes(4, 'little') + data
    while data:
        data = data[os.write(writer, data) :]


def _result(writer: int, policy_path: str, xml: bytes) -> 'Dict[str, Any]':
    """What the worker found: {outcome, text, fields}, or {failed, hint}. Settings are sent on their own, before."""
    try:
        policy = _load_policy(writer, policy_path)
        return _judge(policy, xml)
    except GuardError as error:
        return {'failed': error.message, 'hint': error.hint}
    except Exception as error:  # as in main()
        return {'failed': 'internal error: %s' % describe_defect(error), 'hint': ''}


def _load_policy(writer: int, policy_path: str) -> 'Policy':
    from .errors import MissingLibraryError, PolicyError
    from .policyfile import read_trusted_policy_file

    data = read_trusted_policy_file(policy_path)
    _enable_distribution_packages()
    try:
        from .policy import load_policy
    except ImportError as error:
        raise MissingLibraryError(error, {}) from None
    try:
        policy = load_policy(data, policy_path)
    except (PolicyError, MissingLibraryError) as error:
        _send(writer, {'settings': error.settings})
        if isinstance(error, PolicyError):
            raise GuardError(error.message, 'virt-guard policy check') from None
        raise
    settings = {'failure': policy.failure, 'deadline': policy.deadline, 'audit': policy.audit_required}
    _send(writer, {'settings': settings})
    return policy


def _enable_distribution_packages() -> None:
    """Complete sys.path, which `-S` left without the distribution's own packages."""
    import site

    site.main()


def _judge(policy: 'Policy', xml: bytes) -> 'Dict[str, Any]':
    from .domain import parse_domain
    from .evaluate import evaluate
    from .host import read_facts

    domain = parse_domain(xml)
    verdict = evaluate(policy, domain, read_facts(policy.facts()))
    outcome = {model.DENY: journal.DENIED, model.ERROR: journal.FAILED, model.ADMIT: journal.ADMITTED}[verdict.decision]
    if outcome == journal.DENIED and policy.mode == 'audit':
        outcome = journal.WOULD_DENY
    return {'outcome': outcome, 'text': report.refusal(verdict), 'fields': journal.verdict_fields(verdict, outcome)}
