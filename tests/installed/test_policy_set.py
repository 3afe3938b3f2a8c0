# SPDX-License-Identifier: Apache-2.0
"""virt-guard policy set: what the hook answers then, what the record says, and when mode audit ends."""

import datetime

import pytest
from installation import DENIED, newly_installed
from support.records import POLICY_CHANGED_ID

TODAY = datetime.date.today()


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    installed = newly_installed(tmp_path_factory.mktemp('host'))
    installed.write_policy()
    (installed.root / 'etc/libvirt/qemu').mkdir(parents=True)
    (installed.root / 'etc/libvirt/qemu/guest.xml').write_bytes(DENIED)
    return installed


@pytest.fixture
def settings(host):
    """The drop-in that the command writes; each test begins without one."""
    path = host.root / 'etc/virt-guard/policy.d/70-settings.yaml'
    if path.exists():
        path.unlink()
    return path


def set_(host, *arguments, status=0):
    result = host.run_cli('policy', 'set', *arguments)
    assert result.returncode == status, result.stdout + result.stderr
    return (result.stdout if status == 0 else result.stderr).decode('utf-8')


def starts(host):
    result = host.run_hook('guest', 'prepare', DENIED)
    assert result.returncode in (0, 1), result.stderr
    return result.returncode == 0


def test_mode_audit_ends_by_itself(host, settings, journal):
    before = host.policy.read_bytes()
    said = set_(host, '--until', 'today', 'mode', 'audit')
    assert 'mode: {audit-until: %s}\n' % TODAY in said and '1 domain: 1 no longer refused\n' in said
    assert host.policy.read_bytes() == before, 'an upgrade would ask about it'
    (change,) = journal.records()
    assert (change['MESSAGE_ID'], change['VIRT_GUARD_FILE']) == ([POLICY_CHANGED_ID], [str(settings)])
    assert starts(host)
    (record,) = journal.records()
    assert record['VIRT_GUARD_MODE'] == ['audit'] and record['VIRT_GUARD_AUDIT_UNTIL'] == [str(TODAY)]
    assert '(audit mode until %s)' % TODAY in record['MESSAGE'][0] and 'VIRT_GUARD_WARNING' not in record
    assert 'mode audit until %s' % TODAY in host.run_cli('policy', 'check').stdout.decode('utf-8')
    settings.write_text(settings.read_text().replace(str(TODAY), str(TODAY - datetime.timedelta(1))))
    assert not starts(host)
    (record,) = journal.records()
    assert record['VIRT_GUARD_MODE'] == ['enforce'] and 'VIRT_GUARD_AUDIT_UNTIL' not in record
    assert 'mode audit ended on ' in host.run_cli('policy', 'check').stdout.decode('utf-8')
    set_(host, 'mode', 'audit')
    said = set_(host, 'mode', 'default')
    assert 'These domains would be refused at their next start:' in said and not starts(host)


def test_each_setting(host, settings):
    for arguments in (['failure', 'admit'], ['deadline', '3.5'], ['audit', 'required'], ['audit', 'optional']):
        set_(host, *arguments)
    assert settings.read_text().splitlines()[1:] == ['failure: admit', 'deadline: 3.5', 'audit: {required: false}']
    assert 'unchanged' in set_(host, 'failure', 'admit')
    assert 'note: ' not in set_(host, 'mode', 'audit')
    set_(host, 'failure', 'default')
    assert 'note: failure deny still refuses' in set_(host, '--until', '+1d', 'mode', 'audit')
    for key in ('failure', 'deadline', 'audit', 'mode'):
        set_(host, key, 'default')
    assert settings.read_text().splitlines()[1:] == []


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['mode', 'adit'], "mode is 'adit' (did you mean 'audit'?)"),
        (['failure', 'block'], "failure is 'block' (known are: deny, admit, default)"),
        (['deadline', '61'], 'a number of seconds between 1 and 60'),
        (['deadline', 'nan'], 'a number of seconds between 1 and 60'),
        (['moode', 'audit'], "did you mean 'mode'?"),
        (['--until', 'today', 'mode', 'enforce'], '--until is for mode audit'),
        (['--until', '2020-01-01', 'mode', 'audit'], '2020-01-01 is over'),
        (['--until', 'soon', 'mode', 'audit'], 'is not a day of the calendar'),
    ],
)
def test_refusals_change_nothing(host, settings, arguments, said):
    assert said in set_(host, *arguments, status=2)
    assert not settings.exists()


def test_a_file_that_counts_later_is_named(host, settings):
    later = settings.parent / '90-site.yaml'
    later.write_text('deadline: 3\n\nmode: enforce\n')
    try:
        assert '%s:3 sets mode, too, and counts later' % later in set_(host, 'mode', 'audit', status=2)
        set_(host, 'failure', 'admit')
    finally:
        later.unlink()
    assert settings.read_text().endswith('\nfailure: admit\n')
