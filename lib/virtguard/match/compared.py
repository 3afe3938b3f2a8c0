# SPDX-License-Identifier: Apache-2.0
"""XPath -> the parts of a matched element that it compares, so that a finding can show them. Pure: no I/O."""

from functools import lru_cache

from .. import model
from ..findings import TEXT
from .syntax import IS_GONE, IS_NEW, THE_ONE_BEFORE, MatchError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, FrozenSet, Set

    from .syntax import Node

# By these, elements are told apart in functions.
_IDENTITIES = ('alias', 'name')


def compared_in(rule: model.Rule) -> 'Collection[str]':
    """What a rule compares of an element, as findings.evidence_of takes it."""
    asked = (TEXT,) if rule.values is not None or rule.probe is not None else ()
    return compared_by(rule.match or '').union(asked)


@lru_cache(maxsize=None)
def compared_by(match: str) -> 'FrozenSet[str]':
    """The children (by their names in the expression) and the text (TEXT) of the selected elements that the last
    predicates of an expression compare with something."""
    try:
        node = parse(match)
    except MatchError:
        return frozenset()
    found: 'Set[str]' = set()
    for path in node.operands if node.kind == 'union' else (node,):
        for predicate in path.steps[-1].predicates if path.steps else ():
            _collect(predicate, False, found)
    return frozenset(found)


def _collect(node: 'Node', compared: bool, found: 'Set[str]') -> None:
    if node.kind == 'path':
        if compared and not node.absolute:
            _note(node, found)
        return
    if node.kind in ('compare', 'arithmetic') or (node.kind == 'call' and node.text not in ('not', 'boolean')):
        compared = True
    if node.kind == 'call' and node.text in (THE_ONE_BEFORE, IS_NEW, IS_GONE):
        found.update(_IDENTITIES)
    for operand in node.operands:
        _collect(operand, compared, found)


def _note(path: 'Node', found: 'Set[str]') -> None:
    steps = [step for step in path.steps if (step.axis, step.test) != ('self', 'node()')]
    if not steps or steps[0].test == 'text()':
        found.add(TEXT)
    elif steps[0].axis == 'child':
        found.add(steps[0].test)
