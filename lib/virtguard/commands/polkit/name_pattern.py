# SPDX-License-Identifier: Apache-2.0
"""A glob over names, as fnmatchcase reads it, taken apart. Pure."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple, Union

    Set = Tuple[bool, List[Tuple[int, int]]]
    Part = Union[str, None, Set]

ANYTHING = None


def parts_of(glob: str) -> 'List[Part]':
    """Texts that must be there as they are, ANYTHING for `*`, and sets of which one character must be there: whether
    it must not be, and ranges of code points."""
    parts: 'List[Part]' = []
    here = 0
    while here < len(glob):
        character = glob[here]
        end = _end_of_set(glob, here) if character == '[' else 0
        if character == '*':
            if parts[-1:] != [ANYTHING]:
                parts.append(ANYTHING)
        elif character == '?':
            parts.append((True, []))
        elif end:
            parts.append(_set(glob[here + 1 : end]))
            here = end
        elif parts and isinstance(parts[-1], str):
            parts[-1] += character
        else:
            parts.append(character)
        here += 1
    return parts


def _end_of_set(glob: str, begin: int) -> int:
    """Where the set that may begin here ends; 0: it does not end, so the bracket is a character like others."""
    first = begin + 2 if glob[begin + 1 : begin + 2] == '!' else begin + 1
    return max(glob.find(']', first + 1), 0)


def _set(written: str) -> 'Set':
    negated = written.startswith('!')
    rest = written[1:] if negated else written
    ranges = []
    while rest:
        is_range = len(rest) > 2 and rest[1] == '-'
        ranges.append((ord(rest[0]), ord(rest[2 if is_range else 0])))
        rest = rest[3 if is_range else 1 :]
    return negated, ranges
