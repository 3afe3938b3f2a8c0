# SPDX-License-Identifier: Apache-2.0
"""Needs and XML bytes -> the rules that may match, as far as the words in the bytes tell. Pure: no I/O.

Where many documents are judged, most rules can be ruled out before anything is parsed: `disk[@type = 'nvme']` takes a
word `disk`, and `type='nvme'` or `type="nvme"` or some rarer spelling. A need becomes clauses, all of which are true
of a document in which it holds. A clause is (words, pieces): one of the words is there, or one of the pieces is
somewhere, within a word or not. What is left is looked for once more, where the path says: within the parents' tags.

This is sound where bytes mean what they say, see marks.plain_part, and where the document is well-formed, which is
not found out here.
"""

import re

from .marks import ATTRIBUTE, ELEMENT, NAMESPACE, plain_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Tuple

    from .marks import Need

    Clause = Tuple[FrozenSet[bytes], FrozenSet[bytes]]
    Clauses = List[Clause]
    Insides = Dict[bytes, Optional[Tuple[FrozenSet[bytes], bytes]]]

_MOST_CLAUSES = 4  # more hardly ever rule out what these do not
# Of a domain whose name and UUID come first, as libvirt writes it.
_HEAD = re.compile(
    rb'<domain(?: [^<>]*)?>\s*<name>([^<\r]*)</name>\s*<uuid>([\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})</uuid>'
)
_TAG = re.compile(rb'<([^\s/>]+)(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|\'[^\']*\'))*\s*(/?)>')
_NONE: 'FrozenSet[bytes]' = frozenset()
# What ends a word, and may stand for a blank within a value.
_BLANKS = b'\t\n\r>'
_TO_BLANKS = bytes.maketrans(_BLANKS, b' ' * len(_BLANKS))


class _Layer:
    """One clause of each rule. Sets of rules are numbers, in which each rule has a bit.

    `without` has the rules that have no such clause; `words` and `pieces` have for each those that ask for it.
    """

    __slots__ = ('without', 'words', 'pieces')

    def __init__(self) -> None:
        self.without = 0
        self.words: 'Dict[bytes, int]' = {}
        self.pieces: 'Dict[bytes, int]' = {}


class Sieve:
    """The needs of numbered rules, ready for many documents."""

    __slots__ = ('_rules', '_layers', '_words', '_located')

    def __init__(self, needs: 'Iterable[Tuple[int, Need]]') -> None:
        self._rules = 0
        self._located: 'Dict[int, Any]' = {}
        self._layers = [_Layer() for _ in range(_MOST_CLAUSES)]
        for number, need in needs:
            if need is False:
                continue
            self._rules |= 1 << number
            self._located[number] = _locate(need)
            self._add(1 << number, _derive_clauses(need))
        self._words = frozenset(word for layer in self._layers for word in layer.words)

    def _add(self, rule: int, clauses: 'Clauses') -> None:
        for layer in self._layers[len(clauses) :]:
            layer.without |= rule
        for layer, clause in zip(self._layers, clauses):
            for having, asked in zip((layer.words, layer.pieces), clause):
                for text in asked:
                    having[text] = having.get(text, 0) | rule

    def sift(self, data: bytes) -> 'Optional[List[int]]':
        """The numbers of the rules that may match; None where the words cannot be relied on."""
        plain = plain_part(data)
        if plain is None:
            return None
        words = self._words.intersection(_split(plain))
        left = self._rules
        for layer in self._layers:
            met = layer.without
            for word in words:
                met |= layer.words.get(word, 0)
            for piece, rules in layer.pieces.items():
                if left & ~met & rules and piece in plain:
                    met |= rules
            left &= met
            if not left:
                return []
        insides: 'Insides' = {}
        numbers = []
        while left:
            number = left.bit_length() - 1
            left ^= 1 << number
            if _is_located(self._located[number], plain, insides):
                numbers.append(number)
        return numbers[::-1]


def _split(plain: bytes) -> 'List[bytes]':
    return plain.replace(b'<', b' ').replace(b'>', b' ').split()


def read_head(data: bytes) -> 'Optional[Tuple[str, str]]':
    """The name and the UUID of a well-formed document; None where it is no domain, or does not begin with them."""
    found = _HEAD.match((plain_part(data) or b'').lstrip())
    if found is None or b'xmlns=' in found.group() or b'xmlns ' in found.group():
        return None
    return found.group(1).decode(), found.group(2).decode()


def _derive_clauses(need: 'Need') -> 'Clauses':
    """Clauses, those first that tell most; none where words cannot tell."""
    if need is True or need[0] == 'absent':
        return []
    if need[0] == 'and':
        return _most_telling(clause for part in need[1:] for clause in _derive_clauses(part))
    if need[0] == 'or':
        parts = [_derive_clauses(part) for part in need[1:]]
        return [_either(clauses) for clauses in _transpose(parts)] if all(parts) else []
    if need[0] == 'name':
        return [_element_clause(need[1])]
    return _most_telling(_test_clauses(*need))


def _most_telling(clauses: 'Iterable[Clause]') -> 'Clauses':
    distinct: 'Clauses' = []
    for clause in clauses:
        if clause not in distinct:
            distinct.append(clause)
    # To look for a piece takes time, and of words those that a document can hardly lack tell nothing.
    return sorted(distinct, key=lambda c: (bool(c[1]), not any(b'=' in word for word in c[0])))[:_MOST_CLAUSES]


def _transpose(parts: 'List[Clauses]') -> 'Iterable[Clauses]':
    """The first clauses of all parts, then the second ones, and so on; of a part that has fewer, the last."""
    for place in range(max(map(len, parts))):
        yield [part[min(place, len(part) - 1)] for part in parts]


def _either(clauses: 'Clauses') -> 'Clause':
    return _NONE.union(*(clause[0] for clause in clauses)), _NONE.union(*(clause[1] for clause in clauses))


def _test_clauses(operator: str, key: str, argument: 'Any' = None) -> 'Iterable[Clause]':
    path, _, attribute = key.partition(ATTRIBUTE)
    if attribute and operator in ('present', 'in', 'contains', 'starts-with'):
        yield _attribute_clause(attribute, operator, argument)
    # The elements above these tell little: hardly a document lacks them.
    for name in path.split(ELEMENT)[:0:-1][:2]:
        yield _element_clause(name)


def _attribute_clause(attribute: str, operator: str, argument: 'Any') -> 'Clause':
    if NAMESPACE in attribute:
        return _namespace_clause(attribute)
    name = attribute.encode()
    if operator == 'present':
        return _NONE, frozenset((name,))
    if operator == 'in':
        return frozenset(word for value in argument for word in _spellings(name, value.encode())), _NONE
    return _NONE, frozenset((max(argument.encode().translate(_TO_BLANKS).split(b' '), key=len),))


def _element_clause(name: str) -> 'Clause':
    if NAMESPACE in name:
        return _namespace_clause(name)
    return frozenset((name.encode(), name.encode() + b'/')), _NONE


def _namespace_clause(name: str) -> 'Clause':
    """A document may choose the prefix; it cannot but spell out the URI."""
    return _NONE, frozenset((name.partition(NAMESPACE)[0].encode(),))


def _spellings(name: bytes, value: bytes) -> 'Iterable[bytes]':
    """Words one of which a document has where an attribute has this value."""
    first, more, _ = value.translate(_TO_BLANKS).partition(b' ')
    for quote in (b"'", b'"'):
        for begin in (name + b'=', b'='):  # a blank may stand before the equals sign
            for end in (b'',) if more else (quote, quote + b'/'):
                yield begin + quote + first + end
    yield from (name + b'=', b'=')  # or behind it


def _locate(need: 'Need') -> 'Any':
    """A need with each test replaced by (parent, clauses): what there must be between the tags of an element of that
    name. True where that tells no more."""
    if need is True or need[0] in ('absent', 'name'):
        return True
    if need[0] in ('and', 'or'):
        parts = [_locate(part) for part in need[1:]]
        if need[0] == 'or' and True in parts:
            return True
        parts = [part for part in parts if part is not True]
        return (need[0], *parts) if parts else True
    path, _, _ = need[1].partition(ATTRIBUTE)
    parents = path.split(ELEMENT)[1:-1]
    # A namespace may be declared elsewhere. And nearly everything stands below the second element.
    if NAMESPACE in need[1] or len(parents) < 3:
        return True
    return parents[-1].encode(), [c for c in _test_clauses(*need) if c != _element_clause(parents[-1])]


def _is_located(located: 'Any', plain: bytes, insides: 'Insides') -> bool:
    if located is True:
        return True
    if located[0] == 'and':
        return all(_is_located(part, plain, insides) for part in located[1:])
    if located[0] == 'or':
        return any(_is_located(part, plain, insides) for part in located[1:])
    parent, clauses = located
    if parent not in insides:
        text = _inside(parent, plain)
        insides[parent] = None if text is None else (frozenset(_split(text)), text)
    inside = insides[parent]
    if inside is None:
        return True
    return all(
        not inside[0].isdisjoint(words) or any(piece in inside[1] for piece in pieces) for words, pieces in clauses
    )


def _inside(name: bytes, plain: bytes) -> 'Optional[bytes]':
    """What stands between the tags of all elements of a name; None where one of them is within another."""
    start, end_tag = b'<' + name, b'</%s>' % name
    texts = []
    end = 0
    found = plain.find(start)
    while found >= 0:
        tag = _TAG.match(plain, found)
        if tag is None:
            return None
        if tag.group(1) == name and not tag.group(2):
            if found < end:
                return None
            end = plain.find(end_tag, tag.end())
            if end < 0:  # it has a blank in it
                return None
            texts.append(plain[tag.end() : end])
        found = plain.find(start, tag.end())
    return b' '.join(texts)
