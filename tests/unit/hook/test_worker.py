# SPDX-License-Identifier: Apache-2.0
"""What the hook and its worker tell each other, and what a document states without being read as XML."""

import gc
import os
import time

import pytest
from support import made
from virtguard.errors import Expired, GuardError
from virtguard.hook.worker import Task, ask, stated_uuid
from virtguard.model import HostFacts, Policy
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


class Waiting:
    """As much of a call of the hook as `ask` needs."""

    stage = ''
    asked = ()

    def __init__(self, deadline=60.0):
        self.settings = {'deadline': deadline}

    def note(self, stage, asked=(), **told):
        self.stage, self.asked = stage, asked

    def patience(self):
        return 60.0

    def is_judging(self):
        return self.stage in ('judging', 'probe')


def test_a_worker_collects_garbage_although_the_hook_does_not():
    def read_domain():
        raise GuardError('it does' if gc.isenabled() else 'it does not')

    policy = Policy('a', 'enforce', 'deny', 60.0, False, (), '', '')
    task = Task('/p', read_domain, lambda load: load(), lambda: os.open('/dev/null', os.O_RDWR), 60.0, policy)
    gc.disable()
    try:
        with pytest.raises(GuardError, match='it does$'):
            ask(task, Waiting())
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize('second, expires', [('infiniband-vf', False), ('multipath-device', True)])
def test_paths_that_answer_slowly_take_no_time_from_the_devices_of_the_host(second, expires):
    """Else a document could let the deadline pass where the policy's `failure` decides."""
    rules = tuple(
        made.rule('/domain/devices/%s/source/@dev' % element, element, probe=probe)
        for element, probe in (('disk', 'multipath-device'), ('hostdev', second))
    )
    host = HostFacts(None, None, None, lambda name, subject: time.sleep(1.2))
    devices = "<devices><disk><source dev='/a'/></disk><hostdev><source dev='/b'/></hostdev></devices>"
    policy = Policy('a', 'enforce', 'deny', 2.0, False, rules, '', '')
    task = Task('/p', None, lambda load: load(), lambda: os.open('/dev/null', os.O_RDWR), 2.0, policy)
    task.xml, task.host = ("<domain type='kvm'><name>a</name>%s</domain>" % devices).encode(), host
    call = Waiting(2.0)
    if expires:
        with pytest.raises(Expired):
            ask(task, call)
        assert call.asked == ('hostdev', '/b')
    else:
        assert ask(task, call)['outcome'] == 'admit'


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
