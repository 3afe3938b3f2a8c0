# SPDX-License-Identifier: Apache-2.0
"""A drop-in with waivers, edited as text: what an edit is not about stays as it is, byte for byte. Pure: no I/O.

An edit replaces spans of the text, whose places the YAML nodes know. The text is read again then, and refused if
anything else has another value than before: in YAML, one span may have several meanings.
"""

import json
import re

import yaml

from ..errors import GuardError
from ..policy.layer import read_layer
from ..policy.problems import PolicyError
from ..policy.yaml_reader import LOADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from ..model import DomainEntry

    Values = Dict[str, Any]  # of a waiver: key -> value
    Span = Tuple[int, int, str]  # from, to, what stands there then

_LISTS = ('rules', 'domains')
KEYS = (*_LISTS, 'reason', 'approved-by', 'expires', 'ticket')
_HEAD = '# Written by virt-guard waiver add|renew|remove, and by hand.\n'
_WIDTH = 110


class WaiverFile:
    """`waivers` has the keys and values of each waiver, `lines` where each of them begins (1-based).

    :param data: what the file holds; None if there is no such file
    :raises PolicyError: it has problems
    :raises GuardError: it cannot be edited
    """

    def __init__(self, data: 'Optional[bytes]', path: str) -> None:
        layer = read_layer(data or b'', path, True)
        if layer.problems:
            raise PolicyError(layer.problems, {})
        given = layer.waivers or []
        self.waivers: 'List[Values]' = [{key: item.value for key, item in one.value.items()} for one in given]
        self.lines = [one.origin[1] for one in given]
        self.data = data
        self._path = path
        try:
            text = (_HEAD.encode() if data is None else data).decode('utf-8')
        except UnicodeDecodeError:
            raise self._refused() from None
        self._bom = text[: text.startswith('\ufeff')]
        self._text = text[len(self._bom) :]
        self._newline = '\r\n' if '\r\n' in self._text else '\n'
        self._root = yaml.compose(self._text, Loader=LOADER)

    def add(self, values: 'Values') -> bytes:
        """The file with another waiver at the end."""
        values = {key: values[key] for key in KEYS if values.get(key)}
        list_ = self._list()
        if list_ is not None and list_.flow_style and list_.value:
            spans = [(_end(list_.value[-1]), _end(list_.value[-1]), ', ' + _flow(values))]
        elif list_ is not None and list_.value:
            place, column = self._line_after(_end(list_)), list_.start_mark.column
            spans = [(place, place, self._lines(_block(values, column), place))]
        elif self._key() is not None:
            _, value = self._key()  # nothing, or an empty list
            begin, end = value.start_mark.index, value.end_mark.index
            place = self._line_after(end)
            spans = [(len(self._text[:begin].rstrip(' ')), end, '')] if begin < end else []
            spans.append((place, place, self._lines(_block(values, 2), place)))
        else:
            place = len(self._text)
            spans = [(place, place, self._lines(['waivers:', *_block(values, 2)], place))]
        return self._edited(spans, [*self.waivers, values])

    def renew(self, number: int, changes: 'Values') -> bytes:
        """The file with other values of some keys of a waiver."""
        entry = self._list().value[number]
        nodes = {key.value: value for key, value in entry.value}
        spans: 'List[Span]' = []
        for key in KEYS:
            if key not in changes:
                continue
            text = _written(key, changes[key])
            if key in nodes:
                node = nodes[key]
                is_block = getattr(node, 'style', None) in ('|', '>')
                spans.append((node.start_mark.index, node.end_mark.index, text + (self._newline if is_block else '')))
            elif entry.flow_style:
                spans.append((entry.end_mark.index - 1, entry.end_mark.index - 1, ', %s: %s' % (key, text)))
            else:
                place = self._line_after(_end(entry))
                line = '%s%s: %s' % (' ' * entry.start_mark.column, key, text)
                spans.append((place, place, self._lines([line], place)))
        waivers = [dict(one, **changes) if i == number else one for i, one in enumerate(self.waivers)]
        return self._edited(spans, waivers)

    def remove(self, number: int) -> bytes:
        """The file without a waiver. Comments above it stay."""
        list_ = self._list()
        return self._edited([self._without(list_, number)], self.waivers[:number] + self.waivers[number + 1 :])

    def shorten(self, number: int, key: str, item: 'DomainEntry') -> bytes:
        """The file with a waiver from whose `key` (rules or domains) an item was taken; there are others."""
        left = list(self.waivers[number][key])
        list_ = next(value for name, value in self._list().value[number].value if name.value == key)
        place = left.index(item)
        del left[place]
        waivers = [dict(one, **{key: tuple(left)}) if i == number else one for i, one in enumerate(self.waivers)]
        return self._edited([self._without(list_, place)], waivers)

    def _key(self) -> 'Any':
        """The key `waivers` and its value; None if there is none."""
        pairs = self._root.value if isinstance(self._root, yaml.MappingNode) else []
        return next(((key, value) for key, value in pairs if key.value == 'waivers'), None)

    def _list(self) -> 'Any':
        pair = self._key()
        return pair[1] if pair is not None and isinstance(pair[1], yaml.SequenceNode) else None

    def _without(self, list_: 'Any', number: int) -> 'Span':
        """The span of an item of a list, with what joins it to the others."""
        item = list_.value[number]
        if list_.flow_style:
            if number:
                return _end(list_.value[number - 1]), _end(item), ''
            return item.start_mark.index, list_.value[1].start_mark.index if len(list_.value) > 1 else _end(item), ''
        begin = list_.start_mark.index
        if number:
            dash = re.compile('^%s-' % (' ' * list_.start_mark.column), re.MULTILINE)
            found = dash.search(self._text, self._line_after(_end(list_.value[number - 1])))
            if found is None:
                raise self._refused()
            begin = found.start()
        return self._text.rfind('\n', 0, begin) + 1, self._line_after(_end(item)), ''

    def _line_after(self, place: int) -> int:
        """Where the first line begins that does not have anything that stands before this place."""
        if place and self._text[place - 1] == '\n':
            return place
        end = self._text.find('\n', place)
        return len(self._text) if end < 0 else end + 1

    def _lines(self, lines: 'Sequence[str]', place: int) -> str:
        text = ''.join(line + self._newline for line in lines)
        begins_line = not place or self._text[place - 1] == '\n'
        return text if begins_line else self._newline + text

    def _edited(self, spans: 'Sequence[Span]', waivers: 'Sequence[Values]') -> bytes:
        text = self._text
        for begin, end, put in sorted(spans, key=lambda span: span[0], reverse=True):
            text = text[:begin] + put + text[end:]
        data = (self._bom + text).encode('utf-8')
        try:
            edited = WaiverFile(data, self._path)
        except PolicyError:
            raise self._refused() from None
        if edited.waivers != list(waivers) or edited._others() != self._others():
            raise self._refused()
        return data

    def _others(self) -> 'Any':
        """What the file has beside waivers, to be compared."""
        pairs = self._root.value if isinstance(self._root, yaml.MappingNode) else []
        return [(_plain(key), _plain(value)) for key, value in pairs if key.value != 'waivers']

    def _refused(self) -> GuardError:
        hint = 'change it by hand, then run virt-guard policy check and virt-guard policy compile'
        return GuardError('%s is written in a way that the command cannot edit' % self._path, hint)


def _end(node: 'Any') -> int:
    """Where the text of a node ends; the end that a block has in YAML is behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(node, yaml.MappingNode) else last)


def _plain(node: 'Any') -> 'Any':
    if isinstance(node, yaml.MappingNode):
        return node.tag, [(_plain(key), _plain(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return node.tag, [_plain(item) for item in node.value]
    return node.tag, node.value


def _block(values: 'Values', column: int) -> 'List[str]':
    """The lines of a waiver as an item of a list whose hyphens stand in this column."""
    lines = []
    for key in KEYS:
        value = values.get(key)
        if not value:
            continue
        line = '%s: %s' % (key, _written(key, value))
        is_long = key in _LISTS and len(line) > _WIDTH
        lines += ['%s:' % key, *('  - ' + _item(item) for item in value)] if is_long else [line]
    return [' ' * column + ('  ' if number else '- ') + line for number, line in enumerate(lines)]


def _flow(values: 'Values') -> str:
    return '{%s}' % ', '.join('%s: %s' % (key, _written(key, values[key])) for key in KEYS if values.get(key))


def _written(key: str, value: 'Any') -> str:
    """A value on one line."""
    if key in _LISTS:
        return '[%s]' % ', '.join(map(_item, value))
    return str(value) if key == 'expires' else _scalar(value)


def _item(entry: 'DomainEntry') -> str:
    if isinstance(entry, str):
        return _scalar(entry)
    return '{uuid: %s, name: %s}' % (_scalar(entry[0]), _scalar(entry[1]))


def _scalar(text: str) -> str:
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
