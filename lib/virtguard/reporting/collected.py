# SPDX-License-Identifier: Apache-2.0
"""Reads the records of many hosts from the files of a collector, and finds out which hosts have gone silent."""

from ..health.journal_files import JournalFiles
from ..health.journal_reader import received, text_of
from .fleet import AHEAD, FIELDS, Fleet, is_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

_OURS = 'SYSLOG_IDENTIFIER=virt-guard'


def read_fleet(directory: str, fleet: Fleet, silent_after: float) -> 'List[Tuple[str, str]]':
    """Add all records to a fleet. Returns the files of which not all could be read, each with the reason.

    :param silent_after: seconds without a record of the guard, after which other entries of a host are looked for
    :raises GuardError: nothing can be read
    """
    files = JournalFiles(directory)
    for file, fields in files.entries(_OURS, fields=FIELDS):
        fleet.add(fields, file.sender)
    _listen(files, fleet, fleet.now - silent_after)
    return files.damaged


def _listen(files: JournalFiles, fleet: Fleet, since: float) -> None:
    """Find when hosts were last heard of, whose guard has recorded nothing since then, and hosts without a guard."""
    for group in files.by_sender():
        for machine in sorted(files.machines(group)):
            known = fleet.hosts.get(machine)
            if not is_machine(machine) or (known is not None and known.last >= since):
                continue
            entry = files.last_entry(group, machine, ['_HOSTNAME'])
            host = None if entry is None else fleet.host(machine)
            if entry is None or host is None:
                continue
            moment = received(entry)
            if moment > fleet.now + AHEAD:
                host.ahead += 1
                continue
            if not host.seen.count:
                host.note_sender(text_of(entry, '_HOSTNAME')[:64], group[-1].sender, moment)
            host.heard = max(host.heard or 0.0, moment)
