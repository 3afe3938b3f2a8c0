# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy diff`, and the days of `--date`: which verdicts change, why, and where that is written."""

import datetime
import json
import re

import pytest
from installation import CHECKOUT, CLEAN, DENIED

RULE = """\
  - id: %s
    title: %s
    action: %s
    match: %s
    why: w
    remedy: r
"""
OLD = 'policy: old\nrules:\n' + RULE % ('tpm', 'a TPM', 'deny', '/domain/devices/tpm/backend')
TPM = '<backend type="passthrough">'


def day(offset):
    return str(datetime.date.today() + datetime.timedelta(offset))


def waiver(expires, domains='guest'):
    return 'waivers:\n  - {rules: [tpm], domains: [%s], reason: r, approved-by: ops, expires: %s}\n' % (
        domains,
        expires,
    )


@pytest.fixture
def diff(installed, tmp_path, monkeypatch):
    """A function that compares two texts, or one of them on a later day; tmp_path has the domain `d.xml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'd.xml').write_bytes(DENIED)

    def run(old, new, *options, documents=('d.xml',)):
        (tmp_path / 'old.yaml').write_text(old)
        (tmp_path / 'new.yaml').write_text(new)
        result = installed.run_cli('policy', 'diff', *options, 'old.yaml', 'new.yaml', *documents)
        return result.returncode, result.stdout.decode().splitlines(), result.stderr.decode().splitlines()

    return run


def test_what_is_the_same_is_not_told(diff):
    assert diff(OLD, OLD.replace('why: w', 'why: v')) == (0, ['1 domain: 0 changed'], [])


def test_many_changes_of_one_rule(diff, tmp_path):
    sounds = '<devices>' + '<sound/>' * 1500
    (tmp_path / 'd.xml').write_bytes(DENIED.replace(b'<devices>', sounds.encode()))
    new = OLD + RULE % ('sound', 'a sound card', 'deny', '/domain/devices/sound')
    status, lines, errors = diff(OLD, new)
    assert (status, len(lines), errors) == (1, 35, [])
    assert lines[-2] == 'd.xml: none -> deny [sound] and 1484 more'
    status, lines, errors = diff(OLD, new, '--format', 'jsonl')
    (change,) = [json.loads(line) for line in lines]
    assert (len(change['changes']), change['more']) == (16, {'sound': 1484})


def test_among_many_findings_only_those_that_differ_are_changes(diff, tmp_path):
    sounds = '<devices>' + '<sound/>' * 30
    (tmp_path / 'd.xml').write_bytes(DENIED.replace(b'<devices>', sounds.encode()))
    old = OLD + RULE % ('sound', 'a sound card', 'deny', '/domain/devices/sound')
    _, lines, _ = diff(old, old.replace('devices/sound', 'devices/sound[position() > 3]'))
    assert sum('deny -> none [sound]' in line for line in lines) == 3
    assert not any('more' in line for line in lines)


@pytest.mark.parametrize(
    'new, outcome, change, cause',
    [
        (OLD.replace('deny', 'warn'), 'deny -> admit', 'deny -> warn', 'action: old.yaml:5 -> new.yaml:5'),
        (OLD.replace('deny', '"off"'), 'deny -> admit', 'deny -> none', 'action: old.yaml:5 -> new.yaml:5'),
        (OLD.replace('/backend', '/x'), 'deny -> admit', 'deny -> none', 'match: old.yaml:6 -> new.yaml:6'),
        (OLD + '    values: [x]\n', 'deny -> admit', 'deny -> none', 'values: none -> new.yaml:9'),
        (OLD + '    host: {arch: m68k}\n', 'deny -> admit', 'deny -> none', 'host: none -> new.yaml:9'),
        (OLD + '    probe: infiniband-vf\n', 'deny -> admit', 'deny -> unknown', 'probe: none -> new.yaml:9'),
        (OLD.replace('id: tpm', 'id: tpms'), 'deny', 'deny -> none', 'rule: old.yaml:3 -> none'),
        (OLD + waiver(day(9)), 'deny -> admit', 'deny -> waived', 'waiver: none -> new.yaml:10'),
    ],
    ids=['warn', 'off', 'match', 'values', 'host', 'probe', 'rule', 'waiver'],
)
def test_what_changes_and_why(diff, new, outcome, change, cause):
    status, lines, errors = diff(OLD, new)
    assert (status, errors) == (1, [])
    assert lines[0] == "d.xml: %s 'guest'" % outcome
    assert lines[1].startswith('d.xml:16: %s [tpm] ' % change)
    assert lines[2] == '    ' + cause
    assert lines[-1] == '1 domain: 1 changed' + (', 1 no longer denied' if outcome != 'deny' else '')
    # And the other way round.
    status, lines, _ = diff(new, OLD)
    assert status == 1
    assert lines[0] == "d.xml: %s 'guest'" % ' -> '.join(reversed(outcome.split(' -> ')))
    assert [
        line for line in lines if line.startswith('d.xml:16: %s [tpm] ' % ' -> '.join(reversed(change.split(' -> '))))
    ]
    assert '    ' + swapped(cause) in lines


def swapped(cause):
    what, places = cause.split(': ', 1)
    text = '%s: %s' % (what, ' -> '.join(reversed(places.split(' -> '))))
    return re.sub('old|new', lambda found: {'old': 'new', 'new': 'old'}[found.group()], text)


def test_a_rule_that_is_new(diff):
    rule = RULE % ('kvm', 'KVM', 'warn', '"/domain[@type = \'kvm\']"')
    assert diff(OLD, OLD + rule)[1] == [
        "d.xml: deny 'guest'",
        'd.xml:1: none -> warn [kvm] KVM: <domain type="kvm">',
        '    rule: none -> new.yaml:9',
        '1 domain: 1 changed',
    ]


def test_the_mode(diff):
    assert diff(OLD, 'mode: audit\n' + OLD)[1] == [
        "d.xml: deny -> would-deny 'guest'",
        '    mode: default -> new.yaml:1',
        '1 domain: 1 changed, 1 no longer denied',
    ]


def test_drop_ins_belong_to_a_policy(diff, tmp_path):
    (tmp_path / 'new.d').mkdir()
    (tmp_path / 'new.d' / '10-site.yaml').write_text('rules: [{id: tpm, action: warn}]\n')
    status, lines, _ = diff(OLD, OLD)
    assert status == 1
    assert lines[2] == '    action: old.yaml:5 -> new.d/10-site.yaml:1'


def test_what_the_passing_of_time_changes(diff):
    policy = OLD + waiver(day(5))
    assert diff(policy, policy, '--date', day(5))[0] == 0
    status, lines, _ = diff(policy, policy, '--date', day(6))
    assert status == 1
    assert lines == [
        "d.xml: admit -> deny 'guest'",
        'd.xml:16: waived -> deny [tpm] a TPM (its waiver by ops expired on %s): %s' % (day(5), TPM),
        '    waiver: old.yaml:10 -> new.yaml:10',
        '1 domain: 1 changed, 1 denied',
    ]


def test_json_lines(diff):
    status, lines, _ = diff(OLD, OLD.replace('deny', 'warn'), '--format', 'jsonl')
    (line,) = lines
    assert status == 1
    assert json.loads(line) == {
        'source': 'd.xml',
        'domain': 'guest',
        'uuid': '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10',
        'old': 'deny',
        'new': 'admit',
        'causes': [],
        'changes': [
            {
                'rule': 'tpm',
                'old': 'deny',
                'new': 'warn',
                'path': '/domain/devices/tpm/backend',
                'line': 16,
                'evidence': TPM,
                'message': 'a TPM',
                'causes': [{'what': 'action', 'old': 'old.yaml:5', 'new': 'new.yaml:5'}],
            }
        ],
    }


def test_what_cannot_be_judged(diff, tmp_path):
    (tmp_path / 'broken.xml').write_text('<domain>')
    status, lines, errors = diff(OLD, OLD.replace('deny', 'warn'), documents=('broken.xml', 'd.xml'))
    assert status == 2
    assert lines[0] == "d.xml: deny -> admit 'guest'"  # the other one is judged all the same
    assert errors[0].startswith('broken.xml:1: error: the XML is not well-formed')
    (told,) = diff(OLD, OLD, documents=('nowhere.xml',))[2]
    assert told.startswith('nowhere.xml: error: there is neither a file nor a domain of this host with this name (')


def test_other_documents_of_a_directory_are_skipped(diff, tmp_path):
    (tmp_path / 'all').mkdir()
    (tmp_path / 'all' / 'network.xml').write_text('<network/>')
    status, _, errors = diff(OLD, OLD, documents=('all',))
    assert status == 2
    assert errors == [
        'all/network.xml: skipped: the document is <network>, not <domain>',
        'virt-guard: there is no domain in the files given',
    ]


def test_the_problems_of_both_policies(diff):
    status, lines, errors = diff('policy: a\nrules: 1\n', 'policy: b\nmode: x\nrules: 1\n')
    assert (status, lines) == (2, [])
    assert [error.split(' ')[0] for error in errors] == ['old.yaml:2:8:', 'new.yaml:2:7:', 'new.yaml:3:8:']


def test_the_domains_of_the_host(installed, diff):
    directory = installed.root / 'etc/libvirt/qemu'
    directory.mkdir()
    try:
        (directory / 'guest.xml').write_bytes(DENIED)
        (directory / 'clean.xml').write_bytes(CLEAN)
        status, lines, _ = diff(OLD, OLD.replace('deny', 'warn'), documents=())
        assert status == 1
        assert (lines[0], lines[-1]) == (
            "%s/guest.xml: deny -> admit 'guest'" % directory,
            '2 domains: 1 changed, 1 no longer denied',
        )
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
    assert diff(OLD, OLD, documents=()) == (0, ['0 domains: 0 changed'], [])


def test_the_shipped_policy_against_one_without_its_rules(installed, diff):
    """On many documents: each finding is told, and the reason of each."""
    shipped = (CHECKOUT / 'data/profiles/rhel-8.yaml').read_text()
    cases = str(CHECKOUT / 'tests/cases')
    facts = ('--facts', 'facts.yaml')
    with open('facts.yaml', 'w') as file:
        file.write('{arch: x86_64, container: none}\n')
    check = ['check', '--policy', 'old.yaml', *facts, '--format', 'jsonl', cases]
    status, lines, _ = diff(shipped, OLD, *facts, documents=(cases,))
    found = [json.loads(line) for line in installed.run_cli(*check).stdout.splitlines()]
    expected = [finding for item in found for finding in item['findings']]
    gone = [line for line in lines if ' -> none [' in line]
    assert status == 1
    assert len(gone) == len(expected) > 300
    assert len([line for line in lines if line.startswith('    rule: old.yaml:') and line.endswith(' -> none')]) == len(
        gone
    )


@pytest.mark.parametrize('command', [['check', 'd.xml'], ['scan'], ['policy', 'diff', 'old.yaml', 'new.yaml']])
@pytest.mark.parametrize('text', ['tomorrow', '2026-02-30', '26-1-1', '2026-13-01', '', '2026-01-01x', '٢٠٢٦-01-01'])
def test_a_date_must_be_a_day(installed, command, text):
    result = installed.run_cli(*command, '--date', text)
    assert result.returncode == 2
    (line,) = result.stderr.decode('utf-8').splitlines()
    assert ' is not a day of the calendar; write it like 2027-01-31 ' in line


def test_check_and_scan_judge_as_on_a_day(installed, tmp_path):
    path = tmp_path / 'policy.yaml'
    path.write_text(OLD + waiver(day(5)))
    directory = installed.root / 'etc/libvirt/qemu'
    directory.mkdir()
    try:
        (directory / 'guest.xml').write_bytes(DENIED)
        for command in (['check', str(directory)], ['scan']):
            for offset, status in ((0, 0), (5, 0), (6, 1)):
                command += ['--policy', str(path), '--date', day(offset)]
                assert installed.run_cli(*command).returncode == status
        assert installed.run_cli('check', '--policy', str(path), '--date', '9999-12-31', str(directory)).returncode == 1
    finally:
        (directory / 'guest.xml').unlink()
        directory.rmdir()


def test_a_file_behind_an_option_is_not_passed_over(installed):
    """Refused with a reason by most versions of argparse, and taken for what it is by those from 2024 on."""
    result = installed.run_cli('policy', 'diff', 'rhel-8', 'rhel-9', '--date', day(1), '/no/c.xml')
    assert result.returncode == 2
    refused = b'unrecognized arguments: /no/c.xml; put options before files' in result.stderr
    assert refused or result.stderr.startswith(b'/no/c.xml: error: ')
