# SPDX-License-Identifier: Apache-2.0
"""Expressions at random, over all of XPath 1.0 that policies may use; and what the hook's own evaluator and lxml make
of one on the same document."""

import math
import pathlib
import random

from fuzz_functions import NUMBERS, PLACES, compile_simply, transition
from fuzz_spelling import Odd, plain, strange_metadata
from fuzz_trees import CASES, Corpus
from virtguard import tree, xpath
from virtguard.errors import DomainXMLError
from virtguard.judging.subject import parse_xml
from virtguard.match.check import compile_match
from virtguard.match.program import make_program
from virtguard.policy import load

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

_AXES = (
    'ancestor ancestor-or-self attribute child descendant descendant-or-self following following-sibling parent '
    'preceding preceding-sibling self'
).split()
_NAMES = (
    'domain devices disk source driver target interface hostdev address alias model os type features cpu memory name '
    'metadata libosinfo:libosinfo libosinfo:os qemu:commandline qemu:arg qemu:* libosinfo:* controller video *'
).split()
_ATTRIBUTES = 'type name bus mode model dev file machine arch id value unit index slot enabled * libosinfo:id'.split()
_TEXTS = ("''", "'kvm'", "'virtio'", "'0x0'", "'a'", "'yes'", "'1'", "'-2.5'", "' 7 '", "'disk'", '"e"', "'/'")
_NUMBERS = '0 1 2 3 0.5 1.5 2.25 10 1000000 0.001 12345.678 3.14159 0x0 0x10 0XfF 0x7fffffffffff'.split()
_STATES = ('before', 'after')


class Expressions:
    """Makes expressions from one generator of random numbers."""

    def __init__(self, random):
        self._random = random

    def of_transition(self):
        """One that begins with elements in both states, and most often calls a function that is for these."""
        name = self._random.choice(_NAMES[:-1])
        start = '%s/%s%s' % (self._one('/transition/', '//'), self._one(*_STATES), self._one('/domain/', '//', '/*/*/'))
        return '%s%s[%s]%s' % (start, self._one(name, '*'), self._of_states(2), self._one('', '', '/' + self._steps(1)))

    def _of_states(self, depth):
        kind = self._random.randrange(8 if depth else 4)
        if kind < 4:
            return self._one('vg:is-new()', 'vg:is-gone()', 'vg:before()', 'not(vg:before())')
        if kind == 4:
            return '%s %s %s' % (self._of_states(depth - 1), self._one('and', 'or'), self.truth(1))
        if kind == 5:
            attribute = self._one(*_ATTRIBUTES)
            return 'vg:before()/@%s %s @%s' % (attribute, self._one('=', '!=', '>', '<='), attribute)
        if kind == 6:
            return 'count(vg:before()/%s) %s %s' % (self._steps(1), self._one('=', '<'), self.number(1))
        return '%s::*[%s]' % (self._one('child', 'descendant', 'ancestor-or-self'), self._of_states(depth - 1))

    def any(self):
        kind = self._random.randrange(10)
        depth = self._random.choice((1, 2, 2, 3, 3, 4))
        return self.nodes(depth) if kind < 6 else (self.truth, self.truth, self.number, self.text)[kind - 6](depth)

    def _one(self, *choices):
        return self._random.choice(choices)

    def nodes(self, depth):
        kind = self._random.randrange(12)
        if kind == 0 and depth > 1:
            return '%s | %s' % (self.nodes(depth - 1), self.nodes(depth - 1))
        if kind == 1 and depth > 1:
            tail = self._one('', '/' + self._steps(depth - 1), '//*')
            return '(%s)[%s]%s' % (self.nodes(depth - 1), self._predicate(depth - 1), tail)
        start = self._one('/', '//', '/domain/', '/domain/devices/', '/domain/devices/*/', '//disk/', '', './/', '../')
        steps = self._steps(depth)
        return start + (steps if not start.endswith('//') or steps[0] != '.' else '*')

    def _steps(self, depth):
        steps = [self._step(depth) for _ in range(self._random.choice((1, 1, 2, 2, 3)))]
        # libxml2 leaves the node itself out of `.//.`, which nobody writes.
        joint = self._one('/', '/', '/', '//')
        return joint.join(steps[:1] + [step if joint == '/' or step[0] != '.' else '*' for step in steps[1:]])

    def _step(self, depth):
        kind = self._random.randrange(10)
        if kind == 0:
            return self._one('.', '..')
        if kind < 5:
            step = self._random.choice(_NAMES)
        elif kind < 7:
            step = '@' + self._random.choice(_ATTRIBUTES)
        else:
            axis = self._random.choice(_AXES)
            names = _ATTRIBUTES if axis == 'attribute' else _NAMES
            step = '%s::%s' % (axis, self._one(self._random.choice(names), 'node()', 'text()', '*'))
        while depth > 0 and self._random.random() < 0.35:
            step += '[%s]' % self._predicate(depth - 1)
        return step

    def _predicate(self, depth):
        kind = self._random.randrange(8)
        if kind < 2:
            return self._one('1', '2', 'last()', 'position() > 1', 'position() = last()', 'last() - 1', '3')
        if kind == 2:
            return self.number(depth)
        return self.truth(depth)

    def truth(self, depth):
        if depth <= 0:
            return self._one('@type', '@name', 'source', 'true()', 'false()', "@type='a'", '..', 'text()', 'last() > 2')
        below = depth - 1
        kind = self._random.randrange(14)
        if kind == 0:
            return '%s %s %s' % (self.truth(below), self._one('and', 'or'), self.truth(below))
        if kind == 1:
            return 'not(%s)' % self._any_value(below)
        if kind == 2:
            return '%s(%s, %s)' % (self._one('contains', 'starts-with'), self._any_value(below), self.text(below))
        if kind == 3:
            return 'boolean(%s)' % self._any_value(below)
        if kind == 4:
            return 'lang(%s)' % self._one("'en'", "'EN'", "'de'", self.text(below))
        if kind == 5:
            nodes = self._one(self.nodes(below), '.', '@*', '@' + self._random.choice(_ATTRIBUTES))
            return self._one(
                'vg:has-flag(%s, %s)' % (nodes, self._one('1', '0x1', '2', '4', '0X8', '32', '0x80000')),
                'vg:is-path(%s, %s)' % (nodes, self._one("'/'", "'/etc'", "'/etc', '/a/etc', '/'")),
                'vg:lies-below(%s, %s)' % (nodes, self._one("'/'", "'/etc'", "'/dev', '/var/lib'")),
                'vg:is-any-address(%s)' % nodes,
            )
        if kind < 8:
            return self.nodes(below)
        if kind == 8:
            return '%s = %s or %s = %s' % ('@type', self.text(0), '@type', self.text(0))
        operator = self._one('=', '=', '!=', '<', '<=', '>', '>=')
        return '(%s) %s (%s)' % (self._any_value(below), operator, self._any_value(below))

    def _any_value(self, depth):
        return self._one(self.nodes, self.nodes, self.nodes, self.text, self.number, self.truth)(depth)

    def number(self, depth):
        if depth <= 0:
            return self._one(*_NUMBERS, 'position()', 'last()', 'string-length()', 'number()', '-1')
        below = depth - 1
        kind = self._random.randrange(9)
        if kind == 0:
            return '%s(%s)' % (self._one('count', 'sum'), self.nodes(below))
        if kind == 1:
            return 'string-length(%s)' % self._any_value(below)
        if kind == 2:
            return '%s(%s)' % (self._one('floor', 'ceiling', 'round'), self._any_value(below))
        if kind == 3:
            return 'number(%s)' % self._any_value(below)
        if kind == 4:
            return '- (%s)' % self._any_value(below)
        if kind == 5:
            return self._random.choice(_NUMBERS)
        return '(%s) %s (%s)' % (self._any_value(below), self._one('+', '-', '*', 'div', 'mod'), self._any_value(below))

    def text(self, depth):
        if depth <= 0:
            return self._one(*_TEXTS, 'string()', 'name()', 'local-name()', 'namespace-uri()', 'normalize-space()')
        below = depth - 1
        kind = self._random.randrange(9)
        if kind == 0:
            return 'string(%s)' % self._any_value(below)
        if kind == 1:
            return '%s(%s)' % (self._one('name', 'local-name', 'namespace-uri'), self.nodes(below))
        if kind == 2:
            return 'concat(%s, %s)' % (self._any_value(below), self._any_value(below))
        if kind == 3:
            return 'normalize-space(%s)' % self._any_value(below)
        if kind == 4:
            which = self._one('substring-before', 'substring-after')
            return '%s(%s, %s)' % (which, self._any_value(below), self._any_value(below))
        if kind == 5:
            return 'substring(%s, %s)' % (self._any_value(below), self.number(below))
        if kind == 6:
            return 'substring(%s, %s, %s)' % (self._any_value(below), self.number(below), self.number(below))
        if kind == 7:
            return 'translate(%s, %s, %s)' % (self._any_value(below), self.text(below), self.text(below))
        return self._random.choice(_TEXTS)


class Both:
    """A document as both read it."""

    def __init__(self, data):
        self.data = data
        self.document = tree.read_tree(data)
        self._root = parse_xml(data)
        if self.document is not None:
            (self.root,) = self.document.elements()

    def compare(self, expression):
        """What both make of an expression: nothing, if only lxml can evaluate it."""
        program = make_program(expression)
        if program is None:
            return None
        theirs = compile_simply(expression)(self._root)
        ours = xpath.run(program, self.root) if isinstance(theirs, list) else xpath.evaluate(program, self.root)
        return _shown(ours), _shown(theirs)

    def compare_functions(self, expression):
        """What the functions of lxml's evaluator make of an expression, and what simple ones do."""
        return tuple(_shown(compiled(expression)(self._root)) for compiled in (compile_match, compile_simply))


def _shown(value):
    """The value of an expression, so that it can be compared: nodes by where they are."""
    if isinstance(value, list):
        return [_place(node) for node in value]
    return 'NaN' if isinstance(value, float) and math.isnan(value) else (type(value).__name__ != 'bool', value)


def _place(node):
    if not isinstance(node, str):
        return 'element', _way(node), node.tag, node.sourceline
    if node.is_attribute:
        return 'attribute', _way(node.getparent()), node.attrname, str(node)
    if isinstance(node, tree.Leaf):
        above = node.getparent()
        before = above.children[: next(n for n, child in enumerate(above.children) if child is node)]
        return 'text', _way(above), sum(isinstance(child, tree.Element) for child in before), str(node)
    beside = node.getparent()
    if node.is_tail:
        return 'text', _way(beside.getparent()), beside.getparent().index(beside) + 1, str(node)
    return 'text', _way(beside), 0, str(node)


def _way(element):
    """The places on the way to an element; and its own text, so that a mistake here cannot hide one there."""
    places = []
    while element.getparent() is not None:
        above = element.getparent()
        places.append([child is element for child in above].index(True))
        element = above
    return tuple(places[::-1])


class Disagreement:
    """An expression of which both make something else on a document."""

    def __init__(self, expression, data, ours, theirs):
        self.expression = expression
        self.data = data
        self.ours = ours
        self.theirs = theirs

    def __str__(self):
        return '%s\n  ours: %.300s\n  lxml: %.300s' % (self.expression, self.ours, self.theirs)


class Pairs:
    """Pairs of an expression and a document; those of number N of a seed are the same for ever."""

    def __init__(self, seed):
        self._seed = seed
        self._corpus = Corpus()
        self.count = 0
        self.selecting = 0

    def on_tests_domains(self, expressions, every=1):
        """The disagreements about expressions on the domains of the tests, or on every fifth and so on."""
        for path in sorted(CASES.glob('**/*.xml'))[::every]:
            yield from self._compare(path.read_bytes(), expressions)

    def at_random(self, number):
        """The disagreements about twenty expressions on one mutated domain, in two spellings."""
        chance = random.Random('%s %d' % (self._seed, number))
        domain = self._corpus.domain(chance)
        for _, node in domain.walk():
            for name in node.attributes if chance.random() < 0.1 else ():
                node.attributes[name] = chance.choice(NUMBERS + PLACES)
        made = Expressions(chance)
        expressions = [made.any() for _ in range(20)]
        for data in (plain(domain), Odd(chance, strange_metadata(chance)).spell(domain)):
            yield from self._compare(data, expressions)

    def of_transitions(self, number):
        """The disagreements about twenty expressions on two states of a mutated domain."""
        chance = random.Random('%s transition %d' % (self._seed, number))
        data = transition(self._corpus, chance)
        if data is None:
            return
        made = Expressions(chance)
        expressions = [made.of_transition() for _ in range(20)]
        yield from self._compare(data, expressions)  # those that the hook could evaluate, too
        both = Both(data)
        for expression in expressions:
            yield from self._note(expression, data, both.compare_functions(expression))

    def _compare(self, data, expressions):
        try:
            both = Both(data)
        except DomainXMLError:
            return
        for expression in expressions if both.document is not None else ():
            compared = both.compare(expression)
            if compared is not None:
                yield from self._note(expression, data, compared)

    def _note(self, expression, data, compared):
        self.count += 1
        self.selecting += bool(compared[1]) and compared[1] != (False, False)
        if compared[0] != compared[1]:
            yield Disagreement(expression, data, *compared)


def shipped_matches():
    """The matches of all shipped policies."""
    profiles = sorted(CHECKOUT.glob('data/profiles/*.yaml'))
    rules = [rule for path in profiles for rule in load.as_if_in_force(str(path)).rules]
    return sorted({rule.match for rule in rules if rule.match is not None})
