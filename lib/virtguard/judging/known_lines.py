# SPDX-License-Identifier: Apache-2.0
"""What lines of XML say by themselves, wherever they stand; each is looked at once. Pure: no I/O.

A line has a tag, or an element that has only text, or text; it cannot be read otherwise, whatever stands before and
after. Most new lines are like a known one: only the name of a file or an address is another. So they have a shape,
which is the line without such values.
"""

import re

from ..scan import is_well_formed
from .refused import ATTRIBUTES_LOOKED_AT, are_usual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Set, Tuple

    # name, attributes, '/' of an empty element, text and end of a whole one, name of an end tag
    Tag = Tuple[bytes, bytes, bytes, bytes, bytes, bytes]

LONGEST = 300
_MOST_NEW = 20000  # of a document
_MOST_KNOWN = 8000
_NAME = rb'[A-Za-z_][A-Za-z0-9_.-]*'
_ATTRIBUTE = rb'[ \t\r]+(%s)[ \t\r]*=[ \t\r]*(?:"([^"<\n]*)"|\'([^\'<\n]*)\')' % _NAME
_LINE = re.compile(
    rb'(?m)^[^<>\n]*(?:<(%s)((?:%s)*)[ \t\r]*(?:(/)>|>(?:([^<>\n]*)</(%s)[ \t\r]*>)?)|</(%s)[ \t\r]*>)?[^<>\n]*$'
    % (_NAME, re.sub(rb'\((?!\?)', rb'(?:', _ATTRIBUTE), _NAME, _NAME)
)
# Every blank of an attribute is read as this one.
_IN_ATTRIBUTES = str.maketrans('\t\r', '  ')

# A shape lacks values that say nothing by themselves: they have no blanks, quotes, references or marks of templates.
_PLAIN = rb'[A-Za-z0-9_./:+,@~-]*'
_NAMED = b'(?<=[a-z]=%s)' + b''.join(b'(?<!%s=%%s)' % name for name in sorted(ATTRIBUTES_LOOKED_AT))
_SINGLE, _DOUBLE = (
    re.compile(b'=%s%s%s%s' % (quote, _NAMED.replace(b'%s', quote), _PLAIN, quote)) for quote in (b"'", b'"')
)
_TEXT = re.compile(b'>%s</' % _PLAIN)

tags: 'Dict[bytes, Tag]' = {}  # of the lines that are known
unusual: 'Set[bytes]' = set()  # those that have a value that libvirt may refuse, see refused


class OtherLines(Exception):
    """Only lxml can tell what they say."""


def forget_if_many() -> None:
    if len(tags) > _MOST_KNOWN:
        tags.clear()
        unusual.clear()


def learn(parts: 'List[List[bytes]]') -> None:
    """Look at the lines that are new.

    :raises OtherLines: one of them is not like others
    """
    new = list(dict.fromkeys([line for part in parts for line in part if line not in tags]))
    if len(new) > _MOST_NEW or max(map(len, new)) > LONGEST:
        raise OtherLines
    text = b'\n'.join(new)
    read = _LINE.findall(text)
    if len(read) != len(new) or b'xmlns' in text:
        raise OtherLines
    elements = []  # each of the lines, with what makes an element of it
    for line, (name, _, is_empty, _, is_whole, end) in zip(new, read):
        if end:
            line = b'<%s>%s' % (end, line)
        elif name and not is_empty and not is_whole:
            line = b'%s</%s>' % (line, name)
        elements.append(line)
    if not is_well_formed(b'<x>%s</x>' % b'\n'.join(elements)):
        raise OtherLines
    tags.update(zip(new, read))
    if not are_usual(text):
        unusual.update(line for line in new if not are_usual(line))


def is_shaped(attribute: str) -> bool:
    """Whether shapes may lack what an attribute says."""
    return attribute.encode() not in ATTRIBUTES_LOOKED_AT


def shape_of(line: bytes) -> bytes:
    """A line without values that are_usual does not look at. Of the well-formed lines of a shape, all or none are
    usual, and all have the same tag, but for values of attributes that is_shaped names, or text."""
    if b'"' in line:
        return line if b"'" in line else _DOUBLE.sub(b'=""', line)
    if b"='" in line:
        return _SINGLE.sub(b"=''", line)
    return _TEXT.sub(b'></', line)


def values_of(attributes: bytes) -> 'Dict[str, str]':
    """Attributes as they are written -> as they are read."""
    return {
        name.decode(): (double or single).decode().translate(_IN_ATTRIBUTES)
        for name, double, single in re.findall(_ATTRIBUTE, attributes)
    }
