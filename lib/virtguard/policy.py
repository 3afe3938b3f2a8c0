# SPDX-License-Identifier: Apache-2.0
"""Policy text (YAML) -> Policy, or every problem of it with line and column. Pure: no I/O."""

import re

import yaml

from . import model
from .digest import sha256_hex
from .errors import MissingLibraryError, PolicyError
from .reader import Reader
from .xpath import MatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

PROBES = ('infiniband-vf', 'multipath-device')
FACTS = ('arch', 'container', 'os')
ACTIONS = ('deny', 'warn', 'off')
MODES = ('enforce', 'audit')
FAILURES = ('deny', 'admit')
TIMES = (model.ADMISSION, model.RUNTIME)
MAX_DEADLINE = 60  # seconds

_POLICY_KEYS = ('policy', 'mode', 'failure', 'deadline', 'audit', 'rules')
_RULE_KEYS = ('id', 'title', 'action', 'at', 'match', 'values', 'probe', 'host', 'why', 'remedy', 'reference')
_RULE_REQUIRED = ('id', 'title', 'action', 'why', 'remedy')
_RULE_ID = re.compile(r'[a-z][a-z0-9]*(-[a-z0-9]+)*\Z')


def load_policy(data: bytes, source: str) -> 'model.Policy':
    """Read a policy.

    :param data: YAML, UTF-8
    :param source: the name for messages, usually the path
    :raises PolicyError: with every problem at once; a broken policy is never half loaded
    :raises MissingLibraryError: there is no lxml to check expressions with
    """
    reader = Reader(source)
    settings: 'Dict[str, Any]' = {}
    try:
        policy = _read_policy(reader, reader.compose(data, 'the policy'), sha256_hex(data), settings)
    except ImportError as error:
        raise MissingLibraryError(error, settings) from None
    if policy is None or reader.problems:
        raise PolicyError(sorted(reader.problems, key=lambda p: (p.line, p.column)), settings)
    return policy


def _read_policy(
    reader: Reader, root: 'Optional[yaml.Node]', sha256: str, settings: 'Dict[str, Any]'
) -> 'Optional[model.Policy]':
    """Read everything; fill `settings` with what was read without a problem, before the rules."""
    if root is None:
        return None
    nodes = reader.mapping(root, 'the policy', _POLICY_KEYS, ('policy', 'rules'))
    name = reader.line_of_text(nodes.get('policy'), 'policy')
    settings.update(model.DEFAULT_SETTINGS)
    settings.update(_read_settings(reader, nodes))
    for key in [key for key, value in settings.items() if value is None]:
        del settings[key]
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


def _read_settings(reader: Reader, nodes: 'Dict[str, yaml.Node]') -> 'Dict[str, Any]':
    settings: 'Dict[str, Any]' = {}
    for key, known in (('mode', MODES), ('failure', FAILURES)):
        if key in nodes:
            settings[key] = reader.choice(nodes[key], key, known)
    if 'deadline' in nodes:
        settings['deadline'] = reader.seconds(nodes['deadline'], 'deadline', MAX_DEADLINE)
    if 'audit' in nodes:
        audit = reader.mapping(nodes['audit'], 'audit', ('required',), ('required',))
        settings['audit'] = reader.boolean(audit.get('required'), 'audit.required')
    return {key: None if nodes[key] in reader.repeated else value for key, value in settings.items()}


def _read_rules(reader: Reader, node: 'Optional[yaml.Node]') -> 'List[model.Rule]':
    rules = []
    first_lines: 'Dict[str, int]' = {}
    for item in reader.sequence(node, 'rules'):
        rule = _read_rule(reader, item)
        if rule is None:
            continue
        if rule.id in first_lines:
            reader.problem(item, 'rule %r is defined twice, first in line %d' % (rule.id, first_lines[rule.id]))
        first_lines.setdefault(rule.id, rule.origin[1])
        rules.append(rule)
    return rules


def _read_rule(reader: Reader, node: 'yaml.Node') -> 'Optional[model.Rule]':
    nodes = reader.mapping(node, 'the rule', _RULE_KEYS, _RULE_REQUIRED)
    if not nodes:
        return None
    id = reader.line_of_text(nodes.get('id'), 'id')
    if id is not None and not _RULE_ID.match(id):
        reader.problem(nodes['id'], 'id %r is not in kebab-case' % id, 'lower-case words joined by hyphens')
    name = 'rule %r' % id if id is not None else 'the rule'
    at = (reader.choice(nodes['at'], 'at', TIMES) if 'at' in nodes else None) or model.ADMISSION
    match = reader.text(nodes.get('match'), 'match')
    if match is not None:
        _check_match(reader, nodes['match'], match, at)
    if at == model.RUNTIME and 'match' not in nodes:
        reader.problem(node, '%s is judged at run time but has no match for a change' % name, 'begin with /transition')
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
        at=at,
    )


def _check_match(reader: Reader, node: 'yaml.Node', match: str, at: str) -> None:
    from .expressions import check_match  # lxml: the settings are read before it can be missed

    try:
        check_match(match, at)
    except MatchError as error:
        # In a scalar on one line, the offset in the expression is an offset in the file.
        in_line = node.start_mark.line == node.end_mark.line
        quote = 1 if getattr(node, 'style', None) else 0
        offset = error.offset + quote if in_line else 0
        reader.problem(node, 'match ' + error.message, error.hint, offset)


def _read_host(reader: Reader, node: 'yaml.Node') -> 'Tuple[model.HostCondition, ...]':
    conditions = []
    nodes = reader.mapping(node, 'host', FACTS, ())
    if isinstance(node, yaml.MappingNode) and not node.value:
        reader.problem(node, 'host has no condition', 'known facts: %s' % ', '.join(FACTS))
    for fact, node in nodes.items():
        negated = isinstance(node, yaml.MappingNode)
        value = reader.mapping(node, 'host.%s' % fact, ('not',), ('not',)).get('not') if negated else node
        if isinstance(value, yaml.SequenceNode):
            values = reader.strings(value, 'host.%s' % fact)
        else:
            text = reader.line_of_text(value, 'host.%s' % fact)
            values = (text,) if text is not None else None
        if values:
            conditions.append(model.HostCondition(fact, values, negated))
    return tuple(conditions)
