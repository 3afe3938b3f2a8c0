# SPDX-License-Identifier: Apache-2.0
"""What holds now, without regard to what was before: `virt-guard watch --once`."""

import time

from .errors import GuardError
from .ledger import HOST
from .processes import Processes
from .statefiles import StateFiles
from .transition import STATUS, State, take_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, Tuple, Union

    from .layout import Layout
    from .model import Verdict
    from .runtime import Auditor


def audit_now(layout: 'Layout', auditor: 'Auditor') -> 'Iterator[Tuple[str, Union[Verdict, GuardError]]]':
    """What holds now: for the status file of each domain that runs a verdict, or why there is none; then, if there is
    something to say of them, for the host's processes. For a directory of metadata that cannot be listed, why.

    :raises StateFileError: the directory of status files cannot be listed
    """
    files = StateFiles(layout.run, layout.lib)
    states: 'Dict[str, State]' = {}
    pids = set()
    paths, unlisted = files.paths()
    if files.run in unlisted:
        raise unlisted[files.run]
    yield from unlisted.items()
    for path in paths:
        place = files.place(path)
        try:
            data = files.read(path)[1]
            if data is None:
                continue
            states[place.domain] = states.get(place.domain, State()).with_document(
                place.kind, place.name, take_document(place.kind, data)
            )
        except GuardError as error:
            yield path, error
        else:
            if place.kind == STATUS:
                pids.add(states[place.domain].pid())
                yield path, auditor.verdict(place.domain, states[place.domain])
    processes = Processes(layout.run)
    unowned, pause = processes.unowned(pids)
    if pause:
        time.sleep(pause)
        unowned, _ = processes.unowned(pids)
    verdict = auditor.verdict(HOST, State(None, unowned))
    if verdict.findings:
        yield '/proc', verdict
