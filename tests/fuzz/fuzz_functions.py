# SPDX-License-Identifier: Apache-2.0
"""The functions that policies have beyond XPath 1.0, a second time and as simply as they can be told; and transitions
at random, on which to compare them with those of match/functions."""

import posixpath
import re
import socket

from fuzz_spelling import plain
from fuzz_trees import Node
from lxml import etree
from virtguard.match.check import compile_match
from virtguard.match.syntax import NAMESPACES, VG, VG_NS, as_xpath_1

_NUMBER = re.compile(r'[ \t\r\n]*(?:0[xX]([0-9a-fA-F]{1,20})|([0-9]{1,20}))[ \t\r\n]*\Z')
# What is a number, and what only looks like one.
NUMBERS = (
    '0x10',
    '0X1f',
    ' 12 ',
    '0x',
    '33',
    '-1',
    '+1',
    '1.0',
    '1_0',
    '0b1',
    '1e3',
    '9' * 20,
    '9' * 21,
    '0x' + 'f' * 20,
)
NUMBERS += ('0x' + 'f' * 21, '\u0663', '1 2', '\u00a01', '')
# Paths and addresses in many spellings, and what only looks like one.
PLACES = (
    '/',
    '//',
    '/etc',
    '//etc/./passwd',
    '/etc/../etcetera',
    '/a/../../etc/',
    '/..',
    '/etc.d',
    '/.etc',
    '/etc/...',
    'etc',
    './etc',
    ' /etc',
    '/etc/\u00e9 ',
    '0',
    '0.0.0.0',
    '::',
    '0::0',
    '[::]',
    '::%lo',
    '0x0.00',
    '::ffff:0.0.0.0',
    '::ffff:0:0',
    '127.0.0.1',
    '::1',
    '1::',
    '0.0.0.0.0',
    '0..0',
    '0x',
    '0 0',
    '0:0:0:0',
)
_MOST_ELEMENTS = 150


def _texts(nodes):
    return [node if isinstance(node, str) else ''.join(node.itertext()) for node in nodes]


def _has_flag(context, nodes, flag):
    for text in _texts(nodes):
        number = _NUMBER.match(text)
        if number and int(number.group(1) or number.group(2), 16 if number.group(1) else 10) & int(flag):
            return True
    return False


def _is_path(context, nodes, *paths):
    return any(text.startswith('/') and '/' + posixpath.normpath(text).lstrip('/') in paths for text in _texts(nodes))


def _lies_below(context, nodes, *paths):
    """Whether a path is joined to what of the directory is left out in it."""
    for text in _texts(nodes):
        if text.startswith('/'):
            parts = [part for part in posixpath.normpath(text).split('/') if part]
            for path in paths:
                wanted = [part for part in path.split('/') if part]
                if parts[: len(wanted)] == wanted:
                    return True
    return False


def _is_any_address(context, nodes):
    return any(_is_any(text.strip(' \t\r\n')) for text in _texts(nodes))


def _is_any(text):
    """By the library's own parsers; they accept less, so only what they accept is asked of them."""
    text = text[1:-1] if text.startswith('[') and text.endswith(']') else text
    try:
        return not any(socket.inet_aton(text)) if ':' not in text and len(text.split()) == 1 else _is_any_ipv6(text)
    except OSError:
        return False


def _is_any_ipv6(text):
    address = socket.inet_pton(socket.AF_INET6, text.partition('%')[0])
    return address in (bytes(16), bytes(10) + b'\xff\xff' + bytes(4))


def _identity(element):
    for name, told in (
        ('alias', lambda child: child.get('name', '')),
        ('name', lambda child: ''.join(child.itertext())),
    ):
        children = [child for child in element if child.tag == name]
        if children:
            return name, told(children[0])
    return None


def _correspond(one, other):
    above, beside = one.getparent(), other.getparent()
    if above is None or beside is None:
        return False
    if above.getparent() is None or beside.getparent() is None:
        return above is beside and {one.tag, other.tag} <= {'before', 'after'}
    return one.tag == other.tag and _identity(one) == _identity(other) and _correspond(above, beside)


def _in_half(element, side):
    halves = [half for half in element.getroottree().getroot() if half.tag == side]
    return [found for half in halves for found in half.iter() if _correspond(element, found)]


def _before(context):
    return _in_half(context.context_node, 'before')


def _is_only_here(element, side):
    above = element.getparent()
    return above is not None and bool(_in_half(above, side)) and not _in_half(element, side)


_FUNCTIONS = {
    'has-flag': _has_flag,
    'is-path': _is_path,
    'lies-below': _lies_below,
    'is-any-address': _is_any_address,
    'before': _before,
    'is-new': lambda context: _is_only_here(context.context_node, 'before'),
    'is-gone': lambda context: _is_only_here(context.context_node, 'after'),
}


def compile_simply(expression):
    """What compile_match makes of an expression, but with the functions of this module."""
    if VG + ':' not in expression:
        return compile_match(expression)
    functions = {(VG_NS, name): function for name, function in _FUNCTIONS.items()}
    return etree.XPath(as_xpath_1(expression), namespaces={**NAMESPACES, VG: VG_NS}, extensions=functions, regexp=False)


def transition(corpus, random):
    """Two states of a domain, of which the second one has up to eight changes; None if they are too large."""
    before = corpus.domain(random)
    for node in [node for _, node in before.walk() if node.elements() or random.random() < 0.2]:
        if random.random() < 0.5:
            identity = Node('', 'alias', {'name': 'a%d' % random.randrange(4)})
            node.children.append(
                identity if random.random() < 0.7 else Node('', 'name', {}, ['n%d' % random.randrange(3)])
            )
    after = corpus.changed(before.copy(), random)
    if sum(1 for state in (before, after) for _ in state.walk()) > _MOST_ELEMENTS:
        return None
    halves = [Node('', 'before', {}, [before]), Node('', 'after', {}, [after])]
    if random.random() < 0.1:
        halves.append(random.choice(halves).copy())
    return plain(Node('', 'transition', {}, halves))
