# SPDX-License-Identifier: Apache-2.0
"""Which rules may match a document with these marks; if none may, as for most, a domain is admitted. Pure: no I/O.

Every start pays for this. See match/needs for how a rule's need is derived; a need is data, made to be marshalled:

    True, False                       may match any domain, no domain
    ('and', need...), ('or', need...)
    ('present', key)                  an element or attribute is there
    ('absent', key)                   no such element or attribute is there
    ('repeated', key)                 there are several elements
    ('missing', key)                  an element lacks the attribute
    ('in', key, texts)                one has one of these values
    ('out', key, texts)               one has another value than these, or lacks the attribute; texts may also be one
                                      string, see join_texts
    ('contains', key, text), ('starts-with', key, text)
    ('name', name)                    an element of that name is anywhere
    ('above', key, number)            one has a greater number
"""

import marshal

from . import model, scan
from .scan import NAMESPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    Need = Any

# What judging needs of a rule, in the order in which it is packed.
_RULE_FIELDS = 'id title action why remedy match values probe host reference origin at waivable negated'.split()


class Screen:
    """A policy in a form that admits most domains without its rules; `policy` has no rules and no waivers.

    :param content: as prepare in policy/compiler has made it
    """

    __slots__ = ('policy', 'needed_facts', '_index', '_needs', '_details')

    def __init__(self, content: 'Tuple[Any, ...]') -> None:
        settings, needed_facts, wanted, names, needs, details = content
        name, mode, failure, deadline, audit_required, sha256, source, audit_until = settings
        if mode not in ('enforce', 'audit') or failure not in ('deny', 'admit') or not deadline > 0:
            raise ValueError('it has settings that no policy has')
        self.policy = model.Policy(
            name, mode, failure, deadline, audit_required, (), sha256, source, audit_until=audit_until
        )
        self.needed_facts = needed_facts
        self._index = scan.Index(wanted, frozenset(names))
        self._needs = needs
        self._details = details

    def screen(self, xml: bytes, host: model.HostFacts) -> 'Tuple[Optional[model.Verdict], List[int]]':
        """The verdict on a domain that no rule can match; else None, and the numbers of the rules that must be judged
        with lxml, which may also find that the document is not well-formed.

        :raises DomainXMLError: it has a DOCTYPE
        """
        found = scan.find_marks(xml, self._index)
        candidates = []
        for number, conditions, need in self._needs:
            if (found is None or holds(need, found)) and _may_apply(conditions, host):
                candidates.append(number)
        if candidates or found is None or found.root != 'domain' or not _is_usual(found):
            return None, candidates
        return self.admit(found.texts.get(scan.NAME_KEY, ''), found.texts.get(scan.UUID_KEY, '')), []

    def admit(self, name: str, uuid: str) -> model.Verdict:
        """The verdict on a domain that no rule can match."""
        return model.Verdict(name, uuid, self.policy, ())

    def needs(self, host: model.HostFacts) -> 'List[Tuple[int, Need]]':
        """The rules that may find something on this host: their numbers, and what they need of a document."""
        return [(number, need) for number, conditions, need in self._needs if _may_apply(conditions, host)]

    def narrowed(self, numbers: 'Sequence[int]') -> model.Policy:
        """The policy with the rules of these numbers, and with its waivers."""
        rules, waivers = marshal.loads(self._details)
        policy = self.policy
        return model.Policy(
            policy.name,
            policy.mode,
            policy.failure,
            policy.deadline,
            policy.audit_required,
            tuple(unpack_rule(rules[number]) for number in numbers),
            policy.sha256,
            policy.source,
            tuple(model.Waiver(*waiver) for waiver in waivers),
            audit_until=policy.audit_until,
        )


def _is_usual(found: scan.Marks) -> bool:
    """Whether a domain is one that can be judged, see judging/refused."""
    types, architectures = found.values.get(scan.TYPE_KEY, ()), found.values.get(scan.ARCH_KEY, ())
    return model.KVM_TYPES.issuperset(types) and model.ARCHITECTURES.issuperset(architectures)


def _may_apply(conditions: 'Tuple[Any, ...]', host: model.HostFacts) -> bool:
    return all(model.HostCondition(*condition).met_by(host) is not False for condition in conditions)


def pack_rule(rule: model.Rule) -> 'Tuple[Any, ...]':
    """What judging needs of a rule, as data that can be marshalled."""
    return tuple(pack_conditions(rule) if name == 'host' else getattr(rule, name) for name in _RULE_FIELDS)


def unpack_rule(packed: 'Tuple[Any, ...]') -> model.Rule:
    """The rule that pack_rule has packed."""
    fields: 'Dict[str, Any]' = dict(zip(_RULE_FIELDS, packed))
    fields['host'] = tuple(model.HostCondition(*condition) for condition in fields['host'])
    return model.Rule(**fields)


def pack_conditions(rule: model.Rule) -> 'Tuple[Any, ...]':
    """A rule's conditions about the host, packed."""
    return tuple((condition.fact, condition.values, condition.negated, condition.span) for condition in rule.host)


def pack_waiver(waiver: model.Waiver) -> 'Tuple[Any, ...]':
    """A waiver as data, in the order in which Waiver takes it."""
    return tuple(getattr(waiver, name) for name in model.Waiver.__slots__)


def join_texts(texts: 'Iterable[str]') -> str:
    """Texts joined to one string, which loads ten times as fast as a thousand texts. None may contain NAMESPACE."""
    return NAMESPACE + ''.join(text + NAMESPACE for text in texts)


def _is_out(value: 'Optional[str]', texts: 'Union[str, Tuple[str, ...]]') -> bool:
    if isinstance(texts, str):
        return value is None or join_texts((value,)) not in texts
    return value not in texts


def holds(need: 'Need', marks: scan.Marks) -> bool:
    """Whether a rule with this need may match a document with these marks."""
    if need is True or need is False:
        return bool(need)
    operator = need[0]
    # Loops, because with a thousand rules the hook does little else, and generators take twice the time.
    if operator == 'and':
        for part in need[1:]:  # noqa: SIM110
            if not holds(part, marks):
                return False
        return True
    if operator == 'or':
        for part in need[1:]:  # noqa: SIM110
            if holds(part, marks):
                return True
        return False
    if operator == 'name':
        return need[1] in marks.names
    if operator == 'repeated':
        return need[1] in marks.repeated
    values = marks.values.get(need[1])
    if values is None:
        return bool(operator == 'absent')
    return bool(_TESTS[operator](values, need[2] if len(need) > 2 else None))


# An element whose text is not asked for has no values; an attribute that no element has, only None.
_TESTS: 'Dict[str, Any]' = {
    'present': lambda values, _: values != {None},
    'absent': lambda values, _: values == {None},
    'missing': lambda values, _: None in values,
    'in': lambda values, wanted: not values.isdisjoint(wanted),
    'out': lambda values, wanted: any(_is_out(value, wanted) for value in values),
    'contains': lambda values, text: any(text in value for value in values if value is not None),
    'starts-with': lambda values, text: any(value.startswith(text) for value in values if value is not None),
    'above': lambda values, number: any(_is_above(value, number) for value in values),
}


def _is_above(value: 'Optional[str]', number: float) -> bool:
    try:
        return float(value or 'nan') > number  # it reads all that XPath reads, in the same way, and more
    except ValueError:
        return False
