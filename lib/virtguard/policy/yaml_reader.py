# SPDX-License-Identifier: Apache-2.0
"""YAML text -> checked values; each that is not what it must be becomes a problem with line and column. Pure: no I/O.

Nodes are read before YAML turns them into values, because in values a repeated key is lost, `off` is False, and lines
are not known any more.
"""

import re

import yaml

from ..errors import suggest
from ..waivers import parse_day
from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Set, Tuple

LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_MAX_DEPTH = 50
_KINDS = {
    'bool': 'a boolean',
    'int': 'a number',
    'float': 'a number',
    'null': 'empty',
    'timestamp': 'a date',
    'map': 'a mapping',
    'seq': 'a list',
}


class Reader:
    """Reads composed YAML nodes into values and collects a problem for each that is not what it must be.

    The readers of values return None after a problem, and for a node that is missing (the mapping has reported it).
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: 'List[Problem]' = []
        self.repeated: 'Set[yaml.Node]' = set()  # the first values of repeated keys

    def problem(self, node: 'Optional[yaml.Node]', message: str, hint: str = '', offset: int = 0) -> None:
        assert node is not None
        mark = node.start_mark
        self.problems.append(Problem(self.source, mark.line + 1, mark.column + 1 + offset, message, hint))

    def compose(self, data: bytes, what: str, may_be_empty: bool = False) -> 'Optional[yaml.Node]':
        """The root of a document; None after a problem, and for an empty document if `may_be_empty`."""
        try:
            deep = _find_too_deep(data)
            if deep is not None:
                self.problems.append(Problem(self.source, *deep, '%s is nested too deep' % what))
                return None
            root = yaml.compose(data, Loader=LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.problems.append(Problem(self.source, line, column, 'not YAML: %s' % error.problem))
        except yaml.reader.ReaderError as error:
            text = data[: error.position] if isinstance(error.position, int) else b''
            line, column = text.count(b'\n') + 1, len(text) - text.rfind(b'\n')
            self.problems.append(Problem(self.source, line, column, 'not YAML: %s' % error.reason, 'save it as UTF-8'))
        else:
            if may_be_empty and _is_nothing(root):
                return None
            if root is None:
                self.problems.append(Problem(self.source, 1, 1, '%s is empty' % what))
            return root
        return None

    def mapping(
        self, node: 'yaml.Node', what: str, known: 'Iterable[str]', required: 'Iterable[str]'
    ) -> 'Dict[str, yaml.Node]':
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, '%s is %s, not a mapping' % (what, _kind(node)))
            return {}
        nodes: 'Dict[str, yaml.Node]' = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else _kind(key_node)
            if key not in known:
                self.problem(key_node, '%s has an unknown key %r' % (what, key), suggest(key, known))
            elif key in nodes:
                self.problem(key_node, '%s has the key %r twice' % (what, key))
                self.repeated.add(nodes[key])
            else:
                nodes[key] = value
        for key in required:
            if key not in nodes:
                self.problem(node, '%s has no %r' % (what, key))
        return nodes

    def sequence(self, node: 'Optional[yaml.Node]', what: str, may_be_empty: bool = False) -> 'List[yaml.Node]':
        if node is None or (may_be_empty and _is_nothing(node)):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, '%s is %s, not a list' % (what, _kind(node)))
            return []
        if not node.value and not may_be_empty:
            self.problem(node, '%s is an empty list' % what)
        return list(node.value)

    def strings(self, node: 'yaml.Node', what: str) -> 'Optional[Tuple[str, ...]]':
        texts = [self.line_of_text(item, what) for item in self.sequence(node, what)]
        return tuple(text for text in texts if text is not None) or None

    def text(self, node: 'Optional[yaml.Node]', what: str) -> 'Optional[str]':
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(':str'):
            quotable = isinstance(node, yaml.ScalarNode) and node.value
            hint = 'write "%s"' % node.value if quotable else ''
            self.problem(node, '%s is %s, not text' % (what, _kind(node)), hint)
            return None
        if not node.value.strip():
            self.problem(node, '%s is empty' % what)
            return None
        return str(node.value.strip())

    def line_of_text(self, node: 'Optional[yaml.Node]', what: str) -> 'Optional[str]':
        text = self.text(node, what)
        if text is not None and not text.isprintable():
            self.problem(node, '%s is more than one line of printable text' % what)
            return None
        return text

    def choice(self, node: 'Optional[yaml.Node]', what: str, known: 'Tuple[str, ...]') -> 'Optional[str]':
        text = self.text(node, what)
        if text is not None and text not in known:
            self.problem(node, '%s is %r' % (what, text), suggest(text, known))
            return None
        return text

    def boolean(self, node: 'Optional[yaml.Node]', what: str) -> 'Optional[bool]':
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(':bool'):
            self.problem(node, '%s is %s, not a boolean' % (what, _kind(node)), 'write true or false')
            return None
        return str(node.value).lower() in ('true', 'yes', 'on')

    def answers(self, node: 'yaml.Node', what: str) -> 'Dict[str, Optional[bool]]':
        """A mapping from anything to yes, no or unknown (None)."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, '%s is %s, not a mapping' % (what, _kind(node)))
            return {}
        answers: 'Dict[str, Optional[bool]]' = {}
        for key, value in node.value:
            if str(key.value) in answers:
                self.problem(key, '%s has the key %r twice' % (what, str(key.value)))
            is_unknown = isinstance(value, yaml.ScalarNode) and value.value == 'unknown'
            answers[str(key.value)] = None if is_unknown else self.boolean(value, what)
        return answers

    def day(self, node: 'Optional[yaml.Node]', what: str) -> 'Optional[str]':
        """A day as YAML has it, quoted or not; YYYY-MM-DD."""
        if node is None:
            return None
        day = parse_day(str(node.value)) if isinstance(node, yaml.ScalarNode) else None
        if day is None:
            self.problem(node, '%s is not a day of the calendar' % what, 'write it as YEAR-MONTH-DAY: 2027-01-31')
        return day

    def whole_number(self, node: 'Optional[yaml.Node]', what: str) -> 'Optional[int]':
        """A number without a sign."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not re.match('[0-9]{1,9}$', node.value):
            self.problem(node, '%s is not a whole number' % what)
            return None
        return int(node.value)

    def seconds(self, node: 'yaml.Node', what: str, maximum: int) -> 'Optional[float]':
        value = 0.0
        if isinstance(node, yaml.ScalarNode) and node.tag.rpartition(':')[2] in ('int', 'float'):
            try:
                value = float(node.value)
            except ValueError:  # YAML's 0x10, 1_000 and 1:30
                value = 0.0
        if not 0 < value <= maximum:
            self.problem(node, '%s is not a number of seconds between 0 and %d' % (what, maximum))
            return None
        return value


def _is_nothing(node: 'Optional[yaml.Node]') -> bool:
    """Whether there is nothing but comments: no node, or the null that YAML reads instead."""
    return node is None or (isinstance(node, yaml.ScalarNode) and bool(node.tag.endswith(':null')))


def _find_too_deep(data: bytes) -> 'Optional[Tuple[int, int]]':
    """The line and column where a text is nested too deep: composing is recursive, in libyaml without a limit."""
    depth = 0
    for event in yaml.parse(data, Loader=LOADER):
        depth += isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        depth -= isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        if depth > _MAX_DEPTH:
            mark = event.start_mark
            return (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return None


def _kind(node: 'yaml.Node') -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(':str'):
        return 'text'
    return _KINDS.get(node.tag.rpartition(':')[2], 'of type %s' % node.tag)
