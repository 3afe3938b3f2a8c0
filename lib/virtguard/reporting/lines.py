# SPDX-License-Identifier: Apache-2.0
"""Lines of text for a terminal, as wide as they look there: a Japanese character takes two columns, and a line may end
behind nearly each of them. Pure: no I/O."""

import textwrap
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

# What does not stand at the beginning of a line, and what not at its end (JIS X 4051).
_NOT_FIRST = frozenset('、。，．・：；？！）」』】〉》〕］｝ーぁぃぅぇぉっゃゅょァィゥェォッャュョ…,.;:)]}')
_NOT_LAST = frozenset('（「『【〈《〔［｛([{')


def width_of(text: str) -> int:
    """How many columns a text takes."""
    if len(text) == len(text.encode('utf-8', 'replace')):
        return len(text)
    return sum(2 if _is_wide(c) else 0 if unicodedata.combining(c) else 1 for c in text)


def padded(text: str, width: int) -> str:
    """A text with blanks behind it, so that it takes so many columns, or more if it is long."""
    return text + ' ' * (width - width_of(text))


def wrapped(first: str, text: str, others: str, width: int, break_long_words: bool = False) -> 'List[str]':
    """A text in lines of at most so many columns, if it has a place to break them; none for an empty text.

    :param first, others: what the first line, and the others, begin with
    """
    if not any(map(_is_wide, text)):
        return textwrap.wrap(
            text,
            width - width_of(first) + len(first),
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=break_long_words,
            break_on_hyphens=False,
        )
    lines, line, left = [], first, ' '.join(text.split())
    while left:
        end = _fitting(left, width - width_of(line))
        lines.append(line + left[:end].rstrip(' '))
        line, left = others, left[end:].lstrip(' ')
    return lines


def _fitting(text: str, width: int) -> int:
    """How many characters go into a line: up to the last place where it may end, or, if there is none, to the first."""
    taken = end = 0
    for at, character in enumerate(text):
        if at and _may_break(text[at - 1], character):
            end = at
        taken += width_of(character)
        if taken > width and end:
            return end
    return len(text)


def _may_break(before: str, after: str) -> bool:
    if ' ' in (before, after):
        return True
    return (_is_wide(before) or _is_wide(after)) and after not in _NOT_FIRST and before not in _NOT_LAST


def _is_wide(character: str) -> bool:
    return character > '\u10ff' and unicodedata.east_asian_width(character) in 'WF'
