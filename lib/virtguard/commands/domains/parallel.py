# SPDX-License-Identifier: Apache-2.0
"""Judges many files, in order, on all cores, in memory that does not grow with their number."""

import os

from ... import model
from ...errors import DomainXMLError, GuardError
from .domain_files import STDIN, DomainFile
from .pool import Workers, give_time, wait_as_long_as_it_takes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, List, Tuple, Union

    from ...judging.judge import Judge
    from ..output.outputs import Outputs
    from ..output.verdict_format import VerdictFormat
    from .file_parts import Section

    Item = Tuple[str, bool, str]
    Chunk = List[Item]
    Fields = Tuple[str, Tuple[str, ...], Tuple[str, ...], Tuple[str, ...], Tuple[model.Origin, ...]]

# A chunk is worth a message, and small enough that all that are under way for a process (see pool) fit into a pipe
# (64 KiB on Linux).
_CHUNK_DOCUMENTS = 128
_CHUNK_BYTES = 8 * 1024
_FEW = 256  # documents that are judged before another process would have been started


class Outcome:
    """The result of one file: what to print on standard output; lines for standard error: errors
    (complaints) and what was skipped; the decisions on the domains in it ('' for a document that was skipped); the
    origins of the waivers that were used."""

    __slots__ = ('output', 'complaints', 'skipped', 'decisions', 'waivers')

    def __init__(
        self,
        output: str,
        complaints: 'Tuple[str, ...]',
        skipped: 'Tuple[str, ...]',
        decisions: 'Tuple[str, ...]',
        waivers: 'Tuple[model.Origin, ...]' = (),
    ) -> None:
        self.output = output
        self.complaints = complaints
        self.skipped = skipped
        self.decisions = decisions
        self.waivers = waivers


def judge_all(
    judge: 'Judge', output: 'Union[VerdictFormat, Outputs]', files: 'Iterable[DomainFile]'
) -> 'Iterator[Outcome]':
    """Judge all files. The outcomes come in the same order, while later files are still being judged."""

    def work(file: DomainFile) -> 'Fields':
        return _fields(_judge_file(judge, output, file))

    def give_up(file: DomainFile, error: GuardError) -> 'Fields':
        return _fields(_failed(output, file, error))

    for fields in work_on_files(work, give_up, judge.seconds, files):
        yield Outcome(*fields)


def work_on_files(
    work: 'Callable[[DomainFile], Any]',
    give_up: 'Callable[[DomainFile, GuardError], Any]',
    seconds: float,
    files: 'Iterable[DomainFile]',
) -> 'Iterator[Any]':
    """What `work` makes of each file, in the same order, in processes with limits; see pool.Workers.

    :param give_up: makes the result for a file that exceeded a limit
    """

    def work_on_item(item: 'Item') -> 'Any':
        return work(DomainFile(*item))

    def give_up_item(item: 'Item', reason: str) -> 'Any':
        return give_up(DomainFile(*item), DomainXMLError(reason))

    chunks = _chunks(files)
    head: 'List[Chunk]' = []
    while sum(len(chunk) for chunk in head) < _FEW:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head.append(chunk)
    workers = Workers(work_on_item, give_up_item, seconds)
    try:
        for several, count in ((head, 1), (chunks, len(os.sched_getaffinity(0)))):
            for results in workers.results(several, count):
                yield from results
    finally:
        workers.end()


def _chunks(files: 'Iterable[DomainFile]') -> 'Iterator[Chunk]':
    chunk: 'Chunk' = []
    size = 0
    for file in files:
        chunk.append((file.name, file.asked_for, file.skipped))
        size += len(file.name.encode('utf-8', 'surrogatepass'))  # as marshal writes it
        if len(chunk) == _CHUNK_DOCUMENTS or size > _CHUNK_BYTES or file.name == STDIN:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _judge_file(judge: 'Judge', output: 'Union[VerdictFormat, Outputs]', file: DomainFile) -> Outcome:
    outcomes = []
    if file.name == STDIN:
        wait_as_long_as_it_takes()
    for part in file.parts():
        give_time(judge.seconds)  # each document may take the full time
        outcomes.append(_judge_part(judge, output, file, part))
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        ''.join(outcome.output for outcome in outcomes),
        tuple(complaint for outcome in outcomes for complaint in outcome.complaints),
        tuple(skipped for outcome in outcomes for skipped in outcome.skipped),
        tuple(decision for outcome in outcomes for decision in outcome.decisions),
        tuple(origin for outcome in outcomes for origin in outcome.waivers),
    )


def _judge_part(
    judge: 'Judge', output: 'Union[VerdictFormat, Outputs]', file: DomainFile, part: 'Union[Section, GuardError]'
) -> Outcome:
    try:
        if isinstance(part, GuardError):
            raise part
        verdict = part.judged_by(judge.judge)
    except GuardError as error:
        return _failed(output, file, error)
    waivers = {finding.waiver.origin for finding in verdict.findings if finding.waiver is not None}
    return Outcome(output.verdict(file.name, verdict), (), (), (verdict.decision,), tuple(waivers))


def _failed(output: 'Union[VerdictFormat, Outputs]', file: DomainFile, error: GuardError) -> Outcome:
    complaint = file.complaint(error)
    if file.is_other(error):
        return Outcome('', (), (complaint,), ('',))
    line = error.line if isinstance(error, DomainXMLError) else 0
    return Outcome(output.failure(file.name, str(error), line), (complaint,), (), (model.ERROR,))


def _fields(outcome: Outcome) -> 'Fields':
    return outcome.output, outcome.complaints, outcome.skipped, outcome.decisions, outcome.waivers
