# SPDX-License-Identifier: Apache-2.0
"""The watch's unit under a real systemd: its sandbox, its records, reload, restart, and what happens when it dies."""

import json
import re
import signal
import time

import domains
import pytest
from booted import BROKEN, DAEMON, IN_A_CONTAINER, LAB, UNIT, WATCH
from domains import domain
from guarded import refusal
from support.policies import setting
from support.records import EXPIRY_ID, MARKS, UNWATCHED_ID

pytestmark = pytest.mark.systemd

# Bits of capabilities(7): DAC_READ_SEARCH, SYS_PTRACE
CAPABILITIES = '%016x' % (1 << 2 | 1 << 19)
# systemd-analyze calls up to 2.0 and more "OK".
EXPOSURE = 2.0

# Seconds between two looks of the watch at what nothing announces.
LOOK = 9
DIRECTORIES = (
    '/ /boot /etc /etc/virt-guard /etc/libvirt/hooks /home /opt /root /run /run/libvirt /run/lock /run/systemd/system '
    '/srv /sys/fs/cgroup /usr /usr/lib/virt-guard /var /var/lib /var/lib/libvirt /var/lib/virt-guard /var/log '
    '/var/log/libvirt /tmp'
).split()
NO_THROTTLING = 'rules: [{id: qemu-io-throttling, action: "off", reason: a test}]\n'
WAIVER = 'waivers: [{rules: [tcg], domains: [bad], reason: a test, approved-by: somebody, expires: %s}]\n'
PROBE, PROBE_ANSWERS = '/usr/local/bin/probe', '/var/log/libvirt/probe'
PROBE_UNIT = """\
[Service]
Type=oneshot
ExecStart=
ExecStart=%s %s
ExecReload=
Restart=no
WatchdogSec=0
""" % (PROBE, PROBE_ANSWERS)
# What a watch that somebody has taken over could try, and what it needs. Writes the error that each attempt met.
PROBE_CODE = """\
#!/usr/bin/python3 -I
import ctypes, errno, glob, json, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
own, answers = sys.argv[1], {}

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), '')

def attempt(name, call, *arguments):
    try:
        call(*arguments)
        answers[name] = 'done'
    except OSError as error:
        answers[name] = errno.errorcode[error.errno]

def look_at_a_program_of_another_user():
    pids = [int(pid) for pid in os.listdir('/proc') if pid.isdigit()]
    os.readlink('/proc/%d/exe' % max(pid for pid in pids if 'qemu' in open('/proc/%d/comm' % pid).read()))

def read_all(pattern):
    assert [open(name, 'rb').read() for name in glob.glob(pattern)]

open(own, 'w').close()
attempt('internet', socket.socket, socket.AF_INET)
attempt('netlink', socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
attempt('packets', socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
attempt('mount', lambda: checked(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)))
attempt('namespace', lambda: checked(libc.unshare(0x10000000)))
attempt('become a user', os.setuid, 1)
attempt('give away', os.chown, own, 1, 1)
attempt('set-user-ID', os.chmod, own, 0o4755)
attempt('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt('host name', socket.sethostname, 'other')
attempt('real time', os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
attempt('personality', lambda: checked(libc.personality(8)))
attempt('device', os.open, '/dev/kvm', os.O_RDWR)
attempt('kernel', os.open, '/proc/sys/kernel/core_pattern', os.O_WRONLY)
attempt('program', look_at_a_program_of_another_user)
attempt('states', read_all, '/run/libvirt/qemu/*.xml')
attempt('images', read_all, '/var/lib/libvirt/images/*')
answers['networks'] = os.listdir('/sys/class/net')
with open(own, 'w') as file:
    json.dump(answers, file)
"""
FLOOD = 20000
FLOOD_CODE = (
    """\
#!/usr/bin/python3 -I
import glob, sys
sys.path[:0] = glob.glob('/usr/lib/virt-guard/tree-*')
from virtguard.journal import Sinks, failure_fields
sinks = Sinks('/var/log/libvirt/flood')
assert {sinks.send(failure_fields('a record of a flood')) for number in range(%d)} == {'journal'}
"""
    % FLOOD
)
PROBE_WANTED = {
    'internet': 'EAFNOSUPPORT',
    'netlink': 'EAFNOSUPPORT',
    'packets': 'EAFNOSUPPORT',
    'mount': 'EPERM',
    'namespace': 'EPERM',
    'become a user': 'EPERM',
    'give away': 'EPERM',
    'set-user-ID': 'EPERM',
    'clock': 'EPERM',
    'host name': 'EPERM',
    'real time': 'EPERM',
    'personality': 'EPERM',
    'device': 'EPERM',
    'kernel': 'EROFS',
    'program': 'done',
    'states': 'done',
    'images': 'done',
    'networks': ['lo'],
}


def of_process(host, pid):
    """What the kernel says of a process."""
    return dict(line.split(':', 1) for line in host.read('/proc/%d/status' % pid).replace('\t', '').splitlines())


def test_unit_as_systemd_has_it(host):
    wanted = {
        'ActiveState': 'active',
        'SubState': 'running',
        'UnitFileState': 'enabled',
        'FragmentPath': UNIT,
        'NeedDaemonReload': 'no',
        'Type': 'notify',
        'Restart': 'on-failure',
        'RestartUSec': '5s',
        'WatchdogUSec': '2min',
    }
    shown = host.show(WATCH, *wanted)
    # Debian 12 has the unit by the way of /lib.
    assert dict(shown, FragmentPath=host.run(['readlink', '-f', shown['FragmentPath']]).stdout.strip()) == wanted
    assert re.match(r"following \d+ running domains? by policy 'rhel-8'; ", host.status())
    warned = host.run(['systemd-analyze', 'verify', UNIT])
    assert [line for line in (warned.stdout + warned.stderr).splitlines() if WATCH in line] == []


def test_powers_of_the_process(host):
    status = of_process(host, host.main_pid(WATCH))
    assert {status[name] for name in ('CapPrm', 'CapEff', 'CapBnd')} == {CAPABILITIES}
    assert int(status['CapAmb'], 16) == 0
    assert (status['NoNewPrivs'], status['Seccomp'], status['Umask']) == ('1', '2', '0077')
    assert host.run(['stat', '-c', '%a %u', '/var/lib/virt-guard']).stdout == '700 0\n'


def test_files_that_the_unit_may_write(host):
    """By the file systems that it sees, for a process with every power."""
    enter = ['nsenter', '--mount=/proc/%d/ns/mnt' % host.main_pid(WATCH), '--', 'sh', '-c']
    attempt = (
        'for directory in %s; do (: >$directory/probe && rm $directory/probe) 2>/dev/null && echo $directory; done; :'
    )
    written = host.run(enter + [attempt % ' '.join(DIRECTORIES)]).stdout.split()
    assert written == ['/var/lib/virt-guard', '/var/log/libvirt', '/tmp']
    host.write('/tmp/of-the-host', '')
    assert host.run(enter + ['ls /tmp'], check=False).stdout == ''


def test_what_the_unit_permits_a_program(lab):
    """The unit's own sandbox, around a program that tries."""
    lab.write(PROBE, PROBE_CODE, 0o755)
    lab.run(['cp', UNIT, '/etc/systemd/system/probe.service'])
    lab.write('/etc/systemd/system/probe.service.d/50.conf', PROBE_UNIT)
    lab.systemctl('daemon-reload')
    lab.systemctl('start', 'probe.service')
    assert json.loads(lab.read(PROBE_ANSWERS)) == PROBE_WANTED
    lab.run(['sh', '-c', 'rm -r /etc/systemd/system/probe.service* %s %s' % (PROBE, PROBE_ANSWERS)])


def test_exposure(host):
    said = host.run(['systemd-analyze', 'security', '--no-pager', WATCH]).stdout
    (line,) = (line for line in said.splitlines() if 'Overall exposure level for ' + WATCH in line)
    assert float(line.split(': ')[1].split()[0]) <= EXPOSURE


def test_everything_is_refused_in_a_container(host):
    """Without the drop-in of these tests."""
    host.put_drop_in(IN_A_CONTAINER[0], '')
    try:
        host.refused('contained', host.try_define_and_start(domain('contained')), 'container-host')
    finally:
        host.put_drop_in(*IN_A_CONTAINER)
    host.admitted('contained', host.try_start('contained'))


def test_records_of_the_hook(host):
    """The hook is a part of libvirt's unit. (Where it has ended before journald looks, only its number is known.)"""
    host.define(domain('bad', domains.TCG))
    records = []
    for _ in range(10):
        result = host.try_start('bad')
        assert "virt-guard: domain 'bad' denied by policy 'rhel-8': tcg\n" in refusal(result, 1)
        records += host.records('bad')
        if '_SYSTEMD_UNIT' in records[-1]:
            break
    record = records[-1]
    assert record['_SYSTEMD_UNIT'] == DAEMON
    assert (record['MESSAGE_ID'], record['PRIORITY']) == MARKS['deny']
    assert (record['_TRANSPORT'], record['_UID'], record['SYSLOG_IDENTIFIER']) == ('journal', '0', 'virt-guard')
    assert int(record['_PID']) not in (host.main_pid(DAEMON), host.main_pid(WATCH))
    said = host.run(['journalctl', '--boot', '--output=cat', '--unit=' + DAEMON, '--identifier=virt-guard']).stdout
    assert said.splitlines()[-1] == "domain 'bad' denied by policy 'rhel-8': tcg"
    said = host.run(['journalctl', '--boot', '--catalog', '--lines=1', 'MESSAGE_ID=' + MARKS['deny'][0]]).stdout
    assert 'Subject: The start of a domain was refused' in said
    assert 'virt-guard explain --domain=%s\n' % record['VIRT_GUARD_UUID'] in said


def test_records_of_the_watch(lab):
    start = lab.cursor()
    lab.throttle(100)
    record = lab.throttled(100, start)
    assert (record['_SYSTEMD_UNIT'], record['_TRANSPORT']) == (WATCH, 'journal')
    assert int(record['_PID']) == lab.main_pid(WATCH)
    assert record['_CAP_EFFECTIVE'] == CAPABILITIES.lstrip('0')
    assert record['VIRT_GUARD_UUID'] == lab.virsh('domuuid', LAB).stdout.strip()
    said = lab.run(['journalctl', '--boot', '--output=cat', '--unit=' + WATCH, '--identifier=virt-guard']).stdout
    assert said.splitlines()[-1] == record['MESSAGE']


def flood(host, settings=''):
    """Send FLOOD records from the unit with other `settings`; return how many are in the journal."""
    start = host.cursor()
    host.write(PROBE, FLOOD_CODE, 0o755)
    host.run(['cp', UNIT, '/etc/systemd/system/probe.service'])
    host.write('/etc/systemd/system/probe.service.d/50.conf', PROBE_UNIT + settings)
    host.systemctl('daemon-reload')
    host.systemctl('start', 'probe.service')
    host.run(['journalctl', '--sync'])
    # Without a match: by one, the first record of a new journal file may not be found (journald's defect 29016).
    found = host.run(['journalctl', '--output=cat', '--after-cursor=' + start]).stdout
    host.run(['sh', '-c', 'rm -r /etc/systemd/system/probe.service* ' + PROBE])
    host.systemctl('daemon-reload')
    return found.splitlines().count('a record of a flood')


def test_no_record_is_dropped(host):
    """Where journald would drop most records of any other unit."""
    assert flood(host, 'LogRateLimitBurst=100\n') == FLOOD
    assert flood(host, 'LogRateLimitBurst=100\nLogRateLimitIntervalSec=30s\n') < FLOOD / 10


def test_limit_on_records_of_the_hook(host):
    """It is that of libvirt's unit. The manual tells how to lift it."""
    host.define(domain('bad', domains.TCG))
    counts = []
    for interval in ('10min', '0'):
        with host.overridden(DAEMON, '[Service]\nLogRateLimitBurst=1\nLogRateLimitIntervalSec=%s\n' % interval):
            for _ in range(15):
                refusal(host.try_start('bad'), 1)
            counts.append(len(host.records('bad')))
    assert counts[0] < 15 and counts[1] == 15


def reload_as(host, name):
    """Give the policy another name, which the watch tells; return when it does."""
    with host.edited_policy(setting('policy', name)):
        host.systemctl('reload', WATCH)
        host.wait(lambda: "by policy '%s'" % name in host.status(), 60, 'the watch judges by ' + name)


def test_reload(lab):
    """It takes the policy anew at once: twice in a time in which it looks for changes only once by itself."""
    pid, start = lab.main_pid(WATCH), lab.cursor()
    lab.put_drop_in('60-test.yaml', NO_THROTTLING)
    for _ in range(5):
        begin = time.monotonic()
        for name in ('one', 'other'):
            reload_as(lab, name)
        elapsed = time.monotonic() - begin
        if elapsed < LOOK:
            break
    assert elapsed < LOOK
    lab.throttle(100)
    lab.systemctl('reload', WATCH)
    assert lab.journal('VIRT_GUARD_DOMAIN=' + LAB, 'VIRT_GUARD_OPERATION=watch', after=start) == []
    lab.put_drop_in('60-test.yaml', '')
    lab.systemctl('reload', WATCH)
    assert lab.throttled(100, start)['_PID'] == str(pid)
    assert lab.main_pid(WATCH) == pid


def test_reload_with_a_broken_policy(lab):
    """The policy as it was stays in force, and the journal says so."""
    pid, start = lab.main_pid(WATCH), lab.cursor()
    lab.put_drop_in('60-test.yaml', BROKEN)
    lab.systemctl('reload', WATCH)
    (record,) = lab.wait_journal('VIRT_GUARD_OPERATION=watch', 'VIRT_GUARD_DECISION=error', after=start, timeout=60)
    assert '60-test.yaml:1:' in record['MESSAGE'] and 'stays in force' in record['MESSAGE']
    assert record['_SYSTEMD_UNIT'] == WATCH
    lab.throttle(100)
    assert lab.throttled(100, start)['_PID'] == str(pid)


def test_restart(lab):
    """What happens meanwhile is found afterwards, and nothing is told twice."""
    start = lab.cursor()
    lab.throttle(100)
    lab.throttled(100, start)
    pid, start = lab.main_pid(WATCH), lab.cursor()
    lab.systemctl('restart', WATCH)
    assert lab.main_pid(WATCH) not in (0, pid)
    lab.systemctl('stop', WATCH)
    lab.throttle(101)
    lab.systemctl('start', WATCH)
    lab.throttled(101, start)
    assert lab.show(WATCH, 'Result', 'NRestarts') == {'Result': 'success', 'NRestarts': '0'}


def test_libvirtd_reload_and_restart(lab):
    """The running domain stays, the hook in force, and the watch goes on."""
    lab.define(domain('bad', domains.TCG))
    daemon, watch, processes, start = lab.main_pid(DAEMON), lab.main_pid(WATCH), lab.qemu_pids(), lab.cursor()
    assert list(processes.values()) == [LAB]
    lab.systemctl('reload', DAEMON)
    lab.refused('bad', lab.try_start('bad'), 'tcg')
    assert (lab.main_pid(DAEMON), lab.qemu_pids()) == (daemon, processes)
    lab.restart_libvirtd_with(LAB)
    lab.refused('bad', lab.try_start('bad'), 'tcg')
    assert lab.main_pid(DAEMON) not in (0, daemon)
    assert (lab.running(), lab.qemu_pids(), lab.main_pid(WATCH)) == ({LAB}, processes, watch)
    lab.throttle(100)
    lab.throttled(100, start)


def test_killed(lab):
    """It is started again by itself, and knows what it knew."""
    start = lab.cursor()
    lab.throttle(100)
    lab.throttled(100, start)
    pid, start = lab.main_pid(WATCH), lab.cursor()
    lab.systemctl('kill', '--signal=SIGKILL', WATCH)
    lab.throttle(101)
    lab.wait_for_new_watch(pid, 30)
    lab.throttled(101, start)
    assert lab.show(WATCH, 'NRestarts')['NRestarts'] == '1'
    (record,) = lab.wait_journal('MESSAGE_ID=' + UNWATCHED_ID, after=start, timeout=60)
    assert record['VIRT_GUARD_CAUSE'] == 'the watch was killed, or could not say why it ended'
    said = lab.run(['virt-guard', 'status'], check=False).stdout
    # It tells the longest of such times; on a busy machine that may be one of a test before.
    span = 'from %(VIRT_GUARD_SINCE)s to %(VIRT_GUARD_UNTIL)s'
    spans = [span % one for one in lab.journal('MESSAGE_ID=' + UNWATCHED_ID)]
    assert span % record in spans
    assert any(span in said for span in spans)


def test_watchdog(lab):
    """A watch that hangs is ended and started again; one that has nothing to do is left alone."""
    with lab.overridden(WATCH, '[Service]\nWatchdogSec=3\nRestartSec=100ms\n'):
        pid, start = lab.main_pid(WATCH), lab.cursor()
        time.sleep(7)
        assert (lab.main_pid(WATCH), lab.show(WATCH, 'NRestarts')) == (pid, {'NRestarts': '0'})
        lab.kill(pid, signal.SIGSTOP)
        lab.throttle(100)
        lab.wait_for_new_watch(pid, 30)
        said = lab.journal('UNIT=' + WATCH, after=start)
        assert any('Watchdog timeout' in entry['MESSAGE'] for entry in said)
        lab.throttled(100, start)


STATUS = '/run/libvirt/qemu/heavy.xml'
HEAVY = """\
import os, sys
text = open('/run/libvirt/qemu/%s.xml').read()
new = os.open('%s.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.write(new, text.replace('<devices>', '<devices>' + eval(sys.argv[1]), 1).encode())
os.rename('%s.new', '%s')
""" % (LAB, STATUS, STATUS, STATUS)


def test_what_takes_long_is_judged_apart(lab):
    """The sandbox lets the watch start processes, and set limits to them."""
    pid = lab.main_pid(WATCH)
    lab.throttle(100)
    try:
        for content, said in (
            ("'<a/>' * 5000", "domain 'heavy': deny: I/O throttling by QEMU [qemu-io-throttling]: "),
            (
                "'<a ' + ' '.join('a%d=\"\"' % n for n in range(50000)) + '/>'",
                STATUS + ": domain 'heavy' could not be judged: ",
            ),
        ):
            start = lab.cursor()
            lab.run(['python3', '-c', HEAVY, content])
            record = lab.wait_journal('VIRT_GUARD_DOMAIN=heavy', after=start, timeout=60)[0]
            assert record['MESSAGE'].startswith(said), record['MESSAGE']
        assert record['MESSAGE'].endswith('it takes more than 2 s')
    finally:
        lab.run(['rm', '-f', STATUS])
    assert lab.main_pid(WATCH) == pid


def test_the_end_of_a_waiver_is_recorded_once(host):
    """The sandbox lets the watch read definitions, judge them in a process of its own, and keep what it has told."""
    host.define(domain('bad', domains.TCG))
    start, tomorrow = host.cursor(), host.run(['date', '-d', 'tomorrow', '+%F']).stdout.strip()
    host.put_drop_in('60-test.yaml', WAIVER % tomorrow)
    (record,) = host.wait_journal('MESSAGE_ID=' + EXPIRY_ID, after=start, timeout=60)
    assert record['MESSAGE'] == (
        "1 waiver ends tomorrow, on %s; 1 domain on this host would be refused after that day: 'bad' (tcg)" % tomorrow
    )
    assert (record['_SYSTEMD_UNIT'], record['PRIORITY'], record['VIRT_GUARD_DOMAIN']) == (WATCH, '4', 'bad')
    for command in ('reload', 'restart'):
        host.systemctl(command, WATCH)
        time.sleep(8)
    assert len(host.journal('MESSAGE_ID=' + EXPIRY_ID, after=start)) == 1
