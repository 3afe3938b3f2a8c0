# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch`: starts a watch, or reports what is found now. Only then are the modules of the watch loaded."""

import os

from .. import model, wording
from ..errors import GuardError
from . import loading
from .exit_status import FINE
from .output.formats import FORMATS
from .output.outputs import Outputs, chosen_outputs
from .terminal import complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List, Optional, Tuple

    from ..model import Occurrence
    from ..policy.installation import Installation
    from ..watch.policy_in_force import PolicyInForce
    from ..watch.renewal import Renewal
    from ..watch.unjudged_starts import Unjudged


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Watch until told to stop, or report what is found now. Returns the exit status."""
    from ..watch.policy_in_force import PolicyInForce

    if not _is_service():
        loading.complain_of_near_misses(loading.policy_path(arguments.policy, installation))

    def load() -> model.Policy:
        return loading.load_policy(arguments.policy, installation)

    policy = PolicyInForce(load)
    if arguments.once:
        return _tell_once(arguments, installation, policy)
    if arguments.output or arguments.format not in FORMATS:
        option = '--output' if arguments.output else '--format ' + arguments.format
        raise GuardError('%s: only with --once, which ends' % option)
    from ..watch.renewal import Renewal

    is_in_force = installation.installed and arguments.policy is None
    return _watch(arguments, installation, policy, Renewal(installation, load) if is_in_force else None)


def _is_service() -> bool:
    """Whether it is to print nothing, because the records in the journal are enough."""
    return bool(os.environ.get('NOTIFY_SOCKET'))


def _watch(
    arguments: 'argparse.Namespace',
    installation: 'Installation',
    policy: 'PolicyInForce',
    renewal: 'Optional[Renewal]',
) -> int:
    from ..watch.loop import Watch

    is_service = _is_service()
    output = FORMATS[arguments.format](wants_colour(), True)

    def show_happening(occurrence: 'Occurrence', verdict: model.Verdict) -> None:
        if not is_service:
            show(output.happening(occurrence, verdict))

    def complain_of(text: str) -> None:
        if not is_service:
            complain('%s: %s' % (wording.PROGRAM, text))

    def find_unjudged(since: float) -> 'Tuple[List[Unjudged], float, bool]':
        from ..health.coverage import unjudged_since  # in a process of its own

        return unjudged_since(installation, since)

    find = find_unjudged if renewal is not None else None  # else no hook obeys this policy
    Watch(installation, policy, renewal, show_happening, complain_of, find).run()
    if not is_service:
        show(output.summary())
    return FINE


def _tell_once(arguments: 'argparse.Namespace', installation: 'Installation', policy: 'PolicyInForce') -> int:
    from ..watch.once import audit_now
    from ..watch.reminders import reminders_now

    auditor = policy.load()
    with Outputs(*chosen_outputs(arguments, True), (model.ADMISSION, model.START, model.RUNTIME)) as shown:
        shown.begin(auditor.policy)
        for file, outcome in audit_now(installation, auditor):
            if isinstance(outcome, model.Verdict):
                shown.add(shown.verdict(file, outcome), [outcome.decision])
            else:
                complain(wording.escape('%s: error: %s' % (file, outcome)))
                shown.add(shown.failure(file, str(outcome)), [model.ERROR])
        shown.end()
    for reminder in reminders_now(installation, auditor):
        complain('%s: %s' % (wording.PROGRAM, reminder))
    return shown.tally.exit_status
