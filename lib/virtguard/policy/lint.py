# SPDX-License-Identifier: Apache-2.0
"""A policy and libvirt's schema -> the problems of its rules, each with file, line and column. Pure: no I/O.

A policy with such problems can still be used: a wrong word in a rule is not a reason to refuse domains.
"""

import yaml

from .. import model
from ..errors import suggest
from ..match.lint import lint_match
from ..match.needs import derive_need
from ..match.relaxng import Schema
from ..match.syntax import tokenize
from .layer import Given
from .problems import Problem
from .yaml_reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Set


def lint_policy(
    policy: model.Policy,
    files: 'Dict[str, bytes]',
    domains: 'Optional[Schema]',
    version: 'Optional[model.Version]' = None,
) -> 'List[Problem]':
    """Find names and values in rules that no domain of the host's libvirt can have, and denials that nothing confirms.

    :param files: the text of each of the policy's files, as it was read from them
    :param domains: the schema of that libvirt, None where there is none to ask
    :param version: of that libvirt, None if not known; it decides which names of `since` that libvirt must know
    """
    texts = {source: _Text(data, source) for source, data in files.items()}
    for rule in policy.rules:
        if _denies_what_is_unconfirmed(rule, policy):
            message = 'rule %r denies what is %s' % (rule.id, model.UNCONFIRMED)
            _find(texts, rule, 'known-from').problem(message, 'let it warn, or tell what it is known from')
        if rule.match is None:
            continue
        if derive_need(rule) is False:
            _find(texts, rule, 'match').problem('match: nothing can match it, whatever a domain has')
        if domains is None:
            continue
        used = _words(rule)
        for name, _ in rule.since:
            if name not in used:
                message = 'since has %r, which the rule does not use' % name
                _find(texts, rule, 'since').problem(message, suggest(name, used))
        newer = [name for name, since in rule.since if version is None or version < since]
        for mistake in lint_match(rule.match, domains, () if rule.negated else rule.values or (), newer, rule.at):
            if mistake.value is None:
                _find(texts, rule, 'match').problem('match: ' + mistake.message, mistake.hint, mistake.offset)
            elif rule.value_set is None:
                value = _find(texts, rule, 'values', mistake.value)
                value.problem('values: ' + mistake.message, mistake.hint)
            else:
                _find(texts, rule, 'values').problem('values: ' + mistake.message, mistake.hint)
                break  # all values of a named set have the same place
    return [problem for text in texts.values() for problem in text.problems()]


def _denies_what_is_unconfirmed(rule: model.Rule, policy: model.Policy) -> bool:
    if rule.action != model.DENY or rule.known_from != model.UNCONFIRMED:
        return False
    # If a later file denies what an earlier one only warns of, the site has decided so.
    known, action = (policy.files.index(rule.origins[key][0]) for key in ('known-from', 'action'))
    return known >= action


def _find(texts: 'Dict[str, _Text]', rule: model.Rule, key: str, entry: 'Optional[int]' = None) -> Given:
    return texts[rule.origins[key][0]].find(rule.id, key, entry)


class _Text:
    """One file of a policy, in which the keys of its rules can be found again."""

    def __init__(self, data: bytes, source: str) -> None:
        self._reader = Reader(source)
        self._rules: 'Dict[str, Dict[str, yaml.Node]]' = {}
        root = self._reader.compose(data, 'the policy', True)
        for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
            for rule in value.value if key.value == 'rules' else ():
                nodes = {name.value: node for name, node in rule.value}
                self._rules[nodes['id'].value] = nodes

    def find(self, id: str, key: str, entry: 'Optional[int]') -> Given:
        """What the file gives a rule's key, or an entry of the list that it gives."""
        node = self._rules[id][key]
        return Given(None, node if entry is None else node.value[entry], self._reader)

    def problems(self) -> 'List[Problem]':
        return sorted(self._reader.problems, key=lambda problem: (problem.line, problem.column))


def _words(rule: model.Rule) -> 'List[str]':
    """The names and values that a rule asks for."""
    # The policy does not write the values of a named set.
    words: 'Set[str]' = set(rule.values or ()) if rule.value_set is None else set()
    for token in tokenize(rule.match or ''):
        words.add(token.text[1:-1] if token.kind == 'literal' else token.text)
    return sorted(word for word in words if word[:1].isalnum())
