# SPDX-License-Identifier: Apache-2.0
"""A report for programs: one JSON object in each line, of which `kind` says what it is. Pure: no I/O."""

import json
import time

from .. import __version__
from .contents import Contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional

    from .account import Account
    from .contents import Origin
    from .groups import Group
    from .host_account import HostAccount
    from .present import Present
    from .reading import Reading
    from .record import Record

    Object = Dict[str, Any]


def json_lines(
    account: 'Account', reading: 'Reading', origin: 'Origin', made: float, contents: Contents
) -> 'Iterator[str]':
    """The lines of a report, each with its end."""
    period = account.period
    yield _line(
        'report',
        since=described_time(period.since),
        until=described_time(period.until),
        made=described_time(made),
        version=__version__,
        origin=origin.name,
        records=reading.count,
        sha256=reading.sha256,
    )
    for limit in contents.limits:
        yield _line('limit', text=limit)
    for host in account.hosts.values():
        for described in _of_host(host):
            yield json.dumps(dict(described, host=host.hostname, machine=host.host)) + '\n'
    if origin.present is not None:
        yield from _of_present(origin.present)


def _of_host(host: 'HostAccount') -> 'Iterator[Object]':
    yield {
        'kind': 'host',
        'first': described_time(host.first),
        'last': described_time(host.last),
        'admitted': host.starts,
        'refused': host.refused.count,
        'would-refuse': host.would_refuse.count,
        'not-judged': host.unjudged.count,
        'findings': host.happened.count,
        'removed': [
            {'from': described_time(begin), 'until': described_time(end)} for begin, end in host.time_removed()
        ],
    }
    kinds = (
        ('refused', host.refused),
        ('would-refuse', host.would_refuse),
        ('not-judged', host.unjudged),
        ('finding', host.happened),
        ('waiver', host.waivers),
        ('not-observed', host.unobserved),
        ('said-by-watch', host.warnings),
    )
    for kind, groups in kinds:
        for group in groups.latest_first():
            yield _of_group(kind, group)
        if groups.more:
            yield {'kind': kind, 'without-a-row': groups.more}
    for kind, kept in (
        ('guard-changed', host.guard_changes),
        ('policy-changed', host.policy_changes),
        ('watch', host.watches),
        ('unwatched', host.unwatched),
        ('without-fields', host.fieldless),
        ('dropped', host.dropped),
    ):
        for record in kept.records:
            yield _of_change(kind, record)
        if kept.more:
            yield {'kind': kind, 'without-a-row': kept.more}
    for use in host.policies.values():
        yield {
            'kind': 'policy',
            'policy': {'name': use.name, 'sha256': use.sha256},
            'modes': use.modes,
            'count': use.count,
            'first': described_time(use.first),
            'last': described_time(use.last),
        }


def _of_group(kind: str, group: 'Group') -> 'Object':
    record = group.record
    described = {
        'kind': kind,
        'domain': record.domain,
        'uuid': record.uuid,
        'count': group.count,
        'first': described_time(group.first),
        'last': described_time(group.last),
        'rules': record.rules,
        'denied': record.denied,
        'findings': record.findings,
        'waiver': group.waiver,
        'message': record.message,
        'since': record.since,
        'until': record.until,
        'mode': record.mode,
        'policy': {'name': record.policy, 'sha256': record.policy_sha256},
        'xml-sha256': record.xml_sha256,
    }
    return {key: value for key, value in described.items() if value}


def _of_change(kind: str, record: 'Record') -> 'Object':
    described = {
        'kind': kind,
        'time': described_time(record.moment),
        'message': record.message,
        'change': record.change,
        'version': record.version,
        'user': record.user,
        'file': record.file,
        'since': record.since,
        'until': record.until,
        'cause': record.cause,
        'file-sha256-before': record.before,
        'file-sha256': record.after,
        'policy': {'name': record.policy, 'sha256': record.policy_sha256} if record.policy_sha256 else {},
    }
    return {key: value for key, value in described.items() if value}


def _of_present(present: 'Present') -> 'Iterator[str]':
    policy = present.policy
    yield _line(
        'now',
        policy=None if policy is None else {'name': policy.name, 'sha256': policy.sha256},
        mode=None if policy is None else policy.mode,
        files=list(present.files),
        running=present.running,
        judged=present.judged,
    )
    for start in present.unjudged:
        yield _line(
            'unjudged-start',
            domain=start.name,
            uuid=start.uuid,
            time=described_time(start.time),
            running=start.is_running,
        )
    for domain in present.outside:
        described = {
            'domain': domain.domain,
            'uuid': domain.uuid,
            'rules': domain.rules,
            'waived': domain.waived,
            'findings': domain.findings,
        }
        yield _line('outside-now', **described)


def _line(kind: str, **values: 'Any') -> str:
    return json.dumps(dict(values, kind=kind)) + '\n'


def described_time(moment: 'Optional[float]') -> 'Optional[str]':
    """ISO 8601, local with the zone."""
    return None if moment is None else time.strftime('%Y-%m-%dT%H:%M:%S%z', time.localtime(moment))
