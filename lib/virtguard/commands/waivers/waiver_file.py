# SPDX-License-Identifier: Apache-2.0
"""A drop-in with waivers, edited as text: what an edit is not about stays as it is, byte for byte. Pure: no I/O.

An edit replaces spans of the text, whose places the YAML nodes know. The text is read again then, and refused if
anything else has another value than before: in YAML, one span may have several meanings.
"""

import yaml

from ...policy.layer import read_layer
from ...policy.problems import PolicyError
from ..policies.yaml_text import YamlText, end_of, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

    from ...model import DomainEntry
    from ..policies.yaml_text import Span

    Values = Dict[str, Any]  # of a waiver: key -> value

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
        self._text = YamlText(_HEAD.encode() if data is None else data, path)

    def add(self, values: 'Values') -> bytes:
        """The file with another waiver at the end."""
        values = {key: values[key] for key in KEYS if values.get(key)}
        text, list_, pair = self._text, self._list(), self._text.pair('waivers')
        if list_ is not None and list_.flow_style and list_.value:
            spans = [(end_of(list_.value[-1]), end_of(list_.value[-1]), ', ' + _flow(values))]
        elif list_ is not None and list_.value:
            spans = [text.insert(_block(values, list_.start_mark.column), text.line_after(end_of(list_)))]
        elif pair is not None:  # its value is nothing, or an empty list
            begin, end = pair[1].start_mark.index, pair[1].end_mark.index
            spans = [(text.without_spaces_before(begin), end, '')] if begin < end else []
            spans.append(text.insert(_block(values, 2), text.line_after(end)))
        else:
            spans = [text.insert(['waivers:', *_block(values, 2)], len(text))]
        return self._edited(spans, [*self.waivers, values])

    def renew(self, number: int, changes: 'Values') -> bytes:
        """The file with other values of some keys of a waiver."""
        entry = self._list().value[number]
        nodes = {key.value: value for key, value in entry.value}
        spans: 'List[Span]' = []
        for key in KEYS:
            if key not in changes:
                continue
            value = _written(key, changes[key])
            if key in nodes:
                spans.append(self._text.replace(nodes[key], value))
            elif entry.flow_style:
                spans.append((entry.end_mark.index - 1, entry.end_mark.index - 1, ', %s: %s' % (key, value)))
            else:
                line = '%s%s: %s' % (' ' * entry.start_mark.column, key, value)
                spans.append(self._text.insert([line], self._text.line_after(end_of(entry))))
        waivers = [dict(one, **changes) if i == number else one for i, one in enumerate(self.waivers)]
        return self._edited(spans, waivers)

    def remove(self, number: int) -> bytes:
        """The file without a waiver. Comments above it stay."""
        list_ = self._list()
        return self._edited(self._without(list_, number), self.waivers[:number] + self.waivers[number + 1 :])

    def shorten(self, number: int, key: str, item: 'DomainEntry') -> bytes:
        """The file with a waiver from whose `key` (rules or domains) an item was taken; there are others."""
        left = list(self.waivers[number][key])
        list_ = next(value for name, value in self._list().value[number].value if name.value == key)
        place = left.index(item)
        del left[place]
        waivers = [dict(one, **{key: tuple(left)}) if i == number else one for i, one in enumerate(self.waivers)]
        return self._edited(self._without(list_, place), waivers)

    def _list(self) -> 'Any':
        pair = self._text.pair('waivers')
        return pair[1] if pair is not None and isinstance(pair[1], yaml.SequenceNode) else None

    def _without(self, list_: 'Any', number: int) -> 'List[Span]':
        """The spans of an item of a list, with what joins it to the others."""
        text, items = self._text, list_.value
        if list_.flow_style:
            return text.without_item(items, number)
        begin = list_.start_mark.index
        if number:
            found = text.find_line(' ' * list_.start_mark.column + '-', text.line_after(end_of(items[number - 1])))
            if found is None:
                raise text.refused()
            begin = found
        return [(text.line_begin(begin), text.line_after(end_of(items[number])), '')]

    def _edited(self, spans: 'Sequence[Span]', waivers: 'Sequence[Values]') -> bytes:
        data = self._text.edited(spans)
        try:
            edited = WaiverFile(data, self._path)
        except PolicyError:
            raise self._text.refused() from None
        if edited.waivers != list(waivers) or edited._text.others('waivers') != self._text.others('waivers'):
            raise self._text.refused()
        return data


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
    return str(value) if key == 'expires' else write_text(value)


def _item(entry: 'DomainEntry') -> str:
    if isinstance(entry, str):
        return write_text(entry)
    return '{uuid: %s, name: %s}' % (write_text(entry[0]), write_text(entry[1]))
