# SPDX-License-Identifier: Apache-2.0
"""XML bytes -> what expat says of them without making a tree; where many documents are judged. Pure: no I/O."""

import pyexpat

from .errors import DomainXMLError
from .tree import MAX_BYTES, NAMESPACE, has_small_namespaces, may_have_long_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, NoReturn, Optional


class _Uncertain(Exception):
    pass


def is_well_formed(data: bytes) -> bool:
    """Whether expat can read a document, of any depth. False if only lxml can tell: expat refuses some names that
    libxml2 accepts, and errors of namespaces break no document for libvirt.

    :param data: known to be UTF-8: older expats (before 2.4.5) do not look that close
    :raises DomainXMLError: it has a DOCTYPE
    """
    return _parse(data, pyexpat.ParserCreate(None, NAMESPACE))


def is_well_formed_but_for_namespaces(data: bytes) -> bool:
    """The same, but errors of namespaces do not count, and the size and an encoding that expat knows do not matter.

    :raises DomainXMLError: it has a DOCTYPE
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
    if not has_small_namespaces(data) or may_have_long_name(data):
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
