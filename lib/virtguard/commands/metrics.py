# SPDX-License-Identifier: Apache-2.0
"""`virt-guard metrics`: what monitoring wants to know, in numbers: as node_exporter's textfile collector reads it."""

import os
import time
from functools import partial

from .. import __version__
from ..errors import GuardError
from ..health.condition import AMISS, UNKNOWN, Condition
from ..health.journal_reader import JournalError
from ..health.kept_starts import examine_starts_again
from ..health.record_counts import DECISIONS, Counts, count_records, kept_counts
from ..model import RUNTIME, Policy
from ..trust import write_file
from ..waivers import next_day
from ..watch.unjudged_starts import RULE as UNJUDGED_START
from .domains.domain_files import defined_domain_files
from .domains.host_domains import AS_ROOT
from .domains.judged_counts import count_judged
from .exit_status import FINE
from .lock import locked
from .next_boot import autostart_domains, running_domains
from .output.prometheus_text import COUNTER, GAUGE, Metric, exposition
from .replaced_file import open_directory
from .status import examine
from .terminal import complain, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Optional, Tuple

    from ..policy.installation import Installation

_COUNTS, _LOCK = 'counts', 'counts.lock'  # among what a watch keeps, which leaves them alone
_LONGEST = 50.0  # seconds to wait for another run, which takes less than one
# Of what is looked at, the part that says nothing about the guard, but what domains do.
_STARTS, _AUTOSTART = 'starts', 'autostart'
# These are in a status only where the site has decided so; as a condition they are never amiss.
_DECISIONS = frozenset(('failure', 'rule', 'drop-in', 'waiver', 'profile'))


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print the metrics, or put them into a file in one step."""
    if not installation.installed:
        raise GuardError('virt-guard is not installed on this host', 'run ./install.sh')
    try:
        os.makedirs(installation.state, 0o700, exist_ok=True)
        with locked(os.path.join(installation.state, _LOCK), _LONGEST, 'is counting records'):
            data = exposition(_metrics(installation))
            if arguments.output is not None:
                _put(arguments.output, data)
                return FINE
    except PermissionError as error:
        raise GuardError('%s: %s' % (error.filename, error.strerror), AS_ROOT) from None
    except OSError as error:
        raise GuardError('%s: %s' % (error.filename, error.strerror)) from None
    show(data.decode('utf-8'))
    return FINE


def _put(path: str, data: bytes) -> None:
    directory, name = os.path.split(os.path.abspath(path))
    descriptor = open_directory(directory, 'nothing reads metrics there')
    try:
        # From here on it is this directory, whatever its name leads to meanwhile.
        write_file('/proc/self/fd/%d/%s' % (descriptor, name), data, 0o644, durable=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(descriptor)


def _metrics(installation: 'Installation') -> 'Iterator[Metric]':
    yield Metric('virt_guard_build_info', GAUGE, 'Always 1; the version of virt-guard.').add(1, version=__version__)
    counts = _counts(os.path.join(installation.state, _COUNTS))
    policy, conditions = examine(installation, partial(examine_starts_again, last_record=counts.cursor))
    yield from _of_conditions(conditions)
    if policy is not None:
        yield from _of_policy(policy)
        yield from _of_domains(policy, installation)
    yield from _of_counts(policy, counts)
    now = Metric('virt_guard_last_scan_timestamp_seconds', GAUGE, 'When all of this was found out.')
    yield now.add(int(time.time()))


def _of_conditions(conditions: 'List[Condition]') -> 'Iterator[Metric]':
    of_guard = [condition for condition in conditions if condition.subject not in (_STARTS, _AUTOSTART)]
    guarding = Metric('virt_guard_guarding', GAUGE, 'Whether nothing about the guard is amiss: see virt-guard status.')
    yield guarding.add(int(all(condition.state != AMISS for condition in of_guard)))
    healthy = Metric('virt_guard_healthy', GAUGE, 'Whether a part of virt-guard status is not amiss.')
    states: 'Dict[str, bool]' = {}
    for condition in conditions:
        if condition.state != UNKNOWN and condition.subject not in _DECISIONS:
            states[condition.subject] = states.get(condition.subject, True) and condition.state != AMISS
    for check, is_healthy in states.items():
        healthy.add(int(is_healthy), check=check)
    yield healthy
    unknown = Metric('virt_guard_unknown_checks', GAUGE, 'How much of virt-guard status could not be told.')
    yield unknown.add(sum(condition.state == UNKNOWN for condition in conditions))
    for name, subject, help in (
        ('unjudged', _STARTS, 'Running domains without a verdict of the guard on their start.'),
        ('autostart_refused', _AUTOSTART, 'Domains that start with the host, were refused and do not run.'),
    ):
        domains = Metric('virt_guard_%s_domains' % name, GAUGE, help)
        found = [condition for condition in conditions if condition.subject == subject]
        if all(condition.state != UNKNOWN for condition in found):
            yield domains.add(sum(condition.state == AMISS for condition in found))


def _of_policy(policy: Policy) -> 'Iterator[Metric]':
    info = Metric('virt_guard_policy_info', GAUGE, 'Always 1; the policy in force.')
    yield info.add(1, policy=policy.name, sha256=policy.sha256, mode=policy.mode, failure=policy.failure)
    ends: 'Dict[Tuple[str, str], str]' = {}
    for waiver in policy.waivers:
        for rule in waiver.rules:
            key = (rule, waiver.ticket)
            ends[key] = min(waiver.expires, ends.get(key, waiver.expires))
    expiry = Metric(
        'virt_guard_waiver_expiry_timestamp_seconds', GAUGE, 'When a waiver expires, the first of a ticket.'
    )
    for (rule, ticket), day in sorted(ends.items()):
        expiry.add(int(time.mktime(time.strptime(next_day(day), '%Y-%m-%d'))), rule=rule, ticket=ticket)
    yield expiry


def _of_domains(policy: Policy, installation: 'Installation') -> 'Iterator[Metric]':
    defined = count_judged(policy, defined_domain_files(installation.domains))
    running = count_judged(policy, defined_domain_files(installation.run))
    for name, counts, help in (
        ('domains', defined, 'Domains that are defined, by what the policy decides on their definition.'),
        ('running_domains', running, 'Domains that run, by what the policy decides on them as they run.'),
    ):
        domains = Metric('virt_guard_' + name, GAUGE, help)
        for decision, number in counts.decisions.items():
            domains.add(number, decision=decision)
        yield domains
    findings = Metric('virt_guard_findings', GAUGE, 'Definitions in which a rule finds something.')
    for (rule, status), number in sorted(defined.findings.items()):
        findings.add(number, rule=rule, status=status)
    yield findings
    refused = Metric(
        'virt_guard_next_boot_denied_domains',
        GAUGE,
        'Domains that run or start with the host, and whose next start the policy denies.',
    )
    yield refused.add(len(defined.denied & {*running_domains(installation), *autostart_domains(installation)}))


def _of_counts(policy: 'Optional[Policy]', counts: Counts) -> 'Iterator[Metric]':
    decisions = Metric('virt_guard_decisions_total', COUNTER, 'Records of verdicts on starts of domains.')
    for decision in DECISIONS:
        decisions.add(counts.decisions[decision], decision=decision)
    yield decisions
    rules = [UNJUDGED_START, *(policy.rules_at(RUNTIME) if policy is not None else ())]
    happened = {(rule.id, rule.action): 0 for rule in rules}
    happened.update(counts.happened)
    findings = Metric('virt_guard_runtime_findings_total', COUNTER, 'Records of findings of the watch.')
    for (rule, status), number in sorted(happened.items()):
        findings.add(number, rule=rule, status=status)
    yield findings


def _counts(path: str) -> Counts:
    try:
        return count_records(path)
    except JournalError as error:
        complain('virt-guard: warning: records are not counted: %s' % error)
        return kept_counts(path) or Counts('', 0.0, {}, {})
