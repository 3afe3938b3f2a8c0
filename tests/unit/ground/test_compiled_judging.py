# SPDX-License-Identifier: Apache-2.0
"""A compiled policy finds what lxml finds, and lines let a rule be a candidate where it does. See test_lines, too."""

import functools
import inspect
import marshal
import re

import pytest
from lxml import etree
from support.made import policy
from support.paths import CHECKOUT
from support.policies import load_policy
from support.spelling import STYLES, Style, Writer
from virtguard import model, packed, scan
from virtguard.compiled import CompiledPolicy
from virtguard.errors import DomainXMLError
from virtguard.judging.evaluate import evaluate
from virtguard.judging.lines import Sieve
from virtguard.judging.subject import parse_domain
from virtguard.match.check import compile_match
from virtguard.match.needs import derive_need
from virtguard.match.syntax import NAMESPACES
from virtguard.policy.compiler import prepare
from virtguard.tree import read_tree

POLICY = load_policy((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
RULES = [rule for rule in POLICY.rules_at(model.ADMISSION) if rule.match is not None]
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: True)
SHIPPED = CompiledPolicy(prepare(POLICY))
DOCUMENTS = sorted((CHECKOUT / 'tests' / 'cases').rglob('*.xml'))


def rule_of(match, values=None, negated=False):
    return model.Rule('x', 't', 'deny', 'w', 'r', match=match, values=values, negated=negated)


@functools.lru_cache(maxsize=256)
def prepared(match, values, negated):
    """What is derived from a rule once: a compiled policy, and the sieve."""
    rule = rule_of(match, values, negated)
    return CompiledPolicy(marshal.loads(marshal.dumps(prepare(policy(rule))))), Sieve([(0, derive_need(rule))])


def judged(rule, xml):
    """Whether it finds something; None where only lxml can tell."""
    verdict, _ = prepared(rule.match, rule.values, rule.negated)[0].judge(xml, HOST, '2026-11-28')
    return None if verdict is None else verdict.findings != ()


def passes_sieve(rule, xml):
    """What the lines say; True where only lxml can tell."""
    sifted = prepared(rule.match, rule.values, rule.negated)[1].sift(xml)
    return sifted is None or sifted.numbers == [0]


def matches(rule, subject):
    """What lxml says."""
    compile_match(rule.match)(subject.root)  # fails where it cannot be evaluated
    bare = rule_of(rule.match, rule.values, rule.negated)
    return evaluate(policy(bare), subject, HOST, '2026-11-28').findings != ()


def assert_sound(rule, xml):
    """Returns whether the rule matched, for tests that want to know that they tested something."""
    try:
        subject = parse_domain(xml)
    except DomainXMLError:
        return False
    found = matches(rule, subject)
    assert judged(rule, xml) in (found, None), '%s matches for one and not for the other:\n%s' % (
        rule.match,
        xml.decode('utf-8', 'replace'),
    )
    assert passes_sieve(rule, xml) or not found, '%s matches, and words do not let it:\n%s' % (
        rule.match,
        xml.decode('utf-8', 'replace'),
    )
    return found


def test_every_document_of_the_tests_against_every_shipped_rule():
    assert len(DOCUMENTS) > 100
    found = {rule.id for path in DOCUMENTS for rule in RULES if assert_sound(rule, path.read_bytes())}
    assert found == {rule.id for rule in RULES}


SPELLINGS = [
    'https://microsoft.com/win/7',
    'HTTP://MICROSOFT.com/win/7/',
    ' http://microsoft.com/win/7 ',
    'http:///microsoft.com//win//7',
    'http://www.microsoft.com:80/win/7',
    'microsoft.com/win/7',
    'win7',
    'Win7',
    'HTTPS://apple.com/macosx/99',
    'http://apple.com./x/1',
    'https://sun.com/solaris/9/',
    'solaris11',
    'rhel5.2',
    'http://redhat.com/RHEL/5.2',
    'http://example.com/os/1/',
    'unknown',
    '',
    '0',
]


@pytest.mark.parametrize('id', SPELLINGS)
def test_any_spelling_of_an_id(id):
    text = (CHECKOUT / 'tests' / 'cases' / 'base-x86_64.xml').read_text(encoding='utf-8')
    for quoted in ('"%s"' % id, "'%s'" % id):
        xml = text.replace('"http://redhat.com/rhel/8.6"', quoted).encode()
        assert any([assert_sound(rule, xml) for rule in RULES if rule.id.startswith('guest-os-')])


@pytest.mark.parametrize('path', [p for p in DOCUMENTS if p.name.startswith('base')], ids=lambda p: p.name)
def test_clean_domains_need_no_lxml(path):
    """The speed of the hook: none of the shipped rules is a candidate for a clean domain."""
    verdict, left = SHIPPED.judge(path.read_bytes(), HOST, '2026-11-28')
    assert verdict.findings == () and left == []


@pytest.mark.parametrize(
    'xml',
    [
        b'\xef\xbb\xbf<domain/>',
        "<?xml version='1.0' encoding='utf-16'?><domain/>".encode('utf-16'),
        b"<?xml version='1.0' encoding='iso-8859-1'?><domain/>",
        b'<domain>' + b'<a>' * 250 + b'</a>' * 250 + b'</domain>',
        b'<domain>' + b' ' * (5 << 20) + b'</domain>',
    ],
    ids=['BOM', 'UTF-16', 'Latin-1', 'deep', 'large'],
)
def test_where_two_parsers_might_differ_lxml_is_asked(xml):
    assert read_tree(xml) is None


def test_a_doctype_is_refused():
    with pytest.raises(DomainXMLError, match='DOCTYPE'):
        read_tree(b'<!DOCTYPE d><d/>')


@pytest.mark.parametrize('xml', [b'<domain>', b'<a:b/>', b'<domain>&x;</domain>', b'<domain>\xff</domain>'])
def test_where_expat_refuses_lxml_is_asked(xml):
    assert read_tree(xml) is None


LIBOSINFO = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'


@pytest.mark.parametrize(
    ('metadata', 'is_small'),
    [
        ('<l:x xmlns:l="%s"/>' % LIBOSINFO, True),
        ("<l:x xmlns:l = '%s'/>" % LIBOSINFO, True),
        ('<x xmlns="" xmlns:a="u:b"/>' * 100, True),
        ('<x xmlns="" xmlns:a="u:b"/>' * 200, False),
        ('<p:x xmlns:p="u:%s"/>' % ('A' * 400), False),
        ("<p:x xmlns:p='u:%s'/>" % ('A' * 400), False),
        ('<p:x xmlns:p%s="u:%s"/>' % (' ' * 100, 'A' * 400), False),
        ('<a b=" xmlns" xmlns:p="u:%s"/>' % ('A' * 400), False),
        ('<a b="xmlns" c="%s" xmlns:p="u:%s"/>' % ('A' * 10, 'A' * 400), False),
    ],
)
def test_namespaces_that_would_be_written_in_full_for_each_name(metadata, is_small):
    """Within one call of expat, for as long as that takes: such a document is left to a process with limits."""
    xml = "<domain type='kvm'><metadata>%s</metadata></domain>" % metadata
    assert (read_tree(xml.encode()) is not None) == is_small
    assert scan.is_well_formed(xml.encode()) == is_small


MATCHES_ABOVE = ['/domain/..', '/domain/devices | /domain/..', '/domain/devices/ancestor::node()[last()]']


@pytest.mark.parametrize('match', MATCHES_ABOVE)
def test_the_document_itself_is_never_found(match):
    assert not assert_sound(rule_of(match), b"<domain type='kvm'/>")
    assert judged(rule_of(match), b"<domain type='kvm'/>") is False


def domain_with(inside):
    return ("<domain type='kvm'>%s</domain>" % inside).encode()


DEVICES = '<devices>%s</devices>'
QEMU = "xmlns:q='%s'" % NAMESPACES['qemu']


@pytest.mark.parametrize(
    'inside',
    [
        DEVICES % "<driver xmlns:z='urn:z' z:type='virtiofs'/>",
        DEVICES % "<driver xml:type='virtiofs'/>",
        DEVICES % "<z:driver xmlns:z='urn:z'/>",
        DEVICES % "<driver xmlns='urn:z'/>",
        "<z:devices xmlns:z='urn:z'/>",
        "<z:metadata xmlns:z='urn:z'><driver z:type='virtiofs'/></z:metadata>",
        '<devices %s><driver q:type="virtiofs"/></devices>' % QEMU,
        '<devices %s><q:driver/></devices>' % QEMU,
        '<q:commandline %s q:x="y"/>' % QEMU,
        '<q:commandline %s><z:driver xmlns:z="urn:z" z:type="x"/></q:commandline>' % QEMU,
    ],
)
def test_names_in_namespaces_outside_of_metadata_are_left_to_lxml(inside):
    declared_above = b"<domain xmlns:z='urn:z'><devices z:type='x'/></domain>"
    for xml in (domain_with(inside), domain_with(inside + '<metadata/>'), declared_above):
        assert read_tree(xml) is None
        assert Sieve([]).sift(xml) is None


@pytest.mark.parametrize(
    'inside',
    [
        "<metadata><z:a xmlns:z='urn:z' z:type='x' xml:lang='de'><metadata xmlns=''><z:b/></metadata></z:a></metadata>",
        "<metadata xmlns:z='urn:z'><z:a z:type='x'/></metadata><devices><driver type='virtiofs'/></devices>",
        "<q:commandline %s><q:arg value='x'/></q:commandline>" % QEMU,
        "<devices xmlns:z='urn:z'/>",
    ],
)
def test_other_names_in_namespaces_are_not(inside):
    assert read_tree(domain_with(inside)) is not None


# --- generated documents and expressions ----------------------------------------------------------------------------

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


@pytest.mark.parametrize('count', [3, 100])
def test_many_texts_and_few_exclude_the_same(count):
    """A compiled policy has many of them as one string."""
    texts = ['http://a.org/a/%d' % number for number in range(count)]
    rules = ''.join(
        '- {id: %s, title: t, action: deny, match: "%s", why: w, remedy: r}\n' % item
        for item in (
            ('others', '/domain/os/loader/@type[%s]' % ' and '.join(". != '%s'" % text for text in texts)),
            ('lacking', '/domain/os/loader[not(%s)]' % ' or '.join("@type = '%s'" % text for text in texts)),
        )
    )
    prepared_policy = prepare(load_policy(('policy: p\nrules:\n' + rules).encode(), 'p'))
    many = CompiledPolicy(marshal.loads(marshal.dumps(prepared_policy)))
    host = model.HostFacts('x86_64', 'none', 'debian-12', lambda name, subject: None)
    for given, expected in (
        (" type='%s'" % texts[2], []),
        (" type='%s'" % texts[2][:-1], ['others', 'lacking']),
        (" type=''", ['others', 'lacking']),
        ('', ['lacking']),
    ):
        xml = "<domain type='kvm'><name>n</name><os><loader%s/></os></domain>" % given
        verdict, _ = many.judge(xml.encode(), host, '2026-11-28')
        assert [finding.rule.id for finding in verdict.findings] == expected, given


def test_steps_with_several_names_are_paths_of_these_names():
    """The hook looks at no other device, and finds what lxml does, in the order of the document."""
    rule = rule_of("/domain/devices/*[self::serial or self::disk][@type = 'file']/source/@*")
    paths, alone = prepare(policy(rule))[2][0]
    assert sorted(paths['domain'][0]['devices'][0]) == ['disk', 'serial'] and alone == ()
    devices = "<%s type='file'><source a='%d' b='%d'/></%s>"
    kinds = ['serial', 'disk', 'console', 'serial', 'disk']
    xml = ''.join(devices % (kind, 2 * number, 2 * number + 1, kind) for number, kind in enumerate(kinds))
    xml = ("<domain type='kvm'><name>n</name><devices>%s</devices></domain>" % xml).encode()
    verdict, _ = CompiledPolicy(prepare(policy(rule))).judge(xml, HOST, '2026-11-28')
    assert [f.evidence for f in verdict.findings] == [
        '<source %s="%d">' % ('ab'[place], 2 * number + place) for number in (0, 1, 3, 4) for place in (0, 1)
    ]
    positional = rule_of('/domain/devices/*[self::serial or self::disk][2]')
    assert list(prepare(policy(positional))[2][0][0]['domain'][0]['devices'][0]) == []


# --- what only a start shows


def test_a_rule_of_start_costs_nothing_before():
    """Neither a step of its paths nor a program of it is in what other calls run."""
    rules = (
        model.Rule('a', 't', 'deny', 'w', 'r', match="/domain/devices/tpm[@model = 'x']", at=model.START),
        model.Rule('b', 't', 'deny', 'w', 'r', match='/domain[not(seclabel)]', at=model.START),
        model.Rule('c', 't', 'warn', 'w', 'r', match="boolean(//tpm[@model = 'x'])", at=model.START),
        model.Rule('d', 't', 'warn', 'w', 'r', match='/domain/devices/sound'),
    )
    content = prepare(policy(*rules))
    before, (paths, alone) = content[2]
    assert list(before[0]['domain'][0]['devices'][0]) == ['sound'] and before[1] == ()
    assert list(paths['domain'][0]['devices'][0]) == ['tpm'] and [number for number, _ in alone] == [2]
    compiled = CompiledPolicy(marshal.loads(marshal.dumps(content)))
    xml = b"<domain type='kvm'><name>n</name><devices><sound/><tpm model='x'/></devices></domain>"
    for starting, expected in ((False, ['d']), (True, ['a', 'b', 'c', 'd'])):
        verdict, _ = compiled.judge(xml, HOST, '2026-11-28', starting)
        assert [finding.rule.id for finding in verdict.findings] == expected


# --- what is packed


def test_a_waiver_is_packed_in_the_order_in_which_it_is_made():
    given = list(inspect.signature(model.Waiver).parameters)
    assert given == list(model.Waiver.__slots__)
    values = [('r',), ('d',), 'reason', 'approved by', '2026-01-01', 'ticket', ('policy.yaml', 3), {'rules': ('a', 1)}]
    (again,) = packed.unpack_waivers(packed.pack_waivers([model.Waiver(*values)]))
    assert [getattr(again, name) for name in given] == values


def test_a_rule_is_unpacked_as_it_was_packed():
    condition = model.HostCondition('os', ('rhel-8',), True, ('rhel', (8, 0), ()))
    rule = model.Rule(
        *('id', 'title', 'deny', 'why', 'remedy', '/domain', ('a',), 'probe', (condition,), 'reference', ('p.yaml', 7)),
        at=model.RUNTIME,
        waivable=False,
        negated=True,
    )
    data = packed.pack_rule(rule)
    again = packed.unpack_rule(marshal.loads(marshal.dumps(data)))
    assert packed.pack_rule(again) == data
    for name in packed._RULE_FIELDS:
        if name != 'host':
            assert getattr(again, name) == getattr(rule, name), name
