# SPDX-License-Identifier: Apache-2.0
"""virt-guard in the life of a Debian host: AppArmor enforces, systemd is PID 1, libvirtd is confined.

Each fixture is one stage of that life, made once, after the stages before it; it only acts and observes, so that a test
that fails hides no other. Under each stage stand the tests of what was observed.
"""

import os
import types

import pytest
from debian_host import DROP_IN, MAIN_HOOK, OLD_PROGRAM, PROGRAM, SECOND_HOOK, WATCH
from support.records import ADMITTED_ID, DENIED_ID, HAPPENED_ID

pytestmark = pytest.mark.host

FIRST_LINE = "virt-guard: domain 'bad' denied by policy 'rhel-8': guest-suspend\n"
# Notes each call.
FOREIGN_HOOK = '#!/bin/sh\necho "$1 $2" >>/run/foreign-calls\ncat >/dev/null\n'


def observed(**values):
    return types.SimpleNamespace(**values)


def assert_refused(result, hook=MAIN_HOOK):
    """The person who starts a domain reads our reason."""
    assert result.returncode == 1
    assert 'Hook script execution failed' in result.stderr
    assert '%s bad prepare begin -) unexpected exit status 1: %s' % (hook, FIRST_LINE) in result.stderr
    assert '; remedy: ' in result.stderr
    assert '\n  more: virt-guard explain guest-suspend' in result.stderr


def decisions(records):
    """What records tell of: domain, decision, operation."""
    fields = ('VIRT_GUARD_DOMAIN', 'VIRT_GUARD_DECISION', 'VIRT_GUARD_OPERATION')
    return sorted(tuple(record[field] for field in fields) for record in records)


ONE_EACH = [('bad', 'deny', 'prepare'), ('clean', 'admit', 'start')]

# A host without a guard


def test_libvirtd_is_confined(host):
    """What makes the rest worth its time."""
    assert host.run('cat /proc/$(pidof libvirtd)/attr/current').stdout == 'libvirtd (enforce)\n'


def test_domain_runs_before_any_guard(host):
    assert host.running() == {'running'}


# The old version: the fault that these tests are there to find


@pytest.fixture(scope='module')
def old(host):
    process = host.processes()['running']
    with host.provoking():
        since = host.now()
        installed = host.install_old()
        if installed is None:
            return None
        return observed(
            process=process,
            installed=installed,
            links=host.links(),
            started=host.try_start('clean'),
            refusals=host.refusals(since),
            processes=host.processes(),
        )


def test_old_link_breaks_every_start(old):
    if old is None:
        reason = 'the history of this checkout does not have the version with the old link'
        assert not os.environ.get('CI'), reason
        pytest.skip(reason)
    assert old.installed.returncode == 0, old.installed.stdout
    assert old.links == {MAIN_HOOK: OLD_PROGRAM}
    assert old.started.returncode == 1
    assert 'unexpected exit status 126' in old.started.stderr
    assert any('profile="libvirtd" name="%s"' % OLD_PROGRAM in line for line in old.refusals), old.refusals
    assert old.processes == {'running': old.process}


# An administrator's profile forbids the program: nothing changes, whatever was there


@pytest.fixture(scope='module')
def forbidden(host, old):
    with host.provoking():
        host.forbid()
        before = host.listing()
        installed = host.install()
        after = host.listing()
        host.allow()
    return observed(installed=installed, before=before, after=after)


def assert_stopped(installed):
    assert installed.returncode == 1, installed.stdout
    last = installed.stdout.strip().splitlines()
    assert any(line.startswith('install.sh: ') for line in last)
    assert 'AppArmor' in installed.stdout
    assert 'libvirtd' in installed.stdout
    assert PROGRAM in installed.stdout


def test_install_stops_where_the_profile_forbids_the_program(forbidden):
    assert_stopped(forbidden.installed)


def test_stopped_install_leaves_everything_as_it_was(forbidden):
    # Written before the proof, where new directories were made, and put back as it was: times, but not the inode.
    noted = '/usr/lib/virt-guard/created-directories'
    assert forbidden.after.pop(noted).split()[4:] == forbidden.before.pop(noted).split()[4:]
    assert forbidden.after == forbidden.before


# The upgrade, beside a running domain


@pytest.fixture(scope='module')
def upgraded(host, forbidden):
    before = host.processes()
    installed = host.install()
    return observed(
        installed=installed,
        before=before,
        after=host.processes(),
        links=host.links(),
        program=host.run("stat -c '%F %U %a' " + PROGRAM, check=False).stdout,
        old_program=host.run('ls -d /usr/libexec/virt-guard', check=False).stdout,
    )


def test_upgrade_succeeds(upgraded):
    assert upgraded.installed.returncode == 0, upgraded.installed.stdout
    assert 'install.sh: ' not in upgraded.installed.stdout


def test_upgrade_leaves_one_link_to_the_program(upgraded):
    assert upgraded.links == {MAIN_HOOK: PROGRAM}
    assert upgraded.program == 'regular file root 755\n'


def test_upgrade_removes_the_old_program(upgraded):
    assert upgraded.old_program == ''


def test_upgrade_leaves_the_running_domain_alone(upgraded):
    assert set(upgraded.before) == {'running'}
    assert upgraded.after == upgraded.before


# Starts


@pytest.fixture(scope='module')
def judged(host, upgraded):
    started = {name: host.try_start(name) for name in ('clean', 'bad')}
    return observed(
        started=started,
        running=host.running(),
        by_identifier=host.records('-t', 'virt-guard'),
        by_id=host.records('MESSAGE_ID=' + ADMITTED_ID, 'MESSAGE_ID=' + DENIED_ID),
    )


def test_clean_domain_starts(judged):
    assert judged.started['clean'].returncode == 0, judged.started['clean'].stderr
    assert judged.running == {'running', 'clean'}


def test_denied_domain_is_refused_in_our_words(judged):
    assert_refused(judged.started['bad'])


def test_one_start_is_one_record(judged):
    for records in (judged.by_identifier, judged.by_id):
        assert decisions(records) == ONE_EACH


# The watch


@pytest.fixture(scope='module')
def watched(host, judged):
    active = host.run('systemctl is-active ' + WATCH, check=False).stdout
    host.virsh('blkdeviotune clean vda --live --total-iops-sec 100')
    host.wait('journalctl -q -b MESSAGE_ID=%s VIRT_GUARD_DOMAIN=clean | grep .' % HAPPENED_ID, 60)
    return observed(active=active, records=host.records('MESSAGE_ID=' + HAPPENED_ID))


def test_watch_is_active(watched):
    assert watched.active == 'active\n'


def test_watch_finds_what_happens_to_a_running_domain(watched):
    (record,) = watched.records
    assert (record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_RULE']) == ('clean', 'qemu-io-throttling')


# The daemon comes back


@pytest.fixture(scope='module')
def second(host, watched):
    """Another hook beside ours; libvirtd finds it at a reload."""
    before = host.processes()
    host.write('/etc/libvirt/hooks/qemu.d/50-foreign', FOREIGN_HOOK, 0o755)
    daemon = host.run('pidof libvirtd').stdout
    host.run('systemctl reload libvirtd')
    host.virsh('domblkstat running vda')
    reloaded = host.processes()
    host.destroy('clean')
    host.run('rm -f /run/foreign-calls')
    started = host.try_start('clean')
    return observed(
        same_daemon=host.run('pidof libvirtd').stdout == daemon,
        before=before,
        after=reloaded,
        started=started,
        calls=host.run('cat /run/foreign-calls', check=False).stdout.splitlines(),
        records=host.records('MESSAGE_ID=' + ADMITTED_ID),
    )


def test_reload_of_libvirtd_leaves_domains_running(second):
    assert set(second.before) == {'running', 'clean'}
    assert (second.after, second.same_daemon) == (second.before, True)


def test_second_hook_is_called_as_well(second):
    assert second.started.returncode == 0, second.started.stderr
    assert second.calls == ['clean prepare', 'clean start', 'clean started']
    assert decisions(second.records) == [('clean', 'admit', 'start')] * 2


@pytest.fixture(scope='module')
def restarted(host, second):
    before = host.processes()
    host.run('systemctl restart libvirtd')
    for name in before:  # answers when the new daemon has asked `reconnect` and taken the domain over
        host.virsh('domblkstat %s vda' % name, check=False)
    return observed(before=before, after=host.processes(), running=host.running())


def test_restart_of_libvirtd_leaves_domains_running(restarted):
    assert set(restarted.before) == {'running', 'clean'}
    assert restarted.after == restarted.before
    assert restarted.running == {'running', 'clean'}


# A reboot


@pytest.fixture(scope='module')
def rebooted(host, restarted):
    host.run('rm -rf /etc/libvirt/hooks/qemu.d')
    host.virsh('autostart clean')
    host.virsh('autostart bad')
    host.destroy(*host.running())  # else Debian waits for minutes for domains without a system to shut down
    host.reboot()
    host.run('systemctl start libvirtd')
    host.wait('virsh -q domstate clean | grep running', 120)
    host.wait('journalctl -q -b MESSAGE_ID=%s | grep .' % DENIED_ID, 120)
    host.run('systemctl is-system-running --wait', check=False)
    seen = host.run('journalctl -q -b -t virt-guard -o cat').stdout.splitlines()
    return observed(
        running=host.running(),
        seen=[line for line in seen if "domain 'bad' denied" in line],
        by_identifier=host.records('-t', 'virt-guard'),
        by_id=host.records('MESSAGE_ID=' + ADMITTED_ID, 'MESSAGE_ID=' + DENIED_ID),
        active=host.run('systemctl is-active ' + WATCH, check=False).stdout,
    )


def test_autostart_is_judged(rebooted):
    assert rebooted.running == {'clean'}


def test_autostart_is_one_record_each(rebooted):
    for records in (rebooted.by_identifier, rebooted.by_id):
        assert decisions(records) == ONE_EACH


def test_journal_shows_a_refused_autostart_once(rebooted):
    assert rebooted.seen == [FIRST_LINE[len('virt-guard: ') :].strip()]


def test_watch_starts_at_boot(rebooted):
    assert rebooted.active == 'active\n'


# Uninstalled


@pytest.fixture(scope='module')
def uninstalled(host, rebooted):
    host.virsh('autostart --disable clean')
    host.virsh('autostart --disable bad')
    said = host.install('--uninstall')
    names = [path for path in host.listing() if 'virt-guard' in path]
    return observed(said=said, names=names, links=host.links(), started=host.try_start('bad'), running=host.running())


def test_uninstall_leaves_nothing_but_the_drop_in(uninstalled):
    assert uninstalled.said.returncode == 0, uninstalled.said.stdout
    assert sorted(uninstalled.names) == ['/etc/virt-guard', '/etc/virt-guard/policy.d', DROP_IN]
    assert uninstalled.links == {}


def test_uninstalled_every_domain_starts(uninstalled):
    assert uninstalled.started.returncode == 0, uninstalled.started.stderr
    assert uninstalled.running == {'clean', 'bad'}


# Another program owns the hook


@pytest.fixture(scope='module')
def beside(host, uninstalled):
    host.destroy('clean', 'bad')
    host.write(MAIN_HOOK, FOREIGN_HOOK, 0o755)
    installed = host.install()
    links = host.links()
    host.run('rm -f /run/foreign-calls')
    started = {name: host.try_start(name) for name in ('clean', 'bad')}
    calls = host.run('cat /run/foreign-calls', check=False).stdout.splitlines()
    host.destroy('clean', 'bad')
    removed = host.install('--uninstall')
    left = host.run('cat %s; find /etc/libvirt/hooks -name qemu.d' % MAIN_HOOK, check=False).stdout
    host.run('rm -f ' + MAIN_HOOK)
    return observed(installed=installed, links=links, started=started, calls=calls, removed=removed, left=left)


def test_guard_goes_beside_the_hook_of_another_program(beside):
    assert beside.installed.returncode == 0, beside.installed.stdout
    assert beside.links == {SECOND_HOOK: PROGRAM}


def test_guard_beside_another_hook_judges(beside):
    assert beside.started['clean'].returncode == 0, beside.started['clean'].stderr
    assert_refused(beside.started['bad'], SECOND_HOOK)
    assert beside.calls[:3] == ['clean prepare', 'clean start', 'clean started']
    assert 'bad prepare' in beside.calls


def test_uninstall_leaves_the_hook_of_another_program(beside):
    assert beside.removed.returncode == 0, beside.removed.stdout
    assert beside.left == FOREIGN_HOOK


# No daemon runs: Debian's leaves after two idle minutes


@pytest.fixture(scope='module')
def idle(host, beside):
    host.run('systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket')
    with host.provoking():
        host.forbid()
        before = host.listing()
        installed = host.install()
        after = host.listing()
        host.allow()
    return observed(
        installed=installed, before=before, after=after, daemon=host.run('pidof libvirtd', check=False).stdout
    )


def test_profile_is_asked_also_where_no_daemon_runs(idle):
    assert idle.daemon == ''
    assert_stopped(idle.installed)
    assert idle.after == idle.before


@pytest.fixture(scope='module')
def untold(host, idle):
    """Without aa-exec nobody can put himself in the daemon's place."""
    host.run('mv /usr/bin/aa-exec /usr/bin/aa-exec.away')
    installed = host.install()
    host.run('mv /usr/bin/aa-exec.away /usr/bin/aa-exec')
    host.run('systemctl start libvirtd.socket')
    return observed(
        installed=installed, links=host.links(), started={name: host.try_start(name) for name in ('clean', 'bad')}
    )


def test_install_without_aa_exec_says_what_the_profile_tells(untold):
    assert untold.installed.returncode == 0, untold.installed.stdout
    assert 'aa-exec' in untold.installed.stdout
    assert 'profile' in untold.installed.stdout
    assert untold.links == {MAIN_HOOK: PROGRAM}


def test_daemon_that_starts_later_asks_the_hook(untold):
    assert untold.started['clean'].returncode == 0, untold.started['clean'].stderr
    assert_refused(untold.started['bad'])


# Labels: AppArmor gives each domain one; then libvirtd is told to give none


ISOLATION = '/etc/virt-guard/policy.d/60-isolation.yaml'
WITH_LABELS = 'extends: kvm-baseline\nrules: [{id: kvm-mac-label-missing, action: deny}]\n'


@pytest.fixture(scope='module')
def labelled(host, untold):
    host.destroy(*host.running())
    host.write(ISOLATION, WITH_LABELS)
    host.run('virt-guard policy compile')
    with_label = host.try_start('clean')
    host.destroy(*host.running())
    host.run('echo \'security_driver = "none"\' >>/etc/libvirt/qemu.conf; systemctl restart libvirtd')
    without = host.try_start('clean')
    checked = host.run('virt-guard check clean', check=False)
    host.run("rm %s; sed -i '/^security_driver = /d' /etc/libvirt/qemu.conf; systemctl restart libvirtd" % ISOLATION)
    host.run('virt-guard policy compile')
    return observed(with_label=with_label, without=without, checked=checked)


def test_a_domain_that_apparmor_confines_starts(labelled):
    assert labelled.with_label.returncode == 0, labelled.with_label.stderr


def test_a_domain_that_nothing_confines_is_refused_at_its_start(labelled):
    assert labelled.without.returncode == 1
    assert (
        "domain 'clean' denied by policy 'rhel-8 with kvm-baseline': kvm-mac-label-missing" in labelled.without.stderr
    )
    assert ' clean start begin -) unexpected exit status 1' in labelled.without.stderr
    assert labelled.checked.returncode == 0, 'its definition does not show it'


# The whole life


def test_apparmor_refused_nothing(host, labelled):
    """Apart from what tests provoked."""
    refused = host.refusals(provoked=False)
    assert [line for line in refused if 'virt-guard' in line or '/libvirt/hooks' in line or '"libvirtd"' in line] == []
