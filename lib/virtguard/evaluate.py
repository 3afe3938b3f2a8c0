# SPDX-License-Identifier: Apache-2.0
"""evaluate(policy, domain, host, today) -> Verdict. Pure: what it must know of the host arrives as an argument."""

import re

from lxml import etree

from . import model
from .domain import Domain, Paths, is_reading, written
from .expressions import compile_match
from .waivers import Waivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional, Tuple, Union

    Node = Union[etree._Element, etree._ElementUnicodeResult]

_EVIDENCE_LENGTH = 200
# A verdict goes into logs and on screens: what opens a lock is not shown.
_SECRET_NAME = re.compile(r'passw|secret|token|^key$', re.IGNORECASE)
# What ends a secret differs by syntax, so all that follows goes with it.
_SECRET_IN_TEXT = re.compile(r'((?:passw[a-z]*|secret|data|key|token)["\']?\s*[=:]\s*).+', re.IGNORECASE | re.DOTALL)
_CREDENTIALS = re.compile(r'(://)[^/@\s]*@')


def evaluate(
    policy: model.Policy,
    domain: Domain,
    host: model.HostFacts,
    today: str,
    rules: 'Optional[Iterable[model.Rule]]' = None,
) -> model.Verdict:
    """Judge one domain by every rule of admission. One that fails becomes a finding of status `error`, never a pass.

    :param today: YYYY-MM-DD by the host's calendar; waivers expire
    :param rules: those of the rules in use that may find something, where that is known; in the policy's order
    """
    findings: 'List[model.Finding]' = []
    paths = Paths()
    for rule in policy.rules_at(model.ADMISSION) if rules is None else rules:
        try:
            findings.extend(_distinct(_judge(rule, domain, host, paths)))
        except etree.XPathError as error:
            message = 'the rule could not be evaluated: %s' % error
            findings.append(model.Finding(rule, model.ERROR, '/domain', 0, '', message))
    if policy.waivers:
        waivers = Waivers(policy.waivers, today)
        findings = [waivers.apply(finding, domain.name, domain.uuid) for finding in findings]
    return model.Verdict(domain.name, domain.uuid, policy, findings, today)


def _distinct(findings: 'Iterable[model.Finding]') -> 'Iterator[model.Finding]':
    """Each place once: an argument that can be read in two ways may be found in both."""
    seen = set()
    for finding in findings:
        place = (finding.path, finding.status, finding.message)
        if place not in seen:
            seen.add(place)
            yield finding


def _judge(rule: model.Rule, domain: Domain, host: model.HostFacts, paths: Paths) -> 'Iterator[model.Finding]':
    answer, evidence = _ask_facts(rule, host)
    if answer is False:
        return
    if rule.match is None:
        status, message = _outcome(rule, answer, evidence)
        yield model.Finding(rule, status, '/domain', domain.root.sourceline or 0, evidence, message)
        return
    for node in _matched(rule, domain):
        subject = '' if rule.values is None and rule.probe is None else _string_value(node)
        if rule.values is not None and subject not in rule.values:
            continue
        if rule.probe is None:
            status, message = _outcome(rule, answer, evidence)
        else:
            probed = host.probe(rule.probe, subject)
            if probed is False:
                continue
            unanswered = 'probe %s of %r' % (rule.probe, subject) if probed is None else evidence
            status, message = _outcome(rule, answer if probed else None, unanswered)
        element = _element(node)
        yield model.Finding(rule, status, _path(node, paths), element.sourceline or 0, evidence_of(node), message)


def _ask_facts(rule: model.Rule, host: model.HostFacts) -> 'Tuple[model.Answer, str]':
    """Whether the host meets every condition of a rule (None: it cannot tell), and what it answered."""
    answer: 'model.Answer' = True
    shown = []
    for condition in rule.host:
        value = getattr(host, condition.fact)
        shown.append('host %s is %s' % (condition.fact, 'unknown' if value is None else value))
        met = condition.met_by(host)
        if met is False:
            return False, ''
        answer = answer if met else None
    return answer, ', '.join(shown)


def _outcome(rule: model.Rule, answer: 'model.Answer', asked: str) -> 'Tuple[str, str]':
    if answer is None:
        return model.UNKNOWN, 'this host cannot tell: %s' % asked
    return rule.action, rule.title


def _matched(rule: model.Rule, domain: Domain) -> 'List[Node]':
    assert rule.match is not None
    result = compile_match(rule.match)(domain.root)
    if isinstance(result, list):
        return result
    return [domain.root] if result else []


def _element(node: 'Node') -> 'etree._Element':
    """The element of the document that a matched node is, belongs to, or was read from."""
    return written(node if isinstance(node, etree._Element) else node.getparent())


def _string_value(node: 'Node') -> str:
    """What a rule's values and probe are asked about: XPath's string value, or a PCI address as the host writes it."""
    if not isinstance(node, etree._Element):
        return str(node)
    if node.tag == 'address' and node.get('bus') is not None:
        return pci_address(node)
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


def _base_0(text: str) -> int:
    """C's strtoul with base 0: unlike Python's int(), it reads a leading 0 as octal."""
    text = text.strip()
    return int(text, 8) if re.match(r'0[0-7]+$', text) else int(text, 0)


def _path(node: 'Node', paths: Paths) -> str:
    path = paths.path(_element(node))
    if isinstance(node, etree._Element) or not node.is_attribute:
        return path
    # An attribute of an `arg` element is the guard's reading of the argument's own value.
    name = 'value' if is_reading(node.getparent()) else _local(node.attrname)
    return '%s/@%s' % (path, name)


def evidence_of(node: 'Node') -> str:
    """What was seen, as XML: the start tag of an element, or its content where it has no attribute."""
    element = _element(node)
    only = node.attrname if not isinstance(node, etree._Element) and node.is_attribute else None
    if only is not None and only not in element.attrib:
        only = None
    if only is not None or element.attrib or (not len(element) and not element.text):
        return _shorten(_start_tag(element, only, '>'))
    inside = ''.join(_brief(child) for child in element) or _mask('', element.text or '')
    return _shorten('%s%s</%s>' % (_start_tag(element, None, '>'), inside, _name(element)))


def _brief(child: 'etree._Element') -> str:
    if any(not is_reading(grandchild) for grandchild in child):
        return _start_tag(child, None, '>...')
    if not child.text:
        return _start_tag(child, None, '/>')
    return '%s%s</%s>' % (_start_tag(child, None, '>'), _mask('', child.text), _name(child))


def _name(element: 'etree._Element') -> str:
    tag = _local(element.tag)
    return '%s:%s' % (element.prefix, tag) if element.prefix else tag


def _local(name: object) -> str:
    return str(name).rpartition('}')[2]


def _start_tag(element: 'etree._Element', only: 'Optional[str]', end: str) -> str:
    shown = [_name(element)]
    for name, value in element.items():
        if only in (None, name):
            shown.append('%s="%s"' % (_local(name), _mask(_named(element, str(name)), str(value))))
    return '<%s%s' % (' '.join(shown), end)


def _mask(name: str, value: str) -> str:
    if _SECRET_NAME.search(name):
        return '***'
    if '=' not in value and ':' not in value:  # as most are, and the expressions below take long to see it
        return value
    return _CREDENTIALS.sub(r'\1***@', _SECRET_IN_TEXT.sub(r'\1***', value))


def _named(element: 'etree._Element', attribute: str) -> str:
    """What an attribute's value is the value of: `<qemu:env name= value=>` and `<qemu:property>` say so themselves."""
    return str(element.get('name', attribute)) if attribute == 'value' else attribute


def _shorten(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= _EVIDENCE_LENGTH else text[: _EVIDENCE_LENGTH - 3] + '...'
