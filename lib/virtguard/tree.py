# SPDX-License-Identifier: Apache-2.0
"""XML bytes -> a small tree, by one pass of expat. Pure: no I/O.

Every start pays for this. Elements and the nodes of attributes and text have the few methods and names of lxml's that
judging uses, so that the same code judges either tree. lxml's names in a namespace are {URI}NAME.
"""

import pyexpat

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, NoReturn, Optional, Sequence

    Child = Any  # Element or str

NAMESPACE = '\x01'  # stands between URI and name; no XML document can hold it
LIBOSINFO_NS = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
# libvirt's own elements beside those of a domain, <qemu:commandline> and its like, are in namespaces that begin so.
EXTENSION = 'http://libvirt.org/schemas/domain/'
QEMU_NS = 'http://libvirt.org/schemas/domain/qemu/1.0'
ARG_NS = 'urn:virt-guard:qemu-argument'
# The prefixes that a policy's expressions may use. Documents may use any prefix: only the URI counts.
NAMESPACES = {'qemu': QEMU_NS, 'libosinfo': LIBOSINFO_NS, 'arg': ARG_NS}

# Beyond these, expat and libxml2 might not agree on what a document says, so that lxml must be asked.
MAX_DEPTH = 250
MAX_BYTES = 4 * 1024 * 1024
# More than ten times what any real domain has; each takes half a KiB.
_MAX_ELEMENTS = 20000
# Expat writes the namespace of each name in full, within one call that nothing interrupts.
_MAX_NAMESPACES, _LONGEST_NAMESPACE, _LONGEST_PREFIX = 256, 128, 64  # of declarations; bytes
_LONG_NAME = 50000  # bytes; libxml2 refuses longer ones
_BUFFER = 1 << 16
_NOTHING: 'Dict[str, str]' = {}


class Element:
    """An element; that without a tag is the document. `children` are elements and text."""

    __slots__ = ('tag', 'attrib', 'prefix', 'parent', 'children', 'order', '_offset', '_prefixes', '_by_tag')

    def __init__(
        self,
        tag: str,
        attrib: 'Dict[str, str]',
        parent: 'Optional[Element]',
        offset: int = 0,
        prefix: 'Optional[str]' = None,
        prefixes: 'Dict[str, str]' = _NOTHING,
    ) -> None:
        self.tag = tag
        self.attrib = attrib
        self.prefix = prefix
        self.parent = parent
        self.children: 'List[Child]' = []
        self.order = -1  # the place in the document; known once the document is numbered
        self._offset = offset
        self._prefixes = prefixes  # of attributes
        self._by_tag: 'Optional[Dict[str, List[Element]]]' = None

    # --- as lxml has it -----------------------------------------------------------------------------------------

    def getparent(self) -> 'Optional[Element]':
        parent = self.parent
        return parent if parent is not None and parent.tag else None

    def get(self, name: str, default: 'Any' = None) -> 'Any':
        return self.attrib.get(name, default)

    def keys(self) -> 'List[str]':
        return list(self.attrib)

    @property
    def text(self) -> 'Optional[str]':
        first = self.children[:1]
        return first[0] if first and not isinstance(first[0], Element) else None

    @property
    def sourceline(self) -> int:
        """The line in which its start tag ends: so lxml counts."""
        top = document_of(self)
        data: bytes = top.data if isinstance(top, Document) else b''
        return data.count(b'\n', 0, _end_of_tag(data, self._offset)) + 1

    def __len__(self) -> int:
        return len(self.elements())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> 'Iterator[Element]':
        return iter(self.elements())

    def iterchildren(self, *tags: str) -> 'Iterator[Element]':
        return iter([child for child in self.elements() if not tags or child.tag in tags])

    def itertext(self) -> 'Iterator[str]':
        for node in self.below():
            if node.__class__ is not Element:
                yield node

    def iter(self, *tags: str) -> 'Iterator[Element]':
        for node in [self, *self.below()]:
            if node.__class__ is Element and (not tags or node.tag in tags):
                yield node

    def iterancestors(self) -> 'Iterator[Element]':
        above = self.getparent()
        while above is not None:
            yield above
            above = above.getparent()

    def find(self, tag: str) -> 'Optional[Element]':
        return next(iter(self.named(tag)), None)

    def getprevious(self) -> 'Optional[Element]':
        before = None
        for child in self.parent.elements() if self.parent is not None else ():
            if child is self:
                break
            before = child
        return before

    # --- what is quicker here -----------------------------------------------------------------------------------

    def elements(self) -> 'List[Element]':
        """The child elements."""
        return [child for child in self.children if child.__class__ is Element]

    def named(self, tag: str) -> 'Sequence[Element]':
        """The child elements of a name."""
        by_tag = self._by_tag
        if by_tag is None:
            by_tag = self._by_tag = {}
            for child in self.elements():
                if child.tag in by_tag:
                    by_tag[child.tag].append(child)
                else:
                    by_tag[child.tag] = [child]
        return by_tag.get(tag, ())

    def below(self) -> 'List[Child]':
        """The elements and texts below, in order."""
        found: 'List[Child]' = []
        todo = self.children[::-1]
        while todo:
            node = todo.pop()
            found.append(node)
            if isinstance(node, Element):
                todo.extend(node.children[::-1])
        return found

    def string_value(self) -> str:
        """XPath's string value."""
        children = self.children
        if len(children) == 1 and children[0].__class__ is not Element:
            return str(children[0])
        return ''.join(self.itertext())

    def prefix_of(self, name: str) -> 'Optional[str]':
        """The prefix that the document writes before the name of an attribute."""
        return self._prefixes.get(name)

    def add(self, tag: str, attrib: 'Dict[str, str]') -> None:
        """Add a child that is not in the document itself; before anything is looked for."""
        self.children.append(Element(tag, attrib, self, self._offset))
        self._by_tag = None


class Document(Element):
    """What is above the root."""

    __slots__ = ('data',)

    def __init__(self, data: bytes) -> None:
        super().__init__('', _NOTHING, None)
        self.data = data

    def number(self) -> None:
        """Give each node its place in the order of the document; texts become nodes of their own."""
        if self.order == 0:
            return
        self.order = 0
        number = 1
        todo: 'List[Element]' = [self]
        place = [0]
        while todo:
            here = todo[-1]
            if place[-1] == len(here.children):
                todo.pop()
                place.pop()
                continue
            child = here.children[place[-1]]
            if isinstance(child, Element):
                child.order = number
                number += len(child.attrib)  # those are behind it, one by one
                todo.append(child)
                place[-1] += 1
                place.append(0)
            else:
                here.children[place[-1]] = Leaf(child, here, '', number)
                place[-1] += 1
            number += 1


class Leaf(str):
    """The node of an attribute, or of a text (without a name): a string, as lxml has it."""

    __slots__ = ('parent', 'attrname', '_order')
    attrib = _NOTHING
    children: 'Sequence[Child]' = ()
    tag = ''
    parent: Element
    attrname: str
    _order: int

    def __new__(cls, value: str, parent: Element, name: str, order: int = -1) -> 'Leaf':
        self = super().__new__(cls, value)
        self.parent = parent
        self.attrname = name
        self._order = order
        return self

    @property
    def is_attribute(self) -> bool:
        return self.attrname != ''

    @property
    def order(self) -> int:
        if self._order < 0:
            self._order = self.parent.order + 1 + list(self.parent.attrib).index(self.attrname)
        return self._order

    def getparent(self) -> Element:
        return self.parent

    def named(self, tag: str) -> 'Sequence[Element]':
        return ()

    def elements(self) -> 'List[Element]':
        return []

    def below(self) -> 'List[Child]':
        return []

    def string_value(self) -> str:
        return self


def _end_of_tag(data: bytes, start: int) -> int:
    """Where a start tag ends; values may have a > themselves."""
    while True:
        end = data.find(b'>', start)
        quotes = [place for place in (data.find(quote, start, end) for quote in (b'"', b"'")) if place >= 0]
        if not quotes:
            return end
        first = min(quotes)
        start = data.find(data[first : first + 1], first + 1) + 1


def read_tree(data: bytes) -> 'Optional[Document]':
    """The document as a tree; None where only lxml can tell what it says, or that it is not well-formed.

    That is where expat and libxml2, or versions of libvirt, might not agree; and where names are in namespaces outside
    of metadata, other than those of libvirt's own elements.

    :raises DomainXMLError: it has a DOCTYPE
    """
    if len(data) > MAX_BYTES or not data.startswith(b'<') or b'\0' in data:  # UTF-16 has NUL
        return None
    if not has_small_namespaces(data) or may_have_long_name(data):
        return None
    if b'<![CDATA[]]>' in data:  # libxml2 makes a node of no text of it, and expat does not tell
        return None
    builder = _Builder(data)
    try:
        builder.parser.Parse(data, True)
    except (
        pyexpat.ExpatError,
        NotImplementedError,
        UnicodeDecodeError,
    ):  # older expats (before 2.4.5) let bad names pass
        return None
    return builder.document


def has_small_namespaces(data: bytes) -> bool:
    """Whether the namespaces that a document declares are few and short, so that names with them are, too.

    What looks like a declaration counts as one: `xmlns` behind a blank, as not in the URI of libosinfo.
    """
    if data.count(b'xmlns') > _MAX_NAMESPACES:
        return False
    at = 0
    while True:
        at = data.find(b'xmlns', at)
        if at < 0:
            return True
        is_declaration = data[at - 1 : at].isspace()
        at += len(b'xmlns')
        if is_declaration:
            quotes = [data.find(quote, at, at + _LONGEST_PREFIX) for quote in (b'"', b"'")]
            start = min((place for place in quotes if place >= 0), default=-1)
            if start < 0 or data.find(data[start : start + 1], start + 1, start + 2 + _LONGEST_NAMESPACE) < 0:
                return False


def may_have_long_name(data: bytes) -> bool:
    """Whether a name in a document may be longer than libxml2 permits: no name has a blank or begins within a tag."""
    return len(data) > _LONG_NAME and max(map(len, data.replace(b'<', b' ').split()), default=0) > _LONG_NAME


def document_of(node: 'Any') -> 'Any':
    """The document that a node is in."""
    while node.parent is not None:
        node = node.parent
    return node


class _Builder:
    def __init__(self, data: bytes) -> None:
        self.document = Document(data)
        self._stack: 'List[Element]' = [self.document]
        self._count = 0
        self._declared = 0
        self._start_plainly = self._start_carefully if b'xml:' in data else self._start
        self.parser = parser = pyexpat.ParserCreate(None, NAMESPACE)
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.buffer_size = _BUFFER
        parser.StartElementHandler = self._start_plainly
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndNamespaceDeclHandler = self._undeclare
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.XmlDeclHandler = _check_declaration

    def _declare(self, prefix: 'Optional[str]', uri: 'Optional[str]') -> None:
        # Most documents have no namespace outside of metadata; those that have one are looked at more closely.
        if uri == ARG_NS:
            raise NotImplementedError
        self._declared += 1
        self.parser.StartElementHandler = self._start_carefully

    def _undeclare(self, prefix: 'Optional[str]') -> None:
        self._declared -= 1
        if not self._declared:
            self.parser.StartElementHandler = self._start_plainly

    def _start(self, name: str, attributes: 'Dict[str, str]') -> None:
        stack = self._stack
        above = stack[-1]
        element = Element(name, attributes, above, self.parser.CurrentByteIndex)
        above.children.append(element)
        stack.append(element)
        self._count += 1
        if len(stack) > MAX_DEPTH or self._count > _MAX_ELEMENTS:
            raise NotImplementedError

    def _end(self, name: str) -> None:
        self._stack.pop()

    def _text(self, text: str) -> None:
        children = self._stack[-1].children
        if children and children[-1].__class__ is str:
            children[-1] += text
        else:
            children.append(text)

    def _start_carefully(self, name: str, attributes: 'Dict[str, str]') -> None:
        stack = self._stack
        is_free = len(stack) > 2 and stack[2].tag == 'metadata'
        prefixes = _NOTHING
        if NAMESPACE in ''.join(attributes):
            if not is_free:
                raise NotImplementedError
            split = [_split(written) for written in attributes]
            prefixes = {tag: prefix for tag, prefix in split if prefix is not None}
            attributes = {tag: value for (tag, _), value in zip(split, attributes.values())}
        if NAMESPACE not in name:
            self._start(name, attributes)
            stack[-1]._prefixes = prefixes
            return
        tag, prefix = _split(name)
        is_extension = tag.startswith('{' + EXTENSION) if len(stack) == 2 else len(stack) > 2 and '}' in stack[2].tag
        if not is_free and not is_extension:
            raise NotImplementedError
        self._start(tag, attributes)
        stack[-1].prefix = prefix
        stack[-1]._prefixes = prefixes


def _split(name: str) -> 'Any':
    """The name as lxml writes it, and its prefix (None: none)."""
    parts = name.split(NAMESPACE)
    if len(parts) == 1:
        return name, None
    return '{%s}%s' % (parts[0], parts[1]), parts[2] if len(parts) > 2 else None


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


def _refuse_doctype(*arguments: object) -> 'NoReturn':
    raise errors.DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)


def _check_declaration(version: str, encoding: 'Optional[str]', standalone: int) -> None:
    if version != '1.0' or (encoding or 'utf-8').lower() != 'utf-8':
        raise NotImplementedError
