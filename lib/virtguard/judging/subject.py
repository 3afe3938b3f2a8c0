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
from ..findings import WRITTEN, tag_name
from ..match.syntax import ARG_NS, QEMU_NS
from ..model import MAX_XML_BYTES
from ..policy import os_ids
from ..qemu_args import read_arguments
from ..tree import LIBOSINFO_NS
from . import local_names
from .refused import check_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

    Node = Union[etree._Element, etree._ElementUnicodeResult]

_UUID = re.compile(r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
_ARG = '{%s}arg' % QEMU_NS
_COMMANDLINE = '{%s}commandline' % QEMU_NS
_OS = '{%s}os' % LIBOSINFO_NS

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
# In these, characters of markup and of rules are what they are in UTF-8. libvirt reads what virsh hands it as UTF-8,
# whatever it declares; in UTF-7 or GBK, the same bytes may be a comment, or hide a |.
_SAME_MARKUP = re.compile(
    r'(?:utf-?8|(?:utf|ucs)-?(?:16|32|2|4)[bl]?e?|(?:us-)?ascii|iso[-_]?8859-[0-9]{1,2}|latin-?[0-9]+'
    r'|(?:windows-|cp)125[0-8]|koi8-[ru])\Z',
    re.IGNORECASE,
)
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

    :raises DomainXMLError: not well-formed, too large, with a DOCTYPE, or in an encoding that hides markup
    """
    _check_size(data)
    try:
        root = _parse(data)
    except (ValueError, LookupError) as error:
        raise DomainXMLError('the XML cannot be decoded: %s' % error) from None
    about = root.getroottree().docinfo
    if about.internalDTD is not None:
        raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)
    if not _SAME_MARKUP.match(about.encoding or 'utf-8'):
        message = 'the XML is in %s, but libvirt may read the same bytes as UTF-8: write it in UTF-8' % about.encoding
        raise DomainXMLError(message, 1)
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
    if not usual:
        check_values(root)
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
    for number, name, settings in read_arguments([arg.get('value', '') for arg in args]):
        element = etree.SubElement(args[number], '{%s}%s' % (ARG_NS, name))
        for key, value in settings.items():
            element.set(key, value)


def _read_ids(root: 'etree._Element') -> None:
    """Replace ids of operating systems by those that are meant; a child element keeps what was written."""
    for system in list(root.iter(_OS)):
        written = system.get('id')
        meant = written if written is None else os_ids.meant_id(written)
        if meant != written:
            etree.SubElement(system, WRITTEN).set('id', written)
            system.set('id', meant)
