# SPDX-License-Identifier: Apache-2.0
"""The formats for other programs: what they say of a verdict, and that nothing that others choose breaks a document."""

import json
import random
import re

import pytest
from lxml import etree
from support import made
from virtguard import model
from virtguard.commands.exit_status import Tally
from virtguard.commands.output.format_names import VERDICT_FORMATS
from virtguard.commands.output.formats import verdict_format
from virtguard.commands.output.places import Places

RULES = [
    made.rule(id='refuses', reference='https://example.com/a list'),
    made.rule(id='warns', action='warn', reference='the handbook, page 3'),
    made.rule(id='quiet', why='why\n  it is there'),
]
REFUSES, WARNS, QUIET = RULES
WAIVER = made.waiver(('refuses',), approved_by='the & boss')
PIECES = (
    '<script>alert(1)</script>', '"', "'", '&', '&lt;', '<!--', '-->', ']]>', '<![CDATA[', '\0', '\x1b[2J', '\r\n',
    '\n', '\t', '\x0b', '\x85', '\u2028', '\u202e', '\ud800', '\udcff', '\ufffe', '\uffff', '\U0010ffff', '\U0001f600',
    'é', '%0A', '%', '::error::x', '\n::stop-commands::x', '##[add-matcher]x', '|', '`', '[a](http://x)', '# x',
    '{0}', '\\', 'x' * 3000, '',
)  # fmt: skip


def verdict(*findings, name='payroll', policy=None):
    return model.Verdict(name, made.UUID, policy or made.policy(*RULES), findings, '2027-01-01')


def waived(of=REFUSES, **fields):
    found = made.finding(of, model.WAIVED, **fields)
    found.waiver = WAIVER
    return found


def document(name, *told, tally=None):
    """The whole text of a format; each of `told` is a call of it, as if in a process of its own."""
    output = verdict_format(name)(False, True)
    text = output.begin(made.policy(*RULES), RULES)
    for method, *arguments in told:
        text += output.add(getattr(output, method)(*arguments))
    return text + ''.join(output.end(tally or counted(told), ['the last line']))


def counted(told):
    tally = Tally()
    for method, *arguments in told:
        tally.add(model.ERROR if method == 'failure' else arguments[1].decision)
    return tally


def run_of(*told):
    return json.loads(document('sarif', *told))['runs'][0]


# SARIF


def test_sarif_rules_have_help_and_an_address():
    rules = run_of()['tool']['driver']['rules']
    assert [rule['id'] for rule in rules] == ['refuses', 'warns', 'quiet']
    assert rules[0]['help']['text'] == 'why\n\nRemedy: remedy'
    assert rules[0]['helpUri'] == 'https://example.com/a%20list'
    assert 'helpUri' not in rules[1] and rules[1]['help']['text'].endswith('Reference: the handbook, page 3')
    assert rules[2]['fullDescription']['text'] == 'why it is there'
    assert [rule['defaultConfiguration']['level'] for rule in rules] == ['error', 'warning', 'error']


def test_sarif_results():
    findings = [
        made.finding(REFUSES, path='/domain/devices/disk[2]/driver/@cache', line=7, more=3),
        made.finding(WARNS, model.WARN, line=0),
        made.finding(REFUSES, model.UNKNOWN),
        waived(),
        made.finding(QUIET, model.ERROR, line=9),
    ]
    policy = made.policy(*RULES, mode='audit')
    run = run_of(('verdict', 'a/b c.xml', verdict(*findings, policy=policy)), ('failure', '/x/é.xml', 'broken', 4))
    results = run['results']
    assert [(r['ruleId'], r['ruleIndex'], r['kind'], r['level']) for r in results] == [
        ('refuses', 0, 'fail', 'error'),
        ('warns', 1, 'fail', 'warning'),
        ('refuses', 0, 'review', 'none'),
        ('refuses', 0, 'fail', 'error'),
    ]
    (place,) = results[0]['locations']
    assert place['physicalLocation'] == {
        'artifactLocation': {'uri': 'a/b%20c.xml', 'uriBaseId': '%SRCROOT%'},
        'region': {'startLine': 7},
    }
    logical = {'name': '@cache', 'fullyQualifiedName': '/domain/devices/disk[2]/driver/@cache', 'kind': 'attribute'}
    assert place['logicalLocations'] == [logical]
    assert results[0]['message']['text'] == (
        'domain \'payroll\': title of refuses: <x a="1">, and 3 more; remedy: remedy'
    )
    assert results[1]['locations'][0]['physicalLocation']['region'] == {'startLine': 1}
    assert [r.get('suppressions') for r in results[:3]] == [None] * 3
    (suppression,) = results[3]['suppressions']
    assert (suppression['kind'], suppression['status']) == ('external', 'accepted')
    assert 'the & boss' in suppression['justification'] and 'the reason' in suppression['justification']
    (invocation,) = run['invocations']
    assert invocation['executionSuccessful'] is False
    of_rule, of_file = invocation['toolExecutionNotifications']
    assert of_rule['associatedRule'] == {'id': 'quiet', 'index': 2}
    assert of_file['message']['text'] == 'broken'
    assert of_file['locations'][0]['physicalLocation'] == {
        'artifactLocation': {'uri': 'x/%C3%A9.xml', 'uriBaseId': 'ROOT'},
        'region': {'startLine': 4},
    }


def test_what_the_host_does_is_told_of_no_domain():
    (result,) = run_of(('verdict', '/proc', verdict(made.finding(REFUSES), name='')))['results']
    assert result['message']['text'] == 'title of refuses: <x a="1">; remedy: remedy'
    assert '- **/proc**\n' in document('markdown', ('verdict', '/proc', verdict(made.finding(REFUSES), name='')))


def test_sarif_without_an_error_says_so():
    assert run_of(('verdict', 'a.xml', verdict()))['invocations'] == [{'executionSuccessful': True}]


# What a finding is known by


def fingerprints(*findings, file='a.xml', name='payroll'):
    places = Places()
    return [places.fingerprint(file, verdict(name=name), finding) for finding in findings]


def test_fingerprints_stay_when_lines_or_neighbours_move():
    path = '/domain/devices/disk[%d]/driver'
    before = made.finding(REFUSES, path=path % 2, line=7)
    after = made.finding(REFUSES, path=path % 3, line=70)
    assert fingerprints(before) == fingerprints(after) == fingerprints(waived(path=path % 2))


def test_fingerprints_differ():
    findings = [
        made.finding(REFUSES),
        made.finding(REFUSES),
        made.finding(REFUSES, evidence='<x a="2">'),
        made.finding(WARNS),
        made.finding(REFUSES, path='/domain/y'),
    ]
    found = fingerprints(*findings) + fingerprints(findings[0], file='b.xml')
    assert len(set(found)) == len(found) == 6
    assert fingerprints(*findings) == found[:5]


def test_files_below_the_working_directory_are_called_from_there(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    monkeypatch.chdir(tmp_path)
    places = Places()
    told = ['a/x.xml', './a/../a/x.xml', str(tmp_path / 'a' / 'x.xml'), '../x.xml', str(tmp_path) + '-2/x.xml', '-']
    parent = str(tmp_path.parent)
    expected = ['a/x.xml'] * 3 + [parent + '/x.xml', str(tmp_path) + '-2/x.xml', 'stdin']
    assert [places.path(file) for file in told] == expected


# The others


def test_json_is_that_of_json_lines_and_counts():
    told = ('verdict', 'a.xml', verdict(made.finding(REFUSES))), ('verdict', 'b.xml', verdict())
    read = json.loads(document('json', *told))
    lines = document('jsonl', *told).splitlines()
    assert read['domains'] == [json.loads(line) for line in lines]
    assert read['counts'] == {'admitted': 1, 'denied': 1, 'not-judged': 0, 'skipped': 0}
    assert read['policy'] == {'name': 'example', 'sha256': 'f' * 64, 'mode': 'enforce'}
    (domain,) = json.loads(document('json', ('next_start', 'a.xml', verdict(), ['running'])))['domains']
    assert domain['when'] == ['running']


def test_junit_counts_and_cases():
    root = etree.fromstring(
        document(
            'junit',
            ('verdict', 'a/b.c.xml', verdict(made.finding(REFUSES, line=3), made.finding(WARNS, model.WARN))),
            ('verdict', 'x.xml', verdict(waived(), name='<x>')),
            ('verdict', 'y.xml', verdict(made.finding(QUIET, model.ERROR))),
            ('verdict', 'z.xml', verdict(made.finding(WARNS, model.WARN))),
            ('failure', 'broken.xml', 'why & how', 3),
        ).encode('ascii')
    )
    (suite,) = root
    numbers = {'tests': '5', 'failures': '1', 'errors': '2'}
    assert dict(root.attrib) == dict(numbers, name='virt-guard')
    assert dict(suite.attrib) == dict(numbers, name='virt-guard example', skipped='1', time='0')
    assert [case.get('classname') for case in suite] == ['a.b_c', 'x', 'y', 'z', 'broken']
    assert [case.get('name') for case in suite] == ['payroll', '<x>', 'payroll', 'payroll', 'broken.xml']
    assert [[child.tag for child in case] for case in suite] == [
        ['failure', 'system-out'], ['skipped', 'system-out'], ['error'], ['system-out'], ['error'],
    ]  # fmt: skip
    failure, printed = suite[0]
    assert failure.get('message') == 'refuses'
    assert failure.text.startswith('a/b.c.xml:3: deny [refuses] title of refuses: <x a="1">\n    remedy: remedy')
    assert 'warn [warns]' in printed.text and 'deny' not in printed.text
    assert 'the & boss' in suite[1][0].get('message')
    assert suite[4][0].get('message') == 'why & how'


def test_gitlab_fields_and_severities():
    findings = [
        made.finding(REFUSES, line=3),
        made.finding(WARNS, model.WARN, line=0),
        made.finding(REFUSES, model.UNKNOWN),
        waived(),
        made.finding(QUIET, model.ERROR),
    ]
    issues = json.loads(document('gitlab', ('verdict', './a.xml', verdict(*findings)), ('failure', 'b.xml', 'broken')))
    assert [issue['severity'] for issue in issues] == ['critical', 'minor', 'info', 'info', 'major', 'major']
    assert {tuple(issue) for issue in issues} == {('description', 'check_name', 'fingerprint', 'severity', 'location')}
    assert issues[0]['location'] == {'path': 'a.xml', 'lines': {'begin': 3}}
    assert issues[1]['location']['lines'] == {'begin': 1}
    assert issues[5]['check_name'] == 'virt-guard'
    assert len({issue['fingerprint'] for issue in issues}) == 6
    assert json.loads(document('gitlab')) == []


def commands(text):
    """What the runner of GitHub Actions reads: (command, properties, message) of each line that is one."""
    for line in text.split('\n'):
        found = re.match(r'::(\w+) (.*?)::(.*)\Z', line.strip())
        if found:
            properties = dict(part.split('=', 1) for part in found.group(2).split(','))
            decoded = {name: unescaped(value, '%0D %0A %3A %2C %25') for name, value in properties.items()}
            yield found.group(1), decoded, unescaped(found.group(3), '%0D %0A %25')


def unescaped(text, escapes):
    for escape in escapes.split():
        text = text.replace(escape, chr(int(escape[1:], 16)))
    return text


def test_github_commands():
    findings = [
        made.finding(REFUSES, line=3, evidence='100%: a, b'),
        made.finding(WARNS, model.WARN, line=0),
        waived(line=5),
    ]
    text = document('github', ('verdict', 'a,b:c%.xml', verdict(*findings)), ('failure', 'x.xml', 'broken', 4))
    assert text.endswith('\nthe last line\n') and text.count('\n') == 5
    told = list(commands(text))
    assert [command for command, _, _ in told] == ['error', 'warning', 'notice', 'error']
    assert told[0][1:] == (
        {'file': 'a,b:c%.xml', 'line': '3', 'title': 'refuses'},
        "domain 'payroll': title of refuses: 100%: a, b; remedy: remedy",
    )
    assert told[1][1] == {'file': 'a,b:c%.xml', 'title': 'warns'}
    assert 'the & boss' in told[2][2]
    assert told[3] == ('error', {'file': 'x.xml', 'line': '4', 'title': 'virt-guard'}, 'broken')


def test_markdown_has_a_row_for_each_rule_and_what_was_denied():
    many = [('verdict', '%d.xml' % n, verdict(made.finding(REFUSES), name='vm_%d' % n)) for n in range(30)]
    text = document('markdown', *many, ('verdict', 'z.xml', verdict(made.finding(WARNS, model.WARN), name='a|b')))
    assert r'| refuses | deny | 30 | vm\_0, vm\_1, ' in text and 'vm\\_19, and 10 more |' in text
    assert r'| warns | warn | 1 | a\|b |' in text
    assert '- **vm\\_29**\n  - refuses in 29.xml:1: title of refuses: \\<x a="1"\\>; remedy: remedy\n' in text
    assert '**a' not in text
    assert '- **a.xml**\n' in document('markdown', ('verdict', 'a.xml', verdict(made.finding(REFUSES), name=' ')))


def test_a_summary_in_markdown_fits_below_the_limit_of_github():
    rules = [made.rule(id='rule-%d' % n) for n in range(100)]
    found = [made.finding(rule, evidence='é' * 900) for rule in rules]
    many = (('verdict', '%d.xml' % n, verdict(*found[n % 2 :: 2], name='_' * 9000)) for n in range(200))
    text = document('markdown', *many, tally=Tally())
    assert len(text.encode('utf-8')) < 1 << 20
    assert re.search(r'^- and 19\d more, for which there is no room here$', text, re.MULTILINE)


XCCDF = '{http://checklists.nist.gov/xccdf/1.2}'


def results_of(*told, tally=None):
    root = etree.fromstring(document('xccdf', *told, tally=tally).encode('ascii'))
    rules = [rule.get('id').rpartition('_')[2] for rule in root.iterchildren(XCCDF + 'Rule')]
    assert rules == ['refuses', 'warns', 'quiet']
    result = root.find(XCCDF + 'TestResult')
    found = {r.get('idref').rpartition('_')[2]: r for r in result.iterchildren(XCCDF + 'rule-result')}
    return found, {rule: found[rule].findtext(XCCDF + 'result') for rule in rules}, result.find(XCCDF + 'score')


def test_xccdf_results_are_the_worst_of_all_domains():
    elements, results, score = results_of(
        ('verdict', 'a.xml', verdict(waived(), made.finding(WARNS, model.WARN))),
        ('verdict', 'b.xml', verdict(made.finding(REFUSES, line=8))),
    )
    assert results == {'refuses': 'fail', 'warns': 'informational', 'quiet': 'pass'}
    assert (score.text, score.get('maximum')) == ('1', '2')
    assert elements['refuses'].find(XCCDF + 'override') is None
    messages = [message.text for message in elements['refuses'].iterchildren(XCCDF + 'message')]
    assert [message.split(': ')[0] for message in messages] == ['a.xml:1', 'b.xml:8']


def test_xccdf_a_waiver_is_an_override():
    elements, results, _ = results_of(('verdict', 'a.xml', verdict(waived())), ('verdict', 'b.xml', verdict(waived())))
    assert results['refuses'] == 'pass'
    (override,) = elements['refuses'].iterchildren(XCCDF + 'override')
    assert override.get('authority') == 'the & boss'
    assert override.findtext(XCCDF + 'remark') == 'until 2027-01-31: the reason'


def test_xccdf_what_was_not_judged_breaks_what_would_pass():
    denied = ('verdict', 'a.xml', verdict(made.finding(REFUSES)))
    assert results_of(denied, ('failure', 'b.xml', 'broken'))[1] == {
        'refuses': 'fail', 'warns': 'error', 'quiet': 'error',
    }  # fmt: skip
    assert set(results_of()[1].values()) == {'notchecked'}
    assert results_of(('verdict', 'a.xml', verdict(made.finding(REFUSES, model.UNKNOWN))))[1]['refuses'] == 'unknown'


# Whatever others choose


def hostile(random_):
    return ''.join(random_.choice(PIECES) for _ in range(random_.randrange(1, 6)))


def hostile_calls(random_):
    def text():
        return hostile(random_)

    for _ in range(random_.randrange(1, 5)):
        file = text().replace('\ud800', '')  # no file has such a name
        if random_.random() < 0.2:
            yield 'failure', file, text(), random_.randrange(3)
            continue
        statuses = (model.DENY, model.WARN, model.UNKNOWN, model.ERROR)
        findings = [
            made.finding(random_.choice(RULES), random_.choice(statuses), '/domain/' + text(), 3, text(), text())
            for _ in range(random_.randrange(4))
        ]
        found = waived(evidence=text(), message=text())
        found.waiver = made.waiver(approved_by=text(), ticket=text())
        yield 'verdict', file, verdict(*findings, found, name=text())


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.items() if isinstance(value, dict) else value:
            yield from strings_in(list(item) if isinstance(item, tuple) else item)


@pytest.mark.parametrize('seed', range(40))
def test_hostile_text_breaks_no_document(seed):
    random_ = random.Random(seed)
    told = list(hostile_calls(random_))
    tally = Tally()
    for name in ('sarif', 'gitlab', 'json'):
        read = json.loads(document(name, *told, tally=tally))
        for string in strings_in(read) if name != 'json' else ():
            string.encode('utf-8')  # no half of a character
            assert all(part.isprintable() for part in string.split('\n\n')), string
    for name in ('junit', 'xccdf'):
        text = document(name, *told, tally=tally)
        assert text.isascii() if hasattr(text, 'isascii') else text.encode('ascii')
        etree.fromstring(text.encode('ascii'))
    findings = sum(1 if method == 'failure' else len(arguments[1].findings) for method, *arguments in told)
    text = document('github', *told, tally=tally)
    assert text.count('\n') == findings + 1
    assert len(list(commands(text))) == findings
    text = document('markdown', *told, tally=tally)
    assert not re.search(r'(?<!\\)[<`\[]|\w://', text)
    assert all(line.isprintable() for line in text.split('\n'))


def test_all_formats_are_tried_here():
    assert VERDICT_FORMATS == ['text', 'jsonl', 'json', 'sarif', 'junit', 'gitlab', 'github', 'markdown', 'xccdf']
