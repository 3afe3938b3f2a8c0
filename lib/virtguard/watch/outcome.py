# SPDX-License-Identifier: Apache-2.0
"""What judging one change of a domain has come to, as data that another process can send. Pure: no I/O."""

from .. import model
from ..model import Occurrence
from .auditor import Tracked
from .state import Raw, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Sequence, Tuple


def pack(tracked: Tracked, news: 'Sequence[Occurrence]', submitted: State, policy: model.Policy) -> 'Dict[str, Any]':
    """A domain that was judged, and what is news of it; only those documents that were Raw when it was submitted."""
    taken = [(kind, name, tracked.state.others[kind, name]) for kind, name in _raw(submitted)]
    return {
        'uuid': str(tracked.uuid),
        'held': {str(key): str(since) for key, since in tracked.held.items()},
        'status': tracked.state.status if isinstance(submitted.status, Raw) else None,
        'others': taken,
        'news': [_pack_occurrence(occurrence, policy) for occurrence in news],
    }


def unpack(
    message: 'Dict[str, Any]', tracked: Tracked, submitted: State, policy: model.Policy
) -> 'Tuple[Tracked, List[Occurrence]]':
    """What `pack` has packed; `tracked` is the domain as it was before."""
    status = message['status'] if isinstance(submitted.status, Raw) else submitted.status
    others = dict(submitted.others)
    others.update(((kind, name), document) for kind, name, document in message['others'])
    after = tracked.copy()
    after.uuid, after.held, after.state = message['uuid'], message['held'], State(status, others)
    rules = {rule.id: rule for rule in policy.rules}
    return after, [_unpack_occurrence(packed, rules, policy) for packed in message['news']]


def _raw(state: State) -> 'Iterable[Tuple[str, str]]':
    return [key for key, document in state.others.items() if isinstance(document, Raw)]


def _pack_occurrence(occurrence: Occurrence, policy: model.Policy) -> 'Tuple[Any, ...]':
    texts = (occurrence.key, occurrence.before, occurrence.after, occurrence.since)
    return tuple(map(str, texts)), pack_finding(occurrence.finding, policy)


def _unpack_occurrence(packed: 'Tuple[Any, ...]', rules: 'Dict[str, model.Rule]', policy: model.Policy) -> Occurrence:
    (key, before, after, since), finding = packed
    return Occurrence(key, unpack_finding(finding, rules, policy), before, after, since)


def pack_finding(finding: model.Finding, policy: model.Policy) -> 'Tuple[Any, ...]':
    f = finding
    waiver = -1 if f.waiver is None else policy.waivers.index(f.waiver)
    # A text from lxml may be of a class that only lxml knows.
    return f.rule.id, str(f.status), str(f.path), f.line, str(f.evidence), str(f.message), waiver, f.more


def unpack_finding(packed: 'Tuple[Any, ...]', rules: 'Dict[str, model.Rule]', policy: model.Policy) -> model.Finding:
    rule, status, path, line, evidence, message, waiver, more = packed
    permitted = policy.waivers[waiver] if waiver >= 0 else None
    return model.Finding(rules[rule], status, path, line, evidence, message, permitted, more)
