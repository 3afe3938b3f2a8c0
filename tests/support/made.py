# SPDX-License-Identifier: Apache-2.0
"""Rules, policies, findings, verdicts and waivers for tests: what a test does not say is the same in all of them."""

from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple

from virtguard import model

if TYPE_CHECKING:
    from virtguard.model import Finding, Policy, Rule, Verdict, Waiver

UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'


def rule(match: 'Optional[str]' = None, id: str = 'one', action: str = 'deny', **fields: Any) -> 'Rule':
    fields = dict({'title': 'title of ' + id, 'why': 'why', 'remedy': 'remedy', 'origin': ('p', 1)}, **fields)
    return model.Rule(id=id, action=action, match=match, **fields)


def policy(
    *rules: 'Rule',
    name: str = 'example',
    mode: str = 'enforce',
    sha256: str = 'f' * 64,
    waivers: 'Sequence[Waiver]' = (),
) -> 'Policy':
    return model.Policy(name, mode, 'deny', 5.0, False, rules, 'f' * 64, 'policy.yaml', tuple(waivers))


def finding(
    of: 'Rule',
    status: str = model.DENY,
    path: str = '/domain/x',
    line: int = 1,
    evidence: str = '<x a="1">',
    message: 'Optional[str]' = None,
    more: int = 0,
) -> 'Finding':
    return model.Finding(of, status, path, line, evidence, of.title if message is None else message, more=more)


def verdict(
    *findings: 'Finding', domain_name: str = 'payroll', name: str = 'example', mode: str = 'enforce'
) -> 'Verdict':
    return model.Verdict(domain_name, UUID, policy(name=name, mode=mode), findings)


def waiver(
    rules: 'Tuple[str, ...]' = ('one',),
    domains: 'Tuple[Any, ...]' = ('build-*',),
    expires: str = '2027-01-31',
    approved_by: str = 'operations',
    **fields: Any,
) -> 'Waiver':
    return model.Waiver(rules, domains, 'the reason', approved_by, expires, **fields)
