# SPDX-License-Identifier: Apache-2.0
"""Marks and words are sound: wherever lxml finds a match, they let the rule be a candidate. See test_words, too."""

import inspect
import marshal

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model, screening
from virtguard.errors import DomainXMLError
from virtguard.judging.words import read_words
from virtguard.match.needs import build_index, derive_need
from virtguard.match.syntax import NAMESPACES
from virtguard.policy.compiler import prepare
from virtguard.scan import find_marks
from virtguard.screening import Screen, holds

from .soundness import DOCUMENTS, RULES, assert_sound, may_match, rule_of


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
def test_clean_domains_do_not_need_lxml(path):
    """The speed of the hook: none of the shipped rules is a candidate for a clean domain."""
    xml = path.read_bytes()
    assert [rule.id for rule in RULES if may_match(rule, xml)] == []


# What is outside of the grammar makes a rule a candidate for any domain.
@pytest.mark.parametrize(
    'match',
    [
        'count(/domain/devices/disk) > 3',
        'not(/domain/pm[suspend-to-mem])',
        '/domain[string-length(name) > 10]',
        "/domain[substring(name, 1, 1) = 'x']",
        "/domain[not(contains(name, 'x'))]",
        '/domain[number(vcpu) > 4]',
        '/domain[last()]',
    ],
)
def test_unknown_expressions_are_candidates(match):
    assert may_match(rule_of(match), b'<domain/>')


PRESENT = b"""<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>n</name>
<pm><suspend-to-mem enabled='no'/></pm>
<devices><disk type='file' dev='a'/><disk type='block' size=' 4.5 '/><emulator>/bin/q</emulator>
</devices><q:commandline><q:arg value='-S'/></q:commandline></domain>"""


@pytest.mark.parametrize(
    'match, values, expected',
    [
        ("/domain/@type[. = 'kvm']", None, True),
        ("/domain/@type[. = 'qemu']", None, False),
        ("/domain/@type[. != 'kvm']", None, False),
        ("/domain[@type = 'kvm'][name = 'n']", None, True),
        ("/domain[name = 'm']", None, False),
        ("/domain/devices/disk[@type = 'block']", None, True),
        ("/domain/devices/disk[@type = 'network']", None, False),
        ('/domain/devices/disk[not(@dev)]', None, True),
        ('/domain/devices/disk[not(@type)]', None, False),
        ("/domain/devices/disk[not(@type = 'file' or @type = 'block')]", None, False),
        ("/domain/devices/disk[not(@type = 'file')]", None, True),
        ("/domain/devices/emulator[not(. = '/bin/q' or . = '/bin/r')]", None, False),
        ("/domain/devices/emulator[not(. = '/bin/r')]", None, True),
        ("/domain/devices/emulator[starts-with(., '/usr')]", None, False),
        ("/domain/devices/emulator[contains(., 'bin')]", None, True),
        ('/domain[not(pm/suspend-to-mem/@enabled and pm/suspend-to-disk/@enabled)]', None, True),
        ('/domain[not(pm/suspend-to-mem/@enabled)]', None, False),
        ('/domain[not(pm[1]/suspend-to-mem[1]/@enabled)]', None, False),
        ('/domain[not(pm[1]/suspend-to-disk[1]/@enabled)]', None, True),
        ('/domain[not(devices/disk[1]/@type)]', None, True),
        ('/domain[not(pm[2]/suspend-to-mem/@enabled)]', None, True),
        ('/domain[not(pm[1][1]/suspend-to-mem/@enabled)]', None, True),
        ('not(/domain/pm)', None, False),
        ('not(/domain/memory)', None, True),
        ('//suspend-to-mem', None, True),
        ('//suspend-to-disk', None, False),
        ('/domain/devices//reservations', None, False),
        ('/domain/*/disk', None, True),
        ('/domain/*/hostdev', None, False),
        ('/domain/qemu:commandline/qemu:arg', None, True),
        ('/domain/qemu:commandline/qemu:env', None, False),
        ('/domain/commandline/arg', None, False),
        ("/domain/qemu:commandline/qemu:arg/arg:device[@driver = 'x']", None, True),
        ('/domain/devices/disk/@type', ('file', 'nvme'), True),
        ('/domain/devices/disk/@type', ('nvme',), False),
        ('/domain/devices/disk/@type | /domain/@type', ('kvm',), True),
        ('/domain/memory | /domain/vcpu', None, False),
        ('/domain/vcpu[. > 4]', None, False),
        ('/domain/devices/disk[@size > 4]', None, True),
        ('/domain/devices/disk[@size > 4.5]', None, False),
        ('/domain/devices/disk[@size > 5]', None, False),
        ('/domain/devices/disk[@size > -1]', None, True),
        ('/domain/devices/disk[@dev > 0]', None, False),
        ('/domain/pm[. > 0]', None, False),
        ("/domain[@type = 'kvm' and memory]", None, False),
        ("/domain[@type = 'kvm' or memory]", None, True),
    ],
)
def test_what_marks_can_tell(match, values, expected):
    assert may_match(rule_of(match, values), PRESENT) == expected
    assert_sound(rule_of(match, values), PRESENT)


def test_values_of_a_pci_address_are_not_its_text():
    """There, values are compared with the address as the host writes it."""
    xml = b"<domain><devices><hostdev><source><address bus='3'/></source></hostdev></devices></domain>"
    assert may_match(rule_of('/domain/devices/hostdev/source/address', ('0000:03:00.0',)), xml)


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
    assert find_marks(xml, build_index([])) is None


def test_a_doctype_is_refused():
    with pytest.raises(DomainXMLError, match='DOCTYPE'):
        find_marks(b'<!DOCTYPE d><d/>', build_index([]))


@pytest.mark.parametrize('xml', [b'<domain>', b'<a:b/>', b'<domain>&x;</domain>', b'<domain>\xff</domain>'])
def test_where_expat_refuses_lxml_is_asked(xml):
    assert find_marks(xml, build_index([])) is None


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
        assert find_marks(xml, build_index([])) is None
        assert read_words(xml) is None


@pytest.mark.parametrize(
    'inside',
    [
        "<metadata><z:a xmlns:z='urn:z' z:type='x' xml:lang='de'><metadata xmlns=''><z:b/></metadata></z:a></metadata>",
        "<metadata xmlns:z='urn:z'><z:a z:type='x'/></metadata><devices><driver type='virtiofs'/></devices>",
        "<q:commandline %s><q:arg value='x'/></q:commandline>" % QEMU,
        "<devices xmlns:z='urn:z'/>",
    ],
)
def test_other_names_in_namespaces_do_not_need_lxml(inside):
    assert find_marks(domain_with(inside), build_index([])) is not None


def test_keys_cannot_be_forged_by_namespaces():
    """A document cannot name elements so that another path seems to be there."""
    need = derive_need(rule_of('/domain[not(pm/suspend-to-mem/@enabled)]'))
    for uri in ('pm/suspend-to-mem', 'domain/pm', 'pm suspend-to-mem'):
        xml = ("<domain><x:suspend-to-mem xmlns:x='%s' enabled='no'/></domain>" % uri).encode()
        marks = find_marks(xml, build_index([need]))
        assert marks is None or holds(need, marks)
        within = xml.replace(b'<x:', b'<metadata><x:').replace(b'</domain>', b'</metadata></domain>')
        assert holds(need, find_marks(within, build_index([need])))
    for character in '\x01\x02\x03':
        assert find_marks(("<domain xmlns:x='%s'/>" % character).encode(), build_index([need])) is None


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
    policy = load_policy(('policy: p\nrules:\n' + rules).encode(), 'p')
    compiled = Screen(marshal.loads(marshal.dumps(prepare(policy))))
    host = model.HostFacts('x86_64', 'none', 'debian-12', lambda name, subject: None)
    for given, expected in (
        (" type='%s'" % texts[2], []),
        (" type='%s'" % texts[2][:-1], [0, 1]),
        (" type=''", [0, 1]),
        ('', [1]),
    ):
        xml = "<domain type='kvm'><name>n</name><os><loader%s/></os></domain>" % given
        assert compiled.screen(xml.encode(), host)[1] == expected, given


# --- what is packed


def test_a_waiver_is_packed_in_the_order_in_which_it_is_made():
    given = list(inspect.signature(model.Waiver).parameters)
    assert given == list(model.Waiver.__slots__)
    values = [('r',), ('d',), 'reason', 'approved by', '2026-01-01', 'ticket', ('policy.yaml', 3), {'rules': ('a', 1)}]
    assert list(screening.pack_waiver(model.Waiver(*values))) == values


def test_a_rule_is_unpacked_as_it_was_packed():
    condition = model.HostCondition('os', ('rhel-8',), True, ('rhel', (8, 0), ()))
    rule = model.Rule(
        *('id', 'title', 'deny', 'why', 'remedy', '/domain', ('a',), 'probe', (condition,), 'reference', ('p.yaml', 7)),
        at=model.RUNTIME,
        waivable=False,
        negated=True,
    )
    packed = screening.pack_rule(rule)
    again = screening.unpack_rule(marshal.loads(marshal.dumps(packed)))
    assert screening.pack_rule(again) == packed
    for name in screening._RULE_FIELDS:
        if name != 'host':
            assert getattr(again, name) == getattr(rule, name), name
