# SPDX-License-Identifier: Apache-2.0
"""The process in which the hook lets a domain be judged, seen from both sides.

It runs apart because limits must also hold inside C code (a pathological expression, a document made to be slow or
large) and inside the kernel (a probe on a dead device), where no signal handler runs. It keeps only libvirt's standard
input open. So the hook can kill it, or abandon it if even that does not help, and answer itself.

Its messages are dictionaries: any number of {stage, settings, fields, texts, xml_sha256, uuid, asked}, to say what is
going on, then one result.
"""

import _signal
import gc
import os
import resource
import select

from .. import model
from ..deadline import MEMORY, Clock, memory, too_much_memory
from ..digest import sha256_hex
from ..errors import DomainXMLError, Expired, GuardError, PolicyFileError, describe_defect
from ..pipe import Reader, write_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, NoReturn, Optional

    from ..compiled import CompiledPolicy

    Message = Dict[str, Any]

_LIFETIME = 1800.0  # seconds: an end for a worker whose parent was killed
_LOOK = 0.05  # seconds between two looks at the memory of a worker
_WAITING = ('xml', 'probe')  # the stages in which a worker waits for something


class Task:
    """What is to be judged.

    :param read_domain: reads the XML where `xml` is None
    :param sturdily, nowhere: see hook/call
    :param deadline: seconds of processor time for reading the policy
    :param starting: judge by the rules of START, too
    :param policy: with the rules that may find something; None where it is to be read from `policy_path`
    :param compiled: what may tell without lxml, once it may ask for probes
    """

    __slots__ = ('policy_path read_domain sturdily nowhere deadline starting policy xml host compiled').split()

    def __init__(
        self,
        policy_path: str,
        read_domain: 'Callable[[], bytes]',
        sturdily: 'Callable[[Callable[[], Any]], Any]',
        nowhere: 'Callable[[], int]',
        deadline: float,
        policy: 'Optional[model.Policy]' = None,
        xml: 'Optional[bytes]' = None,
        host: 'Optional[model.HostFacts]' = None,
        compiled: 'Optional[CompiledPolicy]' = None,
        starting: bool = False,
    ) -> None:
        self.policy_path = policy_path
        self.read_domain = read_domain
        self.sturdily = sturdily
        self.nowhere = nowhere
        self.deadline = deadline
        self.starting = starting
        self.policy = policy
        self.xml = xml
        self.host = host
        self.compiled = compiled


def ask(task: Task, call: 'Any') -> 'Message':
    """Let a new process judge.

    :param call: `note` gets the messages as they come, and sets `stage` and `settings`; see hook/call for its limits
    :returns: {outcome, text, fields}: what was decided, the text for the user, the fields of the record
    :raises DomainXMLError, TooSlow: there is no decision, because of the document
    :raises GuardError, Expired: there is no decision, for another reason
    """
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(reader)
        _Worker(writer, task).run()
    os.close(writer)
    result = _result_of(worker, Reader(reader), call)
    os.close(reader)
    if result is None:
        _, status = os.waitpid(worker, 0)
        if status & 0x7F == _signal.SIGPROF:
            raise call.overworked()
        ending = 'by signal %d' % (status & 0x7F) if status & 0x7F else 'with exit status %d' % (status >> 8)
        # While it judges, the document is the only possible cause that others choose.
        raise (DomainXMLError if call.is_judging() else GuardError)('the judging process ended %s' % ending)
    if 'failed' in result:
        error = DomainXMLError(result['failed']) if result['of_document'] else GuardError(result['failed'])
        error.hint = result['hint']
        raise error
    return result


def _result_of(worker: int, messages: Reader, call: 'Any') -> 'Optional[Message]':
    """The last message of a worker; None if it has ended without one.

    This uses no signals, so none can come between a verdict and its use, or when another process has got the number.
    """
    poll = select.poll()
    poll.register(messages.descriptor, select.POLLIN)
    had = memory(worker)
    # Apart, so that a document whose paths answer slowly does not let the deadline pass at something else.
    of_document, of_host = Clock(worker), Clock(worker)
    try:
        while True:
            left = min(clock.left(call.settings['deadline']) for clock in (of_document, of_host))
            left = min(left, call.patience())
            if not poll.poll(min(left, _LOOK) * 1000):
                if call.is_judging() and memory(worker) - had > MEMORY:
                    raise DomainXMLError(too_much_memory())
                continue
            for message in messages.read():
                if message is None or 'stage' not in message:
                    return message
                call.note(**message)
                waits = call.stage in _WAITING
                of_document.begin_stage(waits and bool(call.asked), call.is_judging())
                of_host.begin_stage(waits and not call.asked, call.is_judging())
    except (Expired, DomainXMLError):
        os.kill(worker, _signal.SIGKILL)  # it was not waited for, so the number is still its own
        os.waitpid(worker, os.WNOHANG)
        raise


class _Worker:
    def __init__(self, writer: int, task: Task) -> None:
        self._writer = writer
        self._task = task
        self._judging = False

    def run(self) -> 'NoReturn':
        status = 1
        gc.enable()  # what reads YAML makes garbage in circles; hooks/qemu has turned this off
        try:
            for number in (_signal.SIGALRM, _signal.SIGPROF):
                _signal.signal(number, _signal.SIG_DFL)
            _signal.setitimer(_signal.ITIMER_REAL, _LIFETIME)
            null = self._task.nowhere()
            os.dup2(null, 1)
            os.dup2(null, 2)
            result = self._result()
            _signal.setitimer(_signal.ITIMER_PROF, 0)  # half a result would be none
            self._send(result)
            status = 0
        finally:
            os._exit(status)

    def _send(self, message: 'Message') -> None:
        write_message(self._writer, message)

    def _begin(self, stage: str, deadline: float, **told: 'Any') -> None:
        """Begin a stage whose work may take so much time of a processor. The kernel ends what takes more, also in C."""
        self._send(dict(told, stage=stage))
        _signal.setitimer(_signal.ITIMER_PROF, deadline)

    def _result(self) -> 'Message':
        try:
            return _describe(self._judge())
        except DomainXMLError as error:
            return _failed(error.message, error.hint, True)
        except MemoryError:
            return _failed(too_much_memory(), '', True)
        except GuardError as error:
            return _failed(error.message, error.hint, False)
        except (ImportError, SyntaxError) as error:
            return _failed('a part of the guard is missing or broken: %s' % error, 'run install.sh again', False)
        except Exception as error:  # a defect of the guard must only be a failure to judge
            return _failed('internal error: %s' % describe_defect(error), '', self._judging)

    def _judge(self) -> model.Verdict:
        task = self._task
        if task.compiled is not None and task.xml is not None and task.host is not None:
            verdict = self._judge_by_programs(task.compiled, task.xml, task.host)
            if verdict is not None:
                return verdict
        from ..libraries import enable_packages

        enable_packages()
        policy = task.policy
        if policy is None:
            self._begin('policy', task.deadline)
            policy = self._load_policy()
            told = {'settings': policy.settings(), 'fields': policy.fields(), 'texts': policy.texts}
            self._begin('xml', policy.deadline, **told)
        xml = task.read_domain() if task.xml is None else task.xml
        self._begin('loading', policy.deadline)
        parse_domain, evaluate, read_facts, today = self._load_judge()
        host = task.host or read_facts(policy.needed_facts())
        if task.compiled is None:
            host.probe = self._telling(host)
        # A library that gets no memory may go on with what it has, and find nothing. So this limit is only for what
        # grows faster than the hook looks.
        limit_memory(4 * MEMORY)
        self._judging = True
        told = {} if task.policy is not None else {'xml_sha256': sha256_hex(xml), 'uuid': stated_uuid(xml)}
        self._begin('judging', policy.deadline, **told)
        rules = policy.rules_of_start() if task.starting else None
        return evaluate(policy, parse_domain(xml), host, today(), rules)  # type: ignore[no-any-return]

    def _judge_by_programs(
        self, compiled: 'CompiledPolicy', xml: bytes, host: model.HostFacts
    ) -> 'Optional[model.Verdict]':
        """The verdict, where only a probe was missing: lxml takes longer to load than all else that a start does."""
        today = self._task.sturdily(_import_describers)
        host.probe = self._telling(host)
        self._judging = True
        self._begin('judging', compiled.policy.deadline)
        verdict, _ = compiled.judge(xml, host, today(), self._task.starting, may_probe=True)
        if verdict is not None and verdict.decision != model.ADMIT:
            verdict.policy.texts = compiled.texts()
        self._judging = False
        return verdict

    def _telling(self, host: model.HostFacts) -> 'Callable[[str, str], Any]':
        """The host's probe, which tells the hook when it begins and ends: only there is a device waited for. If it
        looks at a path that the document names, also which one, and for which rule."""
        self._task.sturdily(_import_probes)
        probe = host.probe

        def telling(name: str, subject: str) -> 'Any':
            is_path = '/' in subject and name != 'infiniband-vf'
            self._send({'stage': 'probe', 'asked': (host.asking, subject) if is_path else ()})
            try:
                return probe(name, subject)
            finally:
                self._send({'stage': 'judging'})

        return telling

    def _load_judge(self) -> 'Any':
        from ..libraries import MissingLibraryError, describe_copies

        try:
            self._task.sturdily(_import_lxml)
        except Exception as error:
            refused = MissingLibraryError(error, {})
            refused.message += describe_copies('lxml')
            raise refused from None
        return self._task.sturdily(_import_judge)

    def _load_policy(self) -> model.Policy:
        """Load the policy, and let the hook know its settings even where the rules are broken."""
        from contextlib import suppress

        from ..libraries import MissingLibraryError, describe_copies

        load_trusted, policy_error = self._task.sturdily(_import_sources)
        with suppress(Exception):  # so that the policy's settings, as far as they are legible, come with the error
            self._task.sturdily(_import_layers)
        try:
            policy: model.Policy = load_trusted(self._task.policy_path)
            return policy
        except (PolicyFileError, policy_error, MissingLibraryError) as error:
            self._send({'stage': 'policy', 'settings': error.settings})
            if isinstance(error, policy_error):
                raise GuardError(error.message, 'virt-guard policy check') from None
            if isinstance(error, MissingLibraryError):
                error.message += describe_copies('yaml', 'lxml')
            raise


def stated_uuid(xml: bytes) -> str:
    """The UUID that a document states, as far as that can be told without reading it as XML; '' where it does not."""
    _, _, after = xml.partition(b'<uuid>')
    uuid = after[:64].partition(b'</uuid>')[0].strip().decode('ascii', 'replace')
    digits = set('0123456789abcdefABCDEF')
    shape = [len(part) for part in uuid.split('-')]
    return uuid if shape == [8, 4, 4, 4, 12] and digits.issuperset(uuid.replace('-', '')) else ''


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more, and then fail. If its size is not known, there is no limit."""
    try:
        with open('/proc/self/statm', 'rb') as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard in (resource.RLIM_INFINITY, -1) or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError):
        return


def _failed(reason: str, hint: str, of_document: bool) -> 'Message':
    return {'failed': reason, 'hint': hint, 'of_document': of_document}


def _describe(verdict: model.Verdict) -> 'Message':
    from .. import journal, wording

    text = '' if verdict.decision == model.ADMIT else wording.refusal(verdict)
    return {'outcome': verdict.outcome, 'text': text, 'fields': journal.verdict_fields(verdict)}


def _import_sources() -> 'Any':
    from ..policy.load import trusted
    from ..policy.problems import PolicyError

    return trusted, PolicyError


def _import_layers() -> 'Any':
    """What policy/load imports at a place where it cannot be tried again."""
    from ..policy import layer, merge, osinfo_db

    return layer, osinfo_db, merge


def _import_lxml() -> 'Any':
    from lxml import etree

    return etree


def _import_describers() -> 'Any':
    from .. import journal, wording
    from ..host import today

    return today if journal and wording else None


def _import_probes() -> 'Any':
    """What Host.probe imports at a place where it cannot be tried again."""
    from .. import host_probes

    return host_probes


def _import_judge() -> 'Any':
    from .. import journal, wording
    from ..host import read_facts, today
    from ..judging.evaluate import evaluate
    from ..judging.subject import parse_domain

    return (parse_domain, evaluate, read_facts, today) if journal and wording else None
