# SPDX-License-Identifier: Apache-2.0
"""What a policy makes of domains of this host, in short: which rules refuse each of them, and which waivers it uses."""

from ... import model
from ...errors import GuardError
from ...host import today
from ...judging.judge import Judge
from ...waivers import Waivers
from .. import loading
from .domain_files import DomainFile
from .host_domains import HostDomain, as_text
from .parallel import work_on_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence, Tuple

    Fields = Tuple[Tuple[str, ...], Tuple[model.Origin, ...], str, Tuple[str, ...]]


class JudgedDomain:
    """`refused_by` are ids of rules, `waivers` the origins of those that permit something in it; `error` says why it
    could not be judged, or is ''. `later` are ids of rules that could refuse it by what only its start shows."""

    __slots__ = ('domain', 'refused_by', 'waivers', 'error', 'later')

    def __init__(
        self,
        domain: HostDomain,
        refused_by: 'Tuple[str, ...]',
        waivers: 'Tuple[model.Origin, ...]',
        error: str,
        later: 'Tuple[str, ...]',
    ) -> None:
        self.domain = domain
        self.refused_by = refused_by
        self.waivers = waivers
        self.error = error
        self.later = later

    def describe(self, mode: str) -> str:
        """Whether it may start, in one line; as far as a definition shows."""
        name = as_text(self.domain.name)
        if self.error:
            return '%s: could not be judged: %s' % (name, self.error)
        if not self.refused_by:
            if self.later and mode == 'enforce':
                return '%s: may start, as far as its definition shows; judged at its start: %s' % (
                    name,
                    ', '.join(self.later),
                )
            return '%s: may start' % name
        refused = 'refused' if mode == 'enforce' else 'refused, if it were not for mode audit,'
        return '%s: would be %s by %s' % (name, refused, ', '.join(self.refused_by))


def judge_domains(policy: model.Policy, domains: 'Sequence[HostDomain]') -> 'Iterator[JudgedDomain]':
    """Judge each of them, within limits of time and memory, as of today."""
    judge = Judge(policy, loading.host(None, policy.needed_facts()), today())
    of_start = [rule for rule in policy.rules_at(model.START) if rule.action == model.DENY]
    waivers = Waivers(policy.waivers, today())

    def work(file: DomainFile) -> 'Fields':
        refused: 'Tuple[str, ...]' = ()
        origins, later = [], []
        for part in file.parts():
            try:
                if isinstance(part, GuardError):
                    raise part
                verdict = part.judged_by(judge.judge)
            except GuardError as error:
                return give_up(file, error)
            for rule in of_start:
                asked = model.Finding(rule, rule.action, '/domain', 0, '', '')
                if waivers.apply(asked, verdict.domain_name, verdict.uuid).status == model.DENY:
                    later.append(rule.id)
            refused += verdict.rule_ids(model.DENY, model.ERROR)
            origins += [f.waiver.origin for f in verdict.findings if f.status == model.WAIVED and f.waiver is not None]
        return refused, tuple(dict.fromkeys(origins)), '', tuple(dict.fromkeys(later))

    def give_up(file: DomainFile, error: GuardError) -> 'Fields':
        return (), (), str(error), ()

    files = [DomainFile(domain.definition or domain.status, True) for domain in domains]
    for domain, fields in zip(domains, work_on_files(work, give_up, judge.seconds, files)):
        yield JudgedDomain(domain, *fields)
