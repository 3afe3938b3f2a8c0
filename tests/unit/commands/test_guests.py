# SPDX-License-Identifier: Apache-2.0
"""`virt-guard guests` without guests: who can be asked, what hangs or crashes while it is asked, hostile answers, and
what is concluded. tests/live asks real agents."""

import json
import os
import pathlib
import select
import signal
import time

import pytest
from support.domain import clean_domain
from support.paths import CHECKOUT
from virtguard.commands.guests import asking, guests
from virtguard.commands.guests.comparison import compare
from virtguard.commands.guests.told import Guest, as_json, as_text_lines, summary
from virtguard.commands.parser import build_parser
from virtguard.errors import GuardError
from virtguard.health.guest_agents import RunningGuest, askable, running_guests
from virtguard.policy import load
from virtguard.policy.guest_systems import guest_system
from virtguard.policy.installation import installed_below
from virtguard.policy.os_releases import known_systems

KNOWN = frozenset(known_systems().values)
POLICY = load.as_if_in_force(str(CHECKOUT / 'policy.yaml'), '2026-11-29')
FORGED = "<m:x xmlns:m='urn:m'><channel>%s</channel></m:x>"
TARGET = "<target type='virtio' name='org.qemu.guest_agent.0' state='%s'/>"
OTHER = "<channel type='unix'><target type='virtio' name='org.other.0' state='connected'/></channel>"


def status(agent='', state='running', timeout='-2', metadata=''):
    return (
        "<domstatus state='%s' pid='1'><agentTimeout>%s</agentTimeout><domain type='kvm'><uuid>u-1</uuid><metadata>%s"
        '</metadata><devices>%s%s</devices></domain></domstatus>'
    ) % (state, timeout, metadata, OTHER, "<channel type='unix'>%s</channel>" % (TARGET % agent) if agent else '')


# Who can be asked


@pytest.fixture
def host(tmp_path):
    installation = installed_below(str(tmp_path))
    os.makedirs(installation.run)
    os.makedirs(installation.domains)
    return installation


def put(host, name, text):
    with open('%s/%s.xml' % (host.run, name), 'w') as file:
        file.write(text)


def test_status_files_tell_who_can_be_asked(host):
    put(host, 'a', status('connected', timeout='7'))
    put(host, 'b', status('disconnected'))
    put(host, 'c', status())
    put(host, 'd', status('connected', state='paused'))
    put(host, 'e', status(metadata=FORGED % (TARGET % 'connected')))
    put(host, 'f', '<domstatus>' + TARGET)
    put(host, 'g', status('connected', state='pmsuspended'))
    found, unread = running_guests(host)
    assert [(guest.name, guest.agent) for guest in found] == [
        ('a', 'connected'),
        ('b', 'disconnected'),
        ('c', 'absent'),
        ('d', 'paused'),
        ('e', 'absent'),
        ('g', 'paused'),
    ]
    assert (found[0].uuid, found[0].patience, found[1].patience) == ('u-1', 7, -2)
    assert len(unread) == 1 and '/f.xml is not well-formed' in unread[0]
    assert askable(host) == '1 of 6 running domains can be asked which system really runs: virt-guard guests'


def test_where_nobody_can_be_asked_nothing_is_said(host):
    assert askable(host) == ''
    put(host, 'c', status())
    assert askable(host) == ''


# Asking


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


class Fake:
    """Stands for libvirt where it hangs or crashes, which a real one does not do at will."""

    def ask(self, guest, seconds):
        if guest.name == 'hangs':
            time.sleep(1000)
        if guest.name == 'crashes':
            crash()
        if guest.name == 'fails':
            raise GuardError('Guest agent is not responding')
        if guest.name == 'is a defect':
            raise KeyError('unexpected')
        return {'id': guest.name.encode(), 'name': b'\xff' * 512}


def ask(names, connect=Fake):
    guests = [RunningGuest(name, 'u', 'connected', -2) for name in names]
    return {guest.name: answer for guest, answer in asking.ask_guests(guests, 0, connect)}


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(asking, '_GRACE', 1.0)
    monkeypatch.setattr(asking, '_CONNECTING', 1.0)


def children():
    """The processes that this one has made, those among them that have ended and were not waited for."""
    return {pid for path in pathlib.Path('/proc/self/task').glob('*/children') for pid in path.read_text().split()}


def test_who_hangs_or_crashes_costs_no_other(short, monkeypatch):
    monkeypatch.setattr(asking, '_GRACE', 3.0)
    monkeypatch.setattr(asking, '_CONNECTING', 60.0)
    before = children()
    names = ['g%d' % number for number in range(50)]
    answers = ask(['hangs', 'crashes', 'fails', 'is a defect', *names])
    assert answers['hangs'] == 'libvirt did not come back within 3 seconds'
    assert answers['crashes'] == 'the process that asked libvirt has ended unexpectedly'
    assert answers['fails'] == 'Guest agent is not responding'
    assert answers['is a defect'].startswith('internal error: KeyError')
    assert all(answers[name] == {'id': name.encode(), 'name': b'\xff' * 512} for name in names)
    assert children() <= before  # none is left


def test_nothing_is_left_of_a_command_that_was_killed(short):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            ask(['hangs'])
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(0.5)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b''  # who inherited the other end has ended
    os.close(reader)


def refuses():
    raise GuardError('libvirt cannot be asked: no daemon', 'start it')


def test_no_connection(short):
    with pytest.raises(GuardError, match='no daemon') as refused:
        ask(['a', 'b'], refuses)
    assert refused.value.hint == 'start it'
    with pytest.raises(GuardError, match='no connection within 1 seconds'):
        ask(['a'], lambda: time.sleep(1000))
    with pytest.raises(GuardError, match='has ended unexpectedly'):
        ask(['a'], crash)
    assert ask([], crash) == {}


@pytest.mark.parametrize('value', ['0', '61', '-1', '1.5', 'x', '9' * 5000, '\u0663', ''])
def test_timeouts_that_are_none(value, capsys):
    if value == '\u0663':  # a digit of Arabic: a number all the same
        assert build_parser().parse_args(['guests', '--timeout', value]).timeout == 3
        return
    with pytest.raises(SystemExit):
        build_parser().parse_args(['guests', '--timeout', value])
    assert '--timeout' in capsys.readouterr().err


# What is concluded and told


def guest_of(tmp_path, release, declared='http://redhat.com/rhel/8.10', name='web07'):
    xml = clean_domain('web07').replace('http://redhat.com/rhel/8.10', declared)
    if not declared:
        xml = xml[: xml.index('  <metadata>')] + xml[xml.index('</metadata>') + 12 :]
    path = tmp_path / 'domain.xml'
    path.write_text(xml)
    guest = Guest(name, 'u-1', 'connected')
    guest.take({key: value.encode('utf-8', 'surrogateescape') for key, value in release.items()})
    guest.system = guest_system(guest.release, KNOWN)
    (guest.comparison,) = compare(POLICY, [str(path)], {str(path): guest.system.id})
    return guest


def shown(guest):
    return ''.join(as_text_lines(guest, False))


def test_rules_that_would_answer_differently(tmp_path):
    guest = guest_of(tmp_path, {'id': 'mswindows', 'version-id': '7', 'pretty-name': 'Windows 7 Pro'})
    assert shown(guest) == (
        'web07: metadata says http://redhat.com/rhel/8.10, but Windows 7 Pro (http://microsoft.com/win/7) runs\n'
        '  [guest-os-windows] would find: deny (nothing now)\n'
        '  to correct the metadata: virt-xml web07 --edit --osinfo win7\n'
    )
    told = json.loads(as_json(guest))
    assert told['contradiction'] is True
    assert told['rules'] == [{'rule': 'guest-os-windows', 'now': None, 'really': 'deny'}]
    assert summary([guest]) == '1 running domain: 1 answered; 1 contradiction\n'


def test_nobody_is_said_to_be_as_it_should_who_was_not_asked():
    assert summary([]) == 'no domain runs on this host\n'
    two = [Guest('a', 'u', 'paused'), Guest('b', 'u', 'absent')]
    assert summary(two) == '2 running domains: 0 answered, 1 without a guest agent, 1 paused\n'


@pytest.mark.parametrize('word', [[], ['a']])
def test_an_ordinary_user_is_told_to_be_root(host, monkeypatch, word):
    put(host, 'a', status('connected'))
    put(host, 'b', status('connected'))
    monkeypatch.setattr('virtguard.watch.state_files.is_only_ours', lambda status: False)
    with pytest.raises(GuardError, match='which domains run: .*/a.xml could be written by .*; and 1 more') as refused:
        arguments = build_parser().parse_args(['guests', '--policy', str(CHECKOUT / 'policy.yaml'), *word])
        guests.run(arguments, host)
    assert 'root' in refused.value.hint


def test_metadata_that_is_too_bad(tmp_path):
    guest = guest_of(tmp_path, {'id': 'mswindows', 'version-id': '11'}, 'http://microsoft.com/win/7')
    assert '  [guest-os-windows] would no longer find anything (deny now)\n' in shown(guest)


@pytest.mark.parametrize(
    'release, declared, contradicts',
    [
        ({'id': 'rhel', 'version-id': '8.6'}, 'http://redhat.com/rhel/8.10', False),
        ({'id': 'rhel', 'version-id': '8.6'}, 'rhel8.6', False),  # the short id
        ({'id': 'rhel', 'version-id': '9.4'}, 'http://redhat.com/rhel/8.10', True),
        ({'id': 'debian', 'version-id': '12'}, '', False),  # nothing is said, and nothing would be found
        ({'id': 'mswindows', 'version-id': 'xp'}, '', True),
        ({'id': 'mine', 'version-id': '1'}, 'http://redhat.com/rhel/8.10', False),
        ({}, 'http://redhat.com/rhel/8.10', False),
    ],
)
def test_what_is_a_contradiction(tmp_path, release, declared, contradicts):
    guest = guest_of(tmp_path, release, declared)
    assert guest.is_contradiction is contradicts
    assert guest.comparison.declared == declared.replace('rhel8.6', 'http://redhat.com/rhel/8.6')


def test_a_domain_that_is_called_like_the_uuid_of_another(host):
    uuid = '11111111-2222-4333-8444-555555555555'
    for name, system in ((uuid, 'http://redhat.com/rhel/8.10'), ('other', 'http://microsoft.com/win/7')):
        xml = clean_domain(name, uuid='  <uuid>%s</uuid>\n' % uuid).replace('http://redhat.com/rhel/8.10', system)
        with open('%s/%s.xml' % (host.domains, name), 'w') as file:
            file.write(xml)
    guest = Guest(uuid, 'u-1', 'connected', uuid + '.xml')
    guest.take({'id': b'rhel', 'version-id': b'8.10'})
    guests._compare(POLICY, [guest], host)
    assert (guest.comparison.declared, guest.error) == ('http://redhat.com/rhel/8.10', '')
    assert not guest.is_contradiction and shown(guest) == ''
    assert ''.join(as_text_lines(guest, True)).endswith('8.10) runs, and no rule would answer differently\n')


def test_what_osinfo_db_does_not_know_is_told(tmp_path):
    guest = guest_of(tmp_path, {'id': 'mine', 'name': 'Mine', 'version': '1'})
    assert shown(guest).endswith('osinfo-db does not know what runs: Mine 1\n')


def test_all_metadata_is_replaced(tmp_path):
    """Whatever else is in it: a second <metadata>, a second libosinfo."""
    libosinfo = "<o:libosinfo xmlns:o='http://libosinfo.org/xmlns/libvirt/domain/1.0'><o:os id='%s'/></o:libosinfo>"
    two = libosinfo % 'http://microsoft.com/win/7' + '</metadata><metadata>' + libosinfo % 'http://microsoft.com/win/8'
    path = tmp_path / 'domain.xml'
    path.write_text(clean_domain().replace('</metadata>', two + '</metadata>', 1))
    (comparison,) = compare(POLICY, [str(path)], {str(path): 'http://redhat.com/rhel/8.10'})
    assert comparison.declared == 'http://redhat.com/rhel/8.10'
    assert [(change.rule, change.really) for change in comparison.rules] == [('guest-os-windows', None)]


def test_a_definition_that_cannot_be_judged(tmp_path):
    path = tmp_path / 'domain.xml'
    path.write_text('<domain>')
    (comparison,) = compare(POLICY, [str(path)], {str(path): 'http://redhat.com/rhel/8.10'})
    assert 'not well-formed' in comparison.error


@pytest.mark.parametrize(
    'text',
    [
        '\x1b]0;owned\x07',
        'a\nforged: metadata says',
        '\u202egnp.exe',
        '\udcff\udcfe',
        'x' * 100000,
        '\0',
        '%s%n{0}',
        '   ',
    ],
)
def test_hostile_text_is_one_short_line(tmp_path, text):
    guest = guest_of(tmp_path, {'id': 'ubuntu', 'version-id': '22.04'}, name="no\x1b[2Jname'; rm -rf /")
    for key in ('id', 'name', 'pretty-name', 'version', 'version-id', 'variant-id'):
        guest.take({'id': b'ubuntu', 'version-id': b'22.04', key: text.encode('utf-8', 'surrogateescape')})
        guest.system = guest_system(guest.release, KNOWN)
        lines = shown(guest).split('\n')
        assert len(lines) <= 6 and all(line.isprintable() and len(line) < 600 for line in lines)
        assert lines[0].startswith("no\\x1b[2Jname'; rm -rf /: metadata says")
        assert as_json(guest).count('\n') == 1 and len(as_json(guest)) < 4000
        json.loads(as_json(guest))
