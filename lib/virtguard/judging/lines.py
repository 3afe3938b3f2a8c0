# SPDX-License-Identifier: Apache-2.0
"""Needs and XML bytes -> the rules that may match, without a tree being made. Pure: no I/O.

Where many documents are judged, most of their lines recur: libvirt, and whatever else writes XML for people to read,
puts a tag, or an element that has only text, on each. So what a line says is found out once: whether it is well-formed
and usual (see known_lines), and, for each place where it is met, what it meets of the rules' needs and to which place
it leads; all lines of a shape do the same, unless something is asked of what the shape lacks. A document is then judged
by looking up one line after the other. It is well-formed if its lines are, and each of them may stand where it does.

Metadata is one piece, because only there names are in a namespace. Documents with other lines are left to lxml, as are
those that mean something else than what is written, see scan.plain_part.
"""

import pyexpat
import re

from ..match.needs import ATTRIBUTE, ELEMENT
from ..policy.os_ids import has_another_meaning
from ..scan import is_well_formed, plain_part
from ..tree import LIBOSINFO_NS, MAX_DEPTH, NAMESPACE
from .known_lines import LONGEST, OtherLines, forget_if_many, is_shaped, learn, shape_of, tags, unusual, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

    from ..match.needs import Need

    # An operator, an attribute ('' for the text), what is asked of it, and the bit that says that it is so
    Test = Tuple[str, str, Any, int]

_MOST_LINES = 100000  # of a document
_MOST_KNOWN = 8000  # of the lines that are remembered
_MOST_ANSWERS = 1000
_BLANKS = b' \t\r\n'
_LIBOSINFO = LIBOSINFO_NS.encode()
_METADATA, _END_OF_METADATA = b'<metadata', b'</metadata>'
# The head of a domain that begins with name and UUID, as libvirt writes it.
_HEAD = re.compile(
    rb'\s*<domain(?: [^<>]*)?>\s*<name>([^<\r]*)</name>\s*'
    rb'<uuid>([\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})</uuid>'
)
_UNUSUAL = 1  # what the first bit says of a line


class _NewLine(Exception):
    """Nobody has looked at it yet."""


class Sieve:
    """The needs of numbered rules, ready for many documents. What a document meets of them is a set of bits."""

    def __init__(self, needs: 'Iterable[Tuple[int, Need]]') -> None:
        self._bits: 'Dict[Tuple[Any, ...], int]' = {}
        self._tests: 'Dict[str, List[Test]]' = {}  # of elements, by their key
        self._names: 'Dict[str, int]' = {}
        self._several = 0  # the bits of which it matters whether they are set twice
        # Attributes ('' for the text) that shapes lack, and of which something is asked, by the elements' keys.
        self._asked_values: 'Dict[str, Set[str]]' = {}
        self._needs = [(number, self._prepare(need)) for number, need in needs]
        self._numbers: 'Dict[Tuple[int, int], List[int]]' = {}  # what was found out, by the bits
        self._forget()

    def _forget(self) -> None:
        self.remembered = 0
        self.end = _Place(self, '', b'', None)
        self._start = _Place(self, '', b'', None)
        self._metadata: 'Dict[bytes, List[int]]' = {}
        self.alike: 'List[Tuple[_Place, bytes]]' = []  # lines that have the shape of one that was looked at

    def _prepare(self, need: 'Need') -> 'Need':
        """A need in which each test is replaced by its bit: ('met', bit), ('unmet', bit), ('several', bit)."""
        if isinstance(need, bool):
            return need
        operator, *parts = need
        if operator in ('and', 'or'):
            return (operator, *map(self._prepare, parts))
        if operator == 'name':
            return 'met', self._names.setdefault(parts[0], self._bit(need))
        asked = 'present' if operator in ('absent', 'repeated') else operator
        key, _, attribute = parts[0].partition(ATTRIBUTE)
        if not key:
            return True  # of the document itself, which is no element
        argument = parts[1] if parts[1:] else None
        is_new = (key, asked, attribute, argument) not in self._bits
        bit = self._bit((key, asked, attribute, argument))
        if is_new:
            self._tests.setdefault(key, []).append((asked, attribute, argument, bit))
            if asked not in ('present', 'missing') and is_shaped(attribute):
                self._asked_values.setdefault(key, set()).add(attribute)
        if operator == 'repeated':
            self._several |= bit
            return 'several', bit
        return ('unmet' if operator == 'absent' else 'met'), bit

    def _bit(self, test: 'Tuple[Any, ...]') -> int:
        return self._bits.setdefault(test, 2 << len(self._bits))

    def sift(self, data: bytes) -> 'Optional[Sifted]':
        """Which rules may match a document; None where only lxml can tell."""
        plain = plain_part(data)
        if plain is None:
            return None
        if self.remembered > _MOST_KNOWN:
            self._forget()
        if len(self.alike) > _MOST_KNOWN:
            for place, line in self.alike:
                del place[line]
            self.alike.clear()
        forget_if_many()
        # Each tag on a line of its own: a value or a text has no such characters together.
        body = plain.strip(_BLANKS).replace(b'><', b'>\n<')
        if len(body) > _MOST_LINES and body.count(b'\n') > _MOST_LINES:
            return None
        lines, metadata = _split(body)
        try:
            if not body.startswith(b'<') or not body.endswith(b'>') or not _is_right_comment(data, plain):
                raise OtherLines
            met, several = self._look_up(lines, metadata)
        except OtherLines:
            return None
        is_usual = not met & _UNUSUAL
        found = met & ~_UNUSUAL, several
        numbers = self._numbers.get(found)
        if numbers is None:
            if len(self._numbers) > _MOST_ANSWERS:
                self._numbers.clear()
            numbers = self._numbers[found] = [number for number, need in self._needs if _holds(need, *found)]
        return Sifted(plain, numbers, is_usual)

    def _look_up(self, lines: 'List[List[bytes]]', metadata: bytes) -> 'Tuple[int, int]':
        """The bits that a document sets, and those that it sets more than once, as far as that matters."""
        met = several = 0
        place = self._start
        for number, part in enumerate(lines):
            if number:
                if place.above is not self.end:
                    raise OtherLines
                for bits in self._bits_of_metadata(place.key, metadata):
                    several |= met & bits & self._several
                    met |= bits
            for line in part:
                try:
                    bits, place = place[line]
                except _NewLine:
                    learn(lines)
                    bits, place = place[line]
                if bits:
                    several |= met & bits & self._several
                    met |= bits
        if place is not self.end:
            raise OtherLines
        return met, several

    def _bits_of_metadata(self, above: str, metadata: bytes) -> 'List[int]':
        """What each element of it sets; see bits_of."""
        if metadata in self._metadata:
            return self._metadata[metadata]
        if not is_well_formed(metadata) or (_LIBOSINFO in metadata and has_another_meaning(metadata)):
            raise OtherLines
        parser = pyexpat.ParserCreate(None, NAMESPACE)
        keys = [above]
        found = []

        def begin(name: str, attributes: 'Dict[str, str]') -> None:
            keys.append(keys[-1] + ELEMENT + name)
            if len(keys) > MAX_DEPTH // 2:
                raise OtherLines
            bits = self.bits_of(keys[-1], name, attributes, None)
            if bits:
                found.append(bits)

        def end(name: str) -> None:
            keys.pop()

        parser.StartElementHandler, parser.EndElementHandler = begin, end
        parser.Parse(metadata, True)
        if len(metadata) <= LONGEST:
            self.remembered += 1
            self._metadata[metadata] = found
        return found

    def bits_of_name(self, name: str) -> int:
        """The bits that each element of a name sets, wherever it is."""
        return self._names.get(name, 0)

    def asks_of(self, key: str) -> bool:
        """Whether what an element sets depends on more than its name."""
        return key in self._tests

    def asks_of_values(self, key: str, attributes: 'Dict[str, str]', is_whole: bool) -> bool:
        """Whether it depends on a value that its shape lacks.

        :param is_whole: whether its text is in the same line
        """
        return any(name in attributes if name else is_whole for name in self._asked_values.get(key, ()))

    def bits_of(self, key: str, name: str, attributes: 'Dict[str, str]', text: 'Optional[str]') -> int:
        """The bits that an element sets.

        :param text: None where it is not known
        """
        bits = self._names.get(name, 0)
        for operator, attribute, argument, bit in self._tests.get(key, ()):
            value = attributes.get(attribute) if attribute else text
            if value is None and not attribute:
                bits |= bit  # it may be so
            elif _is_so(operator, value, argument):
                bits |= bit
        return bits


class Sifted:
    """A well-formed document, and the numbers of the rules that may match it. `is_usual`: see refused."""

    __slots__ = ('_plain', 'numbers', 'is_usual')

    def __init__(self, plain: bytes, numbers: 'List[int]', is_usual: bool) -> None:
        self._plain = plain
        self.numbers = numbers
        self.is_usual = is_usual

    def head(self) -> 'Optional[Tuple[str, str]]':
        """Its name and UUID; None if it is not a domain, or does not begin with them."""
        found = _HEAD.match(self._plain)
        return None if found is None else (found.group(1).decode(), found.group(2).decode())


class _Place(dict):  # type: ignore[type-arg]
    """Where a line may stand: within an element of a path. Has the bits that each line sets, and where it leads."""

    __slots__ = ('_sieve', 'key', '_name', 'above', '_elements', '_below', '_depth', '_shapes')

    def __init__(self, sieve: Sieve, key: str, name: bytes, above: 'Optional[_Place]', depth: int = 0) -> None:
        super().__init__()
        self._sieve = sieve
        self.key = key
        self._name = name
        self.above = above
        # Of elements here, by their name: the key, if what they set depends on more; what they set in any case.
        self._elements: 'Dict[bytes, Tuple[str, int]]' = {}
        self._below: 'Dict[bytes, _Place]' = {}
        self._depth = depth
        self._shapes: 'Dict[bytes, Tuple[int, _Place]]' = {}  # what all lines of a shape set, and where they lead

    def __missing__(self, line: bytes) -> 'Tuple[int, _Place]':
        if line in tags:
            found = self._read(line)
            self._sieve.remembered += 1
        else:
            alike = self._shapes.get(shape_of(line)) if len(line) <= LONGEST else None
            if alike is None:
                raise _NewLine
            found = alike
            self._sieve.alike.append((self, line))
        self[line] = found
        return found

    def _read(self, line: bytes) -> 'Tuple[int, _Place]':
        name, attributes, is_empty, text, is_whole, end = tags[line]
        sieve = self._sieve
        begins = name and not is_empty and not is_whole
        if self.above is None and (self is sieve.end or not begins):
            raise OtherLines  # a document is one element
        bits = _UNUSUAL if line in unusual else 0
        place: _Place = self
        has_shape = True  # that says the same
        if name:
            if name not in self._elements:
                key = self._key_of(name)
                self._elements[name] = key if sieve.asks_of(key) else '', sieve.bits_of_name(name.decode())
            key, always = self._elements[name]
            if key:
                values = values_of(attributes)
                known = None if begins or b'\r' in text else text.decode()
                bits |= sieve.bits_of(key, name.decode(), values, known)
                has_shape = not sieve.asks_of_values(key, values, bool(is_whole))
            bits |= always
            if begins:
                place = self._begin(name)
        elif end:
            if end != self._name or self.above is None:
                raise OtherLines
            place = self.above
        if has_shape:
            self._shapes[shape_of(line)] = bits, place
        return bits, place

    def _begin(self, name: bytes) -> '_Place':
        if name not in self._below:
            if self._depth > MAX_DEPTH // 4:
                raise OtherLines
            above = self._sieve.end if self.above is None else self
            self._below[name] = _Place(self._sieve, self._key_of(name), name, above, self._depth + 1)
        return self._below[name]

    def _key_of(self, name: bytes) -> str:
        return self.key + ELEMENT + name.decode()


def _is_so(operator: str, value: 'Optional[str]', argument: 'Any') -> bool:
    """:param value: None where the element lacks the attribute"""
    if operator == 'present':
        return value is not None
    if operator == 'missing':
        return value is None
    if operator == 'out':
        return value is None or value not in argument
    if value is None:
        return False
    if operator == 'in':
        return value in argument
    if operator == 'contains':
        return argument in value
    if operator == 'starts-with':
        return value.startswith(argument)
    return True  # of numbers


def _holds(need: 'Need', met: int, several: int) -> bool:
    if isinstance(need, bool):
        return need
    operator, *parts = need
    if operator == 'and':
        return all(_holds(part, met, several) for part in parts)
    if operator == 'or':
        return any(_holds(part, met, several) for part in parts)
    if operator == 'unmet':
        return not met & parts[0]
    return bool((several if operator == 'several' else met) & parts[0])


def _split(body: bytes) -> 'Tuple[List[List[bytes]], bytes]':
    """The lines of a document, or those before and after its metadata, and that."""
    start = body.find(_METADATA)
    end = body.find(_END_OF_METADATA, start) if start >= 0 else -1
    if end < 0:
        return [body.split(b'\n')], b''
    end += len(_END_OF_METADATA)
    return [body[:start].split(b'\n'), body[end:].split(b'\n')], body[start:end]


def _is_right_comment(data: bytes, plain: bytes) -> bool:
    """Whether what a document has before its root, if anything, is well-formed."""
    length = len(data) - len(plain)
    return length == 0 or is_well_formed(data[:length] + b'<x/>')
