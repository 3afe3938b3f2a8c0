# SPDX-License-Identifier: Apache-2.0
"""Need -> program that tells whether a rule could match a domain. Pure: no I/O.

A rule that only lxml can evaluate would take every start to the worker. Its need can be evaluated without lxml, and
most domains do not meet it. What has no program here is taken as met.
"""

from ..tree import NAMESPACE
from .needs import ATTRIBUTE, ELEMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from .needs import Need

    Operation = Tuple[Any, ...]


def make_condition(need: 'Need') -> 'Optional[Operation]':
    """The program of a need, for xpath.evaluate; None where every domain may meet it."""
    if isinstance(need, bool):
        return None if need else ('constant', False)
    operator, *parts = need
    if operator in ('and', 'or'):
        made = [make_condition(part) for part in parts]
        if operator == 'or' and None in made:
            return None
        kept = tuple(part for part in made if part is not None)
        return (operator, *kept) if kept else None
    if operator == 'name':
        return 'path', True, (('descendant', _tag(parts[0]), (), True),)
    if not parts[0].partition(ATTRIBUTE)[0]:
        return None  # of the document itself, which is no element
    if operator in ('present', 'absent'):
        path = _path(parts[0], None)
        return path if operator == 'present' else ('not', path)
    test = _test(operator, _attribute(parts[0]), *parts[1:])
    return None if test is None else _path(parts[0], test)


def _test(operator: str, attribute: str, *argument: 'Any') -> 'Optional[Operation]':
    """What must hold of an element, or of an attribute of it ('': of its own text)."""
    if operator in ('in', 'out'):
        test: 'Operation' = ('in', attribute or '.', tuple(argument[0]))
        return test if operator == 'in' else ('not', test)
    if operator in ('contains', 'starts-with'):
        text: 'Operation' = ('value', attribute) if attribute else ('string',)
        return 'call', operator, (text, ('constant', argument[0]))
    return ('not', ('has', attribute)) if operator == 'missing' else None


def _path(key: str, test: 'Optional[Operation]') -> 'Operation':
    """The elements of a key that meet a test; without one, those that have the key's attribute, if it has one."""
    steps: 'List[Operation]' = [
        ('child', _tag(name), (), False) for name in key.partition(ATTRIBUTE)[0].split(ELEMENT)[1:]
    ]
    attribute = _attribute(key)
    if test is None and attribute:
        test = ('has', attribute)
    if test is not None:
        steps[-1] = (*steps[-1][:2], (test,), False)
    return 'path', True, tuple(steps)


def _attribute(key: str) -> str:
    return _tag(key.partition(ATTRIBUTE)[2])


def _tag(name: str) -> str:
    """A name as the tree writes it."""
    uri, separator, local = name.partition(NAMESPACE)
    return '{%s}%s' % (uri, local) if separator else name
