# SPDX-License-Identifier: Apache-2.0
"""Two verdicts on one domain -> what changes between them, and which parts of the two policies cause it. Pure."""

from .. import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    Spot = Tuple[str, str]  # the id of a rule, and the path of what it found
    Findings = Dict[Spot, List[model.Finding]]

# The keys of a rule that decide the status of a finding.
_STATUS_KEYS: 'Tuple[str, ...]' = ('action', 'probe', 'host')


class Cause:
    """What differs (a key of the rule, `rule` itself, a `waiver`, or the policy's `mode`), and where it has its values.

    An origin is None where the key has no value, or the default.
    """

    __slots__ = ('what', 'old', 'new')

    def __init__(self, what: str, old: 'Optional[model.Origin]', new: 'Optional[model.Origin]') -> None:
        self.what = what
        self.old = old
        self.new = new


class Change:
    """One spot where the status of a rule changes, and why; `old` or `new` is None where the rule finds nothing."""

    __slots__ = ('old', 'new', 'causes')

    def __init__(
        self, old: 'Optional[model.Finding]', new: 'Optional[model.Finding]', causes: 'Tuple[Cause, ...]'
    ) -> None:
        self.old = old
        self.new = new
        self.causes = causes

    @property
    def finding(self) -> model.Finding:
        """The new finding, or, where there is none, the old one."""
        finding = self.new or self.old
        assert finding is not None
        return finding

    @property
    def statuses(self) -> str:
        return ' -> '.join('none' if finding is None else finding.status for finding in (self.old, self.new))


class Comparison:
    """Two verdicts on one domain, the findings that change, and what changes the outcome if no finding does."""

    __slots__ = ('old', 'new', 'changes', 'causes')

    def __init__(
        self, old: model.Verdict, new: model.Verdict, changes: 'Tuple[Change, ...]', causes: 'Tuple[Cause, ...]'
    ) -> None:
        self.old = old
        self.new = new
        self.changes = changes
        self.causes = causes

    def __bool__(self) -> bool:
        return bool(self.changes) or self.old.outcome != self.new.outcome

    def shown(self) -> 'List[Tuple[Change, int]]':
        """The changes to show, each with the number of those that are left out after it.

        Of one kind as many are shown as findings of one rule.
        """
        kinds: 'Dict[Tuple[str, str], List[Change]]' = {}
        for change in self.changes:
            kinds.setdefault((change.finding.rule.id, change.statuses), []).append(change)
        limit = model.MAX_FINDINGS_PER_RULE
        more = {id(changes[limit - 1]): len(changes) - limit for changes in kinds.values() if len(changes) > limit}
        shown = {id(change) for changes in kinds.values() for change in changes[:limit]}
        return [(change, more.get(id(change), 0)) for change in self.changes if id(change) in shown]


class Comparer:
    """Compares verdicts by two policies."""

    def __init__(self, old: model.Policy, new: model.Policy) -> None:
        self._mode = Cause('mode', old.origins.get('mode'), new.origins.get('mode')) if old.mode != new.mode else None
        self._old = {rule.id: rule for rule in old.rules}
        self._new = {rule.id: rule for rule in new.rules}

    def compare(self, old: model.Verdict, new: model.Verdict) -> Comparison:
        changes = tuple(
            Change(before, after, tuple(self._causes(before, after))) for before, after in _differences(old, new)
        )
        by_mode = old.outcome != new.outcome and self._mode is not None
        return Comparison(old, new, changes, (self._mode,) if by_mode and self._mode is not None else ())

    def _causes(self, before: 'Optional[model.Finding]', after: 'Optional[model.Finding]') -> 'Iterator[Cause]':
        finding = before or after
        assert finding is not None
        old, new = self._old.get(finding.rule.id), self._new.get(finding.rule.id)
        if old is None or new is None:
            yield Cause('rule', old.origin if old else None, new.origin if new else None)
            return
        keys = _STATUS_KEYS
        if before is None or after is None:
            keys = (('action',) if 'off' in (old.action, new.action) else ()) + model.FINDING_KEYS
        waived = [f is not None and f.status == model.WAIVED for f in (before, after)]
        differing = [key for key in keys if _value(old, key) != _value(new, key)]
        if not differing and not any(waived) and new.host:
            differing = ['host']  # the same condition, of another release
        for key in differing + (['waivable'] if any(waived) and old.waivable != new.waivable else []):
            yield Cause(key, old.origins.get(key), new.origins.get(key))
        if any(waived):
            yield Cause('waiver', _waiver_origin(before), _waiver_origin(after))


def _value(rule: model.Rule, key: str) -> 'Any':
    if key == 'host':
        return [(condition.fact, condition.values, condition.negated, condition.span) for condition in rule.host]
    if key in ('at', 'phase'):  # both are in Rule.at
        return rule.at == (model.RUNTIME if key == 'at' else model.START)
    if key == 'probe':
        return rule.probe, rule.places
    return (rule.values, rule.negated) if key == 'values' else getattr(rule, key)


def _waiver_origin(finding: 'Optional[model.Finding]') -> 'Optional[model.Origin]':
    return finding.waiver.origin if finding is not None and finding.waiver is not None else None


def _differences(
    old: model.Verdict, new: model.Verdict
) -> 'Iterator[Tuple[Optional[model.Finding], Optional[model.Finding]]]':
    """The findings of the same rule at the same spot that differ in their status."""
    before, after = _by_spot(old), _by_spot(new)
    for spot in list(before) + [spot for spot in after if spot not in before]:
        gone, come = list(before.get(spot, ())), list(after.get(spot, ()))
        for finding in list(gone):
            same = next((other for other in come if other.status == finding.status), None)
            if same is not None:
                gone.remove(finding)
                come.remove(same)
        for number in range(max(len(gone), len(come))):
            yield gone[number] if number < len(gone) else None, come[number] if number < len(come) else None


def _by_spot(verdict: model.Verdict) -> 'Findings':
    found: 'Findings' = {}
    for finding in verdict.findings:
        found.setdefault((finding.rule.id, finding.path), []).append(finding)
    return found
