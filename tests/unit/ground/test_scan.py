# SPDX-License-Identifier: Apache-2.0
"""Well-formed is what libvirt accepts: complaints about namespaces, IDs and validity are none; what is broken is.

That libvirt sees it in the same way is shown by tests/live/test_guard_metadata.py.
"""

import pytest
from lxml import etree
from support.odd_domains import odd_domains
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.errors import DomainXMLError
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain, parse_xml
from virtguard.match.syntax import NAMESPACES
from virtguard.policy.compiler import prepare
from virtguard.scan import is_well_formed, is_well_formed_but_for_namespaces
from virtguard.tree import LIBOSINFO_NS, read_tree
from virtguard.watch.state import STATUS, State, take_document
from virtguard.watch.transition import admitted_domain, transition

POLICY = load_policy((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
TODAY = '2026-01-01'
JUDGE = Judge(POLICY, HOST, TODAY)
COMPILED = CompiledPolicy(prepare(POLICY))
UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
DOMAIN = """<domain type='qemu'><name>n</name><uuid>%s</uuid>
<metadata>
<l:libosinfo xmlns:l='%s'><l:os id='http://microsoft.com/win/xp'/></l:libosinfo>
<d:m xmlns:d='urn:d'>%%s</d:m></metadata><devices/></domain>""" % (UUID, LIBOSINFO_NS)
QEMU_ARGUMENTS = (
    "<q:commandline xmlns:q='%s'><q:arg value='-device'/><q:arg value='%%s'/></q:commandline>" % (NAMESPACES['qemu'])
)

# What libxml2 has something to say of, and libvirt nothing against. (Some of it only newer versions complain of.)
ODD = [
    "<a xmlns:a='not a uri'/>",
    "<a xmlns='%zz'/>",
    "<a xmlns:a=' '/>",
    "<a xmlns:a='rel'/>",
    "<a xmlns:a=''/>",
    "<a xmlns:a='' a:b='c'/>",
    "<a xmlns:a='u}v'><a:b a:c='d'/></a>",
    "<a xmlns:xml='urn:u'/>",
    "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns:b='http://www.w3.org/XML/1998/namespace' b:c=''/>",
    "<a xmlns:xmlns='urn:u'/>",
    "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>",
    "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns:='urn:u'/>",
    "<a xmlns:1='urn:u'/>",
    "<a xmlns:b:c='urn:u'/>",
    '<p:a/>',
    "<p:a p:b='c'><p:d/></p:a>",
    "<a p:b='1' q:b='2'/>",
    "<a xmlns:p='urn:u' xmlns:q='urn:u' p:b='1' q:b='2'/>",
    '<a:b:c/>',
    "<a b:c:d='e'/>",
    '<:a/>',
    '<a:/>',
    '<a:1></a:1>',
    '<:/>',
    "<a :b='c'/>",
    "<a xml:id='1'/>",
    "<a xml:id='b'/><c xml:id='b'/>",
    "<a xml:id=''/>",
    "<a xml:space='no'/>",
    "<a xml:lang='!'/>",
    '<?a:b c?>',
    '<\u1e9e/>',
    "<a \U0001f427='b'/>",
    '<\u0132:\u0132/>',
    "<a xmlns:g='urn:virt-guard:qemu-argument'><g:device g:driver='vhost-user-fs'/></a>",
    "<a xmlns='urn:virt-guard:qemu-argument'/>",
]
BROKEN = [
    '<a>',
    '</a>',
    '<a></b>',
    '<p:a></q:a>',
    '<a b/>',
    '<a b=c/>',
    "<a b='1' b='2'/>",
    "<a xmlns:p='u' xmlns:p='v'/>",
    "<a b='<'/>",
    "<a b='c'd='e'/>",
    '<1/>',
    '<a/ >',
    '< a/>',
    '&nbsp;',
    "<a b='&nbsp;'/>",
    '&#0;',
    '&#1;',
    '&#xFFFE;',
    '&#xD800;',
    '&amp',
    '&',
    ']]>',
    '\x01',
    '\uffff',
    '<!-- a -- b -->',
    '<!--',
    '<![CDATA[',
    '<!DOCTYPE a>',
    '<?xml version="1.0"?>',
    '<? a?>',
]
SEVERAL = '<p:a/>' * 150


def described(verdict):
    return (
        verdict.domain_name,
        verdict.uuid,
        [(f.rule.id, f.status, f.path, f.line, f.evidence, f.message) for f in verdict.findings],
    )


def readings(xml):
    """The verdict by each of the ways that a document may take; None where it is refused. All must be the same."""
    try:
        expected = described(evaluate(POLICY, parse_domain(xml), HOST, TODAY))
    except DomainXMLError as error:
        expected = None
        broken = 'not well-formed' in error.message
    try:
        in_bulk = described(JUDGE.judge(xml))
    except DomainXMLError:
        in_bulk = None
    assert in_bulk == expected, xml
    try:
        verdict, candidates = COMPILED.judge(xml, HOST, TODAY)
    except DomainXMLError:
        assert expected is None, xml
        return None
    if verdict is not None:
        assert described(verdict) == expected, xml
    elif expected is not None:
        rules = [POLICY.rules_at(model.ADMISSION)[number] for number in candidates]
        assert described(evaluate(POLICY, parse_domain(xml), HOST, TODAY, rules)) == expected, xml
    if expected is None:
        assert read_tree(xml) is None, xml
        assert not (broken and is_well_formed(xml)), xml
    return expected


@pytest.mark.parametrize('inside', ODD)
def test_odd_metadata_hides_nothing_and_breaks_nothing(inside):
    _, uuid, findings = readings((DOMAIN % inside).encode())
    assert uuid == UUID
    assert [finding[:3] for finding in findings if finding[1] == 'deny'] == [
        ('guest-os-windows', 'deny', '/domain/metadata/libosinfo:libosinfo/libosinfo:os/@id'),
        ('tcg', 'deny', '/domain/@type'),
    ]


@pytest.mark.parametrize('inside', BROKEN)
@pytest.mark.parametrize('before', ['', "\n<p:a xml:id='1'/>"])
def test_broken_documents_are_refused(inside, before):
    xml = (DOMAIN % (before + inside)).encode()
    assert readings(xml) is None
    with pytest.raises(DomainXMLError) as caught:
        parse_domain(xml)
    assert 'not well-formed: ' in caught.value.message
    assert caught.value.line > 0
    assert '\n' not in caught.value.message


@pytest.mark.parametrize('inside', ['<%s/>', "<a %s='1'/>", '<?%s x?>', '<d:%s/>'])
def test_names_that_libxml2_finds_too_long(inside):
    assert readings((DOMAIN % inside % ('n' * 49990)).encode()) is not None
    assert readings((DOMAIN % inside % ('n' * 50001)).encode()) is None


@pytest.mark.parametrize('inside', BROKEN)
def test_broken_behind_many_complaints(inside):
    """Some versions of libxml2 fall silent after a hundred."""
    assert readings((DOMAIN % (SEVERAL + inside)).encode()) is None


@pytest.mark.parametrize('end', ['x', '<a/>', '&x;', '</domain>'])
def test_broken_after_its_end(end):
    assert readings((DOMAIN % SEVERAL + end).encode()) is None
    assert readings((DOMAIN % ODD[0] + end).encode()) is None


@pytest.mark.parametrize(
    'inside',
    ['<p:a/>', "<a xmlns='rel'/>", "<a xml:id='1'/>", '<\u1e9e:a/>', SEVERAL],
    ids=['prefix', 'URI', 'id', 'name', 'several'],
)
@pytest.mark.parametrize('declaration', ['', "<?xml version='1.0'?>", "<?xml version='1.0' encoding='iso-8859-1'?>"])
def test_truncated(inside, declaration):
    """Some versions of libxml2 do not mind, once they have complained of a namespace."""
    whole = (declaration + DOMAIN % inside).encode()
    assert (readings(whole) is not None) == ('8859' not in declaration or inside != '<\u1e9e:a/>')
    for cut in range(len(whole) - 60, len(whole)):
        assert readings(whole[:cut]) is None


def test_many_namespace_complaints_alone_do_not_refuse_a_domain():
    assert readings((DOMAIN % SEVERAL).encode()) is not None


def test_a_refusal_for_unreadable_names_says_what_to_do():
    """Of names that expat does not know, libxml2 must be believed, as far as it speaks; else that is a refusal."""
    for inside in ('<\u1e9e/>', '<a:b:c/>'):
        xml = (DOMAIN % (SEVERAL + inside)).encode()
        assert not is_well_formed_but_for_namespaces(xml)
        try:
            parse_domain(xml)
        except DomainXMLError as error:
            assert 'declare the prefixes' in error.message and error.line == 4  # noqa: PT017


@pytest.mark.parametrize('all_metadata', [False, True])
@pytest.mark.parametrize('inside', ODD)
def test_odd_metadata_in_the_state_of_a_running_domain(inside, all_metadata):
    status = "<domstatus state='running' pid='1'>%s</domstatus>" % (DOMAIN % inside)
    taken = take_document(STATUS, status.encode(), all_metadata)
    document = transition(State(), State(taken))
    subject = admitted_domain(document.find('after/domstatus'))
    assert (subject.name, subject.uuid) == ('n', UUID)
    denied = [f.rule.id for f in evaluate(POLICY, subject, HOST, TODAY).findings if f.status == 'deny']
    assert denied == ['guest-os-windows', 'tcg']
    if all_metadata:
        assert etree.tostring(parse_xml(taken)) == etree.tostring(parse_xml(status.encode()))


# The namespace of the guard's own readings


@pytest.mark.parametrize(
    'planted',
    [
        "<metadata><g:a xmlns:g='%s'/></metadata>",
        "<metadata><m xmlns='urn:m'><g:device xmlns:g='%s' driver='edu'/></m></metadata>",
        "<devices><g:a xmlns:g='%s'/></devices>",
        "<g:device xmlns:g='%s' driver='vhost-user-fs'/>",
        "<metadata><g:a:b xmlns:g='%s'/></metadata>",
    ],
)
def test_a_planted_argument_is_ignored(planted):
    inside = planted % NAMESPACES['arg'] + QEMU_ARGUMENTS % 'vhost-user-fs-pci'
    root = parse_domain(("<domain type='kvm'>%s</domain>" % inside).encode()).root
    (reading,) = root.iter('{%s}*' % NAMESPACES['arg'])
    assert reading.get('driver') == 'vhost-user-fs-pci'


def test_a_planted_argument_hides_no_real_one():
    inside = QEMU_ARGUMENTS % 'vhost-user-fs-pci'
    planted = "'><g:device xmlns:g='%s' driver='edu'/></q:arg></q:commandline>" % NAMESPACES['arg']
    xml = "<domain type='kvm'>%s</domain>" % inside.replace("'/></q:commandline>", planted)
    _, _, findings = readings(xml.encode())
    assert 'virtiofs' in [finding[0] for finding in findings]
    root = parse_domain(xml.encode()).root
    found = root.xpath('//arg:device/@driver', namespaces=NAMESPACES)
    assert found == ['vhost-user-fs-pci']


# Generated


@pytest.mark.parametrize('seed', range(4))
def test_generated(seed):
    """The two paths agree on each, and each is either whole or refused."""
    accepted = outside = 0
    for odd in odd_domains(seed, 500):
        found = readings(odd.xml)
        accepted += found is not None
        outside += odd.outside
        if found is not None and not odd.outside:
            assert found[1] == odd.uuid
            assert ('tcg' in [finding[0] for finding in found[2]]) == (b"<domain type='qemu'" in odd.xml)
    assert 200 < accepted < 480
    assert outside > 50
