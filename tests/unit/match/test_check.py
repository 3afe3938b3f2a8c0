# SPDX-License-Identifier: Apache-2.0
"""What a rule may match with, and how a policy's author is told what is wrong with an expression."""

import pytest
from lxml import etree
from virtguard import model
from virtguard.match.check import MatchError, check_match, compile_match
from virtguard.match.needs import derive_need


@pytest.mark.parametrize(
    'expression',
    [
        '/domain',
        '/domain/@type',
        "/domain/@type[. = 'qemu']",
        '//disk',
        '/domain//disk[2]',
        '/*',
        '/*/devices',
        '/node()',
        '/child::domain',
        '/descendant-or-self::disk/attribute::type',
        '/domain/devices/disk[last()]',
        '/domain/devices/disk[position() = 1 or 2 = 3 - 1]',
        '(/domain/devices/disk)[1]',
        '/domain/name | /domain/uuid|/domain/title',
        '/domain/devices/*[self::disk or self::interface]',
        '/domain/devices/disk[@type="a/b//c[0]|$x"]',
        "/domain/devices/disk[contains(@type, '//')]",
        '/domain/devices/disk[source/@file]/target/@dev',
        '/domain/devices/disk[@*]/@*',
        '/domain/devices/disk[not(target)]/..',
        '/domain/devices/disk/@type/..',
        '/domain/devices/disk/source[../@type]',
        '/domain/name/text()',
        '/domain/qemu:commandline/qemu:arg/arg:device[@driver]',
        '/domain/metadata/libosinfo:*',
        # A condition on the whole domain.
        'count(/domain/devices/disk) > 3',
        '5 < count(//disk)',
        'not(/domain/pm)',
        'boolean(/domain/pm)',
        "/domain/@type = 'qemu'",
        '/domain/pm and not(//disk)',
        "string-length(/domain/name) > 10 or starts-with(/domain/name, 'a')",
        'sum(/domain/vcpu) * 2 > 3 div 4 mod 5',
        '/domain/memory * 2 > 1024',
        '/domain/div/mod[and or or]',
        '\n  /domain\t/ devices \n',
    ],
)
def test_valid(expression):
    check_match(expression)


@pytest.mark.parametrize(
    'expression, message, hint, offset',
    [
        # Variables, functions, prefixes and axes that a policy does not have.
        ('/domain[@type = $type]', 'uses the variable $type', '', 16),
        (
            '/domain[contain(@type, "x")]',
            'calls contain(), which XPath 1.0 does not have',
            "did you mean 'contains'?",
            8,
        ),
        ('/domain[matches(@type, "x")]', 'calls matches(), which XPath 1.0 does not have', '', 8),
        ('/domain[re:test(@type, "x")]', 'calls re:test(), which XPath 1.0 does not have', '', 8),
        ('/domain[lower-case(@type) = "x"]', 'calls lower-case()', '', 8),
        ('/domain/qmeu:commandline', "uses the undeclared prefix 'qmeu'", "did you mean 'qemu'?", 8),
        ('/domain/*[self::virt:guard]', "uses the undeclared prefix 'virt'", 'known are: arg, libosinfo, qemu', 16),
        ('/domain/@xml:lang', "uses the undeclared prefix 'xml'", '', 9),
        ('/domain/namespace::qemu', 'uses the namespace axis', 'match elements by prefix', 8),
        # What can never match.
        ('/domain/comment()', 'can never match: comments and processing instructions are not judged', '', 8),
        ('/domain/processing-instruction("x")', 'can never match: comments and processing instructions', '', 8),
        ('/domain/@type/qemu', 'can never match: an attribute has no children', 'drop the step after @type', 8),
        ('/domain/@type//qemu', 'can never match: an attribute has no children', 'drop the step after @type', 8),
        ('//disk[0]', 'can never match: positions count from 1', 'write [1]', 6),
        ('/devices/disk', 'can never match: the document is <domain>, not <devices>', 'begin with /domain', 0),
        ('/domain | /domian/name', 'can never match: the document is <domain>, not <domian>', 'begin with /domain', 10),
        (
            'count(/devices/disk) > 1',
            'can never match: the document is <domain>, not <devices>',
            'begin with /domain',
            6,
        ),
        (
            '/qemu:commandline',
            'can never match: the document is <domain>, not <qemu:commandline>',
            'begin with /domain',
            0,
        ),
        # Where paths begin.
        ('domain/devices', "has a path that begins with 'domain'", 'begin with /domain', 0),
        ('devices/disk', "has a path that begins with 'devices'", 'write /domain/... or //devices', 0),
        ('.', "has a path that begins with '.'", 'begin with /domain', 0),
        ('./devices', "has a path that begins with '.'", 'begin with /domain', 0),
        ('../devices', "has a path that begins with '..'", 'begin with /domain', 0),
        ('*', "has a path that begins with '*'", 'begin with /domain', 0),
        ('@type', "has a path that begins with '@'", 'begin with /domain', 0),
        ('/domain or devices/disk', "has a path that begins with 'devices'", 'write /domain/... or //devices', 11),
        ("/domain/@type = 'x' and not(pm)", "has a path that begins with 'pm'", 'write /domain/... or //pm', 28),
        # What asks nothing, or answers no question.
        ("'text'", 'asks nothing of the domain', 'begin with /domain', 0),
        ('1 = 1', 'asks nothing of the domain', 'begin with /domain', 0),
        ('true()', 'asks nothing of the domain', 'begin with /domain', 0),
        ('count(//disk)', 'yields a number, not nodes', 'compare it with something', 0),
        ('string(/domain/name)', 'yields a string, not nodes', 'compare it with something', 0),
        ('name(/domain)', 'yields a string, not nodes', 'compare it with something', 0),
    ],
)
def test_useless(expression, message, hint, offset):
    with pytest.raises(MatchError) as caught:
        check_match(expression)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    'expression',
    [
        '',
        '/',
        '//',
        '/domain/',
        '/domain//',
        '/domain[',
        '/domain]',
        '/domain[]',
        '/domain[@]',
        '/domain[@type=]',
        '/domain[@type = "x]',
        '/domain[a b]',
        '/domain/"x"',
        '/domain | ',
        '/domain and',
        '/domain:',
        '/domain###',
        '/domain/devices/disk[1',
    ],
)
def test_not_xpath(expression):
    with pytest.raises(MatchError):
        check_match(expression)


@pytest.mark.parametrize('expression', ['/domain\0', '/domain[. = "\x01"]', '/domain[. = "\ud800"]', '/domain\uffff'])
def test_characters_that_are_not_allowed_in_an_expression(expression):
    """YAML can write them; they must not take the policy's reader by surprise."""
    with pytest.raises(MatchError):
        check_match(expression)


@pytest.mark.parametrize(
    'expression',
    [
        '/domain/devices/disk[contains(@type)]',
        '/domain/devices/disk[not()]',
        '/domain/devices/disk[count(@type, @device) > 0]',
        '/domain/devices/disk[starts-with(@type, "a", "b")]',
        '/domain/devices/disk[last(1) = 2]',
        '/domain/devices/disk[count("x") = 1]',
        '/domain/devices/disk[sum(string(@a)) > 1]',
        '/domain/devices/disk["x"/source]',
    ],
)
def test_what_would_fail_on_the_first_disk_is_found_before(expression):
    """XPath is evaluated lazily: on a domain without disks none of these fails, on any other each one does."""
    with pytest.raises(etree.XPathError):
        compile_or_raise(expression)(etree.fromstring('<domain><devices><disk type="file"/></devices></domain>'))
    with pytest.raises(MatchError):
        check_match(expression)


def compile_or_raise(expression):
    try:
        return compile_match(expression)
    except MatchError as error:
        raise etree.XPathError(error.message) from None


@pytest.mark.parametrize('depth', [10, 60, 120, 250, 1000, 5000])
@pytest.mark.parametrize('opening, closing', [('[a', ']'), ('[(', ')]'), ('[not(', ')]')], ids=['[', '(', 'not'])
def test_deep_expressions_are_refused_not_fatal(depth, opening, closing):
    """What is accepted, marks must be able to read too."""
    if opening == '[a':
        expression = '/domain' + '[a' * depth + ']' * depth
    else:
        expression = '/domain[' + opening[1:] * depth + 'a' + closing[:-1] * depth + ']'
    try:
        check_match(expression)
    except MatchError:
        return
    derive_need(model.Rule('one', 't', 'deny', 'w', 'r', match=expression))


def test_results_are_nodes_or_an_answer():
    root = etree.fromstring('<domain type="kvm"><name>a</name></domain>')
    assert [node.tag for node in compile_match('/domain/name')(root)] == ['name']
    assert compile_match('/domain/@type')(root) == ['kvm']
    assert compile_match('count(/domain/name) = 1')(root) is True


def test_expressions_are_compiled_once():
    assert compile_match('/domain/once') is compile_match('/domain/once')


@pytest.mark.parametrize(
    'function', ['re:test(@type, "k.m")', 'str:tokenize("a b")', 'document("/etc/passwd")', 'key("a", "b")']
)
def test_extensions_of_xpath_cannot_be_used(function):
    """Not even where nobody checked: an expression opens no file and runs no regular expression."""
    compiled = compile_match('/domain[%s]' % function)
    with pytest.raises(etree.XPathError):
        compiled(etree.fromstring('<domain type="kvm"/>'))
