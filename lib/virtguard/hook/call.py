# SPDX-License-Identifier: Apache-2.0
"""libvirt's qemu hook: argv and stdin in; stderr, an exit status and an audit record out.

Import budget: this module and what it imports at the top are paid at every start of every domain. So no argparse,
json, logging, pathlib, re, signal, socket, subprocess or typing, and not even os, which costs an eighth of the
interpreter's start; posix and _signal are the modules in C below os and signal. Only the worker imports yaml and lxml.
"""

import _signal
import posix
import sys
import time

from .. import errors
from ..compiled import compiled_path, load_compiled
from ..host import read_facts, today
from ..verdict import ADMIT, DEFAULT_SETTINGS, DENY, ERROR, MAX_XML_BYTES, WOULD_DENY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence

    from ..compiled import CompiledPolicy

JUDGED = ('prepare', 'start')
ADMITTED, DENIED, UNDECIDED = 0, 1, 2

# The path of a policy only ends like this when install.sh proves a program before it puts it in force.
PROOF_POLICY = '/.virt-guard-check.yaml'
_STAGES = {
    'policy': 'reading the policy',
    'xml': 'reading the domain XML from standard input',
    'loading': 'loading what judging needs',
    'judging': 'judging',
    'probe': 'probing the host',
}
# Seconds from the beginning of a call to its answer, whatever is the cause. libvirt waits for a hook without any limit;
# who waits for libvirt does not: systemd and Pacemaker give a start 90 seconds, if nobody has said otherwise.
_PATIENCE = 80.0
# What a damaged cache raises. If the cache is not the cause, the source raises the same error again.
_DAMAGED_CACHE = (EOFError, ImportError, SyntaxError, TypeError, ValueError)


def main(arguments: 'Sequence[str]', policy_path: str, log_file: str) -> int:
    """Answer one call of libvirt.

    :param arguments: domain name, operation, sub-operation, extra; more or fewer are tolerated
    :returns: ADMITTED, DENIED or UNDECIDED, the hook's exit status
    """
    call = Call(arguments, policy_path, log_file)
    if call.operation not in JUDGED:
        return ADMITTED
    _occupy_standard_descriptors()
    _signal.signal(_signal.SIGALRM, call.expire)
    _signal.signal(_signal.SIGPROF, call.expire)
    try:
        try:
            call.arm()
            result = call.decide()
        finally:
            call.disarm()
    except errors.TooSlow as slow:
        return call.fail('judging took longer than %s' % slow, of_document=True)
    except errors.Expired as expired:
        doing = _STAGES.get(call.stage, call.stage)
        if call.asked:
            return call.fail_at_path(*call.asked)
        if str(expired):
            return call.fail('%s passed while %s' % (expired, doing))
        return call.fail('the deadline of %g seconds passed while %s' % (call.settings['deadline'], doing))
    except errors.GuardError as error:
        return call.fail(error.message, error.hint, isinstance(error, errors.DomainXMLError))
    except (ImportError, SyntaxError) as error:
        return call.fail('a part of the guard is missing or broken: %s' % error, 'run install.sh again')
    except Exception as error:  # a defect of the guard must neither open the door nor show a traceback
        doing = _STAGES.get(call.stage, call.stage)
        return call.fail('internal error while %s: %s' % (doing, errors.describe_defect(error)), '', call.is_judging())
    return call.conclude(result)


def sturdily(load: 'Callable[[], Any]') -> 'Any':
    """What `load` imports; from the sources if a cache is damaged, because Python accepts a truncated one."""
    try:
        return load()
    except _DAMAGED_CACHE:
        sys.modules['_frozen_importlib_external'].__dict__['cache_from_source'] = _no_cache
        return load()


def _no_cache(*arguments: object, **options: object) -> 'NoReturn':
    raise NotImplementedError  # as it does where there are no caches


def _text(argument: str) -> str:
    """An argument decoded as UTF-8, whatever Python has done: 3.6 decodes it as ASCII under libvirt's LC_ALL=C."""
    return argument.encode(sys.getfilesystemencoding(), 'surrogateescape').decode('utf-8', 'surrogateescape')


def _occupy_standard_descriptors() -> None:
    """If the caller has closed 0, 1 or 2, open it, so that no file of ours gets that number."""
    for descriptor in (0, 1, 2):
        try:
            posix.fstat(descriptor)
        except OSError:
            nowhere()


def nowhere() -> int:
    """A descriptor that gives and takes nothing, even if there is no /dev/null."""
    try:
        return posix.open('/dev/null', posix.O_RDWR)
    except OSError:
        reader, writer = posix.pipe()
        posix.close(reader)
        return writer


class Call:
    """One call of the hook, from its arguments to its exit status."""

    def __init__(self, arguments: 'Sequence[str]', policy_path: str, log_file: str) -> None:
        self.started = time.monotonic()
        name, self.operation = [_text(a) for a in (*arguments, '', '')[:2]]
        self._name = name
        self._policy_path = policy_path
        self._log_file = log_file
        self._xml = b''  # where it was read here, and not by the worker
        self._xml_sha256 = ''
        self._policy_fields: 'List[Any]' = []
        self._warning = ''
        self._armed = False
        self._judged = False
        self._uuid = ''
        self.settings: 'Dict[str, Any]' = dict(DEFAULT_SETTINGS)
        self.stage = 'starting'
        self.asked: 'Sequence[str]' = ()  # by a probe: the rule, and a path that the document names
        self._texts: 'Callable[[], Dict[str, str]]' = dict
        self._stage_began = self.started

    def arm(self) -> None:
        """Start the limits of a stage: by the clock for its input, by the time of a processor for its work."""
        self._armed = True
        deadline = self.settings['deadline']
        left = max(_PATIENCE - (self._stage_began - self.started), 0.001)
        _signal.setitimer(_signal.ITIMER_REAL, min(deadline, left) if self.stage == 'xml' else left)
        _signal.setitimer(_signal.ITIMER_PROF, deadline)

    def disarm(self) -> None:
        self._armed = False  # a signal may be on its way already
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.setitimer(_signal.ITIMER_PROF, 0)

    def expire(self, number: int, frame: object) -> None:
        """Handle the signal of a limit: end the call, unless the signal is late, or only the host is busy."""
        if not self._armed or self._judged:
            return
        if number == _signal.SIGPROF:
            raise self.overworked()
        left = self.patience()
        if self.stage == 'xml':
            from ..deadline import Clock

            left = min(left, Clock('self', self._stage_began).left(self.settings['deadline']))
        _signal.setitimer(_signal.ITIMER_REAL, left)

    def patience(self) -> float:
        """The seconds until there must be an answer.

        :raises TooSlow, Expired: they are over
        """
        left = _PATIENCE - (time.monotonic() - self.started)
        if left <= 0:
            raise (errors.TooSlow if self.is_judging() else errors.Expired)('%g seconds' % _PATIENCE)
        return max(left, 0.001)

    def overworked(self) -> 'errors.Expired':
        """What it means that the deadline of this stage's work has passed."""
        if self.is_judging():
            return errors.TooSlow('%g seconds of processor time' % self.settings['deadline'])
        return errors.Expired()

    def is_judging(self) -> bool:
        """Whether the document is the only cause of a failure that others choose."""
        return self.stage in ('judging', 'probe')

    def decide(self) -> 'Dict[str, Any]':
        """Reach a verdict: here, if there is a compiled policy that can tell, else in a worker process.

        :returns: the result, see worker.ask
        """
        self.note('policy')
        compiled, self._warning = load_compiled(self._policy_path, whole=False)
        if compiled is None:
            return self._ask_worker()
        self.note('xml', compiled.policy.settings(), compiled.policy.fields())
        self._xml = read_domain()
        try:
            return self._decide_by(compiled)
        except errors.GuardError:
            raise
        except Exception as error:  # the file was not made by the compiler
            self._warning = '%s cannot be used: %s' % (compiled_path(self._policy_path), errors.describe_defect(error))
            self.note('policy')
            return self._ask_worker(None, self._xml)

    def _decide_by(self, compiled: 'CompiledPolicy') -> 'Dict[str, Any]':
        host = read_facts(compiled.needed_facts)
        self._texts = compiled.texts
        self.note('judging')
        verdict, candidates = compiled.judge(self._xml, host, today(), self.operation == 'start')
        if verdict is None:
            self.note('loading')
            return self._ask_worker(compiled.narrowed(candidates), self._xml, host, compiled)
        self._judged = True
        outcome = verdict.outcome
        if outcome == ADMIT and self.operation != 'start':
            return {'outcome': outcome}  # `start` follows, and is recorded
        journal, wording = sturdily(_import_describers)
        text = ''
        if outcome != ADMIT:
            verdict.policy.texts = compiled.texts()
            text = wording.refusal(verdict)
        return {'outcome': outcome, 'text': text, 'fields': journal.verdict_fields(verdict)}

    def _ask_worker(self, *prepared: 'Any') -> 'Dict[str, Any]':
        worker = sturdily(_import_worker)
        starting = self.operation == 'start'
        limit = self.settings['deadline']
        task = worker.Task(self._policy_path, read_domain, sturdily, nowhere, limit, *prepared, starting=starting)
        self.disarm()  # from here on no signal comes, which might cross a verdict
        return worker.ask(task, self)  # type: ignore[no-any-return]

    def note(
        self,
        stage: str,
        settings: 'Optional[Dict[str, Any]]' = None,
        fields: 'Optional[List[Any]]' = None,
        xml_sha256: str = '',
        uuid: str = '',
        texts: 'Optional[Dict[str, str]]' = None,
        asked: 'Sequence[str]' = (),
    ) -> None:
        """Note what is being done, and what was found out on the way."""
        self.stage = stage
        self.asked = asked
        self._stage_began = time.monotonic()
        self._xml_sha256 = xml_sha256 or self._xml_sha256
        self._uuid = uuid or self._uuid
        self._policy_fields = self._policy_fields if fields is None else fields
        if settings is not None:
            self.settings.update(settings)
        if texts is not None:
            self._texts = lambda: texts
        if self._armed:
            self.arm()

    def conclude(self, result: 'Dict[str, Any]') -> int:
        """Record the verdict and answer libvirt."""
        outcome = result['outcome']
        status = {DENY: DENIED, ERROR: self._undecided()}.get(outcome, ADMITTED)
        recorded = not self._is_to_be_recorded(status, outcome) or self._record(result['fields'])
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        note = '' if recorded else '  note: no audit record could be written\n'
        _write_stderr(result['text'] + note)
        return status

    def fail_at_path(self, rule: str, path: str) -> int:
        """Answer where a probe waits for a path. Whoever defines a domain chooses its paths, too, and can make one that
        never answers (FUSE): so the document is the reason."""
        from .. import model

        phrase = 'the deadline of %s seconds passed while the rule %s looked at %s, which the domain names'
        reason = model.Phrase(phrase, '%g' % self.settings['deadline'], rule, path)
        hint = 'mend or unmount the file system there (findmnt lists them), or name another path (virsh edit)'
        return self.fail(reason, hint, True, self._texts())

    def fail(
        self, reason: str, hint: str = '', of_document: bool = False, texts: 'Optional[Dict[str, str]]' = None
    ) -> int:
        """Answer without a verdict: as the policy's `failure` says, unless the document is the reason.

        Whoever defines a domain chooses its document. So the domain is refused then, unless the mode is `audit`.

        :param texts: what the user is told it in; English without
        """
        journal, wording, worker = sturdily(_import_reporters)
        status, outcome, answer = self._undecided(), ERROR, 'is refused'
        if of_document and self.settings['mode'] == 'audit':
            status, outcome, answer = ADMITTED, WOULD_DENY, 'would be denied (mode audit)'
        elif of_document:
            status = UNDECIDED
        elif status == ADMITTED:
            answer = 'is admitted'
        message = "domain '%s' could not be judged and %s: %s" % (
            wording.escape(self._name),
            answer,
            wording.escape(reason),
        )
        uuid = self._uuid or worker.stated_uuid(self._xml)
        fields = journal.failure_fields(message, outcome) + [('VIRT_GUARD_UUID', uuid)] + self._policy_fields
        recorded = not self._is_to_be_recorded(status, outcome) or self._record(fields)
        if status == ADMITTED:
            return ADMITTED if recorded or not self.settings['audit'] else self._refuse_unrecorded()
        _write_stderr(wording.failure(self._name, reason, hint, texts))
        return status

    def _is_to_be_recorded(self, status: int, outcome: str) -> bool:
        """One record for one start: an admission at `prepare` is followed by `start`, which judges again.

        `start` does not come if something fails in between. So what mode `audit` lets pass is recorded each time.
        """
        if self._policy_path.endswith(PROOF_POLICY):
            return False  # install.sh sees the answer, and no domain has tried to start
        return status != ADMITTED or self.operation == 'start' or outcome == WOULD_DENY

    def _undecided(self) -> int:
        return ADMITTED if self.settings['failure'] == 'admit' else UNDECIDED

    def _record(self, fields: 'List[Any]') -> bool:
        journal, sha256_hex = sturdily(_import_recorder)  # most calls record nothing
        elapsed = int((time.monotonic() - self.started) * 1000000)
        fields = list(fields) + [
            ('VIRT_GUARD_DOMAIN', self._name),
            ('VIRT_GUARD_OPERATION', self.operation),
            ('VIRT_GUARD_XML_SHA256', self._xml_sha256 or (sha256_hex(self._xml) if self._xml else '')),
            ('VIRT_GUARD_ELAPSED_USEC', str(elapsed)),
            ('VIRT_GUARD_WARNING', self._warning),
        ]
        return journal.Sinks(self._log_file).send(fields) is not None

    def _refuse_unrecorded(self) -> int:
        _, wording, _ = sturdily(_import_reporters)
        reason = 'no audit record could be written, and the policy requires one'
        _write_stderr(wording.failure(self._name, reason, 'start systemd-journald'))
        return UNDECIDED


def read_domain() -> bytes:
    """The XML that libvirt writes to standard input; if it is too large, just so much that this shows."""
    chunks: 'List[bytes]' = []
    size = 0
    while size <= MAX_XML_BYTES:
        chunk = posix.read(0, 1 << 16)
        if not chunk:
            return b''.join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    return b''.join(chunks)


def _import_worker() -> 'Any':
    from . import worker

    return worker


def _import_recorder() -> 'Any':
    from .. import journal
    from ..digest import sha256_hex

    return journal, sha256_hex


def _import_describers() -> 'Any':
    from .. import journal, wording

    return journal, wording


def _import_reporters() -> 'Any':
    from .. import journal, wording
    from . import worker

    return journal, wording, worker


def _write_stderr(text: str) -> None:
    data = text.encode('utf-8', 'backslashreplace')
    try:
        posix.write(2, data)
    except OSError:
        return  # nobody listens; the exit status and the record still say it
