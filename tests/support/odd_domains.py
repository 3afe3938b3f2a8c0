# SPDX-License-Identifier: Apache-2.0
"""Domains whose metadata, names, titles and descriptions are at the edge of what XML permits: well-formed ones, broken
ones, and ones of which parsers say different things. Which is which is for libvirt to say, or for libxml2."""

import random
import uuid
from typing import Iterator, List

LIBOSINFO = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
_DOMAIN = """\
<domain type='%(type)s'%(root)s>
  <name>%(name)s</name>
  <uuid>%(uuid)s</uuid>%(title)s
  <metadata%(on_metadata)s>%(metadata)s
  </metadata>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <pm><suspend-to-mem enabled='%(mem)s'/><suspend-to-disk enabled='no'/></pm>%(outside)s
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <memballoon model='none'%(attribute)s/>
  </devices>
</domain>
"""
_OS = "<l:libosinfo xmlns:l='%s'%%s><l:os id='http://%%s'/>%%s</l:libosinfo>" % LIBOSINFO

# Each alone is fine, or odd, or broken.
_LOCAL = 'a b x-1 _ a.b type id xml xmlns ä 日 \u1e9e \u0132 \U00010000 \u0e46 a\u203f'.split(' ')
_BAD_LOCAL = '1 - .a \u00d7 \u037e a* \u2190 a@'.split()
_PREFIX = ['', '', '', 'd:', 'd:', 'e:', 'p:', 'q:', 'xml:', 'XML:', '\u1e9e:']
_BAD_PREFIX = [':', '::', 'd::', 'd:e:', 'p:q:', 'xmlns:', '-:', 'd: ']
_URIS = [
    'urn:u',
    'urn:v',
    'http://example.com/x',
    'not a uri',
    'relative',
    '%zz',
    ' ',
    '&#10;',
    '&amp;',
    'ü',
    'u}v',
    '{',
    '',
    'http://www.w3.org/XML/1998/namespace',
    'http://www.w3.org/2000/xmlns/',
    'urn:virt-guard:qemu-argument',
    'http://libvirt.org/schemas/domain/qemu/1.0',
    LIBOSINFO,
]
_DECLARED = ['xmlns', 'xmlns:d', 'xmlns:e', 'xmlns:p', 'xmlns:xml', 'xmlns:xmlns', 'xmlns:', 'xmlns:1', 'xmlns:a:b']
_VALUES = ['', '1', 'a', 'a b', '&lt;', '&#9;', '>', '&apos;&quot;', '&#x1F427;', '\t', '{', 'virtiofs', '&#xD7FF;']
_BAD_VALUES = ['<', '&', '&x;', '&#0;', '&#xD800;', '&#xFFFE;', '\x01', '\ufffe', '&#', '&lt', '&#x110000;']
_TEXTS = [
    'text',
    'ü 日 \U0001f427',
    '&lt;&gt;&amp;&quot;&apos;',
    '<![CDATA[<a> & ]] >]]>',
    '<![CDATA[]]]]><![CDATA[>]]>',
    ']]',
    '>',
    '<!-- c -->',
    '<!-- </metadata> -->',
    "<!-- <driver type='virtiofs'/> -->",
    '<![CDATA[</metadata><devices/>]]>',
    '<?pi </metadata>?>',
    '<?p:i x?>',
    '<?xml-x y?>',
    '&#13;',
    '&#x85;',
    '\x7f',
    '\u2028',
    '&#x10FFFF;',
    '\r\n',
    '<metadata/>',
    '<d:metadata></d:metadata>',
]
_BAD_TEXTS = [
    ']]>',
    '&nbsp;',
    '&amp',
    '&;',
    '&#X41;',
    '&#1;',
    '\x1b',
    '\uffff',
    '<!-- a -- b -->',
    '<!-- a --->',
    '<?xml version="1.0"?>',
    '<?XML x?>',
    '<? x?>',
    '<',
    '</d:m>',
    '<a></b>',
    '<a>',
    '<a b=1/>',
    '<a b/>',
    "<a b=''c=''/>",
    '<a / >',
    '<!DOCTYPE a>',
    '<!x>',
    '<![CDATA[x',
    '<!--',
    "<a b='1' b='2'/>",
    "<a p:b='1' p:b='2'/>",
    "<a xmlns:f='u' xmlns:f='v'/>",
]


class OddDomain:
    """A document; `outside` says whether something odd stands outside of metadata and of what people write."""

    def __init__(self, number: int, uuid: str, text: str, outside: bool) -> None:
        self.number = number
        self.uuid = uuid
        self.xml = text.encode('utf-8', 'surrogatepass')
        self.outside = outside


def odd_domains(seed: int, count: int) -> Iterator[OddDomain]:
    chance = random.Random(seed)
    for number in range(count):
        yield _Maker(chance, number).make()


class _Maker:
    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self._number = number
        # One break is enough to break it, so that it must be rare for half of them to be well-formed.
        self._left = chance.choice((0, 0, 0, 1))

    def make(self) -> OddDomain:
        chance = self._chance
        outside = chance.random() < 0.2
        identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        inside = ''.join(self._element(2) for _ in range(chance.choice((0, 1, 1, 2))))
        text = _DOMAIN % {
            'type': chance.choice(('kvm', 'kvm', 'qemu')),
            'name': 'odd-%d-%s' % (self._number, self._line()),
            'uuid': identity,
            'title': self._maybe('\n  <title>%s</title>') + self._maybe('\n  <description>%s</description>'),
            'mem': chance.choice(('no', 'no', 'yes')),
            'on_metadata': self._attributes(1) if chance.random() < 0.2 else '',
            'metadata': self._system()
            + "\n    <d:m xmlns:d='urn:d'%s>%s%s</d:m>" % (self._attributes(2), inside, self._text()),
            'root': chance.choice((" xmlns:e='urn:e'", " xmlns='urn:x'", self._attributes(1))) if outside else '',
            'outside': self._element(1) if outside and chance.random() < 0.7 else '',
            'attribute': self._attributes(1) if outside and chance.random() < 0.5 else '',
        }
        return OddDomain(self._number, identity, text, outside)

    def _system(self) -> str:
        system = self._chance.choice(('redhat.com/rhel/8.10', 'microsoft.com/win/7', 'apple.com/x', ''))
        return '\n    ' + _OS % (self._attributes(1), system, self._text()) if system else ''

    def _maybe(self, form: str) -> str:
        return form % self._line() if self._chance.random() < 0.5 else ''

    def _line(self) -> str:
        """Of a name or a title: libvirt has its own opinion about lines in these."""
        return ' '.join(self._text().split())

    def _breaks(self, odds: float) -> bool:
        if self._left and self._chance.random() < odds:
            self._left -= 1
            return True
        return False

    def _text(self) -> str:
        if self._breaks(0.15):
            return self._chance.choice(_BAD_TEXTS)
        return ''.join(self._chance.choice(_TEXTS) for _ in range(self._chance.choice((0, 0, 1, 1, 2))))

    def _name(self) -> str:
        if self._breaks(0.05):
            return self._chance.choice((self._chance.choice(_PREFIX) + self._chance.choice(_BAD_LOCAL), 'a:b:-'))
        prefixes = _BAD_PREFIX if self._chance.random() < 0.05 else _PREFIX
        return self._chance.choice(prefixes) + self._chance.choice(_LOCAL)

    def _attributes(self, most: int) -> str:
        found: List[str] = []
        for _ in range(self._chance.randrange(most + 1)):
            name = self._chance.choice((self._name(), self._name(), self._chance.choice(_DECLARED)))
            values = _BAD_VALUES if self._breaks(0.1) else _URIS if name.startswith('xmlns') else _VALUES
            found.append(" %s='%s'" % (name, self._chance.choice(values)))
        return ''.join(found)

    def _element(self, depth: int) -> str:
        name = self._name()
        start = '<%s%s' % (name, self._attributes(3))
        if depth == 0 or self._chance.random() < 0.3:
            return start + '/>'
        inside = ''.join(self._element(depth - 1) for _ in range(self._chance.randrange(3)))
        return '%s>%s%s</%s>' % (start, self._text(), inside, name)
