# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch`: starts a watch, or tells what holds now. Loads the watch itself only then."""

import os

from .. import model, wording
from . import loading
from .exit_status import ADMITTED, DENIED, NOT_JUDGED
from .formats import JsonLines, Text, happening_line, happening_object
from .terminal import complain, show, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Union

    from ..model import Occurrence
    from ..policy.installation import Layout
    from ..watch.policy_in_force import PolicyInForce

    Format = Union[Text, JsonLines]


def run(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Watch until told to end, or tell what holds now. Returns the exit status."""
    from ..watch.policy_in_force import PolicyInForce

    policy = PolicyInForce(lambda: loading.policy(arguments.policy, layout))
    return _tell_once(arguments, layout, policy) if arguments.once else _watch(arguments, layout, policy)


def _watch(arguments: 'argparse.Namespace', layout: 'Layout', policy: 'PolicyInForce') -> int:
    from ..watch.loop import Watch

    # Where a service manager started it, journald has the records, and nobody reads what is printed.
    is_service = bool(os.environ.get('NOTIFY_SOCKET'))
    render = happening_object if arguments.format == 'jsonl' else happening_line

    def show_happening(occurrence: 'Occurrence', verdict: model.Verdict) -> None:
        if not is_service:
            show(render(occurrence, verdict))

    def complain_of(text: str) -> None:
        if not is_service:
            complain('%s: %s' % (wording.PROGRAM, text))

    Watch(layout, policy, show_happening, complain_of).run()
    return ADMITTED


def _tell_once(arguments: 'argparse.Namespace', layout: 'Layout', policy: 'PolicyInForce') -> int:
    from ..watch.once import audit_now

    output: 'Format' = JsonLines() if arguments.format == 'jsonl' else Text(wants_colour(), True)
    counts = {model.ADMIT: 0, model.DENY: 0, model.ERROR: 0}
    for source, outcome in audit_now(layout, policy.load()):
        if isinstance(outcome, model.Verdict):
            show(output.verdict(source, outcome))
            counts[outcome.decision] += 1
        else:
            complain(wording.escape('%s: error: %s' % (source, outcome)))
            show(output.failure(source, str(outcome)))
            counts[model.ERROR] += 1
    show(output.summary(counts[model.ADMIT], counts[model.DENY], counts[model.ERROR]))
    return NOT_JUDGED if counts[model.ERROR] else DENIED if counts[model.DENY] else ADMITTED
