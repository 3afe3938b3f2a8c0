# SPDX-License-Identifier: Apache-2.0
"""YAML as text of which spans are replaced, so that all else stays as it is, byte for byte. Pure: no I/O."""

import json
import os
import re

import yaml

from ...errors import GuardError
from ...policy.yaml_reader import LOADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional, Sequence, Tuple

    Span = Tuple[int, int, str]  # from, to, what stands there then


class YamlText:
    """The text of a file, which is YAML of a mapping, or empty. `root` is its node, or None.

    :param path: the name for messages
    :raises GuardError: it is not UTF-8
    """

    def __init__(self, data: bytes, path: str) -> None:
        self._path = path
        try:
            text = data.decode('utf-8')
        except UnicodeDecodeError:
            raise self.refused() from None
        self._bom = text[: text.startswith('\ufeff')]
        self._text = text[len(self._bom) :]
        self._newline = '\r\n' if '\r\n' in self._text else '\n'
        self.root: 'Any' = yaml.compose(self._text, Loader=LOADER)

    def __len__(self) -> int:
        return len(self._text)

    def pair(self, name: str) -> 'Optional[Tuple[Any, Any]]':
        """A key of the mapping and its value, as nodes; None if there is no such key."""
        return next(((key, value) for key, value in self._pairs() if key.value == name), None)

    def others(self, name: str) -> 'Any':
        """All keys but one, and their values, to be compared with those of another text."""
        return [(_plain(key), _plain(value)) for key, value in self._pairs() if key.value != name]

    def _pairs(self) -> 'Any':
        return self.root.value if isinstance(self.root, yaml.MappingNode) else []

    def line_begin(self, place: int) -> int:
        """Where the line begins that has this place."""
        return self._text.rfind('\n', 0, place) + 1

    def line_after(self, place: int) -> int:
        """Where the first line begins that does not have anything that stands before this place."""
        if place and self._text[place - 1] == '\n':
            return place
        end = self._text.find('\n', place)
        return len(self._text) if end < 0 else end + 1

    def find_line(self, begin: str, place: int) -> 'Optional[int]':
        """The next place at which a line begins with this text."""
        if self._text.startswith(begin, place):
            return place
        found = self._text.find('\n' + begin, place)
        return None if found < 0 else found + 1

    def without_spaces_before(self, place: int) -> int:
        return len(self._text[:place].rstrip(' '))

    def insert(self, lines: 'Sequence[str]', place: int) -> 'Span':
        """The span that puts whole lines at a place where a line begins, or at the end."""
        text = ''.join(line + self._newline for line in lines)
        begins_line = not place or self._text[place - 1] == '\n'
        return place, place, text if begins_line else self._newline + text

    def replace(self, node: 'Any', text: str) -> 'Span':
        """The span that puts another value in the place of a node.

        :raises GuardError: there is a comment within it
        """
        begin, end = node.start_mark.index, end_of(node)
        if any('#' in gap for gap in self._gaps(node)):
            raise self.refused('has a comment within a value that would be replaced')
        if getattr(node, 'style', None) in ('|', '>'):
            _, hash, comment = self._text[begin:end].partition('\n')[0].rstrip('\r').partition(' #')
            text += (' ' + hash + comment if hash else '') + self._newline
        return begin, end, text

    def without_item(self, items: 'Sequence[Any]', number: int) -> 'List[Span]':
        """The spans of an item of a list in brackets, with what joins it to the others; comments stay."""
        item = items[number]
        begin, end = item.start_mark.index, end_of(item)
        if len(items) == 1:
            return [(begin, end, '')]
        joint = (end_of(items[number - 1]), begin) if number else (end, items[1].start_mark.index)
        between = self._text[joint[0] : joint[1]]
        if '#' not in between:
            return [(min(begin, joint[0]), max(end, joint[1]), '')]
        comma = joint[0] + re.sub('#.*', lambda found: ' ' * len(found.group()), between).index(',')
        return [(begin, end, ''), (comma, comma + 1, '')]

    def _gaps(self, node: 'Any') -> 'Iterator[str]':
        """What stands between the scalars of a node."""
        place = node.start_mark.index
        for scalar in _scalars(node):
            yield self._text[place : scalar.start_mark.index]
            place = scalar.end_mark.index
        yield self._text[place : end_of(node)]

    def edited(self, spans: 'Sequence[Span]') -> bytes:
        """The text with other spans."""
        text = self._text
        for begin, end, put in sorted(spans, key=lambda span: span[0], reverse=True):
            text = text[:begin] + put + text[end:]
        return (self._bom + text).encode('utf-8')

    def refused(self, why: str = 'is written in a way that the command cannot edit') -> GuardError:
        """The error to raise if an edit of the text has another meaning than it should have, or loses a comment."""
        hint = 'change it by hand: virt-guard policy edit %s' % os.path.basename(self._path)
        return GuardError('%s %s' % (self._path, why), hint)


def end_of(node: 'Any') -> int:
    """Where the text of a node ends; the end that a block has in YAML is behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return end_of(last[1] if isinstance(node, yaml.MappingNode) else last)


def _scalars(node: 'Any') -> 'Iterator[Any]':
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from (scalar for part in pair for scalar in _scalars(part))
    else:
        yield from (scalar for item in node.value for scalar in _scalars(item))


def write_text(text: str) -> str:
    """A text of one line as YAML reads it wherever it stands, with quotes only where it needs them."""
    try:
        nodes = getattr(yaml.compose('[%s]' % text, Loader=LOADER), 'value', [])
    except yaml.YAMLError:
        nodes = []
    if len(nodes) == 1 and isinstance(nodes[0], yaml.ScalarNode):
        node = nodes[0]
        if node.value == text and node.tag.endswith(':str') and node.end_mark.index == len(text) + 1:
            return text  # in quotes, it would be longer than its value
    return json.dumps(text, ensure_ascii=False)


def _plain(node: 'Any') -> 'Any':
    if isinstance(node, yaml.MappingNode):
        return node.tag, [(_plain(key), _plain(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return node.tag, [_plain(item) for item in node.value]
    return node.tag, node.value
