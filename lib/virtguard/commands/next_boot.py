# SPDX-License-Identifier: Apache-2.0
"""`virt-guard scan --next-boot`: what will be refused when running domains start again, or when the host boots.

The next start of a domain takes its definition, which may differ from what runs. A domain without one, a transient one,
has no next start. Not judged is what libvirt has saved together with a domain: a state that the next start goes on with
(virsh managedsave) has a definition of its own, and so has a snapshot that somebody reverts to.
"""

import os

from .. import model
from ..errors import GuardError, NotAFileError
from ..host import today
from ..judging.judge import Judge
from ..trust import read_file
from ..wording import counted
from . import loading
from .domains.host_domains import AS_ROOT, HostDomains, as_text
from .domains.pool import Workers
from .output.shown_verdicts import ShownVerdicts
from .policies import notes
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

    from ..policy.installation import Installation

    Fields = Tuple[str, str, str]  # complaint, output, decision ('' where there is no definition)

_SUFFIX = '.xml'
RUNNING, AUTOSTART = 'running', 'autostart'


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Judge the definition of each domain that runs or starts with the host; print the verdicts and a summary."""
    policy = loading.policy(arguments.policy, installation)
    judge = Judge(policy, loading.meant_host(arguments, policy.needed_facts(), arguments.os), arguments.date or today())
    with ShownVerdicts(arguments, by_name=True) as shown:
        shown.begin(policy)
        _judge(arguments, policy, judge, shown, installation)
    return shown.tally.exit_status


def _judge(
    arguments: 'argparse.Namespace',
    policy: model.Policy,
    judge: Judge,
    shown: ShownVerdicts,
    installation: 'Installation',
) -> None:
    names = {RUNNING: set(running_domains(installation)), AUTOSTART: set(autostart_domains(installation))}
    decisions: 'Dict[str, str]' = {}

    def work(name: str) -> 'Fields':
        path = os.path.join(installation.domains, name + _SUFFIX)
        try:
            xml = _read(path)
            if xml is None:
                return '', '', ''
            verdict = judge.judge(xml)
        except GuardError as error:
            return give_up(name, str(error))
        complaint = note_on_saved_state(installation, name)
        when = [when for when in (RUNNING, AUTOSTART) if name in names[when]]
        return complaint, shown.next_start(path, verdict, when), verdict.decision

    def give_up(name: str, reason: str) -> 'Fields':
        path = os.path.join(installation.domains, name + _SUFFIX)
        return '%s: error: %s' % (path, reason), shown.failure(path, reason), model.ERROR

    if arguments.domains:
        chosen = set(_chosen(arguments.domains, names, installation, shown))
        names = {when: names[when] & chosen for when in names}
    every = sorted(names[RUNNING] | names[AUTOSTART])
    workers = Workers(work, give_up, judge.seconds)
    try:
        for name, results in zip(every, workers.results(([name] for name in every), 1)):
            for complaint, text, decision in results:
                if complaint:
                    (complain if decision == model.ERROR else shown.note)(complaint)
                if decision:
                    shown.add(text, [decision])
                    decisions[name] = decision
    finally:
        workers.end()
    for note in notes.on_rules_of_start(policy):
        shown.remark(note)
    if not arguments.domains:
        notes.complain_of_unknown_uuids(policy, installation, shown.note)
    shown.end(*summary(policy, decisions, names))


def _chosen(
    words: 'Iterable[str]', names: 'Dict[str, Set[str]]', installation: 'Installation', shown: ShownVerdicts
) -> 'Iterator[str]':
    """The names of the domains that the user names. Complains of those that have no next start, and counts them."""
    domains = HostDomains(installation)
    for word in words:
        try:
            name = domains.require(word).name
            if not any(name in those for those in names.values()):
                raise GuardError('it neither runs nor starts with the host', "'virt-guard scan' judges its definition")
            yield name
        except GuardError as error:
            complain('%s: error: %s' % (as_text(word), error))
            shown.add(shown.failure(as_text(word), str(error)), [model.ERROR])


def summary(policy: model.Policy, decisions: 'Dict[str, str]', names: 'Dict[str, Set[str]]') -> 'Iterator[str]':
    """Lines that say how many domains would be refused at their next start.

    :param decisions: those on the definitions, by the names of the domains
    :param names: of the domains that are RUNNING, and of those with AUTOSTART
    """

    def count(when: str, decision: str) -> int:
        return sum(decisions.get(name) == decision for name in names[when])

    running, booting = len(names[RUNNING]), len(names[AUTOSTART].intersection(decisions))
    if policy.mode == 'enforce':
        one, more = '%d of %s would be refused at its next start', '%d of %s would be refused at their next start'
    else:
        one = '%d of %s would be refused in mode enforce at its next start'
        more = '%d of %s would be refused in mode enforce at their next start'
    phrase = one if running == 1 else more
    of_running = model.Phrase(phrase, count(RUNNING, model.DENY), counted(running, 'running domain'))
    phrase = '%d of %d that starts with the host' if booting == 1 else '%d of %d that start with the host'
    yield model.Phrase('%s; %s', of_running, model.Phrase(phrase, count(AUTOSTART, model.DENY), booting))
    transient = sorted(names[RUNNING].difference(decisions))
    if transient:
        yield model.Phrase('these run without a definition and have no next start: %s', ', '.join(transient))


def note_on_saved_state(installation: 'Installation', name: str) -> str:
    """What to say about a domain that libvirt has saved (virsh managedsave); '' if it is not saved."""
    if not os.path.lexists(os.path.join(installation.lib, 'save', name + '.save')):
        return ''
    path = os.path.join(installation.domains, name + _SUFFIX)
    return '%s: its saved state, from which its next start goes on, was not judged' % path


def running_domains(installation: 'Installation') -> 'Iterator[str]':
    """The names of the running domains: libvirt keeps the status of each in a file."""
    for entry in _list(installation.run):
        if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
            yield entry.name[: -len(_SUFFIX)]


def autostart_domains(installation: 'Installation') -> 'Iterator[str]':
    """The names of the domains that start with the host: libvirt keeps a link to the definition of each."""
    for entry in _list(os.path.join(installation.domains, 'autostart')):
        if not entry.name.endswith(_SUFFIX):
            continue
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            target = ''
        if os.path.basename(target) == entry.name:
            yield entry.name[: -len(_SUFFIX)]
        else:
            complain('%s: ignored: not a link to %s' % (entry.path, os.path.join(installation.domains, entry.name)))


def _list(directory: str) -> 'List[os.DirEntry[str]]':
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (directory, error.strerror), AS_ROOT) from None


def _read(path: str) -> 'Optional[bytes]':
    """The content of a definition; None if it does not exist, or no longer.

    :raises GuardError: it cannot be read
    """
    try:
        return read_file(path, model.MAX_XML_BYTES)
    except FileNotFoundError:
        return None
    except NotAFileError:
        raise GuardError('it is not a regular file') from None
    except OSError as error:
        raise GuardError('cannot be read: %s' % error.strerror) from None
