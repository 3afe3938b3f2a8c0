# SPDX-License-Identifier: Apache-2.0
"""What a policy makes of domains of this host, in short: which rules refuse each of them, and which waivers it uses."""

from ... import model
from ...errors import GuardError
from ...host import today
from ...judging.judge import Judge
from .. import loading
from .domain_files import DomainFile
from .host_domains import HostDomain, as_text
from .parallel import work_on_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence, Tuple

    Fields = Tuple[Tuple[str, ...], Tuple[model.Origin, ...], str]


class JudgedDomain:
    """`refused_by` are ids of rules, `waivers` the origins of those that permit something in it; `error` says why it
    could not be judged, or is ''."""

    __slots__ = ('domain', 'refused_by', 'waivers', 'error')

    def __init__(
        self, domain: HostDomain, refused_by: 'Tuple[str, ...]', waivers: 'Tuple[model.Origin, ...]', error: str
    ) -> None:
        self.domain = domain
        self.refused_by = refused_by
        self.waivers = waivers
        self.error = error

    def describe(self, mode: str) -> str:
        """Whether it may start, in one line."""
        name = as_text(self.domain.name)
        if self.error:
            return '%s: could not be judged: %s' % (name, self.error)
        if not self.refused_by:
            return '%s: may start' % name
        refused = 'refused' if mode == 'enforce' else 'refused, if it were not for mode audit,'
        return '%s: would be %s by %s' % (name, refused, ', '.join(self.refused_by))


def judge_domains(policy: model.Policy, domains: 'Sequence[HostDomain]') -> 'Iterator[JudgedDomain]':
    """Judge each of them, within limits of time and memory, as of today."""
    judge = Judge(policy, loading.host(None, policy.needed_facts()), today())

    def work(file: DomainFile) -> 'Fields':
        refused: 'Tuple[str, ...]' = ()
        origins = []
        for part in file.parts():
            try:
                if isinstance(part, GuardError):
                    raise part
                verdict = part.judged_by(judge.judge)
            except GuardError as error:
                return give_up(file, error)
            refused += verdict.rule_ids(model.DENY, model.ERROR)
            origins += [f.waiver.origin for f in verdict.findings if f.status == model.WAIVED and f.waiver is not None]
        return refused, tuple(dict.fromkeys(origins)), ''

    def give_up(file: DomainFile, error: GuardError) -> 'Fields':
        return (), (), str(error)

    files = [DomainFile(domain.definition or domain.status, True) for domain in domains]
    for domain, fields in zip(domains, work_on_files(work, give_up, judge.seconds, files)):
        yield JudgedDomain(domain, *fields)
