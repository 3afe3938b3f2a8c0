# SPDX-License-Identifier: Apache-2.0
"""Findings in SARIF 2.1.0, which code scanning services and editors read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/ (a rule that finds is a reportingDescriptor, a finding a result).
What could not be judged is known in the end, and is written there: the members of an object have no order.
"""

import json
from urllib.parse import quote

from ... import __version__, model
from ...waivers import describe
from ...wording import PROGRAM, escape
from .finding_text import one_line, whole_text
from .json_array import JsonArray
from .places import Places
from .spool import Spool
from .verdict_format import VerdictFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Sequence

    from ..exit_status import Tally

_SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json'
_WORKING_DIRECTORY, _ROOT = '%SRCROOT%', 'ROOT'
_LEVELS = {'deny': 'error', 'warn': 'warning'}  # by the actions of rules
_NOTIFICATION = '!'  # before a line that is not a result


class Sarif(VerdictFormat):
    one_document = True

    def __init__(self, colour: bool, show_admitted: bool) -> None:
        super().__init__(colour, show_admitted)
        self._places = Places()
        self._indices: 'Dict[str, int]' = {}
        self._results = JsonArray()
        self._notifications = JsonArray()
        self._kept_notifications = Spool()

    def begin(self, policy: model.Policy, rules: 'Sequence[model.Rule]') -> str:
        self._indices = {rule.id: number for number, rule in enumerate(rules)}
        driver = {
            'name': PROGRAM,
            'version': __version__,
            'semanticVersion': __version__,
            'informationUri': 'man:virt-guard(8)',
            'rules': [_rule_object(rule) for rule in rules],
        }
        run = {
            'tool': {'driver': driver},
            'automationDetails': {'id': '%s/%s/' % (PROGRAM, one_line(policy.name))},
            'columnKind': 'unicodeCodePoints',
            'originalUriBaseIds': {
                _WORKING_DIRECTORY: {'uri': self._places.base_uri},
                _ROOT: {'uri': 'file:///'},
            },
            'properties': {'policy': one_line(policy.name), 'policySha256': policy.sha256, 'mode': policy.mode},
        }
        head = json.dumps({'$schema': _SCHEMA, 'version': '2.1.0'})[:-1]
        return '%s, "runs": [\n%s, "results": [' % (head, json.dumps(run)[:-1])

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return ''.join(self._line(file, verdict, finding) for finding in verdict.findings)

    def failure(self, file: str, error: str, line: int = 0) -> str:
        notification: 'Dict[str, Any]' = {'level': 'error', 'message': _message(one_line(error))}
        if file:
            notification['locations'] = [{'physicalLocation': self._physical(file, line)}]
        return _NOTIFICATION + json.dumps(notification) + '\n'

    def add(self, text: str) -> str:
        told = []
        for line in text.splitlines():
            if line.startswith(_NOTIFICATION):
                self._kept_notifications.add(self._notifications.add([line[len(_NOTIFICATION) :]]))
            else:
                told.append(line)
        return self._results.add(told)

    def end(self, tally: 'Tally', lines: 'Sequence[str]') -> 'Iterator[str]':
        yield '\n], "invocations": [{"executionSuccessful": %s' % json.dumps(self._notifications.is_empty)
        if not self._notifications.is_empty:
            yield ', "toolExecutionNotifications": ['
            yield from self._kept_notifications.pieces()
            yield '\n]'
        yield '}]}]}\n'

    def _line(self, file: str, verdict: model.Verdict, finding: model.Finding) -> str:
        message = _message(whole_text(verdict, finding))
        place = self._place(file, finding)
        if finding.status == model.ERROR:
            rule = self._rule_reference(finding.rule)
            told = {'level': 'error', 'message': message, 'locations': [place], 'associatedRule': rule}
            return _NOTIFICATION + json.dumps(told) + '\n'
        is_open = finding.status == model.UNKNOWN  # whether somebody must look
        result: 'Dict[str, Any]' = {
            'ruleId': finding.rule.id,
            'ruleIndex': self._indices.get(finding.rule.id, -1),  # -1: it is not among them
            'kind': 'review' if is_open else 'fail',
            'level': 'none' if is_open else _LEVELS.get(finding.rule.action, 'warning'),
            'message': message,
            'locations': [place],
            'partialFingerprints': {'virtGuardFinding/v1': self._places.fingerprint(file, verdict, finding)},
            'properties': {'domain': one_line(verdict.domain_name), 'uuid': one_line(verdict.uuid)},
        }
        if finding.status == model.WAIVED and finding.waiver is not None:
            justification = one_line(describe(finding.waiver, verdict.today))
            result['suppressions'] = [{'kind': 'external', 'status': 'accepted', 'justification': justification}]
        return json.dumps(result) + '\n'

    def _rule_reference(self, rule: model.Rule) -> 'Dict[str, Any]':
        index = self._indices.get(rule.id)
        return {'id': rule.id} if index is None else {'id': rule.id, 'index': index}

    def _place(self, file: str, finding: model.Finding) -> 'Dict[str, Any]':
        path = one_line(finding.path)
        step = path.rpartition('/')[2]
        kind = 'attribute' if step.startswith('@') else 'element'
        return {
            'physicalLocation': self._physical(file, finding.line),
            'logicalLocations': [{'name': step, 'fullyQualifiedName': path, 'kind': kind}],
        }

    def _physical(self, file: str, line: int) -> 'Dict[str, Any]':
        path = self._places.path(file)
        artifact = {
            'uri': quote(path.lstrip('/').encode('utf-8', 'surrogateescape')),
            'uriBaseId': _ROOT if path.startswith('/') else _WORKING_DIRECTORY,
        }
        return {'artifactLocation': artifact, 'region': {'startLine': max(line, 1)}}


def _rule_object(rule: model.Rule) -> 'Dict[str, Any]':
    why, remedy = one_line(rule.why), one_line(rule.remedy)
    text = '%s\n\nRemedy: %s' % (why, remedy)
    described: 'Dict[str, Any]' = {
        'id': rule.id,
        'shortDescription': {'text': one_line(rule.title)},
        'fullDescription': {'text': why},
        'help': {'text': text},
        'defaultConfiguration': {'level': _LEVELS.get(rule.action, 'warning')},
        'properties': {'tags': ['libvirt', 'virtualization'], 'knownFrom': rule.known_from},
    }
    if rule.reference.startswith(('https://', 'http://')) and escape(rule.reference) == rule.reference:
        described['helpUri'] = quote(rule.reference, safe="%/:?#[]@!$&'()*+,;=~")
    elif rule.reference:
        described['help'] = {'text': '%s\n\nReference: %s' % (text, one_line(rule.reference))}
    return described


def _message(text: str) -> 'Dict[str, str]':
    # "[text](address)" would be a link, and whoever defines a domain chooses what is told of it.
    return {'text': text.replace('](', '] (')}
