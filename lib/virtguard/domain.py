# SPDX-License-Identifier: Apache-2.0
"""Bytes -> a parsed domain. Pure: no I/O; hardened against hostile XML.

Policies see the document as libvirt wrote it, with one addition: below each `<qemu:arg>` that completes an option
stands that option in the `arg` namespace, read as QEMU reads it (see qemu_args).
"""

import re

from lxml import etree

from . import marks, qemu_args
from .errors import DomainXMLError
from .model import MAX_XML_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

QEMU_NS = 'http://libvirt.org/schemas/domain/qemu/1.0'
LIBOSINFO_NS = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
ARG_NS = 'urn:virt-guard:qemu-argument'
# The prefixes that a policy's expressions may use. Documents may use any prefix: only the URI counts.
NAMESPACES = {'qemu': QEMU_NS, 'libosinfo': LIBOSINFO_NS, 'arg': ARG_NS}
_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}

_UUID = re.compile(r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
# JSON can write what XML cannot.
NOT_AN_XML_CHARACTER = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_NOT_A_NAME_CHARACTER = re.compile(r'[^\w.-]', re.ASCII)
_ARG = '{%s}arg' % QEMU_NS
_COMMANDLINE = '{%s}commandline' % QEMU_NS

# One for all: to make a parser takes as long as to parse some KB.
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
)


class Domain:
    """A parsed domain: `name` and `uuid` as written ('' where missing), `root` the `<domain>` element."""

    __slots__ = ('name', 'uuid', 'root')

    def __init__(self, name: str, uuid: str, root: 'etree._Element') -> None:
        self.name = name
        self.uuid = uuid
        self.root = root


def parse_domain(data: bytes, scanned: bool = False) -> Domain:
    """Parse a `<domain>` document. What either of libxml2 and expat refuses is refused.

    :param data: the XML in any encoding that it declares, at most MAX_XML_BYTES
    :param scanned: expat has read it already
    :raises DomainXMLError: not well-formed, not a domain, too large, or with a DOCTYPE
    """
    return as_domain(parse_xml(data, scanned))


def parse_xml(data: bytes, scanned: bool = True) -> 'etree._Element':
    """Parse any XML document; return its root.

    :param scanned: expat has read it already, or need not
    :raises DomainXMLError: not well-formed, too large, or with a DOCTYPE
    """
    _check_size(data)
    if not scanned and not _is_simple(data):
        marks.check_well_formed(data)
        scanned = True
    refusal: 'Optional[DomainXMLError]' = None
    try:
        root = etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        refusal = DomainXMLError('the XML is not well-formed: %s' % error.msg, (error.position or (0, 0))[0])
    except (ValueError, LookupError) as error:
        refusal = DomainXMLError('the XML cannot be decoded: %s' % error)
    if not scanned and (refusal or _PARSER.error_log):
        marks.check_well_formed(data)  # expat's words go first, as they do in the hook
    if refusal:
        raise refusal
    if root.getroottree().docinfo.internalDTD is not None:
        raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)
    return root


def _check_size(data: bytes) -> None:
    if len(data) > MAX_XML_BYTES:
        raise DomainXMLError('the XML is larger than %d MiB' % (MAX_XML_BYTES >> 20))
    if not data.strip():
        raise DomainXMLError('the XML is empty')


def as_domain(root: 'etree._Element') -> Domain:
    """The domain that a document of its own describes; its QEMU arguments are read, too.

    :raises DomainXMLError: it is not a domain
    """
    if root.tag != 'domain':
        message = 'the document is <%s>, not <domain>' % etree.QName(root).localname
        raise DomainXMLError(message, root.sourceline or 0, other_document=True)
    _add_arguments(root)
    uuid = _child_text(root, 'uuid').strip()
    return Domain(_child_text(root, 'name'), uuid if _UUID.match(uuid) else '', root)


def _child_text(root: 'etree._Element', name: str) -> str:
    child = next(root.iterchildren(name), None)
    return '' if child is None else child.text or ''


def _is_simple(data: bytes) -> bool:
    """Whether expat accepts whatever libxml2 has nothing to say against."""
    try:
        data.decode('ascii')
    except UnicodeDecodeError:
        return False
    return marks.plain_part(data) is not None


def _add_arguments(root: 'etree._Element') -> None:
    for planted in root.iter('{%s}*' % ARG_NS):
        raise DomainXMLError('the XML uses a namespace that virt-guard reserves: %s' % ARG_NS, planted.sourceline or 0)
    args = [arg for commandline in root.iterchildren(_COMMANDLINE) for arg in commandline.iterchildren(_ARG)]
    for option in qemu_args.parse_tokens([arg.get('value', '') for arg in args]):
        element = etree.SubElement(args[option.token], '{%s}%s' % (ARG_NS, _xml_name(option.name)))
        for key, value in dict(option.settings).items():
            element.set(_xml_name(key), NOT_AN_XML_CHARACTER.sub('\ufffd', value))


def _xml_name(text: str) -> str:
    name = _NOT_A_NAME_CHARACTER.sub('_', text)
    return name if name[:1].isalpha() else '_' + name


class Paths:
    """Names elements as a person would: /domain/devices/disk[2]/source. Made for one document, which stays as it is."""

    def __init__(self) -> None:
        # Numbering all at once those that share a parent and a tag takes no more time for all of them than for one.
        self._numbers: 'Dict[Tuple[etree._Element, str], Dict[etree._Element, int]]' = {}

    def path(self, element: 'etree._Element') -> str:
        """The path of an element; of an `arg` element, that of the `<qemu:arg>` it was read from."""
        node = written(element)
        steps = []
        parent = node.getparent()
        while parent is not None:
            numbers = self._numbers.get((parent, node.tag))
            if numbers is None:
                numbers = {child: number for number, child in enumerate(parent.iterchildren(node.tag), 1)}
                self._numbers[parent, node.tag] = numbers
            tag = tag_name(node)
            steps.append(tag if len(numbers) == 1 else '%s[%d]' % (tag, numbers[node]))
            node, parent = parent, parent.getparent()
        steps.append(tag_name(node))
        return '/' + '/'.join(reversed(steps))


def written(element: 'etree._Element') -> 'etree._Element':
    """The element of the document itself: an `arg` element stands for the `<qemu:arg>` above it."""
    parent = element.getparent()
    return parent if parent is not None and is_reading(element) else element


def is_reading(element: 'etree._Element') -> bool:
    """Whether an element is not the document's own but the guard's reading of a QEMU argument."""
    return str(element.tag).startswith('{%s}' % ARG_NS)


def tag_name(element: 'etree._Element') -> str:
    """An element's name, with the prefix that policies use."""
    uri, _, name = str(element.tag).rpartition('}')
    prefix = _PREFIXES.get(uri[1:])
    return '%s:%s' % (prefix, name) if prefix else name
