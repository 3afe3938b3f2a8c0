# SPDX-License-Identifier: Apache-2.0
"""Names in namespaces -> names as libvirt reads them. Pure: no I/O.

What libvirt writes itself has no namespace but in metadata and in extensions such as <qemu:commandline>. Files may have
others anywhere. libvirt asks for attributes by their local names: `<driver z:type='virtiofs'/>` is of that type. Where
there are two of one local name, which of them counts depends on the version. It asks for the root by its local name;
for what stands in it, and for devices, by XPath, which knows the difference; for what stands in devices, and for
features, in some versions so, in others by local names. What it may read is read here.
"""

import re

from lxml import etree

from ..errors import DomainXMLError
from ..scan import EXTENSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Compiled by the module re when they are first needed, for the hook never asks for them.
# A domain up to its metadata, as libvirt writes it.
_UP_TO_METADATA = (
    rb'\s*<domain(?:\s[^<>]*)?>\s*'
    rb'(?:<(name|uuid|genid|title|description)(?:\s[^<>]*)?>[^<]*</\1\s*>\s*)*'
    rb'<metadata(?:\s[^<>]*)?(?<!/)>'
)
_EXTENSION = rb'xmlns:([\w.-]+)=["\']%s[^"\'<>]*["\']' % re.escape(EXTENSION.encode())
_TO_THE_END = rb'<([\w.-]+:)[^<]*(?:</?\1[^<]*)*</domain\s*>\s*\Z'
_BY_LOCAL_NAME: 'Any' = etree.XPath(
    'features/*[namespace-uri()] | devices/*[not(namespace-uri())]/descendant::*[namespace-uri()]'
)
_WITH_ATTRIBUTES: 'Any' = etree.XPath(
    'self::*[@*[namespace-uri()]]'
    ' | *[not(self::metadata)][not(namespace-uri()) or starts-with(namespace-uri(), "%s")]'
    '/descendant-or-self::*[@*[namespace-uri()]]' % EXTENSION
)


def are_local(plain: bytes) -> bool:
    """Whether the bytes show that outside of metadata no name is in a namespace: nearly all documents do.

    :param plain: see scan.plain_part; if it is not well-formed, the answer means nothing
    """
    if b'xmlns' not in plain and b'xml:' not in plain:
        return True
    found = re.match(_UP_TO_METADATA, plain)
    if found is not None:
        # If this is the end of something of the same name within, so much the better: a declaration holds no further.
        end = plain.find(b'</metadata', found.end())
        if plain.find(b'xmlns', end) < 0 and plain.find(b'xml:', end) < 0 and b'xml' not in found.group():
            return True
        plain = found.group() + plain[end:]
    return b'xml:' not in plain and (b'xmlns' not in plain or _has_only_extensions(plain))


def _has_only_extensions(outside: bytes) -> bool:
    """Whether what is in a namespace are libvirt's own elements, and stands where it writes them: at the end."""
    prefixes = re.findall(_EXTENSION, outside)
    if len(prefixes) != outside.count(b'xmlns') or len(set(prefixes)) != 1:
        return False
    prefix = prefixes[0] + b':'
    first = outside.find(b'<' + prefix)
    if outside.count(prefix) != outside.count(b'<' + prefix) + outside.count(b'</' + prefix):  # in an attribute's name
        return False
    return first < 0 or re.compile(_TO_THE_END).match(outside, first) is not None


def make_local(root: 'etree._Element') -> None:
    """Take names of a domain's document out of their namespaces, as far as libvirt disregards these.

    :raises DomainXMLError: the document says two things in one place
    """
    namespace = root.tag.rpartition('}')[0]
    if namespace:  # for some, that of all of it
        for element in [root, *root.iterchildren(namespace + '}*')]:
            _rename(element)
            if element is not root and element.tag != 'metadata':
                for inner in list(element.iter(namespace + '}*')):
                    _rename(inner)
    for element in _BY_LOCAL_NAME(root):
        _rename(element)
    for element in _WITH_ATTRIBUTES(root):
        for name, value in element.items():
            if name.startswith('{'):
                _move_attribute(element, name, value)


def _rename(element: 'etree._Element') -> None:
    try:
        element.tag = element.tag.rpartition('}')[2]
    except ValueError:
        return  # with a colon: libvirt asks for no such name


def _move_attribute(element: 'etree._Element', name: str, value: str) -> None:
    local = name.rpartition('}')[2]
    if element.get(local, value) != value:
        message = 'the element <%s> has more than one attribute %r, with and without a prefix: leave one of them' % (
            element.tag.rpartition('}')[2],
            local,
        )
        raise DomainXMLError(message, element.sourceline or 0)
    # Of names with a colon, which libvirt never asks for, and of URIs with a brace, lxml cannot do all of it.
    try:
        element.set(local, value)
        del element.attrib[name]
    except (ValueError, KeyError):
        return
