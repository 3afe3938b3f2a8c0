# SPDX-License-Identifier: Apache-2.0
"""A report in Japanese: what is ours is translated, what records say stays as it is."""

import re

from lxml import html
from virtguard import model
from virtguard.policy.languages import texts_of
from virtguard.reporting.account import Account
from virtguard.reporting.contents import Contents, Origin
from virtguard.reporting.html import html_lines
from virtguard.reporting.json_lines import json_lines
from virtguard.reporting.moments import Period
from virtguard.reporting.reading import Reading
from virtguard.reporting.text import text_lines

from .entries import BEGIN, admitted, guard_changed, happened, judged

WHOLE = Period(None, BEGIN + 200000)
JAPANESE = texts_of('ja')
# Whoever defines a domain chooses its name, which may be one of our words.
ENTRIES = [
    guard_changed(0, 'removed', '0.4.0', 'alice'),
    guard_changed(90000, 'installed', '0.4.0', 'alice'),
    judged(90001, 'found', rules=('yes',)),
    judged(90002, 'this host', model.WOULD_DENY, rules=('tcg',)),
    judged(90003, 'no file', model.ERROR, rules=()),
    admitted(90004, 'web', ('tcg',), [('VIRT_GUARD_WAIVER', 'tcg approved by not known until 2027-01-31: domain')]),
    happened(90005, 'domain', 'guest-suspend', event='e' * 32),
]


def told():
    reading, account = Reading(), Account(WHOLE)
    account.add_all(reading.records(ENTRIES, WHOLE))
    origin = Origin('a test', 0.0)
    return account, reading, origin, Contents(account, reading, origin, BEGIN)


def test_text():
    text = ''.join(text_lines(told()[3], JAPANESE))
    words = ' '.join(text.split())
    assert (
        '起動 1 回を許可; 起動 1 回を拒否; 起動 1 回を許可 (モードが enforce なら拒否); 起動 1 回を判定できず' in words
    )
    assert 'virt-guard がインストールされていなかった時間: 1 日 1 時間 (' in words
    assert '拒否された起動' in text and 'ジャーナルは空' in text
    for name in ('found', 'this host', 'no file', 'domain'):
        assert re.search(r'^    %s$|^    %s ' % (name, name), text, re.MULTILINE), name
    assert 'approved by not known until 2027-01-31: domain' in words
    assert all(line.isprintable() for line in text.splitlines())


def test_page():
    account, reading, origin, contents = told()
    page = html.document_fromstring(''.join(html_lines(contents, JAPANESE, 'ja')))
    assert page.get('lang') == 'ja'
    assert '拒否された起動' in page.xpath('//h3/text()')
    assert 'ドメイン' in page.xpath('//th/text()')
    assert {'found', 'this host', 'no file', 'domain'} <= set(page.xpath('//td[1]/text()'))
    ours = set(
        page.xpath('//h2[not(text()[contains(., "machine-id")])]/text() | //h3/text() | //th/text() | //dt/text()')
    )
    assert [text for text in ours - {'SHA-256', 'XML'} if re.match(r'[ -~]*\Z', text)] == []


def test_other_programs_read_english():
    account, reading, origin, contents = told()
    text = ''.join(json_lines(account, reading, origin, BEGIN, contents))
    assert text.encode('ascii')
    assert 'the journal is empty' in text
