# SPDX-License-Identifier: Apache-2.0
"""The hook in an installation that is damaged: one line, `failure` decides, and a verdict where one can be had."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
import types

import pytest
from hooked import refused, start_hook
from installation import call, hook_copy, newly_installed
from support.records import FAILED_ID, WOULD_DENY_ID
from virtguard.health.condition import AMISS, NOTE, OK
from virtguard.health.hook_in_place import examine_hook
from virtguard.policy.installation import installed_below

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]

LAZY = (
    'errors',
    'model',
    'packed',
    'xpath_values',
    'journal',
    'wording',
    'findings',
    'waivers',
    'digest',
    'hook/worker',
    'deadline',
    'pipe',
    'host_probes',
    'libraries',
    'judging/subject',
    'judging/evaluate',
    'policy/problems',
)
GROUND = ('hook/call', 'hook/__init__', 'verdict', 'compiled', 'tree', 'xpath', 'trust', 'host', '__init__')


@pytest.fixture(scope='module')
def fragile(tmp_path_factory):
    installed = newly_installed(tmp_path_factory.mktemp('fragile'))
    installed.compiles = True
    installed.write_policy()
    return installed


@pytest.fixture
def package(fragile, tmp_path):
    """The package of the hook, to damage: what is written goes to a file system of its own, and with that."""
    package = fragile.tree / 'virtguard'
    changes = tmp_path / 'changes'
    changes.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', str(changes)], check=True)
    for name in ('new', 'work'):
        (changes / name).mkdir()
    options = 'lowerdir=%s,upperdir=%s/new,workdir=%s/work' % (package, changes, changes)
    subprocess.run(['mount', '-t', 'overlay', '-o', options, 'overlay', str(package)], check=True)
    yield package
    for path in (package, changes):
        subprocess.run(['umount', str(path)], check=True)


def caches(package, *names):
    paths = [package / name for name in names]
    found = [cache for path in paths for cache in path.parent.glob('__pycache__/' + path.name + '.*.pyc')]
    assert len(found) == len(names)
    return found


def start_file(package, kind='start'):
    (found,) = package.glob('__pycache__/*.' + kind)
    return found


def truncate(path, length):
    data = path.read_bytes()
    status = path.stat()
    path.write_bytes(data[:length] if length > 0 else data[:16] + b'\xff' * (len(data) - 16))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


WHICH = [GROUND, LAZY, ('journal',), ('hook/call',), ('judging/evaluate', 'qemu_args'), ('*',)]


@pytest.mark.parametrize('length', [16, 40, -1])
@pytest.mark.parametrize('which', WHICH, ids=str)
def test_damaged_caches_of_whole_sources(fragile, package, journal, which, length):
    every = list(package.glob('**/*.pyc')) if which == ('*',) else caches(package, *which)
    for path in [*every, start_file(package), start_file(package, 'later')]:
        truncate(path, length)
    assert fragile.run_hook('guest', 'start', fragile.clean).returncode == 0
    result = fragile.run_hook('guest', 'start', fragile.denied)
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith(b"virt-guard: domain 'guest' denied by policy 'rhel-8': tpm-passthrough\n")
    assert [record['VIRT_GUARD_DECISION'] for record in journal.records()] == [['admit'], ['deny']]


@pytest.mark.parametrize('length', [0, 3, 1000, 100000])
@pytest.mark.parametrize('zeros', [False, True])
@pytest.mark.parametrize('kind', ['start', 'later'])
def test_damaged_start_file(fragile, package, journal, kind, length, zeros):
    """The caches of the single modules, or their sources, are there, and take its place."""
    path = start_file(package, kind)
    data = path.read_bytes()
    path.write_bytes(data[:length] + bytes(len(data) - length) * zeros)
    assert fragile.run_hook('guest', 'start', fragile.clean).returncode == 0
    assert fragile.run_hook('guest', 'start', fragile.denied).returncode == 1
    assert [record['VIRT_GUARD_DECISION'] for record in journal.records()] == [['admit'], ['deny']]


@pytest.mark.parametrize('kind, failure', [('start', 'deny'), ('start', 'admit'), ('later', 'deny')])
def test_flipped_bits_of_the_start_file(fragile, package, journal, kind, failure):
    """Caches or sources of the modules take its place, too: a start never depends on what marshal makes of those."""
    path = start_file(package, kind)
    data = path.read_bytes()
    with fragile.with_policy(failure=failure):
        for place in range(0, len(data), len(data) // 9):
            flipped = bytearray(data)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            result = fragile.run_hook('guest', 'prepare', fragile.denied)
            assert result.returncode == 1 and b'denied by policy' in result.stderr, (place, result.stderr)


def test_status_tells_how_the_start_file_is(fragile, package):
    path = start_file(package)
    installation = installed_below(str(fragile.root))

    def condition():
        (found,) = [condition for condition in examine_hook(installation) if condition.subject == 'start-file']
        return found.state, found.remedy

    assert condition() == (OK, '')
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert condition() == (AMISS, './install.sh')
    path.unlink()
    assert condition() == (NOTE, './install.sh')


BREAKAGES = {
    'missing': lambda path: path.unlink(),
    'empty': lambda path: path.write_text(''),
    'half': lambda path: path.write_text(path.read_text()[: len(path.read_text()) // 2] + '\n('),
    'raises': lambda path: path.write_text('raise RuntimeError("half an upgrade")\n'),
    'other names': lambda path: path.write_text('OTHER = 1\n'),
}


@pytest.mark.parametrize('failure, how', [('deny', how) for how in sorted(BREAKAGES)] + [('admit', 'missing')])
@pytest.mark.parametrize('module', LAZY)
def test_broken_module(fragile, package, journal, module, how, failure):
    """Never a traceback, never more than two lines, and never a word that is not true."""
    for path in caches(package, module):
        path.unlink()
    with fragile.with_policy(failure=failure):
        BREAKAGES[how](package / (module + '.py'))
        result = fragile.run_hook('guest', 'prepare', fragile.denied)
    if failure == 'admit':
        assert (result.returncode, result.stdout, result.stderr) in ((0, b'', b''), (1, b'', result.stderr))
        return
    if result.returncode == 1:  # that module takes no part in it
        assert b'denied by policy' in result.stderr
        return
    text = refused(result)
    assert len(text.splitlines()) <= 2
    assert 'before the guard had run' not in text
    assert len(text.splitlines()[0]) > len("virt-guard: domain 'guest' could not be judged: ") + 10


@pytest.mark.parametrize('module', GROUND[:-1])
@pytest.mark.parametrize('how', sorted(BREAKAGES))
def test_broken_module_of_the_ground(fragile, package, module, how):
    for path in caches(package, module):
        path.unlink()
    BREAKAGES[how](package / (module + '.py'))
    text = refused(fragile.run_hook('guest', 'prepare', fragile.denied))
    assert len(text.splitlines()) <= 2
    assert 'the guard cannot run' in text or 'internal error' in text  # where only the judging process misses a name


# Of what a compiled policy holds: the stamp of its sources, what is in them, and the policy. No rule has its texts.
SHAPES = {
    'numbers': lambda stamp, contents, policy: (stamp, contents, 7),
    'few': lambda stamp, contents, policy: (stamp, contents, policy[:3]),
    'no stamp': lambda stamp, contents, policy: ((), contents, policy),
    'another stamp': lambda stamp, contents, policy: (stamp[:1] + ((1, 2, 3),), contents, policy),
    'no contents': lambda stamp, contents, policy: (stamp[:-1] + ((*stamp[-1][:2], (0,)),), 7, policy),
    'two things': lambda stamp, contents, policy: (stamp, policy),
    'one thing': lambda stamp, contents, policy: 7,
    'settings': lambda stamp, contents, policy: (stamp, contents, (('x',) * 7,) + policy[1:]),
    'deadline': lambda stamp, contents, policy: (
        stamp,
        contents,
        (policy[0][:3] + ('soon',) + policy[0][4:],) + policy[1:],
    ),
    'facts': lambda stamp, contents, policy: (stamp, contents, (policy[0], ('weather',)) + policy[2:]),
    'wanted': lambda stamp, contents, policy: (stamp, contents, policy[:2] + ([],) + policy[3:]),
    'needs': lambda stamp, contents, policy: (stamp, contents, policy[:4] + ((1, 2, 3),) + policy[5:]),
    'operators': lambda stamp, contents, policy: (
        stamp,
        contents,
        policy[:4] + (((0, (), ('nand', '\x02domain')),),) + policy[5:],
    ),
    'texts': lambda stamp, contents, policy: (stamp, contents, policy),
}


@pytest.mark.parametrize('what', sorted(SHAPES))
def test_compiled_policy_of_another_shape(fragile, journal, what):
    """Both copies are the same, so something else than the compiler made it: the policy itself is judged by."""
    import marshal

    path = fragile.policy.with_suffix('.compiled')
    assert fragile.run_cli('policy', 'compile').returncode == 0
    saved = path.read_bytes()
    head, _, payload = saved.split(b'\n', 2)
    copy = marshal.dumps(SHAPES[what](*marshal.loads(payload)))
    try:
        path.write_bytes(b'%s\n%d 0\n%s%s' % (head, len(copy), copy, copy))
        result = fragile.run_hook('guest', 'start', fragile.denied)
        assert result.returncode == 1, result.stderr
        assert fragile.run_hook('guest', 'start', fragile.clean).returncode == 0
    finally:
        path.write_bytes(saved)
    for record in journal.records():
        if record['VIRT_GUARD_DECISION'] == ['deny'] or what != 'texts':  # which a clean domain does not ask for
            assert 'policy.compiled' in record['VIRT_GUARD_WARNING'][0]


# --- the interpreter ------------------------------------------------------------------------------------------------

INTERPRETERS = {
    'crash': 'kill -SEGV $$',
    'killed': 'kill -KILL $$',
    'noise': 'echo "could not find platform libraries" >&2; exit 1',
    'no library': 'echo "error while loading shared libraries" >&2; exit 127',
}


@pytest.mark.parametrize('shell', ['/bin/sh', '/bin/bash --posix'])
@pytest.mark.parametrize('operation', ['prepare', 'start'])
@pytest.mark.parametrize('what', sorted(INTERPRETERS))
def test_nothing_is_printed_before_the_guard_runs(fragile, tmp_path, what, operation, shell):
    python = tmp_path / 'python3'
    python.write_text('#!/bin/sh\n%s\n' % INTERPRETERS[what])
    python.chmod(0o755)
    hook = hook_copy(fragile, tmp_path, python=python)
    hook.write_text(hook.read_text().replace('#!/bin/sh', '#!' + shell, 1))
    text = refused(call(hook, ['guest', operation, 'begin', '-'], fragile.clean))
    assert len(text.splitlines()) == 1
    assert 'ended with status' in text


# As by a host that has no memory left, in the middle of a document that wants it all.
KILLED = """\
#!/bin/sh
case $* in
*hook?import?main*) kill -KILL $$ ;;
*) exec %s "$@" ;;
esac
"""


@pytest.mark.parametrize('operation', ['prepare', 'start'])
@pytest.mark.parametrize('mode, status', [('enforce', 2), ('audit', 0)])
def test_a_document_that_gets_the_guard_killed_is_not_admitted(fragile, tmp_path, journal, operation, mode, status):
    """Whatever `failure` says: whoever defines a domain chooses its document."""
    python = tmp_path / 'python3'
    python.write_text(KILLED % sys.executable)
    python.chmod(0o755)
    hook = hook_copy(fragile, tmp_path, python=python)
    with fragile.with_policy(mode=mode, failure='admit'):
        result = call(hook, ['guest', operation, 'begin', '-'], fragile.clean)
    assert result.returncode == status
    if status:
        assert 'the guard was killed while it judged the document' in refused(result)


@pytest.mark.parametrize('operation', ['prepare', 'start'])
@pytest.mark.parametrize('shell', ['/bin/sh', '/bin/bash --posix'])
def test_an_interpreter_that_is_not_a_program(fragile, tmp_path, operation, shell):
    python = tmp_path / 'python3'
    python.write_bytes(b'\x7fELF' + bytes(range(1, 9)) * 20)
    python.chmod(0o755)
    hook = hook_copy(fragile, tmp_path, python=python)
    hook.write_text(hook.read_text().replace('#!/bin/sh', '#!' + shell, 1))
    text = refused(call(hook, ['g', operation, 'begin', '-'], fragile.clean))
    assert len(text.splitlines()) == 1


def test_an_interpreter_that_hangs(fragile, tmp_path):
    """As one on a file server that is gone. All at once, because each call waits."""
    fifo = tmp_path / 'fifo'
    os.mkfifo(str(fifo))
    calls = []
    started = time.monotonic()
    for number, how in enumerate(('kill -STOP $$', 'exec sleep 300', 'exec cat %s' % fifo)):
        for shell in ('/bin/sh', '/bin/bash --posix'):
            directory = tmp_path / ('%d %s' % (number, os.path.basename(shell)))
            directory.mkdir()
            python = directory / 'python3'
            python.write_text('#!/bin/sh\n%s\n' % how)
            python.chmod(0o755)
            hook = hook_copy(fragile, directory, python="'%s'" % python)
            hook.write_text(hook.read_text().replace('#!/bin/sh', '#!' + shell, 1))
            calls.append((python, start_hook(types.SimpleNamespace(hook=hook), 'guest', 'prepare')))
    for python, call_ in calls:
        out, err = call_.communicate(fragile.clean, timeout=30)
        text = refused(subprocess.CompletedProcess(call_.args, call_.returncode, out, err))
        assert time.monotonic() - started < 25
        assert text == (
            "virt-guard: domain 'guest' could not be judged: %s hangs: it has not come to run the guard in 10 seconds\n"
            % python
        )
    left = subprocess.run(['pgrep', '-f', str(tmp_path)], stdout=subprocess.PIPE).stdout.split()
    assert [pid for pid in left if pathlib.Path('/proc', pid.decode(), 'cmdline').read_bytes() != b''] == []


def test_the_shell_does_not_end_a_guard_within_its_deadline(fragile, journal):
    """With a deadline of its own, it is not the shell that ends it."""
    with fragile.with_policy(deadline='14'):
        process = start_hook(fragile, 'guest', 'prepare')
        time.sleep(12)
        out, err = process.communicate(fragile.clean, timeout=20)
    assert (process.returncode, out, err) == (0, b'', b'')


def test_no_process_stays_behind(fragile):
    """But for those that have ended, and that a container's first process does not look after."""
    ours = {'LC_ALL': 'C', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'VIRT_GUARD_TEST': str(fragile.root)}
    waiting = start_hook(fragile, 'guest', 'prepare', ours)
    assert b'sleep' in running_with(ours, until=b'sleep')
    waiting.communicate(fragile.clean)
    for _ in range(5):
        fragile.run_hook('guest', 'prepare', fragile.clean, env=ours)
    time.sleep(0.5)
    assert running_with(ours) == []


def running_with(environment, until=None):
    """The names of the processes of this environment, once one of the name `until` is among them."""
    mark = ('VIRT_GUARD_TEST=%(VIRT_GUARD_TEST)s' % environment).encode()
    deadline = time.monotonic() + 20
    while True:
        names = []
        for process in pathlib.Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                if mark in (process / 'environ').read_bytes().split(b'\0'):
                    names.append((process / 'comm').read_bytes().strip())
        if until is None or until in names or time.monotonic() > deadline:
            return names
        time.sleep(0.05)


@pytest.fixture
def no_dev_null(private_run):
    """A /dev without the one file."""
    path = pathlib.Path('/dev/null')
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', '/dev'], check=True)
    assert not path.exists()
    yield
    subprocess.run(['umount', '/dev'], check=True)


def test_without_dev_null(fragile, journal, no_dev_null):
    for operation in ('prepare', 'start'):
        assert fragile.run_hook('guest', operation, fragile.clean).returncode == 0
    result = fragile.run_hook('guest', 'start', fragile.denied)
    assert result.returncode == 1
    assert result.stderr.startswith(b"virt-guard: domain 'guest' denied by policy 'rhel-8': tpm-passthrough\n")
    assert not pathlib.Path('/dev/null').exists()


# --- documents against the guard ------------------------------------------------------------------------------------


@pytest.mark.parametrize('mode, status', [('enforce', 2), ('audit', 0)])
def test_a_document_that_libxml2_takes_minutes_for(fragile, journal, mode, status):
    devices = "<interface type='vhostuser'/><disk type='vhostuser'/>\n" * 60000
    xml = fragile.clean.replace(b'<devices>', b'<devices>' + devices.encode())
    with fragile.with_policy(mode=mode, failure='admit', deadline='2'):
        result = fragile.run_hook('guest', 'start', xml, timeout=60)
    assert result.returncode == status
    (record,) = journal.records()
    assert record['MESSAGE_ID'] == [WOULD_DENY_ID if mode == 'audit' else FAILED_ID]
    assert re.search('judging took longer than 2 seconds of processor time', record['MESSAGE'][0])
    assert record['VIRT_GUARD_UUID'] == ['5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10']


# --- a policy that takes long to read -------------------------------------------------------------------------------


def test_a_policy_that_takes_long_to_read_is_told(fragile):
    """8,000 waivers, which take seconds; at every start, where the compiled policy is out of date."""
    waiver = '  - {rules: [tcg], domains: [vm-%d], reason: r, approved-by: a, expires: %s}\n'
    day = time.strftime('%Y-%m-%d', time.localtime(time.time() + 100 * 86400))
    drop_in = fragile.policy.parent / 'policy.d' / '50-many.yaml'
    drop_in.write_text('deadline: 2\nwaivers:\n' + ''.join(waiver % (number, day) for number in range(8000)))
    try:
        for command in (['policy', 'check'], ['policy', 'compile']):
            result = fragile.run_cli(*command, timeout=120)
            assert result.returncode == 0, result.stderr
            assert re.search(rb'note: reading the policy took \d+\.\d s .* deadline of 2 s', result.stdout)
        assert fragile.run_hook('guest', 'prepare', fragile.clean).returncode == 0
    finally:
        drop_in.unlink()
        fragile.run_cli('policy', 'compile')
