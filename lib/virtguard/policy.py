# SPDX-License-Identifier: Apache-2.0
"""Policy text (YAML) -> Policy, or every problem of it with line and column. Pure: no I/O."""

import re

import yaml

from . import model
from .digest import sha256_hex
from .errors import MissingLibraryError, PolicyError, Problem, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple

PROBES = ('infiniband-vf', 'multipath-device')
FACTS = ('arch', 'container', 'os')
ACTIONS = ('deny', 'warn', 'off')
MODES = ('enforce', 'audit')
FAILURES = ('deny', 'admit')
# What holds where a policy does not say, and where there is no policy to ask.
DEFAULTS = {'mode': 'enforce', 'failure': 'deny', 'deadline': 5.0, 'audit': False}  # type: Dict[str, Any]
MAX_DEADLINE = 60

_POLICY_KEYS = ('policy', 'mode', 'failure', 'deadline', 'audit', 'rules')
_RULE_KEYS = ('id', 'title', 'action', 'match', 'values', 'probe', 'host', 'why', 'remedy', 'reference')
_RULE_REQUIRED = ('id', 'title', 'action', 'why', 'remedy')
_RULE_ID = re.compile(r'[a-z][a-z0-9]*(-[a-z0-9]+)*\Z')
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_KINDS = {
    'bool': 'a boolean',
    'int': 'a number',
    'float': 'a number',
    'null': 'empty',
    'timestamp': 'a date',
    'map': 'a mapping',
    'seq': 'a list',
}


def load_policy(data: bytes, source: str) -> 'model.Policy':
    """Read a policy.

    :param data: YAML, UTF-8
    :param source: the name for messages, usually the path
    :raises PolicyError: with every problem at once; a broken policy is never half loaded
    :raises MissingLibraryError: there is no lxml to check expressions with
    """
    reader = _Reader(source)
    try:
        policy = _read_policy(reader, reader.compose(data), sha256_hex(data))
    except ImportError as error:
        raise MissingLibraryError(error, reader.settings) from None
    if policy is None or reader.problems:
        raise PolicyError(sorted(reader.problems, key=lambda p: (p.line, p.column)), reader.settings)
    return policy


def _read_policy(reader: '_Reader', root: 'Optional[yaml.Node]', sha256: str) -> 'Optional[model.Policy]':
    if root is None:
        return None
    nodes = reader.mapping(root, 'the policy', _POLICY_KEYS, ('policy', 'rules'))
    name = reader.line_of_text(nodes.get('policy'), 'policy')
    settings = dict(DEFAULTS)
    for key, read in (('mode', MODES), ('failure', FAILURES)):
        if key in nodes:
            settings[key] = reader.choice(nodes[key], key, read)
    if 'deadline' in nodes:
        settings['deadline'] = reader.seconds(nodes['deadline'])
    if 'audit' in nodes:
        audit = reader.mapping(nodes['audit'], 'audit', ('required',), ('required',))
        settings['audit'] = reader.boolean(audit.get('required'), 'audit.required')
    reader.settings = {key: value for key, value in settings.items() if value is not None}
    rules = _read_rules(reader, nodes.get('rules'))
    if reader.problems or name is None:
        return None
    return model.Policy(
        name,
        settings['mode'],
        settings['failure'],
        settings['deadline'],
        settings['audit'],
        tuple(rules),
        sha256,
        reader.source,
    )


def _read_rules(reader: '_Reader', node: 'Optional[yaml.Node]') -> 'List[model.Rule]':
    rules = []
    first_lines = {}  # type: Dict[str, int]
    for item in reader.sequence(node, 'rules'):
        rule = _read_rule(reader, item)
        if rule is None:
            continue
        if rule.id in first_lines:
            reader.problem(item, 'rule %r is defined twice, first in line %d' % (rule.id, first_lines[rule.id]))
        first_lines.setdefault(rule.id, rule.origin[1])
        rules.append(rule)
    return rules


def _read_rule(reader: '_Reader', node: 'yaml.Node') -> 'Optional[model.Rule]':
    nodes = reader.mapping(node, 'the rule', _RULE_KEYS, _RULE_REQUIRED)
    if not nodes:
        return None
    id = reader.line_of_text(nodes.get('id'), 'id')
    if id is not None and not _RULE_ID.match(id):
        reader.problem(nodes['id'], 'id %r is not in kebab-case' % id, 'lower-case words joined by hyphens')
    name = 'rule %r' % id
    match = reader.text(nodes.get('match'), 'match')
    if match is not None:
        _check_match(reader, nodes['match'], match)
    for key in ('values', 'probe'):
        if key in nodes and 'match' not in nodes:
            reader.problem(nodes[key], '%s has %r but no match for it to narrow' % (name, key))
    if 'match' not in nodes and 'host' not in nodes:
        reader.problem(node, '%s has neither match nor host, so it can never apply' % name)
    values = reader.strings(nodes['values'], 'values') if 'values' in nodes else None
    probe = reader.choice(nodes['probe'], 'probe', PROBES) if 'probe' in nodes else None
    return model.Rule(
        id=id or '',
        title=reader.line_of_text(nodes.get('title'), 'title') or '',
        action=reader.choice(nodes.get('action'), 'action', ACTIONS) or '',
        why=reader.text(nodes.get('why'), 'why') or '',
        remedy=reader.text(nodes.get('remedy'), 'remedy') or '',
        match=match,
        values=values,
        probe=probe,
        host=_read_host(reader, nodes['host']) if 'host' in nodes else (),
        reference=reader.line_of_text(nodes.get('reference'), 'reference') or '',
        origin=(reader.source, node.start_mark.line + 1),
    )


def _check_match(reader: '_Reader', node: 'yaml.Node', match: str) -> None:
    from .expressions import MatchError, check_match  # lxml: the settings are read before it can be missed

    try:
        check_match(match)
    except MatchError as error:
        # In a scalar on one line, the offset in the expression is an offset in the file.
        in_line = node.start_mark.line == node.end_mark.line
        offset = error.offset + (1 if node.style else 0) if in_line else 0
        reader.problem(node, 'match ' + error.message, error.hint, offset)


def _read_host(reader: '_Reader', node: 'yaml.Node') -> 'Tuple[model.HostCondition, ...]':
    conditions = []
    nodes = reader.mapping(node, 'host', FACTS, ())
    if isinstance(node, yaml.MappingNode) and not node.value:
        reader.problem(node, 'host has no condition', 'known facts: %s' % ', '.join(FACTS))
    for fact, value in nodes.items():
        negated = isinstance(value, yaml.MappingNode)
        if negated:
            value = reader.mapping(value, 'host.%s' % fact, ('not',), ('not',)).get('not')
        if isinstance(value, yaml.SequenceNode):
            values = reader.strings(value, 'host.%s' % fact)
        else:
            text = reader.line_of_text(value, 'host.%s' % fact)
            values = (text,) if text is not None else None
        if values:
            conditions.append(model.HostCondition(fact, values, negated))
    return tuple(conditions)


class _Reader:
    """Reads composed YAML nodes into values and collects a problem for each that is not what it must be.

    The readers of values return None after a problem, and for a node that is missing (the mapping has reported it).
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems = []  # type: List[Problem]
        self.settings = {}  # type: Dict[str, object]

    def problem(self, node: 'yaml.Node', message: str, hint: str = '', offset: int = 0) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self.source, mark.line + 1, mark.column + 1 + offset, message, hint))

    def compose(self, data: bytes) -> 'Optional[yaml.Node]':
        try:
            root = yaml.compose(data, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.problems.append(Problem(self.source, line, column, 'not YAML: %s' % error.problem))
        except yaml.reader.ReaderError as error:
            text = data[: error.position] if isinstance(error.position, int) else b''
            line, column = text.count(b'\n') + 1, len(text) - text.rfind(b'\n')
            self.problems.append(Problem(self.source, line, column, 'not YAML: %s' % error.reason, 'save it as UTF-8'))
        except RecursionError:
            self.problems.append(Problem(self.source, 1, 1, 'not a policy: nested too deep'))
        else:
            if root is None:
                self.problems.append(Problem(self.source, 1, 1, 'the policy is empty'))
            return root
        return None

    def mapping(
        self, node: 'yaml.Node', what: str, known: 'Iterable[str]', required: 'Iterable[str]'
    ) -> 'Dict[str, yaml.Node]':
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, '%s is %s, not a mapping' % (what, _kind(node)))
            return {}
        nodes = {}  # type: Dict[str, yaml.Node]
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key not in known:
                shown = repr(key) if key is not None else _kind(key_node)
                self.problem(key_node, '%s has an unknown key %s' % (what, shown), suggest(key or '', known))
            elif key in nodes:
                self.problem(key_node, '%s has the key %r twice' % (what, key))
            else:
                nodes[key] = value
        for key in required:
            if key not in nodes:
                self.problem(node, '%s has no %r' % (what, key))
        return nodes

    def sequence(self, node: 'Optional[yaml.Node]', what: str) -> 'List[yaml.Node]':
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, '%s is %s, not a list' % (what, _kind(node)))
            return []
        if not node.value:
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
            self.problem(node, '%s is %s, not text' % (what, _kind(node)), 'write "%s"' % node.value if quotable else '')
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

    def seconds(self, node: 'yaml.Node') -> 'Optional[float]':
        try:
            value = float(node.value) if isinstance(node, yaml.ScalarNode) and node.tag[-4:] in (':int', 'loat') else 0.0
        except ValueError:  # YAML's 0x10, 1_000 and 1:30
            value = 0.0
        if not 0 < value <= MAX_DEADLINE:
            self.problem(node, 'deadline is not a number of seconds between 0 and %d' % MAX_DEADLINE)
            return None
        return value


def _kind(node: 'yaml.Node') -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(':str'):
        return 'text'
    return _KINDS.get(node.tag.rpartition(':')[2], 'of type %s' % node.tag)
