# SPDX-License-Identifier: Apache-2.0
"""The process in which the hook lets a domain be judged: reads policy and XML, and answers through a pipe.

It runs apart because a deadline must also hold inside C code (a pathological expression) and inside the kernel (a
probe on a dead device), where no signal handler runs. It keeps libvirt's standard input only, so that it can be
killed, or abandoned where even that does not help, while the hook itself answers.

A message on the pipe is its length in four bytes, then a marshalled dictionary: any number of {stage, settings,
xml_sha256}, to say what is going on, then one result.
"""

import _signal
import marshal
import os

from . import journal, model, report
from .digest import sha256_hex
from .errors import DomainXMLError, GuardError, describe_defect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Dict, List, NoReturn, Optional

_LENGTH_BYTES = 4
_WORKER_LIFETIME = 120.0  # seconds: an end for a worker whose parent was killed
_OUTCOMES = {model.DENY: journal.DENIED, model.ERROR: journal.FAILED, model.ADMIT: journal.ADMITTED}


class Worker:
    """The process that judges; `writer` is its end of the pipe to the hook."""

    def __init__(self, writer: int, policy_path: str) -> None:
        self._writer = writer
        self._policy_path = policy_path

    def run(self) -> 'NoReturn':
        status = 1
        try:
            _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
            _signal.setitimer(_signal.ITIMER_REAL, _WORKER_LIFETIME)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            self._send(self._result())
            status = 0
        finally:
            os._exit(status)

    def _send(self, message: 'Dict[str, Any]') -> None:
        data = marshal.dumps(message)
        data = len(data).to_bytes(_LENGTH_BYTES, 'little') + data
        while data:
            data = data[os.write(self._writer, data) :]

    def _result(self) -> 'Dict[str, Any]':
        """What was found: {outcome, text, fields}, or {failed, hint}."""
        try:
            return self._judge()
        except GuardError as error:
            return {'failed': error.message, 'hint': error.hint}
        except Exception as error:  # as in main()
            return {'failed': 'internal error: %s' % describe_defect(error), 'hint': ''}

    def _judge(self) -> 'Dict[str, Any]':
        self._send({'stage': 'reading the policy'})
        policy = self._load_policy()
        self._send({'stage': 'reading the domain XML from standard input'})
        xml = _read_domain()
        self._send({'stage': 'judging', 'xml_sha256': sha256_hex(xml)})

        from .domain import parse_domain
        from .evaluate import evaluate
        from .host import read_facts

        verdict = evaluate(policy, parse_domain(xml), read_facts(policy.facts()))
        outcome = _OUTCOMES[verdict.decision]
        if outcome == journal.DENIED and policy.mode == 'audit':
            outcome = journal.WOULD_DENY
        return {'outcome': outcome, 'text': report.refusal(verdict), 'fields': journal.verdict_fields(verdict, outcome)}

    def _load_policy(self) -> model.Policy:
        """Load the policy, and let the parent know its settings even where the rules are broken."""
        from .errors import MissingLibraryError, PolicyError
        from .policyfile import read_trusted_policy_file

        data = read_trusted_policy_file(self._policy_path)
        _enable_distribution_packages()
        try:
            from .policy import load_policy
        except ImportError as error:
            raise MissingLibraryError(error, {}) from None
        try:
            policy = load_policy(data, self._policy_path)
        except (PolicyError, MissingLibraryError) as error:
            self._send({'stage': 'reading the policy', 'settings': error.settings})
            if isinstance(error, PolicyError):
                raise GuardError(error.message, 'virt-guard policy check') from None
            raise
        settings = {'failure': policy.failure, 'deadline': policy.deadline, 'audit': policy.audit_required}
        self._send({'stage': 'reading the policy', 'settings': settings})
        return policy


def read_message(pipe: 'IO[bytes]') -> 'Optional[Dict[str, Any]]':
    """The next message, or None where the worker ended without one."""
    head = pipe.read(_LENGTH_BYTES)
    length = int.from_bytes(head, 'little')
    data = pipe.read(length)
    if len(head) < _LENGTH_BYTES or len(data) < length:
        return None
    return dict(marshal.loads(data))


def _read_domain() -> bytes:
    chunks: 'List[bytes]' = []
    size = 0
    while size <= model.MAX_XML_BYTES:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return b''.join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    raise DomainXMLError('the XML is larger than %d MiB' % (model.MAX_XML_BYTES >> 20))


def _enable_distribution_packages() -> None:
    """Complete sys.path, which `-S` left without the distribution's own packages."""
    import site

    site.main()
