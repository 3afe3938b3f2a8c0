# SPDX-License-Identifier: Apache-2.0
"""The messages about a name or a value in a match that no domain can have. Pure: no I/O."""

from ..errors import nearest, suggest
from .relaxng import Element, Value
from .syntax import NAMESPACES, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional

    from .relaxng import Pattern, Patterns, Schema
    from .syntax import Node, Step

_PREFIXES = {uri: prefix + ':' for prefix, uri in NAMESPACES.items()}
_PREFIXES[''] = ''
_MOST_NAMED = 3
_RELATIONS = {'attribute': 'on', 'self': 'among', 'parent': 'above', 'ancestor': 'above'}


class Mistake:
    """What no domain can have: `offset` is where in the match, or `value` which of the rule's values (from 0)."""

    __slots__ = ('message', 'hint', 'offset', 'value')

    def __init__(self, message: str, hint: str, offset: int, value: 'Optional[int]' = None) -> None:
        self.message = message
        self.hint = hint
        self.offset = offset
        self.value = value


def missing(
    step: 'Step',
    origin: 'Optional[Patterns]',
    there: 'Patterns',
    of_other_kind: 'Patterns',
    schema: 'Schema',
) -> Mistake:
    """The mistake that a step leads nowhere.

    :param origin: the place under which it is missing, for the message; None for the whole document
    :param there: what the step could have reached, whatever its name
    :param of_other_kind: the children where an attribute is asked for, the attributes where anything else is
    """
    is_attribute = step.axis == 'attribute'
    where = 'in any domain'
    if origin is not None:
        where = '%s %s' % (_RELATIONS.get(step.axis, 'under'), describe(origin))
    message = _by_schema('no %s %s' % (_show(step.test, is_attribute), where))
    if not is_name(step.test):
        return Mistake(message, '', step.offset)
    near = nearest(step.test, _known(there, is_attribute))
    if step.test in _known(of_other_kind, not is_attribute):
        hint = 'did you mean %s?' % _show(step.test, not is_attribute)
    elif near is not None:
        hint = 'did you mean %s?' % _show(near, is_attribute)
    else:
        hint = _elsewhere(step, schema) or 'if a newer libvirt has it, say so with since'
    return Mistake(message, hint, step.offset)


def _known(patterns: 'Patterns', is_attribute: bool) -> 'List[str]':
    """The names of those of `patterns` that are attributes, or of those that are not."""
    return sorted(
        {name for pattern in patterns if isinstance(pattern, Value) == is_attribute for name in names_of(pattern)}
    )


def _elsewhere(step: 'Step', schema: 'Schema') -> str:
    kind = Value if step.axis == 'attribute' else Element
    parents = [
        parent
        for pattern, owners in schema.parents().items()
        if isinstance(pattern, kind) and step.test in names_of(pattern)
        for parent in owners
    ]
    relation = 'on' if step.axis == 'attribute' else 'under'
    return 'it is known %s %s' % (relation, describe(parents)) if parents else ''


def wrong_value(what: str, value: str, known: 'List[str]', offset: int, number: 'Optional[int]') -> Mistake:
    """The mistake that `what` never has a value; `known` are those that it may have."""
    hint = suggest(value, known) if known else 'it has no text'
    return Mistake(_by_schema('%s is never %r' % (what, value)), hint, offset, number)


def wrong_name(patterns: 'Patterns', literal: 'Node', known: 'List[str]') -> Mistake:
    """The mistake that none of `patterns` has the name in a literal; `known` are those that they have."""
    message = _by_schema('%s is never named %r' % (describe(patterns), literal.text))
    return Mistake(message, suggest(literal.text, known), literal.offset)


def unmet(patterns: 'Patterns', offset: int) -> Mistake:
    """The mistake that none of `patterns` meets the condition at `offset`."""
    return Mistake(_by_schema('no %s can meet this condition and those before it' % describe(patterns)), '', offset)


def contradiction(shown: str, first: str, literal: 'Node') -> Mistake:
    """The mistake that the same text is compared with `first` and, later, with a literal."""
    message = '%s cannot be %r and %r at once' % (shown, first, literal.text)
    return Mistake(message, 'join them with or', literal.offset)


def describe(patterns: 'Iterable[Pattern]') -> str:
    """Elements and attributes by their names: <disk>, @type."""
    shown = sorted({_show(name, isinstance(pattern, Value)) for pattern in patterns for name in names_of(pattern)})
    if len(shown) > _MOST_NAMED:
        return '%s and %d others' % (', '.join(shown[: _MOST_NAMED - 1]), len(shown) - _MOST_NAMED + 1)
    return ' or '.join([', '.join(shown[:-1]), *shown[-1:]] if shown[1:] else shown) or 'any node'


def names_of(pattern: 'Pattern') -> 'List[str]':
    """The names that a pattern is known to have, as a match writes them."""
    known = pattern.names.known if pattern.names else ()
    return [_PREFIXES[namespace] + local for namespace, local in known if namespace in _PREFIXES]


def _by_schema(text: str) -> str:
    return text + " in libvirt's schema"


def _show(name: str, is_attribute: bool) -> str:
    return '@' + name if is_attribute else name if name.endswith('()') else '<%s>' % name
