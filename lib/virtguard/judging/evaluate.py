# SPDX-License-Identifier: Apache-2.0
"""evaluate(policy, subject, host, today) -> Verdict. Pure: what it must know of the host arrives as an argument."""

import re

from lxml import etree

from .. import model
from ..emulators import is_foreign_name
from ..match.check import compile_match
from ..policy.waivers import Waivers
from .evidence import compared_in, evidence_of
from .subject import Paths, Subject, element_of, is_reading, local_name, written_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Iterable, List, Optional, Set, Tuple

    from .subject import Node

# A probe that has found so many times the number that is shown is not asked any more: probes take time.
_TIMES_THE_LIMIT = 16


def evaluate(
    policy: model.Policy,
    subject: Subject,
    host: model.HostFacts,
    today: str,
    rules: 'Optional[Iterable[model.Rule]]' = None,
    limit: 'Optional[int]' = model.MAX_FINDINGS_PER_RULE,
) -> model.Verdict:
    """Judge one domain by every rule of admission. A rule that fails becomes a finding of status `error`, never a pass.

    :param today: YYYY-MM-DD by the host's calendar; waivers expire
    :param rules: those of the rules in use that may find something, where that is known; in the policy's order
    :param limit: findings of one rule and one status, beyond which they are only counted (see Finding.more)
    """
    findings: 'List[model.Finding]' = []
    paths = Paths()
    for rule in policy.rules_at(model.ADMISSION) if rules is None else rules:
        try:
            findings.extend(_apply(rule, subject, host, paths, limit))
        except etree.XPathError as error:
            message = 'the rule could not be evaluated: %s' % error
            findings.append(model.Finding(rule, model.ERROR, '/domain', 0, '', message))
    if policy.waivers:
        waivers = Waivers(policy.waivers, today)
        findings = [waivers.apply(finding, subject.name, subject.uuid) for finding in findings]
    return model.Verdict(subject.name, subject.uuid, policy, findings, today)


class _Found:
    """What one rule finds; each place once, although an argument that can be read in two ways may be found twice.

    Making a finding takes a hundred times as long as counting it.
    """

    def __init__(self, rule: model.Rule, paths: Paths, limit: 'Optional[int]') -> None:
        self._rule = rule
        self._paths = paths
        self._limit = limit
        self._seen: 'Set[Tuple[object, ...]]' = set()
        self._shown: 'List[Tuple[Node, str, str]]' = []
        self._counts: 'Dict[str, int]' = {}

    def add(self, node: 'Node', status: str, message: str) -> None:
        place = (element_of(node), _attribute(node), status, message)
        if place in self._seen:
            return
        self._seen.add(place)
        self.count(status, 1)
        if self._limit is None or self._counts[status] <= self._limit:
            self._shown.append((node, status, message))

    def count(self, status: str, number: int) -> None:
        self._counts[status] = self._counts.get(status, 0) + number

    def is_known(self) -> bool:
        """Whether there are so many that further answers of a probe do not matter."""
        return self._limit is not None and self._counts.get(self._rule.action, 0) >= self._limit * _TIMES_THE_LIMIT

    def findings(self) -> 'List[model.Finding]':
        """In the order of the document; the last one of each status tells how many more there are."""
        if not self._shown:
            return []
        left = dict(self._counts)
        findings = []
        compared = compared_in(self._rule)
        for node, status, message in self._shown:
            left[status] -= 1
            is_last = self._limit is not None and self._counts[status] - left[status] == self._limit
            more = left[status] if is_last else 0
            path, line = _path(node, self._paths), element_of(node).sourceline or 0
            seen = evidence_of(node, compared)
            findings.append(model.Finding(self._rule, status, path, line, seen, message, more=more))
        return findings


def _apply(
    rule: model.Rule, subject: Subject, host: model.HostFacts, paths: Paths, limit: 'Optional[int]'
) -> 'List[model.Finding]':
    answer, evidence = ask_facts(rule, host)
    if answer is False:
        return []
    if rule.match is None:
        status, message = _outcome(rule, answer, evidence)
        return [model.Finding(rule, status, '/domain', 0, evidence, message)]
    found = _Found(rule, paths, limit)
    nodes = _matched(rule, subject)
    values: 'Optional[Collection[str]]' = rule.values
    if values is not None and len(nodes) > 1:
        values = frozenset(values)
    answers: 'Dict[str, Tuple[model.Answer, str]]' = {}
    for number, node in enumerate(nodes):
        asked = '' if values is None and rule.probe is None else _string_value(node)
        if values is not None and _is_listed(node, asked, values) == rule.negated:
            continue
        if rule.probe is None:
            status, message = _outcome(rule, answer, evidence)
        else:
            if found.is_known():
                found.count(rule.action, len(nodes) - number)
                break
            if asked not in answers:
                answers[asked] = _ask_probe(rule.probe, host, asked)
            probed, reason = answers[asked]
            if probed is False:
                continue
            unanswered = 'probe %s of %r' % (rule.probe, asked) if probed is None else evidence
            status, message = _outcome(rule, answer if probed else None, unanswered)
            if reason:
                message += ' (%s)' % reason
        found.add(node, status, message)
    return found.findings()


def ask_facts(rule: model.Rule, host: model.HostFacts) -> 'Tuple[model.Answer, str]':
    """Whether the host meets every condition of a rule (None: it cannot tell), and what it answered."""
    answer: 'model.Answer' = True
    shown = []
    for condition in rule.host:
        value = getattr(host, condition.fact)
        mark = host.evidence.get(condition.fact)
        is_so = '%s (%s)' % (value, mark) if mark else 'unknown' if value is None else value
        shown.append('host %s is %s' % (condition.fact, is_so))
        met = condition.met_by(host)
        if met is False:
            return False, ''
        answer = answer if met else None
    return answer, ', '.join(shown)


def _ask_probe(probe: str, host: model.HostFacts, asked: str) -> 'Tuple[model.Answer, str]':
    """What the host answers, and why."""
    answered = host.probe(probe, asked)
    answer, reason = answered if isinstance(answered, tuple) else (answered, '')
    if answer is None and probe == 'foreign-emulator':
        return is_foreign_name(asked), 'by its name; the file is not here to be looked at'
    return answer, reason


def _outcome(rule: model.Rule, answer: 'model.Answer', asked: str) -> 'Tuple[str, str]':
    if answer is None:
        return model.UNKNOWN, 'this host cannot tell: %s' % asked
    return rule.action, rule.title


def _matched(rule: model.Rule, subject: Subject) -> 'List[Node]':
    assert rule.match is not None
    result = compile_match(rule.match)(subject.root)
    if isinstance(result, list):
        return result
    return [subject.root] if result else []


def _string_value(node: 'Node') -> str:
    """What a rule's values and probe are asked about: XPath's string value, or an address as the host writes it."""
    if not isinstance(node, etree._Element):
        return str(node)
    if node.tag == 'address' and node.get('bus') is not None:
        return pci_address(node)
    if node.tag == 'source' and node.find('adapter') is not None:
        return scsi_address(node)
    return ''.join(node.itertext())


def pci_address(element: 'etree._Element') -> str:
    """`<address domain= bus= slot= function=>` as sysfs writes it (0000:03:10.1); '' where it is not one.

    Numbers are read as libvirt reads them (src/conf/device_conf.c): base 0, so 0x10, 020 and 16 are the same.
    """
    try:
        domain, bus, slot, function = (_base_0(element.get(key, '0')) for key in ('domain', 'bus', 'slot', 'function'))
    except ValueError:
        return ''
    return '%04x:%02x:%02x.%x' % (domain, bus, slot, function)


def scsi_address(source: 'etree._Element') -> str:
    """The device of the host that a `<source>` names by adapter and address, as scsi:HOST:BUS:TARGET:UNIT; '' where it
    names none."""
    adapter, address = source.find('adapter'), source.find('address')
    name = '' if adapter is None else str(adapter.get('name', ''))
    if address is None or not name.startswith('scsi_host'):
        return ''
    try:
        numbers = [int(name[len('scsi_host') :])] + [
            _base_0(address.get(key, '0')) for key in ('bus', 'target', 'unit')
        ]
    except ValueError:
        return ''
    return 'scsi:%d:%d:%d:%d' % tuple(numbers)


def _base_0(text: str) -> int:
    """C's strtoul with base 0: unlike Python's int(), it reads a leading 0 as octal."""
    text = text.strip()
    return int(text, 8) if re.match(r'0[0-7]+$', text) else int(text, 0)


def _is_listed(node: 'Node', asked: str, values: 'Collection[str]') -> bool:
    """Whether a rule's values have the value that is meant, or the one that is written."""
    if asked in values:
        return True
    if isinstance(node, etree._Element) or not node.is_attribute:
        return False
    return written_value(node.getparent(), str(node.attrname)) in values


def _path(node: 'Node', paths: Paths) -> str:
    path, name = paths.path(element_of(node)), _attribute(node)
    return '%s/@%s' % (path, name) if name else path


def _attribute(node: 'Node') -> str:
    """The name of the attribute that a matched node is, in a path; '' where it is none."""
    if isinstance(node, etree._Element) or not node.is_attribute:
        return ''
    # An attribute of an `arg` element is the guard's reading of the argument's own value.
    return 'value' if is_reading(node.getparent()) else local_name(node.attrname)
