# SPDX-License-Identifier: Apache-2.0
"""Which of this host's domains, defined or running, would be refused after a day, because something ends with it.

What counts is the definition, which the next start takes; of a domain that has none, what runs. As everywhere in the
watch, a document that may take long is judged in a process of its own.
"""

import os
from functools import partial

from .. import model
from ..errors import GuardError, NotAFileError
from ..trust import read_file
from ..waivers import next_day
from .limited import wait_for
from .state import STATUS, State, is_light, take_document
from .state_files import SUFFIX, StateFiles, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from ..policy.installation import Installation
    from .auditor import Auditor

    # The domains that would be refused: name, UUID, ids of rules. Those that could not be judged: name, reason.
    Refusals = Tuple[List[Tuple[str, str, List[str]]], List[Tuple[str, str]]]


def refusals_after(day: str, ends_audit: bool, installation: 'Installation', auditor: 'Auditor') -> 'Refusals':
    """Which domains would be refused after that day, and not if the waivers, or mode audit, that end then went on."""
    after = auditor.on(next_day(day))
    of_waivers = None if ends_audit else day
    refused, unjudged = [], []
    for name, judge in _domains(installation, after):
        try:
            uuid, rules = judge(of_waivers)
        except GuardError as error:
            unjudged.append((name, str(error)))
            continue
        if rules:
            refused.append((name, uuid, rules))
    return refused, unjudged


def _domains(
    installation: 'Installation', auditor: 'Auditor'
) -> 'Iterator[Tuple[str, Callable[[Optional[str]], Any]]]':
    defined = _names(installation.domains)
    for name in defined:
        yield name, partial(_of_definition, auditor, os.path.join(installation.domains, name + SUFFIX))
    for name in _names(installation.run):
        if name not in defined:
            yield name, partial(_of_status, auditor, StateFiles(installation.run, installation.lib), name)


def _of_definition(auditor: 'Auditor', path: str, day: 'Optional[str]') -> 'Tuple[str, List[str]]':
    data = _read(path)
    if data is None:
        return '', []
    work = partial(_rules, lambda: auditor.verdict_on_definition(data), day)
    return work() if is_light([data]) else wait_for(work)


def _of_status(auditor: 'Auditor', files: StateFiles, name: str, day: 'Optional[str]') -> 'Tuple[str, List[str]]':
    data = files.read(files.path(STATUS, name, ''))[1]
    if data is None:
        return '', []

    def judge() -> model.Verdict:
        return auditor.verdict(name, State(take_document(STATUS, data, auditor.all_metadata)))

    work = partial(_rules, judge, day)
    return work() if is_light([data]) else wait_for(work)


def _rules(judge: 'Callable[[], model.Verdict]', day: 'Optional[str]') -> 'Tuple[str, List[str]]':
    """The UUID of a domain, and the rules that deny it; if a day is given, those for want of a waiver whose last day
    that was."""
    verdict = judge()
    denied = [f for f in verdict.findings if f.status == model.DENY and f.rule.at != model.RUNTIME]
    found = (f.rule.id for f in denied if day is None or (f.waiver is not None and f.waiver.expires == day))
    return str(verdict.uuid), list(dict.fromkeys(found))


def _names(directory: str) -> 'List[str]':
    """The names of the domains that have a file there; none where the directory is missing.

    :raises GuardError: it cannot be listed
    """
    try:
        return sorted(name[: -len(SUFFIX)] for name in os.listdir(directory) if is_name(name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (directory, error.strerror), 'run it as root') from None


def _read(path: str) -> 'Optional[bytes]':
    """A definition; None where it is gone, or is not a file, which defines nothing."""
    try:
        return read_file(path, model.MAX_XML_BYTES)
    except (FileNotFoundError, NotAFileError):
        return None
    except OSError as error:
        raise GuardError('%s cannot be read: %s' % (path, error.strerror)) from None
