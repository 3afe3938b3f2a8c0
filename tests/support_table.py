# SPDX-License-Identifier: Apache-2.0
"""Makes doc/support-table.md of the shipped policies: python3 tests/support_table.py

For whoever maintains virt-guard: run it after a change of data/profiles.
"""

import pathlib
import re
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
TABLE = CHECKOUT / 'doc' / 'support-table.md'


def _releases(name, numbers):
    return ['%s.%d' % (name, number) for number in numbers]


# The title of a column, its policy, and the releases that it speaks of: those that there are, and are to be expected.
COLUMNS = [
    ('RHEL 8', 'rhel-8', _releases('rhel-8', range(11))),
    ('RHEL 9.0 to 9.3', 'rhel-9', _releases('rhel-9', range(4))),
    ('RHEL 9.4 and newer', 'rhel-9', [*_releases('rhel-9', range(4, 11)), 'centos-9']),
    ('RHEL 10.0', 'rhel-10', ['rhel-10.0']),
    ('RHEL 10.1 and newer', 'rhel-10', [*_releases('rhel-10', range(1, 11)), 'centos-10']),
    ('SLES 15', 'sles-15', _releases('sles-15', range(8))),
    ('SLES 16', 'sles-16', _releases('sles-16', range(4))),
]
MARKS = {'list': 'L', 'document': 'D', 'source': 'S', 'derived': 'N', 'unconfirmed': 'U'}
NONE, SUPPORTED, ELSEWHERE = '-', 'supported', 'on other hosts'

_HEAD = """\
<!-- Made of data/profiles by: python3 tests/support_table.py -->

# What the shipped policies refuse, release by release

**deny**: a domain with it is refused. warn: it starts, and the record has a warning. supported: an older release does
not support it, and this one does. -: the policy has no rule for it, or not for this release, which does not say that it
is supported (what SUSE does support of the list for RHEL 8 is told in the heads of its policies). The letter tells what
the entry rests on (`known-from`); supported without one is what the rule for the older releases says (`supported`):

| | |
|---|---|
| L | the vendor's list of unsupported features for this release |
| D | another document of the vendor for this release: release notes, a chapter, what packages say of themselves |
| S | the source of the packages of this release |
| N | what the vendor says of the neighbouring releases; the comment at the rule shows from what it follows |
| U | unconfirmed: common knowledge that no document at hand confirms; such a rule only warns |

A rebuild of RHEL (AlmaLinux, Rocky Linux, Oracle Linux, CentOS Stream) is judged as the RHEL of its number, and CentOS
Stream as the newest of its major number; SLES stands for SLED and openSUSE Leap, too. Where an entry names
architectures, it holds on hosts of those alone.
`virt-guard explain --policy PROFILE RULE` tells why, what to do instead, and where the vendor says so.
"""
_SECTIONS = (
    ('admission', 'When a domain starts'),
    ('runtime', 'While a domain runs (`virt-guard watch` records it, and refuses nothing)'),
)


def render():
    """The text of the page."""
    from virtguard.policy import load
    from virtguard.policy.installation import profiles

    policies = {name: load.as_if_in_force(profiles()[name]) for name in dict.fromkeys(name for _, name, _ in COLUMNS)}
    rules = {name: {rule.id: rule for rule in policy.rules} for name, policy in policies.items()}
    text = _HEAD
    for at, title in _SECTIONS:
        ids = dict.fromkeys(rule.id for policy in policies.values() for rule in policy.rules if rule.at == at)
        lines = [['Feature', *(column for column, _, _ in COLUMNS)], ['---'] * (len(COLUMNS) + 1)]
        for id in ids:
            cells = [_cell(rules[name].get(id), releases) for _, name, releases in COLUMNS]
            if set(cells) - {NONE}:
                lines.append([_feature(id, rules), *cells])
        text += '\n## %s\n\n' % title + ''.join('| %s |\n' % ' | '.join(line) for line in lines)
    return text


def _feature(id, rules):
    """The id and the title of a rule; where a policy has another title for what it objects to, that one, too."""
    titles = {}
    for name, known in rules.items():
        if id in known and known[id].action != 'off':
            titles.setdefault(known[id].title, []).append(name)
    (first, _), *others = titles.items() if titles else [(next(r[id].title for r in rules.values() if id in r), ())]
    parts = ['`%s`' % id, first, *('%s: %s' % (', '.join(names), title) for title, names in others)]
    return '<br>'.join(part.replace('|', '\\|') for part in parts)


def _cell(rule, releases):
    """What a policy does on these releases."""
    from virtguard.model import HostFacts

    if rule is None:
        return NONE
    mark = ' ' + MARKS[rule.known_from] if rule.known_from else ''
    if rule.action == 'off':
        return SUPPORTED + mark if rule.reason else NONE
    conditions = [condition for condition in rule.host if condition.fact == 'os']
    hosts = {release: HostFacts(None, None, release, lambda probe, subject: None) for release in releases}
    met = [release for release in releases if all(condition.met_by(hosts[release]) for condition in conditions)]
    rest = [release for release in releases if release not in met]
    if not met:
        # What the rule rests on is not what its `supported` rests on, so there is no mark.
        said = {text for release in rest for text in _supported_after(rule, release)}
        return ' '.join([SUPPORTED, *sorted(said)[: len(said) == 1]]).strip() if said else NONE
    where = [_where(condition) for condition in rule.host if condition.fact != 'container']
    if rest:
        where.append('%s to %s' % (met[0], met[-1]) if len(met) > 1 else met[0])
        assert releases[releases.index(met[0]) :][: len(met)] == met, 'not one range: %s' % rule.id
    if any(ELSEWHERE in _supported(rule, release) for release in met):
        where.append('%s %s' % (SUPPORTED, ELSEWHERE))
    where = [part for part in where if part]
    action = '**deny**' if rule.action == 'deny' else rule.action
    return action + mark + (' (%s)' % '; '.join(where) if where else '')


def _where(condition):
    if condition.span is not None:
        return ''
    return ('not %s' if condition.negated else '%s') % ', '.join(condition.values)


def _supported_after(rule, release):
    """What the rule says of its support in a release that comes after those that it speaks of."""
    from virtguard.model import release_of

    spans = [condition.span for condition in rule.host if condition.span is not None]
    is_after = any(end and release_of(release, (), vendor) >= end for vendor, _, end in spans)
    return _supported(rule, release) if is_after else set()


def _supported(rule, release):
    """What the rule says of its support in a release: '' without a reservation, else `for ...` or `on ...`."""
    vendor, major, minor = re.match(r'(\w+)-(\d+)(?:\.(\d+))?$', release).groups()
    number = (int(major), int(minor) if minor else 9999)
    found = set()
    for text in rule.supported:
        said = re.match(r'(RHEL|SLES) (\d+)(?:\.(\d+))?( or newer)?(?: ((?:for|on) .*))?$', text)
        if said is None or said.group(1) != {'sles': 'SLES'}.get(vendor, 'RHEL'):
            continue
        least = (int(said.group(2)), int(said.group(3) or 0))
        if number >= least and (said.group(4) or number[0] == least[0]):
            found.add(said.group(5) or '')
    return found


if __name__ == '__main__':
    sys.path.insert(0, str(CHECKOUT / 'lib'))
    TABLE.write_text(render(), encoding='utf-8')
