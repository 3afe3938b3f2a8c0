# SPDX-License-Identifier: Apache-2.0
"""Marks and words are sound for generated documents and expressions. See test_screening, too."""

import re

import pytest
from lxml import etree
from support.spelling import STYLES, Style, Writer
from virtguard.match.check import compile_match
from virtguard.match.syntax import NAMESPACES

from .soundness import DOCUMENTS, RULES, assert_sound, rule_of

hypothesis = pytest.importorskip('hypothesis')
st = pytest.importorskip('hypothesis.strategies')

NAMES = ['devices', 'disk', 'source', 'name', 'address', 'qemu:arg']
ATTRIBUTES = ['type', 'dev', 'bus']
VALUES = ['kvm', 'qemu', 'k', '', '0', '2', 'a b', 'k>v', ' ', '/']


def examples(count):
    """So many, the same in each run, however long they take."""
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def element(children):
    """(name, attributes, text, children)"""
    attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES), max_size=3)
    return st.tuples(st.sampled_from(NAMES), attributes, st.sampled_from(VALUES), children)


TREES = st.recursive(element(st.just([])), lambda trees: element(st.lists(trees, max_size=3)), max_leaves=12)


def to_xml(tree, tag=None):
    name, attributes, text, children = tree
    start = ' '.join(["%s='%s'" % pair for pair in sorted(attributes.items())])
    return '<%s %s>%s%s</%s>' % (tag or name, start, text, ''.join(to_xml(child) for child in children), (tag or name))


def domain_of(tree):
    xml = to_xml(tree, 'domain').replace('<domain ', "<domain xmlns:qemu='%s' " % NAMESPACES['qemu'], 1)
    return xml.encode()


LITERALS = st.sampled_from(["'%s'" % value for value in VALUES])
NODE_TESTS = st.sampled_from(NAMES + ['*', 'domain', 'text()', 'node()'])
STEPS = (
    NODE_TESTS
    | st.sampled_from(['@' + name for name in ATTRIBUTES] + ['@*', '.', '..', 'self::disk', 'self::*'])
    | NODE_TESTS.map(lambda test: 'descendant::' + test)
    | NODE_TESTS.map(lambda test: 'following-sibling::' + test)
)


def join_steps(parts):
    return ''.join(separator + step + ''.join('[%s]' % p for p in predicates) for separator, step, predicates in parts)


def paths(predicates, minimum=0):
    step = st.tuples(st.sampled_from(['/', '/', '/', '//']), STEPS, st.lists(predicates, max_size=2))
    return st.lists(step, min_size=minimum, max_size=4).map(join_steps)


def conditions(inner):
    relative = paths(inner, 1).map(lambda path: re.sub('^//?', '', path)) | st.just('.')
    absolute = paths(inner).map(lambda path: '/domain' + path)
    path = relative | relative | absolute
    return (
        path
        | st.tuples(path, st.sampled_from(['=', '!=', '<', '>', '>=']), LITERALS | path | st.just('1')).map(' '.join)
        | st.tuples(LITERALS, st.sampled_from(['=', '!=']), path).map(' '.join)
        | st.tuples(st.sampled_from(['contains', 'starts-with']), path, LITERALS).map(lambda c: '%s(%s, %s)' % c)
        | inner.map(lambda c: 'not(%s)' % c)
        | inner.map(lambda c: 'boolean(%s)' % c)
        | st.tuples(inner, st.sampled_from(['and', 'or']), inner).map(' '.join)
        | st.tuples(path, path).map(' | '.join)
        | st.tuples(path, st.sampled_from(['true()', 'false()'])).map(' = '.join)
        | st.tuples(path, st.integers(0, 2)).map(lambda c: 'count(%s) = %d' % c)
        | st.sampled_from(['1', '2', 'last()', 'position() = 1', 'true()', "'x'", "''", '-1', '0.5 * 2'])
    )


PREDICATES = st.recursive(st.sampled_from(['@type', "@type = 'kvm'", 'not(@dev)', "'x'"]), conditions, max_leaves=6)
MATCHES = st.lists(paths(PREDICATES).map(lambda path: '/domain' + path), min_size=1, max_size=2).map(' | '.join)
EXPRESSIONS = (
    MATCHES
    | MATCHES.map(lambda m: '//' + m[1:])
    | PREDICATES.map(lambda p: '/domain[%s]' % p)
    | MATCHES.map(lambda match: 'not(%s)' % match)
)


@examples(800)
@hypothesis.given(TREES, EXPRESSIONS, st.none() | st.lists(st.sampled_from(VALUES), min_size=1).map(tuple))
def test_generated_expressions_on_generated_documents(tree, match, values):
    try:
        compile_match(match)
    except ValueError:
        hypothesis.reject()
    try:
        assert_sound(rule_of(match, values), domain_of(tree))
    except etree.XPathEvalError:
        hypothesis.reject()


# The first of some elements, as libvirt takes it.
FIRSTS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(['', '[1]', '[1]'])).map(''.join), min_size=1, max_size=3
)
NEGATED = st.tuples(FIRSTS.map('/'.join), st.sampled_from(['', '/@type', '/@dev'])).map(''.join)


@examples(800)
@hypothesis.given(TREES, NEGATED, st.sampled_from(['/domain[not(%s)]', 'not(/domain/%s)', '/domain[not(%s and @dev)]']))
def test_generated_documents_that_lack_the_first(tree, path, match):
    assert_sound(rule_of(match % path), domain_of(tree))


@st.composite
def styles(draw):
    """Ways to write a document; a few are mixed, and what they leave out is written plainly."""
    ways = draw(st.lists(st.sampled_from(sorted(STYLES)), min_size=1, max_size=2))
    chosen = [STYLES[way] for way in ways]
    return Style(
        quotes=''.join(style.quotes for style in chosen),
        equals=sum((style.equals for style in chosen), ()),
        gaps=sum((style.gaps for style in chosen), ()),
        ends=sum((style.ends for style in chosen), ()),
        empty=all(style.empty for style in chosen),
        references=draw(st.sampled_from([0, 0, chosen[0].references])),
        cdata=draw(st.sampled_from([0, 0, chosen[0].cdata])),
        aside=draw(st.sampled_from(['', '', chosen[0].aside])),
    )


# Words tell most of equality, and of elements that are absent.
TESTS = st.tuples(st.sampled_from(['=', '=', '!=']), LITERALS).map(lambda c: '[. %s %s]' % c)
STEP = st.sampled_from(NAMES) | st.sampled_from(NAMES).map(lambda name: '%s[not(@dev)]' % name)
PLAIN_PATHS = st.tuples(
    st.lists(STEP, min_size=1, max_size=4).map('/'.join),
    st.just('') | st.tuples(st.sampled_from(ATTRIBUTES), st.just('') | TESTS).map(lambda c: '/@%s%s' % c) | TESTS,
).map(lambda c: '/domain/%s%s' % c)
PLAIN_MATCHES = st.lists(PLAIN_PATHS, min_size=1, max_size=3).map(' | '.join)


@examples(800)
@hypothesis.given(
    TREES,
    PLAIN_MATCHES | EXPRESSIONS,
    styles(),
    st.integers(0, 1 << 16),
    st.lists(st.sampled_from(VALUES), min_size=1).map(tuple) | st.none(),
)
def test_generated_documents_in_any_spelling(tree, match, style, seed, values):
    root = etree.fromstring(domain_of(tree))
    xml = Writer(style, seed).write(root).encode()
    try:
        compile_match(match)
    except ValueError:
        hypothesis.reject()
    try:
        assert_sound(rule_of(match, values), xml)
    except etree.XPathEvalError:
        hypothesis.reject()


REPLACEMENTS = 'yes no qemu kvm vhostuser virtiofs passthrough lun hostdev pci hvm /usr/bin/kvm /x -device'.split()
REPLACEMENTS += [
    'http://microsoft.com/win/xp',
    'http://apple.com/x',
    'virtio-crypto',
    '',
    'win7',
    'https://apple.com/x/1',
]
TAGS = 'iotune teaming reservations crypto tpm disk pm suspend-to-mem emulator throttlegroups'.split()


@st.composite
def mutated(draw):
    root = etree.fromstring(draw(st.sampled_from(DOCUMENTS)).read_bytes(), etree.XMLParser(remove_comments=True))
    for _ in range(draw(st.integers(1, 6))):
        nodes = [node for node in root.iter() if isinstance(node.tag, str)]
        node = draw(st.sampled_from(nodes))
        action = draw(st.sampled_from(['remove', 'attribute', 'text', 'rename', 'insert']))
        if action == 'remove' and node is not root:
            node.getparent().remove(node)
        elif action == 'attribute' and node.attrib:
            node.set(draw(st.sampled_from(sorted(node.attrib))), draw(st.sampled_from(REPLACEMENTS)))
        elif action == 'text':
            node.text = draw(st.sampled_from(REPLACEMENTS))
        elif action == 'rename' and node is not root:
            node.tag = draw(st.sampled_from(TAGS))
        elif action == 'insert':
            child = etree.SubElement(node, draw(st.sampled_from(TAGS)))
            child.set(draw(st.sampled_from(['type', 'enabled', 'model'])), draw(st.sampled_from(REPLACEMENTS)))
    return etree.tostring(root)


@examples(600)
@hypothesis.given(mutated())
def test_shipped_rules_on_mutated_domains(xml):
    for rule in RULES:
        assert_sound(rule, xml)
