# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy test DIR`: judges test cases, and tells where the findings are not the expected ones.

The cases of a rule are in a directory with the name of the rule: an expected.yaml (see expectations) and the documents
that it names. A rule is tested if one case expects a finding of it, and another case expects none.
"""

import os

from ... import model
from ...errors import GuardError, suggest
from ...host import today
from ...policy.drop_ins import drop_in_directory
from ...policy.files import read_policy_file
from ...policy.installation import profiles
from ...policy.problems import PolicyError
from ...wording import counted, others
from .. import loading
from ..domains.domain_files import DomainFile
from ..exit_status import AMISS, FINE, NOT_JUDGED
from ..terminal import complain, show_line
from .expectations import HOST, Case, Expectation, compare, judge_case, load_cases, unasked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterator, List, Mapping, Optional, Set, Tuple

    from ...policy.installation import Installation
    from ...policy.problems import Problem

EXPECTED = 'expected.yaml'


class _Directory:
    """One directory with an expected.yaml; `rule` is its name, `unnamed` are documents without a case."""

    __slots__ = ('path', 'rule', 'cases', 'unnamed')

    def __init__(self, path: str, cases: 'List[Case]', unnamed: 'List[str]') -> None:
        self.path = path
        self.rule = os.path.basename(os.path.realpath(path))
        self.cases = cases
        self.unnamed = unnamed


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge every case below the directory; print one line for each expectation that is not met."""
    policy = loading.policy_for_host(arguments, installation)
    host = dict(HOST, os=arguments.host.os) if arguments.host is not None else HOST
    directories = _read_directories(arguments.directory, host)
    total = failures = 0
    failed = False
    for directory in directories:
        for name in directory.unnamed:
            failures += 1
            _tell(os.path.join(directory.path, name), 'an entry in %s' % EXPECTED, 'none')
        for case in directory.cases:
            total += 1
            file = DomainFile(os.path.join(directory.path, case.name), True)
            try:
                failures += _run_case(policy, case, file)
            except GuardError as error:
                failed = True
                complain(file.complaint(error))
    for rule in _rules_to_test(policy, arguments.policy is not None, arguments.all):
        failures += _check_coverage(rule, directories, arguments.directory)
    if not total:
        failures += 1
        _tell(arguments.directory, 'cases', 'no %s below it that has one' % EXPECTED)
    result = counted(failures, 'failure') if failures else 'all as expected'
    show_line('%s: %s' % (counted(total, 'case'), result))
    return NOT_JUDGED if failed else AMISS if failures else FINE


def _read_directories(top: str, host: 'Mapping[str, str]') -> 'List[_Directory]':
    found = []
    problems: 'List[Problem]' = []
    for path, names, files in os.walk(top, onerror=_raise):
        names.sort()
        if EXPECTED not in files:
            continue
        expected = os.path.join(path, EXPECTED)
        documents = {name for name in files if name != EXPECTED and os.path.isfile(os.path.join(path, name))}
        try:
            cases = load_cases(read_policy_file(expected, 'the file'), expected, documents, host)
        except PolicyError as error:
            problems += error.problems
        else:
            unnamed = {name for name in documents if name.endswith('.xml')} - {case.name for case in cases}
            found.append(_Directory(path, cases, sorted(unnamed)))
    if problems:
        raise PolicyError(problems, {})
    return found


def _raise(error: OSError) -> None:
    raise GuardError('%s: cannot be listed: %s' % (error.filename, error.strerror)) from None


def _tell(path: str, expected: str, found: str, line: int = 0) -> None:
    show_line('%s: expected %s, found %s' % ('%s:%d' % (path, line) if line else path, expected, found))


def _run_case(policy: model.Policy, case: Case, file: DomainFile) -> int:
    """Judge one case and tell what is not as expected. Returns the number of differences."""
    path = file.name
    verdict = judge_case(case, file.read(), policy, today())
    pairs = list(_pair(*compare(case.expected, verdict.findings)))
    for expectation, finding in pairs:
        expected = str(expectation) if expectation is not None else 'nothing'
        if expectation is not None and expectation.rule not in {rule.id for rule in policy.rules}:
            expected += ' (there is no such rule; %s)' % suggest(expectation.rule, [rule.id for rule in policy.rules])
        if finding is not None:
            place = Expectation(finding.rule.id, finding.status, finding.line, finding.path)
            more = ' (%s)' % others(finding) if finding.more else ''
            _tell(path, expected, '%s: %s%s' % (place, finding.message, more), finding.line)
        else:
            _tell(path, expected, 'nothing', expectation.line or 0 if expectation is not None else 0)
    questions = unasked(case)
    for probe, subject in questions:
        _tell(path, 'the probe %s to be asked about %r' % (probe, subject), 'no rule that asks')
    return len(pairs) + len(questions)


def _pair(
    missing: 'List[Expectation]', surplus: 'List[model.Finding]'
) -> 'Iterator[Tuple[Optional[Expectation], Optional[model.Finding]]]':
    """Each missing finding with one of the same rule that is there instead, if any; then the rest of the findings."""
    rest = list(surplus)
    for expectation in missing:
        instead = next((finding for finding in rest if finding.rule.id == expectation.rule), None)
        if instead is not None:
            rest.remove(instead)
        yield expectation, instead
    for finding in rest:
        yield None, finding


def _rules_to_test(policy: model.Policy, is_given: bool, all_rules: bool) -> 'Iterator[model.Rule]':
    """The rules in use that must have cases: a site's own; the rules that come with the guard have tests of their own.

    :param is_given: the policy is a file that was asked for, so all that is in it, and in its drop-ins, is the site's
    """
    shipped = set(policy.files[:1]) | set(profiles().values())
    own: 'Set[str]' = set(policy.files) - shipped
    if is_given:
        drop_ins = drop_in_directory(policy.source)
        own = {path for path in policy.files if path == policy.source or os.path.dirname(path) == drop_ins}
    for rule in policy.rules:
        # A site that sets one of these keys decides what the rule finds, and so must test it.
        origins = {rule.origins[key] for key in model.FINDING_KEYS if key in rule.origins} | {rule.origin}
        if rule.action != 'off' and (all_rules or own.intersection(path for path, _ in origins)):
            yield rule


def _check_coverage(rule: model.Rule, directories: 'List[_Directory]', top: str) -> int:
    cases = [case for directory in directories if directory.rule == rule.id for case in directory.cases]
    failing = sum(any(expectation.rule == rule.id for expectation in case.expected) for case in cases)
    kinds = (('a failing case', failing), ('a passing case', len(cases) - failing))
    lacking = [kind for kind, count in kinds if not count] if cases else ['a case']
    for kind in lacking:
        where = os.path.join(top, '' if os.path.basename(os.path.realpath(top)) == rule.id else rule.id)
        _tell(rule.origin[0], '%s for rule %r in %s' % (kind, rule.id, where), 'none', rule.origin[1])
    return len(lacking)
