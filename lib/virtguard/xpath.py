# SPDX-License-Identifier: Apache-2.0
"""Runs programs of XPath 1.0 (see match/program) on a tree, with libxml2's results. Pure: no I/O.

Every start pays for this. Functions that hardly any domain needs are in xpath_functions.
"""

from . import xpath_axes, xpath_values
from .tree import Element, Leaf, document_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Sequence, Tuple

    Node = Any  # tree.Element or tree.Leaf
    Operation = Tuple[Any, ...]


def run(program: 'Operation', root: Element) -> 'List[Node]':
    """The nodes that a match selects, in the order of the document; the root for a match that is true."""
    result = evaluate(program, root)
    if isinstance(result, list):
        return [node for node in result if node.parent is not None]  # as lxml, without the document
    return [root] if result else []


def evaluate(operation: 'Operation', node: 'Node', position: int = 1, size: int = 1) -> 'Any':
    """What an operation yields at a node, which is the one at `position` of `size` nodes."""
    return _OPERATIONS[operation[0]](operation, node, position, size)


def walk(steps: 'Sequence[Operation]', nodes: 'List[Node]') -> 'List[Node]':
    """The nodes to which steps lead."""
    for axis, test, predicates, must_be_ordered in steps:
        take = _AXES.get(axis) or xpath_axes.AXES[axis]
        if len(nodes) == 1:
            found = _kept(predicates, take(nodes[0], test))
            if axis in _REVERSE:
                found.reverse()
        elif must_be_ordered:
            document = document_of(nodes[0])
            document.number()
            # Each node once, from the beginning: all nodes that are reached may be as many as nodes squared.
            unique: 'Dict[int, Node]' = {}
            for node in nodes:
                for reached in _kept(predicates, take(node, test)):
                    unique[reached.order] = reached
            found = [unique[order] for order in sorted(unique)]
        else:
            found = []
            for node in nodes:
                found += _kept(predicates, take(node, test))
        if not found:
            return []
        nodes = found
    return nodes


def meets(predicates: 'Sequence[Operation]', node: 'Node') -> bool:
    """Whether a node meets predicates that do not ask for its place."""
    for predicate in predicates:  # noqa: SIM110 - generators take twice the time
        if not _OPERATIONS[predicate[0]](predicate, node, 1, 1):
            return False
    return True


def _kept(predicates: 'Sequence[Operation]', nodes: 'List[Node]') -> 'List[Node]':
    """Those of the nodes that meet predicates."""
    for predicate in predicates:
        if not nodes:
            break
        size = len(nodes)
        meets = _OPERATIONS[predicate[0]]
        nodes = [node for place, node in enumerate(nodes, 1) if meets(predicate, node, place, size)]
    return nodes


def in_order(nodes: 'Sequence[Node]') -> 'List[Node]':
    """Each node once, in the order of the document."""
    if len(nodes) < 2:
        return list(nodes)
    document_of(nodes[0]).number()
    unique = {node.order: node for node in nodes}
    return [unique[order] for order in sorted(unique)]


# --- axes: the nodes that pass a test, in the axis' own order ---------------------------------------------------------


def _child(node: 'Node', test: str) -> 'List[Node]':
    if test[-1] not in '*)':
        return list(node.named(test))
    return xpath_axes.child(node, test)


def _attribute(node: 'Node', test: str) -> 'List[Node]':
    if node.__class__ is Leaf:
        return []
    if test in ('*', 'node()') or test.endswith('}*'):
        begin = test[:-1] if test.endswith('}*') else ''
        return [Leaf(value, node, name) for name, value in node.attrib.items() if name.startswith(begin)]
    value = node.attrib.get(test)
    return [Leaf(value, node, test)] if value is not None else []


# The axes of nearly all steps; xpath_axes has the others.
_AXES: 'Dict[str, Callable[[Node, str], List[Node]]]' = {'child': _child, 'attribute': _attribute}
_REVERSE = frozenset(('ancestor', 'ancestor-or-self', 'preceding', 'preceding-sibling'))


# --- conversions ------------------------------------------------------------------------------------------------------


def _boolean(operation: 'Operation', node: 'Node', position: int, size: int) -> bool:
    value = evaluate(operation[2], node, position, size)
    return xpath_values.is_true(value) if operation[1] == 'n' else bool(value)


def _number(operation: 'Operation', node: 'Node', position: int, size: int) -> float:
    value = evaluate(operation[2], node, position, size)
    if operation[1] == 'l':
        value = value[0].string_value() if value else ''
    return float(value) if operation[1] == 'b' else xpath_values.to_number(value)


def _text(operation: 'Operation', node: 'Node', position: int, size: int) -> str:
    value = evaluate(operation[2], node, position, size)
    if operation[1] == 'l':
        return value[0].string_value() if value else ''
    return xpath_values.to_text(value)


# --- operations -------------------------------------------------------------------------------------------------------


def _or(operation: 'Operation', node: 'Node', position: int, size: int) -> bool:
    for part in operation[1:]:  # noqa: SIM110 - generators take twice the time
        if _OPERATIONS[part[0]](part, node, position, size):
            return True
    return False


def _and(operation: 'Operation', node: 'Node', position: int, size: int) -> bool:
    for part in operation[1:]:  # noqa: SIM110
        if not _OPERATIONS[part[0]](part, node, position, size):
            return False
    return True


def _in(operation: 'Operation', node: 'Node', position: int, size: int) -> bool:
    name = operation[1]
    return (node.string_value() if name == '.' else node.attrib.get(name)) in operation[2]


def _compare(operation: 'Operation', node: 'Node', position: int, size: int) -> bool:
    _, operator, left_type, left, right_type, right = operation
    lefts = evaluate(left, node, position, size)
    rights = evaluate(right, node, position, size)
    return xpath_values.compare(operator, left_type, lefts, right_type, rights)


def _calculate(operation: 'Operation', node: 'Node', position: int, size: int) -> float:
    a = evaluate(operation[2], node, position, size)
    return xpath_values.calculate(operation[1], a, evaluate(operation[3], node, position, size))


def _path(operation: 'Operation', node: 'Node', position: int, size: int) -> 'List[Node]':
    return walk(operation[2], [document_of(node) if operation[1] else node])


def _union(operation: 'Operation', node: 'Node', position: int, size: int) -> 'List[Node]':
    return in_order([found for part in operation[1] for found in evaluate(part, node, position, size)])


def _filter(operation: 'Operation', node: 'Node', position: int, size: int) -> 'List[Node]':
    nodes = _kept(operation[2], evaluate(operation[1], node, position, size))
    return walk(operation[3], nodes) if nodes else []


def _call(operation: 'Operation', node: 'Node', position: int, size: int) -> 'Any':
    arguments = [_OPERATIONS[x[0]](x, node, position, size) for x in operation[2]]
    if operation[1] not in _FUNCTIONS:
        from .xpath_functions import FUNCTIONS  # hardly any domain has what leads to one of these

        _FUNCTIONS.update(FUNCTIONS)
    return _FUNCTIONS[operation[1]](*arguments)


_FUNCTIONS: 'Dict[str, Callable[..., Any]]' = {
    'contains': lambda text, part: part in text,
    'count': lambda nodes: float(len(nodes)),
    'starts-with': lambda text, part: text.startswith(part),
    'sum': lambda nodes: float(sum([xpath_values.to_number(node.string_value()) for node in nodes])),
}
_OPERATIONS: 'Dict[str, Callable[[Operation, Any, int, int], Any]]' = {
    'constant': lambda operation, node, position, size: operation[1],
    'string': lambda operation, node, position, size: node.string_value(),
    'position': lambda operation, node, position, size: float(position),
    'last': lambda operation, node, position, size: float(size),
    'at': lambda operation, node, position, size: position == evaluate(operation[1], node, position, size),
    'or': _or,
    'and': _and,
    'not': lambda operation, node, position, size: not evaluate(operation[1], node, position, size),
    'has': lambda operation, node, position, size: operation[1] in node.attrib,
    'value': lambda operation, node, position, size: node.attrib.get(operation[1], ''),
    'in': _in,
    'other': lambda operation, node, position, size: node.attrib.get(operation[1], operation[2]) != operation[2],
    'boolean': _boolean,
    'number': _number,
    'text': _text,
    'compare': _compare,
    'calculate': _calculate,
    'negative': lambda operation, node, position, size: -evaluate(operation[1], node, position, size),
    'call': _call,
    'path': _path,
    'union': _union,
    'filter': _filter,
}
