# SPDX-License-Identifier: Apache-2.0
"""Runs programs of XPath 1.0 (see match/program) on a tree, with libxml2's results. Pure: no I/O.

Every start pays for this. Functions that hardly any domain needs are in xpath_functions.
"""

from .tree import Element, Leaf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

    Node = Any  # tree.Element or tree.Leaf
    Operation = Tuple[Any, ...]

_NAN = float('nan')
_INFINITY = float('inf')
_BLANKS = ' \t\r\n'
_MAX_DIGITS = 20  # behind the point


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
        take = _AXES[axis]
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


def document_of(node: 'Any') -> 'Any':
    """The document that a node is in."""
    while node.parent is not None:
        node = node.parent
    return node


# --- axes: the nodes that pass a test, in the axis' own order ---------------------------------------------------------


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


def _child(node: 'Node', test: str) -> 'List[Node]':
    if test.endswith(')'):
        document_of(node).number()
    elif test[-1] != '*':
        return list(node.named(test))
    return _passing(node.children, test)


def _attribute(node: 'Node', test: str) -> 'List[Node]':
    if node.__class__ is Leaf:
        return []
    if test in ('*', 'node()') or test.endswith('}*'):
        begin = test[:-1] if test.endswith('}*') else ''
        return [Leaf(value, node, name) for name, value in node.attrib.items() if name.startswith(begin)]
    value = node.attrib.get(test)
    return [Leaf(value, node, test)] if value is not None else []


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


_AXES: 'Dict[str, Callable[[Node, str], List[Node]]]' = {
    'child': _child,
    'attribute': _attribute,
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
_REVERSE = frozenset(('ancestor', 'ancestor-or-self', 'preceding', 'preceding-sibling'))


# --- conversions ------------------------------------------------------------------------------------------------------


def to_number(text: str) -> float:
    """A text as a number, as libxml2 reads it: an exponent is allowed, a plus sign is not.

    It goes digit by digit. What is rounded on the way makes other numbers than Python's float, from 16 digits on.
    """
    text = text.strip(_BLANKS)
    mantissa, e, exponent = text.lower().partition('e')
    whole, _, fraction = (mantissa[1:] if mantissa.startswith('-') else mantissa).partition('.')
    if (whole + fraction).strip('0123456789') or not whole + fraction or text.strip('0123456789eE.+-'):
        return _NAN
    power = exponent[1:] if exponent[:1] in ('+', '-') else exponent
    if power.strip('0123456789'):
        return _NAN
    zeros = len(fraction) - len(fraction.lstrip('0'))
    fraction = fraction[: zeros + _MAX_DIGITS]
    number = _read_digits(whole) + _read_digits(fraction) / _power_of_ten(len(fraction))
    number = -number if mantissa.startswith('-') else number
    return number * _power_of_ten(int(exponent)) if power else number


def _read_digits(digits: str) -> float:
    number = 0.0
    for digit in digits:
        number = number * 10 + int(digit)
    return number


def _power_of_ten(exponent: int) -> float:
    return _INFINITY if exponent > 308 else 0.0 if exponent < -400 else 10.0**exponent


def _number(operation: 'Operation', node: 'Node', position: int, size: int) -> float:
    value = evaluate(operation[2], node, position, size)
    if operation[1] == 'l':
        value = value[0].string_value() if value else ''
    return float(value) if operation[1] == 'b' else to_number(value)


def _text(operation: 'Operation', node: 'Node', position: int, size: int) -> str:
    value = evaluate(operation[2], node, position, size)
    if operation[1] == 'l':
        return value[0].string_value() if value else ''
    from .xpath_functions import to_text

    return to_text(value)


def _is_true(value: 'Any') -> bool:
    return bool(value) and value == value  # NaN is not itself


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
    types = left_type + right_type
    is_order = operator not in ('=', '!=')
    if 'b' in types and (not is_order or 'l' in types):
        lefts, rights = [_is_true(lefts)], [_is_true(rights)]
    else:
        lefts = [found.string_value() for found in lefts] if left_type == 'l' else [lefts]
        rights = [found.string_value() for found in rights] if right_type == 'l' else [rights]
    if is_order or ('n' in types and 'b' not in types):
        lefts, rights = list(map(_as_number, lefts)), list(map(_as_number, rights))
    compares = _COMPARISONS[operator]
    if operator in ('=', '!=') and len(lefts) > 1 and len(rights) > 1:
        # Both are nodes, so these are texts; many are not compared with many.
        return not set(lefts).isdisjoint(rights) if operator == '=' else len({*lefts, *rights}) > 1
    if is_order and len(lefts) > 1 and len(rights) > 1:
        lefts = [number for number in lefts if number == number]
        rights = [number for number in rights if number == number]
        if not lefts or not rights:
            return False
        rising = operator[0] == '<'
        return compares(min(lefts) if rising else max(lefts), max(rights) if rising else min(rights))
    return any(compares(a, b) for a in lefts for b in rights)


def _as_number(value: 'Any') -> float:
    return to_number(value) if isinstance(value, str) else float(value)


_COMPARISONS: 'Dict[str, Callable[[Any, Any], bool]]' = {
    '=': lambda a, b: a == b,
    '!=': lambda a, b: a != b,
    '<': lambda a, b: a < b,
    '<=': lambda a, b: a <= b,
    '>': lambda a, b: a > b,
    '>=': lambda a, b: a >= b,
}


def _calculate(operation: 'Operation', node: 'Node', position: int, size: int) -> 'Any':
    operator = operation[1]
    a = evaluate(operation[2], node, position, size)
    b = evaluate(operation[3], node, position, size)
    if operator in ('+', '-', '*'):
        return a + b if operator == '+' else a - b if operator == '-' else a * b
    if operator == 'div':
        if b:
            return a / b
        return _NAN if not a or a != a else _INFINITY * (1 if (a > 0) == (str(b)[0] != '-') else -1)
    from math import fmod

    return fmod(a, b) if b and b == b and a == a and abs(a) != _INFINITY else _NAN


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
    'sum': lambda nodes: float(sum([to_number(node.string_value()) for node in nodes])),
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
    'boolean': lambda operation, node, position, size: _is_true(evaluate(operation[2], node, position, size)),
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
