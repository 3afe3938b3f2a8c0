# SPDX-License-Identifier: Apache-2.0
"""Ids of operating systems as people and programs write them, and the same verdict on every way of judging."""

from xml.sax.saxutils import quoteattr

import pytest
from support.paths import CASES
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.policy import osinfo_names
from virtguard.policy.compiler import prepare
from virtguard.policy.os_ids import has_another_meaning, meant_id
from virtguard.policy.osinfo_table import RELEASED
from virtguard.tree import is_plain_id

POLICY = load_policy((CASES.parents[1] / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
BASE = (CASES / 'base-x86_64.xml').read_text(encoding='utf-8')
HOST = model.HostFacts('x86_64', 'none', None, lambda name, subject: None)
TODAY = '2026-11-27'
WIN7 = 'http://microsoft.com/win/7'


def with_id(id):
    return BASE.replace('"http://redhat.com/rhel/8.6"', quoteattr(id)).encode('utf-8')


@pytest.mark.parametrize(
    'written',
    [
        'https://microsoft.com/win/7',
        'HTTP://microsoft.com/win/7',
        'ftp://microsoft.com/win/7',
        'http://MICROSOFT.com/win/7',
        'http://www.microsoft.com/win/7',
        'http://WWW.Microsoft.com/win/7',
        'http://microsoft.com:80/win/7',
        'http://microsoft.com./win/7',
        'http://a@microsoft.com/win/7',
        'http://microsoft.com/win/7/',
        'http://microsoft.com/win/7///',
        'http://microsoft.com//win/7',
        'http:///microsoft.com/win/7',
        'http:/microsoft.com/win/7',
        '//microsoft.com/win/7',
        'microsoft.com/win/7',
        ' http://microsoft.com/win/7',
        'http://microsoft.com/win/7 ',
        'http://microsoft.com /win/ 7',
        '\thttp://microsoft.com/win/7\n',
        '\u00a0http://microsoft.com/win/7\u3000',
        'win7',
        'WIN7',
        ' win7 ',
    ],
)
def test_an_os_id_in_another_spelling_means_the_plain_one(written):
    assert not is_plain_id(written)
    assert meant_id(written) == WIN7
    assert meant_id(WIN7) == WIN7


@pytest.mark.parametrize(
    'written',
    [
        'http://example.com/Our/OS/',
        'HTTPS://example.com/x/1',
        'our-os',
        'Windows 7',
        'http://microsoft.com',
        'http://microsoft.com/',
        'http://microsoft.com.example.com/win/7',
        'win/7',
        'unknown-system',
        '0',
        '',
        ' ',
        '/',
        ':',
        '://',
    ],
)
def test_an_unknown_os_id_stays_as_it_is(written):
    assert meant_id(written) == written


def test_every_id_of_osinfo_db_is_plain_and_has_a_short_one():
    ids = set(osinfo_names.IDS.values())
    assert len(ids) > 900 and ids >= set(RELEASED)
    for id in ids:
        assert is_plain_id(id) and meant_id(id) == id
    for short, id in osinfo_names.IDS.items():
        assert meant_id(short) == id


@pytest.mark.parametrize(
    'text',
    [
        *("<a id='win7'/>", '<a\nid = "win7">', "<a b='c'\tid='HTTP://microsoft.com/win/7'/>"),
        # What only looks like one, and ends where a real one begins.
        *('<t>x id="</t><a id="win7"/>', """<a b=' id=" ' id="win7"/>""", """<a b='uid=" ' id="win7"/>"""),
    ],
)
def test_another_spelling_is_seen_in_the_bytes(text):
    assert has_another_meaning(text.encode())


@pytest.mark.parametrize(
    'text', ["<a id='http://microsoft.com/win/7'/>", "<a id='3'/>", "<a grid='win7'/>", "<a x:id='win7'/>", 'win7']
)
def test_a_plain_os_id_has_no_other_meaning(text):
    assert not has_another_meaning(text.encode())


def verdicts(policy, xml):
    """By every rule, by what lxml is asked after expat has looked, and in bulk."""
    yield evaluate(policy, parse_domain(xml), HOST, TODAY)
    verdict, candidates = CompiledPolicy(prepare(policy)).judge(xml, HOST, TODAY)
    rules = [policy.rules_at(model.ADMISSION)[number] for number in candidates]
    yield verdict or evaluate(policy, parse_domain(xml), HOST, TODAY, rules)
    yield Judge(policy, HOST, TODAY).judge(xml)


def findings(policy, id):
    found = [[(f.rule.id, f.path, f.evidence) for f in verdict.findings] for verdict in verdicts(policy, with_id(id))]
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize(
    'written, rules',
    [
        ('https://microsoft.com/win/7/', ['guest-os-windows']),
        ('win2k8', ['guest-os-windows-server']),
        ('https://apple.com/macosx/10.7/', ['guest-os-macos']),
        ('https://apple.com/macosx/99', ['guest-os-macos', 'guest-os-unknown']),
        ('HTTP://oracle.com/solaris/99', ['guest-os-solaris', 'guest-os-unknown']),
        ('https://redhat.com/rhel/5.2', ['guest-os-before-2009']),
        ('https://redhat.com/rhel/8.6/', []),
        ('rhel8.6', []),
        ('http://redhat.com/rhel/8.6', []),
        ('http://redhat.com/RHEL/8.6', ['guest-os-unknown']),
        ('http://redhat.com/rhel/99', ['guest-os-unknown']),
        ('http://redhat.com/rhel/9-unknown', ['guest-os-unknown']),
        ('http://microsoft.com/win/%37', ['guest-os-unknown']),
        ('Windows 7', ['guest-os-unknown']),
        ('', ['guest-os-unknown']),
    ],
)
def test_verdicts(written, rules):
    found = findings(POLICY, written)
    assert [rule for rule, _, _ in found] == rules
    path = '/domain/metadata/libosinfo:libosinfo/libosinfo:os/@id'
    shown = ' '.join(('<libosinfo:os id="%s">' % written).split())
    assert {(where, evidence) for _, where, evidence in found} <= {(path, shown)}


SITE = """
policy: site
rules:
  - id: ours
    title: t
    action: deny
    why: w
    remedy: r
    match: %s
"""
IDS = '/domain/metadata/libosinfo:libosinfo/libosinfo:os/@id'


@pytest.mark.parametrize(
    'match, id, found',
    [
        (IDS + "[. = 'http://microsoft.com/win/10']", 'http://microsoft.com/win/10', True),
        (IDS + "[. = 'http://microsoft.com/win/10']", 'https://microsoft.com/win/10/', True),
        ("//libosinfo:os/@id[contains(., '/win/')]", 'win10', True),
        ('%s\n    values: [http://microsoft.com/win/10]' % IDS, 'win10', True),
        ('%s\n    values: [win10]' % IDS, 'win10', True),
        ('%s\n    values: [https://Example.com/Our/OS/]' % IDS, 'https://Example.com/Our/OS/', True),
        (IDS + "[. = 'https://Example.com/Our/OS/']", 'https://Example.com/Our/OS/', True),
        ('%s\n    values: [https://Example.com/Our/OS/]' % IDS, 'https://example.com/Our/OS', False),
        ('%s\n    values: {os-known: true}' % IDS, 'win10', True),
        ('%s\n    values: {os-known: true}' % IDS, 'win10x', False),
        ('%s\n    values: {os-known: false}' % IDS, 'win10', False),
        ('%s\n    values: {os-known: false}' % IDS, 'win10x', True),
    ],
)
def test_rules_of_a_site(match, id, found):
    policy = load_policy((SITE % match).encode(), 'site.yaml')
    assert bool(findings(policy, id)) == found
