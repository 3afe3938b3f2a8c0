# SPDX-License-Identifier: Apache-2.0
"""RELAX NG, construct by construct: what it lets stand where."""

import pytest
from virtguard.match.relaxng import SchemaError, load_schema

RNG = "xmlns='http://relaxng.org/ns/structure/1.0'"
XSD = "datatypeLibrary='http://www.w3.org/2001/XMLSchema-datatypes'"


def load(**files):
    """Load main.rng of some files, each the inside of a grammar, or a document of its own where it begins so."""

    def read(name):
        text = files[name[: -len('.rng')]]
        return (text if text.startswith('<?') else '<grammar %s>%s</grammar>' % (RNG, text)).encode()

    return load_schema('main.rng', read)


def root_of(pattern, **files):
    """The only element of a schema that lets it contain a pattern."""
    (root,) = load(main="<start><element name='root'>%s</element></start>" % pattern, **files).roots
    return root


def names(place):
    """The names of a place as one text, `*` for every name and `uri:*` for every one of a namespace."""
    shown = ['{%s}%s' % name if name[0] else name[1] for name in place.names.known]
    return ' '.join(sorted(shown) + [(namespace or '') + '*' for namespace, _ in place.names.wildcards])


def children(element):
    return [names(child) for child in element.children()]


def attributes(element):
    return {
        names(value): value.values if value.values is None else sorted(value.values) for value in element.attributes()
    }


A, B, X = "<element name='a'/>", "<element name='b'/>", "<attribute name='x'/>"


@pytest.mark.parametrize(
    'pattern, expected',
    [
        (A + B, ['a', 'b']),
        ('<group>%s</group>%s' % (A, B), ['a', 'b']),
        ('<choice>%s%s</choice>' % (A, B), ['a', 'b']),
        ('<interleave>%s%s</interleave>' % (A, B), ['a', 'b']),
        ('<mixed>%s</mixed>' % A, ['a']),
        ('<optional>%s</optional>' % A, ['a']),
        ('<zeroOrMore>%s</zeroOrMore>' % A, ['a']),
        ('<oneOrMore>%s</oneOrMore>' % A, ['a']),
        ('<optional>%s</optional><text/>' % A, ['a']),
        ('<empty/>', []),
        ('<text/>', []),
        ('<list><oneOrMore><data type="int"/></oneOrMore></list>', []),
        # What is not allowed takes with it what it belongs to, and nothing else.
        ('<notAllowed/>', None),
        ('<choice>%s<notAllowed/></choice>' % A, ['a']),
        ('<choice><group>%s<notAllowed/></group>%s</choice>' % (A, B), ['b']),
        ('<optional>%s<notAllowed/></optional>%s' % (A, B), ['b']),
        ('<oneOrMore><notAllowed/></oneOrMore>', None),
        ("<optional><attribute name='x'><notAllowed/></attribute>%s</optional>%s" % (A, B), ['b']),
        ("<optional><element name='a'><notAllowed/></element></optional>" + B, ['b']),
        # Name classes.
        ('<element><name>a</name></element>', ['a']),
        ("<element><name ns='u'> a </name></element>", ['{u}a']),
        ("<element name=' a '/>", ['a']),
        ('<element><choice><name>a</name><name>b</name></choice></element>', ['a b']),
        ("<element ns='u'><choice><name>a</name><anyName/></choice></element>", ['{u}a *']),
        ('<element><anyName/></element>', ['*']),
        ("<element><nsName ns='u'/></element>", ['u*']),
        # Namespaces, inherited and not.
        ("<element name='a' ns='u'><element name='b'/></element>", ['{u}a']),
        ("<group ns='u'><element name='a'/></group>", ['{u}a']),
        ("<element name='p:a' xmlns:p='u'/>", ['{u}a']),
        ("<element><name xmlns:p='u'>p:a</name></element>", ['{u}a']),
        # Annotations are none of RELAX NG's business.
        ("<d:doc xmlns:d='urn:d'><element name='z'/></d:doc>%s" % A, ['a']),
    ],
)
def test_children(pattern, expected):
    root = root_of(pattern)
    assert (None if root.content() is None else children(root)) == expected


def test_inherited_namespace_reaches_further_elements_and_no_attribute_in_short():
    inside = "<element name='b'/><attribute name='x'/><attribute><name>y</name></attribute><attribute name='z' ns='v'/>"
    (element,) = root_of("<element name='a' ns='u'>%s</element>" % inside).children()
    assert children(element) == ['{u}b']
    assert sorted(attributes(element)) == ['x', '{u}y', '{v}z']


@pytest.mark.parametrize(
    'content, expected',
    [
        ('', None),
        ('<text/>', None),
        ("<data type='int'/>", None),
        ('<value>a</value>', ['a']),
        ('<value> a  b </value>', ['a b']),
        ("<value type='string'>a</value>", ['a']),
        ('<choice><value>a</value><value>b</value></choice>', ['a', 'b']),
        ("<choice><value>a</value><data type='int'/></choice>", None),
        ('<choice><value>a</value><list><value>b</value><value>c</value></list></choice>', None),
        ('<empty/>', ['']),
        ('<choice><value>a</value><empty/></choice>', ['', 'a']),
        ('<optional><value>a</value></optional>', ['', 'a']),
        ("<ref name='yesno'/>", ['no', 'yes']),
        ("<choice><ref name='yesno'/><value>maybe</value></choice>", ['maybe', 'no', 'yes']),
        # Of a type that is more than its text, a value may be written in other ways, too.
        ("<value type='int' %s>1</value>" % XSD, None),
        ("<value type='token' %s>a</value>" % XSD, ['a']),
        ("<choice %s><value type='string'>a</value></choice>" % XSD, ['a']),
        ("<choice datatypeLibrary='urn:own'><value type='token'>a</value></choice>", None),
    ],
)
def test_values(content, expected):
    yesno = "<define name='yesno'><choice><value>yes</value><value>no</value></choice></define>"
    pattern = "<element name='root'><attribute name='x'>%s</attribute>%s</element>"
    (root,) = load(main=yesno + '<start>%s</start>' % pattern % (content, '')).roots
    assert attributes(root) == {'x': expected}
    (root,) = load(main=yesno + '<start>%s</start>' % pattern % ('', content)).roots
    text = root.values()
    assert (text and sorted(text)) == (expected if content else [''])


def test_text_of_elements_with_children_is_anything():
    assert root_of('<choice>%s<value>a</value></choice>' % A).values() is None
    assert root_of('<mixed>%s</mixed>' % A).values() is None
    assert root_of('<mixed><empty/></mixed>').values() is None


def test_names_of_wildcards():
    excepted = "<except><name>a</name><nsName ns='u'/></except>"
    (element,) = root_of('<element><anyName>%s</anyName></element>' % excepted).children()
    assert element.names.allow(('', 'b'))
    assert element.names.allow(('v', 'a'))
    assert not element.names.allow(('', 'a'))
    assert not element.names.allow(('u', 'b'))
    (element,) = root_of("<element><nsName ns='u'><except><name ns='u'>a</name></except></nsName></element>").children()
    assert element.names.allow(('u', 'b'))
    assert not element.names.allow(('u', 'a'))
    assert not element.names.allow(('', 'b'))
    assert element.names.allow_some_of('u') and not element.names.allow_some_of('')


def test_attributes_of_any_name():
    assert attributes(root_of('<zeroOrMore><attribute><anyName/></attribute></zeroOrMore>')) == {'*': None}


def define(name, pattern, combine=''):
    return "<define name='%s' %s>%s</define>" % (name, combine and "combine='%s'" % combine, pattern)


REFER = "<start><element name='root'><ref name='one'/></element></start>"


@pytest.mark.parametrize(
    'definitions, expected',
    [
        (define('one', A), ['a']),
        (define(' one ', A), ['a']),
        ('<div><div>%s</div></div>' % define('one', A), ['a']),
        (define('one', "<ref name='two'/>") + define('two', A + B), ['a', 'b']),
        (define('one', A) + define('one', B, 'choice'), ['a', 'b']),
        (define('one', A, 'interleave') + define('one', B, 'interleave'), ['a', 'b']),
        # `notAllowed` is what a definition begins with that is to be extended by choices.
        (define('one', '<notAllowed/>') + define('one', B, 'choice'), ['b']),
        (define('one', '<notAllowed/>', 'interleave') + define('one', B, 'interleave'), None),
    ],
)
def test_definitions(definitions, expected):
    (root,) = load(main=REFER + definitions).roots
    assert (None if root.content() is None else children(root)) == expected


def test_starts_combine():
    roots = load(main="<start combine='choice'>%s</start><start combine='choice'>%s</start>" % (A, B)).roots
    assert [names(root) for root in roots] == ['a', 'b']


def test_a_schema_need_not_be_a_grammar():
    (root,) = load(main="<?xml version='1.0'?><element name='a' %s>%s</element>" % (RNG, B)).roots
    assert (names(root), children(root)) == ('a', ['b'])


def test_elements_may_contain_themselves():
    tree = define('one', "<element name='a'><optional><ref name='one'/></optional>%s</element>" % X)
    (root,) = load(main=REFER + tree).roots
    (element,) = root.children()
    assert element.children() == [element]


def test_inner_grammars_have_names_of_their_own():
    inner = "<grammar><start>%s<parentRef name='one'/><ref name='two'/></start>%s</grammar>"
    (root,) = load(
        main="<start><element name='root'>%s</element></start>" % inner % (A, define('two', B) + define('one', X))
        + define('one', "<element name='outer'/>")
        + define('two', "<element name='wrong'/>")
    ).roots
    assert children(root) == ['a', 'outer', 'b']
    assert attributes(root) == {}


def test_include():
    (root,) = load(main="<include href='other.rng'/>", other=REFER + define('one', A)).roots
    assert children(root) == ['a']


def test_include_overrides():
    """Also what the included file includes itself."""
    overriding = "<include href='other.rng'><div>%s</div><start>%s</start></include>"
    schema = load(
        main=overriding % (define('one', A), "<element name='mine'><ref name='one'/><ref name='two'/></element>"),
        other="<include href='third.rng'/>" + REFER,
        third=define('one', '<notAllowed/>') + define('two', B),
    )
    (root,) = schema.roots
    assert (names(root), children(root)) == ('mine', ['a', 'b'])


def test_an_included_definition_can_be_extended():
    (root,) = load(
        main="<include href='other.rng'/>" + define('one', B, 'choice'), other=REFER + define('one', '<notAllowed/>')
    ).roots
    assert children(root) == ['b']


def test_a_file_may_be_included_twice_in_different_grammars():
    inner = "<grammar><include href='other.rng'/></grammar>"
    (root,) = load(
        main="<start><element name='root'>%s%s</element></start>" % (inner, inner), other='<start>%s</start>' % A
    ).roots
    assert children(root) == ['a', 'a']


def test_include_passes_on_the_namespace_and_not_the_datatypes():
    """Where the included file speaks of tokens, they are RELAX NG's own, whatever the including file has."""
    value = "<attribute name='x'><value type='token'>a</value></attribute>"
    (root,) = load(
        main="<?xml version='1.0'?><grammar %s ns='u' datatypeLibrary='urn:own'><include href='other.rng'/></grammar>"
        % RNG,
        other=REFER + define('one', A + value),
    ).roots
    assert (names(root), children(root), attributes(root)) == ('{u}root', ['{u}a'], {'x': ['a']})


def test_external_patterns():
    other = "<?xml version='1.0'?><element name='a' %s>%s</element>" % (RNG, B)
    assert children(root_of("<externalRef href='other.rng'/>", other=other)) == ['a']
    assert children(root_of("<externalRef href='other.rng' ns='u'/>", other=other)) == ['{u}a']
    other = "<start>%s<parentRef name='one'/></start>" % A
    (root,) = load(
        main="<start><element name='root'><externalRef href='other.rng'/></element></start>" + define('one', B),
        other=other,
    ).roots
    assert children(root) == ['a', 'b']
    main = "<?xml version='1.0'?><externalRef %s href='other.rng'/>" % RNG
    (root,) = load(main=main, other='<start>%s</start>' % A).roots
    assert names(root) == 'a'


def test_parents():
    schema = load(
        main=REFER + define('one', "%s<element name='b'>%s<ref name='x'/></element>" % (X, A)) + define('x', X)
    )
    (root,) = schema.roots
    (b,) = root.children()
    (a,) = b.children()
    parents = schema.parents()
    assert (parents[root], parents[a], parents[b]) == ([], [b], [root])
    assert parents[root.attributes()[0]] == [root]


@pytest.mark.parametrize(
    'files, message',
    [
        ({'main': "<start><ref name='nowhere'/></start>"}, "there is no definition 'nowhere'"),
        ({'main': define('one', A)}, 'a grammar has no start'),
        ({'main': '<start><notAllowed/></start>'}, 'the schema allows no document'),
        ({'main': '<start><text/></start>'}, 'the schema allows no document'),
        ({'main': "<start><ref name='a'/></start>" + define('a', "<ref name='a'/>")}, "'a' consists of itself"),
        ({'main': '<start><something/></start>'}, '<something> is not a pattern of RELAX NG'),
        ({'main': '<start><element><something/></element></start>'}, '<something> is not a name class of RELAX NG'),
        ({'main': '<start><element/></start>'}, '<element> has no name'),
        ({'main': "<start><element name='p:a'/></start>"}, "the prefix of the name 'p:a' is not declared"),
        ({'main': "<include href='main.rng'/>"}, 'main.rng includes itself'),
        ({'main': "<include href='b.rng'/>", 'b': "<include href='main.rng'/>"}, 'main.rng includes itself'),
        (
            {'main': "<include href='b.rng'/>", 'b': "<?xml version='1.0'?><text %s/>" % RNG},
            'b.rng is included by main',
        ),
        ({'main': '<start>'}, 'main.rng is not well-formed'),
        ({'main': "<?xml version='1.0'?><grammar/>"}, 'main.rng is not RELAX NG'),
        ({'main': "<?xml version='1.0'?><ref name='a' %s/>" % RNG}, '<ref> is not in a grammar'),
    ],
)
def test_a_schema_that_is_not_one(files, message):
    with pytest.raises(SchemaError) as caught:
        load(**files).parents()
    assert message in str(caught.value)


def test_entities_are_not_read(tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text("<element name='secret' %s/>" % RNG)
    doctype = (
        "<?xml version='1.0'?><!DOCTYPE grammar [<!ENTITY e SYSTEM '%s'>]><grammar %s><start>&e;</start></grammar>"
    )
    with pytest.raises(SchemaError):
        load(main=doctype % (secret.as_uri(), RNG))
