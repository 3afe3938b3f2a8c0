# SPDX-License-Identifier: Apache-2.0
"""XML bytes -> the marks they have: which of the elements, attributes and values that rules ask for. Pure: no I/O.

Every start pays for this, so it uses expat, which is in the interpreter, and no more. See screening for what the marks
say of a rule.

A key is the path from the document: the names joined by ELEMENT, an attribute's name after ATTRIBUTE, a name in a
namespace as URI NAMESPACE name. No XML document can hold the three joining characters, so no two paths share a key.
"""

import pyexpat

from .errors import DomainXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, NoReturn, Optional, Set, Tuple

    Need = Any
    Wanted = Dict[str, Tuple[Tuple[Tuple[str, str], ...], bool]]

NAMESPACE, ELEMENT, ATTRIBUTE = '\x01', '\x02', '\x03'
NAME_KEY = ELEMENT + 'domain' + ELEMENT + 'name'
UUID_KEY = ELEMENT + 'domain' + ELEMENT + 'uuid'
TYPE_KEY = ELEMENT + 'domain' + ATTRIBUTE + 'type'
ARCH_KEY = ELEMENT.join(('', 'domain', 'os', 'type')) + ATTRIBUTE + 'arch'
LIBOSINFO_NS = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
_LIBOSINFO = ELEMENT + LIBOSINFO_NS + NAMESPACE
OS_ID_KEY = ELEMENT + 'domain' + ELEMENT + 'metadata' + _LIBOSINFO + 'libosinfo' + _LIBOSINFO + 'os' + ATTRIBUTE + 'id'
METADATA_KEY = ELEMENT + 'domain' + ELEMENT + 'metadata'
# libvirt's own elements beside those of a domain, <qemu:commandline> and its like, are in namespaces that begin so.
EXTENSION = 'http://libvirt.org/schemas/domain/'

# Beyond these, expat and libxml2 might not agree on what a document says, so that lxml must be asked.
MAX_DEPTH = 250
MAX_BYTES = 4 * 1024 * 1024


class Index:
    """What to look for: `wanted` has, for the key of an element, its attributes (name, key) and whether its text is
    asked for; `names` are looked for anywhere."""

    __slots__ = ('wanted', 'names')

    def __init__(self, wanted: 'Wanted', names: 'FrozenSet[str]') -> None:
        self.wanted = wanted
        self.names = names


class Marks:
    """What a document has of what an index wants: for each key the values found (None: attribute lacking), the keys of
    elements found more than once, the names found, the name of the root, the text of the first of each element whose
    text is asked for."""

    __slots__ = ('values', 'repeated', 'names', 'root', 'texts')

    def __init__(self, values: 'Dict[str, Set[Optional[str]]]', names: 'Set[str]') -> None:
        self.values = values
        self.repeated: 'Set[str]' = set()
        self.names = names
        self.root = ''
        self.texts: 'Dict[str, str]' = {}


class _Uncertain(Exception):
    pass


def find_marks(data: bytes, index: Index) -> 'Optional[Marks]':
    """Find the marks of a document; None where only lxml can tell what it says, or that it is not well-formed.

    :raises DomainXMLError: it has a DOCTYPE
    """
    scanner = _Scanner(index, b'xml:' in data)
    if not _parse(data, scanner.parser):
        return None
    ids = scanner.marks.values.get(OS_ID_KEY, ())
    return scanner.marks if all(id is None or is_plain_id(id) for id in ids) else None


def is_plain_id(id: str) -> bool:
    """Whether an id of an operating system is taken as it is written; policy/os_ids tells what others mean."""
    host, _, path = id[len('http://') :].partition('/')
    return (
        id.startswith('http://')
        and '//' not in id[len('http://') :]
        and path[-1:] not in ('', '/')
        and id.split() == [id]
        and host != ''
        and host == host.lower()
        and not host.startswith('www.')
        and not host.endswith('.')
        and ':' not in host
        and '@' not in host
    )


def is_well_formed(data: bytes) -> bool:
    """Whether expat can read a document, of any depth; collecting no marks takes half the time. False if only lxml can
    tell: expat refuses some names that libxml2 accepts, and errors of namespaces break no document for libvirt.

    :param data: known to be UTF-8: older expats (before 2.4.5) do not look that close
    :raises DomainXMLError: as find_marks does
    """
    return _parse(data, pyexpat.ParserCreate(None, NAMESPACE))


def is_well_formed_but_for_namespaces(data: bytes) -> bool:
    """The same, but errors of namespaces do not count, and the size and an encoding that expat knows do not matter.

    :raises DomainXMLError: as find_marks does
    """
    parser = pyexpat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = _check_colons
    return _accepts(parser, data)


def _check_colons(name: str, attributes: 'Dict[str, str]') -> None:
    # libxml2 refuses a document with a name that cannot be one with namespaces, such as a:b:- .
    for checked in (name, *attributes):
        prefix, colon, local = checked.partition(':')
        if colon and not (prefix and (local[:1].isalpha() or local[:1] == '_') and ':' not in local):
            raise _Uncertain


def _parse(data: bytes, parser: 'pyexpat.XMLParserType') -> bool:
    if len(data) > MAX_BYTES or not data.startswith(b'<') or b'\0' in data:  # UTF-16 has NUL
        return False
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.XmlDeclHandler = _check_declaration
    return _accepts(parser, data)


def _accepts(parser: 'pyexpat.XMLParserType', data: bytes) -> bool:
    try:
        parser.Parse(data, True)
    except (pyexpat.ExpatError, _Uncertain):
        return False
    except UnicodeDecodeError:  # of a name, which older expats let pass (before 2.4.5)
        return False
    return True


def _refuse_doctype(*arguments: object) -> 'NoReturn':
    raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)


def _check_declaration(version: str, encoding: 'Optional[str]', standalone: int) -> None:
    if version != '1.0' or (encoding or 'utf-8').lower() != 'utf-8':
        raise _Uncertain


def plain_part(data: bytes) -> 'Optional[bytes]':
    """A document in UTF-8 in which each < begins a tag and texts are written as they are read: it has no references,
    CDATA, declarations, comments and processing instructions. A comment at the beginning is left out, because each of
    libvirt's files has one. None for any other document.

    The document must be well-formed; that is not checked. Text may have quotes and >, values may have >.
    """
    if len(data) > MAX_BYTES or not data.startswith(b'<'):
        return None
    if data.startswith(b'<!--'):
        data = data[data.find(b'-->', 4) + 3 :]
    if b'&' in data or b'!' in data or b'?' in data or b'\0' in data:  # UTF-16 has NUL
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return data


class _Scanner:
    """Collects the marks.

    libvirt reads attributes, and many elements, by their local names. A document that has one in a namespace outside of
    metadata is left to lxml. `careful` looks for it from the beginning, which most documents do not need.
    """

    def __init__(self, index: Index, careful: bool) -> None:
        self.marks = Marks({}, set())
        self._index = index
        self._path = ['']
        self._texts: 'List[Tuple[str, List[str]]]' = []
        self.parser = parser = pyexpat.ParserCreate(None, NAMESPACE)
        parser.buffer_text = True
        parser.StartElementHandler = self._start_carefully if careful else self._start
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndElementHandler = self._end

    def _declare(self, prefix: 'Optional[str]', uri: 'Optional[str]') -> None:
        if not self._is_in_metadata():
            self.parser.StartElementHandler = self._start_carefully

    def _is_in_metadata(self) -> bool:
        return len(self._path) > 2 and self._path[2] == METADATA_KEY

    def _start_carefully(self, name: str, attributes: 'Dict[str, str]') -> None:
        if not self._is_in_metadata():
            if NAMESPACE in ''.join(attributes):
                raise _Uncertain
            if NAMESPACE in name and not self._is_extension(name):
                raise _Uncertain
        self._start(name, attributes)

    def _is_extension(self, name: str) -> bool:
        if len(self._path) < 3:
            return len(self._path) == 2 and name.startswith(EXTENSION)
        return NAMESPACE in self._path[2]  # that was checked when it began

    def _start(self, name: str, attributes: 'Dict[str, str]') -> None:
        if len(self._path) > MAX_DEPTH:
            raise _Uncertain
        path = self._path[-1] + ELEMENT + name
        self._path.append(path)
        if len(self._path) == 2:
            self.marks.root = name
        if name in self._index.names:
            self.marks.names.add(name)
        wanted = self._index.wanted.get(path)
        if wanted is None:
            return
        values = self.marks.values
        if path in values:
            self.marks.repeated.add(path)
        else:
            values[path] = set()
        for attribute, key in wanted[0]:
            values.setdefault(key, set()).add(attributes.get(attribute))
        if wanted[1]:
            self._texts.append((path, []))
            self.parser.CharacterDataHandler = self._text

    def _end(self, name: str) -> None:
        path = self._path.pop()
        if self._texts and self._texts[-1][0] == path:
            text = ''.join(self._texts.pop()[1])
            self.marks.values[path].add(text)
            self.marks.texts.setdefault(path, text)
            if not self._texts:
                self.parser.CharacterDataHandler = None

    def _text(self, data: str) -> None:
        # XPath's string value of an element has the text of everything below it.
        for _, chunks in self._texts:
            chunks.append(data)
