# SPDX-License-Identifier: Apache-2.0
"""Judges many documents, in order, on all cores, in memory that does not grow with their number."""

import os
import signal
from collections import deque

from . import model
from .compiled import Compiled
from .compiler import prepare
from .documents import STDIN, Document
from .domain import parse_domain
from .errors import GuardError
from .evaluate import evaluate
from .marks import MAX_DEPTH, check_well_formed
from .messages import read_message, write_message
from .sieve import Sieve, read_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Callable, Deque, Iterable, Iterator, List, NoReturn, Tuple, Union

    from .formats import JsonLines, Text

    Format = Union[Text, JsonLines]
    Chunk = List[Tuple[str, bool]]

# A chunk is worth a message, and small enough that two of them always fit into a pipe (64 KiB on Linux).
_CHUNK_DOCUMENTS = 64
_CHUNK_BYTES = 16 * 1024
_CHUNKS_UNDER_WAY = 2  # for each process
_FEW = 256  # documents that are judged before another process would have been started


class Judge:
    """Judges documents by one policy for one host on one day; what a rule needs is derived once."""

    def __init__(self, policy: model.Policy, host: model.HostFacts, today: str) -> None:
        self._policy = policy
        self._host = host
        self._today = today
        self._compiled = Compiled(prepare(policy))
        self._sieve = Sieve(self._compiled.needs(host))
        self._rules = policy.rules_at(model.ADMISSION)

    def judge(self, xml: bytes) -> model.Verdict:
        """The verdict on one document.

        :raises DomainXMLError: it is not a domain that can be judged
        """
        verdict, scanned = None, False
        candidates = self._sieve.sift(xml)
        if candidates is None:
            verdict, candidates = self._compiled.judge(xml, self._host)
            scanned = True
        elif not candidates and xml.count(b'</') < MAX_DEPTH:
            head = read_head(xml)
            if head is not None:
                check_well_formed(xml)
                verdict = self._compiled.admit(*head)
        if verdict is None:
            rules = [self._rules[number] for number in candidates]
            verdict = evaluate(self._policy, parse_domain(xml, scanned), self._host, self._today, rules)
        return verdict


class Outcome:
    """What became of one document: what to print on standard output and standard error, the decision ('' for a document
    that was skipped), and where the waivers are defined that spoke of its findings."""

    __slots__ = ('output', 'complaint', 'decision', 'waivers')

    def __init__(self, output: str, complaint: str, decision: str, waivers: 'Tuple[model.Origin, ...]' = ()) -> None:
        self.output = output
        self.complaint = complaint
        self.decision = decision
        self.waivers = waivers


def judge_all(judge: Judge, output: 'Format', documents: 'Iterable[Document]') -> 'Iterator[Outcome]':
    """Judge documents; the outcomes come in the same order, while the later ones are still being judged."""
    chunks = _chunks(documents)
    head: 'List[Chunk]' = []
    while sum(len(chunk) for chunk in head) < _FEW:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head.append(chunk)
    for chunk in head:
        yield from _judge_chunk(judge, output, chunk)
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        for chunk in chunks:
            yield from _judge_chunk(judge, output, chunk)
    else:
        yield from _judge_in_processes(lambda chunk: _judge_chunk(judge, output, chunk), chunks, cores)


def _chunks(documents: 'Iterable[Document]') -> 'Iterator[Chunk]':
    chunk: 'Chunk' = []
    size = 0
    for document in documents:
        chunk.append((document.source, document.named))
        size += len(document.source)
        if len(chunk) == _CHUNK_DOCUMENTS or size > _CHUNK_BYTES or document.source == STDIN:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _judge_chunk(judge: Judge, output: 'Format', chunk: 'Chunk') -> 'List[Outcome]':
    return [_judge_document(judge, output, Document(source, named)) for source, named in chunk]


def _judge_document(judge: Judge, output: 'Format', document: Document) -> Outcome:
    try:
        verdict = judge.judge(document.read())
    except GuardError as error:
        complaint = document.complaint(error)
        if document.is_other(error):
            return Outcome('', complaint, '')
        return Outcome(output.failure(document.source, str(error)), complaint, model.ERROR)
    waivers = {finding.waiver.origin for finding in verdict.findings if finding.waiver is not None}
    return Outcome(output.verdict(document.source, verdict), '', verdict.decision, tuple(waivers))


def _judge_in_processes(
    judge_chunk: 'Callable[[Chunk], List[Outcome]]', chunks: 'Iterator[Chunk]', count: int
) -> 'Iterator[Outcome]':
    """Deal the chunks out in turn; so the next outcomes are always those of the process whose turn it is."""
    processes: 'List[_Process]' = []
    under_way: 'Deque[_Process]' = deque()
    try:
        for number, chunk in enumerate(chunks):
            if len(processes) < count:
                processes.append(_Process(judge_chunk, processes))
            process = processes[number % count]
            if len(under_way) == count * _CHUNKS_UNDER_WAY:
                yield from under_way.popleft().collect()
            process.deal(chunk)
            under_way.append(process)
        while under_way:
            yield from under_way.popleft().collect()
    finally:
        for process in processes:
            process.end()


class _Process:
    """A forked process that judges chunks until its pipe is closed, also by its parent's death."""

    def __init__(self, judge_chunk: 'Callable[[Chunk], List[Outcome]]', others: 'Iterable[_Process]') -> None:
        chunks_reader, self._chunks = os.pipe()
        outcomes_reader, outcomes = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            for descriptor in [self._chunks, outcomes_reader] + [other._chunks for other in others]:
                os.close(descriptor)
            _serve(judge_chunk, chunks_reader, outcomes)
        os.close(chunks_reader)
        os.close(outcomes)
        self._outcomes: 'IO[bytes]' = open(outcomes_reader, 'rb')  # noqa: SIM115

    def deal(self, chunk: 'Chunk') -> None:
        write_message(self._chunks, chunk)

    def collect(self) -> 'List[Outcome]':
        outcomes = read_message(self._outcomes)
        if outcomes is None:
            raise GuardError('a process that judged documents has ended too early')
        return [Outcome(*fields) for fields in outcomes]

    def end(self) -> None:
        os.close(self._chunks)
        self._outcomes.close()
        os.waitpid(self._pid, 0)


def _serve(judge_chunk: 'Callable[[Chunk], List[Outcome]]', reader: int, writer: int) -> 'NoReturn':
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and closes the pipe
        with open(reader, 'rb') as pipe:
            chunk = read_message(pipe)
            while chunk is not None:
                outcomes = [(o.output, o.complaint, o.decision, o.waivers) for o in judge_chunk(chunk)]
                write_message(writer, outcomes)
                chunk = read_message(pipe)
        status = 0
    finally:
        os._exit(status)
