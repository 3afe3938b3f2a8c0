# SPDX-License-Identifier: Apache-2.0
"""The guard and its peers, given the same rules: from the bytes of a document to the ids of the rules that match.

Whatever can be done before a document is known is done in the constructor: rules are translated and compiled there.
The peers get their rules as one who knows them would write them, and their input as fast as it can be made: lxml and a
short conversion, which takes half the time of xmltodict. `RegorusUsual` is the same engine fed the usual way.
"""

import json
import sys
from typing import Any, Dict, FrozenSet, Iterable, List, Sequence

import environment
from lxml import etree, isoschematron
from rules import QEMU, Rule, Test, policy_yaml

sys.path[:0] = [str(environment.CHECKOUT / 'lib'), str(environment.CHECKOUT / 'tests')]

from support.policies import load_policy  # noqa: E402
from virtguard import model  # noqa: E402
from virtguard.host import today  # noqa: E402
from virtguard.judging.judge import Judge  # noqa: E402

Hits = FrozenSet[str]

_QEMU_ARG = '{%s}arg' % QEMU
_NO_HITS: Hits = frozenset()


class Engine:
    """Rules, ready for documents."""

    name = ''

    def __init__(self, rules: Sequence[Rule]) -> None:
        raise NotImplementedError

    def find(self, document: bytes) -> Hits:
        """The ids of the rules that find something."""
        raise NotImplementedError


class Guard(Engine):
    """What `check` and `scan` use. Beyond the ids it makes findings: path, line, evidence."""

    name = 'virt-guard'

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.policy = load_policy(policy_yaml(rules).encode(), 'bench.yaml')
        host = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda probe, subject: None)
        self._judge = Judge(self.policy, host, today())

    def find(self, document: bytes) -> Hits:
        return frozenset(finding.rule.id for finding in self._judge.judge(document).findings)


class Schematron(Engine):
    """lxml.isoschematron: all rules in one rule of one pattern, so that XSLT visits the document once."""

    name = 'lxml.isoschematron'

    def __init__(self, rules: Sequence[Rule]) -> None:
        policy = load_policy(policy_yaml(rules).encode(), 'bench.yaml')
        schema = etree.Element('{%s}schema' % isoschematron.SCHEMATRON_NS, nsmap={None: isoschematron.SCHEMATRON_NS})
        self._add(schema, 'ns', prefix='qemu', uri=QEMU)
        rule = self._add(self._add(schema, 'pattern'), 'rule', context='/domain')
        for each in policy.rules:
            self._add(rule, 'report', id=each.id, test=self._test(each)).text = each.title
        self._schematron = isoschematron.Schematron(
            schema, store_report=True, error_finder=isoschematron.Schematron.ASSERTS_AND_REPORTS
        )
        self._reports = etree.XPath('//svrl:successful-report/@id', namespaces={'svrl': isoschematron.SVRL_NS})

    @staticmethod
    def _add(parent: 'etree._Element', name: str, **attributes: str) -> 'etree._Element':
        return etree.SubElement(parent, '{%s}%s' % (isoschematron.SCHEMATRON_NS, name), attributes)

    @staticmethod
    def _test(rule: model.Rule) -> str:
        """From a policy's rule; nothing else is translated by knowing how the rule came about."""
        if rule.values is None:
            return str(rule.match)
        return '(%s)[%s]' % (rule.match, ' or '.join(". = '%s'" % value for value in rule.values))

    def find(self, document: bytes) -> Hits:
        if self._schematron.validate(etree.fromstring(document)):
            return _NO_HITS
        return frozenset(map(str, self._reports(self._schematron.validation_report)))


def as_data(element: 'etree._Element') -> Dict[str, Any]:
    """An element as JSON has it: attributes under '@name', children as lists under their names. Text is not asked."""
    data: Dict[str, Any] = {'@' + name: value for name, value in element.attrib.items()}
    for child in element:
        data.setdefault(child.tag, []).append(as_data(child))
    return data


class Regorus(Engine):
    """Rego in microsoft/regorus (Rust), what Open Policy Agent and conftest would evaluate."""

    name = 'regorus'
    _arg = _QEMU_ARG

    def __init__(self, rules: Sequence[Rule]) -> None:
        import regorus

        self._engine = regorus.Engine()
        self._engine.add_policy('bench.rego', self.translate(rules))

    def translate(self, rules: Sequence[Rule]) -> str:
        clauses: List[str] = []
        for rule in rules:
            clauses.append(self._clause(rule.id, self._walk(rule.path), map(self._test, rule.tests)))
            if rule.argument:
                path = ('domain', self._arg.replace('arg', 'commandline'), self._arg)
                test = 'contains(node["@value"], %s)' % json.dumps(rule.argument)
                clauses.append(self._clause(rule.id, self._walk(path), [test]))
        return 'package bench\nimport rego.v1\n' + ''.join(clauses)

    @staticmethod
    def _clause(id: str, path: str, tests: Iterable[str]) -> str:
        return 'hits contains %s if {\n  some node in %s\n%s}\n' % (
            json.dumps(id),
            path,
            ''.join('  %s\n' % test for test in tests),
        )

    @staticmethod
    def _walk(path: Sequence[str]) -> str:
        return 'input' + '[_]'.join('[%s]' % json.dumps(name) for name in path)

    @staticmethod
    def _test(test: Test) -> str:
        value = 'node["@%s"]' % test.attribute
        if not test.values:
            text = value
        elif len(test.values) == 1:
            text = '%s == %s' % (value, json.dumps(test.values[0]))
        else:
            text = '%s in %s' % (value, json.dumps(test.values).replace('[', '{').replace(']', '}'))
        return 'not ' + text if test.negated else text

    def find(self, document: bytes) -> Hits:
        self._engine.set_input({'domain': [as_data(etree.fromstring(document))]})
        return frozenset(self._engine.eval_rule('data.bench.hits'))


class RegorusUsual(Regorus):
    """The same, with xmltodict and JSON on the way."""

    name = 'regorus, xmltodict and JSON'
    _arg = 'qemu:arg'

    def find(self, document: bytes) -> Hits:
        import xmltodict

        self._engine.set_input_json(json.dumps(xmltodict.parse(document, force_list=True)))
        return frozenset(self._engine.eval_rule('data.bench.hits'))


class Cel(Engine):
    """cel-python, with its compiling runner: the expression language of Kubernetes' admission policies and Kyverno."""

    name = 'cel-python'

    def __init__(self, rules: Sequence[Rule]) -> None:
        import celpy

        self._as_cel = celpy.json_to_cel
        environment = celpy.Environment(runner_class=celpy.CompiledRunner)
        self._programs = [(rule.id, environment.program(environment.compile(self.translate(rule)))) for rule in rules]

    def translate(self, rule: Rule) -> str:
        expression = self._walk(rule.path, ' && '.join(self._test(test) for test in rule.tests))
        if rule.argument:
            path = ('domain', _QEMU_ARG.replace('arg', 'commandline'), _QEMU_ARG)
            test = "'@value' in n && n['@value'].contains(%s)" % json.dumps(rule.argument)
            expression += ' || ' + self._walk(path, test)
        return expression

    @staticmethod
    def _walk(path: Sequence[str], test: str) -> str:
        """From the inside: some element of the last name, called n, below some of the one before, passes the test."""
        names = ['domain'] + ['n%d' % depth for depth in range(2, len(path))] + ['n']
        expression = test
        for depth in range(len(path) - 1, 0, -1):
            above, name = names[depth - 1], json.dumps(path[depth])
            expression = '(%s in %s && %s[%s].exists(%s, %s))' % (name, above, above, name, names[depth], expression)
        return expression

    @staticmethod
    def _test(test: Test) -> str:
        name = json.dumps('@' + test.attribute)
        text = '%s in n' % name
        if len(test.values) == 1:
            text += ' && n[%s] == %s' % (name, json.dumps(test.values[0]))
        elif test.values:
            text += ' && n[%s] in %s' % (name, json.dumps(test.values))
        return '!(%s)' % text if test.negated else text

    def find(self, document: bytes) -> Hits:
        values = {'domain': self._as_cel(as_data(etree.fromstring(document)))}
        return frozenset(id for id, program in self._programs if program.evaluate(values))


ENGINES = (Guard, Schematron, Regorus, RegorusUsual, Cel)
