# SPDX-License-Identifier: Apache-2.0
"""What a rule finds at the nodes that its match selects: place, line, what was seen there, without secrets. Pure:
no I/O.

The nodes are lxml's or those of tree, which has the same methods as far as they are used here. Names in namespaces are
{URI}NAME. No start without findings imports this.
"""

from . import model
from .tree import ARG_NS, LIBOSINFO_NS, NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, List, Optional, Sequence, Set, Tuple

    Element = Any  # etree._Element or tree.Element
    Node = Any  # an Element, or a string with its place

TEXT = '.'  # the text of an element, among what a rule compares
_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}
_OS = '{%s}os' % LIBOSINFO_NS
WRITTEN = '{%s}written' % ARG_NS
# A probe that has found so many times the number that is shown is not asked any more: probes take time.
_TIMES_THE_LIMIT = 16
_LENGTH = 200
_SAYS_WHAT = ('driver', 'qom-type', 'type')  # settings of a value that tell of what kind it is
# A verdict goes into logs and on screens, so secrets are not shown. Where a secret ends differs by syntax, so all that
# follows it is hidden, too. re compiles the patterns when they are first needed.
_SECRET_IN_TEXT = r'(?is)((?:passw[a-z]*|secret|data|key|token)["\']?\s*[=:]\s*).+'
_CREDENTIALS = r'(://)[^/@\s]*@'
_SECRET_NAMES = ('passw', 'secret', 'token')
_BEFORE_SECRETS = ('passw', 'secret', 'data', 'key', 'token')


class Paths:
    """Names elements as a person would: /domain/devices/disk[2]/source. For one document, which must not change."""

    def __init__(self) -> None:
        # Numbering all children of one parent and tag takes no longer than numbering one of them.
        self._numbers: 'Dict[Tuple[Element, str], Dict[Element, int]]' = {}

    def path(self, element: 'Element') -> str:
        """The path of an element; of an `arg` element, that of the `<qemu:arg>` it was read from."""
        node = written(element)
        steps = []
        parent = node.getparent()
        while parent is not None:
            numbers = self._numbers.get((parent, node.tag))
            if numbers is None:
                numbers = self._numbers[parent, node.tag] = _number(node, parent)
            tag = tag_name(node)
            steps.append(tag if len(numbers) == 1 else '%s[%d]' % (tag, numbers[node]))
            node, parent = parent, parent.getparent()
        steps.append(tag_name(node))
        return '/' + '/'.join(reversed(steps))


def _number(element: 'Element', parent: 'Element') -> 'Dict[Element, int]':
    """The children of a parent that have the element's tag."""
    numbers = {child: number for number, child in enumerate(parent.iterchildren(element.tag), 1)}
    if element not in numbers:  # lxml does not find an improper name, such as p:x with an unknown prefix
        same = [child for child in parent if child.tag == element.tag]
        numbers = {child: number for number, child in enumerate(same, 1)}
    return numbers


def _is_element(node: 'Node') -> bool:
    return not isinstance(node, str)


def written(element: 'Element') -> 'Element':
    """The element of the document itself: an `arg` element stands for the `<qemu:arg>` above it."""
    parent = element.getparent()
    return parent if parent is not None and is_reading(element) else element


def element_of(node: 'Node') -> 'Element':
    """The element of the document that a matched node is, belongs to, or was read from."""
    return written(node if _is_element(node) else node.getparent())


def is_reading(element: 'Element') -> bool:
    """Whether an element is not the document's own but the guard's reading of a QEMU argument."""
    return str(element.tag).startswith('{%s}' % ARG_NS)


def tag_name(element: 'Element') -> str:
    """An element's name, with the prefix that policies use."""
    uri, _, name = str(element.tag).rpartition('}')
    prefix = _PREFIXES.get(uri[1:])
    return '%s:%s' % (prefix, name) if prefix else name


def local_name(name: object) -> str:
    """The name of an element or an attribute without its namespace."""
    return str(name).rpartition('}')[2]


class _Found:
    """What one rule finds; each place once, although an argument that can be read in two ways may be found twice.

    Making a finding takes a hundred times as long as counting it.
    """

    def __init__(self, rule: model.Rule, paths: Paths, compared: 'Collection[str]', limit: 'Optional[int]') -> None:
        self._rule = rule
        self._compared = compared
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
        for node, status, message in self._shown:
            left[status] -= 1
            is_last = self._limit is not None and self._counts[status] - left[status] == self._limit
            more = left[status] if is_last else 0
            path, line = _path(node, self._paths), element_of(node).sourceline or 0
            seen = evidence_of(node, self._compared)
            findings.append(model.Finding(self._rule, status, path, line, seen, message, more=more))
        return findings


def find(
    rule: model.Rule,
    select: 'Callable[[model.Rule], Sequence[Node]]',
    host: model.HostFacts,
    paths: Paths,
    compared: 'Collection[str]',
    limit: 'Optional[int]' = model.MAX_FINDINGS_PER_RULE,
) -> 'List[model.Finding]':
    """What a rule finds.

    :param select: what its match selects
    :param compared: what it compares of an element, see evidence_of
    :param limit: findings of one status, beyond which they are only counted (see Finding.more)
    """
    answer, evidence = ask_facts(rule, host)
    if answer is False:
        return []
    if rule.match is None:
        status, message = _outcome(rule, answer, evidence)
        return [model.Finding(rule, status, '/domain', 0, evidence, message)]
    found = _Found(rule, paths, compared, limit)
    nodes = select(rule)
    values: 'Optional[Collection[str]]' = rule.values
    if values is not None and len(nodes) > 1:
        values = frozenset(values)
    answers: 'Dict[str, Tuple[model.Answer, str]]' = {}
    for number, node in enumerate(nodes):
        asked = '' if values is None and rule.probe is None else string_value(node)
        if values is not None and _is_listed(node, asked, values) == rule.negated:
            continue
        if rule.probe is None:
            status, message = _outcome(rule, answer, evidence)
        else:
            if found.is_known():
                found.count(rule.action, len(nodes) - number)
                break
            if asked not in answers:
                answers[asked] = _ask_probe(rule, host, asked)
            probed, reason = answers[asked]
            if probed is False:
                continue
            unanswered = 'probe %s of %r' % (rule.probe, asked) if probed is None else evidence
            status, message = _outcome(rule, answer if probed else None, unanswered)
            if reason:
                message = model.Phrase('%s (%s)', model.as_phrase(message), model.Phrase(reason))
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


def _ask_probe(rule: model.Rule, host: model.HostFacts, asked: str) -> 'Tuple[model.Answer, str]':
    """What the host answers, and why."""
    host.asking = rule.id
    answered = host.probe(rule.probe or '', asked)
    if isinstance(answered, str):
        from .locations import is_path, lies_below

        these, below = rule.places
        return is_path((answered,), these) or lies_below((answered,), below), 'it leads to %s' % answered
    answer, reason = answered if isinstance(answered, tuple) else (answered, '')
    if answer is None and rule.probe == 'foreign-emulator':
        from .emulators import is_foreign_name

        return is_foreign_name(asked), 'by its name; the file is not here to be looked at'
    return answer, reason


def _outcome(rule: model.Rule, answer: 'model.Answer', asked: str) -> 'Tuple[str, str]':
    if answer is None:
        return model.UNKNOWN, model.Phrase('this host cannot tell: %s', asked)
    return rule.action, rule.title


def string_value(node: 'Node') -> str:
    """What a rule's values and probe are asked about: XPath's string value, or an address as the host writes it."""
    if not _is_element(node):
        return str(node)
    if node.tag == 'address' and node.get('bus') is not None:
        return pci_address(node)
    if node.tag == 'source' and node.find('adapter') is not None:
        return scsi_address(node)
    return ''.join(node.itertext())


def pci_address(element: 'Element') -> str:
    """`<address domain= bus= slot= function=>` as sysfs writes it (0000:03:10.1); '' where it is not one.

    Numbers are read as libvirt reads them (src/conf/device_conf.c): base 0, so 0x10, 020 and 16 are the same.
    """
    try:
        domain, bus, slot, function = (_base_0(element.get(key, '0')) for key in ('domain', 'bus', 'slot', 'function'))
    except ValueError:
        return ''
    return '%04x:%02x:%02x.%x' % (domain, bus, slot, function)


def scsi_address(source: 'Element') -> str:
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
    is_octal = text[:1] == '0' and len(text) > 1 and not text.strip('01234567')
    return int(text, 8) if is_octal else int(text, 0)


def _is_listed(node: 'Node', asked: str, values: 'Collection[str]') -> bool:
    """Whether a rule's values have the value that is meant, or the one that is written."""
    if asked in values:
        return True
    if _is_element(node) or not node.is_attribute:
        return False
    return written_value(node.getparent(), str(node.attrname)) in values


def _path(node: 'Node', paths: Paths) -> str:
    path, name = paths.path(element_of(node)), _attribute(node)
    return '%s/@%s' % (path, name) if name else path


def _attribute(node: 'Node') -> str:
    """The name of the attribute that a matched node is, in a path; '' where it is none."""
    if _is_element(node) or not node.is_attribute:
        return ''
    # An attribute of an `arg` element is the guard's reading of the argument's own value.
    return 'value' if is_reading(node.getparent()) else local_name(node.attrname)


def evidence_of(node: 'Node', compared: 'Collection[str]' = ()) -> str:
    """What was seen, as XML: the start tag of an element, or its content where it has no attribute.

    :param compared: the children of an element, and TEXT, that are always shown
    """
    element = element_of(node)
    is_element = _is_element(node)
    only = node.attrname if not is_element and node.is_attribute else None
    if only is not None and only not in element.attrib:
        only = None
    inside = ''
    if only is None and not is_reading(element):
        inside = _inside(element, compared if is_element else (TEXT,))
    end = '</%s>' % _name(element) if inside else ''
    return _shorten('%s%s%s%s' % (_option_of(node, element), _start_tag(element, only, '>'), inside, end))


def _option_of(node: 'Node', element: 'Element') -> str:
    """The option before an argument's value, if the value does not say itself what it makes; else ''."""
    reading = node if _is_element(node) else node.getparent()
    if reading is None or not is_reading(reading) or any(reading.get(key) for key in _SAYS_WHAT):
        return ''
    before = element.getprevious()
    while before is not None and before.tag != element.tag:
        before = before.getprevious()
    if before is None or not before.get('value', '').startswith('-') or element.get('value', '').startswith('-'):
        return ''
    return _start_tag(before, None, '/>')


def _inside(element: 'Element', compared: 'Collection[str]') -> str:
    children = [child for child in element if not is_reading(child)]
    shown = [child for child in children if not element.attrib or tag_name(child) in compared]
    if not children and (not element.attrib or (TEXT in compared and (element.text or '').strip())):
        return _text(element)
    return ''.join(_brief(child) for child in shown)


def _brief(child: 'Element') -> str:
    if any(not is_reading(grandchild) for grandchild in child):
        return _start_tag(child, None, '>...')
    if not child.text:
        return _start_tag(child, None, '/>')
    return '%s%s</%s>' % (_start_tag(child, None, '>'), _text(child), _name(child))


def _name(element: 'Element') -> str:
    tag = local_name(element.tag)
    return '%s:%s' % (element.prefix, tag) if element.prefix else tag


def _start_tag(element: 'Element', only: 'Optional[str]', end: str) -> str:
    shown = [_name(element)]
    for name in element.keys():  # noqa: SIM118
        if only in (None, name):
            value = written_value(element, str(name))
            shown.append('%s="%s"' % (local_name(name), _mask(_named(element, str(name)), str(value))))
    return '<%s%s' % (' '.join(shown), end)


def _mask(name: str, value: str) -> str:
    name = name.casefold()
    if name == 'key' or any(word in name for word in _SECRET_NAMES):
        return '***'
    if '=' not in value and ':' not in value:  # so are most; re takes long to import, and to find out
        return value
    folded = value.casefold()
    if not any(word in folded for word in _BEFORE_SECRETS) and not ('://' in value and '@' in value):
        return value
    import re

    return re.sub(_CREDENTIALS, r'\1***@', re.sub(_SECRET_IN_TEXT, r'\1***', value))


def _text(element: 'Element') -> str:
    return _mask('%s %s' % (local_name(element.tag), element.get('name', '')), element.text or '')


def _named(element: 'Element', attribute: str) -> str:
    """The name of a value: for `<qemu:env name= value=>` and `<qemu:property>`, their `name`; else the attribute's."""
    return str(element.get('name', attribute)) if attribute == 'value' else attribute


def _shorten(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + '...'


def written_value(element: 'Element', name: str) -> str:
    """The value of an attribute (which must be there) in the document itself."""
    reading = element.find(WRITTEN) if element.tag == _OS else None
    value: 'Optional[str]' = None if reading is None else reading.get(name)
    return str(element.get(name)) if value is None else value
