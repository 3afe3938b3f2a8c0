# SPDX-License-Identifier: Apache-2.0
"""What judging one change of a domain has come to, as data that another process can send. Pure: no I/O.

Also how large a change may be that this process judges itself, without keeping the others waiting.
"""

from .. import model
from ..errors import GuardError
from ..model import Occurrence
from .auditor import Tracked
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Sequence, Tuple

# At worst, documents within these limits take some 50 ms: an OS id in each element, a rule that finds each.
_LIGHT_BYTES = 64 << 10
_LIGHT_TAGS = 1500
_LIGHT_TAG = 4096  # bytes, not twice as many: libxml2 compares each attribute of an element with each other
SMALL = 256 << 10  # bytes of files: up to this, checking whether they are light takes no time

# How much is kept of a domain. More would be an attack on memory.
MAX_DOCUMENT = 1 << 20
MAX_STATE = 2 << 20


class Raw(bytes):
    """A file's content as it was read; a process of its own finds out what it is, and whether it can be parsed."""


def is_light(documents: 'Iterable[bytes]') -> bool:
    """Whether documents can be parsed and judged in no time."""
    size = tags = 0
    for document in documents:
        size += len(document)
        if size > _LIGHT_BYTES or isinstance(document, Raw):
            return False
        tags += document.count(b'<')
        if tags > _LIGHT_TAGS:
            return False
        for start in range(0, len(document) - _LIGHT_TAG, _LIGHT_TAG):
            if document.find(b'<', start, start + _LIGHT_TAG) < 0:
                return False
    return True


def documents_of(*states: State) -> 'Iterable[bytes]':
    for state in states:
        if state.status is not None:
            yield state.status
        yield from state.others.values()


def check_size(state: State) -> None:
    """:raises GuardError: it is too much to be kept"""
    sizes = [len(document) for document in documents_of(state)]
    if max(sizes, default=0) > MAX_DOCUMENT or sum(sizes) > MAX_STATE:
        limit = MAX_DOCUMENT if max(sizes) > MAX_DOCUMENT else MAX_STATE
        raise GuardError('it is larger than %d MiB without what no rule asks about' % (limit >> 20))


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
