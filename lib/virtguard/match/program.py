# SPDX-License-Identifier: Apache-2.0
"""XPath's syntax tree -> a program for xpath.run: typed operations, made to be marshalled. Pure: no I/O.

XPath 1.0 without variables is statically typed: b (boolean), n (number), s (string), l (nodes). So each conversion is
an operation of its own here, and nothing about types is asked when a program runs. An operation is a tuple:

    ('constant', value)                 ('string',) the string value of the node     ('position',) ('last',)
    ('or', x...) ('and', x...)          of booleans                                  ('not', x)
    ('has', name)                       the node has an attribute                    ('value', name) its text, or ''
    ('in', name, texts)                 it has one of these as the attribute's value, or ('.') its own
    ('other', name, text)               it has the attribute, with another value
    ('boolean', type, x) ('number', type, x) ('text', type, x)    conversions
    ('compare', operator, type, x, type, y)
    ('calculate', operator, x, y)       ('negative', x)              ('call', function, arguments)
    ('path', absolute, steps)           ('union', (x...))            ('filter', x, predicates, steps)

A step is (axis, test, predicates, whether nodes must be put in order); a predicate that is a number is ('at', x).
"""

from ..xpath_values import to_number
from .syntax import (
    HAS_FLAG,
    IS_ANY_ADDRESS,
    IS_PATH,
    LIES_BELOW,
    NAMESPACES,
    MatchError,
    Node,
    Step,
    check_calls,
    is_name,
    parse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

    Operation = Tuple[Any, ...]

# The functions that xpath runs: the type of the result, and those of the arguments; the last one repeats.
_FUNCTIONS = {
    'ceiling': 'nn',
    'concat': 'ss',
    'contains': 'bss',
    'count': 'nl',
    'floor': 'nn',
    'lang': 'bsl',
    'local-name': 'sl',
    'name': 'sl',
    'namespace-uri': 'sl',
    'normalize-space': 'ss',
    'round': 'nn',
    'starts-with': 'bss',
    'string-length': 'ns',
    'substring': 'ssn',
    'substring-after': 'sss',
    'substring-before': 'sss',
    'sum': 'nl',
    'translate': 'ssss',
    HAS_FLAG: 'bln',
    IS_PATH: 'bls',
    LIES_BELOW: 'bls',
    IS_ANY_ADDRESS: 'bl',
}
# These become operations of their own.
_CONVERSIONS = {'boolean': 'b', 'not': 'b', 'true': 'b', 'false': 'b', 'number': 'n', 'string': 's'}
_PLACES = ('position', 'last')
_TYPES = {'or': 'b', 'and': 'b', 'compare': 'b', 'arithmetic': 'n', 'number': 'n', 'literal': 's'}
_AXES = frozenset(
    'ancestor ancestor-or-self attribute child descendant descendant-or-self following following-sibling parent '
    'preceding preceding-sibling self'.split()
)
# From nodes that are in order, and none within another, these lead to such nodes.
_ORDERED = frozenset(('child', 'attribute', 'self'))
_MAX_DEPTH = 60  # what runs a program recurses
_HERE: 'Operation' = ('path', False, ())


def make_program(match: str) -> 'Optional[Operation]':
    """The program of an expression; None where only lxml can evaluate it."""
    try:
        node = parse(match)
        check_calls(node)
        program = _translate(node)
    except (MatchError, RecursionError):  # libxml2 may read it all the same
        return None
    return None if _depth(program) > _MAX_DEPTH or _asks_for_place(program) else program


def share(programs: 'Iterable[Tuple[int, Operation]]') -> 'Tuple[Any, Any]':
    """Numbered programs, those that select by paths from the document joined to one tree of names.

    :returns: the tree, as compiled.CompiledPolicy follows it; and the programs that are not in it
    """
    tree: 'Dict[str, Any]' = {}
    alone = []
    for number, program in programs:
        paths = program[1] if program[0] == 'union' else (program,)
        if all(path[0] == 'path' and path[1] and path[2] and _is_plain(path[2][0]) for path in paths):
            for path in paths:
                _add(tree, [], number, path[2])
        else:
            alone.append((number, program))
    return _frozen(tree), tuple(alone)


def _is_plain(step: 'Operation') -> bool:
    """Whether a step leads to children of a name, whatever their place."""
    return step[0] == 'child' and is_name(step[1]) and not is_positional(step[2])


def _add(below: 'Dict[str, Any]', ends: 'List[Any]', number: int, steps: 'Sequence[Operation]') -> None:
    """Add the steps of a path.

    :param below, ends: what goes on, and what ends, where they begin
    """
    step, *rest = steps
    names = _alternatives(step)
    for name in names:
        _add(below, ends, number, [(step[0], name, step[2][1:], step[3]), *rest])
    if names:
        return
    if not _is_plain(step):
        ends.append((number, (), tuple(steps)))
        return
    below, ends = below.setdefault(step[1], ({}, []))
    if step[2] or not rest:
        ends.append((number, step[2], tuple(rest)))
    else:
        _add(below, ends, number, rest)


def _alternatives(step: 'Operation') -> 'List[str]':
    """The names of a step like `*[self::a or self::b][...]`, to which as many paths lead that need not look at all."""
    if step[:2] != ('child', '*') or not step[2] or is_positional(step[2]):
        return []
    first: 'Operation' = step[2][0]
    names = []
    for part in first[1:] if first[0] == 'or' else (first,):
        steps: 'Sequence[Any]' = part[2][2] if part[:2] == ('boolean', 'l') and part[2][:2] == ('path', False) else ()
        if len(steps) != 1 or steps[0][0] != 'self' or steps[0][2] or not is_name(steps[0][1]):
            return []
        names.append(steps[0][1])
    return names


def _frozen(tree: 'Dict[str, Any]') -> 'Dict[str, Any]':
    return {name: (_frozen(below), tuple(ends)) for name, (below, ends) in sorted(tree.items())}


def _depth(program: object) -> int:
    """How deep operations are nested."""
    return 1 + max(map(_depth, program), default=0) if isinstance(program, tuple) else 0


def _asks_for_place(operation: object) -> bool:
    """Whether position() or last() stands outside of any predicate, where libxml2 refuses it once it gets there."""
    if not isinstance(operation, tuple) or operation[:1] == ('path',):
        return False
    if operation[:1] == ('filter',):
        return _asks_for_place(operation[1])
    return operation in (('position',), ('last',)) or any(map(_asks_for_place, operation))


def is_positional(operation: object) -> bool:
    """Whether a predicate depends on the place of a node among those selected."""
    if not isinstance(operation, tuple):
        return False
    return operation[:1] in (('at',), ('position',), ('last',)) or any(map(is_positional, operation))


def _type(node: Node) -> str:
    if node.kind == 'call':
        return 'n' if node.text in _PLACES else _CONVERSIONS.get(node.text) or _types_of(node.text)[0]
    return _TYPES.get(node.kind, 'l')


def _types_of(function: str) -> str:
    if function not in _FUNCTIONS:
        raise MatchError('calls %s(), which xpath does not have' % function)
    return _FUNCTIONS[function]


def _as(wanted: str, node: Node) -> 'Operation':
    """An expression, converted to a type."""
    have = _type(node)
    if wanted == 'l' and have != 'l':
        raise MatchError('uses as nodes what is none')
    own = _own(node)
    if own is not None and wanted in 'bs' and own != '.':
        return ('has' if wanted == 'b' else 'value', own)
    if own == '.' and wanted == 's':
        return ('string',)
    made = _translate(node)
    if have == wanted:
        return made
    return ({'b': 'boolean', 'n': 'number', 's': 'text'}[wanted], have, made)


def _own(node: Node) -> 'Optional[str]':
    """The name of an attribute of the context node, or '.' for the node itself; None for any other expression."""
    if node.kind == 'path' and not node.absolute and len(node.steps) == 1 and not node.steps[0].predicates:
        step = node.steps[0]
        if step.axis == 'attribute' and is_name(step.test):
            return _expanded(step.test)
        if step.axis == 'self' and step.test == 'node()':
            return '.'
    return None


def _expanded(test: str) -> str:
    """A node test as the tree writes names."""
    prefix, colon, local = test.partition(':')
    if colon and prefix not in NAMESPACES:
        raise MatchError('uses the undeclared prefix %r' % prefix)
    return '{%s}%s' % (NAMESPACES[prefix], local) if colon else test


def _translate(node: Node) -> 'Operation':
    if node.kind in ('or', 'and'):
        return _join(node.kind, [_as('b', operand) for operand in node.operands])
    if node.kind == 'literal':
        return 'constant', node.text
    if node.kind == 'number':
        return 'constant', to_number(node.text)
    if node.kind == 'compare':
        return _comparison(node)
    if node.kind == 'arithmetic':
        operands = [_as('n', operand) for operand in node.operands]
        return ('negative', operands[0]) if len(operands) == 1 else ('calculate', node.text, *operands)
    if node.kind == 'call':
        return _call(node.text, node.operands)
    if node.kind == 'union':
        return 'union', tuple(_as('l', operand) for operand in node.operands)
    if node.kind == 'path':
        return 'path', node.absolute, _steps(node.steps, False)
    first, *predicates = node.operands
    return 'filter', _as('l', first), tuple(map(_predicate, predicates)), _steps(node.steps, True)


def _join(kind: str, parts: 'Sequence[Operation]') -> 'Operation':
    """Join operations; `@a = 'x' or @a = 'y'` becomes one."""
    joined: 'List[Operation]' = []
    for part in parts:
        if kind == 'or' and part[0] == 'in' and joined and joined[-1][:2] == part[:2]:
            joined[-1] = (*part[:2], joined[-1][2] + part[2])
        else:
            joined.append(part)
    return joined[0] if len(joined) == 1 else (kind, *joined)


def _comparison(node: Node) -> 'Operation':
    left, right = node.operands
    if left.kind == 'literal' and node.text in ('=', '!='):
        left, right = right, left
    own = _own(left)
    if own is not None and right.kind == 'literal' and node.text == '=':
        return 'in', own, (right.text,)
    if own is not None and right.kind == 'literal' and node.text == '!=' and own != '.':
        return 'other', own, right.text
    return 'compare', node.text, _type(left), _translate(left), _type(right), _translate(right)


def _call(name: str, operands: 'Sequence[Node]') -> 'Operation':
    if name in _PLACES:
        return (name,)
    if name in ('true', 'false'):
        return 'constant', name == 'true'
    if name == 'not':
        return 'not', _as('b', operands[0])
    if name in _CONVERSIONS:
        kind = _CONVERSIONS[name]
        if operands:
            return _as(kind, operands[0])
        return ('string',) if kind == 's' else ('number', 's', ('string',))
    types = _types_of(name)[1:]
    if not operands:
        return 'call', name, (_HERE if types == 'l' else ('string',),)
    if name == 'lang':
        return 'call', name, (_as('s', operands[0]), _HERE)
    wanted = types + types[-1] * len(operands)
    return 'call', name, tuple(_as(kind, operand) for kind, operand in zip(wanted, operands))


def _steps(steps: 'Sequence[Step]', unordered: bool) -> 'Tuple[Operation, ...]':
    """:param unordered: the nodes that they begin with may be within one another"""
    done = []
    waiting = False  # for the step that `//` before it becomes part of
    for number, step in enumerate(steps):
        axis = step.axis
        if axis not in _AXES or step.test in ('comment()', 'processing-instruction()'):
            raise MatchError('has a step of another kind')
        predicates = tuple(map(_predicate, step.predicates))
        anywhere = axis == 'descendant-or-self' and step.test == 'node()' and not predicates
        following = steps[number + 1] if number + 1 < len(steps) else None
        if anywhere and following is not None and _may_become_descendant(following):
            waiting = True
            continue
        if waiting:
            axis, waiting = 'descendant', False
        unordered_before, unordered = unordered, unordered or axis not in _ORDERED
        done.append((axis, _expanded(step.test), predicates, unordered_before or axis not in _ORDERED))
    return tuple(done)


def _may_become_descendant(step: Step) -> bool:
    return step.axis == 'child' and not is_positional(tuple(map(_predicate, step.predicates)))


def _predicate(node: Node) -> 'Operation':
    return ('at', _translate(node)) if _type(node) == 'n' else _as('b', node)
