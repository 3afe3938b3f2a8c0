# SPDX-License-Identifier: Apache-2.0
"""The functions that expressions have beyond XPath 1.0: what they answer, and how a wrong call is told."""

from xml.sax.saxutils import escape, quoteattr

import pytest
from lxml import etree
from virtguard import model, xpath
from virtguard.flags import has_flag, number_of
from virtguard.locations import is_any_address, is_path, lies_below, plain_path
from virtguard.match.check import MatchError, check_match, compile_match
from virtguard.match.compared import compared_by
from virtguard.match.needs import derive_need
from virtguard.match.program import make_program
from virtguard.match.syntax import as_xpath_1, parse
from virtguard.tree import read_tree

# Flags


@pytest.mark.parametrize(
    'text, number',
    [
        ('16', 16),
        ('0x10', 16),
        ('0X1f', 31),
        ('0x00000010', 16),
        ('010', 10),
        (' 0x10\n', 16),
        ('0', 0),
        ('18446744073709551615', (1 << 64) - 1),
        ('0xffffffffffffffff', (1 << 64) - 1),
        # None of these is a number.
        ('', 0),
        ('0x', 0),
        ('x10', 0),
        ('ff', 0),
        ('-16', 0),
        ('+16', 0),
        ('1_6', 0),
        ('0x1_6', 0),
        ('1 6', 0),
        ('0x 10', 0),
        ('16.0', 0),
        ('1e9', 0),
        ('\u0661\u0666', 0),
        ('\xa016', 0),
        ('1' * 21, 0),
        ('0x' + 'f' * 21, 0),
        ('1' * 5000, 0),
    ],
)
def test_numbers(text, number):
    assert number_of(text) == number


def test_one_of_several_texts_has_the_flag():
    assert has_flag(['', 'none', '0x30'], 0x10)
    assert not has_flag(['', '0x20', '15'], 0x10)
    assert not has_flag([], 0x10)


JOBS = etree.fromstring(
    '<transition><before/><after><domstatus>'
    '<job async="none"/><job async="a" flags="0x110"/><job async="b" flags="272"/><job async="c" flags="110"/>'
    '<job async="d"><n>0x</n><n>10</n></job>'
    '</domstatus></after></transition>'
)


@pytest.mark.parametrize(
    'condition, jobs',
    [
        ('vg:has-flag(@flags, 0x10)', 'a b'),
        ('vg:has-flag(@flags, 16)', 'a b'),
        ('vg:has-flag(@flags, 0x20) or vg:has-flag(@flags, 0X100)', 'a b c'),
        ('vg:has-flag(@flags, 0x2)', 'c'),
        ('not(vg:has-flag(@flags, 0x2))', 'none a b d'),
        ('vg:has-flag(@*, 0x10)', 'a b'),
        ('vg:has-flag(n, 2)', 'd'),  # the second one, 10
        ('vg:has-flag(., 0x10)', 'd'),  # its text is 0x10
        ('vg:has-flag(n/text() | @flags, 0x10)', 'a b'),
        ('vg:has-flag(/transition/after/domstatus/job/@flags, 0x40)', 'none a b c d'),
        ("@flags != '0x110'", 'b c'),
        ('@flags = 0x110', 'b'),
    ],
)
def test_flags_of_nodes(condition, jobs):
    match = '/transition/after/domstatus/job[%s]/@async' % condition
    check_match(match, model.RUNTIME)
    assert ' '.join(compile_match(match)(JOBS)) == jobs


@pytest.mark.parametrize('bit', range(53))
def test_every_bit(bit):
    match = '/domain[vg:has-flag(@flags, 0x%x)]' % (1 << bit)
    check_match(match)
    for text in ('0x%x', '%d'):
        root = etree.Element('domain', flags=text % (1 << bit))
        assert compile_match(match)(root) == [root]
        root.set('flags', text % (~(1 << bit) & 0xFFFFFFFFFFFFFFFF))
        assert compile_match(match)(root) == []


def _finds(condition, text):
    """What both evaluators say, for the text in an attribute and in an element."""
    answers = set()
    for data in ('<domain a=%s/>' % quoteattr(text), '<domain><a>%s</a></domain>' % escape(text)):
        match = '/domain[%s]' % (condition % ('@a' if 'a=' in data else 'a'))
        check_match(match)
        answers.add(bool(compile_match(match)(etree.fromstring(data))))
        (root,) = read_tree(data.encode()).elements()
        answers.add(bool(xpath.run(make_program(match), root)))
    (answer,) = answers
    return answer


@pytest.mark.parametrize(
    ('text', 'path'),
    [
        ('/etc/shadow', '/etc/shadow'),
        ('//etc/shadow', '/etc/shadow'),
        ('/etc/./shadow', '/etc/shadow'),
        ('/etc//shadow/', '/etc/shadow'),
        ('/var/../etc/shadow', '/etc/shadow'),
        ('/../../etc/shadow', '/etc/shadow'),
        ('/etc/x/../shadow/.', '/etc/shadow'),
        ('/etc/shadow/..', '/etc'),
        ('/etc', '/etc'),
        ('/', '/'),
        ('//', '/'),
        ('/..', '/'),
        ('/etcetera', '/etcetera'),
        ('/etc.d/x', '/etc.d/x'),
        ('/etc/..x', '/etc/..x'),
        ('etc/shadow', ''),
        ('./etc', ''),
        (' /etc', ''),
        ('', ''),
    ],
)
def test_paths_however_they_are_written(text, path):
    assert plain_path(text) == path
    assert _finds("vg:is-path(%s, '/x', '/etc/shadow', '/')", text) == (path in ('/etc/shadow', '/'))
    assert _finds("vg:lies-below(%s, '/x', '/etc')", text) == (path == '/etc' or path.startswith('/etc/'))
    assert _finds("vg:lies-below(%s, '/')", text) == bool(path)


@pytest.mark.parametrize(
    'text', '0 00 0.0.0.0 0.0 0x0 000.0x00.0.0 :: ::0 0::0 0:0:0:0:0:0:0:0 [::] ::%lo 0::%1'.split()
)
def test_every_address(text):
    assert _finds('vg:is-any-address(%s)', text) and _finds('vg:is-any-address(%s)', ' %s\n' % text)
    assert is_any_address(['127.0.0.1', text])


@pytest.mark.parametrize('text', ['::0.0.0.0', '::ffff:0.0.0.0', '::FFFF:0:0', '0:0:0:0:0:ffff:0:0'])
def test_every_address_of_ipv4_within_ipv6(text):
    assert _finds('vg:is-any-address(%s)', text)


OTHERS = '127.0.0.1 ::1 1:: localhost * 10.0.0.0 0.0.0.1 0x 0.0.0.0.0 0..0 . 0:0:0:0 1:: ::ffff:127.0.0.1 fe80::%lo'


@pytest.mark.parametrize('text', ['', '0 0', *OTHERS.split()])
def test_other_addresses(text):
    assert not _finds('vg:is-any-address(%s)', text)


def test_of_nothing_nothing_is_true():
    assert not (is_path([], ['/']) or lies_below([], ['/']) or is_any_address([]))
    for function in ("vg:is-path(@b, '/')", "vg:lies-below(@b, '/')", 'vg:is-any-address(@b)'):
        need = derive_need(model.Rule('one', 't', 'deny', 'w', 'r', match='/domain/x[%s]' % function))
        assert need[1][1].endswith('b') and need[0] == 'and'


def test_hexadecimal_numbers_become_decimal_ones_elsewhere_too():
    assert as_xpath_1("/domain/vcpu[. > 0xFF][@a = '0x10'][@x0x1 = 0x0]") == (
        "/domain/vcpu[. > 255][@a = '0x10'][@x0x1 = 0]"
    )
    assert parse('/domain/vcpu[. > 0xff]').steps[1].predicates[0].operands[1].text == '255'
    with pytest.raises(MatchError):
        check_match('/domain/vcpu[. > 0x]')


# Changes

TRANSITION = """
<transition>
<before>
  <domstatus><domain><name>a</name>%s
    <devices>
      <disk i='1'><source file='1'/><alias name='d1'/></disk>
      <disk i='2'><source file='2'/><alias name='d2'/></disk>
      <input i='1'/>
      <memory i='1'><target><requested>64</requested></target><alias name='m1'/></memory>
      <memory i='2'><target><requested>32</requested></target><alias name='m2'/></memory>
      <odd/>
    </devices>
  </domain></domstatus>
  <domainsnapshot i='1'><name>s1</name></domainsnapshot>
</before>
<after>
  <domstatus><domain><name>a</name>%s
    <devices>
      <disk i='2'><source file='3'/><alias name='d2'/></disk>
      <disk i='3'><source file='2'/><alias name='d3'/></disk>
      <memory i='1'><target><requested>32</requested></target><alias name='m1'/></memory>
      <memory i='2'><target><requested>64</requested></target><alias name='m2'/></memory>
      <input i='1'/>
      <input i='2'/>
      <cell><deep i='1'/></cell>
    </devices>
  </domain></domstatus>
  <domainsnapshot i='1'><name>s1</name></domainsnapshot>
  <domainsnapshot i='2'><name>s<b/>2</name></domainsnapshot>
  <domainsnapshot i='3'/>
</after>
</transition>
"""
OLD, NEW = "<vcpu current='2'>4</vcpu>", '<vcpu>4</vcpu>'
DEVICES = '/transition/%s/domstatus/domain/devices/'


def select(match, xml=TRANSITION % (OLD, NEW)):
    check_match(match, model.RUNTIME)
    root = etree.fromstring(xml)
    return ['%s%s' % (node.tag, node.get('i', '')) for node in compile_match(match)(root)]


@pytest.mark.parametrize(
    'match, found',
    [
        (DEVICES % 'after' + '*[vg:is-new()]', 'disk3 cell'),
        (DEVICES % 'before' + '*[vg:is-gone()]', 'disk1 odd'),
        ('/transition/after/domainsnapshot[vg:is-new()]', 'domainsnapshot2 domainsnapshot3'),
        ('//deep[vg:is-new()]', ''),  # what it is in was not there
        (DEVICES % 'after' + 'memory/target[requested < vg:before()/requested]/..', 'memory1'),
        (DEVICES % 'after' + 'memory[target/requested > vg:before()/target/requested]', 'memory2'),
        (DEVICES % 'after' + 'disk[source/@file != vg:before()/source/@file]', 'disk2'),
        (DEVICES % 'after' + 'disk[not(vg:before())]', 'disk3'),
        (DEVICES % 'after' + 'input[count(vg:before()) = 1]', 'input1 input2'),
        (DEVICES % 'after' + 'disk[vg:before()[@i = 2]/source]', 'disk2'),
        (DEVICES % 'after' + 'disk[source[vg:before()/@file = 2]]', 'disk2'),
        (DEVICES % 'after' + 'disk[@i = (vg:before()/@i | @i[. = 9])]', 'disk2'),
        ('/transition[vg:is-new() or vg:is-gone() or vg:before()]', ''),
        ('/transition/after[vg:is-new() or count(vg:before()) != 1]', ''),
        ('(/transition/after//disk | /transition/after//memory)[vg:is-new()]', 'disk3'),
    ],
)
def test_what_was_before(match, found):
    assert ' '.join(select(match)) == found


VCPU = '/transition/after/domstatus/domain/vcpu[%s]'


@pytest.mark.parametrize(
    'old, new, fewer, more',
    [
        ("<vcpu current='2'>4</vcpu>", '<vcpu>4</vcpu>', 0, 1),
        ('<vcpu>4</vcpu>', "<vcpu current='2'>4</vcpu>", 1, 0),
        ("<vcpu current='3'>4</vcpu>", "<vcpu current='2'>4</vcpu>", 1, 0),
        ("<vcpu current='2'>4</vcpu>", "<vcpu current='3'>4</vcpu>", 0, 1),
        ('<vcpu>4</vcpu>', '<vcpu>4</vcpu>', 0, 0),
        ("<vcpu current='2'>4</vcpu>", "<vcpu current='2'>4</vcpu>", 0, 0),
    ],
)
def test_the_shipped_comparisons_of_vcpus(old, new, fewer, more):
    xml = TRANSITION % (old, new)
    assert len(select(VCPU % '@current < (vg:before()/@current | vg:before()[not(@current)])', xml)) == fewer
    assert len(select(VCPU % 'vg:before()/@current < (@current | self::vcpu[not(@current)])', xml)) == more


def test_of_what_was_not_observed_nothing_is_new_and_nothing_is_gone():
    xml = TRANSITION % (OLD, NEW)
    first = xml[: xml.index('<before>')] + '<before/>' + xml[xml.index('<after>') :]
    assert select(DEVICES % 'after' + '*[vg:is-new()]', first) == []
    assert len(select('/transition/after/domainsnapshot[vg:is-new()]', first)) == 3
    last = xml[: xml.index('<after>')] + '<after/></transition>'
    assert select(DEVICES % 'before' + '*[vg:is-gone()]', last) == []


def test_many_elements_take_time_that_grows_with_their_number():
    """Each is looked up, not searched for; a search of 20,000 among 20,000 would not end."""
    devices = ''.join("<disk><alias name='d%d'/></disk>" % number for number in range(20000))
    half = '<domstatus><devices>%s</devices></domstatus>'
    xml = '<transition><before>%s</before><after>%s</after></transition>' % (half % devices, half % devices)
    root = etree.fromstring(xml)
    assert compile_match('/transition/after/domstatus/devices/disk[vg:is-new() or not(vg:before())]')(root) == []


def test_evidence_shows_by_what_elements_are_told_apart():
    assert compared_by(DEVICES % 'after' + 'memory[vg:is-new()]') == {'alias', 'name'}
    assert compared_by(DEVICES % 'after' + 'target[requested < vg:before()/requested]') == {
        'alias',
        'name',
        'requested',
    }
    assert compared_by('/transition/after/domstatus/job[vg:has-flag(flags, 1)]') == {'flags'}


def test_needs():
    """A flag needs something that has it, and that it is not there needs nothing."""
    need = derive_need(model.Rule('one', 't', 'deny', 'w', 'r', match='/domain/x[vg:has-flag(@flags, 0x10)]'))
    assert need == ('and', ('present', need[1][1]), ('present', need[2][1]))
    assert need[1][1].endswith('flags')
    without = derive_need(model.Rule('one', 't', 'deny', 'w', 'r', match='/domain/x[not(vg:has-flag(@flags, 1))]'))
    assert without == need[2]


# Wrong calls


@pytest.mark.parametrize(
    'match, message, hint, offset',
    [
        ('vg:has-flg(@flags, 0x10)', 'calls vg:has-flg(), which the guard does not have', "'vg:has-flag'", 0),
        ('has-flag(@flags, 0x10)', 'calls has-flag(), which XPath 1.0 does not have', "'vg:has-flag'", 0),
        ('is-new()', 'calls is-new(), which XPath 1.0 does not have', "'vg:is-new'", 0),
        ('vg:was-new()', 'calls vg:was-new(), which the guard does not have', 'vg:is-new', 0),
        ('vg:is-new', 'has the function vg:is-new without its arguments', 'write vg:is-new(...)', 0),
        ('vg:anything', "uses the undeclared prefix 'vg'", '', 0),
        ('vg:has-flag(@flags)', 'calls vg:has-flag() with 1 arguments', '', 0),
        ('vg:has-flag(@flags, 1, 2)', 'calls vg:has-flag() with 3 arguments', '', 0),
        ('vg:is-new(@name)', 'calls vg:is-new() with 1 arguments', '', 0),
        ('vg:has-flag(string(@flags), 1)', 'that is not nodes', 'vg:has-flag(@flags, 0x10)', 0),
        ('vg:has-flag(0x10, @flags)', 'that is not nodes', 'vg:has-flag(@flags, 0x10)', 0),
        ('vg:has-flag(@flags, 0x110)', 'that is not one flag: 0x110 is none', 'a call for each flag', 0),
        ('vg:has-flag(@flags, 0)', 'that is not one flag: 0x0 is none', '', 0),
        ('vg:has-flag(@flags, 0x20000000000000)', 'that is not one flag', '', 0),
        ('vg:has-flag(@flags, 1.5)', 'that is not one flag', '', 0),
        ('vg:has-flag(@flags, "0x10")', 'that is not one flag', '', 0),
        ('vg:has-flag(@flags, @flag)', 'that is not one flag', '', 0),
        ("vg:lies-below(string(@dir), '/etc')", 'that is not nodes', "vg:lies-below(@dir, '/etc')", 0),
        ("vg:lies-below('/etc', @dir)", 'that is not nodes', "vg:lies-below(@dir, '/etc')", 0),
        ('vg:lies-below(@dir, @other)', 'with something that is not a text in quotes', '', 0),
        ("vg:lies-below(@dir, '/etc', 'usr')", "with 'usr', which no path is read as", 'a path begins with /', 28),
        ("vg:is-path(@dir, '/etc/')", "with '/etc/', which no path is read as", "write '/etc'", 17),
        ("vg:is-path(@dir, '/a/../b')", 'which no path is read as', "write '/b'", 17),
        ('vg:is-path(@dir)', 'calls vg:is-path() with 1 arguments', '', 0),
        ("vg:is-any-address('0')", 'that is not nodes', 'vg:is-any-address(@listen)', 0),
        ("vg:lies-belw(@dir, '/')", 'calls vg:lies-belw(), which the guard does not have', "'vg:lies-below'", 0),
        ('@type[vg:is-new()]', 'calls vg:is-new() where it does not speak of an element', 'memory[vg:is-new()]', 6),
        ('text()[vg:is-new()]', 'where it does not speak of an element', '', 7),
        ('node()[vg:is-new()]', 'where it does not speak of an element', '', 7),
        ('@type[. = vg:before()]', 'where it does not speak of an element', '', 10),
        ('vg:is-gone()', 'calls vg:is-gone() of an element in <after>', 'did you mean vg:is-new()?', 0),
        (
            'count(disk[vg:is-gone()]) = 1',
            'calls vg:is-gone() of an element in <after>',
            'did you mean vg:is-new()',
            11,
        ),
        ('vg:before()[vg:is-new()]', 'calls vg:is-new() of an element in <before>', 'did you mean vg:is-gone()?', 12),
        ('vg:before()[. = vg:before()]', 'of an element in <before>', 'the path should lead through <after>', 16),
    ],
)
def test_wrong_calls(match, message, hint, offset):
    before = '/transition/after/domstatus/domain['
    with pytest.raises(MatchError) as caught:
        check_match('%s%s]' % (before, match), model.RUNTIME)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.offset in (0, len(before) + offset)  # arguments are counted without a place


@pytest.mark.parametrize(
    'match',
    [
        '/transition/vg:after/x',
        'vg:before()',
        'vg:is-new() = true()',
        '/transition/before/domstatus[vg:is-new()]',
        '/transition/@*[vg:is-new()]',
        '/transition/..[vg:is-new()]',
        '/transition/parent::node()[vg:is-new()]',
        '(/transition/@x | /transition/y)[vg:is-new()]',
        '/transition/after/x[name[1]/text()[vg:before()]]',
        '/transition/after/x[string(.)[vg:before()]]',
    ],
)
def test_calls_of_what_is_not_an_element_of_a_state(match):
    with pytest.raises(MatchError):
        check_match(match, model.RUNTIME)


@pytest.mark.parametrize('call', ['vg:is-new()', 'vg:is-gone()', 'vg:before()', 'vg:before()/vcpu = 1'])
def test_a_domain_that_starts_has_no_state_before(call):
    with pytest.raises(MatchError) as caught:
        check_match('/domain[%s]' % call)
    assert 'where a domain starts there is no state before' in caught.value.message
    assert caught.value.hint == 'it is for rules with at: runtime'
