# SPDX-License-Identifier: Apache-2.0
"""`virsh start` of a clean domain (KVM, 64 MB, no disk) on real libvirt: with the guard, and without any hook.

Two throwaway machines with a libvirtd of their own, one with virt-guard, take turns. A start that is measured ends
when virsh has; before it the domain is off, and after it it is destroyed.
"""

import contextlib
import statistics
import tempfile
from typing import Dict, List, Tuple

from environment import say
from machines import MeasuringMachine, unavailable
from measuring import Command
from table import Result, Section

from domains import domain  # isort: skip  # machines shows where it is
from machine import COMMAND_ENV  # isort: skip

_ROUNDS, _QUICK_ROUNDS, _WARM_UP = 40, 8, 2
_NAME, _TITLE, _TARGET = 'virsh', '`virsh start` of a clean domain / without any hook', 1.15
ROWS = (_NAME,)
_START, _DESTROY = (
    Command(['/usr/bin/virsh', '-q', action, '--domain', 'bench'], env=COMMAND_ENV) for action in ('start', 'destroy')
)


def measure(quick: bool) -> Tuple[List[Result], List[Section]]:
    """The row."""
    reason = unavailable()
    if reason:
        return [Result(_NAME, _TITLE, _TARGET, None, reason)], []
    rounds = _QUICK_ROUNDS if quick else _ROUNDS
    say('  %d starts with and without the guard' % rounds)
    times: Dict[str, List[float]] = {'with': [], 'without': []}
    with contextlib.ExitStack() as stack:
        machines = {}
        for which in times:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            machines[which] = machine = stack.enter_context(MeasuringMachine(directory))
            machine.define(domain('bench'))
        machines['with'].install()
        machines['with'].reload_libvirtd()
        for number in range(_WARM_UP + rounds):
            order = list(machines) if number % 2 else list(machines)[::-1]
            for which in order:
                run = machines[which].driver.measure({'start': _START}, 1)['start'][0]
                machines[which].driver.measure({'destroy': _DESTROY}, 1)
                if number >= _WARM_UP:
                    times[which].append(run.seconds)
        records = machines['with'].journal('VIRT_GUARD_DOMAIN=bench', 'VIRT_GUARD_DECISION=admit')
        assert len(records) == _WARM_UP + rounds, 'the guard was asked %d times' % len(records)
        assert not machines['without'].journal('VIRT_GUARD_DOMAIN=bench')
    own, base = statistics.median(times['with']), statistics.median(times['without'])
    how = '%.1f ms / %.1f ms (%d times)' % (own * 1e3, base * 1e3, rounds)
    return [Result(_NAME, _TITLE, _TARGET, own / base, how, own, base)], []
