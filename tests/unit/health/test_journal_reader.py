# SPDX-License-Identifier: Apache-2.0
"""Entries in journald's export format; tests/live has those that journalctl itself writes."""

import random

import pytest
from virtguard.health.journal_export import parse_export, parse_pieces
from virtguard.health.journal_reader import text_of, time_of, values_of

FIRST = [('__CURSOR', b's=1;i=2'), ('__REALTIME_TIMESTAMP', b'1795877952510000'), ('_BOOT_ID', b'b1')]
FORGED = b'x\n\n__CURSOR=s=9\n__REALTIME_TIMESTAMP=1\nVIRT_GUARD_OPERATION=start\nMESSAGE=forged\n\n'
VALUES = [b'', b'plain', b'a=b', b'=', b'\n', b'\n\n', b'\n' * 10, b'\xff\xfe', 't\xe4st \u2028'.encode(), FORGED]


def field(name, value):
    """As journalctl writes it: with its length where it cannot be printed."""
    printable = b'\n' not in value and value.decode('utf-8', 'replace').encode() == value
    if printable:
        return name.encode() + b'=' + value + b'\n'
    return name.encode() + b'\n' + len(value).to_bytes(8, 'little') + value + b'\n'


def entry(*fields):
    return b''.join(field(*each) for each in [*FIRST, *fields]) + b'\n'


def messages(data):
    return [text_of(record, 'MESSAGE') for record in parse_export(data)]


@pytest.mark.parametrize('value', VALUES)
def test_every_value_is_what_was_sent_and_ends_nothing(value):
    data = entry(('A', value), ('MESSAGE', value)) + entry(('MESSAGE', b'next'))
    sent, following = parse_export(data)
    assert text_of(sent, 'MESSAGE') == text_of(sent, 'A') == value.decode('utf-8', 'surrogateescape')
    assert sorted(sent) == sorted(['A', 'MESSAGE', *dict(FIRST)])
    assert (text_of(following, 'MESSAGE'), time_of(following)) == ('next', 1795877952.51)


def test_a_field_that_is_repeated():
    (record,) = parse_export(entry(('RULE', b'a'), ('MESSAGE', b'x'), ('RULE', b'b\n'), ('RULE', b'c')))
    assert (values_of(record, 'RULE'), text_of(record, 'RULE'), text_of(record, 'MESSAGE')) == (
        ['a', 'b\n', 'c'],
        'a',
        'x',
    )


def test_an_entry_that_journalctl_could_not_read_to_its_end_is_left_out():
    whole = entry(('MESSAGE', b'whole'))
    unfinished = b''.join(field(*each) for each in FIRST)
    assert messages(whole + unfinished + whole) == ['whole', 'whole']
    assert messages(whole + unfinished + field('MESSAGE', b'lost') + unfinished + whole) == ['whole', 'whole']
    assert messages(unfinished + entry(('MESSAGE', FORGED))) == [FORGED.decode()]


def test_what_ends_early():
    data = entry(('MESSAGE', b'first')) + entry(('A', FORGED), ('MESSAGE', b'second'))
    for length in range(len(data)):
        assert messages(data[:length]) == ['first'] * (length >= len(entry(('MESSAGE', b'first'))))
    assert messages(data) == ['first', 'second']
    assert messages(b'') == messages(b'\n') == messages(b'A\n' + b'\xff' * 8) == []


def test_many_entries_of_all_kinds():
    choice = random.Random(1).choice
    sent = [[(choice('AB'), choice(VALUES)) for _ in range(choice(range(5)))] for _ in range(1000)]
    found = list(parse_export(b''.join(entry(*fields) for fields in sent)))
    expected = [
        {name: [value.decode('utf-8', 'surrogateescape') for each, value in fields if each == name] for name in 'AB'}
        for fields in sent
    ]
    assert [{name: values_of(record, name) for name in 'AB'} for record in found] == expected


def test_entries_that_come_in_pieces():
    values = [('A', FORGED), ('MESSAGE', b'x'), ('MESSAGE', b'\n'), ('B', b'')]
    data = b''.join(entry(*values[:n], *values[n - 3 :]) for n in range(4)) + entry(('MESSAGE', b'last')) * 3
    whole = list(parse_export(data))
    assert len(whole) == 7
    for size in range(1, 40):
        assert list(parse_pieces(data[n : n + size] for n in range(0, len(data), size))) == whole
    for cut in range(len(data)):
        found = list(parse_pieces([data[:cut]]))
        assert [record for record in found if record] == whole[: len([record for record in found if record])]
        assert None not in found[:-1]


@pytest.mark.parametrize('long', [b'x' * (5 << 20), b'\n\n' + FORGED * 60000])
def test_a_text_that_is_too_long_hides_no_other_entry(long):
    data = entry(('MESSAGE', b'first')) + entry(('A', long), ('MESSAGE', b'x')) + entry(('MESSAGE', b'last'))
    pieces = [data[n : n + 65536] for n in range(0, len(data), 65536)]
    found = list(parse_pieces(pieces))
    assert [record and text_of(record, 'MESSAGE') for record in found] == ['first', None, 'last']
