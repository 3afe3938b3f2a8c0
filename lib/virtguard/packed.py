# SPDX-License-Identifier: Apache-2.0
"""Rules and waivers <-> what a compiled file has of them, for verdicts that need it. Pure: no I/O."""

import marshal

from . import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Sequence, Tuple

_MARSHAL = 4  # the version of the form that Python writes from 3.4 on, and reads ever since
# What judging needs of a rule, in the order in which it is packed; but its values, which compiled has for every start.
_RULE_FIELDS = 'id title action why remedy match probe host reference origin at waivable negated places'.split()


def marshalled(data: 'Any') -> bytes:
    """Plain data as every Python from 3.4 on reads it, whichever has written it."""
    return marshal.dumps(data, _MARSHAL)


def pack_rule(rule: model.Rule) -> 'Tuple[Any, ...]':
    """What judging needs of a rule but its values, as data that can be marshalled."""
    fields = (pack_conditions(rule) if name == 'host' else getattr(rule, name) for name in _RULE_FIELDS)
    return tuple(str(field) if isinstance(field, model.Phrase) else field for field in fields)


def unpack_rule(packed: 'Sequence[Any]') -> model.Rule:
    """The rule that pack_rule has packed, without values."""
    fields: 'Dict[str, Any]' = dict(zip(_RULE_FIELDS, packed))
    fields['host'] = tuple(model.HostCondition(*condition) for condition in fields['host'])
    return model.Rule(**fields)


def pack_conditions(rule: model.Rule) -> 'Tuple[Any, ...]':
    """A rule's conditions about the host, packed."""
    return tuple((condition.fact, condition.values, condition.negated, condition.span) for condition in rule.host)


def pack_waivers(waivers: 'Iterable[model.Waiver]') -> bytes:
    """Waivers, in the order in which model.Waiver takes what they have."""
    names = model.Waiver.__slots__
    return marshalled(tuple(tuple(getattr(waiver, name) for name in names) for waiver in waivers))


def unpack_waivers(data: bytes) -> 'Tuple[model.Waiver, ...]':
    """What pack_waivers has packed."""
    return tuple(model.Waiver(*waiver) for waiver in marshal.loads(data))
