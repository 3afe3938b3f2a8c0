# SPDX-License-Identifier: Apache-2.0
"""Bytes -> a Subject, the document that is judged. Pure: no I/O; hardened against hostile XML.

Policies see the document as libvirt wrote it, or as it would read it (see local_names), with one addition: below each
`<qemu:arg>` that completes an option stands that option in the `arg` namespace, read as QEMU reads it (see qemu_args).
And the id of an operating system is the one that is meant (see policy/os_ids).

A document is well-formed if libvirt accepts it. libvirt asks libxml2, but does not refuse a document because of
complaints about namespaces, IDs and validity. Metadata may cause them, because libvirt copies it as it is.
"""

import re

from lxml import etree

from .. import scan
from ..digest import sha256_hex
from ..errors import DomainXMLError
from ..match.syntax import ARG_NS, NAMESPACES, QEMU_NS
from ..model import MAX_XML_BYTES
from ..policy import os_ids
from ..scan import LIBOSINFO_NS
from . import local_names, qemu_args
from .refused import check_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple, Union

    Node = Union[etree._Element, etree._ElementUnicodeResult]

_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}

_UUID = re.compile(r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
# JSON can write what XML cannot.
NOT_AN_XML_CHARACTER = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_NOT_A_NAME_CHARACTER = re.compile(r'[^\w.-]', re.ASCII)
_ARG = '{%s}arg' % QEMU_NS
_COMMANDLINE = '{%s}commandline' % QEMU_NS
_OS = '{%s}os' % LIBOSINFO_NS
_WRITTEN = '{%s}written' % ARG_NS

# Elements that the document itself has in the namespace of readings are moved into this one.
_NOT_A_READING = '{urn:virt-guard:not-a-reading}'

_OPTIONS = {
    'resolve_entities': False,
    'no_network': True,
    'load_dtd': False,
    'remove_pis': True,
}
# Made once: making a parser takes as long as parsing some KB. The first one stops at an error that breaks a document;
# the second one goes on after it, so it must never be used alone.
_PARSER = etree.XMLParser(remove_comments=True, **_OPTIONS)
_TOLERANT_PARSER = etree.XMLParser(remove_comments=True, recover=True, **_OPTIONS)
# libxml2 2.11 does not log what it finds after so many complaints.
_LOGGED_COMPLAINTS = 100


class Subject:
    """What is judged: a parsed domain, or a transition. `name` and `uuid` are as written ('' where missing)."""

    __slots__ = ('name', 'uuid', 'root')

    def __init__(self, name: str, uuid: str, root: 'etree._Element') -> None:
        self.name = name
        self.uuid = uuid
        self.root = root


def parse_domain(data: bytes, local: bool = False, usual: bool = False) -> Subject:
    """Parse a `<domain>` document.

    :param data: the XML in any encoding that it declares, at most MAX_XML_BYTES
    :param local: its bytes have shown that outside of metadata no name is in a namespace, see local_names
    :param usual: they have shown that no value is unusual, see refused
    :raises DomainXMLError: not well-formed, not a domain, too large, with a DOCTYPE, or versions of libvirt
        read it in different ways
    """
    return as_domain(parse_xml(data), local, usual)


def parse_xml(data: bytes) -> 'etree._Element':
    """Parse any XML document; return its root. Nothing in it can pose as the guard's own reading of arguments.

    :raises DomainXMLError: not well-formed, too large, or with a DOCTYPE
    """
    _check_size(data)
    try:
        root = _parse(data)
    except (ValueError, LookupError) as error:
        raise DomainXMLError('the XML cannot be decoded: %s' % error) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)
    for planted in list(root.iter('{%s}*' % ARG_NS)):
        try:
            planted.tag = _NOT_A_READING + tag_name(planted).rpartition(':')[2]
        except ValueError:  # libxml2 accepts names that lxml cannot make
            planted.tag = _NOT_A_READING + 'element'
    return root


def _parse(data: bytes) -> 'etree._Element':
    root = _try(data, _PARSER)
    complaints = _refuse_broken(_PARSER)
    if root is not None and not complaints:
        return root
    # libxml2 complains, but not about anything that breaks the document.
    root = _try(data, _TOLERANT_PARSER)
    complaints = _refuse_broken(_TOLERANT_PARSER)
    # After a complaint, libxml2 2.11 and newer do not report that a document is cut off, or goes on after its end; and
    # after many complaints they report nothing. So another parser must read all of it.
    if root is None or not scan.is_well_formed_but_for_namespaces(data):
        if root is None or not _has_end(data):
            message = 'the XML is not well-formed: it is cut off, or goes on after its end'
            raise DomainXMLError(message, data.count(b'\n') + 1)
        if complaints >= _LOGGED_COMPLAINTS:
            message = (
                'the XML has so many errors of namespaces that no other can be told from them: declare the prefixes'
            )
            raise DomainXMLError(message, _TOLERANT_PARSER.error_log[0].line)
    return root


def _try(data: bytes, parser: etree.XMLParser) -> 'Optional[etree._Element]':
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return None


def _has_end(data: bytes) -> bool:
    """Whether libxml2 reads a document to its end: finds a comment that is added there."""
    if b'\0' in data:
        raise DomainXMLError('the XML has errors of namespaces, and is in UTF-16: declare the prefixes, or use UTF-8')
    mark = sha256_hex(data)  # the document itself cannot contain it
    root = _try(data + b'<!--%s-->' % mark.encode(), etree.XMLParser(recover=True, **_OPTIONS))
    return root is not None and [node.text for node in root.itersiblings()][-1:] == [mark]


def _refuse_broken(parser: etree.XMLParser) -> int:
    """The number of complaints about the last document, if none of them breaks it.

    :raises DomainXMLError: one of them does
    """
    log = parser.error_log
    if not log:
        return 0
    for entry in log.filter_from_fatals():
        raise DomainXMLError('the XML is not well-formed: %s' % ' '.join(entry.message.split()), entry.line)
    return len(log.filter_from_errors())


def _check_size(data: bytes) -> None:
    if len(data) > MAX_XML_BYTES:
        raise DomainXMLError('the XML is larger than %d MiB' % (MAX_XML_BYTES >> 20))
    if not data.strip():
        raise DomainXMLError('the XML is empty')


def as_domain(root: 'etree._Element', local: bool = False, usual: bool = False) -> Subject:
    """The domain that a document describes; its QEMU arguments are read, too.

    :param local: no name outside of metadata is in a namespace, or it is one of libvirt's own elements
    :param usual: see parse_domain
    :raises DomainXMLError: it is not a domain, or versions of libvirt read it in different ways
    """
    name = str(root.tag).rpartition('}')[2]
    if name != 'domain':
        raise DomainXMLError('the document is <%s>, not <domain>' % name, root.sourceline or 0, other_document=True)
    # If there is one without a namespace, libvirt takes that one.
    name, uuid = _child_text(root, 'name'), _child_text(root, 'uuid')
    if not local:
        local_names.make_local(root)
        name, uuid = name or _child_text(root, 'name'), uuid or _child_text(root, 'uuid')
    check_values(root, usual)
    _add_arguments(root)
    _read_ids(root)
    uuid = uuid.strip()
    return Subject(name, uuid if _UUID.match(uuid) else '', root)


def _child_text(root: 'etree._Element', name: str) -> str:
    child = next(root.iterchildren(name), None)
    if child is None:
        return ''
    return ''.join(child.itertext()) if len(child) else child.text or ''


def _add_arguments(root: 'etree._Element') -> None:
    args = [arg for commandline in root.iterchildren(_COMMANDLINE) for arg in commandline.iterchildren(_ARG)]
    for option in qemu_args.parse_tokens([arg.get('value', '') for arg in args]):
        for settings in option.readings():
            element = etree.SubElement(args[option.token], '{%s}%s' % (ARG_NS, _xml_name(option.name)))
            for key, value in settings.items():
                element.set(_xml_name(key), NOT_AN_XML_CHARACTER.sub('\ufffd', value))


def _read_ids(root: 'etree._Element') -> None:
    """Replace ids of operating systems by those that are meant; a child element keeps what was written."""
    for system in list(root.iter(_OS)):
        written = system.get('id')
        meant = written if written is None else os_ids.meant_id(written)
        if meant != written:
            etree.SubElement(system, _WRITTEN).set('id', written)
            system.set('id', meant)


def written_value(element: 'etree._Element', name: str) -> str:
    """The value of an attribute (which must be there) in the document itself."""
    reading = element.find(_WRITTEN) if element.tag == _OS else None
    value: 'Optional[str]' = None if reading is None else reading.get(name)
    return str(element.get(name)) if value is None else value


def _xml_name(text: str) -> str:
    name = _NOT_A_NAME_CHARACTER.sub('_', text)
    return name if name[:1].isalpha() else '_' + name


class Paths:
    """Names elements as a person would: /domain/devices/disk[2]/source. For one document, which must not change."""

    def __init__(self) -> None:
        # Numbering all children of one parent and tag takes no longer than numbering one of them.
        self._numbers: 'Dict[Tuple[etree._Element, str], Dict[etree._Element, int]]' = {}

    def path(self, element: 'etree._Element') -> str:
        """The path of an element; of an `arg` element, that of the `<qemu:arg>` it was read from."""
        node = written(element)
        steps = []
        parent = node.getparent()
        while parent is not None:
            numbers = self._numbers.get((parent, node.tag))
            if numbers is None:
                numbers = self._numbers[parent, node.tag] = _number(node, parent)
            tag = tag_name(node)
            steps.append(tag if len(numbers) == 1 else '%s[%d]' % (tag, numbers[node]))
            node, parent = parent, parent.getparent()
        steps.append(tag_name(node))
        return '/' + '/'.join(reversed(steps))


def _number(element: 'etree._Element', parent: 'etree._Element') -> 'Dict[etree._Element, int]':
    """The children of a parent that have the element's tag."""
    numbers = {child: number for number, child in enumerate(parent.iterchildren(element.tag), 1)}
    if element not in numbers:  # lxml does not find an improper name, such as p:x with an unknown prefix
        same = [child for child in parent if child.tag == element.tag]
        numbers = {child: number for number, child in enumerate(same, 1)}
    return numbers


def written(element: 'etree._Element') -> 'etree._Element':
    """The element of the document itself: an `arg` element stands for the `<qemu:arg>` above it."""
    parent = element.getparent()
    return parent if parent is not None and is_reading(element) else element


def element_of(node: 'Node') -> 'etree._Element':
    """The element of the document that a matched node is, belongs to, or was read from."""
    return written(node if isinstance(node, etree._Element) else node.getparent())


def is_reading(element: 'etree._Element') -> bool:
    """Whether an element is not the document's own but the guard's reading of a QEMU argument."""
    return str(element.tag).startswith('{%s}' % ARG_NS)


def tag_name(element: 'etree._Element') -> str:
    """An element's name, with the prefix that policies use."""
    uri, _, name = str(element.tag).rpartition('}')
    prefix = _PREFIXES.get(uri[1:])
    return '%s:%s' % (prefix, name) if prefix else name


def local_name(name: object) -> str:
    """The name of an element or an attribute without its namespace."""
    return str(name).rpartition('}')[2]
