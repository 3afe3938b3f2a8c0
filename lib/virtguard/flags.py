# SPDX-License-Identifier: Apache-2.0
"""Whether a number that libvirt has written as text has a flag. Pure, and imports nothing."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

_DECIMAL = frozenset('0123456789')
_HEXADECIMAL = frozenset('0123456789abcdefABCDEF')
_MOST_DIGITS = 20  # of a number of 64 bits; a document may have texts of any length


def has_flag(texts: 'Iterable[str]', flag: int) -> bool:
    """What vg:has-flag() answers, see match/functions: whether one of these texts is a number that has the bit.

    :param texts: the string values of nodes
    :param flag: one bit
    """
    return any(number_of(text) & flag for text in texts)


def number_of(text: str) -> int:
    """The number that a text is: decimal digits, or hexadecimal ones behind 0x; 0 where it is none.

    Blanks around it do not count. A sign, blanks within, or more than 20 digits make it no number.
    """
    text = text.strip(' \t\r\n')
    base, digits, known = 10, text, _DECIMAL
    if text[:2] in ('0x', '0X'):
        base, digits, known = 16, text[2:], _HEXADECIMAL
    if not digits or len(digits) > _MOST_DIGITS or not known.issuperset(digits):
        return 0
    return int(digits, base)
