# SPDX-License-Identifier: Apache-2.0
"""What is told of many hosts, as plain text and as one JSON object in each line. Pure: no I/O."""

import json
import textwrap

from ..wording import counted, escape
from .fleet_contents import BAD, FleetContents
from .json_lines import described_time
from .moments import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Sequence

    from .fleet import Fleet, FleetHost

_WIDTH = 110
_MARKS = {BAD: '!', 'note': '-'}
_MOST_NAMED = 12  # hosts in one line
_DIGITS = 12  # of a digest, or of the id of a machine
_HEAD = 'host last admitted refused would-refuse not-judged without-verdict found policy mode'.split()


def fleet_text(contents: FleetContents) -> 'Iterator[str]':
    """The lines, each with its end."""
    fleet = contents.fleet
    silent = sum(contents.is_silent(host) for host in contents.hosts)
    amiss = sum(any(tone == BAD for tone, _ in said) for said in contents.statements.values())
    of = '%s, %d silent, %d with something amiss' % (counted(len(contents.hosts), 'host'), silent, amiss)
    since = 'the first record' if fleet.since is None else shown(fleet.since)
    yield '%s; %s from %s until %s\n' % (of, counted(fleet.count, 'record'), since, shown(fleet.now))
    yield '\n'
    yield from _table([_HEAD, *(_row(host) for host in contents.hosts)])
    said = [(host, tone, text) for host in contents.hosts for tone, text in contents.statements[host.machine]]
    if said:
        yield '\n'
    for host, tone, text in sorted(said, key=lambda each: each[1]):
        yield from _wrapped('%s %s: ' % (_MARKS[tone], _who(host)), text)
    yield from _of_rules(fleet)
    policies = fleet.of_policies()
    if policies:
        yield '\n%s in force\n' % ('One policy' if len(policies) == 1 else 'Policies, which differ,')
    for (name, digest, mode), hosts in policies.items():
        told = '%s, SHA-256 %s, mode %s: %s' % (name, digest, mode, counted(len(hosts), 'host'))
        yield from _wrapped('  ', told if len(policies) == 1 else '%s: %s' % (told, _named(hosts)))
    waivers = fleet.of_waivers()
    if waivers:
        yield '\nWaivers used\n'
    for waiver, uses in waivers.items():
        last = shown(max(span.last for _, span in uses))
        times = counted(sum(span.count for _, span in uses), 'record')
        yield from _wrapped('  ', '%s: %s, the last at %s: %s' % (waiver, times, last, _named([h for h, _ in uses])))
    yield '\nWhat this cannot tell\n'
    for limit in contents.limits:
        yield from _wrapped('  - ', limit)


def fleet_json(contents: FleetContents) -> 'Iterator[str]':
    """The same, of which `kind` says what it is."""
    fleet = contents.fleet
    yield _line(
        'fleet',
        since=described_time(fleet.since),
        until=described_time(fleet.now),
        hosts=len(contents.hosts),
        records=fleet.count,
        repeated=fleet.repeated,
        amiss=contents.is_amiss,
    )
    for limit in contents.limits:
        yield _line('limit', text=limit)
    for host in contents.hosts:
        who = {'host': host.name, 'machine': host.machine}
        yield _line(
            'host',
            **who,
            names=list(host.names),
            senders=list(host.senders),
            first=described_time(host.seen.first if host.seen.count else None),
            last=described_time(host.last),
            silent=contents.is_silent(host),
            admitted=host.admitted,
            refused=host.refused,
            **{
                'would-refuse': host.would_refuse.count,
                'not-judged': host.unjudged,
                'without-verdict': host.without_verdict,
                'findings': host.found,
                'policy': {'name': host.policy[0], 'sha256': host.policy[1]} if host.policy[1] else None,
                'mode': host.policy[2] or None,
                'version': host.version or None,
                'statements': [{'tone': tone, 'text': text} for tone, text in contents.statements[host.machine]],
            },
        )
        for rule, count in host.rules.items():
            numbers = {'refused': count.refused, 'would-refuse': count.would_refuse.count, 'findings': count.found}
            yield _line('rule', **who, rule=rule, **numbers)
        for waiver, span in host.waivers.items():
            times = {'first': described_time(span.first), 'last': described_time(span.last)}
            yield _line('waiver', **who, waiver=waiver, records=span.count, **times)


def _of_rules(fleet: 'Fleet') -> 'Iterator[str]':
    rules = fleet.of_rules()
    if rules:
        yield '\nRules\n'
    for rule, counts in rules.items():
        kinds = (
            ('refused', [(host, count.refused) for host, count in counts]),
            ('would refuse', [(host, count.would_refuse.count) for host, count in counts]),
            ('found of running domains', [(host, count.found) for host, count in counts]),
        )
        for verb, numbers in kinds:
            ordered = sorted((each for each in numbers if each[1]), key=lambda each: -each[1])
            if ordered:
                total = sum(number for _, number in ordered)
                named = ['%s %d' % (_who(host), number) for host, number in ordered[:_MOST_NAMED]]
                more = len(ordered) - len(named)
                listed = ', '.join(named) + (', and %s' % counted(more, 'more host') if more else '')
                yield from _wrapped('  ', '%s %s %d: %s' % (rule, verb, total, listed))


def _row(host: 'FleetHost') -> 'Sequence[str]':
    numbers = (host.admitted, host.refused, host.would_refuse.count, host.unjudged, host.without_verdict, host.found)
    name, digest, mode = host.policy
    policy = '%s %s' % (name, digest[:_DIGITS]) if digest else '-'
    return [_who(host), shown(host.last) if host.last else '-', *map(str, numbers), policy, mode or '-']


def _table(rows: 'Sequence[Sequence[str]]') -> 'Iterator[str]':
    shown_rows = [[escape(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown_rows) for column in range(len(_HEAD))]
    for row in shown_rows:
        yield '  '.join('%-*s' % (width, cell) for width, cell in zip(widths, row)).rstrip() + '\n'


def _who(host: 'FleetHost') -> str:
    return '%s (%s)' % (host.name or 'unnamed', host.machine[:_DIGITS])


def _named(hosts: 'Sequence[FleetHost]') -> str:
    named = [_who(host) for host in hosts[:_MOST_NAMED]]
    more = len(hosts) - len(named)
    return ', '.join(named) + (', and %s' % counted(more, 'more host') if more else '')


def _wrapped(first: str, text: str) -> 'Iterator[str]':
    for line in textwrap.wrap(
        escape(first + text), _WIDTH, subsequent_indent='      ', break_on_hyphens=False, drop_whitespace=True
    ):
        yield line + '\n'


def _line(kind: str, **values: 'Any') -> str:
    return json.dumps(dict(values, kind=kind)) + '\n'
