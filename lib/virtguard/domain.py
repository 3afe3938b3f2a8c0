# SPDX-License-Identifier: Apache-2.0
"""Bytes -> a parsed domain. Pure: no I/O; hardened against hostile XML.

Policies see the document as libvirt wrote it, with one addition: below each `<qemu:arg>` that completes an option
stands that option in the `arg` namespace, read as QEMU reads it (see qemu_args).
"""

import re
from collections import Counter

from lxml import etree

from . import marks, qemu_args
from .errors import DomainXMLError
from .model import MAX_XML_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

QEMU_NS = 'http://libvirt.org/schemas/domain/qemu/1.0'
LIBOSINFO_NS = 'http://libosinfo.org/xmlns/libvirt/domain/1.0'
ARG_NS = 'urn:virt-guard:qemu-argument'
# The prefixes that a policy's expressions may use. Documents may use any prefix: only the URI counts.
NAMESPACES = {'qemu': QEMU_NS, 'libosinfo': LIBOSINFO_NS, 'arg': ARG_NS}
_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}

_UUID = re.compile(r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
# JSON can write what XML cannot.
_NOT_AN_XML_CHARACTER = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_NOT_A_NAME_CHARACTER = re.compile(r'[^\w.-]', re.ASCII)
_ARG = '{%s}arg' % QEMU_NS
_COMMANDLINE = '{%s}commandline' % QEMU_NS


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
    _check_size(data)
    if not scanned:
        marks.find_marks(data, marks.NOTHING)
    return as_domain(parse_xml(data))


def parse_xml(data: bytes) -> 'etree._Element':
    """Parse any XML document; return its root.

    :raises DomainXMLError: not well-formed, too large, or with a DOCTYPE
    """
    _check_size(data)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise DomainXMLError('the XML is not well-formed: %s' % error.msg, (error.position or (0, 0))[0]) from None
    except (ValueError, LookupError) as error:
        raise DomainXMLError('the XML cannot be decoded: %s' % error) from None
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
    uuid = (root.findtext('uuid') or '').strip()
    return Domain(root.findtext('name') or '', uuid if _UUID.match(uuid) else '', root)


def _add_arguments(root: 'etree._Element') -> None:
    for planted in root.iter('{%s}*' % ARG_NS):
        raise DomainXMLError('the XML uses a namespace that virt-guard reserves: %s' % ARG_NS, planted.sourceline or 0)
    args = [arg for commandline in root.iterchildren(_COMMANDLINE) for arg in commandline.iterchildren(_ARG)]
    for option in qemu_args.parse_tokens([arg.get('value', '') for arg in args]):
        element = etree.SubElement(args[option.token], '{%s}%s' % (ARG_NS, _xml_name(option.name)))
        for key, value in dict(option.settings).items():
            element.set(_xml_name(key), _NOT_AN_XML_CHARACTER.sub('\ufffd', value))


def _xml_name(text: str) -> str:
    name = _NOT_A_NAME_CHARACTER.sub('_', text)
    return name if name[:1].isalpha() else '_' + name


class Paths:
    """Names elements as a person would: /domain/devices/disk[2]/source. Made for one document, which stays as it is."""

    def __init__(self) -> None:
        self._steps: 'Dict[etree._Element, Dict[etree._Element, str]]' = {}

    def path(self, element: 'etree._Element') -> str:
        """The path of an element; of an `arg` element, that of the `<qemu:arg>` it was read from."""
        node = written(element)
        steps = []
        parent = node.getparent()
        while parent is not None:
            if parent not in self._steps:
                self._steps[parent] = _child_steps(parent)
            steps.append(self._steps[parent][node])
            node, parent = parent, parent.getparent()
        steps.append(_tag(node))
        return '/' + '/'.join(reversed(steps))


def written(element: 'etree._Element') -> 'etree._Element':
    """The element of the document itself: an `arg` element stands for the `<qemu:arg>` above it."""
    parent = element.getparent()
    return parent if parent is not None and is_reading(element) else element


def is_reading(element: 'etree._Element') -> bool:
    """Whether an element is not the document's own but the guard's reading of a QEMU argument."""
    return str(element.tag).startswith('{%s}' % ARG_NS)


def _child_steps(parent: 'etree._Element') -> 'Dict[etree._Element, str]':
    children = list(parent)
    total = Counter(child.tag for child in children)
    seen: 'Counter[object]' = Counter()
    steps = {}
    for child in children:
        seen[child.tag] += 1
        steps[child] = _tag(child) if total[child.tag] == 1 else '%s[%d]' % (_tag(child), seen[child.tag])
    return steps


def _tag(element: 'etree._Element') -> str:
    name = etree.QName(element)
    prefix = _PREFIXES.get(name.namespace or '')
    return '%s:%s' % (prefix, name.localname) if prefix else name.localname
