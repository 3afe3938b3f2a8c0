# SPDX-License-Identifier: Apache-2.0
"""What a change of the policy in force does on this host: settings, and verdicts on the domains defined here."""

from ... import model
from ...errors import GuardError
from ...host import today
from ...judging.comparison import Comparer
from ...judging.judge import Judge
from ...wording import counted, escape, first_few
from .. import loading
from ..domains.domain_files import defined_domain_files
from ..domains.parallel import work_on_files
from ..output.text import Text
from ..terminal import Progress
from .notes import on_rules_of_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Tuple

    from ...judging.comparison import Comparison
    from ...policy.installation import Installation
    from ..domains.domain_files import DomainFile

    # What becomes of one domain ('' where nothing changes), the text about it, and what kept it from being judged.
    Fields = Tuple[str, str, str]

REFUSED, REFUSED_LATER, PERMITTED, WARNED, OTHER = 'refused', 'refused later', 'permitted', 'warned', 'other'
_HEADINGS = {
    REFUSED: 'These domains would be refused at their next start:',
    REFUSED_LATER: 'These domains would be refused in mode enforce:',
    PERMITTED: 'These domains would no longer be refused:',
    WARNED: 'These domains would start with a new warning:',
    OTHER: 'Other findings would change in these domains:',
}
_SUMMED = {
    REFUSED: 'refused',
    REFUSED_LATER: 'refused in mode enforce',
    PERMITTED: 'no longer refused',
    WARNED: 'with a new warning',
    OTHER: 'otherwise changed',
}
_MOST = 20  # domains below a heading, so that all headings can be seen


class Effect:
    """`settings`: a line about each setting that changes; `texts`: what is to be said of each domain that changes, by
    what becomes of it; `missed`: what could not be judged; `judged`: how many files were; `notes`: remarks."""

    __slots__ = ('settings', 'texts', 'missed', 'judged', 'notes')

    def __init__(self, settings: 'List[str]', notes: 'List[str]') -> None:
        self.settings = settings
        self.notes = notes
        self.texts: 'Dict[str, List[str]]' = {kind: [] for kind in _HEADINGS}
        self.missed: 'List[str]' = []
        self.judged = 0

    def __str__(self) -> str:
        return ''.join(line + '\n' for line in self._lines())

    def _lines(self) -> 'Iterator[str]':
        yield from map(escape, self.settings)
        for kind, texts in self.texts.items():
            if texts:
                yield _HEADINGS[kind]
                yield from (text.rstrip('\n') for text in first_few(texts, _MOST))
        if self.missed:
            yield 'This could not be judged:'
            yield from map(escape, self.missed)
        changed = sum(map(len, self.texts.values()))
        if not self.judged:
            yield from [] if self.missed else ['No domain is defined on this host.']
        elif not changed:
            yield 'The verdict on %s of this host stays as it is.' % counted(self.judged, 'domain')
        else:
            counts = ((kind, len(texts)) for kind, texts in self.texts.items())
            shown = ['%d %s' % (count, _SUMMED[kind]) for kind, count in counts if count]
            yield '%s: %s' % (counted(self.judged, 'domain'), ', '.join(shown))
        yield from ('note: ' + note for note in self.notes)


def find_effect(old: 'Optional[model.Policy]', new: model.Policy, installation: 'Installation') -> Effect:
    """Judge every domain that this host defines by both policies.

    :param old: the policy in force; None where it is broken, and judges nothing
    """
    effect = Effect(list(_settings(old, new)) if old is not None else [], list(on_rules_of_start(new, old)))
    try:
        files = defined_domain_files(installation.domains)
    except GuardError as error:
        effect.missed.append(str(error))
        return effect
    host = loading.host(None, new.needed_facts() | (old.needed_facts() if old is not None else set()))
    # No limit of findings: a finding that one verdict leaves out would look like a change.
    judges = [Judge(policy, host, today(), None) for policy in (old, new) if policy is not None]
    comparer = Comparer(old, new) if old is not None else None
    output = Text(False, False)

    def work(file: 'DomainFile') -> 'Fields':
        texts: 'Dict[str, str]' = {}
        for part in file.parts():
            try:
                if isinstance(part, GuardError):
                    raise part
                verdicts = [part.judged_by(judge.judge) for judge in judges]
            except GuardError as error:
                return give_up(file, error)
            if comparer is None:
                kind, text = _kind_of_verdict(verdicts[0]), output.verdict(file.name, verdicts[0])
            else:
                comparison = comparer.compare(*verdicts)
                kind, text = _kind_of_change(comparison), output.comparison(file.name, comparison)
            if kind:
                texts[kind] = texts.get(kind, '') + text
        return next(filter(texts.get, _HEADINGS), ''), ''.join(texts.values()), ''

    def give_up(file: 'DomainFile', error: GuardError) -> 'Fields':
        return '', '', file.complaint(error)

    progress = Progress()
    for kind, text, missed in work_on_files(work, give_up, 2 * max(judge.seconds for judge in judges), files):
        if missed:
            effect.missed.append(missed)
        else:
            effect.judged += 1
        if kind:
            effect.texts[kind].append(text)
        progress.show(effect.judged)
    progress.clear()
    return effect


def _kind_of_verdict(verdict: model.Verdict) -> str:
    if verdict.decision == model.DENY:
        return REFUSED if verdict.outcome == model.DENY else REFUSED_LATER
    return WARNED if verdict.rule_ids(model.WARN, model.UNKNOWN) else ''


def _kind_of_change(comparison: 'Comparison') -> str:
    old, new = comparison.old, comparison.new
    if not comparison:
        return ''
    if new.outcome == model.DENY and old.outcome != model.DENY:
        return REFUSED
    if old.outcome == model.DENY and new.outcome != model.DENY:
        return PERMITTED
    if new.outcome == model.WOULD_DENY and old.decision != model.DENY:
        return REFUSED_LATER
    warnings = [change.new for change in comparison.changes if change.new is not None]
    if any(finding.status in (model.WARN, model.UNKNOWN) for finding in warnings):
        return WARNED
    return OTHER


def _settings(old: model.Policy, new: model.Policy) -> 'Iterator[str]':
    before, after = _in_words(old), _in_words(new)
    for key in after:
        if before[key] != after[key]:
            yield '%s: %s -> %s' % (key, before[key], after[key])
    for what, count, other in (
        ('rules in use', _rules_in_use(old), _rules_in_use(new)),
        ('waivers', len(old.waivers), len(new.waivers)),
    ):
        if count != other:
            yield '%s: %d -> %d' % (what, count, other)


def _in_words(policy: model.Policy) -> 'Dict[str, str]':
    return {
        'mode': policy.mode_in_words,
        'failure': policy.failure,
        'deadline': '%g' % policy.deadline,
        'audit': 'required' if policy.audit_required else 'optional',
        'language': policy.language,
    }


def _rules_in_use(policy: model.Policy) -> int:
    return sum(rule.action != 'off' for rule in policy.rules)
