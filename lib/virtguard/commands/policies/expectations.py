# SPDX-License-Identifier: Apache-2.0
"""Test cases of a policy: documents, and what the rules must find in them. Pure: no I/O.

The file expected.yaml beside the documents says for each, by the name of its file:

    fail-screen.xml:
      host: {os: rhel-8.10}      # as in a file for `check --facts`; defaults are in HOST, other facts are unknown
      date: 2026-11-25           # the day on which it is judged, for waivers; default: today
      phase: start               # the document is what the start of a domain shows, see model.START
      findings:                  # every finding, of every rule
        - {rule: no-vnc, status: deny, line: 36, path: /domain/devices/graphics}

`line` and `path` are optional. A document whose root is <transition> is judged by the rules of run time.
"""

import yaml

from ... import model
from ...errors import suggest
from ...judging.evaluate import evaluate
from ...judging.subject import Subject, parse_domain, parse_xml
from ...match.check import ROOTS
from ...policy.problems import PolicyError
from ...policy.yaml_reader import Reader
from ..domains.stated_facts import StatedFacts, read_stated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, List, Mapping, Optional, Sequence, Set, Tuple

# The default host of a case.
HOST = {'arch': 'x86_64', 'container': 'none'}
STATUSES = (model.DENY, model.WARN, model.WAIVED, model.UNKNOWN, model.ERROR)


class Expectation:
    """A finding that must be there; a `line` of None and a `path` of '' match any."""

    __slots__ = ('rule', 'status', 'line', 'path')

    def __init__(self, rule: str, status: str, line: 'Optional[int]', path: str) -> None:
        self.rule = rule
        self.status = status
        self.line = line
        self.path = path

    def is_met_by(self, finding: model.Finding) -> bool:
        return (
            (self.rule, self.status) == (finding.rule.id, finding.status)
            and self.line in (None, finding.line)
            and self.path in ('', finding.path)
        )

    def __str__(self) -> str:
        line = ' in line %d' % self.line if self.line else ''
        return '%s [%s]%s%s' % (self.status, self.rule, ' ' + self.path if self.path else '', line)


class Case:
    """One document and the findings expected in it; `date` is YYYY-MM-DD, '' means today; `starting`: it is judged as
    by the last call of a start."""

    __slots__ = ('name', 'host', 'date', 'expected', 'starting')

    def __init__(
        self, name: str, host: StatedFacts, date: str, expected: 'Sequence[Expectation]', starting: bool = False
    ) -> None:
        self.name = name
        self.host = host
        self.date = date
        self.expected = tuple(expected)
        self.starting = starting


def load_cases(data: bytes, path: str, files: 'Collection[str]', host: 'Mapping[str, str]' = HOST) -> 'List[Case]':
    """Read an expected.yaml.

    :param files: the names of the documents in the directory
    :param host: the facts of cases that do not state them
    :raises PolicyError: with every problem at once
    """
    reader = Reader(path)
    root = reader.compose(data, 'the file')
    cases = [_read_case(reader, key, node, files, host) for key, node in _entries(reader, root)]
    if reader.problems:
        raise PolicyError(sorted(reader.problems, key=lambda p: (p.line, p.column)), {})
    return cases


def _entries(reader: Reader, root: 'Optional[yaml.Node]') -> 'List[Tuple[yaml.ScalarNode, yaml.Node]]':
    entries = list(root.value) if isinstance(root, yaml.MappingNode) else []
    named = [(key, node) for key, node in entries if isinstance(key, yaml.ScalarNode)]
    if root is not None:
        reader.mapping(root, 'the file', [key.value for key, _ in named], ())
    return named


def _read_case(
    reader: Reader, key: 'yaml.Node', node: 'yaml.Node', files: 'Collection[str]', default: 'Mapping[str, str]'
) -> Case:
    name = str(key.value)
    if name not in files:
        reader.problem(key, 'there is no file %r here' % name, suggest(name, sorted(files)) if files else '')
    nodes = reader.mapping(node, name, ('host', 'date', 'phase', 'findings'), ('findings',))
    host = read_stated(reader, nodes['host'], 'host', default) if 'host' in nodes else StatedFacts(default, {})
    findings = reader.sequence(nodes.get('findings'), 'findings', may_be_empty=True)
    return Case(
        name,
        host,
        reader.day(nodes.get('date'), 'date') or '',
        [_read_expectation(reader, item) for item in findings],
        reader.choice(nodes.get('phase'), 'phase', (model.START,)) == model.START,
    )


def _read_expectation(reader: Reader, node: 'yaml.Node') -> Expectation:
    nodes = reader.mapping(node, 'the finding', ('rule', 'status', 'line', 'path'), ('rule', 'status'))
    return Expectation(
        reader.line_of_text(nodes.get('rule'), 'rule') or '',
        reader.choice(nodes.get('status'), 'status', STATUSES) or '',
        reader.whole_number(nodes.get('line'), 'line'),
        reader.line_of_text(nodes.get('path'), 'path') or '',
    )


def judge_case(case: Case, xml: bytes, policy: model.Policy, today: str) -> model.Verdict:
    """What a policy finds in the document of a case.

    :raises DomainXMLError: it is neither a domain nor a transition
    """
    limit = len(case.expected) + model.MAX_FINDINGS_PER_RULE
    root = parse_xml(xml)
    if root.tag != ROOTS[model.RUNTIME]:
        of_start = policy.rules_of_start() if case.starting else None
        return evaluate(policy, parse_domain(xml), case.host, case.date or today, of_start, limit)
    name, uuid = (root.findtext('.//domstatus/domain/' + tag) or '' for tag in ('name', 'uuid'))
    rules = policy.rules_at(model.RUNTIME)
    return evaluate(policy, Subject(name, uuid, root), case.host, case.date or today, rules, limit)


def compare(
    expected: 'Sequence[Expectation]', findings: 'Sequence[model.Finding]'
) -> 'Tuple[List[Expectation], List[model.Finding]]':
    """The expectations that no finding meets, and the findings that nothing expects.

    Each finding meets one expectation at most. They are paired so that as many expectations as possible are met.
    """
    fitting = [[n for n, finding in enumerate(findings) if wanted.is_met_by(finding)] for wanted in expected]
    taken: 'Dict[int, int]' = {}  # the number of a finding -> that of the expectation that it meets

    def take_one(wanted: int, tried: 'Set[int]') -> bool:
        for number in fitting[wanted]:
            if number in tried:
                continue
            tried.add(number)
            # A finding that is taken is free once the expectation that has it can take another one.
            if number not in taken or take_one(taken[number], tried):
                taken[number] = wanted
                return True
        return False

    missing = [expectation for number, expectation in enumerate(expected) if not take_one(number, set())]
    return missing, [finding for number, finding in enumerate(findings) if number not in taken]


def unasked(case: Case) -> 'List[Tuple[str, str]]':
    """The answers in a case that no rule has asked for, once it is judged: (probe, subject)."""
    answered = {(probe, subject) for probe, answers in case.host.answers.items() for subject in answers}
    return sorted(answered - case.host.asked)
