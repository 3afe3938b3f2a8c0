# SPDX-License-Identifier: Apache-2.0
"""The axes of XPath, for xpath: the nodes that pass a test, in the axis' own order. Pure: no I/O.

Hardly any step of a policy goes along one of these: child with a name, and attribute, are in xpath itself.
"""

from .tree import Element, Leaf, document_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Sequence

    Node = Any  # tree.Element or tree.Leaf


def _passing(nodes: 'Iterable[Any]', test: str) -> 'List[Node]':
    """Of nodes other than attributes, those that pass a test."""
    if test == 'node()':
        return list(nodes)
    if test == 'text()':
        return [node for node in nodes if node.__class__ is Leaf and not node.is_attribute]
    if test == '*':
        return [node for node in nodes if node.__class__ is Element]
    if test.endswith('}*'):
        return [node for node in nodes if node.__class__ is Element and node.tag.startswith(test[:-1])]
    return [node for node in nodes if node.__class__ is Element and node.tag == test]


def child(node: 'Node', test: str) -> 'List[Node]':
    """The children that pass a test which is not a name."""
    if test.endswith(')'):
        document_of(node).number()
    return _passing(node.children, test)


def _self(node: 'Node', test: str) -> 'List[Node]':
    return _passing([node], test)


def _parent(node: 'Node', test: str) -> 'List[Node]':
    return _passing([node.parent] if node.parent is not None else [], test)


def _ancestors(node: 'Node', test: str) -> 'List[Node]':
    above = []
    while node.parent is not None:
        node = node.parent
        above.append(node)
    return _passing(above, test)


def _descendants(node: 'Node', test: str) -> 'List[Node]':
    if test.endswith(')'):
        document_of(node).number()
    return _passing(node.below(), test)


def _place(node: 'Node', siblings: 'Sequence[Any]') -> int:
    for place, sibling in enumerate(siblings):
        if sibling is node:
            return place
    raise ValueError


def _siblings(node: 'Node', forward: bool) -> 'List[Any]':
    if node.parent is None or (node.__class__ is Leaf and node.is_attribute):
        return []
    siblings: 'List[Any]' = node.parent.children
    place = _place(node, siblings)
    return siblings[place + 1 :] if forward else siblings[:place][::-1]


def _following_siblings(node: 'Node', test: str) -> 'List[Node]':
    document_of(node).number()
    return _passing(_siblings(node, True), test)


def _preceding_siblings(node: 'Node', test: str) -> 'List[Node]':
    document_of(node).number()
    return _passing(_siblings(node, False), test)


def _outside(node: 'Node', test: str, forward: bool) -> 'List[Node]':
    document_of(node).number()
    if node.__class__ is Leaf and node.is_attribute:
        node = node.parent
    found: 'List[Any]' = []
    while node.parent is not None:
        for sibling in _siblings(node, forward):
            tree = [sibling, *sibling.below()]
            found += _passing(tree if forward else tree[::-1], test)
        node = node.parent
    return found


AXES: 'Dict[str, Callable[[Node, str], List[Node]]]' = {
    'self': _self,
    'parent': _parent,
    'descendant': _descendants,
    'descendant-or-self': lambda node, test: _self(node, test) + _descendants(node, test),
    'ancestor': _ancestors,
    'ancestor-or-self': lambda node, test: _self(node, test) + _ancestors(node, test),
    'following-sibling': _following_siblings,
    'preceding-sibling': _preceding_siblings,
    'following': lambda node, test: _outside(node, test, True),
    'preceding': lambda node, test: _outside(node, test, False),
}
