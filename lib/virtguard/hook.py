# SPDX-License-Identifier: Apache-2.0
"""libvirt's qemu hook: argv and stdin in; stderr, an exit status and an audit record out.

Import budget: this module and what it imports at the top are paid at every start of every domain. So no argparse,
json, logging, pathlib, signal, socket, subprocess or typing; yaml and lxml are imported only by the worker process.
"""

import _signal
import os
import time

from . import journal, model, report
from .errors import GuardError, describe_defect
from .worker import Worker, read_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

JUDGED = ('prepare', 'start')
ADMITTED, DENIED, UNDECIDED = 0, 1, 2


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
    _occupy_standard_descriptors()
    _signal.signal(_signal.SIGALRM, _expire)
    try:
        try:
            call.arm()
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


def _occupy_standard_descriptors() -> None:
    """Where the caller left 0, 1 or 2 closed, let no file of ours take its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class _Call:
    """One call of the hook, from its arguments to its exit status."""

    def __init__(self, arguments: 'Sequence[str]', policy_path: str, sinks: journal.Sinks) -> None:
        self._started = time.monotonic()
        # Python 3.6 decodes arguments as ASCII under libvirt's LC_ALL=C.
        name, self.operation = [os.fsencode(a).decode('utf-8', 'surrogateescape') for a in (*arguments, '', '')[:2]]
        self._name = name
        self._policy_path = policy_path
        self._sinks = sinks
        self._xml_sha256 = ''
        self.settings: 'Dict[str, Any]' = dict(model.DEFAULT_SETTINGS)
        self.stage = 'starting'

    def arm(self) -> None:
        """Start the deadline, or move it to where the settings say."""
        left = self.settings['deadline'] - (time.monotonic() - self._started)
        _signal.setitimer(_signal.ITIMER_REAL, max(left, 0.001))

    def judge(self) -> 'Dict[str, Any]':
        """Let a worker judge.

        :returns: the worker's result, see Worker
        """
        reader, writer = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(reader)
            Worker(writer, self._policy_path).run()
        os.close(writer)
        result: 'Optional[Dict[str, Any]]' = None
        try:
            with open(reader, 'rb') as pipe:
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
        """Take the worker's messages as they come; the first that tells no stage is its result."""
        message = read_message(pipe)
        while message is not None and 'stage' in message:
            self._advance(message)
            message = read_message(pipe)
        return message

    def _advance(self, message: 'Dict[str, Any]') -> None:
        self.stage = message['stage']
        self._xml_sha256 = message.get('xml_sha256', self._xml_sha256)
        if 'settings' in message:
            self.settings.update(message['settings'])
            self.arm()

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
            ('VIRT_GUARD_XML_SHA256', self._xml_sha256),
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
