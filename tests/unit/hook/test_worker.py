# SPDX-License-Identifier: Apache-2.0
"""What the hook and its worker tell each other, and what a document states without being read as XML."""

import os

import pytest
from virtguard.hook.worker import stated_uuid
from virtguard.model import Policy
from virtguard.pipe import Reader, write_message
from virtguard.policy.load import note_on_reading

UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'


@pytest.mark.parametrize(
    'document, uuid',
    [
        ('<domain><name>a</name><uuid>%s</uuid>' % UUID, UUID),
        ('<domain><uuid>\n  %s\n</uuid>' % UUID.upper(), UUID.upper()),
        ('<uuid>%s</uuid><uuid>%s</uuid>' % (UUID, UUID.replace('5', '6')), UUID),
        ('<uuid>%s' % UUID, UUID),
        ('<uuid></uuid>', ''),
        ('<uuid>%s</uuid>' % UUID[1:], ''),
        ('<uuid>%s</uuid>' % UUID.replace('d', 'g'), ''),
        ('<uuid>%s</uuid>' % UUID.replace('-', '\n'), ''),
        ('<uuid>%s%s</uuid>' % (UUID, UUID), ''),
        ('<uuid>\x1b\xff</uuid>', ''),
        ('', ''),
    ],
)
def test_stated_uuid(document, uuid):
    assert stated_uuid(document.encode('latin-1')) == uuid


def test_messages_in_pieces():
    """Whatever the pieces; the end is told once."""
    reader, writer = os.pipe()
    sent = [{'stage': 'xml'}, {'text': 'x' * 1000}, 7, None]
    for message in sent[:3]:
        write_message(writer, message)
    os.close(writer)
    data = os.read(reader, 1 << 16)
    os.close(reader)
    for size in (1, 3, 100, 5000):
        got = []
        for start in range(0, len(data), size):
            inner, outer = os.pipe()
            os.write(outer, data[start : start + size])
            os.close(outer)
            messages = messages if start else Reader(inner)  # noqa: F821
            messages.descriptor = inner
            got.extend(messages.read())
            os.close(inner)
        inner, outer = os.pipe()
        os.close(outer)
        messages.descriptor = inner
        got.extend(messages.read())
        os.close(inner)
        assert got == sent


@pytest.mark.parametrize('seconds, said', [(0.1, False), (1, False), (1.01, True), (7, True)])
def test_note_on_reading(seconds, said):
    policy = Policy('p', 'enforce', 'deny', 5.0, False, (), '', '')
    note = note_on_reading(policy, seconds)
    assert bool(note) == said
    assert not said or 'within the deadline of 5 s' in note
