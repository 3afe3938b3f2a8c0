# SPDX-License-Identifier: Apache-2.0
"""The functions that policies have beyond XPath 1.0, a second time and as simply as they can be told; and transitions
at random, on which to compare them with those of match/functions."""

import re

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
_MOST_ELEMENTS = 150


def _has_flag(context, nodes, flag):
    for node in nodes:
        text = node if isinstance(node, str) else ''.join(node.itertext())
        number = _NUMBER.match(text)
        if number and int(number.group(1) or number.group(2), 16 if number.group(1) else 10) & int(flag):
            return True
    return False


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
