# SPDX-License-Identifier: Apache-2.0
"""Judges many files, in order, on all cores, in memory that does not grow with their number."""

import os
import signal

from .. import model
from ..errors import DomainXMLError, GuardError
from ..judging.evaluate import evaluate
from ..judging.refused import are_usual, may_be_refused
from ..judging.subject import parse_domain
from ..judging.words import Sieve, read_head, read_words
from ..policy.compiler import prepare
from ..scan import MAX_DEPTH, is_well_formed
from ..screening import Screen
from .domain_files import STDIN, Document
from .pool import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Tuple, Union

    from ..judging.judge import Judge
    from .file_parts import Section
    from .output_format import OutputFormat

    Item = Tuple[str, bool, str]
    Chunk = List[Item]
    Fields = Tuple[str, Tuple[str, ...], Tuple[str, ...], Tuple[model.Origin, ...]]

# A chunk is worth a message, and small enough that two of them always fit into a pipe (64 KiB on Linux).
_CHUNK_DOCUMENTS = 64
_CHUNK_BYTES = 16 * 1024
_FEW = 256  # documents that are judged before another process would have been started
_LEAST_SECONDS = 5.0  # of processor time for each, where the hook's deadline is shorter


class Judge:
    """Judges documents by one policy for one host on one day; what a rule needs is derived once. `seconds` are what a
    document may take of processor time.

    :param limit: of findings, see evaluate
    """

    def __init__(
        self,
        policy: model.Policy,
        host: model.HostFacts,
        today: str,
        limit: 'Optional[int]' = model.MAX_FINDINGS_PER_RULE,
    ) -> None:
        self.seconds = max(policy.deadline, _LEAST_SECONDS)
        self._policy = policy
        self._host = host
        self._today = today
        self._limit = limit
        self._screen = Screen(prepare(policy))
        self._sieve = Sieve(self._screen.needs(host))
        self._rules = policy.rules_at(model.ADMISSION)

    def judge(self, xml: bytes) -> model.Verdict:
        """The verdict on one document.

        :raises DomainXMLError: it is not a domain that can be judged
        """
        verdict = None
        document = read_words(xml)
        if document is None:
            verdict, candidates = self._screen.screen(xml, self._host)
            unusual = may_be_refused(xml)
        else:
            candidates = self._sieve.sift(document)
            unusual = not are_usual(document.distinct)
            if not candidates and not unusual and xml.count(b'</') < MAX_DEPTH:
                head = read_head(document)
                if head is not None and is_well_formed(xml):
                    verdict = self._screen.admit(*head)
        if verdict is None or unusual:
            rules = [self._rules[number] for number in candidates]
            local = document is not None
            domain = parse_domain(xml, local, local and not unusual)
            verdict = evaluate(self._policy, domain, self._host, self._today, rules, self._limit)
        return verdict


class Outcome:
    """The result of one file: what to print on standard output and on standard error, the decisions on the domains in
    it ('' for a document that was skipped), and the origins of the waivers that were used."""

    __slots__ = ('output', 'complaints', 'decisions', 'waivers')

    def __init__(
        self,
        output: str,
        complaints: 'Tuple[str, ...]',
        decisions: 'Tuple[str, ...]',
        waivers: 'Tuple[model.Origin, ...]' = (),
    ) -> None:
        self.output = output
        self.complaints = complaints
        self.decisions = decisions
        self.waivers = waivers


def judge_all(judge: Judge, output: 'OutputFormat', files: 'Iterable[DomainFile]') -> 'Iterator[Outcome]':
    """Judge all files. The outcomes come in the same order, while later files are still being judged."""

    def work(item: 'Item') -> 'Fields':
        return _fields(_judge_file(judge, output, DomainFile(*item)))

    def give_up(item: 'Item', reason: str) -> 'Fields':
        return _fields(_failed(output, DomainFile(*item), DomainXMLError(reason)))

    chunks = _chunks(files)
    head: 'List[Chunk]' = []
    while sum(len(chunk) for chunk in head) < _FEW:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head.append(chunk)
    workers = Workers(work, give_up, judge.seconds)
    try:
        for several, count in ((head, 1), (chunks, len(os.sched_getaffinity(0)))):
            for results in workers.results(several, count):
                for fields in results:
                    yield Outcome(*fields)
    finally:
        workers.end()


def _chunks(files: 'Iterable[DomainFile]') -> 'Iterator[Chunk]':
    chunk: 'Chunk' = []
    size = 0
    for file in files:
        chunk.append((file.name, file.asked_for, file.skipped))
        size += len(file.name)
        if len(chunk) == _CHUNK_DOCUMENTS or size > _CHUNK_BYTES or file.name == STDIN:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _judge_file(judge: Judge, output: 'OutputFormat', file: DomainFile) -> Outcome:
    outcomes = []
    for part in file.parts():
        outcomes.append(_judge_part(judge, output, file, part))
        signal.setitimer(signal.ITIMER_PROF, judge.seconds)  # each document may take the full time
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        ''.join(outcome.output for outcome in outcomes),
        tuple(complaint for outcome in outcomes for complaint in outcome.complaints),
        tuple(decision for outcome in outcomes for decision in outcome.decisions),
        tuple(origin for outcome in outcomes for origin in outcome.waivers),
    )


def _judge_part(judge: Judge, output: 'OutputFormat', file: DomainFile, part: 'Union[Section, GuardError]') -> Outcome:
    try:
        if isinstance(part, GuardError):
            raise part
        verdict = part.judged_by(judge.judge)
    except GuardError as error:
        return _failed(output, file, error)
    waivers = {finding.waiver.origin for finding in verdict.findings if finding.waiver is not None}
    return Outcome(output.verdict(file.name, verdict), (), (verdict.decision,), tuple(waivers))


def _failed(output: 'OutputFormat', file: DomainFile, error: GuardError) -> Outcome:
    complaint = file.complaint(error)
    if file.is_other(error):
        return Outcome('', (complaint,), ('',))
    return Outcome(output.failure(file.name, str(error)), (complaint,), (model.ERROR,))


def _fields(outcome: Outcome) -> 'Fields':
    return outcome.output, outcome.complaints, outcome.decisions, outcome.waivers
