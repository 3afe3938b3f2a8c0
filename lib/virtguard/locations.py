# SPDX-License-Identifier: Apache-2.0
"""What a path or an address leads to, however it is written. Pure, and imports nothing: links are not followed, and no
name is looked up."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

_MAPPED = 'ffff'  # ::ffff:0.0.0.0 is every address of IPv4


def is_path(texts: 'Iterable[str]', paths: 'Sequence[str]') -> bool:
    """What vg:is-path() answers, see match/functions: whether one of these texts is one of the paths.

    :param paths: absolute and plain, see plain_path
    """
    return any(plain_path(text) in paths for text in texts)


def lies_below(texts: 'Iterable[str]', directories: 'Sequence[str]') -> bool:
    """What vg:lies-below() answers: whether one of these texts is one of the directories, or a path below one.

    :param directories: absolute and plain, see plain_path
    """
    for text in texts:
        path = plain_path(text)
        for directory in directories:
            if path == directory or path.startswith(directory.rstrip('/') + '/'):
                return True
    return False


def plain_path(text: str) -> str:
    """An absolute path without `//`, `/./`, `..` and a slash at its end; '' for a text that is not an absolute path."""
    if text[:1] != '/':
        return ''
    if '//' not in text and '/.' not in text and (text[-1] != '/' or text == '/'):
        return text
    kept: 'list[str]' = []
    for name in text.split('/'):
        if name == '..':
            del kept[-1:]
        elif name not in ('', '.'):
            kept.append(name)
    return '/' + '/'.join(kept)


def is_any_address(texts: 'Iterable[str]') -> bool:
    """What vg:is-any-address() answers: whether one of these texts stands for every address of the host."""
    return any(map(_stands_for_all, texts))


def _stands_for_all(text: str) -> bool:
    text = text.strip(' \t\r\n')
    if text[:1] == '[' and text[-1:] == ']':
        text = text[1:-1]
    if ':' not in text:
        return _is_zero_ipv4(text)
    address = text.partition('%')[0]  # without the zone
    head, _, last = address.rpartition(':')
    groups = head.split(':')
    if '.' not in last:
        groups.append(last)
    elif not _is_zero_ipv4(last):
        return False
    if '::' not in address and len(groups) != (6 if '.' in last else 8):
        return False  # as 0:0:0:0, an address of SCSI
    before_ipv4 = -1 if '.' in last else -3
    if [group.lower() for group in groups[before_ipv4:][:1]] == [_MAPPED]:
        groups[before_ipv4] = ''
    return not any(group.strip('0') for group in groups)


def _is_zero_ipv4(text: str) -> bool:
    """As inet_aton(3) reads it: one to four numbers in decimal, octal or hexadecimal."""
    numbers = text.lower().split('.')
    return len(numbers) <= 4 and all(
        number != '' and not (number[2:] if number[:2] == '0x' and number != '0x' else number).strip('0')
        for number in numbers
    )
