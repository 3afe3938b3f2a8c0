# SPDX-License-Identifier: Apache-2.0
"""`virsh start` of a clean domain (KVM, 64 MB, no disk) and of one with a warning, on real libvirt: with the guard, and
without any hook.

Two throwaway machines with a libvirtd of their own, one with virt-guard, take turns. A start that is measured ends
when virsh has; before it the domain is off, and after it it is destroyed.
"""

import contextlib
import re
import statistics
import tempfile
from typing import Dict, List, Sequence, Tuple

from environment import say
from machines import MeasuringMachine, unavailable
from measuring import Command
from table import Result, Section

from domains import domain  # isort: skip  # machines shows where it is
from machine import COMMAND_ENV  # isort: skip

_ROUNDS, _QUICK_ROUNDS, _WARM_UP = 40, 8, 2
# name -> title, target, the domain
ROWS = {
    'virsh': ('`virsh start` of a clean domain / without any hook', 1.15, 'bench'),
    'virsh-warned': ('`virsh start` of a domain with a warning / without any hook', 1.1, 'warned'),
}


def _without_metadata(xml: str) -> str:
    return re.sub('<metadata>.*</metadata>', '', xml, flags=re.DOTALL)


def _command(action: str, name: str) -> Command:
    return Command(['/usr/bin/virsh', '-q', action, '--domain', name], env=COMMAND_ENV)


def measure(names: Sequence[str], quick: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names."""
    reason = unavailable()
    if reason:
        return [Result(name, *ROWS[name][:2], None, reason) for name in names], []
    rounds = _QUICK_ROUNDS if quick else _ROUNDS
    results = []
    with contextlib.ExitStack() as stack:
        machines = {}
        for which in ('with', 'without'):
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            machines[which] = machine = stack.enter_context(MeasuringMachine(directory))
            machine.define(domain('bench'))
            machine.define(domain('warned', _without_metadata))
        machines['with'].install()
        machines['with'].reload_libvirtd()
        for name in names:
            title, target, guest = ROWS[name]
            say('  %s: %d starts with and without the guard' % (name, rounds))
            own, base = _medians(machines, guest, rounds)
            records = machines['with'].journal('VIRT_GUARD_DOMAIN=' + guest, 'VIRT_GUARD_DECISION=admit')
            assert len(records) == _WARM_UP + rounds, 'the guard was asked %d times' % len(records)
            assert all(('VIRT_GUARD_FINDING' in record) == (guest == 'warned') for record in records)
            assert not machines['without'].journal('VIRT_GUARD_DOMAIN=' + guest)
            how = '%.1f ms / %.1f ms (%d times)' % (own * 1e3, base * 1e3, rounds)
            results.append(Result(name, title, target, own / base, how, own, base))
    return results, []


def _medians(machines: Dict[str, MeasuringMachine], guest: str, rounds: int) -> Tuple[float, float]:
    """The seconds of a start with the guard and without any hook."""
    times: Dict[str, List[float]] = {which: [] for which in machines}
    for number in range(_WARM_UP + rounds):
        for which in list(machines) if number % 2 else list(machines)[::-1]:
            run = machines[which].driver.measure({'start': _command('start', guest)}, 1)['start'][0]
            machines[which].driver.measure({'destroy': _command('destroy', guest)}, 1)
            if number >= _WARM_UP:
                times[which].append(run.seconds)
    return statistics.median(times['with']), statistics.median(times['without'])
