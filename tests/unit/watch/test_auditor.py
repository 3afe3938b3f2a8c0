# SPDX-License-Identifier: Apache-2.0
"""What is news of a domain, and what only still holds."""

import json

import pytest
from support import made
from support.made import policy
from virtguard import journal, model, wording
from virtguard.commands.output.formats import FORMATS
from virtguard.commands.output.text import Text
from virtguard.watch.auditor import Auditor, Tracked
from virtguard.watch.state import PROCESS, SNAPSHOT, STATUS, State, process_document, take_document

UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda probe, subject: None)
TODAY = '2026-11-25'


def rule(id, match, at=model.RUNTIME, action='deny', **kw):
    return made.rule(match, id, action, at=at, **kw)


FEWER = rule('fewer', '/transition/after//vcpu[@current < /transition/before//vcpu/@current]')
JOB = rule('job', "/transition/after/domstatus/job[@async='backup']")
TPM = rule('tpm', '/domain/devices/tpm', model.ADMISSION)
WARNED = rule('sound', '/domain/devices/sound', model.ADMISSION, 'warn')
PROBED = rule('probed', '/domain/devices/disk/source/@dev', model.ADMISSION, probe='multipath-device')
STRANGER = rule('stranger', '/transition/after/process')


def auditor(*rules, **kw):
    return Auditor(policy(*rules, **kw), HOST, TODAY)


def state(vcpus=2, devices='', job='', id=1):
    text = (
        "<domstatus pid='4%d'>\n%s  <domain type='kvm' id='%d'><name>vm</name><uuid>%s</uuid>"
        "<vcpu current='%d'>8</vcpu><devices>%s</devices></domain></domstatus>"
    )
    return State(take_document(STATUS, (text % (id, job, id, UUID, vcpus, devices)).encode()))


@pytest.fixture
def domain():
    return Tracked('vm', '', State(), {})


def news(auditor, domain, *states):
    """The ids of the rules that each of these states is news for."""
    return [[o.finding.rule.id for o in auditor.advance(domain, state, 'now')] for state in states]


def test_what_a_start_shows_is_judged_where_a_domain_runs(domain):
    label = rule('label', '/domain[not(seclabel)]', model.START)
    judge = auditor(label, TPM)
    assert news(judge, domain, state(), state(vcpus=1), state(devices='<tpm/>')) == [['label'], [], ['tpm']]
    assert [f.rule.id for f in judge.verdict('vm', state()).findings] == ['label']
    definition = b"<domain type='kvm'><name>vm</name></domain>"
    assert judge.verdict_on_definition(definition).findings == (), 'a definition need not have a label'


def test_a_change_holds_for_one_transition(domain):
    states = [state(vcpus) for vcpus in (4, 3, 2, 2, 3, 2)]
    assert news(auditor(FEWER), domain, *states) == [[], ['fewer'], ['fewer'], [], [], ['fewer']]


def test_the_same_change_twice_in_a_row_is_news_where_it_looks_different(domain):
    same = rule('same', '/transition/after//name[../vcpu/@current < /transition/before//vcpu/@current]')
    states = [state(vcpus) for vcpus in (4, 3, 2, 2, 1)]
    assert news(auditor(same, FEWER), domain, *states) == [[], ['same', 'fewer'], ['fewer'], [], ['same', 'fewer']]


def test_a_state_is_news_once(domain):
    one, other = ("  <job async='backup' asyncStarted='%d' phase='%s'/>\n" % pair for pair in ((1, 'a'), (1, 'b')))
    assert news(auditor(JOB), domain, state(job=one), state(job=other), state(), state(job=one)) == [
        ['job'],
        [],
        [],
        ['job'],
    ]


def test_since_is_when_the_finding_began(domain):
    judge = auditor(TPM)
    judge.advance(domain, state(devices='<tpm/>'), 'at first')
    (key,) = domain.held
    judge.advance(domain, state(3, '<tpm/><disk/>'), 'later')
    assert domain.held == {key: 'at first'}
    judge.advance(domain, state(), 'later')
    assert domain.held == {}


def test_what_the_hook_admits_is_not_news_but_what_it_refuses_is(domain):
    devices = "<sound/><tpm/><disk><source dev='/dev/sda'/></disk>"
    assert news(auditor(TPM, WARNED, PROBED), domain, state(devices=devices)) == [['tpm']]
    assert len(domain.held) == 3
    plugged = devices + '<sound><alias name="s2"/></sound>'
    assert news(auditor(TPM, WARNED, PROBED), domain, state(devices=plugged)) == [['sound']]


def test_news_of_one_rule_is_counted_beyond_what_is_shown(domain):
    judge = auditor(TPM, WARNED)
    judge.advance(domain, state(), 'now')
    news = judge.advance(domain, state(devices='<sound/>' * 300 + '<tpm/>' * 700), 'now')
    assert [o.finding.rule.id for o in news] == ['tpm'] * 16 + ['sound'] * 16
    assert [o.finding.more for o in news if o.finding.more] == [684, 284]
    assert len(domain.held) == 1000
    told = judge.verdict_on(domain, news[15])
    assert wording.happening(news[15], told) == "domain 'vm': deny: title of tpm [tpm] (and 684 more): <tpm>"
    assert json.loads(FORMATS['jsonl'](False, True).happening(news[15], told))['more'] == 684
    assert 'more' not in json.loads(FORMATS['jsonl'](False, True).happening(news[14], told))


def test_one_more_finding_than_before_is_news(domain):
    judge = auditor(TPM)
    for number, shown, more in ((16, 16, 0), (17, 1, 0), (40, 16, 7), (41, 1, 0)):
        news = judge.advance(domain, state(devices='<tpm/>' * number), 'now')
        assert (len(news), news[-1].finding.more) == (shown, more)
    assert news[0].finding.path == '/domain/devices/tpm[41]'
    assert judge.advance(domain, state(devices='<tpm/>' * 40), 'now') == []


def test_findings_beyond_the_limit_of_a_domain_are_told(domain):
    judge = auditor(TPM)
    judge.advance(domain, state(devices='<tpm/>' * 1500), 'now')
    assert len(domain.held) == 1000
    (one,) = judge.advance(domain, state(devices='<tpm/>' * 1501), 'now')
    assert one.finding.more == 501
    assert judge.advance(domain, state(3, '<tpm/>' * 1501), 'now') == []


def test_a_verdict_shows_few_of_many(domain):
    result = auditor(TPM).verdict('vm', state(devices='<tpm/>' * 1500))
    assert (len(result.findings), result.more()) == (16, {'tpm': 1484})


def test_a_domain_that_is_started_again_is_another(domain):
    judge = auditor(FEWER, TPM)
    assert news(judge, domain, state(4, '<tpm/>'), state(2, '<tpm/>', id=2)) == [['tpm'], ['tpm']]
    assert news(judge, domain, State(), state(2, '<tpm/>', id=2)) == [[], ['tpm']]


def test_another_policy(domain):
    now = state(4, '<tpm/><sound/>')
    assert news(auditor(), domain, now) == [[]]
    assert news(auditor(TPM, WARNED), domain, now) == [['tpm', 'sound']]
    assert news(auditor(TPM, WARNED), domain, now) == [[]]
    assert news(auditor(WARNED), domain, now, now) == [[], []]
    assert len(domain.held) == 1


def test_a_waiver_that_expires_is_news(domain):
    waiver = model.Waiver(('tpm',), ('vm',), 'a reason', 'somebody', TODAY)
    judge = auditor(TPM, waivers=(waiver,))
    assert news(judge, domain, state(devices='<sound/>')) == [[]]
    (waived,) = judge.advance(domain, state(devices='<tpm/>'), 'now')
    assert waived.finding.status == model.WAIVED
    verdict = judge.verdict_on(domain, waived)
    # All of it is in one language, whatever else is told in another one.
    assert Text(False, True, {'waived: %s': 'erlaubt: %s'}).happening(waived, verdict) == (
        "now domain 'vm': waived: title of tpm [tpm]: <tpm>\n"
        '    waived: approved by somebody until 2026-11-25, expires today: a reason\n'
    )
    fields = dict(journal.runtime_fields(waived, verdict))
    assert fields['VIRT_GUARD_WAIVER'].startswith('tpm approved by somebody until 2026-11-25, expires today')
    tomorrow = Auditor(policy(TPM, waivers=(waiver,)), HOST, '2026-11-26')
    (denied,) = tomorrow.advance(domain, domain.state, 'now')
    assert denied.finding.status == model.DENY and 'expired on 2026-11-25' in denied.finding.message


def test_what_was_seen_before_and_after(domain):
    judge = auditor(
        FEWER,
        rule('gone', '/transition/before//memory[not(alias/@name = /transition/after//memory/alias/@name)]'),
        rule('tune', '/domain/devices/disk/iotune', model.ADMISSION),
        rule('text', '/transition/after//vcpu[. < /transition/before//vcpu/@current + 9]'),
    )
    disk = "<disk><iotune><a>%d</a></iotune><target dev='vda'/></disk>"
    judge.advance(domain, state(4, disk % 1 + "<memory model='dimm'><alias name='dimm0'/></memory>"), 'now')
    found = {o.finding.rule.id: (o.before, o.after) for o in judge.advance(domain, state(3, disk % 2), 'now')}
    assert found == {
        'fewer': ('<vcpu current="4">', '<vcpu current="3">'),
        'text': ('<vcpu current="4">8</vcpu>', '<vcpu current="3">8</vcpu>'),
        'gone': ('<memory model="dimm">', ''),
        'tune': ('<iotune><a>1</a></iotune>', '<iotune><a>2</a></iotune>'),
    }


def test_secrets_are_masked_on_both_sides(domain):
    judge = auditor(rule('graphics', '/domain/devices/graphics', model.ADMISSION))
    for passwd in ('one', 'two'):
        judge.advance(domain, state(devices="<graphics passwd='%s' port='%s'/>" % (passwd, passwd)), 'now')
    (found,) = judge.advance(domain, state(devices="<graphics passwd='three' port='three'/>"), 'now')
    assert (found.before, found.after) == (
        '<graphics passwd="***" port="two">',
        '<graphics passwd="***" port="three">',
    )


def test_processes_of_the_host():
    host = Tracked('', '', State(), {})
    judge = auditor(STRANGER, TPM)

    def processes(*pids):
        attributes = [{'pid': str(pid), 'emulator': '/q', 'name': 'n', 'uid': '0'} for pid in pids]
        return State(None, {(PROCESS, a['pid']): process_document(a) for a in attributes})

    assert news(judge, host, processes(1), processes(1, 2), processes(2), processes(1, 2)) == [
        ['stranger'],
        ['stranger'],
        [],
        ['stranger'],
    ]
    (found,) = judge.advance(host, processes(3), 'now')
    text = wording.happening(found, judge.verdict_on(host, found))
    assert text == ('this host: deny: title of stranger [stranger]: <process pid="3" emulator="/q" name="n" uid="0">')


def test_metadata_without_a_status_has_a_uuid(domain):
    document = take_document(
        SNAPSHOT, ('<domainsnapshot><name>s</name><domain><uuid>%s</uuid></domain></domainsnapshot>' % UUID).encode()
    )
    judge = auditor(rule('snapshot', '/transition/after/domainsnapshot'))
    (found,) = judge.advance(domain, State(None, {(SNAPSHOT, 's'): document}), 'now')
    assert dict(journal.runtime_fields(found, judge.verdict_on(domain, found)))['VIRT_GUARD_UUID'] == UUID


def test_everything_that_holds():
    verdict = auditor(FEWER, JOB, TPM, WARNED).verdict('vm', state(4, '<tpm/><sound/>', "  <job async='backup'/>\n"))
    assert verdict.rule_ids(model.DENY, model.WARN) == ('tpm', 'sound', 'job')
    assert (verdict.domain_name, verdict.uuid, verdict.decision) == ('vm', UUID, model.DENY)
