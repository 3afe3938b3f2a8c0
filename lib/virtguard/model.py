# SPDX-License-Identifier: Apache-2.0
"""What the guard reasons about: rules, waivers, findings, and all that `verdict` has. Plain data."""

from .verdict import (
    ADMISSION,
    ADMIT,
    ARCHITECTURES,
    COMPILED,
    DEFAULT_SETTINGS,
    DENY,
    ERROR,
    EXPIRY,
    GUARD_CHANGED,
    HAPPENED,
    KVM_TYPES,
    MAX_XML_BYTES,
    POLICY_CHANGED,
    RUNTIME,
    UNKNOWN,
    UNWATCHED,
    VENDORS,
    WAIVED,
    WARN,
    WATCH_STARTED,
    WATCH_STOPPED,
    WOULD_DENY,
    HostCondition,
    HostFacts,
    Policy,
    Verdict,
    mode_on,
    release_of,
)

__all__ = [
    'ADMISSION',
    'ADMIT',
    'ARCHITECTURES',
    'COMPILED',
    'DEFAULT_SETTINGS',
    'DENY',
    'ERROR',
    'EXPIRY',
    'GUARD_CHANGED',
    'HAPPENED',
    'KVM_TYPES',
    'MAX_XML_BYTES',
    'POLICY_CHANGED',
    'UNKNOWN',
    'UNWATCHED',
    'VENDORS',
    'WAIVED',
    'WARN',
    'WATCH_STARTED',
    'WATCH_STOPPED',
    'WOULD_DENY',
    'HostCondition',
    'HostFacts',
    'Policy',
    'Verdict',
    'mode_on',
    'release_of',
    'FINDING_KEYS',
    'KNOWN_FROM',
    'MAX_FINDINGS_PER_RULE',
    'MAX_POLICY_BYTES',
    'RUNTIME',
    'START',
    'UNCONFIRMED',
    'Finding',
    'Occurrence',
    'Phrase',
    'Rule',
    'ValueSet',
    'Waiver',
    'as_phrase',
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple, Union

    from .verdict import Answer as Answer
    from .verdict import Answered as Answered
    from .verdict import Release as Release
    from .verdict import Span as Span

    Origin = Tuple[str, int]  # file, 1-based line
    Version = Tuple[int, int, int]  # major, minor, micro
    DomainEntry = Union[str, Tuple[str, str]]  # a UUID or a glob over names; a UUID and a glob

# Far beyond any real policy; what is larger is an attack on memory.
MAX_POLICY_BYTES = 1024 * 1024
# Findings of one rule and status in one domain; its owner may repeat an element at will. Further ones are counted.
MAX_FINDINGS_PER_RULE = 16

# The keys of a rule that decide whether it finds something; the others say what follows.
FINDING_KEYS = ('at', 'phase', 'match', 'values', 'probe', 'host')

# What a rule may be known from. A domain is not refused for something that nothing at hand confirms.
UNCONFIRMED = 'unconfirmed'
KNOWN_FROM = ('list', 'document', 'source', 'derived', UNCONFIRMED)

# When a rule is judged: as a domain starts, or as a running one changes. A rule of START speaks of what only the last
# call of a start shows: labels in force, resolved networks and volumes. So it is judged there, and where a domain runs,
# but not on a definition.
START = 'start'


class Phrase(str):
    """An English text that is made of a `phrase`, as the catalogs of other languages have it, and of `values` in it;
    those that are such texts, too, have a translation of their own."""

    __slots__ = ('phrase', 'values')
    phrase: str
    values: 'Tuple[object, ...]'

    def __new__(cls, phrase: str, *values: object) -> 'Phrase':
        text = str.__new__(cls, phrase % values if values else phrase)
        text.phrase, text.values = phrase, values
        return text

    def told(self, texts: 'Dict[str, str]') -> str:
        """The same in the language of these texts, as far as they have it."""
        values = tuple(value.told(texts) if isinstance(value, Phrase) else value for value in self.values)
        phrase = texts.get(' '.join(self.phrase.split()), self.phrase)
        return phrase % values if values else phrase


def as_phrase(text: str) -> Phrase:
    return text if isinstance(text, Phrase) else Phrase(text)


class ValueSet:
    """The values that a named set stands for.

    `name` is the set as a policy writes it, `source` where its values come from, `problems` what could not be used.
    """

    __slots__ = ('name', 'values', 'source', 'problems')

    def __init__(self, name: str, values: 'Tuple[str, ...]', source: str, problems: 'Tuple[str, ...]' = ()) -> None:
        self.name = name
        self.values = values
        self.source = source
        self.problems = problems


class Rule:
    """One requirement of a policy. Texts are the policy author's.

    `values` are those of `value_set` if the policy names a set; if `negated`, the rule finds all other values.
    `since` are names and values in `match` that older libvirts do not know, each with its first version. `supported`
    are products that support the feature. `origin` is where the rule is defined, `origins` where each of its keys got
    its value; `reason` why a site changed it; `known_from` what the rule rests on, one of KNOWN_FROM. `places`
    are those that the probe real-path asks about: paths, and directories that a path may lie below.
    """

    __slots__ = (
        'id title action at match values probe host since why remedy reference waivable reason origin origins '
        'value_set supported negated known_from places'
    ).split()

    def __init__(
        self,
        id: str,
        title: str,
        action: str,
        why: str,
        remedy: str,
        match: 'Optional[str]' = None,
        values: 'Optional[Tuple[str, ...]]' = None,
        probe: 'Optional[str]' = None,
        host: 'Tuple[HostCondition, ...]' = (),
        reference: str = '',
        origin: 'Origin' = ('', 0),
        at: str = ADMISSION,
        waivable: bool = True,
        reason: str = '',
        origins: 'Optional[Dict[str, Origin]]' = None,
        since: 'Tuple[Tuple[str, Version], ...]' = (),
        value_set: 'Optional[ValueSet]' = None,
        supported: 'Tuple[str, ...]' = (),
        negated: bool = False,
        known_from: str = '',
        places: 'Tuple[Tuple[str, ...], Tuple[str, ...]]' = ((), ()),
    ) -> None:
        self.id = id
        self.title = title
        self.action = action
        self.at = at
        self.match = match
        self.values = values
        self.probe = probe
        self.host = host
        self.since = since
        self.why = why
        self.remedy = remedy
        self.reference = reference
        self.waivable = waivable
        self.reason = reason
        self.origin = origin
        self.origins = origins or {}
        self.value_set = value_set
        self.supported = supported
        self.negated = negated
        self.known_from = known_from
        self.places = places


class Waiver:
    """A permission: findings of these rules in these domains deny nothing, up to and including the day it expires.

    `domains` are UUIDs in lower case, globs over names, and pairs of both, each of which speaks of a domain that has
    both; `expires` is YYYY-MM-DD, a day of the host's own calendar.
    `origin` is where the waiver begins, `origins` where each of its keys got its value.
    """

    __slots__ = ('rules', 'domains', 'reason', 'approved_by', 'expires', 'ticket', 'origin', 'origins')

    def __init__(
        self,
        rules: 'Tuple[str, ...]',
        domains: 'Tuple[DomainEntry, ...]',
        reason: str,
        approved_by: str,
        expires: str,
        ticket: str = '',
        origin: 'Origin' = ('', 0),
        origins: 'Optional[Dict[str, Origin]]' = None,
    ) -> None:
        self.rules = rules
        self.domains = domains
        self.reason = reason
        self.approved_by = approved_by
        self.expires = expires
        self.ticket = ticket
        self.origin = origin
        self.origins = origins or {}


# Remedies of rules speak of libvirt's elements; at these places something else must be changed.
_QEMU = '/domain/qemu:'
_PAST_LIBVIRT = (
    (
        '/qemu:commandline/qemu:arg',
        'remove this argument, and the option it belongs to, from <qemu:commandline> (virsh edit)',
    ),
    ('/qemu:commandline/qemu:env', 'remove this variable from <qemu:commandline> (virsh edit)'),
    ('/qemu:override/', 'remove this property from <qemu:override> (virsh edit)'),
)


class Finding:
    """One rule, one place, one observed value. `line` is 1-based, 0 where the place has none.

    `waiver` is the one that speaks of it: if it is in force, the status is WAIVED, else the message says why not.
    `more` is how many further places with the same rule and status it stands for.
    """

    __slots__ = ('rule', 'status', 'path', 'line', 'evidence', 'message', 'waiver', 'more')

    def __init__(
        self,
        rule: Rule,
        status: str,
        path: str,
        line: int,
        evidence: str,
        message: str,
        waiver: 'Optional[Waiver]' = None,
        more: int = 0,
    ) -> None:
        self.rule = rule
        self.status = status
        self.path = path
        self.line = line
        self.evidence = evidence
        self.message = message
        self.waiver = waiver
        self.more = more

    @property
    def remedy(self) -> str:
        """What to do at this place: the rule's own remedy, which speaks of libvirt's elements, or another one."""
        for passed, remedy in _PAST_LIBVIRT:
            if passed in self.path and any(
                not part.strip().startswith(_QEMU) for part in (self.rule.match or '').split('|')
            ):
                return remedy
        return ' '.join(self.rule.remedy.split())


class Occurrence:
    """A finding that holds. `key` tells it from others as long as it holds, `since` is when it began to hold.

    `before` and `after` are what was seen at its place then and now ('': nothing is there). `event` is the same only
    if the same occurrence is told again.
    """

    __slots__ = ('key', 'finding', 'before', 'after', 'since', 'event')

    def __init__(self, key: str, finding: Finding, before: str, after: str, since: str) -> None:
        self.key = key
        self.finding = finding
        self.before = before
        self.after = after
        self.since = since
        self.event = ''
