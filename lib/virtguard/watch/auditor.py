# SPDX-License-Identifier: Apache-2.0
"""Judges what happens to running domains: states -> findings that hold, and which of them are new. Pure: no I/O.

Rules of run time match the transition document. Rules of admission are judged on the domain as it is now: what the
hook has let in holds from the start, and what comes later is news. A finding that holds is news once; it is forgotten
when it holds no more, so that it is news again when it happens again. So a rule may speak of a state (a block job is
under way), or of a change (there are fewer vCPUs than before), which holds for one transition.
"""

from lxml import etree

from .. import model
from ..findings import TEXT
from ..judging.evaluate import evaluate
from ..judging.subject import Subject, parse_domain
from ..match.compared import compared_in
from ..match.syntax import tokenize
from ..model import Occurrence
from .lasting_place import LastingPlace, Siblings, find_place
from .state import STATUS, State
from .transition import admitted_domain, is_another_run, transition, uuid_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

# Findings of one rule and status in one domain. Further ones are counted, and another count is news.
_MAX_HELD = 1000
_TO_LIBOSINFO = ['/', 'libosinfo:libosinfo']


class Tracked:
    """One domain (or, named '', the host's own processes): its last `state`, and what holds: key -> since.

    `run` tells one run of the domain from others, `told` how many times things have been told in this one: see
    event_id.
    """

    __slots__ = ('name', 'uuid', 'state', 'held', 'run', 'told')

    def __init__(
        self,
        name: str,
        uuid: str,
        state: State,
        held: 'Dict[str, str]',
        run: str = '',
        told: 'Optional[Dict[str, int]]' = None,
    ) -> None:
        self.name = name
        self.uuid = uuid
        self.state = state
        self.held = held
        self.run = run
        self.told: 'Dict[str, int]' = {} if told is None else told

    def copy(self) -> 'Tracked':
        return Tracked(self.name, self.uuid, self.state, self.held, self.run, self.told)


class Auditor:
    """Judges by one policy for one host on one day.

    `all_metadata`: its rules ask for more of a domain's metadata than libosinfo's.
    """

    def __init__(self, policy: model.Policy, host: model.HostFacts, today: str) -> None:
        self._policy = policy
        self.all_metadata = any(_asks_for_metadata(rule.match or '') for rule in policy.rules if rule.action != 'off')
        self._host = host
        self._today = today
        self._runtime = policy.rules_at(model.RUNTIME)
        self._of_start = policy.rules_of_start()

    def advance(self, tracked: Tracked, state: State, now: str) -> 'List[Occurrence]':
        """Take a domain to another state (or the same one, if the policy has changed); return what is news."""
        before = tracked.state
        document = transition(before, state)
        if is_another_run(document):
            news = self.advance(tracked, before.with_document(STATUS, '', None), now)
            return news + self.advance(tracked, state, now)
        tracked.state = state
        tracked.uuid = uuid_of(document[1]) or uuid_of(document[0]) or tracked.uuid
        found = self._changes(document, tracked, now)
        held: 'Dict[str, str]' = {}
        if _has_same_domain(before, state):
            held.update((key, since) for key, since in tracked.held.items() if _is_of_admission(key))
        else:
            found += self._admissions(document, tracked.held, now)
        held.update((occurrence.key, occurrence.since) for occurrence in found)
        news = [occurrence for occurrence in found if occurrence.key not in tracked.held]
        tracked.held = held
        if before.status is None:
            # It has just been let in, or was let in before anybody watched: only what should have been refused is news.
            news = [o for o in news if not _is_of_admission(o.key) or o.finding.status == model.DENY]
        return _shown(news)

    def verdict(self, name: str, state: State) -> model.Verdict:
        """Everything that holds in a state, without regard to what was before."""
        document = transition(State(), state)
        uuid = uuid_of(document[1])
        limit = model.MAX_FINDINGS_PER_RULE
        findings = self._judge_changes(document, name, uuid, limit).findings
        status = document.find('after/domstatus')
        if status is not None:
            findings = self._judge_running(admitted_domain(status), limit).findings + findings
        return model.Verdict(name, uuid, self._policy, findings, self._today)

    def verdict_on_definition(self, xml: bytes) -> model.Verdict:
        """The verdict of the rules of admission on a domain as libvirt defines it.

        :raises DomainXMLError: it is not a domain that can be judged
        """
        limit = model.MAX_FINDINGS_PER_RULE
        return evaluate(self._policy, parse_domain(xml), self._host, self._today, limit=limit)

    def on(self, day: str) -> 'Auditor':
        """An Auditor that judges by the same policy on another day."""
        return Auditor(self._policy.on(day), self._host, day)

    @property
    def policy(self) -> model.Policy:
        return self._policy

    @property
    def today(self) -> str:
        return self._today

    def verdict_on(self, tracked: Tracked, occurrence: Occurrence) -> model.Verdict:
        """The verdict on one thing that happened."""
        return model.Verdict(tracked.name, tracked.uuid, self._policy, (occurrence.finding,), self._today)

    def _changes(self, document: 'etree._Element', tracked: Tracked, now: str) -> 'List[Occurrence]':
        comparison = _Comparison(document, document[0], document[1], tracked.held, now)
        findings = self._judge_changes(document, tracked.name, tracked.uuid).findings
        return [comparison.occurrence(finding) for finding in findings]

    def _judge_changes(self, document: 'etree._Element', name: str, uuid: str, limit: int = _MAX_HELD) -> model.Verdict:
        return evaluate(self._policy, Subject(name, uuid, document), self._host, self._today, self._runtime, limit)

    def _admissions(self, document: 'etree._Element', held: 'Dict[str, str]', now: str) -> 'List[Occurrence]':
        before, after = (document.find(half + '/domstatus') for half in ('before', 'after'))
        if after is None:
            return []
        subject = admitted_domain(after)
        findings = self._judge_running(subject, _MAX_HELD).findings
        old = admitted_domain(before).root if findings and before is not None else None
        comparison = _Comparison(subject.root, old, subject.root, held, now)
        return [comparison.occurrence(finding) for finding in findings]

    def _judge_running(self, subject: Subject, limit: int) -> model.Verdict:
        """By the rules of admission and of start: a domain that runs has all that a start shows."""
        return evaluate(self._policy, subject, self._host, self._today, self._of_start, limit)


class _Comparison:
    """Findings -> occurrences: what was at the place of a finding before, and what is there now.

    :param root: the document in which things are found
    :param before, after: the halves, or the domains, in which the place of a finding is looked for
    :param held: what holds already, and since when
    """

    def __init__(
        self,
        root: 'etree._Element',
        before: 'Optional[etree._Element]',
        after: 'etree._Element',
        held: 'Dict[str, str]',
        now: str,
    ) -> None:
        self._root = root
        self._before = before
        self._after = after
        self._held = held
        self._now = now
        self._siblings = Siblings()

    def occurrence(self, finding: model.Finding) -> Occurrence:
        place = find_place(self._root, finding.path, self._siblings)
        where, identity, then, present = finding.path, finding.evidence, '', finding.evidence
        if place is not None:
            where, then, present = self._look(place, TEXT in compared_in(finding.rule))
            identity = '' if place.is_progressing() else finding.evidence
        key = '\n'.join((finding.rule.at, finding.rule.id, finding.status, where, identity))
        if finding.more:
            key += '\nand %d' % finding.more
        return Occurrence(key, finding, then, present, self._held.get(key, self._now))

    def _look(self, place: LastingPlace, text_counts: bool) -> 'Tuple[str, str, str]':
        """The name of a place, what is seen there before, and what is seen there after."""
        seen = place.evidence(text_counts)
        if self._before is not None and self._before in (place.element, *place.element.iterancestors()):
            opposite = place.in_other(self._before, self._after)
            return 'before/' + place.key(self._before), seen, opposite.evidence(text_counts) if opposite else ''
        opposite = place.in_other(self._after, self._before)
        return place.key(self._after), opposite.evidence(text_counts) if opposite else '', seen


def _has_same_domain(before: State, after: State) -> bool:
    """Whether a domain that runs is defined as before. If both are the same state, the policy has changed, and the
    domain is judged again."""
    if before is after or before.status is None or after.status is None:
        return False
    return before.domain_text() == after.domain_text()


def _shown(news: 'List[Occurrence]') -> 'List[Occurrence]':
    """As much of the news of one rule and status as a verdict shows; the last one tells how much more there is."""
    kinds: 'Dict[Tuple[str, str], List[Occurrence]]' = {}
    for occurrence in news:
        kinds.setdefault((occurrence.finding.rule.id, occurrence.finding.status), []).append(occurrence)
    shown = []
    for kind in kinds.values():
        more = sum(1 + occurrence.finding.more for occurrence in kind[model.MAX_FINDINGS_PER_RULE :])
        kind = kind[: model.MAX_FINDINGS_PER_RULE]
        if more:
            f = kind[-1].finding
            kind[-1].finding = model.Finding(f.rule, f.status, f.path, f.line, f.evidence, f.message, f.waiver, more)
        shown += kind
    return shown


def _asks_for_metadata(match: str) -> bool:
    """Whether an expression names what a watch leaves out otherwise (see metadata). If it does not, but could find such
    things by // or *, they stay out: such a rule speaks of what libvirt itself reads."""
    names = [token.text for token in tokenize(match) if token.kind == 'name' or token.text in ('/', '*', '.')]
    return any(
        name in ('title', 'description') or name == 'metadata' and names[place + 1 : place + 3] != _TO_LIBOSINFO
        for place, name in enumerate(names)
    )


def _is_of_admission(key: str) -> bool:
    return key.startswith((model.ADMISSION, model.START))
