# SPDX-License-Identifier: Apache-2.0
"""XML bytes -> what they show without a tree being made: mostly line by line. Pure: no I/O.

Where many documents are judged, most of their lines recur: libvirt, and whatever else writes XML for people to read,
puts a tag, or an element that has no others, on each. So a line is looked at once: whether it is well-formed, which
element it begins or ends, whether its values are usual (see refused), and what it may have of a rule (see words). A
document of such lines is well-formed if its new lines are, and the elements that lines begin and end are nested.

Metadata is one piece, because only there names are in a namespace. A document that has other lines is one piece, too.
"""

import re

from ..policy.os_ids import has_another_meaning
from ..scan import is_well_formed, plain_part
from ..tree import LIBOSINFO_NS, MAX_DEPTH
from .local_names import are_local
from .refused import are_usual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, FrozenSet, List, Optional, Set

_MOST_LINES = 20000  # of a document
MOST_KNOWN, LONGEST_KNOWN = 20000, 300
_BLANKS = b' \t\r\n'
# A tag, which cannot be read otherwise, whatever stands before and after; or the end of a line.
_NAME = rb'[A-Za-z_][A-Za-z0-9_.-]*'
_TAG = re.compile(
    rb'<(/?)(%s)(?:[ \t\r]+%s[ \t\r]*=[ \t\r]*(?:"[^"<\n]*"|\'[^\'<\n]*\'))*[ \t\r]*(/?)>|\n' % (_NAME, _NAME)
)
_LIBOSINFO = LIBOSINFO_NS.encode()
_METADATA, _END = b'<metadata', b'</metadata>'

# Line -> the number of the element that it begins, less than 0 if it ends one, 0 if it does neither.
_known: 'Dict[bytes, int]' = {}
_unusual: 'Set[bytes]' = set()  # those of the lines that are known
_numbers: 'Dict[bytes, int]' = {}  # of elements


class Document:
    """A document in which a name is what it looks like, and which means what is written, see scan.plain_part.

    lines    what recurs in documents: its distinct lines; metadata may be one of them
    rest     what is not in lines, in one piece
    """

    __slots__ = ('plain', 'lines', 'rest', 'is_usual', 'is_well_formed')

    def __init__(self, plain: bytes, lines: 'FrozenSet[bytes]', rest: bytes, is_usual: bool) -> None:
        self.plain = plain
        self.lines = lines
        self.rest = rest
        self.is_usual = is_usual
        # None where that is not known.
        self.is_well_formed: 'Optional[bool]' = True if lines else None


def read_document(data: bytes) -> 'Optional[Document]':
    """What the bytes show; None if they do not show enough."""
    plain = plain_part(data)
    if plain is None:
        return None
    document = _read_lines(data, plain)
    if document is None and are_local(plain) and not _has_another_meaning(plain):
        document = Document(plain, frozenset(), plain, are_usual(plain))
    return document


def _has_another_meaning(plain: bytes) -> bool:
    return _LIBOSINFO in plain and has_another_meaning(plain)


def _read_lines(data: bytes, plain: bytes) -> 'Optional[Document]':
    body = plain.strip(_BLANKS)
    first, last = body.find(b'>') + 1, body.rfind(b'</')
    start = body.find(_METADATA, first)
    end = body.find(_END, start) + len(_END) if start >= 0 else 0
    metadata = b''
    inner = [body[first:last]]
    if end > len(_END):
        metadata = body[start:end]
        inner = [body[first:start], body[end:last]]
    root = [body[:first], body[last:]]
    if any(b'\n' in tag for tag in root) or any(b'xmlns' in part for part in root + inner):
        return None
    parts = [part.split(b'\n') for part in inner]
    if len(_known) > MOST_KNOWN:
        _known.clear()
        _unusual.clear()
        _numbers.clear()
    lines = frozenset(root).union(*parts)
    new = lines.difference(_known)
    if new and not _learn(list(new)):
        return None
    # Nothing but one element: its end tag is the only one in what is taken for that.
    number = _known[root[0]]
    if not (0 < number == -_known[root[1]] and body.startswith(b'<') and root[1].find(b'>') == len(root[1]) - 1):
        return None
    if not all(map(_is_balanced, parts)):
        return None
    rest = b''
    if metadata and metadata not in _known:
        if metadata.count(b'</') > MAX_DEPTH // 2 or not is_well_formed(metadata) or _has_another_meaning(metadata):
            return None
        if len(metadata) > LONGEST_KNOWN:
            rest = metadata
        else:
            _known[metadata] = 0
    if metadata and not rest:
        lines |= {metadata}
    comment = len(data) - len(plain)
    if comment and not is_well_formed(data[:comment] + b'<x/>'):
        return None
    return Document(plain, lines, rest, lines.isdisjoint(_unusual))


def _is_balanced(lines: 'List[bytes]') -> bool:
    """Whether known lines end all elements that they begin."""
    open: 'List[int]' = []
    for number in filter(None, map(_known.__getitem__, lines)):
        if number > 0:
            open.append(number)
            if len(open) > MAX_DEPTH // 4:
                return False
        elif not open or open.pop() != -number:
            return False
    return not open


def _learn(new: 'List[bytes]') -> bool:
    """Look at new lines; False if one of them is not like others."""
    if len(new) > _MOST_LINES or max(map(len, new)) > LONGEST_KNOWN:
        return False
    text = b'\n'.join(new)
    tags = _TAG.findall(text + b'\n')
    if len(tags) != text.count(b'<') + len(new):
        return False
    numbers = []
    elements = []  # each of the lines, with what makes it whole
    begun: 'List[bytes]' = []
    ended: 'List[bytes]' = []
    lines = iter(new)
    for slash, name, empty in tags:
        if empty:
            pass
        elif slash:
            if begun:
                begun.pop()  # whether it is the same is looked at below
            else:
                ended.append(name)
        elif name:
            begun.append(name)
        else:
            line, number = next(lines), 0
            if begun or ended:
                if len(begun) + len(ended) > 1:
                    return False
                if begun:
                    name = begun.pop()
                    number = _numbers.setdefault(name, len(_numbers) + 1)
                    line += b'</' + name + b'>'
                else:
                    name = ended.pop()
                    number = -_numbers.setdefault(name, len(_numbers) + 1)
                    line = b'<' + name + b'>' + line
            numbers.append(number)
            elements.append(line)
    if not is_well_formed(b'<x>' + b'\n'.join(elements) + b'</x>'):
        return False
    _known.update(zip(new, numbers))
    if not are_usual(text):
        _unusual.update(line for line in new if not are_usual(line))
    return True
