# SPDX-License-Identifier: Apache-2.0
"""The formats of a report: whatever records hold, a page has our tags only, and a terminal no control character."""

import json
import random
import re
from html.parser import HTMLParser

import pytest
from lxml import html as lxml_html
from virtguard import model
from virtguard.reporting.account import Account
from virtguard.reporting.contents import Contents, Origin
from virtguard.reporting.html import html_lines
from virtguard.reporting.json_lines import json_lines
from virtguard.reporting.moments import Period
from virtguard.reporting.present import Outside, Present
from virtguard.reporting.reading import Reading
from virtguard.reporting.text import text_lines

from .entries import BEGIN, admitted, entry, guard_changed, happened, head, judged, uuid_of

WHOLE = Period(None, BEGIN + 1e6)
PIECES = (
    '<script>alert(1)</script>', '</td></tr></table>', '<img src=x onerror=alert(1)>', '"', "'", '&', '&lt;', '<!--',
    '-->', ']]>', '<![CDATA[', '</style>', '</title>', '<a href="javascript:x">', '\0', '\x1b[2J', '\r\n', '\n', '\t',
    '\u202e', '\u2028', '\ud800', '\U0001f600', 'é', '%s', '%n', '{0}', '\\', '`', '$(id)', '<style>*{display:none}',
    'style="x"', '<', '>', '</', '<?php', '<meta http-equiv=refresh content=0>', 'x' * 700, '',
)  # fmt: skip


def hostile(random_):
    return ''.join(random_.choice(PIECES) for _ in range(random_.randrange(1, 6)))


def every_kind(text):
    """Entries of every kind; `text()` is what others have chosen."""
    waiver = [('VIRT_GUARD_WAIVER', 'tcg approved by %s until 2026-12-31: %s' % (text(), text()))]
    gap = [*head(model.ERROR, text()), ('VIRT_GUARD_OPERATION', 'watch'), ('VIRT_GUARD_SINCE', '2026-11-01T00:00:00Z')]
    changed = [
        *head(model.POLICY_CHANGED, text()),
        *((field, text() or 'x') for field in ('VIRT_GUARD_USER', 'VIRT_GUARD_FILE', 'VIRT_GUARD_POLICY')),
    ]
    chosen = {'VIRT_GUARD_UUID': uuid_of('a')}

    def named():
        return dict(chosen, VIRT_GUARD_DOMAIN='n' + text(), MESSAGE='m' + text(), _HOSTNAME='kvm1')

    yield guard_changed(0, 'x' + text(), 'v' + text(), 'u' + text())
    yield judged(1, 'a', rules=('r' + text(),), **named())
    yield judged(2, 'a', model.WOULD_DENY, rules=('r' + text(),), **named())
    yield judged(3, 'a', model.ERROR, rules=(), **named())
    yield admitted(4, 'a', ('tcg',), waiver, **named())
    yield happened(5, 'a', 'r' + text(), event='e' * 32, **named())
    yield entry(6, gap, VIRT_GUARD_DOMAIN='n' + text(), MESSAGE='m' + text())
    yield entry(7, changed, MESSAGE='m' + text())
    yield entry(8, [('SYSLOG_IDENTIFIER', 'virt-guard')], MESSAGE='m' + text())
    yield entry(9, head(model.EXPIRY, ''), VIRT_GUARD_OPERATION='watch', MESSAGE='m' + text())


class Told:
    def __init__(self, entries, present=None, period=WHOLE):
        self.reading, self.account = Reading(), Account(period)
        self.account.add_all(self.reading.records(entries, period))
        self.origin = Origin('a test', 0.0, present=present)
        self.contents = Contents(self.account, self.reading, self.origin, BEGIN)

    @property
    def html(self):
        return ''.join(html_lines(self.contents, {}))

    @property
    def text(self):
        return ''.join(text_lines(self.contents, {}))

    @property
    def json(self):
        return ''.join(json_lines(self.account, self.reading, self.origin, BEGIN, self.contents))


class Tags(HTMLParser):
    """The tags of a page with their attributes, and all that is no tag and no text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.others = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(attributes)))

    def handle_endtag(self, tag):
        self.tags.append('/' + tag)

    def handle_comment(self, data):
        self.others.append(data)

    unknown_decl = handle_pi = handle_comment


@pytest.mark.parametrize('seed', range(60))
def test_what_others_have_chosen_is_text(seed):
    random_ = random.Random(seed)
    told, harmless = Told(every_kind(lambda: hostile(random_))), Told(every_kind(lambda: 'x'))
    page = told.html.encode('utf-8').decode('utf-8')
    assert Tags(page).tags == Tags(harmless.html).tags and Tags(page).others == []
    parsed, expected = lxml_html.document_fromstring(page), lxml_html.document_fromstring(harmless.html)
    assert [(node.tag, node.items()) for node in parsed.iter()] == [
        (node.tag, node.items()) for node in expected.iter()
    ]
    assert '</style>' not in page.partition('<style>')[2].partition('</style>')[0]
    for shown in (page, told.text):
        assert all(character.isprintable() or character == '\n' for character in shown)
    assert told.text.count('\n  Starts that') == harmless.text.count('\n  Starts that') == 3
    for line in told.json.splitlines():
        assert json.loads(line.encode('ascii').decode('ascii'))['kind']


def test_the_page_shows_what_was_chosen():
    page = Told([judged(1, '<b>&amp;"</b>')]).html
    assert '&lt;b&gt;&amp;amp;&quot;&lt;/b&gt;' in page
    assert lxml_html.document_fromstring(page).xpath('string(//table[1]/tbody/tr/td)').startswith('<b>&amp;"</b>')


def test_the_page_loads_and_runs_nothing():
    page = Told(every_kind(lambda: 'x')).html
    tree = lxml_html.document_fromstring(page)
    assert tree.xpath('//script | //link | //iframe | //img | //object | //form | //@src | //@href | //@style') == []
    assert re.findall(r'url\(|@import|https?:|//', page) == []
    (policy,) = tree.xpath('//meta[@http-equiv="Content-Security-Policy"]/@content')
    assert policy.startswith("default-src 'none'")
    assert 'prefers-color-scheme:dark' in page and '@media print' in page and 'name="viewport"' in page


def hundred_domains():
    waiver = [('VIRT_GUARD_WAIVER', 'tcg approved by Jane Doe until 2026-12-31, T-1234: until the new hosts are there')]
    for number in range(100):
        name = 'web%02d.production.example.org' % number
        yield judged(10 * number, name, rules=('tcg', 'virtiofs')[: 1 + number % 2], _PID=str(number))
        if number % 3 == 0:
            yield admitted(10 * number + 1, name, ('tcg',), waiver, _PID=str(number))
        if number % 4 == 0:
            yield happened(10 * number + 2, name)


def test_a_page_of_a_hundred_domains_is_small():
    page = Told(hundred_domains()).html
    assert page.count('.production.example.org') == 100 + 34 + 2 * 25  # what has happened is told with the name again
    assert len(page.encode('utf-8')) < 60000


def test_what_is_true_now():
    present = Present()
    rule = model.Rule('tcg', 'TCG', 'deny', 'why', 'remedy')
    present.running, present.unknown = 3, ['one file could not be read']
    present.policy = model.Policy('rhel-8', 'enforce', 'deny', 5.0, False, (rule,), 'c' * 64, '/p.yaml')
    finding = model.Finding(rule, model.DENY, '/domain', 1, '', 'message')
    present.outside = [Outside(model.Verdict('web<1>', uuid_of('web'), present.policy, [finding]))]
    told = Told([], present)
    assert '3 domains running, 1 outside of the policy, 0 by a waiver' in ' '.join(told.text.split())
    assert 'one file could not be read' in told.text and 'web&lt;1&gt;' in told.html
    objects = {found['kind']: found for found in map(json.loads, told.json.splitlines())}
    assert objects['outside-now']['rules'] == ['tcg'] and objects['now']['running'] == 3


def test_nothing_to_tell():
    told = Told([])
    assert 'There is no record of this period.' in told.text and 'There is no record of this period.' in told.html
    assert [json.loads(line)['kind'] for line in told.json.splitlines()] == ['report', 'limit']
