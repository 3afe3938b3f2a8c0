# SPDX-License-Identifier: Apache-2.0
"""Policy -> YAML text, in which every value has the place that it came from. Pure: no I/O.

The text is a policy again: read back, it judges as the policy that it was made of. Also how a policy writes a range of
releases, for all that shows one.
"""

import json
import re

from .. import model, wording
from .probes import REAL_PATH, keyed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Tuple

    Lines = Iterator[Tuple[str, str]]  # the line, and the comment behind it

_COLUMN = 40  # of the comments, where the line is not longer
# What YAML reads as text, and never as anything else.
_PLAIN = re.compile(r'[A-Za-z/][\w./-]*(?: [\w./-]+)*\Z', re.ASCII)
_NOT_TEXT = frozenset('true false yes no on off null y n none'.split())


def show_policy(policy: model.Policy) -> str:
    """The whole policy; behind each value stands `# FILE:LINE`, or `# default`."""
    lines: 'List[str]' = []
    for line, comment in _policy(policy):
        lines.append('%-*s  # %s' % (_COLUMN, line, comment) if comment else line)
    return ''.join(line + '\n' for line in lines)


def _policy(policy: model.Policy) -> 'Lines':
    deadline = '%g' % policy.deadline
    audit = '{required: %s}' % _boolean(policy.audit_required)
    settings = [('policy', _scalar(policy.name)), ('mode', _mode(policy)), ('failure', policy.failure)]
    for key, text in settings + [('deadline', deadline), ('audit', audit), ('language', policy.language)]:
        yield '%s: %s' % (key, text), _origin_text(policy.origins.get(key))
    yield 'rules:', ''
    for rule in policy.rules:
        yield from _item(_rule(rule), rule.origins)
    if policy.waivers:
        yield 'waivers:', ''
    for waiver in policy.waivers:
        yield from _item(_waiver(waiver), waiver.origins)


def _rule(rule: model.Rule) -> 'Iterator[Tuple[str, object]]':
    yield 'id', rule.id
    yield 'title', rule.title
    yield 'action', rule.action
    if rule.at == model.START:
        yield 'phase', model.START
    elif rule.at != model.ADMISSION:
        yield 'at', rule.at
    yield 'match', rule.match
    yield 'values', rule.value_set or rule.values
    yield 'probe', _places(rule) if rule.probe == REAL_PATH else rule.probe
    yield 'host', rule.host
    yield 'since', rule.since
    yield 'why', rule.why
    yield 'remedy', rule.remedy
    yield 'supported', rule.supported
    yield 'reference', rule.reference
    yield 'known-from', rule.known_from
    if not rule.waivable:
        yield 'waivable', False
    yield 'reason', rule.reason


def _places(rule: model.Rule) -> model.ValueSet:
    shown = ['%s: [%s]' % (key, ', '.join(map(_scalar, paths))) for key, paths in keyed(rule.places)]
    return model.ValueSet('{%s: {%s}}' % (REAL_PATH, ', '.join(shown)), (), '')


def _waiver(waiver: model.Waiver) -> 'Iterator[Tuple[str, object]]':
    yield 'rules', waiver.rules
    yield 'domains', waiver.domains
    yield 'reason', waiver.reason
    yield 'approved-by', waiver.approved_by
    yield 'expires', waiver.expires
    yield 'ticket', waiver.ticket


def _item(keys: 'Iterable[Tuple[str, object]]', origins: 'Dict[str, model.Origin]') -> 'Lines':
    lead = '  - '
    for key, value in keys:
        place = _origin_text(origins.get(key))
        if value is None or value == () or value == '':
            continue
        if key == 'host':
            yield '%s%s: {%s}' % (lead, key, ', '.join(map(_condition, value))), place  # type: ignore[call-overload]
        elif isinstance(value, model.ValueSet):
            yield '%s%s: %s' % (lead, key, value.name), place
        elif key == 'since':
            since = ['%s: "%d.%d.%d"' % (_scalar(name), *version) for name, version in value]  # type: ignore[attr-defined]
            yield '%s%s: {%s}' % (lead, key, ', '.join(since)), place
        elif isinstance(value, tuple):
            yield '%s%s:' % (lead, key), place
            for entry in value:
                yield '      - ' + (_scalar(entry) if isinstance(entry, str) else _both(*entry)), ''
        else:
            yield '%s%s: %s' % (lead, key, _boolean(value) if isinstance(value, bool) else _scalar(str(value))), place
        lead = '    '


def _both(uuid: str, name: str) -> str:
    return '{uuid: %s, name: %s}' % (_scalar(uuid), _scalar(name))


def _condition(condition: model.HostCondition) -> str:
    if condition.span is not None:
        return '%s: {%s}' % (condition.fact, ', '.join('%s: %s' % bound for bound in bounds_of(condition.span)))
    values = '[%s]' % ', '.join(_scalar(value) for value in condition.values)
    return '%s: %s' % (condition.fact, '{not: %s}' % values if condition.negated else values)


def bounds_of(span: 'model.Span') -> 'List[Tuple[str, str]]':
    """The bounds of a range of releases: `from` or `before`, and a release."""
    vendor, first, end = span
    numbers = {'from': first, 'before': end}
    return [(key, '%s-%s' % (vendor, '.'.join(map(str, number)))) for key, number in numbers.items() if number]


def _origin_text(origin: 'Optional[model.Origin]') -> str:
    return wording.escape('%s:%d' % origin) if origin is not None else 'default'


def _mode(policy: model.Policy) -> str:
    return '{audit-until: %s}' % policy.audit_until if policy.audit_until else policy.mode


def _boolean(value: bool) -> str:
    return 'true' if value else 'false'


def _scalar(text: str) -> str:
    if _PLAIN.match(text) and text.lower() not in _NOT_TEXT:
        return text
    # A JSON string is a YAML string, unless it has characters that JSON writes as two.
    return json.dumps(text, ensure_ascii=not text.isprintable())
