# SPDX-License-Identifier: Apache-2.0
"""Verdicts as results of tests in JUnit's XML, which CI systems read: a domain is a test case.

As in junit-10.xsd of Jenkins' xUnit plugin. The numbers stand in front, so the test cases wait in a Spool.
"""

from ... import model
from ...waivers import describe
from ...wording import PROGRAM
from .finding_text import one_line
from .places import Places
from .spool import Spool
from .text import Text
from .verdict_format import VerdictFormat
from .xml_text import xml_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ..exit_status import Tally

_SUFFIX = '.xml'
_REFUSING = (model.DENY, model.ERROR)
_COUNTED = (('tests', 'testcase'), ('failures', 'failure'), ('errors', 'error'), ('skipped', 'skipped'))


class Junit(VerdictFormat):
    """A domain that is denied has a failure, one that could not be judged an error; one that starts only because
    something is waived is skipped. Other findings are what the test has printed."""

    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()
        self._text = Text(False, False, {})
        self._policy = ''
        self._cases = Spool()
        self._counts = dict.fromkeys((name for name, _ in _COUNTED), 0)

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        self._policy = policy.name
        return ''

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        refusing = [finding for finding in verdict.findings if finding.status in _REFUSING]
        waived = [f.waiver for f in verdict.findings if f.status == model.WAIVED and f.rule.action == model.DENY]
        inside = ''
        if refusing:
            element = 'failure' if verdict.decision == model.DENY else 'error'
            rules = ', '.join(verdict.rule_ids(*_REFUSING))
            inside = _element(element, verdict.decision, rules, self._lines(file, verdict, refusing))
        elif waived:
            reasons = dict.fromkeys(describe(waiver, verdict.today) for waiver in waived if waiver is not None)
            inside = _element('skipped', model.WAIVED, one_line('; '.join(reasons)), '')
        others = [finding for finding in verdict.findings if finding.status not in _REFUSING]
        if others:
            inside += '<system-out>%s</system-out>' % xml_text(self._lines(file, verdict, others))
        return self._case(file, verdict.domain_name or file, inside)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        return self._case(file, file or PROGRAM, _element('error', model.ERROR, one_line(error), ''))

    def add(self, text: str) -> str:
        for name, element in _COUNTED:
            self._counts[name] += text.count('<%s ' % element)
        self._cases.add(text)
        return ''

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        numbers = ' '.join('%s="%d"' % item for item in self._counts.items())
        of_all = ' '.join('%s="%d"' % item for item in self._counts.items() if item[0] != 'skipped')
        name = '%s %s' % (PROGRAM, xml_text(one_line(self._policy)))
        yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="%s" %s>\n' % (PROGRAM, of_all)
        yield '<testsuite name="%s" %s time="0">\n' % (name, numbers)
        yield from self._cases.pieces()
        yield '</testsuite>\n</testsuites>\n'

    def _lines(self, file: str, verdict: model.Verdict, findings: 'Sequence[model.Finding]') -> str:
        part = model.Verdict(verdict.domain_name, verdict.uuid, verdict.policy, findings, verdict.today)
        return self._text.verdict(self._places.path(file), part)

    def _case(self, file: str, name: str, inside: str) -> str:
        path = self._places.path(file) if file else PROGRAM
        path = path[: -len(_SUFFIX)] if path.endswith(_SUFFIX) else path
        # Readers take dots for the levels of a tree.
        of_class = xml_text(one_line(path.strip('/').replace('.', '_').replace('/', '.')))
        head = '<testcase classname="%s" name="%s" time="0"' % (of_class, xml_text(one_line(name)))
        return '%s>%s</testcase>\n' % (head, inside) if inside else head + '/>\n'


def _element(name: str, type_: str, message: str, text: str) -> str:
    return '<%s type="%s" message="%s">%s</%s>' % (name, type_, xml_text(message), xml_text(text), name)
