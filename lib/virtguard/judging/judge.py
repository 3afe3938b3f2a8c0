# SPDX-License-Identifier: Apache-2.0
"""Judges one document after another by one policy; finds out first what can be known without parsing it."""

from .. import model
from ..findings import ask_facts
from ..match.needs import derive_need
from .evaluate import evaluate
from .lines import Sieve
from .subject import Subject, parse_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

_LEAST_SECONDS = 5.0  # of processor time for a document, even if the hook's deadline is shorter


class Judge:
    """Judges documents by one policy for one host on one day; what a rule needs is derived once. `seconds` is the
    processor time that a document may take.

    :param limit: of findings, see evaluate
    """

    def __init__(
        self,
        policy: model.Policy,
        host: model.HostFacts,
        today: str,
        limit: 'Optional[int]' = model.MAX_FINDINGS_PER_RULE,
    ) -> None:
        policy = policy.on(today)
        self.seconds = max(policy.deadline, _LEAST_SECONDS)
        self._policy = policy
        self._host = host
        self._today = today
        self._limit = limit
        self._rules = [rule for rule in policy.rules_at(model.ADMISSION) if ask_facts(rule, host)[0] is not False]
        self._sieve = Sieve(enumerate(map(derive_need, self._rules)))

    def judge(self, xml: bytes) -> model.Verdict:
        """The verdict on one document.

        :raises DomainXMLError: it is not a domain that can be judged
        """
        sifted = self._sieve.sift(xml)
        if sifted is None:
            return self._evaluate(parse_domain(xml), self._rules)
        rules = [self._rules[number] for number in sifted.numbers]
        head = sifted.head() if sifted.is_usual and not rules else None
        if head is not None:
            return model.Verdict(*head, self._policy, (), self._today)
        return self._evaluate(parse_domain(xml, True, sifted.is_usual), rules)

    def _evaluate(self, subject: Subject, rules: 'List[model.Rule]') -> model.Verdict:
        return evaluate(self._policy, subject, self._host, self._today, rules, self._limit)
