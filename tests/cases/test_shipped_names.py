# SPDX-License-Identifier: Apache-2.0
"""The names in the policies that are shipped, and the schema of the libvirt that is installed."""

import pytest
from virtguard.match.check import check_match
from virtguard.match.libvirt_schema import libvirt_version
from virtguard.match.lint import lint_match
from virtguard.match.relaxng import Element
from virtguard.match.syntax import NAMESPACES, MatchError, parse
from virtguard.policy import load
from virtguard.policy.files import read_policy_file
from virtguard.policy.installation import profiles
from virtguard.policy.lint import lint_policy


@pytest.fixture(params=sorted(profiles()))
def policy(request):
    return load.as_if_in_force(profiles()[request.param])


def test_no_name_is_misspelt(policy, host_schema):
    files = {path: read_policy_file(path) for path in policy.files}
    assert [str(problem) for problem in lint_policy(policy, files, host_schema, libvirt_version())] == []


def test_every_misspelt_name_is_noticed(policy, host_schema):
    """Each name and each value that the schema has a say in, one after the other."""
    version = libvirt_version()
    unnoticed, count = [], 0
    for rule in policy.rules:
        newer = [name for name, since in rule.since if version is None or version < since]
        for offset in Misspellings(host_schema).find(rule.match) if rule.match else ():
            misspelt = rule.match[:offset] + 'x' + rule.match[offset:]
            try:
                check_match(misspelt, rule.at)
            except MatchError:
                continue  # the document itself has another name
            count += 1
            if not lint_match(misspelt, host_schema, rule.values or (), newer, rule.at):
                unnoticed.append(misspelt)
    assert unnoticed == []
    assert count > 50


class Misspellings:
    """The ends of all names and values in an expression that the schema lets be nothing but some few.

    Follows paths by their names alone, so what it takes for possible is more than what lint does. None is a place that
    the schema does not know: around a domain, below a name of a newer libvirt, in the reading of a QEMU argument.
    """

    def __init__(self, schema):
        self._document = Element(None, lambda: None)
        self._status = Element(None, lambda: None)  # where a running domain stands beside what has no schema
        self._roots = schema.roots
        self._found = []

    def find(self, match):
        self._walk(parse(match), [self._document])
        return self._found

    def _walk(self, node, places):
        """The places that an expression leads to from some."""
        results = [self._walk(operand, places) for operand in node.operands]
        if node.kind == 'compare' and node.text in ('=', '!='):
            for literal, others in zip(node.operands, reversed(results)):
                if literal.kind == 'literal' and others and None not in [self._values(place) for place in others]:
                    self._found.append(literal.offset + 1 + len(literal.text))
            for literal, other in zip(node.operands, reversed(node.operands)):
                if other.text in ('name', 'local-name') and self._are_named(places):
                    self._found.append(literal.offset + 1 + len(literal.text))
        if node.kind != 'path':
            return None
        places = [self._document] if node.absolute else places
        for step in node.steps:
            places = self._take(step, places)
            for predicate in step.predicates:
                self._walk(predicate, places)
        return places

    def _take(self, step, places):
        if step.test == 'domstatus':
            return [self._status]
        if places is None or step.axis not in ('child', 'attribute', 'self', 'descendant-or-self'):
            return None
        reached = [place for start in places for place in self._along(step.axis, start)]
        if step.test in ('*', 'node()'):
            return reached or None
        prefix, colon, local = step.test.rpartition(':')
        name = (NAMESPACES[prefix] if colon else '', local)
        if prefix == 'arg':
            return None
        if places != [self._status] and not any(place.names.wildcards for place in reached):
            self._found.append(step.offset + len(step.test))
        return [place for place in reached if place.names.allow(name)] or None

    def _along(self, axis, place):
        if axis == 'self':
            return [place]
        if place in (self._document, self._status):
            return self._roots if axis == 'child' else []
        if axis == 'attribute':
            return place.attributes()
        if axis == 'child':
            return place.children()
        found = [place]
        for element in found:
            found += [child for child in element.children() if child not in found]
        return found

    @staticmethod
    def _are_named(places):
        """Whether all names are known that nodes of some places can have."""
        return bool(places) and all(place.names and not place.names.wildcards for place in places)

    @staticmethod
    def _values(place):
        return place.values() if isinstance(place, Element) else place.values
