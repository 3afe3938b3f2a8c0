# SPDX-License-Identifier: Apache-2.0
"""Bytes of a file -> the domains in it, each as a document of its own. Pure: no I/O.

Mostly that is the file itself. But libvirt keeps domains within its own documents (the status of one that runs, the
metadata of a snapshot), and people collect what virsh prints. Of such a file each domain becomes a document of its own,
which knows how many lines of the file are before it.
"""

import pyexpat
import re

from ...errors import DomainXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Optional, Union

    from ...model import Verdict

    Part = Union['Section', DomainXMLError]

# Documents of libvirt that contain domains, and the names of the elements that are domains there.
CONTAINERS = frozenset(('domstatus', 'domainsnapshot', 'domaincheckpoint'))
_DOMAINS = ('domain', 'inactiveDomain')
_SPACE = re.compile(r'\s*')
_NAME = re.compile(r'<([^\s<>/!?&]+)')
_BEFORE = (('<?', '?>'), ('<!--', '-->'))  # what may stand before the first element, and its end; or
_DOCTYPE = re.compile(  # each way to go on begins with another character, so that it is read once
    r"""<!DOCTYPE(?:[^][<>"']|"[^"]*"|'[^']*')*"""
    r"""(?:\[(?:[^]<"']|"[^"]*"|'[^']*'|<!--(?:[^-]|-(?!->))*-->|<\?(?:[^?]|\?(?!>))*\?>|<(?!!--|\?))*\]\s*)?>"""
)
_DOMAIN = re.compile(rb'<(?:[^\s<>/:=]+:)?(?:domain|inactiveDomain)(?=[\s/>])')
_MARKS_OF_DOMAINS = (b'<domain', b':domain', b'inactiveDomain')  # each tag has one of them; faster than the pattern
_SHORT_HEAD, _HEAD = 512, 64 * 1024
_PIECE = 16 * 1024  # at a time: the parser copies what follows the end of a document, too
_BOMS = ((b'\xef\xbb\xbf', 'utf-8'), (b'\xff\xfe', 'utf-16'), (b'\xfe\xff', 'utf-16'))
_NEXT = frozenset(
    pyexpat.errors.codes[message]
    for message in (pyexpat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT, pyexpat.errors.XML_ERROR_MISPLACED_XML_PI)
)


class Section:
    """A document in a file, and how many lines of the file are `before` it."""

    __slots__ = ('data', 'before')

    def __init__(self, data: bytes, before: int = 0) -> None:
        self.data = data
        self.before = before

    def judged_by(self, judge: 'Callable[[bytes], Verdict]') -> 'Verdict':
        """The verdict on the document, with lines of the file.

        :raises DomainXMLError: it is not a domain that can be judged
        """
        try:
            verdict = judge(self.data)
        except DomainXMLError as error:
            error.line += self.before if error.line else 0
            raise
        for finding in verdict.findings if self.before else ():
            finding.line += self.before if finding.line else 0
        return verdict


def first_element(head: bytes) -> 'Optional[str]':
    """The name, without its prefix, of the first element of a document; '' if it is not XML, None if the head is too
    short to tell."""
    text = _decode(head)
    place = _first_place(text)
    if place is None or text[place:] in ('<', '<!', '<!-'):
        return None
    found = _NAME.match(text, place)
    return found.group(1).rpartition(':')[2] if found is not None else ''


def _first_place(text: str) -> 'Optional[int]':
    """The position of the first element, or of what is there instead; None if the text ends before it."""
    place = 0
    while True:
        place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        if text.startswith('<!DOCTYPE', place):
            doctype = _DOCTYPE.match(text, place)
            if doctype is None:  # its end is not in this text, or it is not a DOCTYPE
                return len(text) if '>' in text[place:] else None
            place = doctype.end()
            continue
        end = next((end for begin, end in _BEFORE if text.startswith(begin, place)), None)
        if end is None:
            return place
        found = text.find(end, place + 2)
        if found < 0:
            return None
        place = found + len(end)


def _decode(head: bytes) -> str:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return head.decode(encoding, 'replace').lstrip('\ufeff')
    if head[1:2] == b'\0' or head[:1] == b'\0':
        return head.decode('utf-16-le' if head[1:2] == b'\0' else 'utf-16-be', 'replace')
    return head.decode('utf-8', 'replace')


def split(data: bytes) -> 'Iterator[Part]':
    """The domains in a file, and an error for each other document in it.

    A file that seems to be one domain is passed on as it is, even if it is not well-formed.
    """
    name = first_element(data[:_SHORT_HEAD]) or first_element(data[:_HEAD])
    if not name or (name == 'domain' and _is_alone(data)):
        yield Section(data)
    elif name == 'domain' or name in CONTAINERS or _DOMAIN.search(data):
        yield from _Splitter(data).parts()
    else:
        yield _other(name, _first_line(data))


def _is_alone(data: bytes) -> bool:
    if sum(map(data.count, _MARKS_OF_DOMAINS)) < 2:
        return True
    found = _DOMAIN.finditer(data)
    next(found, None)
    return next(found, None) is None


def _first_line(data: bytes) -> int:
    text = _decode(data[:_HEAD])
    return text.count('\n', 0, _first_place(text) or 0) + 1


def _other(name: str, line: int) -> DomainXMLError:
    without = ' and has no <domain>' if name in CONTAINERS else ', not <domain>'
    return DomainXMLError('the document is <%s>%s' % (name, without), line, other_document=True)


class _Element:
    """An element that is a domain: where in the file its start tag and its end tag begin."""

    def __init__(self, tag: str, start: int, line: int) -> None:
        self.tag = tag
        self.start = start
        self.line = line
        self.end = start


class _Document:
    """One of several documents in a file, while it is read."""

    def __init__(self, offset: int, line: int) -> None:
        self.offset = offset
        self.line = line
        self.depth = 0
        self.has_doctype = False
        self.root: 'Optional[_Element]' = None
        self.namespaces: 'Dict[str, str]' = {}
        self.inner: 'List[_Element]' = []
        self.encoding = 'utf-8'
        self.parser = parser = pyexpat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.XmlDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = self._see_doctype

    def _declare(self, version: str, encoding: 'Optional[str]', standalone: int) -> None:
        self.encoding = (encoding or 'utf-8').lower()

    def _see_doctype(self, name: str, system: 'Optional[str]', public: 'Optional[str]', has_entities: int) -> None:
        self.has_doctype = True
        if has_entities:  # expanding them could take very long
            self._refuse_doctype()

    def _refuse_doctype(self) -> None:
        raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', self.line)

    def _start(self, tag: str, attributes: 'Dict[str, str]') -> None:
        if self.depth == 0:
            name = tag.rpartition(':')[2]
            if self.has_doctype and (name == 'domain' or name in CONTAINERS):
                self._refuse_doctype()
            self.root = self._element(tag)
            self.namespaces = {name: value for name, value in attributes.items() if name.startswith('xmlns')}
        elif self.depth == 1 and tag in _DOMAINS:
            self.inner.append(self._element(tag))
        self.depth += 1

    def _element(self, tag: str) -> _Element:
        line = self.line + self.parser.CurrentLineNumber - 1
        return _Element(tag, self.offset + self.parser.CurrentByteIndex, line)

    def _end(self, tag: str) -> None:
        self.depth -= 1
        if self.depth == 1 and tag in _DOMAINS:
            self.inner[-1].end = self.offset + self.parser.CurrentByteIndex

    @property
    def is_over(self) -> bool:
        return self.root is not None and self.depth == 0


class _Splitter:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def parts(self) -> 'Iterator[Part]':
        data = memoryview(self._data)  # slices of it are not copies
        offset, line = 0, 1
        while True:
            document = _Document(offset, line)
            end = len(data)
            try:
                for begin in range(offset, end, _PIECE):
                    document.parser.Parse(data[begin : begin + _PIECE], begin + _PIECE >= end)
            except DomainXMLError as error:
                yield error
                return
            except (pyexpat.ExpatError, UnicodeDecodeError) as error:
                if not document.is_over or getattr(error, 'code', None) not in _NEXT:
                    yield self._broken(document, error)
                    return
                end = offset + document.parser.ErrorByteIndex
            yield from self._documents(document, end)
            line += self._data.count(b'\n', offset, end)
            offset = end
            if end == len(data):
                return
            if not self._data.startswith(b'<', end):
                yield DomainXMLError('there is text between two documents', line)
                return

    def _broken(self, document: _Document, error: Exception) -> 'Part':
        """The part to report for a document that is not well-formed."""
        if document.root is None or document.root.tag == 'domain':
            rest = self._data[document.offset :]
            return Section(rest, document.line - 1)
        line = document.line + getattr(error, 'lineno', 1) - 1
        return DomainXMLError('the XML is not well-formed: %s' % error, line)

    def _documents(self, document: _Document, end: int) -> 'Iterator[Part]':
        root = document.root
        assert root is not None
        name = root.tag.rpartition(':')[2]
        if name == 'domain' and document.offset == 0:
            yield Section(self._data[:end])  # with whatever declaration it has
        elif name != 'domain' and not (name in CONTAINERS and document.inner):
            yield _other(name, root.line)
        elif document.encoding not in ('utf-8', 'us-ascii') or b'\0' in self._data:
            message = 'the domain is a part of a file in %s: put it into a file of its own'
            yield DomainXMLError(message % document.encoding, root.line)
        elif name == 'domain':
            yield Section(self._data[root.start : end], root.line - 1)
        else:
            for element in document.inner:
                yield Section(self._cut(element, document.namespaces), element.line - 1)

    def _cut(self, element: _Element, namespaces: 'Dict[str, str]') -> bytes:
        """A domain that was in another document, as <domain> and with the prefixes that were declared around it."""
        start = element.start + 1 + len(element.tag)
        if element.end == element.start:  # <domain/>
            inside = self._data[start : self._data.find(b'>', start) + 1]
            return b'<domain' + inside
        inside = self._data[start : element.end]
        tag = inside[: inside.find(b'>')]
        declared = [
            ' %s="%s"' % (name, value.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;'))
            for name, value in namespaces.items()
            if not re.search(rb'\s%s\s*=' % re.escape(name.encode()), tag)
        ]
        return b'<domain' + ''.join(declared).encode() + inside + b'</domain>'
