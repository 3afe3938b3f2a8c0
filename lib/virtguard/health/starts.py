# SPDX-License-Identifier: Apache-2.0
"""Starts of domains: which run without a verdict of the guard, and which were to start with the host and were refused.

Just before libvirt starts QEMU, the hook records the verdict. So a record of that domain, not long before its process
was started, shows that it was judged.
"""

import os

from ..errors import GuardError
from ..guarding.host_files import FileTree
from ..model import DENY
from ..watch.state import State, uuid_in
from ..watch.state_files import SUFFIX, StateFiles, is_name
from ..wording import counted, escape
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition, shown_time
from .journal_reader import JournalError, oldest_entry, read_records, time_of, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Set

    from ..policy.installation import Installation

_BEFORE, _AFTER = 300.0, 60.0  # seconds between a verdict and the process that it permits
_MOST = 20  # domains that are named


class Running:
    """A domain that runs: its `process` was `started` at a time in seconds since the epoch."""

    __slots__ = ('name', 'uuid', 'started')

    def __init__(self, name: str, uuid: str, started: float) -> None:
        self.name = name
        self.uuid = uuid
        self.started = started


def examine_starts(installation: 'Installation') -> 'Iterator[Condition]':
    """What runs without a verdict, and what does not run because it was refused when the host came up."""
    try:
        running = running_domains(installation)
        yield from _without_verdict(running)
        yield from _refused_at_boot(installation, {domain.name for domain in running})
    except JournalError as error:
        yield Condition('starts', UNKNOWN, 'whether all that runs was judged: %s' % error)
    except GuardError as error:
        yield Condition('starts', UNKNOWN, 'which domains run: %s' % error, error.hint)


def running_domains(installation: 'Installation') -> 'List[Running]':
    """The domains that run on this host, as libvirt's files and the kernel say.

    :raises GuardError: the files cannot be read
    """
    files = StateFiles(installation.run, installation.lib)
    tree = FileTree('/')
    paths, unlisted = files.paths()
    for error in unlisted.values():
        raise error
    found = []
    for path in paths:
        if os.path.dirname(path) != installation.run:
            continue
        _, data = files.read(path)
        uuid = uuid_in(data or b'')
        started = tree.started('/proc/%d' % State(data).pid()) if data is not None else None
        if uuid and started is not None:
            found.append(Running(files.about(path).domain, uuid, started))
    return found


def _without_verdict(running: 'List[Running]') -> 'Iterator[Condition]':
    if not running:
        yield Condition('starts', OK, 'no domain runs')
        return
    verdicts = _verdicts(running)
    unjudged = [domain for domain in running if not _has_verdict(domain, verdicts.get(domain.uuid, []))]
    begins, installed = oldest_entry(), _installed()
    amiss: 'List[Running]' = []
    before: 'List[Running]' = []
    for domain in unjudged:
        is_older = domain.started < begins or installed is not None and domain.started < installed
        (before if is_older else amiss).append(domain)
    if before:
        text = '%s since before the guard was installed, or before the journal begins: %s'
        yield Condition('starts', NOTE, text % (_run(before), _names(before)))
    for domain in amiss[:_MOST]:
        text = '%s runs since %s without a verdict: the guard was not asked, or could not record it'
        remedy = 'virt-guard scan; to have it judged, start it again'
        yield Condition('starts', AMISS, text % (escape(domain.name), shown_time(domain.started)), remedy)
    if len(amiss) > _MOST:
        yield Condition('starts', AMISS, 'and %s more without a verdict' % _run(amiss[_MOST:]))
    if not unjudged:
        yield Condition('starts', OK, '%s, each with a verdict of its start' % _run(running))


def _verdicts(running: 'List[Running]') -> 'Dict[str, List[float]]':
    since = '--since=@%d' % (min(domain.started for domain in running) - _BEFORE)
    of_domains = ['VIRT_GUARD_UUID=' + domain.uuid for domain in running]
    times: 'Dict[str, List[float]]' = {}
    fields = ('VIRT_GUARD_UUID', '_SOURCE_REALTIME_TIMESTAMP')
    for record in read_records(since, 'VIRT_GUARD_OPERATION=start', *of_domains, fields=fields):
        times.setdefault(str(record.get('VIRT_GUARD_UUID')), []).append(time_of(record))
    return times


def _has_verdict(domain: Running, times: 'List[float]') -> bool:
    return any(domain.started - _BEFORE <= moment <= domain.started + _AFTER for moment in times)


def _installed() -> 'Optional[float]':
    """When the guard was installed last, not counting upgrades; None: the journal does not say."""
    records = read_records('--reverse', '--lines=1', 'VIRT_GUARD_CHANGE=installed')
    return time_of(records[0]) if records else None


def _run(domains: 'List[Running]') -> str:
    return '%s run%s' % (counted(len(domains), 'domain'), 's' if len(domains) == 1 else '')


def _names(domains: 'List[Running]') -> str:
    names = [escape(domain.name) for domain in domains]
    return ', '.join(names[:_MOST]) + (' and %d more' % (len(names) - _MOST) if len(names) > _MOST else '')


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
    fields = ('VIRT_GUARD_DOMAIN', 'VIRT_GUARD_DENIED')
    for record in read_records('--boot', 'VIRT_GUARD_DECISION=' + DENY, fields=fields) if down else ():
        name = str(record.get('VIRT_GUARD_DOMAIN'))
        if name in down:
            refused[name] = values_of(record, 'VIRT_GUARD_DENIED')
    for name, rules in sorted(refused.items()):
        text = '%s starts with the host, was refused (%s) and does not run' % (escape(name), ', '.join(rules))
        yield Condition('autostart', AMISS, text, 'virt-guard explain ' + ' '.join(rules))
