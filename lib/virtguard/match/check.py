# SPDX-License-Identifier: Apache-2.0
"""XPath as policies use it: compiled once, and checked for expressions that could never match. Pure: no I/O."""

from functools import lru_cache

from lxml import etree

from .. import model
from ..errors import suggest
from .functions import EXTENSIONS, check_functions
from .syntax import (
    BEFORE_OPERAND,
    FUNCTIONS,
    NAMESPACES,
    VG,
    VG_NS,
    MatchError,
    Token,
    as_xpath_1,
    check_calls,
    grammar_text,
    parse,
    tokenize,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List

# The root of the document that a rule is matched with.
ROOTS = {model.ADMISSION: 'domain', model.START: 'domain', model.RUNTIME: 'transition'}

_WITH_FUNCTIONS = {**NAMESPACES, VG: VG_NS}
_NODE_TYPES = frozenset(('text', 'node'))
_REMOVED_NODE_TYPES = frozenset(('comment', 'processing-instruction'))


@lru_cache(maxsize=None)
def compile_match(expression: str) -> 'etree.XPath':
    """Compile a match. Results are lists of nodes or a boolean.

    :raises MatchError: the syntax is wrong
    """
    try:
        if VG + ':' in expression:  # functions cost something each time that the expression is evaluated
            return etree.XPath(as_xpath_1(expression), namespaces=_WITH_FUNCTIONS, extensions=EXTENSIONS, regexp=False)
        return etree.XPath(as_xpath_1(expression), namespaces=NAMESPACES, regexp=False)
    except etree.XPathSyntaxError as error:
        raise MatchError('is not XPath 1.0: %s' % error) from None
    except ValueError:  # UnicodeEncodeError, too
        raise MatchError('is not XPath 1.0: it has a character that XML does not have') from None


@lru_cache(maxsize=1024)  # a policy is read twice to be compiled
def check_match(expression: str, at: str = model.ADMISSION) -> None:
    """Find what makes an expression useless as a match of a rule that is judged at ADMISSION or at RUNTIME.

    :raises MatchError: it is not XPath 1.0, needs what a policy does not have, or can never match
    """
    root = ROOTS[at]
    compiled = compile_match(expression)
    tokens = list(tokenize(expression))
    for index, token in enumerate(tokens):
        _check_token(tokens, index, token)
    starts = list(_path_starts(tokens))
    if not starts:
        raise MatchError('asks nothing of the %s' % root, 'begin with /%s' % root)
    for start in starts:
        _check_start(tokens, start, root)
    tree = parse(expression)
    check_calls(tree)
    check_functions(tree, at)
    try:
        result = compiled(etree.Element(root))
    except etree.XPathError as error:
        raise MatchError('cannot be evaluated: %s' % error) from None
    if not isinstance(result, (list, bool)):
        kind = 'number' if isinstance(result, float) else 'string'
        raise MatchError('yields a %s, not nodes' % kind, 'compare it with something')


def _check_token(tokens: 'List[Token]', index: int, token: Token) -> None:
    following = [t.text for t in tokens[index + 1 : index + 3]] + ['', '']
    if token.kind == 'variable':
        raise MatchError('uses the variable %s, and policies have none' % token.text, offset=token.offset)
    if token.kind == 'name':
        _check_name(token, following[0])
    beyond = [t.text for t in tokens[index + 3 : index + 4]]
    if token.text == '@' and following[1] in ('/', '//') and beyond not in (['..'], ['parent'], ['ancestor']):
        hint = 'drop the step after @%s' % following[0]
        raise MatchError('can never match: an attribute has no children', hint, token.offset)
    if token.text == '[' and following[:2] == ['0', ']']:
        raise MatchError('can never match: positions count from 1', 'write [1]', token.offset)


def _check_name(token: Token, following: str) -> None:
    prefix, colon, _ = token.text.partition(':')
    if following == '(':
        if token.text in _REMOVED_NODE_TYPES:
            raise MatchError('can never match: comments and processing instructions are not judged', '', token.offset)
        if token.text not in FUNCTIONS and token.text not in _NODE_TYPES:
            with_prefix = '%s:%s' % (VG, token.text)
            hint = suggest(with_prefix if with_prefix in FUNCTIONS else token.text, sorted(FUNCTIONS))
            whose = 'the guard' if prefix == VG and colon else 'XPath 1.0'
            raise MatchError('calls %s(), which %s does not have' % (token.text, whose), hint, token.offset)
    elif following == '::':
        if token.text == 'namespace':
            raise MatchError('uses the namespace axis', 'match elements by prefix', token.offset)
    elif token.text in FUNCTIONS and prefix == VG:
        message = 'has the function %s without its arguments' % token.text
        raise MatchError(message, 'write %s(...)' % token.text, token.offset)
    elif colon and prefix not in NAMESPACES:
        raise MatchError('uses the undeclared prefix %r' % prefix, suggest(prefix, sorted(NAMESPACES)), token.offset)


def _path_starts(tokens: 'List[Token]') -> 'Iterator[int]':
    """The indexes of the tokens at which a location path begins outside of any predicate."""
    for index, token in enumerate(tokens):
        if token.depth or token.text == '[' or token.kind in ('literal', 'number', 'operator', 'variable'):
            continue
        before = grammar_text(tokens[index - 1]) if index else '('
        is_function = token.kind == 'name' and [t.text for t in tokens[index + 1 : index + 2]] == ['(']
        if is_function and token.text in FUNCTIONS:
            continue
        begins = before in BEFORE_OPERAND and before not in ('/', '//', '@', '::')
        if begins and (token.text in ('/', '//', '@', '.', '..', '*') or token.kind == 'name'):
            yield index


def _check_start(tokens: 'List[Token]', start: int, root: str) -> None:
    token = tokens[start]
    following = tokens[start + 1].text if start + 1 < len(tokens) else ''
    if token.text == '//':
        return
    if token.text != '/':
        named = token.kind == 'name' and token.text != root
        hint = 'write /%s/... or //%s' % (root, token.text) if named else 'begin with /%s' % root
        raise MatchError('has a path that begins with %r and not at the document' % token.text, hint, token.offset)
    axis = tokens[start + 2].text if start + 2 < len(tokens) else ''
    if following not in (root, '*', 'node') and axis != '::':
        raise MatchError(
            'can never match: the document is <%s>, not <%s>' % (root, following), 'begin with /%s' % root, token.offset
        )
