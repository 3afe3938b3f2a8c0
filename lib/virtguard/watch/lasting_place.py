# SPDX-License-Identifier: Apache-2.0
"""The place of a finding, in terms that stay the same while the document around it changes. Pure: no I/O.

A path of numbers (`disk[2]`) names another disk as soon as the first one is unplugged. So an element is known by what
libvirt itself knows it by: its alias, its target, its name. Only an element without any of these is counted.

A document may have ten thousand siblings, and a finding in each: they are counted once.
"""

import re

from lxml import etree

from ..findings import TEXT, evidence_of, tag_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    Step = Tuple[str, str, int]  # the tag, the key or '', the number among those with this tag and key

# What libvirt writes here changes while they go on; each is the same one as long as its key is the same.
_PROGRESSING = frozenset(('job', 'blockjob', 'mirror', 'domainbackup', 'domainsnapshot', 'domaincheckpoint'))
_ONLY_ONE = frozenset(('domstatus', 'domain'))
_KEYS = ('name', 'alias', 'dev', 'id', 'flag', 'index', 'asyncStarted', 'async')
_STEP = re.compile(r'(.*?)(?:\[(\d+)\])?$')


class Siblings:
    """Counts the children of elements, each element's once. For documents that do not change."""

    def __init__(self) -> None:
        self._by_tag: 'Dict[etree._Element, Dict[str, List[etree._Element]]]' = {}
        self._twins: 'Dict[etree._Element, Dict[Tuple[str, str], List[etree._Element]]]' = {}
        self._steps: 'Dict[etree._Element, Step]' = {}

    def of_tag(self, parent: 'etree._Element', tag: str) -> 'List[etree._Element]':
        """The children with this tag."""
        if parent not in self._by_tag:
            found: 'Dict[str, List[etree._Element]]' = {}
            for child in parent:
                found.setdefault(tag_name(child), []).append(child)
            self._by_tag[parent] = found
        return self._by_tag[parent].get(tag, [])

    def twins(self, parent: 'etree._Element', tag: str, key: str) -> 'List[etree._Element]':
        """The children with this tag and this key."""
        if parent not in self._twins:
            found: 'Dict[Tuple[str, str], List[etree._Element]]' = {}
            for child in parent:
                name = (tag_name(child), _key(child))
                twins = found.setdefault(name, [])
                self._steps[child] = (*name, len(twins))
                twins.append(child)
            self._twins[parent] = found
        return self._twins[parent].get((tag, key), [])

    def step(self, child: 'etree._Element') -> 'Step':
        """The last step of the way to an element that has a parent."""
        if child not in self._steps:
            self.twins(child.getparent(), '', '')
        return self._steps[child]


class LastingPlace:
    """A place in one document; `attribute` is '' where it is an element."""

    __slots__ = ('element', 'attribute', '_siblings')

    def __init__(self, element: 'etree._Element', attribute: str, siblings: Siblings) -> None:
        self.element = element
        self.attribute = attribute
        self._siblings = siblings

    def evidence(self, text_counts: bool = False) -> str:
        """What is there now, as a finding shows it; '' where an attribute is gone."""
        if not self.attribute:
            return evidence_of(self.element, (TEXT,) if text_counts else ())
        nodes = self.element.xpath('@*[local-name() = $name]', name=self.attribute)
        return evidence_of(nodes[0]) if nodes else ''

    def is_progressing(self) -> bool:
        return any(node.tag in _PROGRESSING for node in (self.element, *self.element.iterancestors()))

    def key(self, top: 'etree._Element') -> str:
        """The path below `top`, in terms that stay the same."""
        names = []
        for tag, key, number in self.steps(top):
            names.append(tag + ('[%s]' % key if key else '') + ('[%d]' % number if number else ''))
        return '/'.join(names + (['@' + self.attribute] if self.attribute else []))

    def steps(self, top: 'etree._Element') -> 'List[Step]':
        steps: 'List[Step]' = []
        node = self.element
        while node is not top:
            parent = node.getparent()
            if parent is None:
                break
            steps.append(self._siblings.step(node))
            node = parent
        return steps[::-1]

    def in_other(self, top: 'etree._Element', other: 'Optional[etree._Element]') -> 'Optional[LastingPlace]':
        """The same place below another top; None where there is none."""
        node = other
        for tag, key, number in self.steps(top):
            if node is None:
                return None
            twins = self._siblings.twins(node, tag, key)
            node = twins[number] if number < len(twins) else None
        return None if node is None else LastingPlace(node, self.attribute, self._siblings)


def find_place(root: 'etree._Element', path: str, siblings: 'Optional[Siblings]' = None) -> 'Optional[LastingPlace]':
    """The place of a finding's path (see subject.Paths) in the document that it was found in.

    :param siblings: shared by all places of a document, and of the document that it is compared with
    """
    siblings = siblings or Siblings()
    first, *rest = path.lstrip('/').split('/')
    if first != tag_name(root):
        return None
    node = root
    for step in rest:
        if step.startswith('@'):
            return LastingPlace(node, step[1:], siblings)
        match = _STEP.match(step)
        assert match
        children = siblings.of_tag(node, match.group(1))
        number = int(match.group(2) or 1)
        if number > len(children):
            return None
        node = children[number - 1]
    return LastingPlace(node, '', siblings)


def _key(element: 'etree._Element') -> str:
    if element.tag in _ONLY_ONE:
        return ''
    if element.tag == 'process':
        return str(element.get('pid', ''))
    for child, attribute in (('alias', 'name'), ('target', 'dev'), ('mac', 'address')):
        found = element.find(child)
        if found is not None and found.get(attribute):
            return str(found.get(attribute))
    if element.tag in ('domainsnapshot', 'domaincheckpoint'):
        return '%s %s' % (element.findtext('name'), element.findtext('creationTime'))
    return next((str(element.get(name)) for name in _KEYS if element.get(name)), '')
