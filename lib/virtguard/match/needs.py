# SPDX-License-Identifier: Apache-2.0
"""XPath -> what must be in a document for it to match. Pure: no I/O. See judging/lines for the other half.

A need is data:

    True, False                       the rule may match any domain, no domain
    ('and', need...), ('or', need...)
    ('present', key)                  an element or attribute is there
    ('absent', key)                   no such element or attribute is there
    ('repeated', key)                 there are several elements
    ('missing', key)                  an element lacks the attribute
    ('in', key, texts)                one has one of these values
    ('out', key, texts)               one has another value than these, or lacks the attribute
    ('contains', key, text), ('starts-with', key, text)
    ('name', name)                    an element of that name is anywhere
    ('above', key, number)            one has a greater number

It is an over-approximation: if it does not hold, the expression matches nothing; if it holds, the expression may
match. What is understood: location paths of names, `//`, `*` and attributes from the document; unions; `and`, `or`,
`not()`; predicates that compare an attribute, a child path or `.` with a literal, by `=`, `!=`, `contains()`,
`starts-with()`, and by `>` with a number; a rule's `values`. For everything else the need is True: the rule is always a
candidate.

Two things keep this sound. A condition on one of several nodes becomes a condition on any of them. And a negation
becomes a need only if the opposite can be known for certain: for the value of the node itself or of its attribute, and
for what is below the document's single root, where that includes the first ones of a name (`pm[1]`).
"""

from .. import model
from ..tree import NAMESPACE
from .syntax import ARG_NS, NAMESPACES, OF_SOME_NODE, MatchError, Node, Step, is_name, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple

    Need = Any

# A key is the path from the document: the names joined by ELEMENT, an attribute's name after ATTRIBUTE, a name in a
# namespace as URI NAMESPACE name. No XML document can hold these characters, so no two paths share a key.
ELEMENT, ATTRIBUTE = '\x02', '\x03'


class _Here:
    """Where a path has arrived: the key of its nodes (None: not known), and whether there is at most one."""

    __slots__ = ('key', 'single')

    def __init__(self, key: 'Optional[str]', single: bool = False) -> None:
        self.key = key
        self.single = single


_DOCUMENT = _Here('', True)
_SOMEWHERE = _Here(None)


def derive_need(rule: model.Rule) -> 'Need':
    """What a document must have for a rule's match and values to find something; True for a rule without a match."""
    if rule.match is None:
        return True
    try:
        node = parse(rule.match)
    except MatchError:
        return True  # libxml2 reads it all the same
    if rule.values is None:
        return _over(node, _DOCUMENT)
    paths = node.operands if node.kind == 'union' else (node,)
    values = tuple(sorted(set(rule.values)))
    if rule.negated:
        return _any(_over_other_value(path, values) for path in paths)
    return _any(_over_value(path, _DOCUMENT, 'in', values) for path in paths)


def _all(needs: 'Iterable[Need]') -> 'Need':
    return _combine('and', needs, True)


def _any(needs: 'Iterable[Need]') -> 'Need':
    return _combine('or', needs, False)


def _combine(operator: str, needs: 'Iterable[Need]', neutral: bool) -> 'Need':
    parts: 'List[Need]' = []
    for need in needs:
        if need is (not neutral):
            return need
        same = isinstance(need, tuple) and need[0] == operator
        parts += [part for part in (need[1:] if same else (need,)) if part is not neutral and part not in parts]
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else (operator, *parts)


def _over(node: Node, here: _Here) -> 'Need':
    """What must be there for an expression to be true (or to select something) at a node of `here`."""
    if node.kind in ('or', 'union'):
        return _any(_over(operand, here) for operand in node.operands)
    if node.kind == 'and':
        return _all(_over(operand, here) for operand in node.operands)
    if node.kind == 'path':
        return _over_path(node, here)[0]
    if node.kind == 'compare':
        return _over_comparison(node, here)
    if node.kind == 'call':
        return _over_call(node, here)
    if node.kind == 'literal':
        return bool(node.text)
    return True


def _over_call(node: Node, here: _Here) -> 'Need':
    if node.text in ('true', 'false'):
        return node.text == 'true'
    if node.text == 'not':
        return _over_not(node.operands[0], here)
    if node.text == 'boolean' or node.text in OF_SOME_NODE:
        return _over(node.operands[0], here)
    if node.text in ('contains', 'starts-with'):
        path, literal = node.operands
        if path.kind == 'path' and literal.kind == 'literal' and literal.text:
            return _over_value(path, here, node.text, literal.text)
    return True


def _over_comparison(node: Node, here: _Here) -> 'Need':
    left, right = node.operands
    if left.kind == 'literal':
        left, right = right, left
    if left.kind != 'path' or right.kind not in ('literal', 'number', 'path'):
        return True  # compared with a boolean, a set of nodes becomes one; so it may be empty
    if right.kind == 'literal' and node.text in ('=', '!='):
        return _over_value(left, here, 'in' if node.text == '=' else 'out', (right.text,))
    if right.kind == 'number' and node.text == '>':
        return _over_value(left, here, 'above', float(right.text))
    return _over_path(left, here)[0]


def _over_value(path: Node, here: _Here, operator: str, argument: 'Any') -> 'Need':
    if path.kind != 'path':
        return _over(path, here)
    need, end = _over_path(path, here)
    # A rule's values are compared with the PCI address as a whole, not with its text.
    if end.key is None or end.key.endswith(ELEMENT + 'address'):
        return need
    return _all([need, (operator, end.key, argument)])


def _over_other_value(path: Node, values: 'Tuple[str, ...]') -> 'Need':
    """What must be there for a path to select something whose text is not one of these."""
    if path.kind != 'path':
        return _over(path, _DOCUMENT)
    need, end = _over_path(path, _DOCUMENT)
    # The text of an element may be long, and is hardly ever one of these.
    return _all([need, ('out', end.key, values)]) if end.key is not None and ATTRIBUTE in end.key else need


def _over_not(node: Node, here: _Here) -> 'Need':
    """What must be there for an expression to be false at a node of `here`."""
    if node.kind in ('or', 'union'):
        return _all(_join_values([_over_not(operand, here) for operand in node.operands]))
    if node.kind == 'and':
        return _any(_over_not(operand, here) for operand in node.operands)
    if node.kind == 'call' and node.text == 'not':
        return _over(node.operands[0], here)
    if node.kind == 'compare' and node.text == '=':
        left, right = node.operands
        key = _own_value(left, here)
        if key is not None and right.kind == 'literal':
            return 'out', key, (right.text,)
    if node.kind == 'path':
        return _over_no_path(node, here)
    return True


def _join_values(needs: 'List[Need]') -> 'List[Need]':
    """Join the needs about one node: if its value must not be one of these, nor of those, it must not be one of all."""
    values: 'Dict[str, Any]' = {}
    others = []
    for need in needs:
        if isinstance(need, tuple) and need[0] == 'out':
            values[need[1]] = sorted({*values.get(need[1], ()), *need[2]})
        else:
            others.append(need)
    return others + [('out', key, tuple(excluded)) for key, excluded in values.items()]


def _over_no_path(path: Node, here: _Here) -> 'Need':
    firsts = [bool(step.predicates) for step in path.steps]
    if not all(_is_first(step) for first, step in zip(firsts, path.steps) if first):
        return True
    if any(firsts):
        return _over_no_first(path, firsts, here)
    own = _own_value(path, here)
    if own is not None and own != here.key:
        return 'missing', own
    end = _over_path(path, here)[1]
    certain = path.absolute or here.single
    return ('absent', end.key) if certain and end.key else True


def _is_first(step: Step) -> bool:
    """Whether a step is `name[1]`."""
    (*more, last) = step.predicates
    return not more and step.axis == 'child' and (last.kind, last.text) == ('number', '1')


def _over_no_first(path: Node, firsts: 'List[bool]', here: _Here) -> 'Need':
    """What `not(a[1]/b)` needs: no `a/b` at all, or several `a`, because not the first one may have the `b`."""
    here = _DOCUMENT if path.absolute else here
    certain = here.single
    repeated: 'List[Need]' = []
    for first, step in zip(firsts, path.steps):
        here = _take_step(step, here, [])
        if not certain or not here.key:
            return True
        if first:
            repeated.append(('repeated', here.key))
    return _any([('absent', here.key), *repeated])


def _own_value(node: Node, here: _Here) -> 'Optional[str]':
    """The key of `.` or of an attribute of the node itself; None for any other expression."""
    if node.kind != 'path' or node.absolute or len(node.steps) != 1 or node.steps[0].predicates or not here.key:
        return None
    step = node.steps[0]
    if step.axis == 'self' and step.test == 'node()':
        return here.key
    if step.axis == 'attribute' and ATTRIBUTE not in here.key and is_name(step.test):
        return here.key + ATTRIBUTE + _expanded(step.test)
    return None


def _over_path(path: Node, here: _Here) -> 'Tuple[Need, _Here]':
    """What a path needs, and where it ends."""
    here = _DOCUMENT if path.absolute else here
    needs: 'List[Need]' = []
    for step in path.steps:
        if _is_reading(step):
            # A scan does not read arguments as the guard does, so all that it can look for is an argument.
            return _all(needs + [_presence(here)]), _SOMEWHERE
        here = _take_step(step, here, needs)
        needs += [_over(predicate, here) for predicate in step.predicates]
    return _all(needs + [_presence(here)]), here


def _take_step(step: Step, here: _Here, needs: 'List[Need]') -> _Here:
    if step.axis == 'self' and step.test == 'node()':
        return here
    if step.axis == 'child' and is_name(step.test):
        name = _expanded(step.test)
        if here.key is not None and ATTRIBUTE not in here.key:
            return _Here(here.key + ELEMENT + name, here.key == '')
        needs.append(('name', name))
        return _SOMEWHERE
    if step.axis == 'attribute' and is_name(step.test) and here.key and ATTRIBUTE not in here.key:
        return _Here(here.key + ATTRIBUTE + _expanded(step.test), here.single)
    if step.axis not in ('parent', 'ancestor', 'ancestor-or-self', 'preceding', 'following'):
        needs.append(_presence(here))
    return _SOMEWHERE


def _presence(here: _Here) -> 'Need':
    return ('present', here.key) if here.key else True


def _is_reading(step: Step) -> bool:
    prefix, colon, _ = step.test.partition(':')
    return bool(colon) and NAMESPACES.get(prefix) == ARG_NS


def _expanded(name: str) -> str:
    """A name as expat writes it."""
    prefix, colon, local = name.partition(':')
    return NAMESPACES[prefix] + NAMESPACE + local if colon else name
