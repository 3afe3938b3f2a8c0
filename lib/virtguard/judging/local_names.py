# SPDX-License-Identifier: Apache-2.0
"""Names in namespaces -> names as libvirt reads them. Pure: no I/O.

libvirt itself writes namespaces only in metadata and in extensions such as <qemu:commandline>. Other files may have
them anywhere. libvirt looks for attributes by their local names: `<driver z:type='virtiofs'/>` is of that type. If two
attributes have the same local name, its version decides which of them counts. It looks for the root by its local name;
for the children of the root, and for devices, by XPath, which respects namespaces; for what is in devices, and for
features, by XPath in some versions and by local names in others. Whatever some version may read is read here.
"""

from lxml import etree

from ..errors import DomainXMLError
from ..tree import EXTENSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BY_LOCAL_NAME: 'Any' = etree.XPath(
    'features/*[namespace-uri()] | devices/*[not(namespace-uri())]/descendant::*[namespace-uri()]'
)
_WITH_ATTRIBUTES: 'Any' = etree.XPath(
    'self::*[@*[namespace-uri()]]'
    ' | *[not(self::metadata)][not(namespace-uri()) or starts-with(namespace-uri(), "%s")]'
    '/descendant-or-self::*[@*[namespace-uri()]]' % EXTENSION
)


def make_local(root: 'etree._Element') -> None:
    """Take names of a domain's document out of their namespaces, as far as libvirt ignores these.

    :raises DomainXMLError: an element has an attribute twice, with different values
    """
    namespace = root.tag.rpartition('}')[0]
    if namespace:  # in some documents, everything is in it
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
        return  # it has a colon, and libvirt never looks for such a name


def _move_attribute(element: 'etree._Element', name: str, value: str) -> None:
    local = name.rpartition('}')[2]
    if element.get(local, value) != value:
        message = 'the element <%s> has more than one attribute %r, with and without a prefix: leave one of them' % (
            element.tag.rpartition('}')[2],
            local,
        )
        raise DomainXMLError(message, element.sourceline or 0)
    # lxml fails with names that have a colon, which libvirt never looks for, and with URIs that have a brace.
    try:
        element.set(local, value)
        del element.attrib[name]
    except (ValueError, KeyError):
        return
