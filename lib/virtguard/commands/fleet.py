# SPDX-License-Identifier: Apache-2.0
"""`virt-guard fleet`: how the guards of many hosts are, as the journals that a collector keeps of them tell."""

import time

from ..reporting.collected import read_fleet
from ..reporting.fleet import Fleet
from ..reporting.fleet_contents import FleetContents
from ..reporting.fleet_text import fleet_json, fleet_text
from ..reporting.moments import parse_period, parse_span
from .exit_status import AMISS, FINE
from .terminal import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..policy.installation import Installation


def run(arguments: 'argparse.Namespace', _: 'Installation') -> int:
    """Tell it. Returns the exit status: 0 fine, 1 something is amiss on a host.

    :raises GuardError: the options make no sense, or the records cannot be read
    """
    now = time.time()
    silent_after = parse_span('--silent-after', arguments.silent_after)
    fleet = Fleet(parse_period(arguments.since, None, now).since, now)
    damaged = read_fleet(arguments.directory, fleet, silent_after)
    contents = FleetContents(fleet, damaged, silent_after)
    for line in (fleet_json if arguments.format == 'jsonl' else fleet_text)(contents):
        show(line)
    return AMISS if contents.is_amiss else FINE
