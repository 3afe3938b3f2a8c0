# SPDX-License-Identifier: Apache-2.0
"""What the installed watch records of itself and of the policy: from when to when nobody watched, and each change."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from support.records import POLICY_CHANGED_ID, UNWATCHED_ID, WATCH_STARTED_ID, WATCH_STOPPED_ID
from watching import Watching, disk, rules_text

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z')
KILLED = 'the watch was killed, or could not say why it ended'


def now():
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())


def drop_in(installation, text, name='50-site.yaml'):
    """Deploy a drop-in in one step, as nobody's command does it; None removes it."""
    path = installation.policy.parent / 'policy.d' / name
    if text is None:
        path.unlink()
        return path
    path.parent.mkdir(exist_ok=True)
    new = installation.policy.with_name('deployed')
    new.write_text(text)
    new.rename(path)
    return path


def assert_no_more(watch):
    watch.records()  # also that a policy could not be compiled, which was changed again at once
    assert not watch.has_own()


@pytest.fixture
def site(installation):
    """An installation whose drop-ins, and what is known of its policy, are gone afterwards."""
    yield installation
    shutil.rmtree(str(installation.root / 'var/lib/virt-guard'), ignore_errors=True)
    for path in (installation.policy.parent / 'policy.d').glob('*.yaml'):
        path.unlink()


# --- started, stopped, killed ----------------------------------------------------------------------------------------


def test_a_watch_that_is_started_and_stopped(watch):
    watch.start()
    started = watch.receive_own('watch-started')
    assert (started['MESSAGE_ID'], started['PRIORITY']) == (WATCH_STARTED_ID, '5')
    assert started['MESSAGE'].startswith('running domains are watched from now on, by virt-guard ')
    assert started['VIRT_GUARD_OPERATION'] == 'watch' and 'VIRT_GUARD_CAUSE' not in started
    assert started['VIRT_GUARD_POLICY'] == 'rhel-8' and len(started['VIRT_GUARD_POLICY_SHA256']) == 64
    assert watch.stop() == (0, '')
    stopped = watch.receive_own('watch-stopped')
    assert (stopped['MESSAGE_ID'], stopped['PRIORITY']) == (WATCH_STOPPED_ID, '5')
    assert stopped['VIRT_GUARD_CAUSE'] == 'SIGTERM'
    assert stopped['MESSAGE'] == 'running domains are no longer watched: the watch has ended (SIGTERM)'
    watch.start()
    watch.receive_own('watch-started')
    unwatched = watch.receive_own('unwatched')
    assert (unwatched['MESSAGE_ID'], unwatched['PRIORITY']) == (UNWATCHED_ID, '4')
    assert unwatched['VIRT_GUARD_CAUSE'] == 'the watch had ended (SIGTERM)'
    since, until = unwatched['VIRT_GUARD_SINCE'], unwatched['VIRT_GUARD_UNTIL']
    assert TIME.match(since) and TIME.match(until) and since <= until
    assert unwatched['MESSAGE'] == 'nobody watched running domains from %s to %s: the watch had ended (SIGTERM)' % (
        since,
        until,
    )
    assert watch.records() == [] and not watch.has_own()


def test_a_watch_that_was_killed_is_told_by_the_next_one(watch):
    watch.start()
    watch.receive_own('watch-started')
    watch.process.kill()
    watch.process.communicate()
    killed = now()
    watch.start()
    started = now()
    watch.receive_own('watch-started')
    unwatched = watch.receive_own('unwatched')
    assert unwatched['VIRT_GUARD_CAUSE'] == KILLED
    # What it says is never shorter than what was.
    assert unwatched['VIRT_GUARD_SINCE'] <= killed <= unwatched['VIRT_GUARD_UNTIL'] <= started


def test_a_watch_that_is_told_to_reload_never_stopped_watching(watch):
    watch.start()
    watch.receive_own('watch-started')
    watch.process.send_signal(signal.SIGHUP)
    again = watch.receive_own('watch-started')
    assert again['VIRT_GUARD_CAUSE'] == 'reload'
    assert watch.records() == [] and not watch.has_own()
    assert watch.stop(signal.SIGINT) == (0, '')
    assert watch.receive_own('watch-stopped')['VIRT_GUARD_CAUSE'] == 'SIGINT'


def test_a_watch_that_only_shows_says_nothing_of_itself(installation, watch):
    watch.start()
    watch.receive_own('watch-started')
    other = Watching(installation)
    try:
        other.start(environment={'NOTIFY_SOCKET': ''}, wait=False)
        said = b'virt-guard: another watch records what happens; this one only shows it\n'
        assert other.process.stderr.readline() == said
        watch.put(devices=disk())
        watch.records()
        other.stop()
        assert not other.has_own()
    finally:
        other.close()
    assert watch.stop() == (0, '')
    watch.receive_own('watch-stopped')


def test_what_is_damaged_is_told_and_begins_anew(watch):
    watch.start()
    watch.receive_own('watch-started')
    watch.stop()
    watch.receive_own('watch-stopped')
    sign = watch.state / 'sign-of-life'
    sign.write_bytes(sign.read_bytes()[:-2])
    watch.start()
    assert watch.receive()['MESSAGE'] == '%s is left out: it is damaged' % sign
    watch.receive_own('watch-started')
    assert watch.records() == [] and not watch.has_own()
    watch.stop()
    watch.receive_own('watch-stopped')
    watch.start()
    watch.receive_own('watch-started')
    watch.receive_own('unwatched')


# --- the policy ------------------------------------------------------------------------------------------------------


def test_what_an_editor_changes_is_recorded_once(site, watch):
    watch.start()
    before = watch.receive_own('watch-started')
    path = drop_in(site, 'mode: audit\nrules: [{id: tcg, action: "off", reason: a test}]\n')
    change = watch.receive_own('policy-changed')
    assert (change['MESSAGE_ID'], change['PRIORITY']) == (POLICY_CHANGED_ID, '5')
    assert change['MESSAGE'] == (
        'the policy was changed, and not by a command of virt-guard: %s was added; '
        'mode audit (it was: enforce); off now: tcg' % path
    )
    assert change['VIRT_GUARD_FILE'] == str(path) and 'VIRT_GUARD_FILE_SHA256_BEFORE' not in change
    assert change['VIRT_GUARD_POLICY_SHA256_BEFORE'] == before['VIRT_GUARD_POLICY_SHA256']
    assert change['VIRT_GUARD_POLICY_SHA256'] != before['VIRT_GUARD_POLICY_SHA256']
    assert (change['VIRT_GUARD_MODE_BEFORE'], change['VIRT_GUARD_MODE']) == ('enforce', 'audit')
    assert 'tcg' in change['VIRT_GUARD_OFF']
    assert 'VIRT_GUARD_USER' not in change and len(change['VIRT_GUARD_EVENT']) == 32
    # What is checked with sha256sum --check, and together gives the digest of the policy.
    files = '\n'.join(change['VIRT_GUARD_POLICY_FILES']) + '\n'
    subprocess.run(['sha256sum', '--check', '--quiet'], input=files.encode(), check=True)
    whole = subprocess.run(['sha256sum'], input=files.encode(), stdout=subprocess.PIPE, check=True).stdout
    assert whole.decode().split()[0] == change['VIRT_GUARD_POLICY_SHA256']
    assert change['VIRT_GUARD_POLICY_FILES'][1].startswith(change['VIRT_GUARD_FILE_SHA256'] + '  ')
    drop_in(site, None)
    back = watch.receive_own('policy-changed')
    assert back['MESSAGE'].endswith('%s was removed; mode enforce (it was: audit); no longer off: tcg' % path)
    assert back['VIRT_GUARD_POLICY_SHA256'] == before['VIRT_GUARD_POLICY_SHA256']
    assert back['VIRT_GUARD_FILE_SHA256_BEFORE'] == change['VIRT_GUARD_FILE_SHA256']
    assert_no_more(watch)


def test_what_was_changed_while_nobody_watched(site, watch):
    watch.start()
    watch.receive_own('watch-started')
    drop_in(site, 'mode: audit\n')
    sha256 = watch.receive_own('policy-changed')['VIRT_GUARD_POLICY_SHA256']
    deadline = time.monotonic() + 60
    while sha256 not in (watch.state / 'recorded-policy').read_text():  # killed before, it would record it again
        assert time.monotonic() < deadline
        time.sleep(0.01)
    watch.process.kill()
    watch.process.communicate()
    drop_in(site, 'mode: enforce\n')
    watch.start()
    watch.receive_own('watch-started')
    unwatched = watch.receive_own('unwatched')
    change = watch.receive_own('policy-changed')
    assert (change['VIRT_GUARD_MODE_BEFORE'], change['VIRT_GUARD_MODE']) == ('audit', 'enforce')
    assert change['VIRT_GUARD_SINCE'] <= unwatched['VIRT_GUARD_UNTIL']
    assert watch.stop() == (0, '')
    watch.receive_own('watch-stopped')
    watch.start()
    watch.receive_own('watch-started')
    watch.receive_own('unwatched')
    assert_no_more(watch)


def test_what_a_command_has_recorded_is_not_recorded_by_the_watch(site, watch):
    watch.start()
    watch.receive_own('watch-started')
    for mode in ('audit', 'enforce', 'audit'):  # whoever comes first, the command or the watch
        command = [str(site.cli), 'policy', 'set', 'mode', mode]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stdout
    path = drop_in(site, 'failure: admit\n', '90-last.yaml')
    change = watch.receive_own('policy-changed')
    assert change['VIRT_GUARD_FILE'] == str(path) and change['VIRT_GUARD_MODE_BEFORE'] == 'audit'
    assert_no_more(watch)


def test_what_an_editor_has_changed_before_a_command(site, journal):
    """No watch runs, so the command records first what it finds."""
    subprocess.run([str(site.cli), 'policy', 'set', 'mode', 'audit'], check=True, stdout=subprocess.DEVNULL)
    path = drop_in(site, 'failure: admit\n', '90-last.yaml')
    subprocess.run([str(site.cli), 'policy', 'set', 'mode', 'enforce'], check=True, stdout=subprocess.DEVNULL)
    first, second, third = [r for r in journal.records() if r['MESSAGE_ID'] == [POLICY_CHANGED_ID]]
    assert second['MESSAGE'][0].startswith('the policy was changed, and not by a command')
    assert second['VIRT_GUARD_FILE'] == [str(path)]
    sent = [record['VIRT_GUARD_POLICY_SHA256'] for record in (first, second, third)]
    known = [record['VIRT_GUARD_POLICY_SHA256_BEFORE'] for record in (second, third)]
    assert known == sent[:2]
    assert [record['VIRT_GUARD_MODE_BEFORE'] for record in (first, second, third)] == [
        ['enforce'],
        ['audit'],
        ['audit'],
    ]
    assert 'VIRT_GUARD_USER' in first and 'VIRT_GUARD_USER' in third and 'VIRT_GUARD_USER' not in second


def test_a_policy_that_is_broken_meanwhile(site, watch):
    watch.start()
    watch.receive_own('watch-started')
    drop_in(site, 'rules: {')
    assert 'the policy as it was stays in force' in watch.receive(timeout=60)['MESSAGE']
    site.policy.write_text(rules_text(tcg='warn'))
    drop_in(site, None)
    change = watch.receive_own('policy-changed')
    assert change['VIRT_GUARD_FILE'] == str(site.policy)
    assert change['VIRT_GUARD_FILE_SHA256_BEFORE'] != change['VIRT_GUARD_FILE_SHA256']
    assert_no_more(watch)
