# SPDX-License-Identifier: Apache-2.0
"""Layers -> Policy, or every problem of them with file, line and column. Pure: no I/O.

The first layer is a whole policy. Each later one may set a setting anew, add rules, change rules by their id (only the
keys that it gives) and add waivers. A layer with a problem makes the policy invalid, never smaller.

What layers extend comes before all of them, and each of these policies is put together by itself before they are
joined. A rule that several have must find the same in each; the strictest action counts, and every reason is told. Of
settings, the first policy that gives one counts.
"""

from copy import copy

from .. import model
from ..digest import sha256_hex
from ..errors import suggest
from ..libraries import MissingLibraryError
from ..match.syntax import MatchError
from ..waivers import MAX_DAYS_AHEAD, latest_expiry
from .layer import ACTIONS, Given, KnownSystems, Layer, ReleasedBefore
from .os_releases import known_systems, released_before
from .probes import REAL_PATH, Places
from .problems import PolicyError
from .settings import settings_of, stated_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

    Sets = Callable[[str], model.ValueSet]
    Known = Callable[[], model.ValueSet]

_RULE_REQUIRED = ('id', 'title', 'action', 'why', 'remedy')


def merge_layers(
    layers: 'Sequence[Layer]',
    source: str = '',
    today: str = '',
    released_before: 'Sets' = released_before,
    known_systems: 'Known' = known_systems,
    day: str = '',
) -> model.Policy:
    """Make one policy of layers, and of what they extend.

    :param source: what the policy is known by (default: the name of the first layer)
    :param today: YYYY-MM-DD: a waiver must not reach too far beyond it; '' if that does not matter
    :param released_before: knows the operating systems that were released before a day (YYYY-MM-DD)
    :param known_systems: knows all operating systems that there are
    :param day: YYYY-MM-DD: that of the mode, if that depends on the day
    :raises PolicyError: with every problem at once; a broken policy is never half loaded
    :raises MissingLibraryError: there is no lxml to check expressions with
    """
    settings = stated_settings(layers, day)
    every = _in_order(layers)
    try:
        rules = _make_rules(layers, released_before, known_systems)
    except ImportError as error:
        raise MissingLibraryError(error, settings) from None
    waivers = [_make_waiver(given, rules, today) for layer in every for given in layer.waivers or ()]
    _require(layers[0])
    problems = [problem for layer in every for problem in layer.problems]
    if problems:
        raise PolicyError(list({str(problem): problem for problem in problems}.values()), settings)
    values = settings_of(layers)
    origins = {key: given.origin for key, given in values.items()}
    # No file replaces what another one extends.
    origins.update(
        ('extends in ' + layer.source, layer.settings['extends'].origin)
        for layer in every
        if 'extends' in layer.settings
    )
    return model.Policy(
        values['policy'].value,
        settings['mode'],
        settings['failure'],
        settings['deadline'],
        settings['audit'],
        tuple(rules.values()),
        combined_sha256([(layer.sha256, layer.source) for layer in every]),
        source or layers[0].source,
        tuple(waivers),
        tuple(layer.source for layer in every),
        origins,
        settings['audit-until'],
        settings['language'],
    )


def _in_order(layers: 'Sequence[Layer]') -> 'List[Layer]':
    """The layers and all that they extend, each once, in the order in which they count."""
    found: 'Dict[Layer, None]' = {}

    def add(layer: Layer) -> None:
        if layer not in found:
            for _, extended in layer.extended:
                add(extended)
            found[layer] = None

    for layer in layers:
        for _, extended in layer.extended:
            add(extended)
    found.update((layer, None) for layer in layers)
    return list(found)


def _require(first: Layer) -> None:
    for extended in _in_order([first])[:-1]:
        _require_whole(extended)
    _require_whole(first)


def _require_whole(first: Layer) -> None:
    if 'extends' in first.settings:
        # If it could not be followed, a problem already says why.
        if not first.extended and not first.problems:
            first.settings['extends'].problem('extends another policy, which is not at hand')
    elif first.root is not None:
        if 'policy' not in first.settings:
            hint = 'if it is a drop-in, type: virt-guard policy check --drop-in FILE'
            first.root.problem("the policy has no 'policy'", hint)
        if first.rules is None:
            first.root.problem("the policy has no 'rules'")


def combined_sha256(files: 'Sequence[Tuple[str, str]]') -> str:
    """The digest of a policy, made of the digests and names of its files in their order."""
    if len(files) == 1:
        return files[0][0]
    lines = ''.join('%s  %s\n' % file for file in files)
    return sha256_hex(lines.encode('utf-8', 'surrogateescape'))


def _make_rules(layers: 'Sequence[Layer]', released_before: 'Sets', known_systems: 'Known') -> 'Dict[str, model.Rule]':
    drafts = _draft_rules(layers)
    for draft in drafts:
        draft.check()
    return {draft.id: draft.make(released_before, known_systems) for draft in drafts}


def _draft_rules(layers: 'Sequence[Layer]', made: 'Optional[Dict[Layer, List[_Draft]]]' = None) -> 'List[_Draft]':
    """The rules of all layers and of what they extend, each with what later layers change in it.

    :param made: those of what is extended, which more than one may extend
    """
    made = {} if made is None else made
    drafts: 'List[_Draft]' = []
    by_id: 'Dict[str, _Draft]' = {}
    for entry, extended in [pair for layer in layers for pair in layer.extended]:
        if extended not in made:
            made[extended] = _draft_rules([extended], made)
        for draft in map(copy, made[extended]):
            if draft.id in by_id:
                by_id[draft.id].join(draft, entry)
                continue
            drafts.append(draft)
            if draft.id:
                by_id[draft.id] = draft
    for layer in layers:
        known = tuple(by_id)
        for id, given in _rules_of(layer):
            if id in by_id:
                by_id[id].change(given)
                continue
            drafts.append(_Draft(given, known))
            if id is not None:
                by_id[id] = drafts[-1]
    return drafts


def _rules_of(layer: Layer) -> 'Iterator[Tuple[Optional[str], Given]]':
    """A layer's rules, each with its id, None where it has none; one that is defined a second time is a problem."""
    first_lines: 'Dict[str, int]' = {}
    for given in layer.rules or ():
        id = given.value['id'].value if 'id' in given.value else None
        if id in first_lines:
            given.problem('rule %r is defined twice, first in line %d' % (id, first_lines[id]))
            continue
        if id is not None:
            first_lines[id] = given.origin[1]
        yield id, given


class _Draft:
    """A rule on its way through the layers. `known` are the ids of the rules in earlier layers."""

    def __init__(self, first: Given, known: 'Sequence[str]') -> None:
        self._first = first
        self._given: 'Dict[str, Given]' = dict(first.value)
        self._known = known
        self._said: 'Dict[str, Tuple[Given, Tuple[str, ...]]]' = {}  # the texts of `why` and `reference`, where joined
        self.id: str = self._value('id', '')
        self._name = 'rule %r' % self.id if self.id else 'the rule'

    def _value(self, key: str, default: 'Any' = None) -> 'Any':
        value = self._given[key].value if key in self._given else None
        return default if value is None else value

    def change(self, later: Given) -> None:
        """Take over what a later layer gives."""
        assert later.node is not None
        if len(later.node.value) == 1:
            later.problem('nothing of %s is changed' % self._name, 'give the keys to change, or delete the entry')
        action = later.value.get('action')
        if action is not None and action.value == 'off' and 'reason' not in later.value:
            action.problem('%s is turned off without a reason' % self._name, 'add reason: and who decided it')
        self._given = {**self._given, **later.value}

    def join(self, other: '_Draft', entry: Given) -> None:
        """Take over what another policy, extended by `entry` beside the one of this rule, says of the same rule."""
        if self._given == other._given:
            return  # it is the same one, by two ways
        for draft in (self, other):
            draft.check()
        differing = [key for key in model.FINDING_KEYS if self._compared(key) != other._compared(key)]
        if differing:
            places = [(draft._given.get(differing[0]) or draft._first).origin for draft in (other, self)]
            entry.problem(
                'extends %s, but its rule %r (%s:%d) finds something else than that of %s:%d: they differ in %s'
                % ((entry.value, self.id) + places[0] + places[1] + (', '.join(differing),)),
                'extend only one of the two, or give one of the rules another id',
            )
        actions = [ACTIONS.index(draft._value('action', 'off')) for draft in (self, other)]
        stricter, milder = (other, self) if actions[1] < actions[0] else (self, other)
        given = {**milder._given, **stricter._given}
        said: 'Dict[str, Tuple[Given, Tuple[str, ...]]]' = {}
        if actions[0] != actions[1] and 'reason' not in stricter._given:
            given.pop('reason', None)  # why a site has made the other one milder, which does not count
        for key, separator in (('why', ' '), ('reference', ', ')):
            texts = tuple(dict.fromkeys([*stricter._texts(key), *milder._texts(key)]))
            if len(texts) > 1:
                parts = [model.as_phrase(text) for text in texts]
                given[key] = given[key].with_value(model.Phrase(separator.join(['%s'] * len(parts)), *parts))
                said[key] = given[key], texts
        if milder._value('waivable') is False:
            given['waivable'] = milder._given['waivable']
        self._given = given
        self._said = said

    def _texts(self, key: str) -> 'Tuple[str, ...]':
        """What its policies say, each text once: they may extend the same ones."""
        given, texts = self._said.get(key, (None, ()))
        if given is not None and given is self._given.get(key):
            return texts
        text = self._value(key)
        return (text,) if text else ()

    def _compared(self, key: str) -> 'Any':
        return _plain(self._value(key, model.ADMISSION if key == 'at' else None))

    def _at(self) -> str:
        at: str = self._value('at', model.ADMISSION)
        return model.START if at == model.ADMISSION and self._value('phase') == model.START else at

    def check(self) -> None:
        """Report what can only be seen in the whole rule."""
        given = self._given
        for key in _RULE_REQUIRED:
            if key not in given:
                # Meant as a change, perhaps.
                hint = 'there is no such rule to change; ' + suggest(self.id, self._known) if self._known else ''
                self._first.problem('the rule has no %r' % key, hint)
        at = self._at()
        if 'phase' in given and self._value('at') == model.RUNTIME:
            given['phase'].problem(
                '%s is judged at run time, so it has no phase' % self._name, 'leave out one of the two'
            )
        if self._value('match'):
            _check_match(given['match'], at)
        if at == model.RUNTIME and 'match' not in given:
            self._first.problem(
                '%s is judged at run time but has no match for a change' % self._name, 'begin with /transition'
            )
        for key in ('values', 'probe', 'since'):
            if key in given and 'match' not in given:
                given[key].problem('%s has %r but no match for it' % (self._name, key))
        if 'match' not in given and 'host' not in given:
            self._first.problem('%s has neither match nor host, so it can never apply' % self._name)

    def make(self, released_before: 'Sets', known_systems: 'Known') -> model.Rule:
        """The rule, if there is no problem."""
        values = self._value('values')
        value_set, negated = None, False
        probe = self._value('probe')
        if isinstance(values, ReleasedBefore):
            value_set = released_before(values.date)
        elif isinstance(values, KnownSystems):
            value_set, negated = known_systems(), not values.known
            value_set.name = '{os-known: %s}' % ('false' if negated else 'true')
        return model.Rule(
            id=self.id,
            title=self._value('title', ''),
            action=self._value('action', ''),
            why=self._value('why', ''),
            remedy=self._value('remedy', ''),
            match=self._value('match'),
            values=value_set.values if value_set is not None else values,
            probe=REAL_PATH if isinstance(probe, Places) else probe,
            host=self._value('host', ()),
            reference=self._value('reference', ''),
            origin=self._first.origin,
            at=self._at(),
            waivable=self._value('waivable', True),
            reason=self._value('reason', ''),
            origins={key: given.origin for key, given in self._given.items()},
            since=self._value('since', ()),
            value_set=value_set,
            supported=self._value('supported', ()),
            negated=negated,
            known_from=self._value('known-from', ''),
            places=(probe.these, probe.below) if isinstance(probe, Places) else ((), ()),
        )


def _plain(value: 'Any') -> 'Any':
    """What a rule has for a key, so that it can be compared; blanks do not count."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    names = getattr(type(value), '__slots__', None)
    return value if names is None else (type(value), *(_plain(getattr(value, name)) for name in names))


def _check_match(match: Given, at: str) -> None:
    from ..match.check import check_match  # imports lxml: if it is missing, the settings are known by now

    try:
        check_match(match.value, at)
    except MatchError as error:
        match.problem('match ' + error.message, error.hint, error.offset)


def _make_waiver(given: Given, rules: 'Dict[str, model.Rule]', today: str) -> model.Waiver:
    values = {key: item.value for key, item in given.value.items()}
    for id in values.get('rules') or ():
        if id not in rules:
            given.value['rules'].problem('there is no rule %r to waive' % id, suggest(id, rules))
        elif not rules[id].waivable:
            given.value['rules'].problem('rule %r cannot be waived' % id, 'defined in %s:%d' % rules[id].origin)
    expires = values.get('expires')
    if expires and today and expires > latest_expiry(today):
        hint = 'until %s at the latest; renew it then' % latest_expiry(today)
        given.value['expires'].problem('expires is more than %d days ahead' % MAX_DAYS_AHEAD, hint)
    return model.Waiver(
        values.get('rules') or (),
        values.get('domains') or (),
        values.get('reason') or '',
        values.get('approved-by') or '',
        expires or '',
        values.get('ticket') or '',
        given.origin,
        {key: item.origin for key, item in given.value.items()},
    )
