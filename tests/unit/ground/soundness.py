# SPDX-License-Identifier: Apache-2.0
"""Asks whether marks and words let a rule be a candidate wherever lxml finds a match."""

import functools

from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model
from virtguard.errors import DomainXMLError
from virtguard.judging.subject import parse_domain
from virtguard.judging.words import Sieve, read_words
from virtguard.match.check import compile_match
from virtguard.match.needs import build_index, derive_need
from virtguard.scan import find_marks
from virtguard.screening import holds

POLICY = load_policy((CHECKOUT / 'policy.yaml').read_bytes(), 'policy.yaml')
RULES = [rule for rule in POLICY.rules_at(model.ADMISSION) if rule.match is not None]
DOCUMENTS = sorted((CHECKOUT / 'tests' / 'cases').rglob('*.xml'))


def rule_of(match, values=None, negated=False):
    return model.Rule('x', 't', 'deny', 'w', 'r', match=match, values=values, negated=negated)


@functools.lru_cache(maxsize=256)
def prepared(match, values, negated):
    """What is derived from a rule once: its need, what to look for, the sieve."""
    need = derive_need(rule_of(match, values, negated))
    return need, build_index([need]), Sieve([(0, need)])


def may_match(rule, xml):
    """What the marks say; True where only lxml can tell."""
    need, index, _ = prepared(rule.match, rule.values, rule.negated)
    marks = find_marks(xml, index)
    return marks is None or holds(need, marks)


def passes_sieve(rule, xml):
    """What the words say; True where they cannot be relied on."""
    words = read_words(xml)
    return words is None or prepared(rule.match, rule.values, rule.negated)[2].sift(words) == [0]


def matches(rule, root):
    """What lxml says."""
    result = compile_match(rule.match)(root)
    if not isinstance(result, list):
        return bool(result)
    if rule.values is not None:
        texts = [''.join(n.itertext() if hasattr(n, 'itertext') else n) for n in result]
        return any((text in rule.values) != rule.negated for text in texts)
    return bool(result)


def assert_sound(rule, xml):
    """Returns whether the rule matched, for tests that want to know that they tested something."""
    try:
        root = parse_domain(xml).root
    except DomainXMLError:
        return False
    found = matches(rule, root)
    assert may_match(rule, xml) or not found, '%s matches, and its marks do not let it:\n%s' % (
        rule.match,
        xml.decode('utf-8', 'replace'),
    )
    assert passes_sieve(rule, xml) or not found, '%s matches, and words do not let it:\n%s' % (
        rule.match,
        xml.decode('utf-8', 'replace'),
    )
    return found
