# SPDX-License-Identifier: Apache-2.0
"""The process in which the hook lets a domain be judged, seen from both sides.

It runs apart because a deadline must also hold inside C code (a pathological expression) and inside the kernel (a
probe on a dead device), where no signal handler runs. It keeps libvirt's standard input only, so that it can be
killed, or abandoned where even that does not help, while the hook itself answers.

Its messages are dictionaries: any number of {stage, settings, fields, xml_sha256}, to say what is going on, then one
result.
"""

import _signal
import os

from . import model
from .digest import sha256_hex
from .errors import Expired, GuardError, MissingLibraryError, PolicyError, PolicyFileError, describe_defect
from .messages import read_message, write_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, NoReturn, Optional

    Message = Dict[str, Any]

_LIFETIME = 120.0  # seconds: an end for a worker whose parent was killed


class Task:
    """What is to be judged.

    :param read_domain: reads the XML where `xml` is None
    :param policy: with the rules that may find something; None where it is to be read from `policy_path`
    """

    __slots__ = ('policy_path', 'read_domain', 'policy', 'xml', 'host')

    def __init__(
        self,
        policy_path: str,
        read_domain: 'Callable[[], bytes]',
        policy: 'Optional[model.Policy]' = None,
        xml: 'Optional[bytes]' = None,
        host: 'Optional[model.HostFacts]' = None,
    ) -> None:
        self.policy_path = policy_path
        self.read_domain = read_domain
        self.policy = policy
        self.xml = xml
        self.host = host


def ask(task: Task, advance: 'Callable[[Message], None]') -> 'Message':
    """Let a new process judge; `advance` gets its messages as they come.

    :returns: {outcome, text, fields}: what was decided, the text for the user, the fields of the record
    :raises GuardError: it could not decide
    """
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(reader)
        _Worker(writer, task).run()
    os.close(writer)
    try:
        with open(reader, 'rb') as pipe:
            message: 'Optional[Message]' = read_message(pipe)
            while message is not None and 'stage' in message:
                advance(message)
                message = read_message(pipe)
        _, status = os.waitpid(worker, 0)
    except Expired:
        os.kill(worker, _signal.SIGKILL)
        os.waitpid(worker, os.WNOHANG)
        raise
    if message is None:
        ending = 'by signal %d' % (status & 0x7F) if status & 0x7F else 'with exit status %d' % (status >> 8)
        raise GuardError('the judging process ended %s' % ending)
    if 'failed' in message:
        raise GuardError(message['failed'], message['hint'])
    return message


class _Worker:
    def __init__(self, writer: int, task: Task) -> None:
        self._writer = writer
        self._task = task

    def run(self) -> 'NoReturn':
        status = 1
        try:
            _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
            _signal.setitimer(_signal.ITIMER_REAL, _LIFETIME)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            self._send(self._result())
            status = 0
        finally:
            os._exit(status)

    def _send(self, message: 'Message') -> None:
        write_message(self._writer, message)

    def _result(self) -> 'Message':
        try:
            return _describe(self._judge())
        except GuardError as error:
            return {'failed': error.message, 'hint': error.hint}
        except Exception as error:  # a defect of the guard is a failure to judge, and no more
            return {'failed': 'internal error: %s' % describe_defect(error), 'hint': ''}

    def _judge(self) -> model.Verdict:
        task = self._task
        _enable_distribution_packages()
        policy = task.policy
        if policy is None:
            self._send({'stage': 'policy'})
            policy = self._load_policy()
        xml = task.xml
        if xml is None:
            self._send({'stage': 'xml', 'settings': policy.settings(), 'fields': policy.fields()})
            xml = task.read_domain()
            self._send({'stage': 'judging', 'xml_sha256': sha256_hex(xml)})
        try:
            from .domain import parse_domain
            from .evaluate import evaluate
        except ImportError as error:
            raise MissingLibraryError(error, {}) from None
        from .host import read_facts, today

        domain = parse_domain(xml, scanned=task.xml is not None)
        return evaluate(policy, domain, task.host or read_facts(policy.facts()), today())

    def _load_policy(self) -> model.Policy:
        """Load the policy, and let the hook know its settings even where the rules are broken."""
        from .sources import load_trusted_policy

        try:
            return load_trusted_policy(self._task.policy_path)
        except (PolicyFileError, PolicyError, MissingLibraryError) as error:
            self._send({'stage': 'policy', 'settings': error.settings})
            if isinstance(error, PolicyError):
                raise GuardError(error.message, 'virt-guard policy check') from None
            raise


def _describe(verdict: model.Verdict) -> 'Message':
    from . import journal, report

    text = '' if verdict.decision == model.ADMIT else report.refusal(verdict)
    return {'outcome': verdict.outcome, 'text': text, 'fields': journal.verdict_fields(verdict)}


def _enable_distribution_packages() -> None:
    """Complete sys.path, which `-S` left without the distribution's own packages."""
    import site

    site.main()
