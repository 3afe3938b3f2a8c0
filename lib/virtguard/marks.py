# SPDX-License-Identifier: Apache-2.0
"""XML bytes -> the marks they have; needs and marks -> whether a rule may match. Pure: no I/O.

Every start pays for this, so it uses expat, which is in the interpreter, and no more. See needs for how a rule's need
is derived; a need is data, made to be marshalled:

    True, False                       may match any domain, no domain
    ('and', need...), ('or', need...)
    ('present', key)                  an element or attribute is there
    ('absent', key)                   none is
    ('missing', key)                  an element lacks the attribute
    ('in', key, texts)                one has a value of these
    ('out', key, texts)               one has another value than these, or lacks the attribute
    ('contains', key, text), ('starts-with', key, text)
    ('name', name)                    an element of that name is anywhere

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

# Beyond these, expat and libxml2 might not agree on what a document says, so that lxml must be asked.
_MAX_DEPTH = 200
_MAX_BYTES = 4 * 1024 * 1024


class Index:
    """What to look for: `wanted` has, for the key of an element, its attributes (name, key) and whether its text is
    asked for; `names` are looked for anywhere."""

    __slots__ = ('wanted', 'names')

    def __init__(self, wanted: 'Wanted', names: 'FrozenSet[str]') -> None:
        self.wanted = wanted
        self.names = names


NOTHING = Index({}, frozenset())


class Marks:
    """What a document has of what an index wants: for each key the values found (None: attribute lacking), the names
    found, the name of the root."""

    __slots__ = ('values', 'names', 'root')

    def __init__(self, values: 'Dict[str, Set[Optional[str]]]', names: 'Set[str]', root: str) -> None:
        self.values = values
        self.names = names
        self.root = root

    def text(self, key: str) -> str:
        return next((value for value in self.values.get(key, ()) if value is not None), '')


class _Uncertain(Exception):
    pass


def find_marks(data: bytes, index: Index) -> 'Optional[Marks]':
    """Find the marks of a document; None where only lxml can tell what it says.

    :raises DomainXMLError: it is not well-formed, or has a DOCTYPE
    """
    if len(data) > _MAX_BYTES or not data.startswith(b'<'):
        return None
    scanner = _Scanner(index)
    try:
        scanner.parser.Parse(data, True)
    except pyexpat.ExpatError as error:
        raise DomainXMLError('the XML is not well-formed: %s' % error, error.lineno) from None
    except _Uncertain:
        return None
    return Marks(scanner.values, scanner.names, scanner.root)


class _Scanner:
    def __init__(self, index: Index) -> None:
        self.values: 'Dict[str, Set[Optional[str]]]' = {}
        self.names: 'Set[str]' = set()
        self._index = index
        self.root = ''
        self._path = ['']
        self._texts: 'List[Tuple[str, List[str]]]' = []
        self.parser = parser = pyexpat.ParserCreate(None, NAMESPACE)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        parser.XmlDeclHandler = self._declaration

    def _start(self, name: str, attributes: 'Dict[str, str]') -> None:
        if len(self._path) > _MAX_DEPTH:
            raise _Uncertain
        path = self._path[-1] + ELEMENT + name
        self._path.append(path)
        if len(self._path) == 2:
            self.root = name
        if name in self._index.names:
            self.names.add(name)
        wanted = self._index.wanted.get(path)
        if wanted is None:
            return
        values = self.values
        values.setdefault(path, set())
        for attribute, key in wanted[0]:
            values.setdefault(key, set()).add(attributes.get(attribute))
        if wanted[1]:
            self._texts.append((path, []))
            self.parser.CharacterDataHandler = self._text

    def _end(self, name: str) -> None:
        path = self._path.pop()
        if self._texts and self._texts[-1][0] == path:
            self.values[path].add(''.join(self._texts.pop()[1]))
            if not self._texts:
                self.parser.CharacterDataHandler = None

    def _text(self, data: str) -> None:
        # XPath's string value of an element has the text of everything below it.
        for _, chunks in self._texts:
            chunks.append(data)

    def _doctype(self, *arguments: object) -> 'NoReturn':
        raise DomainXMLError('the XML has a DOCTYPE, which no libvirt document has', 1)

    def _declaration(self, version: str, encoding: 'Optional[str]', standalone: int) -> None:
        if version != '1.0' or (encoding or 'utf-8').lower() != 'utf-8':
            raise _Uncertain


def holds(need: 'Need', marks: Marks) -> bool:
    """Whether a rule with this need may match a document with these marks."""
    if need is True or need is False:
        return bool(need)
    operator = need[0]
    if operator == 'and':
        return all(holds(part, marks) for part in need[1:])
    if operator == 'or':
        return any(holds(part, marks) for part in need[1:])
    if operator == 'name':
        return need[1] in marks.names
    return bool(_TESTS[operator](marks.values.get(need[1]), need[2] if len(need) > 2 else None))


def _is_present(values: 'Optional[Set[Optional[str]]]') -> bool:
    # An element without wanted text has no value; an attribute that is lacking everywhere has only None.
    return values is not None and values != {None}


_TESTS: 'Dict[str, Any]' = {
    'present': lambda values, _: _is_present(values),
    'absent': lambda values, _: not _is_present(values),
    'missing': lambda values, _: values is not None and None in values,
    'in': lambda values, wanted: bool(values) and not values.isdisjoint(wanted),
    'out': lambda values, wanted: values is not None and not values.issubset(wanted),
    'contains': lambda values, text: any(text in value for value in values or () if value is not None),
    'starts-with': lambda values, text: any(value.startswith(text) for value in values or () if value is not None),
}
