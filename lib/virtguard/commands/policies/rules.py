# SPDX-License-Identifier: Apache-2.0
"""`virt-guard rules` and `virt-guard explain`: the rules of a policy, and what each is for."""

from ... import model, wording
from ...errors import GuardError, suggest
from ...policy.probes import keyed
from ...policy.show import bounds_of
from ...reporting.lines import padded, wrapped
from .. import loading
from ..exit_status import FINE, NOT_JUDGED
from ..language import filled, translated
from ..output.formats import FORMATS
from ..terminal import complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, List, Tuple

    from ...policy.installation import Installation

_AT = {
    model.ADMISSION: 'admission: the definition of a domain that starts, or (watch) runs',
    model.START: 'start: what only the start of a domain shows; (watch) a domain that runs',
    model.RUNTIME: 'runtime: what happens while domains run (watch)',
}
_KNOWN_FROM = {
    'list': "the vendor's list of unsupported features for this release",
    'document': 'a document of the vendor for this release or, in a list about isolation, of QEMU, libvirt or others',
    'source': 'the source of the packages of this release',
    'derived': "derived from neighbouring releases of the vendor or, in a list about isolation, from libvirt's format",
    model.UNCONFIRMED: 'unconfirmed: common knowledge, which no document at hand confirms',
}


def list_rules(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print a line, or an object, for each rule."""
    policy, is_whole = loading.policy_to_show(arguments.policy, installation)
    output = FORMATS[arguments.format](wants_colour(), True)
    show(output.rules(policy.rules) + output.summary())
    return FINE if is_whole else NOT_JUDGED


def explain(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print what is known of each rule that is named."""
    if not arguments.rules:
        raise GuardError('no rule is named', 'virt-guard rules lists them; virt-guard explain --domain names a domain')
    from ...watch.unjudged_starts import RULE as started_without_verdict  # which no policy has

    policy, is_whole = loading.policy_to_show(arguments.policy, installation)
    rules = {rule.id: rule for rule in (started_without_verdict, *policy.rules)}
    unknown = [id for id in arguments.rules if id not in rules]
    for id in unknown:
        complain('%s: there is no rule %r (%s)' % (wording.PROGRAM, id, suggest(id, rules)))
    show('\n'.join(_explain(rules[id]) for id in arguments.rules if id in rules))
    return FINE if is_whole and not unknown else NOT_JUDGED


def _explain(rule: model.Rule) -> str:
    """A rule's own manual."""
    rows = [(key, translated(text)) for key, text in (('at', _AT[rule.at]), ('why', rule.why), ('remedy', rule.remedy))]
    rows.append(('match', rule.match or ''))
    if rule.value_set is not None:
        known = rule.value_set
        those = filled('all but %d values' if rule.negated else '%d values', len(known.values))
        rows.append(('values', filled('%s: %s, from %s', known.name, those, known.source)))
    elif rule.values is not None:
        shown = ', '.join(rule.values[:3])
        more = len(rule.values) - 3
        rows.append(('values', filled('%s and %d more', shown, more) if more > 0 else shown))
    places = '; '.join('%s: %s' % (key, ', '.join(paths)) for key, paths in keyed(rule.places))
    rows.append(('probe', ' '.join(part for part in (rule.probe, places) if part)))
    for condition in rule.host:
        relation = '%s is not one of %s' if condition.negated else '%s is %s'
        values = condition.values if condition.span is None else map(' '.join, bounds_of(condition.span))
        rows.append(('host', filled(relation, condition.fact, ', '.join(values))))
    rows += [('waivable', '' if rule.waivable else translated('no')), ('reason', rule.reason)]
    rows += [
        ('supported', ', '.join(rule.supported)),
        ('known from', translated(_KNOWN_FROM.get(rule.known_from, ''))),
        ('reference', rule.reference),
        ('defined', '%s:%d' % rule.origin if rule.origin[0] else translated('in the guard itself')),
    ]
    return wording.escape('%s: %s (%s)' % (rule.id, translated(rule.title), rule.action)) + '\n' + in_rows(rows)


def in_rows(rows: 'Iterable[Tuple[str, str]]') -> str:
    """Rows of a name and a text, of which those without a text are left out."""
    lines: 'List[str]' = []
    for name, text in rows:
        if text:
            lines += wrapped('  %s ' % padded(translated(name), 10), ' '.join(text.split()), ' ' * 13, 100)
    return ''.join(wording.escape(line) + '\n' for line in lines)
