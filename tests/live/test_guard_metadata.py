# SPDX-License-Identifier: Apache-2.0
"""What is well-formed is what libvirt accepts, shown by libvirt: a generator makes domains at the edge of XML, libvirt
defines them or does not, and writes in its own words what it has understood."""

import json
import re

import pytest
from guarded import CHECKOUT, refusal
from support.odd_domains import odd_domains
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.errors import DomainXMLError
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.policy.compiler import prepare

pytestmark = pytest.mark.live

SEED, COUNT = 11, 400
DIRECTORY = '/var/tmp/odd'
POLICY = load_policy((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
TODAY = '2026-01-01'
JUDGE = Judge(POLICY, HOST, TODAY)
COMPILED = CompiledPolicy(prepare(POLICY))
# Before the name of the source and the line comes what is wrong; only libxml2's words have both.
BROKEN = re.compile(r'\(domain_definition\):\d+: ')


def virsh(host, commands):
    """What virsh says to each of many commands, in order."""
    script = '; '.join("echo --str '<<>>'; " + command for command in commands)
    said = host.run(['sh', '-c', 'exec virsh "$1" 2>&1', 'sh', script], check=False).stdout
    answers = said.split('<<>>\n')[1:]
    assert len(answers) == len(commands), said[-2000:]
    return answers


def found(verdict):
    return [(finding.rule.id, finding.status, finding.path, finding.evidence) for finding in verdict.findings]


def judged(xml):
    """What rules find in a document, each way that it may take through the guard; None where it is not well-formed."""
    try:
        slow = evaluate(POLICY, parse_domain(xml), HOST, TODAY)
    except DomainXMLError as error:
        if 'not well-formed' not in error.message and 'DOCTYPE' not in error.message:
            return 'refused: ' + error.message
        for judge in (JUDGE.judge, lambda data: COMPILED.judge(data, HOST, TODAY)[0]):
            try:
                assert judge(xml) is None, xml
            except DomainXMLError:
                continue
        return None
    in_bulk = JUDGE.judge(xml)
    assert found(in_bulk) == found(slow), xml
    assert (in_bulk.domain_name, in_bulk.uuid) == (slow.domain_name, slow.uuid), xml
    fast, candidates = COMPILED.judge(xml, HOST, TODAY)
    if fast is not None:
        assert found(fast) == found(slow), xml
    else:
        rules = {POLICY.rules_at(model.ADMISSION)[number].id for number in candidates}
        assert {rule for rule, *_ in found(slow)} <= rules, xml
    return found(slow)


def test_what_libvirt_accepts_and_nothing_else(host):
    domains = list(odd_domains(SEED, COUNT))
    for odd in domains:
        host.write('%s/%d.xml' % (DIRECTORY, odd.number), odd.xml)
    answers = virsh(host, ['define %s/%d.xml' % (DIRECTORY, odd.number) for odd in domains])
    whole = [odd for odd, answer in zip(domains, answers) if not BROKEN.search(answer)]
    defined = [odd for odd, answer in zip(domains, answers) if ' defined from ' in answer]
    assert 150 < len(whole) < 350
    assert len(defined) > 100

    checked = {}
    result = host.run(['virt-guard', 'check', '--format', 'jsonl', DIRECTORY], check=False)
    for line in result.stdout.splitlines():
        answer = json.loads(line)
        checked[int(re.search(r'(\d+)\.xml$', answer['source']).group(1))] = answer

    verdicts = {odd.number: judged(odd.xml) for odd in domains}
    for odd in domains:
        verdict = verdicts[odd.number]
        assert (verdict is not None) == (odd in whole), (odd.xml.decode('utf-8', 'replace'), answers[odd.number])
        assert (checked[odd.number]['decision'] == 'error') == (verdict is None or isinstance(verdict, str)), odd.xml

    dumped = virsh(host, ['dumpxml --inactive ' + odd.uuid for odd in defined])
    virsh(host, ['undefine ' + odd.uuid for odd in defined])
    for odd, text in zip(defined, dumped):
        own = judged(text.encode())
        assert own is not None, text
        if isinstance(verdicts[odd.number], str):  # of what stands there twice, libvirt has taken one
            assert 'leave one of them' in verdicts[odd.number] and odd.outside, odd.xml
        elif odd.outside:  # in files, more is taken for what it looks like
            assert {rule for rule, *_ in own} <= {rule for rule, *_ in verdicts[odd.number]}, (odd.xml, text)
        else:
            denied = [
                [(rule, path) for rule, status, path, _ in findings if status == 'deny']
                for findings in (own, verdicts[odd.number])
            ]
            assert denied[0] == denied[1], (odd.xml, text)


def test_the_hook_itself(host):
    """Some of them are started: libvirt hands them to the hook, which says the same of them."""
    refused = started = 0
    for odd in odd_domains(SEED + 1, 60):
        host.write(DIRECTORY + '/one.xml', odd.xml)
        if odd.outside or host.virsh('define', DIRECTORY + '/one.xml', check=False).returncode:
            continue
        expected = [rule for rule, status, *_ in judged(odd.xml) if status == 'deny']
        result = host.virsh('start', odd.uuid, check=False)
        if expected:
            for rule in expected:
                assert '[%s] ' % rule in refusal(result, 1)
            refused += 1
        else:
            assert result.returncode == 0, result.stderr
            host.virsh('destroy', odd.uuid)
            started += 1
        host.virsh('undefine', odd.uuid)
        if refused >= 4 and started >= 3:
            break
    assert refused and started
