# SPDX-License-Identifier: Apache-2.0
"""Needs and XML bytes -> the rules that may match, as far as the words in the bytes tell. Pure: no I/O.

Where many documents are judged, most rules can be ruled out before anything is parsed: `disk[@type = 'nvme']` takes a
word `disk`, and `type='nvme'` or `type="nvme"` or some rarer spelling. A need becomes clauses, which are all true for a
document in which the need holds. A clause is (words, pieces): one of the words is there, or one of the pieces is
somewhere, within a word or not. The rules that are left are looked for again where the path says: within their parents.

Which clauses a line meets is found out once for all documents that have it (see lines).

This is sound if bytes mean what they say and names are what they look like (see lines.Document), and the document is
well-formed, which is not checked here.
"""

import re
from functools import reduce
from operator import or_

from ..match.needs import ATTRIBUTE, ELEMENT
from ..scan import words_of
from ..tree import NAMESPACE
from .lines import MOST_KNOWN, Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Tuple

    from ..match.needs import Need

    Clause = Tuple[FrozenSet[bytes], FrozenSet[bytes]]
    Clauses = List[Clause]
    Insides = Dict[bytes, Optional[Tuple[bytes, FrozenSet[bytes]]]]

_MOST_CLAUSES = 4  # further ones hardly ever rule out a rule
# The head of a domain that begins with name and UUID, as libvirt writes it.
_HEAD = re.compile(
    rb'\s*<domain(?: [^<>]*)?>\s*<name>([^<\r]*)</name>\s*'
    rb'<uuid>([\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})</uuid>'
)
_AFTER_NAME = re.compile(rb'(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|\'[^\']*\'))*\s*(/?)>')
_NONE: 'FrozenSet[bytes]' = frozenset()
# What ends a word, and may stand for a blank within a value.
_BLANKS = b'\t\n\r>'
_TO_BLANKS = bytes.maketrans(_BLANKS, b' ' * len(_BLANKS))


class Sieve:
    """The needs of numbered rules, ready for many documents.

    A set of clauses is a number with a bit for each clause: first the first clauses of all rules, then the second ones,
    and so on.
    """

    __slots__ = ('_numbers', '_located', '_shifts', '_all', '_given', '_words', '_wanted', '_pieces', '_met')

    def __init__(self, needs: 'Iterable[Tuple[int, Need]]') -> None:
        kept = [(number, need) for number, need in needs if need is not False]
        self._numbers = [number for number, _ in kept]
        self._located = [_locate(need) for _, need in kept]
        self._all = (1 << len(kept)) - 1
        self._shifts = [layer * len(kept) for layer in range(_MOST_CLAUSES)]
        self._given = 0  # the bits of clauses that rules with fewer do not have
        self._words: 'Dict[bytes, int]' = {}  # word -> the clauses that ask for it; the same for pieces
        self._pieces: 'Dict[bytes, int]' = {}
        for place, (_, need) in enumerate(kept):
            self._add(place, _derive_clauses(need))
        self._wanted = frozenset(self._words)
        self._met: 'Dict[bytes, int]' = {}  # line -> the clauses that it meets

    def _add(self, place: int, clauses: 'Clauses') -> None:
        for shift in self._shifts[len(clauses) :]:
            self._given |= 1 << shift + place
        for shift, clause in zip(self._shifts, clauses):
            for having, asked in zip((self._words, self._pieces), clause):
                for text in asked:
                    having[text] = having.get(text, 0) | 1 << shift + place

    def sift(self, document: Document) -> 'List[int]':
        """The numbers of the rules that may match."""
        if len(self._met) > MOST_KNOWN:
            self._met.clear()
        new = document.lines.difference(self._met)
        if new:
            self._learn(new)
        met = reduce(or_, map(self._met.__getitem__, document.lines), self._given)
        if document.rest:
            met |= self._find(document.rest)
        left = self._all
        for shift in self._shifts:
            left &= met >> shift
        numbers = []
        insides: 'Insides' = {}
        while left:
            place = left.bit_length() - 1  # the last one
            left ^= 1 << place
            if _is_located(self._located[place], document.plain, insides):
                numbers.append(self._numbers[place])
        return numbers[::-1]

    def _learn(self, lines: 'FrozenSet[bytes]') -> None:
        text = b'\n'.join(lines)
        pieces = [item for item in self._pieces.items() if item[0] in text]
        for line in lines:
            met = reduce(or_, [clauses for piece, clauses in pieces if piece in line], 0)
            self._met[line] = self._find_words(words_of(line), met)

    def _find(self, text: bytes) -> int:
        """The clauses that are met by what is no line."""
        words = words_of(text)
        # No piece is longer than a word, and most words recur.
        distinct = b' '.join(words)
        return self._find_words(
            words, reduce(or_, [met for piece, met in self._pieces.items() if piece in distinct], 0)
        )

    def _find_words(self, words: 'FrozenSet[bytes]', met: int) -> int:
        """The clauses that are met by words, too."""
        return reduce(or_, map(self._words.__getitem__, self._wanted & words), met)


def read_head(document: Document) -> 'Optional[Tuple[str, str]]':
    """The name and the UUID of a well-formed document; None if it is not a domain, or does not begin with them."""
    found = _HEAD.match(document.plain)
    if found is None or b'xmlns=' in found.group() or b'xmlns ' in found.group():
        return None
    return found.group(1).decode(), found.group(2).decode()


def _derive_clauses(need: 'Need') -> 'Clauses':
    """The clauses of a need, the most telling ones first; none if words cannot tell."""
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
    # Looking for a piece takes time, and a word that hardly any document lacks tells nothing.
    return sorted(distinct, key=lambda c: (bool(c[1]), not any(b'=' in word for word in c[0])))[:_MOST_CLAUSES]


def _transpose(parts: 'List[Clauses]') -> 'Iterable[Clauses]':
    """The first clauses of all parts, then the second ones, and so on; a part that has fewer repeats its last."""
    for place in range(max(map(len, parts))):
        yield [part[min(place, len(part) - 1)] for part in parts]


def _either(clauses: 'Clauses') -> 'Clause':
    return _NONE.union(*(clause[0] for clause in clauses)), _NONE.union(*(clause[1] for clause in clauses))


def _test_clauses(operator: str, key: str, argument: 'Any' = None) -> 'Iterable[Clause]':
    path, _, attribute = key.partition(ATTRIBUTE)
    if attribute and operator in ('present', 'in', 'contains', 'starts-with'):
        yield _attribute_clause(attribute, operator, argument)
    # The elements above these tell little: hardly any document lacks them.
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
    """A document may choose the prefix, but it must contain the URI."""
    return _NONE, frozenset((name.partition(NAMESPACE)[0].encode(),))


def _spellings(name: bytes, value: bytes) -> 'Iterable[bytes]':
    """Words of which a document has at least one if an attribute has this value."""
    first, more, _ = value.translate(_TO_BLANKS).partition(b' ')
    for quote in (b"'", b'"'):
        for begin in (name + b'=', b'='):  # a blank may stand before the equals sign
            for end in (b'',) if more else (quote, quote + b'/'):
                yield begin + quote + first + end
    yield from (name + b'=', b'=')  # or behind it


def _locate(need: 'Need') -> 'Any':
    """A need with each test replaced by ('within', name, clauses): what there must be between the tags of an element of
    that name. True if that tells nothing more."""
    if need is True or need[0] in ('absent', 'name'):
        return True
    if need[0] == 'and':
        return _locate_all([_locate(part) for part in need[1:]])
    if need[0] == 'or':
        parts = [_locate(part) for part in need[1:]]
        return True if True in parts else ('or', *parts)
    path, _, _ = need[1].partition(ATTRIBUTE)
    parents = path.split(ELEMENT)[1:-1]
    # A namespace may be declared elsewhere. And nearly everything stands below the second element.
    if NAMESPACE in need[1] or len(parents) < 3:
        return True
    name = parents[-1]
    return 'within', name.encode(), [clause for clause in _test_clauses(*need) if clause != _element_clause(name)]


def _locate_all(parts: 'Iterable[Any]') -> 'Any':
    """Join located needs that must all hold; those about elements of one name become one."""
    together: 'Dict[bytes, Clauses]' = {}
    others = []
    for part in parts:
        if part is not True and part[0] == 'within':
            together.setdefault(part[1], []).extend(part[2])
        elif part is not True:
            others.append(part)
    others += [('within', name, _most_telling(clauses)) for name, clauses in together.items()]
    return ('and', *others) if others else True


def _is_located(located: 'Any', plain: bytes, insides: 'Insides') -> bool:
    if located is True:
        return True
    if located[0] == 'and':
        return all(_is_located(part, plain, insides) for part in located[1:])
    if located[0] == 'or':
        return any(_is_located(part, plain, insides) for part in located[1:])
    _, name, clauses = located
    if name not in insides:
        insides[name] = _inside(name, plain)
    inside = insides[name]
    if inside is None:
        return True
    text, has = inside
    return all(not words.isdisjoint(has) or any(piece in text for piece in pieces) for words, pieces in clauses)


def _inside(name: bytes, plain: bytes) -> 'Optional[Tuple[bytes, FrozenSet[bytes]]]':
    """What stands between the tags of all elements of a name, and its words; None if they are nested."""
    start, end_tag = b'<' + name, b'</' + name
    texts = []
    for part in plain.split(start)[1:]:
        if part[:1] not in b' \t\r\n/>':
            continue
        end = part.find(end_tag)
        if end >= 0:
            # A value may have a > itself: what follows it is taken for inside, too.
            texts.append(part[part.find(b'>') + 1 : end])
        else:
            rest = _AFTER_NAME.match(part)
            if rest is None or not rest.group(1):
                return None
    text = b' '.join(texts)
    return text, words_of(text)
