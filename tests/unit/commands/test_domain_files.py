# SPDX-License-Identifier: Apache-2.0
"""What of files and directories is judged, and with which lines; what is not, and that it is said."""

import gzip
import marshal
import os
import random
import re
import sys
import time

import pytest
from support.paths import CASES
from support.policies import load_policy
from virtguard import model
from virtguard.commands.domains.domain_files import DomainFile, _Inodes, find_domain_files
from virtguard.commands.domains.file_parts import first_element, split
from virtguard.commands.domains.parallel import _chunks, judge_all
from virtguard.commands.domains.pool import _UNDER_WAY
from virtguard.commands.exit_status import Tally
from virtguard.commands.output.text import Text
from virtguard.errors import GuardError
from virtguard.judging.judge import Judge

POLICY = load_policy(
    b"""
policy: lines
rules:
- {id: tpm, title: TPM, action: deny, match: /domain/devices/tpm, why: w, remedy: r}
- {id: argument, title: A, action: warn, match: "/domain/qemu:commandline/qemu:arg/@value", why: w, remedy: r}
""",
    'policy.yaml',
)
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
JUDGE = Judge(POLICY, HOST, '2026-11-27')
NAME = "<domain type='kvm'>\n  <name>%s</name>\n  <uuid>5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10</uuid>\n"
CLEAN = NAME + '  <devices/>\n</domain>\n'
DENIED = NAME + '  <devices>\n    <tpm/>\n  </devices>\n</domain>\n'
NETWORK = "<network>\n  <domain name='example.com'/>\n</network>\n"
WARNING = (
    '<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\nOVERWRITTEN AND LOST.\n-->\n\n'
)


def judged(*paths):
    """What check says of paths: findings as (file, line, rule), complaints, the closing line."""
    output = Text(False, False)
    files = find_domain_files([str(path) for path in paths])
    findings, complaints, tally = [], [], Tally()
    for outcome in judge_all(JUDGE, output, files):
        for line in outcome.output.splitlines():
            if not line.startswith(' '):
                file, number, text = line.split(':', 2)
                findings.append((os.path.basename(file), int(number), text.split('[')[1].split(']')[0]))
        complaints += [re.sub(r'^[^:]*/', '', complaint) for complaint in outcome.complaints + outcome.skipped]
        for decision in outcome.decisions:
            tally.add(decision)
    tally.skipped += files.others
    return findings, complaints, str(tally)


def judged_text(tmp_path, text, name='file.xml'):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return judged(tmp_path / name)


# Several documents in one file


@pytest.mark.parametrize('between', ['', '\n', '  \n\n', '<!-- </domain> -->\n', "<?xml version='1.0'?>\n", WARNING])
def test_several_domains_in_one_file(tmp_path, between):
    text = WARNING + CLEAN % 'a' + between + DENIED % 'b' + between + CLEAN % 'c' + between + DENIED % 'd'
    lines = [number for number, line in enumerate(text.splitlines(), 1) if '<tpm' in line]
    assert judged_text(tmp_path, text) == (
        [('file.xml', line, 'tpm') for line in lines],
        [],
        '4 domains: 2 admitted, 2 denied',
    )


def test_what_is_wrong_with_one_document_does_not_hide_the_others(tmp_path):
    text = DENIED % 'a' + NETWORK + (CLEAN % 'b').replace("'kvm'", "'xen'") + DENIED % 'c' + '<domain><name>d</oops>\n'
    findings, complaints, closing = judged_text(tmp_path, text)
    assert findings == [('file.xml', 5, 'tpm'), ('file.xml', 20, 'tpm')]
    assert [complaint[:60] for complaint in complaints[:2]] == [
        'file.xml:8: error: the document is <network>, not <domain>',
        'file.xml:11: error: a domain of type xen, not kvm or qemu',
    ]
    assert complaints[2].startswith('file.xml:23: error: the XML is not well-formed')
    assert closing == '5 domains: 2 denied, 3 not judged'


def test_text_between_documents(tmp_path):
    findings, complaints, closing = judged_text(tmp_path, DENIED % 'a' + 'Domain b:\n' + DENIED % 'b')
    assert findings == [('file.xml', 5, 'tpm')]
    assert complaints == ['file.xml:8: error: there is text between two documents']
    assert closing == '2 domains: 1 denied, 1 not judged'


def test_a_domain_that_speaks_of_others_is_one_domain(tmp_path):
    inside = '<metadata><b xmlns="urn:b"><domain type="kvm"><devices><tpm/></devices></domain></b></metadata>'
    comment = '<!-- <domain type="kvm"></domain> <domain> -->'
    text = (CLEAN % 'a').replace('  <devices/>', inside + comment + '<description>&lt;domain></description><devices/>')
    assert judged_text(tmp_path, text) == ([], [], '1 domain: 1 admitted')
    assert [part.data for part in split(text.encode())] == [text.encode()]


def test_a_single_document_is_passed_on_as_it_is():
    for text in (b'', b' ', b'no XML', b'<domain', b'<domain>', b'<domain/>', (WARNING + DENIED).encode(), b'<!-- '):
        assert [(part.data, part.before) for part in split(text)] == [(text, 0)]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'iso-8859-1'])
def test_encodings(tmp_path, encoding):
    declared = "<?xml version='1.0' encoding='%s'?>\n" % encoding.replace('-sig', '')
    one = (declared + DENIED % 'Müller').encode(encoding)
    assert judged_text(tmp_path, one) == ([('file.xml', 6, 'tpm')], [], '1 domain: 1 denied')
    two = (declared + DENIED % 'Müller' + DENIED % 'Schmidt').encode(encoding)
    findings, complaints, closing = judged_text(tmp_path, two)
    if encoding == 'utf-16':
        assert (findings, len(complaints), closing) == ([], 1, '1 domain: 1 not judged')
    else:
        assert (findings, complaints) == ([('file.xml', 6, 'tpm'), ('file.xml', 13, 'tpm')], [])
    again = (declared + DENIED % 'Müller').encode(encoding)
    if encoding == 'iso-8859-1':
        (complaint,) = judged_text(tmp_path, again + again)[1]
        assert complaint.startswith('file.xml:10: error: the domain is a part of a file in iso-8859-1: ')


def test_many_documents_in_one_file_take_no_more_time_than_in_many(tmp_path):
    text = ''.join(DENIED % number for number in range(5000)).encode()
    started = time.process_time()
    parts = list(split(text))
    assert [part.before for part in parts] == list(range(0, 35000, 7))
    assert time.process_time() - started < 5


# Domains within other documents


@pytest.mark.parametrize('container', ['domstatus', 'domainsnapshot', 'domaincheckpoint'])
def test_domains_within_documents_of_libvirt(tmp_path, container):
    text = WARNING + "<%s state='running'>\n<name>a</name>\n%s<x/>%s</%s>\n"
    text = text % (container, DENIED % 'a', (DENIED % 'b').replace('domain', 'inactiveDomain'), container)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if '<tpm' in line]
    expected = ([('file.xml', line, 'tpm') for line in lines], [], '2 domains: 2 denied')
    assert judged_text(tmp_path, text) == expected
    assert judged_text(tmp_path, text + text)[2] == '4 domains: 4 denied'


def test_prefixes_that_are_declared_around_a_domain(tmp_path):
    uri = 'http://libvirt.org/schemas/domain/qemu/1.0'
    argument = '<%s:commandline><%s:arg value="-S"/></%s:commandline></domain>'
    inner = (CLEAN % 'a').replace('</domain>', argument % (('q',) * 3))
    text = "<domstatus xmlns:q='%s' xmlns:x='urn:a&amp;b'>\n%s</domstatus>" % (uri, inner)
    assert judged_text(tmp_path, text)[0] == [('file.xml', 6, 'argument')]
    declared = text.replace("<domain type='kvm'>", "<domain type='kvm' xmlns:q = '%s'>" % uri)
    assert judged_text(tmp_path, declared)[0] == [('file.xml', 6, 'argument')]


@pytest.mark.parametrize(
    'text, message',
    [
        ('<domainsnapshot><name>a</name></domainsnapshot>', 'the document is <domainsnapshot> and has no <domain>'),
        ("<capabilities><guest><domain type='kvm'/></guest></capabilities>", 'the document is <capabilities>, not'),
        ('<domainCapabilities><domain>kvm</domain></domainCapabilities>', 'the document is <domainCapabilities>, not'),
        (NETWORK, 'the document is <network>, not <domain>'),
        ('<a:network xmlns:a="urn:a"/>', 'the document is <network>, not <domain>'),
        ('<!DOCTYPE html><html/>', 'the document is <html>, not <domain>'),
        ('<domstatus><domain></domstatus>', 'the XML is not well-formed'),
        ('<!DOCTYPE d [<!ENTITY a "b">]><domstatus>%s</domstatus>' % (CLEAN % 'a'), 'the XML has a DOCTYPE'),
    ],
)
def test_what_has_no_domain(tmp_path, text, message):
    findings, (complaint,), closing = judged_text(tmp_path, text)
    assert 'error: ' + message in complaint
    assert closing == '1 domain: 1 not judged'


@pytest.mark.parametrize(
    'text, name',
    [
        ('<!DOCTYPE profile>\n<profile><dns><domain>lan</domain></dns></profile>', 'profile'),
        ('<!DOCTYPE a PUBLIC "-//A//B" \'a>.dtd\'>\n<a><domain>&nbsp;</domain></a>', 'a'),
        ('<!DOCTYPE book [\n<!ENTITY v "]>">\n<!-- it\'s ]> -->\n<?a "]> ?>\n%v;\n] >\n<book>&v;</book>', 'book'),
        ('<!DOCTYPE d:book [<!ELEMENT d:book ANY>]><d:book xmlns:d="urn:d"/>', 'book'),
        ('<!DOCTYPE book [%s]>\n<book/>' % ('<!ENTITY v "1">\n' * 1000), 'book'),
    ],
)
def test_documents_of_others_may_have_a_doctype(tmp_path, text, name):
    fill(tmp_path, {'clean.xml': CLEAN % 'a', 'other.xml': text})
    findings, complaints, closing = judged(tmp_path)
    assert (findings, complaints) == ([], ['other.xml: skipped: the document is <%s>, not <domain>' % name])
    assert closing == '1 domain: 1 admitted; 1 other file skipped'


@pytest.mark.parametrize(
    'doctype', ['<!DOCTYPE book>', '<!DOCTYPE book SYSTEM "a>">', '<!DOCTYPE book [<!ENTITY v "[<book>">]>']
)
@pytest.mark.parametrize('content', [DENIED % 'a', DENIED % 'a' + DENIED % 'b', '<domstatus>%s</domstatus>' % DENIED])
def test_a_doctype_of_another_document_does_not_hide_a_domain(tmp_path, doctype, content):
    fill(tmp_path, {'a.xml': doctype + content})
    findings, complaints, closing = judged(tmp_path)
    assert (findings, complaints) == ([], ['a.xml:1: error: the XML has a DOCTYPE, which no libvirt document has'])


def test_domains_after_a_document_of_others_with_a_doctype(tmp_path):
    text = '<!DOCTYPE book>\n<book/>\n' + DENIED % 'a'
    findings, complaints, closing = judged_text(tmp_path, text)
    assert findings == [('file.xml', 7, 'tpm')]
    assert complaints == ['file.xml:2: error: the document is <book>, not <domain>']


# Compressed files


def test_compressed_files(tmp_path):
    for name in ('a.xml.gz', 'dump', 'b.xml'):
        data = gzip.compress((CLEAN % 'a').encode()) + gzip.compress((DENIED % 'b').encode())
        assert judged_text(tmp_path, data, name) == ([(name, 10, 'tpm')], [], '2 domains: 1 admitted, 1 denied')
    assert judged(tmp_path)[2] == '6 domains: 3 admitted, 3 denied'


def test_compressed_files_that_are_damaged_or_too_large(tmp_path):
    whole = gzip.compress((DENIED % 'a').encode())
    for data in (whole[:-9], whole[:15], whole[:20] + b'x' * 40):
        (complaint,) = judged_text(tmp_path, data)[1]
        assert complaint.startswith('file.xml: error: cannot be ')
    bomb = gzip.compress(b'<domain>' + b' ' * (200 << 20))
    (complaint,) = judged_text(tmp_path, bomb)[1]
    assert complaint == 'file.xml: error: the XML is larger than 32 MiB'


# Directories


def fill(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_copy_of_the_definitions_of_libvirt(tmp_path):
    """Each domain once, though it starts with the host."""
    files = {'vm%d.xml' % number: WARNING + CLEAN % number for number in range(40)}
    files.update({'networks/default.xml': NETWORK, 'vm3.xml': WARNING + DENIED % 3})
    fill(tmp_path, files)
    (tmp_path / 'autostart').mkdir()
    for number in range(7):
        (tmp_path / 'autostart' / ('vm%d.xml' % number)).symlink_to('../vm%d.xml' % number)
    (tmp_path / 'networks/autostart').mkdir()
    (tmp_path / 'networks/autostart/default.xml').symlink_to('../default.xml')
    findings, complaints, closing = judged(tmp_path)
    assert findings == [('vm3.xml', 10, 'tpm')]
    assert complaints == ['default.xml: skipped: the document is <network>, not <domain>']
    assert closing == '40 domains: 39 admitted, 1 denied; 1 other file skipped'
    assert judged(tmp_path / 'autostart')[2] == '7 domains: 6 admitted, 1 denied'


def test_a_support_archive(tmp_path):
    """What the files hold counts, not how they are called."""
    fill(
        tmp_path,
        {
            'sos_commands/virsh/virsh_-r_dumpxml_web01': DENIED % 'web01',
            'sos_commands/virsh/virsh_-r_capabilities': '<capabilities/>',
            'sos_commands/virsh/virsh_-r_list_--all': ' Id   Name    State\n',
            'etc/libvirt/qemu/web01.xml': WARNING + DENIED % 'web01',
            'etc/libvirt/qemu.conf': '# <domain type="kvm">\n',
            'run/libvirt/qemu/web01.xml': "<domstatus state='running'>\n%s</domstatus>\n" % DENIED % 'web01',
            'var/lib/libvirt/qemu/snapshot/web01/s1.xml': '<domainsnapshot>\n%s</domainsnapshot>\n' % DENIED % 'web01',
            'var/lib/libvirt/qemu/save/web01.save': b'LibvirtQemudSave\2\0' + b'\0' * 80 + (DENIED % 'web01').encode(),
            'var/log/libvirt/qemu/web01.log': b'\x7fELF\0\xff' * 1000,
            'var/log/messages.gz': gzip.compress(b'Nov 27 <domain>'),
            'old/web00.xml.xz': b'\xfd7zXZ\0' + b'\0' * 20,
            'old/web00.dump.gz': gzip.compress((DENIED % 'web00').encode()),
            'empty': b'',
        },
    )
    findings, complaints, closing = judged(tmp_path)
    assert findings == [
        ('web01.xml', 10, 'tpm'),
        ('web00.dump.gz', 5, 'tpm'),
        ('web01.xml', 6, 'tpm'),
        ('virsh_-r_dumpxml_web01', 5, 'tpm'),
        ('s1.xml', 6, 'tpm'),
    ]
    assert complaints == [
        'web00.xml.xz: skipped: compressed with xz; unpack it',
        'web01.save: skipped: the image of a saved domain; virsh save-image-dumpxml shows what is in it',
    ]
    assert closing == '5 domains: 5 denied; 8 other files skipped'


def test_templates(tmp_path):
    fill(
        tmp_path,
        {
            'clean.xml': CLEAN % 'clean',
            'denied.xml.in': DENIED % 'denied',
            'both.txt': CLEAN % 'a' + DENIED % 'b',
            'jinja.xml.j2': '{% if x %}\n' + DENIED,
            'half.tmpl': "<domain type='kvm'>\n  {{ devices }}\n",
            'xen.xml': (CLEAN % 'xen').replace("'kvm'", "'xen'"),
            'page.html': '<!DOCTYPE html>\n<html></html>',
            'icon.svg': '<svg/>',
        },
    )
    findings, complaints, closing = judged(tmp_path)
    assert findings == [('both.txt', 10, 'tpm'), ('denied.xml.in', 5, 'tpm')]
    assert complaints[0].startswith('half.tmpl:3: error: the XML is not well-formed')
    assert complaints[1:] == ['xen.xml: skipped: a domain of type xen, not kvm or qemu']
    assert closing == '5 domains: 2 admitted, 2 denied, 1 not judged; 4 other files skipped'


def test_links(tmp_path):
    fill(tmp_path, {'all/a.xml': DENIED % 'a', 'elsewhere/b.xml': DENIED % 'b', 'elsewhere/c': DENIED % 'c'})
    directory = tmp_path / 'all'
    os.link(str(directory / 'a.xml'), str(directory / 'hard.xml'))
    (directory / 'out.xml').symlink_to(tmp_path / 'elsewhere/b.xml')
    (directory / 'out').symlink_to(tmp_path / 'elsewhere/b.xml')
    (directory / 'other').symlink_to(tmp_path / 'elsewhere')
    (directory / 'ring').symlink_to('.')
    (directory / 'gone.xml').symlink_to('nowhere')
    findings, complaints, closing = judged(directory)
    assert findings == [('a.xml', 5, 'tpm'), ('out', 5, 'tpm')]
    assert complaints == [
        'other: skipped: a link to a directory; to search it, name it as an argument',
        'ring: skipped: a link to a directory; to search it, name it as an argument',
    ]
    assert closing == '2 domains: 2 denied; 3 other files skipped'


def test_what_is_not_a_file_is_skipped(tmp_path):
    os.mkfifo(str(tmp_path / 'pipe.xml'))
    os.mkfifo(str(tmp_path / 'pipe'))
    (tmp_path / 'zero').symlink_to('/dev/zero')
    fill(tmp_path, {'a.xml': CLEAN % 'a'})
    assert judged(tmp_path) == ([], [], '1 domain: 1 admitted; 3 other files skipped')


@pytest.mark.skipif(os.geteuid() == 0, reason='root reads everything')
def test_what_cannot_be_read_is_named(tmp_path):
    fill(tmp_path, {'a.xml': CLEAN % 'a', 'b': CLEAN % 'b'})
    (tmp_path / 'b').chmod(0)
    assert judged(tmp_path)[1] == ['b: skipped: cannot be read: Permission denied']


@pytest.mark.parametrize('files, more', [({}, ''), ({'a': 'b'}, ', nor a domain in any of the 1 other files')])
def test_a_directory_without_a_domain(tmp_path, files, more):
    fill(tmp_path, files)
    with pytest.raises(GuardError, match='there is no .*xml file below it' + more):
        list(find_domain_files([str(tmp_path)]))


def test_large_files_of_others_are_not_read(tmp_path):
    """Disk images, say: what they begin with is enough."""
    for number in range(100):
        with open(str(tmp_path / ('disk%d.raw' % number)), 'wb') as file:
            file.truncate(1 << 34)
    fill(tmp_path, {'a.xml': CLEAN % 'a'})
    started = time.process_time()
    assert judged(tmp_path)[2] == '1 domain: 1 admitted; 100 other files skipped'
    assert time.process_time() - started < 2


def test_names_given_are_judged_whatever_they_are(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'no XML')
    assert 'error: ' in judged(path)[1][0]
    assert [file.asked_for for file in find_domain_files([str(path), str(path), '-'])] == [True, True, True]


# The first element


@pytest.mark.parametrize(
    'head, name',
    [
        (b'<domain>', 'domain'),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <a> --><!----><domain/>", 'domain'),
        ('<domain '.encode('utf-16'), 'domain'),
        ('<domain '.encode('utf-16-be'), 'domain'),
        (b'<q:domain', 'domain'),
        (b"<!DOCTYPE html PUBLIC 'x'>\n<html>", 'html'),
        (b'<?xml', None),
        (b'<!-- <domain>', None),
        (b'  <', None),
        (b'<!', None),
        (b'', ''),
        (b'x <domain>', ''),
        (b'</domain>', ''),
        (b'{<domain>}', ''),
        (b'\x7fELF', ''),
    ],
)
def test_first_element(head, name):
    assert first_element(head) == name


def test_the_first_element_is_found_in_time():
    started = time.process_time()
    for head in (b'<!---->' * 9000, b'<?a?>' * 13000, b'<!DOCTYPE>' * 6000, b' ' * 65536, b'<!--' * 16000):
        first_element(head)
    assert time.process_time() - started < 2


def test_a_document_from_standard_input_may_be_compressed(tmp_path, monkeypatch):
    path = tmp_path / 'in'
    path.write_bytes(gzip.compress((DENIED % 'a').encode()))
    with open(str(path), 'rb') as file:
        monkeypatch.setattr('sys.stdin', type('Stdin', (), {'buffer': file}))
        assert DomainFile('-', True).read() == (DENIED % 'a').encode()


def test_shipped_cases_are_one_document_each():
    for path in sorted(CASES.glob('*/fail-*.xml'))[::9]:
        data = path.read_bytes()
        if data.startswith(b'<domain'):
            assert [part.data for part in split(data)] == [data], path


def test_known_files_are_a_set():
    random_, known, expected = random.Random(7), _Inodes(), set()
    for _ in range(5000):
        file = (random_.randrange(2), random_.choice((random_.randrange(2000), random_.randrange(1 << 64))))
        assert known.add(*file) == (file not in expected)
        expected.add(file)


def test_known_files_of_one_tree_take_little_room():
    known = _Inodes()
    for inode in range(3000000, 3100000):
        known.add(65024, inode)
    assert len(known._bits) < 200
    assert sum(map(sys.getsizeof, known._bits.values())) < 1 << 15


# Files with any name


@pytest.mark.parametrize('part', ['a', '\u4eee', '\udcff', '\U0001f5a5'])
@pytest.mark.parametrize('length', [1, 60, 1000])
def test_chunks_that_are_under_way_fit_into_a_pipe(part, length):
    """Else whoever hands them out may wait for a process that waits for it."""
    chunks = list(_chunks(DomainFile(part * length, True) for _ in range(1000)))
    assert sum(map(len, chunks)) == 1000
    assert max(4 + len(marshal.dumps((chunk, {}))) for chunk in chunks) * _UNDER_WAY < 60000


# Files of any size


@pytest.mark.parametrize('size', [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1 << 20])
@pytest.mark.parametrize('by_pipe', [False, True])
def test_a_file_is_read_to_its_end(tmp_path, size, by_pipe):
    path, data = tmp_path / 'a', bytes(random.Random(size).choices(range(32, 127), k=size))
    if by_pipe:  # as a shell hands over the output of a command: <(virsh dumpxml a)
        os.mkfifo(str(path))
        if os.fork() == 0:
            with open(str(path), 'wb') as file:
                file.write(data)
            os._exit(0)
    else:
        path.write_bytes(data)
    assert DomainFile(str(path), True).read() == data
    if by_pipe:
        os.wait()


def test_of_a_huge_file_one_byte_too_many_is_read(tmp_path):
    for size in (model.MAX_XML_BYTES, model.MAX_XML_BYTES + 1, model.MAX_XML_BYTES * 2):
        (tmp_path / 'a').write_bytes(b' ' * size)
        assert len(DomainFile(str(tmp_path / 'a'), True).read()) == min(size, model.MAX_XML_BYTES + 1)
