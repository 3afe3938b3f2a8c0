# SPDX-License-Identifier: Apache-2.0
"""Trees -> XML: plainly, or in any of the ways in which XML may spell the same; and metadata as nobody would write it.

What is spelt in another way says the same to libvirt, so the guard must say the same of it.
"""

import zlib

from virtguard.match.syntax import QEMU_NS
from virtguard.tree import LIBOSINFO_NS

_USUAL = {'': '', QEMU_NS: 'qemu', LIBOSINFO_NS: 'libosinfo'}
_ESCAPED = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&apos;',
    '\n': '&#10;',
    '\t': '&#9;',
    '\r': '&#13;',
}
_BLANKS = (' ', '  ', '\n  ', '\t')
# Each is well-formed, and would be markup if somebody forgot what it stands in.
_SNARES = (
    '</metadata>',
    '<metadata>',
    '</domain>',
    "<qemu:commandline><qemu:arg value='-S'/></qemu:commandline>",
    "<interface type='vhostuser'/>",
    "type='qemu'",
    '<libosinfo:os id="http://microsoft.com/win/xp"/>',
    '<',
    '&',
    'x',
    '',
)
_NAMES = (
    'a',
    'b',
    'metadata',
    'domain',
    'devices',
    'interface',
    'os',
    'emulator',
    'type',
    'ab',
    '\u0370x',
    '\u00e9',
    'a.b-c',
)
_PREFIXES = ('p', 'q', 'qemu', 'libosinfo', 'nobody', 'xml')
_URIS = (
    'urn:x',
    'http://example.org/ns',
    'not a uri',
    'relative',
    ' ',
    'urn:virt-guard:qemu-argument',
    QEMU_NS,
    '%zz',
    'http://[',
    '\u00e9',
)


def _prefix(uri):
    if uri not in _USUAL:
        return 'x%08x' % zlib.crc32(uri.encode())
    return _USUAL[uri]


def plain(root):
    """As a person would write it; by lines, as every line has a meaning in what is told."""
    lines = []
    _plain(root, '', lines)
    return '\n'.join(lines).encode() + b'\n'


def _plain(node, indent, lines):
    prefix = _prefix(node.uri)
    name = '%s:%s' % (prefix, node.name) if prefix else node.name
    declared = ' xmlns:%s="%s"' % (prefix, node.uri) if prefix else ''
    attributes = ''.join(" %s='%s'" % (key, _escape(value)) for key, value in node.attributes.items())
    if not node.children:
        lines.append('%s<%s%s%s/>' % (indent, name, declared, attributes))
        return
    start = '%s<%s%s%s>' % (indent, name, declared, attributes)
    if not node.elements():
        lines.append('%s%s</%s>' % (start, _escape(node.text()), name))
        return
    lines.append(start)
    for child in node.children:
        if isinstance(child, str):
            lines.append(_escape(child))
        else:
            _plain(child, indent + '  ', lines)
    lines.append('%s</%s>' % (indent, name))


def _escape(text):
    return ''.join(_ESCAPED.get(c, c) for c in text)


class Odd:
    """One way of spelling a whole document. `strange` is put into the first metadata of the domain, as it is."""

    def __init__(self, random, strange=''):
        self._random = random
        self._strange = strange
        self._rate = random.choice((0, 0, 0.01, 0.1))  # of what is seldom met
        self._foreign = random.random() < 0.2  # attributes in a namespace, which libvirt does not look at
        self._out = []

    def spell(self, root):
        random = self._random
        prefixes = {uri: prefix for uri, prefix in _USUAL.items() if prefix}
        if random.random() < 0.3:
            prefixes = {QEMU_NS: random.choice('qz'), LIBOSINFO_NS: random.choice(('libosinfo', 'o'))}
        self._prefixes = prefixes
        if random.random() < 0.2:
            self._out.append(random.choice(("<?xml version='1.0'?>", '<?xml version="1.0" encoding="utf-8"?>\n')))
        if random.random() < 0.2:
            self._out.append('<!--%s-->\n' % random.choice(_SNARES).replace('--', ''))
        is_strange = [child for child in root.elements() if child.name == 'metadata' and not child.uri][:1]
        self._element(root, set(), is_strange, 0)
        return ''.join(self._out).encode()

    def _seldom(self):
        return self._rate and self._random.random() < self._rate

    def _blank(self):
        return self._random.choice(_BLANKS) if self._seldom() else ' '

    def _noise(self):
        if self._seldom():
            snare = self._random.choice(_SNARES)
            self._out.append(self._random.choice(('<!--%s-->', '<?p %s?>')) % snare.replace('--', '').replace('?>', ''))

    def _element(self, node, declared, strange, depth):
        random = self._random
        prefix = self._prefixes.get(node.uri) or _prefix(node.uri)
        name = '%s:%s' % (prefix, node.name) if prefix else node.name
        parts = []
        declared = set(declared)
        if prefix and prefix not in declared:
            parts.append('xmlns:%s=%s' % (prefix, self._quoted(node.uri)))
            declared.add(prefix)
        if depth == 0 and self._foreign:
            parts.append("xmlns:f='urn:foreign'")
        for key, value in node.attributes.items():
            if self._foreign and depth and 'metadata' not in (node.name,) and node.uri == '' and random.random() < 0.1:
                key = random.choice(('f:', 'xml:')) + key
            equals = random.choice(('=', ' =', '= ', ' = ')) if self._seldom() else '='
            parts.append('%s%s%s' % (key, equals, self._quoted(value)))
        if self._seldom():
            random.shuffle(parts)
        self._out.append('<' + name + ''.join(self._blank() + part for part in parts))
        if not node.children and node not in strange and random.random() < 0.9:
            self._out.append(('\n' if self._seldom() else '') + '/>')
            return
        self._out.append('>')
        for child in node.children:
            self._noise()
            if isinstance(child, str):
                self._text(child)
            else:
                if random.random() < 0.9:
                    self._out.append('\n' + '  ' * (depth + 1))
                self._element(child, declared, strange, depth + 1)
        if node in strange:
            self._out.append(self._strange)
        self._noise()
        self._out.append('</%s%s>' % (name, ' ' if self._seldom() else ''))

    def _quoted(self, value):
        quote = self._random.choice('\'"') if self._rate else "'"
        out = []
        for c in value:
            if c in '&<\n\t\r' or c == quote:
                out.append(_ESCAPED[c])
            elif self._seldom():
                out.append('&#%d;' % ord(c) if self._random.random() < 0.5 else '&#x%x;' % ord(c))
            else:
                out.append(c)
        return quote + ''.join(out) + quote

    def _text(self, text):
        if self._seldom() and ']]>' not in text:
            self._out.append('<![CDATA[%s]]>' % text)
            return
        for c in text:
            self._out.append('&#%d;' % ord(c) if self._seldom() else _ESCAPED.get(c, c))


def strange_metadata(random, depth=0, libosinfo=False):
    """Elements that libvirt copies as they stand, however they use namespaces; nearly always well-formed.

    :param libosinfo: libosinfo's own namespace may be used, so that something in it is looked at
    """
    return ''.join(_strange_node(random, depth, libosinfo) for _ in range(random.randrange(4 if depth else 5)))


def _strange_node(random, depth, libosinfo):
    kind = random.random()
    if libosinfo and kind > 0.8 - 0.2 * bool(depth):
        return _strange_libosinfo(random, depth)
    if kind < 0.15:
        return '<!--%s-->' % random.choice(_SNARES).replace('--', '')
    if kind < 0.25:
        return '<![CDATA[%s]]>' % random.choice(_SNARES)
    if kind < 0.32:
        return '<?p%s %s?>' % (random.choice(('', '.1', '-q')), random.choice(_SNARES))
    if kind < 0.42:
        return _escape(random.choice(_SNARES))
    if kind < 0.43:
        return random.choice(_SNARES)  # often broken
    name = _strange_name(random)
    attributes = {}
    for _ in range(random.randrange(4)):
        if random.random() < 0.4:
            key = random.choice(('xmlns', 'xmlns:p', 'xmlns:q', 'xmlns:qemu', 'xmlns:xml', 'xmlns:xmlns', 'xmlns:a.b'))
            attributes[key] = random.choice(_URIS + ('',))
        else:
            key = random.choice(('xml:id', 'xml:space', 'xml:lang', 'xml:base', 'id', _strange_name(random)))
            attributes[key] = random.choice(_SNARES + ('1', 'x', 'default'))
    text = ''.join(' %s="%s"' % (key, _escape(value)) for key, value in attributes.items())
    if depth > 3 or random.random() < 0.4:
        return '<%s%s/>' % (name, text)
    return '<%s%s>%s</%s>' % (name, text, strange_metadata(random, depth + 1, libosinfo), name)


def _strange_libosinfo(random, depth):
    prefix = random.choice(('libosinfo', 'libosinfo', 'l', ''))
    name = (prefix + ':' if prefix else '') + random.choice(('libosinfo', 'libosinfo', 'os', 'x', '\u00e9'))
    declared = ''
    if not depth or random.random() < 0.3:
        uri = LIBOSINFO_NS
        if random.random() < 0.2:
            uri = uri.replace(random.choice('hosi'), '&#%d;' % ord(random.choice('hosi')))
        declared = " xmlns%s='%s'" % (':' + prefix if prefix else '', uri)
    id = (
        ' id="%s"' % _escape(random.choice(_SNARES + ('http://microsoft.com/win/xp',))) if random.random() < 0.7 else ''
    )
    extra = random.choice(('', '', '\n', ' xml:id="1"', ' a="\n>"'))
    inside = strange_metadata(random, depth + 1, True) if depth < 4 else ''
    if not inside and random.random() < 0.7:
        return '<%s%s%s%s/>' % (name, declared, id, extra)
    return '<%s%s%s%s>%s</%s>' % (name, declared, id, extra, inside, name)


def _strange_name(random):
    name = random.choice(_NAMES)
    kind = random.random()
    if kind < 0.5:
        return name
    if kind < 0.93:
        return '%s:%s' % (random.choice(_PREFIXES), name)
    return random.choice((':%s', '%s:', 'p:%s:x', 'p:1%s')) % name


def damaged(data, random):
    """A document with a few bytes removed, doubled or replaced."""
    data = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(data))
        kind = random.randrange(4)
        if kind == 0:
            del data[place : place + random.choice((1, 1, 5, 40))]
        elif kind == 1:
            data[place:place] = random.choice(
                (b'<', b'>', b'&', b'"', b"'", b'/', b':', b' xmlns:p="u"', b'<!--', b'\0', b'\xff', b']]>')
            )
        elif kind == 2:
            data[place] = random.choice(b'<>&"\'/=:! x\n\x01\x80')
        else:
            end = min(len(data), place + random.randrange(1, 30))
            data[place:place] = data[place:end]
        if not data:
            return b'<'
    return bytes(data)
