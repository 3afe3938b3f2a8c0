# SPDX-License-Identifier: Apache-2.0
"""QEMU processes: which are libvirt's, and which nobody knows."""

import os

import pytest
from virtguard.watch.qemu_processes import GRACE, PROBE_SECONDS, Processes
from virtguard.watch.state import PROCESS


@pytest.fixture
def proc(tmp_path):
    """A /proc with what is read of it; the links are as the kernel makes them, they need not lead anywhere."""
    proc = tmp_path / 'proc'
    (proc / 'self' / 'ns').mkdir(parents=True)
    (proc / 'self' / 'ns' / 'pid').symlink_to('pid:[1]')
    (proc / 'uptime').write_text('1000.00 1.00\n')

    def add(pid, exe, *arguments, age=100.0, namespace='pid:[1]', uids=None):
        (proc / str(pid) / 'ns').mkdir(parents=True)
        (proc / str(pid) / 'ns' / 'pid').symlink_to(namespace)
        if exe:
            (proc / str(pid) / 'exe').symlink_to(exe)
        (proc / str(pid) / 'cmdline').write_text('\0'.join((exe,) + arguments) + '\0')
        uids = '\t'.join(map(str, uids or [os.geteuid()] * 4))
        (proc / str(pid) / 'status').write_text('Name:\tqemu\nUid:\t%s\nGid:\t0\t0\t0\t0\n' % uids)
        started = int((1000 - age) * os.sysconf('SC_CLK_TCK'))
        fields = ['S', '1'] + ['0'] * 17 + [str(started), '0']
        (proc / str(pid) / 'stat').write_text('%d (a ) b) %s\n' % (pid, ' '.join(fields)))

    lib = tmp_path / 'lib'
    lib.mkdir()
    add.lib = str(lib)
    add.processes = Processes(str(tmp_path), str(proc), add.lib)
    return add


def probe(lib, machine='none,accel=kvm:tcg', server='server=on,wait=off', more=(), monitor=None, pidfile=None):
    """The arguments of a QEMU that libvirt asks what it can do, as seen of libvirt 9.0."""
    monitor = monitor or lib + '/qmp-XK6JZ3/qmp.monitor'
    arguments = ['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', machine]
    arguments += ['-qmp', 'unix:%s,%s' % (monitor, server), '-pidfile', pidfile or lib + '/qmp-XK6JZ3/qmp.pid']
    return arguments + ['-daemonize', *more]


def test_which_processes_nobody_owns(proc, tmp_path):
    proc(10, '/usr/libexec/qemu-kvm', '-name', 'guest=a,debug-threads=on')
    proc(11, '/usr/bin/qemu-system-x86_64 (deleted)', '-name', 'b')
    proc(12, '/usr/bin/qemu-system-x86_64')  # in a status
    proc(13, '/usr/bin/qemu-system-x86_64')  # in a pid file
    proc(14, '/usr/bin/qemu-img')
    proc(15, '')
    proc(16, '/usr/libexec/qemu-kvm', *probe(proc.lib), age=10.0)
    proc(17, '/usr/libexec/qemu-kvm', namespace='pid:[2]')
    proc(18, '/usr/libexec/qemu-kvm', '-machine', 'none', '-machine', 'q35', '-S')
    (tmp_path / 'x.pid').write_text('13\n')
    (tmp_path / 'junk.pid').write_text('no number')
    found, pause = proc.processes.unowned({12})
    assert sorted(found) == [(PROCESS, '10'), (PROCESS, '11'), (PROCESS, '18')] and pause == 0
    uid = os.geteuid()
    assert found[PROCESS, '10'] == b'<process pid="10" emulator="/usr/libexec/qemu-kvm" name="a" uid="%d"/>' % uid
    assert found[PROCESS, '11'] == b'<process pid="11" emulator="/usr/bin/qemu-system-x86_64" name="b" uid="%d"/>' % uid


def test_a_young_process_may_yet_be_owned(proc):
    proc(10, '/usr/libexec/qemu-kvm', age=1.0)
    assert proc.processes.unowned(set()) == ({}, GRACE - 1.0)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'machine': 'none,accel=tcg'},
        {'server': 'server,nowait'},
        {
            'monitor': '{lib}/capabilities.monitor.sock',
            'pidfile': '{lib}/capabilities.pidfile',
            'server': 'server,nowait',
        },
    ],
    ids=str,
)
def test_a_qemu_that_libvirt_only_asks(proc, changes):
    changes = {key: value.replace('{lib}', proc.lib) for key, value in changes.items()}
    proc(10, '/usr/libexec/qemu-kvm', *probe(proc.lib, **changes), age=PROBE_SECONDS - 1)
    assert proc.processes.unowned(set()) == ({}, 0.0)
    proc(11, '/usr/libexec/qemu-kvm', *probe(proc.lib, **changes), age=PROBE_SECONDS)
    assert list(proc.processes.unowned(set())[0]) == [(PROCESS, '11')]


@pytest.mark.parametrize(
    'arguments',
    [
        ['-machine', 'none', '--M', 'q35'],
        ['-machine', 'none', '--M', 'q35', '-name', '-S'],
        ['-machine', 'none', '-S', '-readconfig', '/x'],
        ['-S', '-machine', 'none,accel=kvm:tcg', '-daemonize'],
        ['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg', '-daemonize'],
        probe('{lib}', more=['-M', 'q35']),
        probe('{lib}', more=['-readconfig', '/x']),
        probe('{lib}', more=['']),
        ['--machine', 'q35', *probe('{lib}')],
        probe('{lib}', machine='q35,accel=kvm:tcg'),
        probe('{lib}', machine='none'),
        probe('{lib}', machine='none,accel=kvm:tcg,type=q35'),
        probe('{lib}', server='server=on,wait=off,x=y'),
        probe('{lib}', monitor='/tmp/qmp-XK6JZ3/qmp.monitor'),
        probe('{lib}', monitor='/tmp/qmp-XK6JZ3/qmp.monitor', pidfile='/tmp/qmp-XK6JZ3/qmp.pid'),
        probe('{lib}', pidfile='{lib}/qmp-XK6JZ4/qmp.pid'),
        probe('{lib}', pidfile='{lib}/capabilities.pidfile'),
        probe('{lib}/x'),
        probe('{lib}')[:-1],
        probe('{lib}')[1:],
        ['-S', *probe('{lib}')],
        ['\0'.join(probe('{lib}')) + '\n'],
    ],
    ids=str,
)
def test_what_is_not_word_for_word_a_question_is_a_qemu(proc, arguments):
    proc(10, '/usr/libexec/qemu-kvm', *[word.replace('{lib}', proc.lib) for word in arguments], age=GRACE)
    assert list(proc.processes.unowned(set())[0]) == [(PROCESS, '10')]


@pytest.mark.parametrize(
    'uids, asks',
    [
        ([0, 0, 0, 0], True),
        (['owner'] * 4, True),
        (['owner', 0, 0, 0], True),
        ([4242] * 4, False),
        ([4242, 0, 0, 0], False),
        ([0, 0, 4242, 0], False),
    ],
    ids=str,
)
def test_who_may_ask(proc, uids, asks):
    """Not by the owner of what is in /proc, who is root where a process does not let itself be looked into."""
    owner = os.stat(proc.lib).st_uid
    proc(10, '/usr/libexec/qemu-kvm', *probe(proc.lib), age=10.0, uids=[owner if u == 'owner' else u for u in uids])
    assert list(proc.processes.unowned(set())[0]) == ([] if asks else [(PROCESS, '10')])


def test_without_libvirts_directory_only_root_may_ask(proc):
    os.rmdir(proc.lib)
    proc(10, '/usr/libexec/qemu-kvm', *probe(proc.lib), age=10.0, uids=[0] * 4)
    proc(11, '/usr/libexec/qemu-kvm', *probe(proc.lib), age=10.0, uids=[4242] * 4)
    assert list(proc.processes.unowned(set())[0]) == [(PROCESS, '11')]


def test_a_process_that_ends_while_it_is_looked_at(proc, monkeypatch):
    """Its program is known by then, and its arguments are empty: the QEMU that libvirt asked for its capabilities."""
    proc(10, '/usr/libexec/qemu-kvm', '-S')
    read = proc.processes._read

    def end(name):
        if name == '10/cmdline':
            os.unlink(os.path.join(proc.processes._proc, '10/exe'))
            return ''
        return read(name)

    monkeypatch.setattr(proc.processes, '_read', end)
    assert proc.processes.unowned(set()) == ({}, 0.0)
