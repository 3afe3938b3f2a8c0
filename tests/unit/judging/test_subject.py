# SPDX-License-Identifier: Apache-2.0
"""Bytes from outside become a domain, or one clean error. The guard runs as root, and reads what users wrote."""

import contextlib
import os
import time

import pytest
from lxml import etree
from virtguard.errors import DomainXMLError
from virtguard.findings import Paths
from virtguard.judging.subject import parse_domain
from virtguard.match.syntax import NAMESPACES, QEMU_NS
from virtguard.model import MAX_XML_BYTES
from virtguard.tree import LIBOSINFO_NS

DOMAIN = """<domain type='kvm'>
  <name>payroll</name>
  <uuid>6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11</uuid>
  %s
</domain>
"""


def refuse(data):
    with pytest.raises(DomainXMLError) as caught:
        parse_domain(data)
    assert '\n' not in caught.value.message
    return caught.value


def arguments(*values):
    """The readings that stand below each argument, as (tag, attributes) lists."""
    args = ''.join('<qemu:arg value="%s"/>' % value.replace('&', '&amp;').replace('"', '&quot;') for value in values)
    root = parse_domain(
        (DOMAIN % ('<qemu:commandline xmlns:qemu="%s">%s</qemu:commandline>' % (QEMU_NS, args))).encode()
    )
    return [
        [(etree.QName(reading).localname, dict(reading.attrib)) for reading in arg]
        for arg in root.root.iterfind('{%s}commandline/{%s}arg' % (QEMU_NS, QEMU_NS))
    ]


def test_domain():
    subject = parse_domain((DOMAIN % '').encode())
    assert (subject.name, subject.uuid) == ('payroll', '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11')
    assert (subject.root.tag, subject.root.get('type')) == ('domain', 'kvm')


@pytest.mark.parametrize(
    'xml, name, uuid',
    [
        ('<domain/>', '', ''),
        ('<domain><name/><uuid/></domain>', '', ''),
        ('<domain><name> a\tb </name></domain>', ' a\tb ', ''),
        ('<domain><name>&#x1b;</name></domain>', None, None),
        ('<domain><name>a<!-- x -->b</name></domain>', 'ab', ''),
        ('<domain><name>a<x>b</x>c</name></domain>', 'abc', ''),
        ('<domain><name>a</name><name>b</name></domain>', 'a', ''),
        ('<domain><x:name xmlns:x="urn:x">a</x:name><name>b</name></domain>', 'b', ''),
        ('<x:domain xmlns:x="urn:x"><name>a</name></x:domain>', 'a', ''),
        ('<domain><name><![CDATA[<a>]]></name></domain>', '<a>', ''),
        (
            '<domain><uuid>\n 6F3B1C52-8a4e-4c0b-9a57-2d1f6b0c7e11 \n</uuid></domain>',
            '',
            '6F3B1C52-8a4e-4c0b-9a57-2d1f6b0c7e11',
        ),
        ('<domain><uuid>6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11\n=x</uuid></domain>', '', ''),
        ('<domain><uuid>not a uuid</uuid></domain>', '', ''),
    ],
)
def test_name_and_uuid(xml, name, uuid):
    if name is None:
        refuse(xml.encode())
        return
    subject = parse_domain(xml.encode())
    assert (subject.name, subject.uuid) == (name, uuid)


@pytest.mark.parametrize(
    'encoding, declared',
    [
        ('utf-8', None),
        ('utf-8-sig', None),
        ('utf-8', 'UTF-8'),
        ('iso-8859-1', 'ISO-8859-1'),
        ('utf-16', None),
        ('utf-16', 'UTF-16'),
    ],
)
def test_encodings(encoding, declared):
    declaration = "<?xml version='1.0' encoding='%s'?>" % declared if declared else ''
    xml = declaration + '<domain><name>Lohnbüro</name></domain>'
    assert parse_domain(xml.encode(encoding)).name == 'Lohnbüro'


@pytest.mark.parametrize('declared', ['UTF-7', 'utf-7', 'GBK', 'Shift_JIS', 'EUC-JP', 'BIG5', 'HZ', 'ISO-2022-JP'])
def test_encodings_in_which_bytes_may_be_other_markup(declared):
    """libvirt reads UTF-8. In GBK, the | behind a letter may be a part of it; in UTF-7, text may be a comment."""
    error = refuse(("<?xml version='1.0' encoding='%s'?><domain/>" % declared).encode())
    if 'not well-formed' not in error.message:  # a system need not know all of them
        said = 'the XML is in %s, but libvirt may read the same bytes as UTF-8: write it in UTF-8'
        assert error.message == said % declared


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b' \n\t\r ',
        b'\xef\xbb\xbf',
        b'domain',
        b'<domain>',
        b'<domain/><domain/>',
        b'<domain/>trailing',
        b'<domain><name>x</name',
        b'<domain type=kvm/>',
        b'<domain type="a" type="b"/>',
        b'<domain>&nbsp;</domain>',
        b'<domain>&#0;</domain>',
        b'<domain>\x00</domain>',
        b'\x7fELF\x02\x01\x01' + bytes(range(256)) * 16,
        b'\x00' * 4096,
        b'\xff' * 4096,
        b'<domain><name>Lohnb\xfcro</name></domain>',
        b"<?xml version='1.0' encoding='UTF-8'?><domain><name>\xff</name></domain>",
        b"<?xml version='1.0' encoding='no-such-encoding'?><domain/>",
        b"<?xml version='1.0' encoding='UTF-16'?><domain/>",
        b'\xff\xfe<domain/>',
        '<domain/>'.encode('utf-16')[:-3],
        b'\x1f\x8b\x08\x00compressed',
    ],
    ids=lambda data: repr(data[:50]),
)
def test_what_is_not_xml_is_refused(data):
    refuse(data)


@pytest.mark.parametrize('cut', range(20, 112, 7))
def test_truncated(cut):
    refuse((DOMAIN % '<devices/>').encode()[:cut])


def test_errors_name_the_line():
    error = refuse(b'<domain>\n<name>x</nam>\n</domain>')
    assert error.line == 2
    assert 'not well-formed' in error.message


@pytest.mark.parametrize(
    'xml, shown',
    [
        ('<network/>', '<network>'),
        ('<domstatus><domain/></domstatus>', '<domstatus>'),
        ('<Domain/>', '<Domain>'),
        ('<network xmlns="http://example.com/"/>', '<network>'),
        ('<x:network xmlns:x="http://example.com/"/>', '<network>'),
        ('<x:domain/>', '<x:domain>'),
    ],
)
def test_other_documents(xml, shown):
    error = refuse(b'\n\n' + xml.encode())
    assert 'the document is %s' % shown in error.message
    assert (error.other_document, error.line) == (True, 3)


# Entities

LAUGHS = ''.join(
    '<!ENTITY l%d "%s">' % (number, '&l%d;' % (number - 1) * 10 if number else 'ha' * 10) for number in range(12)
)


@pytest.mark.parametrize(
    'doctype, content',
    [
        ('<!DOCTYPE domain>', ''),
        ('<!DOCTYPE domain []>', ''),
        ('<!DOCTYPE domain [<!ENTITY e "kvm">]>', '<name>&e;</name>'),
        ('<!DOCTYPE domain [<!ATTLIST domain type CDATA "kvm">]>', ''),
        ('<!DOCTYPE domain SYSTEM "http://127.0.0.1:9/domain.dtd">', ''),
        ('<!DOCTYPE domain PUBLIC "-//X" "http://127.0.0.1:9/domain.dtd">', '<name>x</name>'),
        ('<!DOCTYPE domain [%s]>' % LAUGHS, '<name>&l11;</name>'),
        ('<!DOCTYPE domain [%s]>' % LAUGHS, '<name a="&l11;"/>'),
        ('<!DOCTYPE domain [<!ENTITY a "&b;"><!ENTITY b "&a;">]>', '<name>&a;</name>'),
        ('<!DOCTYPE domain [<!ENTITY %% p "%s">%%p;]>' % ('x' * 1000), ''),
    ],
)
def test_doctype_is_refused(doctype, content):
    started = time.monotonic()
    refuse(('%s<domain>%s</domain>' % (doctype, content)).encode())
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    'declaration, use',
    [
        ('<!ENTITY e SYSTEM "%s">', '&e;'),
        ('<!ENTITY %% e SYSTEM "%s"> %%e;', ''),
        ('<!ENTITY e SYSTEM "file://%s">', '&e;'),
        ('<!ENTITY e SYSTEM "%s" NDATA n>', ''),
    ],
)
def test_no_other_file_is_opened(tmp_path, declaration, use):
    """The file is a FIFO: who opened it to read would be seen by a writer, who otherwise finds no one."""
    fifo = tmp_path / 'secret'
    os.mkfifo(str(fifo))
    doctype = '<!DOCTYPE domain [%s]>' % (declaration % fifo)
    refuse(('%s<domain><name>%s</name></domain>' % (doctype, use)).encode())
    with pytest.raises(OSError):
        os.open(str(fifo), os.O_WRONLY | os.O_NONBLOCK)


def test_xinclude_is_not_followed():
    xml = '<domain xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/hostname" parse="text"/></domain>'
    assert parse_domain(xml.encode()).root.xpath('string(/domain)') == ''


# Size and depth


@pytest.mark.parametrize('size', [MAX_XML_BYTES + 1, 64 * 1024 * 1024])
def test_too_large(size):
    started = time.monotonic()
    error = refuse(b'<domain>' + b' ' * size)
    assert error.message == 'the XML is larger than 32 MiB'
    assert time.monotonic() - started < 2


@pytest.mark.parametrize('depth', [300, 5000, 50000])
def test_too_deep(depth):
    started = time.monotonic()
    refuse(b'<domain>' + b'<a>' * depth + b'</a>' * depth + b'</domain>')
    assert time.monotonic() - started < 1


def test_deep_but_sane():
    chain = '<backingStore type="file">' * 100 + '</backingStore>' * 100
    parse_domain((DOMAIN % ('<devices><disk>%s</disk></devices>' % chain)).encode())


def test_many_elements_take_no_time():
    started = time.monotonic()
    subject = parse_domain((DOMAIN % ('<devices>%s</devices>' % ('<disk/>' * 100000))).encode())
    paths = Paths()
    found = [paths.path(disk) for disk in subject.root.iterfind('devices/disk')]
    assert found[99999] == '/domain/devices/disk[100000]'
    assert time.monotonic() - started < 30


def test_many_settings_of_an_argument_take_no_time():
    """As many as nobody needs: read, or refused."""
    started = time.monotonic()
    with contextlib.suppress(DomainXMLError):
        (_, (reading,)) = arguments('-device', ','.join('k%d=v' % number for number in range(20000)))
        assert len(reading[1]) == 20000
    assert time.monotonic() - started < 2


# What is not judged


def test_comments_and_processing_instructions_are_gone():
    root = parse_domain(b'<!-- a --><?pi?><domain><!-- <disk/> --><?pi x?><name>a</name></domain><!-- b -->').root
    assert [child.tag for child in root] == ['name']
    assert root.getprevious() is None
    assert root.getnext() is None


# Arguments of QEMU


def test_arguments_are_read():
    assert arguments('-device', 'edu,id=a', '-S') == [[], [('device', {'driver': 'edu', 'id': 'a'})], [('S', {})]]


def test_arguments_of_several_elements_are_one_command_line():
    one, other = ('<commandline xmlns="%s"><arg value="%s"/></commandline>' % (QEMU_NS, v) for v in ('-device', 'edu'))
    root = parse_domain((DOMAIN % (one + other)).encode()).root
    assert root.xpath('/domain/qemu:commandline[2]/qemu:arg/arg:device/@driver', namespaces=NAMESPACES) == ['edu']


@pytest.mark.parametrize(
    'element',
    [
        '<commandline><arg value="-S"/></commandline>',
        '<qemu:commandline><arg value="-S"/></qemu:commandline>',
        '<commandline><qemu:arg value="-S"/></commandline>',
        '<devices><qemu:commandline><qemu:arg value="-S"/></qemu:commandline></devices>',
        '<qemu:commandline><qemu:env name="-S" value="-S"/></qemu:commandline>',
    ],
)
def test_what_libvirt_does_not_pass_on_is_not_read(element):
    xml = element.replace('>', ' xmlns:qemu="%s">' % QEMU_NS, 1)
    root = parse_domain((DOMAIN % xml).encode()).root
    assert root.xpath('//arg:*', namespaces=NAMESPACES) == []


def test_an_argument_without_value():
    xml = '<qemu:commandline xmlns:qemu="%s"><qemu:arg/><qemu:arg value=""/></qemu:commandline>' % QEMU_NS
    parse_domain((DOMAIN % xml).encode())


@pytest.mark.parametrize(
    'value, tag, attributes',
    [
        ('-x:y', 'x_y', {}),
        ('--', '_', {}),
        ('-1a', '_1a', {}),
        ('-.', '_.', {}),
        ('-ä/b c', '___b_c', {}),
    ],
)
def test_names_that_xml_does_not_have(value, tag, attributes):
    assert arguments(value) == [[(tag, attributes)]]


def test_keys_that_xml_does_not_have():
    (_, ((_, attributes),)) = arguments('-device', 'edu,a:b=1,c d=2,=3,9=4')
    assert attributes == {'driver': 'edu', 'a_b': '1', 'c_d': '2', '_': '3', '_9': '4'}


@pytest.mark.parametrize('escape', ['\\u0001', '\\u0000', '\\u001b', '\\ud800', '\\uffff', '\\u007f'])
@pytest.mark.parametrize('place', ['{"driver": "edu", "id": "%s"}', '{"driver": "edu", "%s": 1}'])
def test_characters_that_xml_does_not_have(escape, place):
    """QEMU takes most of them in JSON; the guard reads the rest of the argument, or says that it cannot."""
    try:
        readings = arguments('-device', place % escape)
    except DomainXMLError:
        return
    assert readings[1][0][1]['driver'] == 'edu'


@pytest.mark.parametrize('depth', [400, 980, 1020, 3000])
def test_deep_json(depth):
    try:
        arguments('-device', '{"a":' * depth + '1' + '}' * depth)
    except DomainXMLError as error:
        assert 'nested too deep' in error.message


# Paths


@pytest.mark.parametrize(
    'select, path',
    [
        ('/domain', '/domain'),
        ('/domain/devices', '/domain/devices'),
        ('/domain/devices/disk[1]', '/domain/devices/disk[1]'),
        ('/domain/devices/disk[2]/source', '/domain/devices/disk[2]/source'),
        ('/domain/devices/interface', '/domain/devices/interface'),
        ('/domain/metadata/libosinfo:libosinfo/libosinfo:os', '/domain/metadata/libosinfo:libosinfo/libosinfo:os'),
        ('/domain/metadata/*[2]', '/domain/metadata/other'),
        ('/domain/qemu:commandline/qemu:arg[2]', '/domain/qemu:commandline/qemu:arg[2]'),
        ('/domain/qemu:commandline/qemu:arg/arg:device', '/domain/qemu:commandline/qemu:arg[2]'),
    ],
)
def test_paths(select, path):
    """Readable, and by the policy's prefixes whatever the document's are; of a reading, its argument's."""
    xml = """<domain xmlns:q='%s'>
      <metadata>
        <libosinfo xmlns='%s'><os id='a'/></libosinfo>
        <x:other xmlns:x='http://example.com'/>
      </metadata>
      <devices><disk/><interface/><disk><source/></disk><x:disk xmlns:x='http://example.com'/></devices>
      <q:commandline><q:arg value='-device'/><q:arg value='edu'/></q:commandline>
    </domain>""" % (QEMU_NS, LIBOSINFO_NS)
    root = parse_domain(xml.encode()).root
    (element,) = root.xpath(select, namespaces=NAMESPACES)
    assert Paths().path(element) == path


@pytest.mark.parametrize('name', ['a:b', ':a', 'a:', 'x:y:z', 'x:a', '\U0001f427', '\u1e9e:a'])
def test_paths_of_odd_names(name):
    xml = '<domain><metadata><m xmlns="u}v" xmlns:x="{}}"><%s/><%s/></m></metadata></domain>' % (name, name)
    root = parse_domain(xml.encode()).root
    first, second = root[0][0]
    shown = [Paths().path(element) for element in (first, second)]
    assert shown[0].endswith('[1]') and shown[1].endswith('[2]')
    assert shown[0].startswith('/domain/metadata/m/')
