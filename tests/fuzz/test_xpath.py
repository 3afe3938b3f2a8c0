# SPDX-License-Identifier: Apache-2.0
"""The hook's own evaluator of XPath and lxml agree (tests/fuzz/run --expressions is the long form)."""

import pytest
from fuzz_xpath import Both, Pairs, shipped_matches
from virtguard import xpath
from virtguard.match.program import make_program
from virtguard.tree import read_tree

ODD = b"""<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>a&amp;b</name><metadata xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
    <x xml:lang='EN-us' n='5'><libosinfo:os id='3' libosinfo:id='x'/>a<!-- c -->b
      <![CDATA[<z>]]>&#99;<y xmlns='d' a='1'>3</y>
    </x>
  </metadata><devices><disk type='disk'>1<source>2</source>3</disk><disk> <source name='kvm'/><?pi x?> </disk></devices>
  <q:commandline><q:arg value='-S'/></q:commandline></domain>
"""


def test_expressions_of_the_policies_on_domains_of_the_tests():
    pairs = Pairs('suite')
    wrong = [str(disagreement) for disagreement in pairs.on_tests_domains(shipped_matches(), every=5)]
    assert not wrong, '\n'.join(wrong[:10])
    # If neither selects anything, agreement shows little.
    assert pairs.count > 5000 and pairs.selecting > pairs.count / 50


def test_expressions_at_random_on_mutated_domains():
    pairs = Pairs('suite')
    wrong = [str(disagreement) for number in range(40) for disagreement in pairs.at_random(number)]
    assert not wrong, '\n'.join(wrong[:10])
    assert pairs.selecting > pairs.count / 4


def test_functions_of_transitions_at_random():
    pairs = Pairs('suite')
    wrong = [str(disagreement) for number in range(60) for disagreement in pairs.of_transitions(number)]
    assert not wrong, '\n'.join(wrong[:10])
    assert pairs.selecting > pairs.count / 10


@pytest.mark.parametrize(
    'expression',
    [
        '//text()',
        '//@*',
        '//node()[2]',
        'string(/domain/metadata)',
        "//*[lang('en')]",
        'name(//@*[. = "x"])',
        'name(//*[@id])',
        '//y | //x | /domain',
        "//*[namespace-uri() = 'd']/..",
        'number("1e3")',
        'number(".")',
        'number("1.")',
        'number("999999999999999999999")',
        'number("-71288526927629560721e210")',
        'number("0.000000000000000000000000028658924259415604233")',
        'number("1e400") + number("5e-400")',
        'number("-.")',
        '999999999999999999999 - 999999999999999999998.5',
        'string(1 div 3)',
        'string(-1 div 0)',
        'string(123456789012)',
        'string(0.00001234)',
        'string(0.05)',
        'string(2147483647)',
        '1 div round(-0.4)',
        'round(-2.5)',
        '-7 mod 3',
        '5 mod (1 div 0)',
        'substring("12345", 1.5, 2.6)',
        'substring("12345", 0 div 0)',
        'substring("12345", -42, 1 div 0)',
        'substring-after("abc", "")',
        'substring-before("abc", "")',
        'translate("abca", "aba", "xyz")',
        'normalize-space("\u00a0a \t b ")',
        '2 > 1 > 0',
        '//disk = //source',
        '//disk != //source',
        '//disk < //source',
        '//@n >= //disk',
        'true() = //nothing',
        '//nothing != //nothing',
        '(//source)[last()]',
        '//source/preceding::node()[1]',
        '//source/following::text()',
        '//@name/following::*',
        '//source/ancestor::*[1]',
        '//disk/preceding-sibling::*[1]/text()',
    ],
)
def test_what_is_easily_got_wrong(expression):
    ours, theirs = Both(ODD).compare(expression)
    assert ours == theirs


@pytest.mark.parametrize(
    'expression',
    [
        '/domain[position() = 1]/namespace::*',
        '//comment()',
        'position() = 1',
        '/domain[$x]',
        '/domain[lang()] ]',
        'count(1)',
        'id("x")',
        '-' * 400 + '1',
        '1' + ' + 1' * 400,
        'not(' * 45 + 'true()' + ')' * 45,
    ],
)
def test_what_is_left_to_lxml(expression):
    program = make_program(expression)
    assert program is None or xpath.evaluate(program, read_tree(b'<a/>').elements()[0]) is False


def test_nodes_that_are_reached_many_times_are_held_once():
    """Otherwise these would be 10^8 nodes."""
    document = read_tree(b'<a>' + b'<b/>' * 2000 + b'</a>')
    (root,) = document.elements()
    program = make_program('//b/following-sibling::b/preceding-sibling::b')
    steps = program[2]
    nodes = xpath.walk(steps[:1], [document])[:40]
    assert len(xpath.walk(steps[1:], nodes)) == 1999
    assert len(xpath.run(program[:2] + (steps[:1],), root)) == 2000


@pytest.mark.parametrize(
    'data',
    [
        b'<a',
        b'<a xmlns="u"/>',
        b'<a><b xml:lang="en"/></a>',
        b'<a>' * 300 + b'</a>' * 300,
        b'<a>' + b'<b/>' * 30000 + b'</a>',
        b'<a><metadata><v:b xmlns:v="u"/><c/></metadata><d xmlns="u"/></a>',
        b'<a><metadata xmlns:v="urn:virt-guard:qemu-argument"/></a>',
        b'<?xml version="1.0" encoding="iso-8859-1"?><a/>',
        b' <a/>',
        b'<a><![CDATA[]]></a>',
    ],
)
def test_documents_that_are_left_to_lxml(data):
    assert read_tree(data) is None
