# SPDX-License-Identifier: Apache-2.0
"""XPath 1.0 as text: tokens, and a syntax tree. Knows no document and no library. Pure: no I/O.

A policy's expressions have more than XPath 1.0: numbers in hexadecimal, 0x10, and functions, see functions.
"""

import re
from functools import lru_cache

from ..tree import ARG_NS as ARG_NS
from ..tree import NAMESPACES as NAMESPACES
from ..tree import QEMU_NS as QEMU_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Sequence, Tuple

# The prefix of the functions that XPath 1.0 does not have. No element and no attribute has it.
VG, VG_NS = 'vg', 'urn:virt-guard:functions'
HAS_FLAG, THE_ONE_BEFORE, IS_NEW, IS_GONE = 'vg:has-flag', 'vg:before', 'vg:is-new', 'vg:is-gone'
IS_PATH, LIES_BELOW, IS_ANY_ADDRESS = 'vg:is-path', 'vg:lies-below', 'vg:is-any-address'
# These are true of nodes if they are true of one of them, and so never of none.
OF_SOME_NODE = frozenset((HAS_FLAG, IS_PATH, LIES_BELOW, IS_ANY_ADDRESS))

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<literal>"[^"]*"|'[^']*')
    | (?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?|\.\d+)
    | (?P<variable>\$[\w.:-]+)
    | (?P<symbol>//|::|\.\.|!=|<=|>=|[/|()\[\]@,.+=<>*-])
    | (?P<name>[^\W\d][\w.-]*(?::(?!:)(?:[^\W\d][\w.-]*|\*))?)
    """,
    re.VERBOSE,
)
_OPERATOR_NAMES = frozenset(('and', 'or', 'mod', 'div'))
# After one of these (or at the beginning) an operand follows; after anything else, an operator.
BEFORE_OPERAND = frozenset('@ :: ( [ , / // | + - = != < <= > >= *op'.split())


class MatchError(ValueError):
    """The expression cannot serve as a rule's match; `offset` is where in it (characters), as far as known."""

    def __init__(self, message: str, hint: str = '', offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset


class Token:
    """A token of an expression; `depth` counts the predicates around it, `offset` is in characters."""

    __slots__ = ('kind', 'text', 'offset', 'depth')

    def __init__(self, kind: str, text: str, offset: int, depth: int) -> None:
        self.kind = kind
        self.text = text
        self.offset = offset
        self.depth = depth


def tokenize(expression: str) -> 'Iterator[Token]':
    """Split an expression, spaces left out.

    :raises MatchError: a character has no place in XPath
    """
    offset = depth = brackets = 0
    previous: 'Optional[Token]' = None
    while offset < len(expression):
        found = _TOKEN.match(expression, offset)
        if not found:
            raise MatchError('has an unexpected %r' % expression[offset], offset=offset)
        kind, text = str(found.lastgroup), found.group()
        if kind != 'space':
            operator_follows = previous is not None and grammar_text(previous) not in BEFORE_OPERAND
            if operator_follows and (text == '*' or text in _OPERATOR_NAMES):
                kind = 'operator'
            depth -= text == ']'
            brackets += (text in ('(', '[')) - (text in (')', ']'))
            if brackets > _MAX_DEPTH:
                raise MatchError('is nested too deep', offset=offset)
            previous = Token(kind, text, offset, depth)
            depth += text == '['
            yield previous
        offset = found.end()


def grammar_text(token: Token) -> str:
    """What a token is for the rule that tells operands from operators (XPath 1.0, section 3.7)."""
    if token.kind == 'operator':
        return '*op'
    return '' if token.kind == 'literal' or token.text == '*' else token.text


def as_xpath_1(expression: str) -> str:
    """The same expression with all its numbers in decimal, as XPath 1.0 has them.

    :raises MatchError: a character has no place in XPath
    """
    if '0x' not in expression.lower():
        return expression
    parts, end = [], 0
    for token in tokenize(expression):
        if token.kind == 'number':
            parts += [expression[end : token.offset], _decimal(token.text)]
            end = token.offset + len(token.text)
    return ''.join(parts) + expression[end:]


def _decimal(number: str) -> str:
    return str(int(number, 16)) if number[:2] in ('0x', '0X') else number


def is_name(test: str) -> bool:
    """Whether a step's node test is a name, not `*`, `prefix:*` or `node()`."""
    return not test.endswith(('*', '()'))


class Node:
    """One node of the syntax tree.

    `kind` and what it holds: `or` `and` `union` (operands) · `compare` `arithmetic` (operator, operands) · `call`
    (name, arguments) · `literal` (text) · `number` · `path` (steps; absolute or not) · `filter` (an operand and its
    predicates, then steps). `offset` is that of a literal or a call, in characters. Numbers are in decimal.
    """

    __slots__ = ('kind', 'text', 'operands', 'steps', 'absolute', 'offset')

    def __init__(
        self,
        kind: str,
        text: str = '',
        operands: 'Sequence[Node]' = (),
        steps: 'Sequence[Step]' = (),
        absolute: bool = False,
        offset: int = 0,
    ) -> None:
        self.kind = kind
        self.text = text
        self.operands = tuple(operands)
        self.steps = tuple(steps)
        self.absolute = absolute
        self.offset = offset


class Step:
    """One step of a path: `axis` in full, `test` as written (a name, `*`, `node()`) and its `offset`, predicates."""

    __slots__ = ('axis', 'test', 'predicates', 'offset')

    def __init__(self, axis: str, test: str, predicates: 'Sequence[Node]' = (), offset: int = 0) -> None:
        self.axis = axis
        self.test = test
        self.predicates = tuple(predicates)
        self.offset = offset


# The least and the most arguments of functions; XPath 1.0's id() is not there, because no DTD says what an id is.
FUNCTIONS = {
    'boolean': (1, 1),
    'ceiling': (1, 1),
    'concat': (2, 99),
    'contains': (2, 2),
    'count': (1, 1),
    'false': (0, 0),
    'floor': (1, 1),
    'lang': (1, 1),
    'last': (0, 0),
    'local-name': (0, 1),
    'name': (0, 1),
    'namespace-uri': (0, 1),
    'normalize-space': (0, 1),
    'not': (1, 1),
    'number': (0, 1),
    'position': (0, 0),
    'round': (1, 1),
    'starts-with': (2, 2),
    'string': (0, 1),
    'string-length': (0, 1),
    'substring': (2, 3),
    'substring-after': (2, 2),
    'substring-before': (2, 2),
    'sum': (1, 1),
    'translate': (3, 3),
    'true': (0, 0),
    HAS_FLAG: (2, 2),
    IS_PATH: (2, 99),
    LIES_BELOW: (2, 99),
    IS_ANY_ADDRESS: (1, 1),
    THE_ONE_BEFORE: (0, 0),
    IS_NEW: (0, 0),
    IS_GONE: (0, 0),
}
_OF_NODES = frozenset(('count', 'local-name', 'name', 'namespace-uri', 'sum'))
_MAX_DEPTH = 50  # of brackets; what reads a tree recurses
_ANYWHERE = Step('descendant-or-self', 'node()')
_BINARY: 'Tuple[Tuple[str, frozenset[str]], ...]' = (
    ('or', frozenset(('or',))),
    ('and', frozenset(('and',))),
    ('compare', frozenset(('=', '!='))),
    ('compare', frozenset(('<', '<=', '>', '>='))),
    ('arithmetic', frozenset(('+', '-'))),
    ('arithmetic', frozenset(('*', 'div', 'mod'))),
)
_STARTS_STEP = frozenset(('@', '.', '..', '*'))


@lru_cache(maxsize=1024)  # each of several readers of a rule asks for its tree, and nobody changes one
def parse(expression: str) -> Node:
    """The syntax tree of an expression that libxml2 has accepted.

    :raises MatchError: it is not XPath 1.0
    """
    parser = _Parser(list(tokenize(expression)))
    node = parser.binary(0)
    parser.expect('')
    return node


def yields_nodes(node: Node) -> bool:
    """Whether an expression yields nodes, and not a text, a number or an answer."""
    return node.kind in ('path', 'union', 'filter') or (node.kind == 'call' and node.text == THE_ONE_BEFORE)


def check_calls(node: Node) -> None:
    """Find calls that libxml2 refuses only when it evaluates them, at the first domain that has what they ask for.

    :raises MatchError: a function has too few or too many arguments, or one that must be nodes is not
    """
    if node.kind == 'call' and node.text in FUNCTIONS:
        least, most = FUNCTIONS[node.text]
        if not least <= len(node.operands) <= most:
            raise MatchError('calls %s() with %d arguments' % (node.text, len(node.operands)))
    must_be_nodes = node.kind == 'union' or (node.kind == 'call' and node.text in _OF_NODES)
    first_must = node.kind == 'filter'
    for number, operand in enumerate(node.operands):
        if (must_be_nodes or (first_must and number == 0)) and not yields_nodes(operand):
            raise MatchError('uses as nodes what is none')
        check_calls(operand)
    for step in node.steps:
        for predicate in step.predicates:
            check_calls(predicate)


class _Parser:
    """Recursive descent over XPath 1.0's grammar."""

    def __init__(self, tokens: 'List[Token]') -> None:
        self._tokens = tokens
        self._next = 0

    def _peek(self, ahead: int = 0) -> 'Optional[Token]':
        position = self._next + ahead
        return self._tokens[position] if position < len(self._tokens) else None

    def _text(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        return '' if token is None or token.kind == 'literal' else token.text

    def _take(self) -> Token:
        token = self._peek()
        if token is None:
            raise MatchError('is not XPath 1.0: it ends too early')
        self._next += 1
        return token

    def expect(self, text: str) -> None:
        if self._text() != text or (not text and self._peek()):
            token = self._peek()
            raise MatchError('is not XPath 1.0: expected %r' % text, offset=token.offset if token else 0)
        self._next += bool(text)

    def binary(self, level: int) -> Node:
        if level == len(_BINARY):
            return self._unary()
        kind, operators = _BINARY[level]
        operands = [self.binary(level + 1)]
        while self._is_operator(operators):
            operator = self._take().text
            operands.append(self.binary(level + 1))
            if kind not in ('or', 'and'):
                operands = [Node(kind, operator, operands)]
        if kind in ('or', 'and') and len(operands) > 1:
            return Node(kind, '', operands)
        return operands[0]

    def _is_operator(self, operators: 'frozenset[str]') -> bool:
        token = self._peek()
        return token is not None and token.kind != 'name' and self._text() in operators

    def _unary(self) -> Node:
        if self._text() == '-':
            self._take()
            return Node('arithmetic', '-', [self._unary()])
        operands = [self._path()]
        while self._text() == '|':
            self._take()
            operands.append(self._path())
        return operands[0] if len(operands) == 1 else Node('union', '', operands)

    def _path(self) -> Node:
        token = self._peek()
        if token is None:
            raise MatchError('is not XPath 1.0: it ends too early')
        if token.kind in ('literal', 'number') or token.text in ('(', '$') or self._is_call():
            return self._filter()
        steps: 'List[Step]' = []
        absolute = token.text in ('/', '//')
        if absolute:
            if self._take().text == '//':
                steps.append(_ANYWHERE)
            elif not self._starts_step():
                return Node('path', absolute=True)
        steps.append(self._step())
        self._more_steps(steps)
        return Node('path', steps=steps, absolute=absolute)

    def _is_call(self) -> bool:
        token = self._peek()
        is_name = token is not None and token.kind == 'name'
        node_types = ('text', 'node', 'comment', 'processing-instruction')
        return is_name and self._text(1) == '(' and self._text() not in node_types

    def _starts_step(self) -> bool:
        token = self._peek()
        return token is not None and (token.kind == 'name' or token.text in _STARTS_STEP)

    def _more_steps(self, steps: 'List[Step]') -> None:
        while self._text() in ('/', '//'):
            if self._take().text == '//':
                steps.append(_ANYWHERE)
            steps.append(self._step())

    def _filter(self) -> Node:
        token = self._take()
        if token.kind == 'literal':
            node = Node('literal', token.text[1:-1], offset=token.offset)
        elif token.kind == 'number':
            node = Node('number', _decimal(token.text))
        elif token.text == '(':
            node = self.binary(0)
            self.expect(')')
        else:
            node = Node('call', token.text, self._arguments(), offset=token.offset)
        predicates = self._predicates()
        steps: 'List[Step]' = []
        self._more_steps(steps)
        if predicates or steps:
            return Node('filter', '', [node] + predicates, steps)
        return node

    def _arguments(self) -> 'List[Node]':
        self.expect('(')
        arguments: 'List[Node]' = []
        while self._text() != ')':
            arguments.append(self.binary(0))
            if self._text() != ')':
                self.expect(',')
        self._take()
        return arguments

    def _predicates(self) -> 'List[Node]':
        predicates = []
        while self._text() == '[':
            self._take()
            predicates.append(self.binary(0))
            self.expect(']')
        return predicates

    def _step(self) -> Step:
        text = self._text()
        if text in ('.', '..'):
            offset = self._take().offset
            return Step('self' if text == '.' else 'parent', 'node()', offset=offset)
        axis = 'child'
        if text == '@':
            self._take()
            axis = 'attribute'
        elif self._text(1) == '::':
            axis = self._take().text
            self._take()
        test = self._take()
        if test.kind not in ('name', 'symbol', 'operator') or (test.kind == 'symbol' and test.text != '*'):
            raise MatchError('is not XPath 1.0: unexpected %r' % test.text, offset=test.offset)
        name = test.text
        if self._text() == '(':
            self._take()
            while self._text() != ')':
                self._take()
            self._take()
            name += '()'
        return Step(axis, name, self._predicates(), test.offset)
