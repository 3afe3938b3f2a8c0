# SPDX-License-Identifier: Apache-2.0
"""Results of a scan in XCCDF 1.2, which OpenSCAP and consoles of compliance read: one result for each rule.

https://csrc.nist.gov/projects/security-content-automation-protocol/specifications/xccdf
All findings of a rule stand together, so they wait in a Spool for each rule.
"""

import json
import os
import re
import time

from ... import __version__, model
from ...wording import PROGRAM
from .finding_text import one_line, whole_text
from .places import Places
from .spool import Spool
from .verdict_format import VerdictFormat
from .xml_text import xml_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Set, Tuple

    from ..exit_status import Tally

_NAMESPACE = 'http://checklists.nist.gov/xccdf/1.2'
_ID = 'xccdf_io.virt-guard_%s_%s'
_NOT_IN_IDS = re.compile(r'[^A-Za-z0-9.-]')
_SCORING = 'urn:xccdf:scoring:flat-unweighted'
_PASS, _NOT_CHECKED = 'pass', 'notchecked'
# What the findings of a rule make of its result; the worst one counts. A rule that only warns refuses nothing.
_RESULTS = (
    (model.DENY, 'fail'),
    (model.ERROR, 'error'),
    (model.UNKNOWN, 'unknown'),
    (model.WARN, 'informational'),
    (model.WAIVED, _PASS),
)
_SCORED = (_PASS, 'fail', 'error', 'unknown')
_MESSAGES = {model.DENY: 'error', model.ERROR: 'error', model.WARN: 'warning', model.UNKNOWN: 'warning'}
_SEVERITIES = {'deny': 'high', 'warn': 'low'}  # by the actions of rules


class Xccdf(VerdictFormat):
    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()
        self._rules: 'Sequence[model.Rule]' = ()
        self._policy: 'Dict[str, str]' = {}
        self._begun = ''
        self._statuses: 'Dict[str, Set[str]]' = {}
        self._kept: 'Dict[str, Spool]' = {}
        self._waivers: 'Dict[str, Dict[Tuple[str, str], None]]' = {}
        self._failures = Spool()
        self._failed = False

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        self._rules = rules
        self._policy = {'name': policy.name, 'sha256': policy.sha256}
        self._begun = _now()
        return ''

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return ''.join(self._line(file, verdict, finding) for finding in verdict.findings)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        place = '%s: ' % self._place(file, line) if file else ''
        return json.dumps(['', model.ERROR, '%snot judged: %s' % (place, one_line(error)), None]) + '\n'

    def add(self, text: str) -> str:
        for line in text.splitlines():
            rule, status, told, waiver = json.loads(line)
            message = '<message severity="%s">%s</message>\n' % (_MESSAGES.get(status, 'info'), xml_text(told))
            if not rule:
                self._failed = True
                self._failures.add(message)
                continue
            self._statuses.setdefault(rule, set()).add(status)
            self._kept.setdefault(rule, Spool()).add(message)
            if waiver is not None:
                self._waivers.setdefault(rule, {})[tuple(waiver)] = None
        return ''

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        now = _now()
        name = _NOT_IN_IDS.sub('-', self._policy['name'])
        benchmark = _ID % ('benchmark', name)
        title = xml_text('%s, policy %s' % (PROGRAM, one_line(self._policy['name'])))
        yield '<?xml version="1.0" encoding="UTF-8"?>\n'
        yield '<Benchmark xmlns="%s" id="%s" resolved="1" xml:lang="en">\n' % (_NAMESPACE, benchmark)
        yield '<status date="%s">accepted</status>\n<title>%s</title>\n' % (now[:10], title)
        yield '<description>What the policy denies, or warns of, in libvirt domains.</description>\n'
        yield '<version>%s</version>\n' % self._policy['sha256']
        yield '<metadata><creator xmlns="http://purl.org/dc/elements/1.1/">%s %s</creator></metadata>\n' % (
            PROGRAM,
            __version__,
        )
        yield '<model system="%s"/>\n' % _SCORING
        for rule in self._rules:
            yield _rule_element(rule)
        yield '<TestResult id="%s" version="%s"' % (_ID % ('testresult', name), __version__)
        yield ' test-system="cpe:/a:virt-guard:virt-guard:%s"' % __version__
        yield ' start-time="%s" end-time="%s">\n' % (self._begun, now)
        yield '<benchmark href="#%s" id="%s"/>\n<title>%s</title>\n' % (benchmark, benchmark, title)
        yield '<target>%s</target>\n' % xml_text(one_line(os.uname().nodename) or 'localhost')
        scored = []
        for rule in self._rules:
            result = self._result(rule.id, bool(tally.total))
            scored += [result] if result in _SCORED else []
            yield from self._result_element(rule, result, now)
        yield '<score system="%s" maximum="%d">%d</score>\n' % (_SCORING, len(scored), scored.count(_PASS))
        yield '</TestResult>\n</Benchmark>\n'

    def _line(self, file: str, verdict: model.Verdict, finding: model.Finding) -> str:
        waiver = None
        if finding.status == model.WAIVED and finding.waiver is not None:
            waived = finding.waiver
            waiver = [one_line(waived.approved_by), one_line('until %s: %s' % (waived.expires, waived.reason))]
        text = '%s: %s' % (self._place(file, finding.line), whole_text(verdict, finding))
        return json.dumps([finding.rule.id, finding.status, text, waiver]) + '\n'

    def _place(self, file: str, line: int) -> str:
        path = one_line(self._places.path(file))
        return '%s:%d' % (path, line) if line else path

    def _result(self, rule: str, any_domain: bool) -> str:
        """The result of a rule. What could not be judged may break every rule that nothing else has broken."""
        statuses = self._statuses.get(rule, set())
        result = next((result for status, result in _RESULTS if status in statuses), _PASS)
        if self._failed and result != 'fail':
            return 'error'
        return result if any_domain else _NOT_CHECKED

    def _result_element(self, rule: model.Rule, result: str, now: str) -> 'Iterator[str]':
        severity = _SEVERITIES.get(rule.action, 'unknown')
        yield '<rule-result idref="%s" severity="%s" time="%s">\n' % (_ID % ('rule', rule.id), severity, now)
        yield '<result>%s</result>\n' % result
        if result == _PASS:
            for approved_by, reason in self._waivers.get(rule.id, {}):
                yield '<override time="%s" authority="%s"><old-result>fail</old-result>' % (now, xml_text(approved_by))
                yield '<new-result>pass</new-result><remark>%s</remark></override>\n' % xml_text(reason)
        if rule.id in self._kept:
            yield from self._kept[rule.id].pieces()
        if result == 'error':
            yield from self._failures.pieces()
        yield '</rule-result>\n'


def _rule_element(rule: model.Rule) -> str:
    severity = _SEVERITIES.get(rule.action, 'unknown')
    parts: 'List[str]' = ['<Rule id="%s" severity="%s" selected="true">' % (_ID % ('rule', rule.id), severity)]
    parts.append('<title>%s</title>' % xml_text(one_line(rule.title)))
    parts.append('<description>%s</description>' % xml_text(one_line(rule.why)))
    if rule.reference:
        # Without href: oscap would offer to group the rules by it.
        parts.append('<reference>%s</reference>' % xml_text(one_line(rule.reference)))
    parts.append('<fixtext>%s</fixtext></Rule>\n' % xml_text(one_line(rule.remedy)))
    return ''.join(parts)


def _now() -> str:
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
