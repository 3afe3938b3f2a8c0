# SPDX-License-Identifier: Apache-2.0
"""What is told before waivers end, of the domains that a host has, and that it is told once."""

import os
import select

import pytest
from support import made
from support.records import EXPIRY_ID
from virtguard import model
from virtguard.policy.installation import installed_below
from virtguard.watch.auditor import Auditor
from virtguard.watch.reminders import NAME, Reminders, reminders_now

HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda probe, subject: None)
TODAY, END = '2027-03-24', '2027-03-31'
TPM = made.rule('/domain/devices/tpm', 'tpm')
SOUND = made.rule('/domain/devices/sound', 'sound')
DOMAIN = "<domain type='kvm'><name>%s</name><uuid>%s</uuid><devices>%s</devices></domain>"
UUIDS = {name: '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a%02x' % number for number, name in enumerate('abcdefgh')}


class Here:
    """A host with domains, and what it is reminded of."""

    def __init__(self, root):
        self.installation = installed_below(str(root))
        self.domains, self.run = root / 'etc/libvirt/qemu', root / 'run/libvirt/qemu'
        for directory in (self.domains, self.run):
            directory.mkdir(parents=True)
        self.state = root / 'state'
        self.state.mkdir()
        self.told, self.warned = [], []
        self.reminders = None
        self.restart()

    def restart(self):
        self.reminders = Reminders(self.installation, str(self.state), self.told.append, self.warned.append)

    def define(self, name, devices):
        (self.domains / (name + '.xml')).write_text(DOMAIN % (name, UUIDS[name], devices))

    def start(self, name, devices):
        path = self.run / (name + '.xml')
        path.write_text("<domstatus pid='4'>\n  %s</domstatus>" % DOMAIN % (name, UUIDS[name], devices))
        path.chmod(0o600)

    def look(self, *waivers, rules=(TPM, SOUND), today=TODAY, mode='enforce', audit_until=''):
        """What is told new by a policy with these waivers, each with its fields: name -> values."""
        before = len(self.told)
        policy = made.policy(*rules, waivers=waivers, mode=mode)
        policy.audit_until = audit_until
        self.reminders.look(Auditor(policy, HOST, today))
        while self.reminders.descriptors():
            select.select(self.reminders.descriptors(), [], [], 60)
            self.reminders.collect()
        return [fields_of(reminder) for reminder in self.told[before:]]


def fields_of(reminder):
    fields = {}
    for name, value in reminder.fields():
        fields.setdefault(name, []).append(value)
    return fields


@pytest.fixture
def here(tmp_path):
    here = Here(tmp_path)
    yield here
    here.reminders.close()


def waiver(rules=('tpm',), domains=('*',), expires=END, **fields):
    return made.waiver(rules, domains, expires, **fields)


def test_a_reminder_names_the_domains_that_would_be_refused(here):
    here.define('a', '<tpm/>')
    here.define('b', '<tpm/><sound/>')
    here.define('c', '')
    here.start('c', '<tpm/>')  # its next start takes the definition
    here.start('d', '<sound/>')
    (fields,) = here.look(waiver(('tpm', 'sound')), waiver(('sound',), ('b',)))
    assert fields['MESSAGE'] == [
        '2 waivers end in 7 days, on 2027-03-31; 3 domains on this host would be refused after that day: '
        "'a' (tpm), 'b' (tpm, sound), 'd' (sound)"
    ]
    assert (fields['MESSAGE_ID'], fields['PRIORITY']) == ([EXPIRY_ID], ['4'])
    assert (fields['VIRT_GUARD_DECISION'], fields['VIRT_GUARD_OPERATION']) == (['expiry'], ['watch'])
    assert fields['VIRT_GUARD_EXPIRES'] == [END]
    assert fields['VIRT_GUARD_DOMAIN'] == ['a', 'b', 'd']
    assert fields['VIRT_GUARD_UUID'] == [UUIDS['a'], UUIDS['b'], UUIDS['d']]
    assert fields['VIRT_GUARD_RULE'] == ['tpm', 'sound']
    assert fields['VIRT_GUARD_WARNING'][1] == "domain 'b' would be refused: tpm, sound"
    assert fields['VIRT_GUARD_WAIVER'][0].startswith('tpm approved by operations until 2027-03-31, 7 days left')
    assert len(fields['VIRT_GUARD_WAIVER']) == 3 and len(fields['VIRT_GUARD_EVENT'][0]) == 32


@pytest.mark.parametrize(
    'other',
    [
        waiver(expires='2027-08-01', domains=('a', 'b')),  # this one goes on
        waiver(domains=('b',)),  # it never spoke of `a`
        waiver(('sound',)),
    ],
)
def test_who_is_not_refused_for_it_is_not_named(here, other):
    here.define('a', '<tpm/>')
    ending = [other] if other.expires == END else [waiver(domains=('a',)), waiver(('sound',)), other]
    (fields,) = here.look(*ending)
    assert fields['MESSAGE'][0].endswith('; no domain on this host would be refused after that day')
    assert fields['PRIORITY'] == ['6'] and 'VIRT_GUARD_DOMAIN' not in fields


def test_in_mode_audit_nothing_is_refused(here):
    here.define('a', '<tpm/>')
    (fields,) = here.look(waiver(), mode='audit')
    assert fields['MESSAGE'][0].endswith(" refused in mode enforce after that day: 'a' (tpm)")


def test_when_mode_audit_ends_every_denial_counts(here):
    here.define('a', '<tpm/>')
    here.define('b', '<sound/>')
    here.define('c', '')
    lasting = waiver(('sound',), ('b',), expires='2027-08-01')
    (fields,) = here.look(lasting, mode='audit', audit_until=END)
    text = "mode audit ends in 7 days, on 2027-03-31; 1 domain on this host would be refused after that day: 'a' (tpm)"
    assert fields['MESSAGE'] == [text]
    assert fields['VIRT_GUARD_WARNING'] == ["domain 'a' would be refused: tpm"]
    assert 'VIRT_GUARD_WAIVER' not in fields
    (fields,) = here.look(lasting, waiver(('sound',)), mode='audit', audit_until=END)
    assert fields['MESSAGE'][0].startswith('1 waiver ends in 7 days')
    here.restart()
    (here.state / NAME).unlink()
    here.restart()
    (fields,) = here.look(waiver(('tpm',)), mode='audit', audit_until=END)
    assert fields['MESSAGE'][0].startswith('mode audit and 1 waiver end in 7 days, on 2027-03-31; 2 domains on')


def test_each_is_told_once_also_by_the_next_watch(here):
    days = (('2027-03-17', 14), ('2027-03-24', 7), ('2027-03-30', 1), ('2027-03-31', 0))
    whens = []
    for today, _ in days:
        for _ in range(2):
            whens += [fields['MESSAGE'][0].split(',')[0] for fields in here.look(waiver(), today=today)]
            here.restart()
    ends = '1 waiver ends '
    assert whens == [ends + 'in 14 days', ends + 'in 7 days', ends + 'tomorrow', ends + 'today']
    assert here.warned == []
    assert (here.state / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    'damage', ['', 'virt-guard told expiries 1 00000000\n["x"]', 'virt-guard told expiries 2 0\n[]']
)
def test_where_what_was_told_is_lost_it_is_told_again(here, damage):
    assert here.look(waiver())
    (here.state / NAME).write_text(damage)
    here.restart()
    assert here.look(waiver()) and 'is left out' in here.warned[0]
    (here.state / NAME).unlink()
    (here.state / NAME).mkdir()
    here.restart()
    assert here.look(waiver()) and 'may be told again' in here.warned[-1]


def test_what_cannot_be_judged_is_said(here):
    here.define('a', '<tpm/>')
    here.define('b', '<tpm/>')
    (here.domains / 'c.xml').write_text('<domain')
    os.mkfifo(str(here.domains / 'd.xml'))
    (here.domains / 'networks').mkdir()
    (fields,) = here.look(waiver())
    assert fields['MESSAGE'][0].endswith(": 'a' (tpm), 'b' (tpm); 1 domain could not be judged")
    assert fields['VIRT_GUARD_WARNING'][2].startswith("domain 'c' could not be judged: the XML is not well-formed")


def test_a_domain_that_takes_long_does_not_keep_the_others_from_being_named(here):
    here.define('a', '<tpm/>')
    here.define('b', '<x/>' * 40000)
    for_each_all = made.rule('/domain/devices/x[count(//x) < 5]', 'for-each-all')  # 1.6e9 steps there
    (fields,) = here.look(waiver(), rules=(TPM, for_each_all))
    assert fields['VIRT_GUARD_DOMAIN'] == ['a']
    assert fields['VIRT_GUARD_WARNING'][1].startswith("domain 'b' could not be judged: ")


def test_where_nothing_can_be_found_out_the_end_is_told_all_the_same(here):
    here.domains.rmdir()
    here.domains.symlink_to('qemu')  # a circle
    (fields,) = here.look(waiver())
    assert '; which domains would be refused after that day is not known: cannot list ' in fields['MESSAGE'][0]
    assert fields['PRIORITY'] == ['4']
    assert here.look(waiver()) == []


def test_many_domains_and_waivers_fit_into_a_record(here):
    for number in range(100):
        name = '%s%03d' % ('ä' * 80, number)
        (here.domains / (name + '.xml')).write_text(DOMAIN % (name, UUIDS['a'], '<tpm/>'))
    waivers = [made.waiver(('tpm',), (str(n), '*'), END) for n in range(200)]
    (fields,) = here.look(*waivers)
    assert fields['MESSAGE'][0].startswith('200 waivers end in 7 days') and fields['MESSAGE'][0].endswith('and 92 more')
    assert fields['VIRT_GUARD_WARNING'][-1] == 'and 68 more' and fields['VIRT_GUARD_WAIVER'][-1] == 'and 168 more'
    assert sum(len(value.encode()) for values in fields.values() for value in values) < 200000


def test_what_is_upcoming_is_said_on_any_day(here):
    here.define('a', '<tpm/>')
    policy = made.policy(TPM, waivers=[waiver(), waiver(('sound',)), waiver(('sound',), expires='2028-01-01')])
    texts = [str(reminder) for reminder in reminders_now(here.installation, Auditor(policy, HOST, '2027-03-22'))]
    assert [text.split(';')[0] for text in texts] == [
        '1 waiver ends in 9 days, on 2027-03-31',
    ]
    assert "'a' (tpm)" in texts[0]
