# SPDX-License-Identifier: Apache-2.0
"""What holds now, without regard to what was before: `virt-guard watch --once`.

As in a watch, what may take long is judged apart, so that no domain can prevent the verdicts on all others.
"""

import time
from functools import partial

from ..errors import GuardError
from ..model import Verdict
from .ledger import HOST
from .limited import wait_for
from .outcome import pack_finding, unpack_finding
from .qemu_processes import Processes
from .state import SMALL, STATUS, Raw, State, check_size, documents_of, is_light, take_document
from .state_files import StateFiles, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

    from ..policy.installation import Installation
    from .auditor import Auditor

    Outcome = Tuple[str, Union[Verdict, GuardError]]


class _Present:
    """What one domain's files say: its `state`, the path of its status, what is wrong with its files."""

    __slots__ = ('state', 'status', 'problems')

    def __init__(self) -> None:
        self.state = State()
        self.status = ''
        self.problems: 'List[Tuple[str, str]]' = []


def audit_now(installation: 'Installation', auditor: 'Auditor') -> 'Iterator[Outcome]':
    """What holds now. First, why directories of metadata cannot be listed; then, for the status file of each running
    domain, a verdict, or why there is none; last, a verdict on the host's processes, if it has findings.

    :raises StateFileError: the directory of status files cannot be listed
    """
    files = StateFiles(installation.run, installation.lib)
    paths, unlisted = files.paths()
    if files.run in unlisted:
        raise unlisted[files.run]
    yield from unlisted.items()
    domains: 'Dict[str, List[str]]' = {}
    for path in paths:
        domains.setdefault(files.about(path).domain, []).append(path)
    pids = set()
    for domain in sorted(domains):
        try:
            pid, outcomes = _domain_outcomes(files, auditor, domain, domains[domain])
        except GuardError as error:
            yield domains[domain][-1], GuardError("domain '%s' could not be judged: %s" % (domain, error))
            continue
        pids.add(pid)
        yield from outcomes
    processes = Processes(installation.run, lib=installation.lib)
    unowned, pause = processes.unowned(pids)
    if pause:
        time.sleep(pause)
        unowned, _ = processes.unowned(pids)
    try:
        verdict = _verdict(auditor, HOST, State(None, unowned))
    except GuardError as error:
        yield '/proc', GuardError("the host's processes could not be judged: %s" % error)
    else:
        if verdict.findings:
            yield '/proc', verdict


def _domain_outcomes(
    files: StateFiles, auditor: 'Auditor', domain: str, paths: 'List[str]'
) -> 'Tuple[int, List[Outcome]]':
    """The process of a domain, and the outcomes for its files.

    :raises GuardError: it cannot be judged
    """
    present = _read(files, auditor, paths, SMALL)
    if present is None:
        message = wait_for(partial(_judge_apart, files, auditor, domain, paths))
        problems, status, pid = message['problems'], message['status'], message['pid']
        verdict = None if not status else _unpack(message['verdict'], auditor, domain)
    else:
        problems, status, pid = present.problems, present.status, present.state.pid()
        verdict = auditor.verdict(domain, present.state) if status else None
    outcomes: 'List[Outcome]' = [(path, GuardError(text)) for path, text in problems]
    return pid, outcomes + ([] if verdict is None else [(status, verdict)])


def _read(files: StateFiles, auditor: 'Auditor', paths: 'List[str]', limit: 'Optional[int]') -> 'Optional[_Present]':
    """What files say; None if that is so much that they should be read apart."""
    if limit is not None and sum(size_of(path) or 0 for path in paths) > limit:
        return None
    present = _Present()
    for path in paths:
        files.forget(path)
        about = files.about(path)
        try:
            data = files.read(path)[1]
            if data is None:
                continue
            beside = None if limit is None else documents_of(present.state)
            document = take_document(about.kind, data, auditor.all_metadata, beside)
        except GuardError as error:
            present.problems.append((path, str(error)))
            continue
        if isinstance(document, Raw):
            return None
        present.state = present.state.with_document(about.kind, about.name, document)
        if about.kind == STATUS:
            present.status = path
    return present


def _judge_apart(files: StateFiles, auditor: 'Auditor', domain: str, paths: 'List[str]') -> 'Dict[str, Any]':
    present = _read(files, auditor, paths, None)
    assert present is not None
    check_size(present.state)
    return {
        'problems': present.problems,
        'status': present.status,
        'pid': present.state.pid(),
        'verdict': _pack(auditor, domain, present.state) if present.status else None,
    }


def _verdict(auditor: 'Auditor', name: str, state: State) -> Verdict:
    if is_light(documents_of(state)):
        return auditor.verdict(name, state)
    check_size(state)
    return _unpack(wait_for(partial(_pack, auditor, name, state)), auditor, name)


def _pack(auditor: 'Auditor', name: str, state: State) -> 'Tuple[Any, ...]':
    verdict = auditor.verdict(name, state)
    return str(verdict.uuid), [pack_finding(finding, auditor.policy) for finding in verdict.findings]


def _unpack(packed: 'Tuple[Any, ...]', auditor: 'Auditor', name: str) -> Verdict:
    uuid, findings = packed
    policy = auditor.policy
    rules = {rule.id: rule for rule in policy.rules}
    return Verdict(name, uuid, policy, [unpack_finding(f, rules, policy) for f in findings], auditor.today)
