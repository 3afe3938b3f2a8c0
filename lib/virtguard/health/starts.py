# SPDX-License-Identifier: Apache-2.0
"""Starts of domains: which have no verdict of the guard, and which were to begin with the host and were refused."""

import os

from ..errors import GuardError
from ..watch.state_files import SUFFIX, is_name
from ..wording import counted, escape, first_few, quoted
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition, shown_time
from .coverage import BEFORE, JUDGED, UNJUDGED, find_coverage
from .coverage import UNKNOWN as NOT_KNOWN
from .guard_records import is_admitted
from .journal_reader import OF_STARTS, JournalError, read_records, text_of, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Set

    from ..policy.installation import Installation
    from .coverage import Coverage, Start

_FIELDS = ('VIRT_GUARD_DOMAIN', 'VIRT_GUARD_OPERATION', 'VIRT_GUARD_DECISION', 'VIRT_GUARD_DENIED', 'MESSAGE')
_MOST = 20  # domains, or times, that are named in one line


def examine_starts(installation: 'Installation') -> 'Iterator[Condition]':
    """What runs without a verdict, and what does not run because it was refused when the host came up."""
    try:
        coverage = find_coverage(installation)
        yield from _without_verdict(coverage)
        yield from _not_known(coverage)
        yield from _refused_at_boot(installation, {start.name for start in coverage.starts if start.is_running})
    except JournalError as error:
        yield Condition('starts', UNKNOWN, 'whether all that runs was judged: %s' % error)
    except GuardError as error:
        yield Condition('starts', UNKNOWN, 'which domains run: %s' % error, error.hint)


def _without_verdict(coverage: 'Coverage') -> 'Iterator[Condition]':
    unjudged = coverage.of_state(UNJUDGED)
    for start in unjudged:
        if start.is_running:
            text = '%s runs since %s without a verdict: the guard was not asked, or could not record it'
            remedy = 'virt-guard scan; to have it judged, start it again'
            yield Condition('starts', AMISS, text % (escape(start.name), shown_time(start.time)), remedy)
    ended: 'Dict[str, List[str]]' = {}
    for start in unjudged:
        if not start.is_running:
            ended.setdefault(start.name, []).append(shown_time(start.time))
    for name, times in ended.items():
        text = '%s was started without a verdict, and does not run so any more: at %s'
        yield Condition('starts', NOTE, text % (escape(name), _listed(times)))
    if not unjudged:
        judged = coverage.of_state(JUDGED)
        since = ' since %s' % shown_time(coverage.since) if coverage.since < float('inf') else ''
        text = '%s%s, each with a verdict' % (counted(len(judged), 'start'), since)
        yield Condition('starts', OK, text if judged else 'no start of a domain is known%s' % since)


def _not_known(coverage: 'Coverage') -> 'Iterator[Condition]':
    before = [start for start in coverage.of_state(BEFORE) if start.is_running]
    if before:
        text = '%s since before the guard was installed: %s'
        yield Condition('starts', NOTE, text % (_run(before), _listed([escape(start.name) for start in before])))
    kinds: 'Dict[str, List[Start]]' = {}
    for start in coverage.of_state(NOT_KNOWN):
        kinds.setdefault(start.why, []).append(start)
    for why, starts in kinds.items():
        names = list(dict.fromkeys(escape(start.name) for start in starts))
        text = 'whether %s judged is not known, because %s: %s'
        were = '%s %s' % (counted(len(starts), 'start'), 'was' if len(starts) == 1 else 'were')
        yield Condition('starts', NOTE, text % (were, why, _listed(names)))
    for unread in coverage.unread:
        text = 'starts of domains may be missing here: %s' % unread
        is_root = os.geteuid() == 0
        yield Condition('starts', NOTE if is_root else UNKNOWN, text, '' if is_root else 'run it as root')


def _run(starts: 'Sequence[Start]') -> str:
    return '%s run%s' % (counted(len(starts), 'domain'), 's' if len(starts) == 1 else '')


def _listed(words: 'List[str]') -> str:
    return ', '.join(first_few(words, _MOST))


def _refused_at_boot(installation: 'Installation', running: 'Set[str]') -> 'Iterator[Condition]':
    directory = os.path.join(installation.domains, 'autostart')
    try:
        names = {name[: -len(SUFFIX)] for name in os.listdir(directory) if is_name(name)}
    except FileNotFoundError:
        return
    except OSError as error:
        yield Condition(
            'autostart', UNKNOWN, 'which domains start with the host: %s' % error.strerror, 'run it as root'
        )
        return
    down = names.difference(running)
    refused: 'Dict[str, List[str]]' = {}
    for record in read_records('--boot', *OF_STARTS, fields=_FIELDS) if down else ():
        fields = {name: text_of(record, name) for name in _FIELDS}
        name = fields['VIRT_GUARD_DOMAIN']
        if name in down and is_admitted(fields):
            refused.pop(name, None)  # and ended since, as somebody wanted it to
        elif name in down:
            refused[name] = values_of(record, 'VIRT_GUARD_DENIED') or ['it could not be judged']
    for name, rules in sorted(refused.items()):
        text = '%s starts with the host, was refused (%s) and does not run' % (escape(name), ', '.join(rules))
        yield Condition('autostart', AMISS, text, 'virt-guard explain --domain ' + quoted(name))
