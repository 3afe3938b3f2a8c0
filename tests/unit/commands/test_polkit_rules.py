# SPDX-License-Identifier: Apache-2.0
"""The rules for polkit: what follows from a policy, asked of the engine that polkit runs them in."""

import fnmatch
import random
import re

import pytest
from support import made
from support.duktape import Rules
from virtguard import model
from virtguard.commands.polkit import asking
from virtguard.commands.polkit.daemon import parse_settings
from virtguard.commands.polkit.name_pattern import parts_of
from virtguard.commands.polkit.permissions import Denials
from virtguard.commands.polkit.rules_file import command_line, rules_file

TODAY = '2027-01-31'
COMMAND = command_line('a\nb', ['migrate'], ['c d'], False)
DOMAIN = 'org.libvirt.api.domain.'
SNAPSHOT = DOMAIN + 'snapshot'
OTHER = '11111111-8a4e-4c0b-9a57-2d1f6b0c7e11'
RULES = [
    made.rule(id=id, at=model.RUNTIME)
    for id in ('live-snapshot', 'incremental-backup', 'guest-suspended', 'storage-live-migration', 'block-copy')
]
# As a domain's owner may call it, and more than libvirt would let pass.
HOSTILE = [
    '"; polkit.Result.NO = polkit.Result.YES; //',
    "'\\",
    '*/ // \\u0022',
    '</script>',
    '\N{LINE SEPARATOR}x',
    '\N{GRINNING FACE}',
    'x\N{GRINNING FACE}y',
    'caf\u00e9\u3042',
    '\x7f\x9b',
    'constructor',
    '__proto__',
    'undefined',
]


def loaded(rules=RULES, waivers=(), also=(), groups=('libvirt',), host=None, day=TODAY, **policy):
    policy = made.policy(*rules, waivers=waivers, **policy)
    facts = host or model.HostFacts('x86_64', '', 'rhel-8.10', lambda name, value: None)
    return Rules(rules_file(policy, Denials(policy, facts, also), groups, TODAY, COMMAND), day)


def details(name='web07', uuid=made.UUID, driver='QEMU'):
    return {'connect_driver': driver, 'domain_name': name, 'domain_uuid': uuid}


def denied(rules):
    actions = ('snapshot', 'checkpoint', 'pm-control', 'migrate', 'block-write', 'write', 'start', 'save')
    return [action for action in actions if rules.answer(DOMAIN + action, details()) == 'no']


def test_what_is_denied_follows_from_the_rules_in_force():
    assert denied(loaded()) == ['snapshot', 'checkpoint', 'pm-control']
    assert denied(loaded(also=['migrate', 'block-write'])) == [
        'snapshot',
        'checkpoint',
        'pm-control',
        'migrate',
        'block-write',
    ]
    warns = made.rule(id='live-snapshot', at=model.RUNTIME, action=model.WARN)
    off = made.rule(id='guest-suspended', at=model.RUNTIME, action='off')
    assert denied(loaded([warns, off, RULES[1]])) == ['checkpoint']
    assert denied(loaded([])) == []
    internal = made.rule(id='internal-snapshot', at=model.RUNTIME)
    assert denied(loaded([internal])) == []
    assert denied(loaded([internal], also=['snapshot'])) == ['snapshot']


@pytest.mark.parametrize('os, expected', [('rhel-9.2', ['snapshot']), ('rhel-9.4', []), (None, [])])
def test_rules_that_hold_on_some_hosts_only(os, expected):
    condition = model.HostCondition('os', (), False, ('rhel', (9, 0), (9, 4)))
    facts = model.HostFacts('x86_64', '', os, lambda name, value: None)
    rule = made.rule(id='live-snapshot', at=model.RUNTIME, host=(condition,))
    policy = made.policy(rule)
    denials = Denials(policy, facts, [])
    assert [rule.id for rule in denials.unknown] == ([] if os else ['live-snapshot'])
    assert denied(loaded([rule], host=facts)) == expected


def test_who_may_do_the_rest():
    rules = loaded()
    start = DOMAIN + 'start'
    assert rules.answer(start, details()) == 'yes'
    assert rules.answer('org.libvirt.api.network.start', {'connect_driver': 'bridge'}) == 'yes'
    assert rules.answer(start, details(), groups=['users']) == 'not handled'
    assert rules.answer(start, details(), user='libvirtdbus', groups=[]) == 'yes'
    assert rules.answer(SNAPSHOT, details(), user='libvirtdbus', groups=[]) == 'no'
    assert rules.answer('org.freedesktop.login1.reboot', {}) == 'not handled'
    assert rules.answer(SNAPSHOT, details(driver='LXC')) == 'yes'
    alone = loaded(groups=())
    assert alone.answer(start, details(), user='libvirtdbus') == 'not handled'
    assert alone.answer(SNAPSHOT, details()) == 'no'
    assert loaded(groups=['a"b', 'wheel']).answer(start, details(), groups=['a"b']) == 'yes'


def test_mode_audit_denies_nothing_until_its_last_day():
    assert denied(loaded(mode='audit')) == []
    policy = made.policy(*RULES, mode='audit')
    policy.audit_until = TODAY
    text = rules_file(
        policy, Denials(policy, model.HostFacts(None, None, None, lambda *_: None), ()), ['g'], TODAY, COMMAND
    )
    assert denied(Rules(text, TODAY)) == []
    assert denied(Rules(text, '2027-02-01')) == ['snapshot', 'checkpoint', 'pm-control']


def test_waivers_end_without_a_new_file():
    waivers = [
        made.waiver(('live-snapshot', 'guest-suspended'), ('web07', OTHER), expires='2027-01-31'),
        made.waiver(('live-snapshot',), ('old',), expires='2027-01-30'),
        made.waiver(('live-snapshot',), ('far',), expires='2099-01-01'),
        made.waiver(('live-snapshot',), ((OTHER, 'both-*'),)),
    ]
    rules = loaded(waivers=waivers)
    assert denied(rules) == ['checkpoint']
    assert rules.answer(SNAPSHOT, details(name='another', uuid=OTHER.upper())) == 'yes'
    assert rules.answer(SNAPSHOT, details(), groups=['users']) == 'not handled'
    for name in ('another', 'old', 'far', 'web071', 'both-1'):
        assert rules.answer(SNAPSHOT, details(name=name)) == 'no'
    assert rules.answer(SNAPSHOT, {'connect_driver': 'QEMU'}) == 'no'
    later = loaded(waivers=waivers, day='2027-02-01')
    assert denied(later) == ['snapshot', 'checkpoint', 'pm-control']
    fixed = [made.rule(id='live-snapshot', at=model.RUNTIME, waivable=False)]
    assert denied(loaded(fixed, waivers=waivers)) == ['snapshot']


def test_a_permission_that_two_rules_deny_needs_both_waived():
    both = [made.rule(id=id, at=model.RUNTIME) for id in ('storage-live-migration', 'multifd-migration')]
    one = made.waiver(('storage-live-migration',), ('web07',))
    assert denied(loaded(both, [one], also=['migrate'])) == ['migrate']
    assert denied(loaded(both, [one, made.waiver(('multifd-migration',), ('web*',))], also=['migrate'])) == []


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_names_are_only_names(name):
    literal = name.replace('*', '[*]')
    rules = loaded(waivers=[made.waiver(('live-snapshot',), (literal,))], name=name)
    assert rules.answer(SNAPSHOT, details(name)) == 'yes'
    assert rules.answer(SNAPSHOT, details(name + 'x')) == 'no'
    assert rules.answer(SNAPSHOT, details()) == 'no'
    assert denied(loaded()) == ['snapshot', 'checkpoint', 'pm-control']


def test_globs_are_read_as_the_guard_reads_them():
    chance = random.Random(7)
    letters = 'ab-]![*?^\\'
    for _ in range(150):
        glob = ''.join(chance.choice(letters) for _ in range(chance.randrange(1, 8)))
        rules = loaded(waivers=[made.waiver(('live-snapshot',), (glob,))])
        for _ in range(20):
            name = ''.join(chance.choice('ab-][!*^\\\N{GRINNING FACE}') for _ in range(chance.randrange(1, 6)))
            try:
                expected = 'yes' if fnmatch.fnmatchcase(name, glob) else 'no'
            except re.error:  # of old Pythons, on ranges that are the wrong way round
                continue
            assert rules.answer(SNAPSHOT, details(name)) == expected, (glob, name)
        rules.close()


def test_a_glob_is_taken_apart():
    assert parts_of('build-**?[!a-c-]x[') == ['build-', None, (True, []), (True, [(97, 99), (45, 45)]), 'x[']


def test_the_reason_is_logged_on_one_line():
    rules = loaded()
    rules.answer(SNAPSHOT, details('a"b\nc'), user='op')
    said = 'virt-guard: denied %s of domain "a\\"b\\nc" (%s) to user "op" by live-snapshot' % (SNAPSHOT, made.UUID)
    assert rules.said() == [said]


def test_the_command_that_printed_it_is_one_line():
    assert COMMAND == "virt-guard polkit print --policy 'a\\nb' --also migrate --group 'c d'"
    assert command_line(None, [], [], True) == 'virt-guard polkit print --deny-only'


def test_settings_of_a_daemon():
    text = """
# access_drivers = [ "polkit" ]
unix_sock_group = "virt # users"  # "no"
access_drivers = [
  # "none",
  "polkit",
]
auth_unix_rw='none'
max_clients = 5000
"""
    assert parse_settings(text) == {
        'unix_sock_group': ['virt # users'],
        'access_drivers': ['polkit'],
        'auth_unix_rw': ['none'],
        'max_clients': ['5000'],
    }


@pytest.mark.parametrize(
    'version, note', [('0.105', 'polkit is 0.105 here, and '), ('0.115', ''), ('122', ''), ('', '')]
)
def test_a_polkit_that_would_not_read_the_rules(tmp_path, monkeypatch, version, note):
    program = tmp_path / 'pkcheck'
    program.write_text('#!/bin/sh\necho "pkcheck version %s"\n' % version)
    program.chmod(0o755)
    monkeypatch.setattr(asking, '_PKCHECK', str(program))
    assert asking.note_on_polkit().startswith(note) and bool(asking.note_on_polkit()) == bool(note)
