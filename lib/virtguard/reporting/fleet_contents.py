# SPDX-License-Identifier: Apache-2.0
"""What is said of many hosts: of each what is amiss, and what cannot be told. Pure: no I/O."""

from ..wording import counted
from .fleet import Fleet, FleetHost
from .moments import shown, shown_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Tuple

UNKNOWN_HOSTS = 'a host that has never sent anything is not known here'
BAD, NOTE = 'bad', 'note'
_MOST_TOLD = 20  # of one kind
TRUST = (
    'each host writes its own records, with its name and machine-id: whoever is root there may write anything; '
    'by itself, a collector knows only the sender (address, or name in a certificate)'
)


class FleetContents:
    """`statements` of each host, with BAD or NOTE; `limits` are what cannot be told."""

    def __init__(self, fleet: Fleet, damaged: 'Sequence[Tuple[str, str]]', silent_after: float) -> None:
        self.fleet = fleet
        self.silent_after = silent_after
        self._machines: 'Dict[str, int]' = {}
        for host in fleet.hosts.values():
            self._machines[host.name] = self._machines.get(host.name, 0) + 1
        self.hosts = fleet.ordered()
        self.statements = {host.machine: list(self._statements(host)) for host in self.hosts}
        self.limits = list(_limits(fleet, damaged))

    @property
    def is_amiss(self) -> bool:
        return any(tone == BAD for statements in self.statements.values() for tone, _ in statements)

    def is_silent(self, host: FleetHost) -> bool:
        return host.last < self.fleet.now - self.silent_after

    def _statements(self, host: FleetHost) -> 'Iterator[Tuple[str, str]]':
        if self.is_silent(host):
            told = (shown(host.last), shown_span(self.fleet.now - host.last))
            yield BAD, 'silent since %s, for %s: nothing of any kind has arrived' % told
        if not host.seen.count:
            yield NOTE, 'no record of the guard: it may not be installed there'
        if host.removed is not None:
            yield BAD, 'the guard was removed at %s' % shown(host.removed)
        if host.without_verdict:
            yield BAD, '%s without a verdict' % counted(host.without_verdict, 'start')
        if host.unwatched is not None and host.removed is None:
            yield NOTE, 'the watch has ended at %s' % shown(host.unwatched)
        if host.policy[2] == 'audit':
            yield NOTE, 'mode audit: nothing is refused'
        if host.ahead:
            yield BAD, 'its clock is wrong: %s from the future, not counted' % counted(host.ahead, 'record')
        if self._machines[host.name] > 1:
            others = self._machines[host.name] - 1
            yield (
                NOTE,
                '%s this name, too: hosts are told apart by their machine-ids'
                % ('1 other host has' if others == 1 else '%d other hosts have' % others),
            )
        for what, spans in (('name', host.names), ('sender', host.senders)):
            if len(spans) > 1:
                yield _of_several(what, [(key, span.first, span.last) for key, span in spans.items()])


def _of_several(what: str, spans: 'List[Tuple[str, float, float]]') -> 'Tuple[str, str]':
    """What it means that a host has several names, or that its records come from several senders."""
    ordered = sorted(spans, key=lambda span: span[1])
    listed = ', '.join('%s until %s' % (key, shown(last)) for key, _, last in ordered[:_MOST_TOLD])
    if any(later[1] <= earlier[2] for earlier, later in zip(ordered, ordered[1:])):
        addresses = 'one host with several addresses, ' if what == 'sender' else ''
        cause = 'hosts made from one image, %sor records that were forged' % addresses
        return BAD, '%d %ss at the same time (%s): %s' % (len(ordered), what, listed, cause)
    return NOTE, 'its %s has changed: %s' % (what, listed)


def _limits(fleet: Fleet, damaged: 'Sequence[Tuple[str, str]]') -> 'Iterator[str]':
    for path, why in damaged[:_MOST_TOLD]:
        yield 'not all of %s could be read: %s' % (path, why)
    if len(damaged) > _MOST_TOLD:
        yield 'nor of %d more files' % (len(damaged) - _MOST_TOLD)
    yield from _shared_senders(fleet)
    for number, text in (
        (fleet.unreadable, 'could not be read'),
        (fleet.strangers, 'left out: no record that root has sent'),
        (fleet.more, 'counted, but without a row: there are more than fit'),
        (fleet.repeated, 'stored more than once, and counted once'),
    ):
        if number:
            yield '%s: %s' % (counted(number, 'record'), text)
    yield UNKNOWN_HOSTS
    yield TRUST


def _shared_senders(fleet: Fleet) -> 'Iterator[str]':
    hosts: 'Dict[str, int]' = {}
    for host in fleet.hosts.values():
        for sender in host.senders:
            hosts[sender] = hosts.get(sender, 0) + 1
    shared = sorted(((number, sender) for sender, number in hosts.items() if number > 1), reverse=True)
    for number, sender in shared[:_MOST_TOLD]:
        yield '%d hosts have one sender, %s: it is a proxy, or one host writes for others' % (number, sender)
    if len(shared) > _MOST_TOLD:
        yield 'so have the hosts of %d more senders' % (len(shared) - _MOST_TOLD)
