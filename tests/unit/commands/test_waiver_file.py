# SPDX-License-Identifier: Apache-2.0
"""Edits of a drop-in with waivers: what an edit is not about stays as it is, byte for byte."""

import difflib
import re

import pytest
from virtguard.commands.waivers.waiver_file import WaiverFile
from virtguard.errors import GuardError
from virtguard.policy.problems import PolicyError

UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
NEW = {
    'rules': ('tcg', 'virtiofs'),
    'domains': ((UUID, 'build-7'),),
    'reason': 'yes: "quoted" # and more',
    'approved-by': 'alice',
    'expires': '2027-03-31',
    'ticket': '4711',
}
ITEM = """\
  - rules: [tcg, virtiofs]
    domains: [{uuid: 6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11, name: build-7}]
    reason: "yes: \\"quoted\\" # and more"
    approved-by: alice
    expires: 2027-03-31
    ticket: "4711"
"""
# As people write them.
SEVERAL = """\
# Ours.
mode: audit   # for a while

waivers:   # all of them
  # of the build farm
  - rules: [one, two]  # both
    domains:
      # the first
      - 'build-*'
      - {uuid: 6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11, name: build-7}   # the last

    reason: >
      in two
      lines
    approved-by: "platform team"
    expires: "2027-01-31"   # Sunday

  # of the office
  - domains: [office]
    rules:
    - one
    - two
    reason: "why"
    approved-by: me
    expires: 2027-01-31
    ticket: 'OPS-1'
  # to be thought of
rules:
  - {id: one, action: warn}
# The end.
"""
UNINDENTED = SEVERAL.replace('\n  ', '\n').replace('\n- {id', '\n  - {id')
FLOW = """\
waivers: [{rules: [one, two], domains: [a, b], reason: r, approved-by: me, expires: 2027-01-31},  # first
  {rules: [two], domains: [c], reason: r, approved-by: me, expires: 2027-01-31}]  # last
mode: audit
"""
WRITTEN = [SEVERAL, UNINDENTED, FLOW]
EVERY = [*WRITTEN, *(text.replace('\n', '\r\n') for text in WRITTEN), *('\ufeff' + text for text in WRITTEN)]
by_text = pytest.mark.parametrize('text', EVERY, ids=range(len(EVERY)))


def read(text):
    return WaiverFile(text.encode('utf-8'), '60-waivers.yaml')


def lines_of(difference, sign):
    return [line[2:] for line in difference if line.startswith(sign + ' ')]


def comments(text):
    """The lines that are comments, but for one within a waiver."""
    return [line for line in text.splitlines() if line.lstrip().startswith('#') and line.strip() != '# the first']


def compared(before, after):
    difference = list(difflib.ndiff(before.splitlines(True), after.decode('utf-8').splitlines(True)))
    return lines_of(difference, '-'), lines_of(difference, '+')


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('', 'waivers:\n' + ITEM),
        ('# Nothing yet.\n', '# Nothing yet.\nwaivers:\n' + ITEM),
        ('# Nothing yet.', '# Nothing yet.\nwaivers:\n' + ITEM),
        ('waivers:\n', 'waivers:\n' + ITEM),
        ('waivers:\n# none\nmode: audit\n', 'waivers:\n' + ITEM + '# none\nmode: audit\n'),
        ('waivers: []  # none\nmode: audit\n', 'waivers:  # none\n' + ITEM + 'mode: audit\n'),
        ('waivers: ~\n', 'waivers:\n' + ITEM),
        ('mode: audit', 'mode: audit\nwaivers:\n' + ITEM),
        ('---\nmode: audit\n', '---\nmode: audit\nwaivers:\n' + ITEM),
        ('mode: audit\r\n', ('mode: audit\nwaivers:\n' + ITEM).replace('\n', '\r\n')),
    ],
)
def test_the_first_waiver(before, after):
    assert read(before).add(NEW).decode('utf-8') == after


def test_a_new_file_says_who_writes_it():
    data = WaiverFile(None, '60-waivers.yaml').add(dict(NEW, ticket=''))
    head, _, rest = data.decode('utf-8').partition('\n')
    assert head.startswith('# ') and rest == 'waivers:\n' + ITEM.replace('    ticket: "4711"\n', '')


@by_text
def test_another_waiver_comes_last(text):
    removed, added = compared(text, read(text).add(NEW))
    if '[{' in text:
        assert len(removed) == len(added) == 1 and added[0].startswith(
            removed[0].partition(']  #')[0] + ', {rules: [tcg'
        )
    else:
        assert removed == []
        assert [line.strip() for line in added] == [line.strip() for line in ITEM.splitlines()]
        assert {line[len(line.rstrip('\r\n')) :] for line in added} == {'\r\n' if '\r\n' in text else '\n'}


@by_text
@pytest.mark.parametrize('number', [0, 1])
def test_one_that_was_added_can_be_removed_and_so_can_others(text, number):
    file = read(text)
    more = WaiverFile(file.add(NEW), 'p')
    assert more.remove(2).decode('utf-8') == text
    less = WaiverFile(file.remove(number), 'p')
    assert less.waivers == [file.waivers[1 - number]]
    kept = less.data.decode('utf-8')
    assert comments(kept) == comments(text)
    assert WaiverFile(less.remove(0), 'p').waivers == []


@by_text
@pytest.mark.parametrize('number', [0, 1])
def test_another_end_is_one_span(text, number):
    removed, added = compared(text, read(text).renew(number, {'expires': '2027-06-30'}))
    assert len(removed) == len(added) == 1
    assert added[0] in (
        removed[0].replace('"2027-01-31"', '2027-06-30'),
        removed[0].replace('2027-01-31', '2027-06-30'),
    )


@by_text
@pytest.mark.parametrize('number', [0, 1])
def test_other_values_and_new_keys(text, number):
    changes = {'reason': 'a: b', 'approved-by': 'bob', 'expires': '2027-06-30', 'ticket': 'on'}
    file = read(text)
    renewed = WaiverFile(file.renew(number, changes), 'p')
    assert renewed.waivers[number] == dict(file.waivers[number], **changes)
    assert renewed.waivers[1 - number] == file.waivers[1 - number]


@by_text
@pytest.mark.parametrize(('key', 'place'), [('rules', 0), ('rules', 1), ('domains', 0), ('domains', 1)])
def test_an_item_of_a_list_is_taken_out(text, key, place):
    file = read(text)
    items = file.waivers[0][key]
    shortened = WaiverFile(file.shorten(0, key, items[place]), 'p')
    assert shortened.waivers[0][key] == (items[1 - place],)
    assert shortened.waivers[1] == file.waivers[1]
    removed, added = compared(text, shortened.data)
    assert len(removed) == 1 and len(added) <= 1


COMMENTED = """\
waivers:
- rules: [one,     # of one
    two  # of two
    , three]
  domains: [a, b]  # both
  reason: >-  # why, at length
    because
    of it
  approved-by: me
  expires: 2027-01-31
- {rules: [two], domains: [c], reason: r, approved-by: me, expires: 2027-01-31}
"""


@pytest.mark.parametrize('newline', ['\n', '\r\n'])
@pytest.mark.parametrize('rules', [('one',), ('two',), ('three',), ('one', 'three'), ('three', 'two'), ('two', 'one')])
def test_comments_between_items_stay(newline, rules):
    file = read(COMMENTED.replace('\n', newline))
    for rule in rules:
        file = WaiverFile(file.shorten(0, 'rules', rule), 'p')
    assert file.waivers[0]['rules'] == tuple(rule for rule in ('one', 'two', 'three') if rule not in rules)
    text = file.data.decode()
    assert re.findall('#.*[^\r\n]', text) == re.findall('#.*', COMMENTED)


def test_comments_between_waivers_stay():
    for number in (0, 1):
        text = read(FLOW).remove(number).decode()
        assert '# first\n' in text and '# last\n' in text


@pytest.mark.parametrize('newline', ['\n', '\r\n'])
def test_the_comment_of_a_long_text_stays(newline):
    text = COMMENTED.replace('\n', newline)
    renewed = read(text).renew(0, {'reason': 'shorter'}).decode()
    assert newline + '  reason: shorter  # why, at length' + newline + '  approved-by' in renewed


@pytest.mark.parametrize(
    'text',
    [
        'on', 'null', '1', '1.5', '2027-01-31', '~', 'a: b', 'a #b', '#a', '- a', '[a', 'a, b', '{a', '*a', '&a', '!a',
        '"a"', "'a'", "it's", 'a:', '%a', '@a', '`a', '?', '=', '<<', 'a\\b', 'ä ö 漢字', '😀', 'x' * 300, 'a  b',
    ],
)  # fmt: skip
def test_any_text_comes_back(text):
    values = dict(NEW, reason=text, ticket=text, rules=('one',), domains=(text, (UUID, text)))
    values['approved-by'] = text
    data = WaiverFile(None, 'p').add(values)
    assert WaiverFile(data, 'p').waivers == [values]
    assert WaiverFile(read(FLOW).add(values), 'p').waivers[2] == values


ALIASED = """\
waivers:
- &first {rules: [one], domains: [a], reason: r, approved-by: me, expires: 2027-01-31}
- *first
"""


@pytest.mark.parametrize('text', ['{mode: audit}\n', 'mode: audit\n...\n', ALIASED])
def test_what_cannot_be_edited_safely_is_refused(text):
    file = read(text)
    with pytest.raises(GuardError, match='by hand'):
        file.renew(0, {'expires': '2027-06-30'}) if file.waivers else file.add(NEW)


def test_one_with_problems_is_not_edited():
    with pytest.raises(PolicyError):
        WaiverFile(b'waivers:\n- rules: [one]\n', '60-waivers.yaml')
    with pytest.raises(GuardError, match='by hand'):
        WaiverFile('mode: audit\n'.encode('utf-16'), '60-waivers.yaml')
