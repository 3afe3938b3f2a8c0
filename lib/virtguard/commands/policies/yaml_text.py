# SPDX-License-Identifier: Apache-2.0
"""YAML as text of which spans are replaced, so that all else stays as it is, byte for byte. Pure: no I/O."""

import json

import yaml

from ...errors import GuardError
from ...policy.yaml_reader import LOADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence, Tuple

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
        """The span that puts another value in the place of a node."""
        is_block = getattr(node, 'style', None) in ('|', '>')
        return node.start_mark.index, end_of(node), text + (self._newline if is_block else '')

    def edited(self, spans: 'Sequence[Span]') -> bytes:
        """The text with other spans."""
        text = self._text
        for begin, end, put in sorted(spans, key=lambda span: span[0], reverse=True):
            text = text[:begin] + put + text[end:]
        return (self._bom + text).encode('utf-8')

    def refused(self) -> GuardError:
        """The error to raise if the text is such that an edit has another meaning than it should have."""
        hint = 'change it by hand, then run virt-guard policy check and virt-guard policy compile'
        return GuardError('%s is written in a way that the command cannot edit' % self._path, hint)


def end_of(node: 'Any') -> int:
    """Where the text of a node ends; the end that a block has in YAML is behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return end_of(last[1] if isinstance(node, yaml.MappingNode) else last)


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
