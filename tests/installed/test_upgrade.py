# SPDX-License-Identifier: Apache-2.0
"""Upgrades and downgrades of an installation that is in use: no call sees half of one, whatever ends the installer."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from installation import CLEAN, DENIED, Installed, copy_checkout, run_installer

# What another version calls otherwise: functions that modules of the hook call in each other, early and late in a call.
RENAMED = (
    'read_domain',
    'load_compiled',
    'verdict_fields',
    'refusal',
    'parse_domain',
    'evaluate',
    'read_facts',
    'today',
)
OLD_HOOK = '#!/bin/sh\nexit 0\n'


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'root'


@pytest.fixture(scope='module')
def versions(tmp_path_factory):
    """Two versions whose modules do not fit each other, and that say which one they are: (name, checkout)."""
    made = []
    for name in ('first', 'second'):
        checkout = copy_checkout(tmp_path_factory.mktemp('versions') / name)
        for module in checkout.glob('lib/virtguard/**/*.py'):
            text = module.read_text('utf-8').replace('"policy \'%s\'"', '"%s policy \'%%s\'"' % name)
            for function in RENAMED:  # a module of that name keeps it
                text = re.sub(r'\b%s\b(?! import)' % function, '%s_of_%s' % (function, name), text)
            module.write_text(text, 'utf-8')
        made.append((name, checkout))
    return made


def install(root, *options, status=0, **kw):
    result = run_installer(root, *options, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def edit(path, old, new):
    text = path.read_text('utf-8')
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), 'utf-8')


class Calls:
    """Calls the hook all the time, as libvirt does for the starts of a clean and of a denied domain, while others
    upgrade it. `wrong` are the answers that no version gives."""

    def __init__(self, there, names):
        self._there = there
        self._names = names
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(xml,)) for xml in (CLEAN, DENIED)]
        self.count, self.wrong, self.seen = 0, [], set()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _call(self, xml):
        while not self._end.is_set():
            result = self._there.run_hook('guest', 'prepare', xml, timeout=60)
            answer = (result.returncode, result.stdout, result.stderr)
            self.count += 1
            said = re.match(
                rb"virt-guard: domain 'guest' denied by (\w+) policy 'rhel-8': tpm-passthrough\n", answer[2]
            )
            if xml is CLEAN and answer == (0, b'', b''):
                continue
            if xml is DENIED and answer[:2] == (1, b'') and said and said.group(1).decode() in self._names:
                self.seen.add(said.group(1).decode())
                continue
            self.wrong.append(answer)


def test_no_call_sees_half_an_upgrade(root, versions):
    (first, one), (second, other) = versions
    install(root, checkout=one)
    there = Installed(root)
    there.write_policy()
    install(root, checkout=one)
    rounds = int(os.environ.get('VIRT_GUARD_UPGRADES', '2'))
    with Calls(there, {first, second}) as calls:
        for _ in range(rounds):
            install(root, checkout=other)
            install(root, checkout=one)
    assert calls.wrong == []
    assert calls.seen == {first, second}
    assert calls.count > 10 * rounds
    install(root, checkout=one)  # what was still in use goes now
    assert [path.name for path in there.library.glob('tree-*')] == [there.tree.name]


def test_an_installer_that_is_killed_leaves_a_hook_that_works(root, versions):
    """SIGKILL at any moment: what is in force is one version, and the next run takes away what was left."""
    (first, one), (second, other) = versions
    install(root, checkout=one)
    there = Installed(root)
    there.write_policy()
    began = time.monotonic()
    install(root, checkout=one)
    duration = time.monotonic() - began
    kills = int(os.environ.get('VIRT_GUARD_UPGRADES', '2')) * 2
    chance = random.Random(4)
    with Calls(there, {first, second}) as calls:
        for number in range(kills):
            checkout = (other, one)[number % 2]
            command = [str(checkout / 'install.sh'), '--root', str(root), '--no-deps', '--python', sys.executable]
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(chance.uniform(0, 2 * duration))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert calls.wrong == []
    install(root, checkout=other)
    install(root, checkout=other)
    assert list(root.rglob('.virt-guard*')) == []
    assert sorted(path.name for path in there.library.iterdir()) == [
        'created-directories',
        'policy.yaml',
        there.tree.name,
    ]
    assert [path.name for path in (root / 'usr/sbin').iterdir()] == ['virt-guard-hook']
    assert [path.name for path in (root / 'etc/libvirt/hooks').iterdir()] == ['qemu']
    there.policy.unlink()
    install(root, '--uninstall')
    assert [path for path in root.rglob('*') if not path.is_dir() and path != there.log] == []


def test_a_call_that_began_before_keeps_its_code(root, versions):
    (_, one), (second, other) = versions
    install(root, checkout=one)
    there = Installed(root)
    there.write_policy(deadline='60')  # for as long as the upgrade takes, the call waits for its document
    install(root, checkout=one)
    before = there.tree
    reader, writer = os.pipe()
    call = subprocess.Popen(
        [str(there.hook), 'guest', 'prepare', 'begin', '-'],
        stdin=reader,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    os.close(reader)
    deadline = time.monotonic() + 50
    while str(before).encode() not in pathlib.Path('/proc/%d/cmdline' % child_of(call.pid, deadline)).read_bytes():
        assert time.monotonic() < deadline
    upgrade = threading.Thread(target=install, args=(root,), kwargs={'checkout': other})
    upgrade.start()
    while there.tree == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.write(writer, DENIED)
    os.close(writer)
    _, stderr = call.communicate()
    assert (call.returncode, b'denied by first policy' in stderr) == (1, True)
    upgrade.join()
    assert not before.exists()


def test_a_call_that_began_before_keeps_its_policy(root, tmp_path):
    """The new version's policy says what the version before cannot read, so it waits for the calls of that one."""
    before, after = copy_checkout(tmp_path / 'before'), copy_checkout(tmp_path / 'after')
    edit(before / 'hooks/qemu', '\nname=$1', '\n[ "$1" != guest ] || read -r _ <%s\nname=$1' % (tmp_path / 'fifo'))
    edit(after / 'lib/virtguard/policy/layer.py', 'MAX_DEADLINE = 60', 'MAX_DEADLINE = 90')
    edit(after / 'policy.yaml', 'deadline: 5 ', 'deadline: 80 ')
    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text('rules:\n- {id: container-host, action: "off", reason: tests}\n')
    install(root, checkout=before)
    there = Installed(root)
    old_tree, old_policy = there.tree, there.policy.read_bytes()
    os.mkfifo(str(tmp_path / 'fifo'))
    command = [str(there.hook), 'guest', 'prepare', 'begin', '-']
    call = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    upgrade = threading.Thread(target=install, args=(root,), kwargs={'checkout': after})
    upgrade.start()
    deadline = time.monotonic() + 40
    while there.tree == old_tree:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # more than it takes to go on
    (tmp_path / 'fifo').write_text('\n')
    _, stderr = call.communicate(DENIED)
    upgrade.join()
    assert (call.returncode, b'denied by policy' in stderr) == (1, True), stderr
    assert there.policy.read_bytes() != old_policy


def child_of(pid, deadline):
    while True:
        children = pathlib.Path('/proc/%d/task/%d/children' % (pid, pid)).read_text().split()
        if children:
            return int(children[0])
        assert time.monotonic() < deadline


def test_packages_within_the_package(root, tmp_path):
    checkout = copy_checkout(tmp_path / 'checkout')
    (checkout / 'lib/virtguard/inner').mkdir()
    (checkout / 'lib/virtguard/inner/__init__.py').write_text('')
    (checkout / 'lib/virtguard/inner/part.py').write_text('from ..wording import refusal\n')
    hook = checkout / 'lib/virtguard/hook/call.py'
    hook.write_text(
        hook.read_text('utf-8').replace('import posix', 'import posix\nfrom ..inner import part', 1), 'utf-8'
    )
    install(root, checkout=checkout)
    there = Installed(root)
    assert len(list(there.tree.glob('virtguard/inner/__pycache__/*.pyc'))) == 2
    there.write_policy()
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 1
    install(root)
    assert list(there.library.glob('*/virtguard/inner')) == []


# --- from versions before the trees


def make_old_layout(root, link):
    """As those versions have installed it, and as a run of theirs that was killed may have left it."""
    program, package = root / 'usr/libexec/virt-guard/qemu', root / 'usr/lib/virt-guard/virtguard'
    for directory in (program.parent, package / '__pycache__', package.parent / 'profiles', link.parent):
        directory.mkdir(parents=True)
    program.write_text(OLD_HOOK)
    program.chmod(0o755)
    link.symlink_to(program)
    (package / 'hook.py').write_text('pass\n')
    (package / '__pycache__/hook.cpython-311.pyc').write_text('')
    (package / '.virt-guard.77').write_text('')
    (package.parent / 'profiles/rhel-9.yaml').write_text('')


@pytest.mark.parametrize('place', ['qemu', 'qemu.d/00-virt-guard'])
@pytest.mark.parametrize('option', ['', '--uninstall'])
def test_old_layout(root, place, option):
    hooks = root / 'etc/libvirt/hooks'
    make_old_layout(root, hooks / place)
    if option:
        install(root, option)
        assert [path for path in root.rglob('*') if not path.is_dir()] == []
        return
    install(root)
    there = Installed(root)
    assert os.readlink(str(there.hook)) == str(there.program)
    assert not list(hooks.glob('qemu.d/*')), 'never two links'
    assert not (root / 'usr/libexec/virt-guard').exists()
    assert sorted(path.name for path in there.library.iterdir()) == [
        'created-directories',
        'policy.yaml',
        there.tree.name,
    ]
    assert 'unchanged' in install(root).stdout
    install(root, '--uninstall')
    assert [path for path in root.rglob('*') if not path.is_dir() and path != there.log] == []


def test_the_link_is_replaced_without_a_gap(root):
    """Whoever looks at any moment finds one link of ours."""
    hooks = root / 'etc/libvirt/hooks'
    make_old_layout(root, hooks / 'qemu')
    seen, end = set(), threading.Event()

    def look():
        while not end.is_set():
            try:
                seen.add(os.readlink(str(hooks / 'qemu')))
            except FileNotFoundError:
                seen.add(None)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        install(root)
    finally:
        end.set()
        thread.join()
    assert seen == {str(root / 'usr/libexec/virt-guard/qemu'), str(root / 'usr/sbin/virt-guard-hook')}


# --- a version that is not put in force changes nothing


def contents(root):
    """Every path below `root`, with what is in it, but for the log, which the check writes to."""
    return {
        path: os.readlink(str(path)) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in root.rglob('*')
        if path.name != 'virt-guard.log'
    }


@pytest.mark.parametrize('installed_before', [False, True])
@pytest.mark.parametrize(
    ('file', 'old', 'new', 'complaint'),
    [
        ('hooks/qemu', '# What libvirt runs', 'exit 1\n# What libvirt runs', 'must not'),
        ('hooks/qemu', 'prepare | start)', 'nothing)', 'does not refuse a domain with unsupported features'),
        ('hooks/qemu', 'prepare | start) ;;', 'reconnect) exit 3 ;; prepare | start) ;;', 'end running domains'),
        ('lib/virtguard/hook/call.py', 'def main(', 'def mein(', 'it refuses a domain without'),
        ('lib/virtguard/hook/worker.py', 'import _signal', 'import _no_signal', 'it refuses a domain without'),
        ('policy.yaml', 'policy: rhel-8', 'polcy: rhel-8', 'polcy'),
    ],
)
def test_what_fails_the_proof_leaves_everything_as_it_was(root, tmp_path, installed_before, file, old, new, complaint):
    root.mkdir()
    if installed_before:
        install(root, '--mode', 'audit')
    before = contents(root)
    checkout = copy_checkout(tmp_path / 'checkout')
    text = (checkout / file).read_text('utf-8')
    assert old in text
    (checkout / file).write_text(text.replace(old, new), 'utf-8')
    result = install(root, checkout=checkout, status=1)
    assert complaint in result.stderr
    assert 'nothing was changed' in result.stderr
    left = contents(root)
    for path in (root / 'var/log/libvirt', root / 'var/log', root / 'var'):  # for the log of the check
        left.pop(path, None)
        before.pop(path, None)
    assert left == before
    if installed_before:
        assert 'unchanged' in install(root).stdout


@pytest.fixture
def in_place_of(tmp_path):
    """A function: a program of this host, and a shell script -> command prefix that runs with that in its place. The
    script has the program itself as $real."""

    def prefix(program, text):
        program = shutil.which(program)
        real, script = tmp_path / (os.path.basename(program) + '.real'), tmp_path / os.path.basename(program)
        shutil.copy(program, str(real))
        script.write_text('#!/bin/sh\nreal=%s\n%s\nexec $real "$@"\n' % (real, text))
        script.chmod(0o755)
        command = ['unshare', '--mount', '--', 'sh', '-c', 'mount --bind "$0" "$1" && shift && exec "$@"']
        command += [str(script), program]
        if os.geteuid() != 0 or subprocess.call([*command, 'true'], stderr=subprocess.DEVNULL) != 0:
            pytest.skip('needs root and a mount namespace')
        return command

    return prefix


@pytest.fixture
def other_version(tmp_path):
    checkout = copy_checkout(tmp_path / 'checkout')
    with (checkout / 'lib/virtguard/hook/call.py').open('a', encoding='utf-8') as file:
        file.write('# other\n')
    return checkout


def test_half_a_copy_is_never_put_back(root, in_place_of, other_version):
    """Where no more fits into /tmp."""
    install(root)
    before = contents(root)
    half = 'case $3 in */usr/sbin/virt-guard-hook) head -c 100 "$3" >"$4"; exit 1 ;; esac'
    install(root, checkout=other_version, prefix=in_place_of('cp', half), status=1)
    assert contents(root) == before


def test_who_is_impatient_gets_everything_put_back(root, in_place_of, other_version):
    """A signal while what was changed is put back."""
    install(root)
    (root / 'etc/libvirt/hooks/qemu').unlink()
    before = contents(root)
    first = in_place_of('ln', 'case $4 in */hooks/.virt-guard.*) exit 1 ;; esac')
    second = in_place_of('mv', 'case $4 in */usr/sbin/virt-guard-hook) kill -TERM $PPID ;; esac')
    install(root, checkout=other_version, prefix=[*first, *second], status=1)
    assert contents(root) == before


@pytest.mark.parametrize('place', ['', 'qemu', 'qemu.d/00-virt-guard'])
def test_the_link_goes_back_with_its_program(root, in_place_of, place):
    """What fails when nothing but the label of the link was left to do."""
    root.mkdir()
    if place:
        make_old_layout(root, root / 'etc/libvirt/hooks' / place)
    before = contents(root)
    late = 'case $5$4$3 in */hooks/qemu*) $real "$@"; exit 1 ;; esac'
    install(root, prefix=in_place_of('mv', late), status=1)
    left = contents(root)
    for path in (root / 'var/log/libvirt', root / 'var/log', root / 'var'):  # for the log of the check
        left.pop(path, None)
    assert left == before


def test_no_signal_comes_between_the_program_and_its_link(root, in_place_of):
    """A call may have begun by then with code that would be taken away again."""
    late = 'case $5$4$3 in */hooks/qemu*) kill -TERM $PPID ;; esac'
    install(root, prefix=in_place_of('mv', late))
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 1


def test_the_program_in_use_never_judges_by_the_policy_of_the_proof(root, tmp_path):
    """Not even one that cannot be executed now: when it can be again is not for the proof to say."""
    install(root)
    there = Installed(root)
    there.program.chmod(0o644)
    before = there.program.read_bytes()
    checkout = copy_checkout(tmp_path / 'checkout')
    edit(checkout / 'hooks/qemu', '\nname=$1', '\ncp %s %s\nname=$1' % (there.program, tmp_path / 'seen'))
    install(root, checkout=checkout)
    assert (tmp_path / 'seen').read_bytes() == before
    assert there.program.read_bytes() != before


def test_what_runs_that_were_killed_have_left(root):
    install(root)
    left = [
        root / name
        for name in (
            'etc/virt-guard/.virt-guard.12',
            'etc/virt-guard/policy.compiled.13',
            'etc/virt-guard/policy.compiled.13.14',
            'etc/virt-guard/.virt-guard-check.yaml',
            'etc/virt-guard/.virt-guard-check.compiled.15',
            'etc/libvirt/hooks/.virt-guard.16',
            'usr/bin/.virt-guard.17',
            'usr/sbin/.virt-guard.18',
            'usr/sbin/virt-guard-hook.check',
            'usr/share/man/man5/.virt-guard.19',
            'usr/libexec/virt-guard/.virt-guard.20',
        )
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    install(root, '--uninstall')
    assert [
        path for path in root.rglob('*') if not path.is_dir() and path != root / 'var/log/libvirt/virt-guard.log'
    ] == []


# --- hosts that cannot be installed on


@pytest.mark.parametrize('read_only', ['usr', 'etc'])
@pytest.mark.parametrize('installed_before', [False, True])
@pytest.mark.parametrize('option', ['--no-deps', '--uninstall'])
def test_read_only(root, read_only, installed_before, option):
    """As on a host that is made of an image."""
    namespace = [
        'unshare',
        '--mount',
        '--',
        'sh',
        '-c',
        'mount -o bind,ro "$0" "$0" && exec "$@"',
        str(root / read_only),
    ]
    (root / 'usr').mkdir(parents=True)
    (root / 'etc').mkdir()
    if os.geteuid() != 0 or subprocess.call([*namespace, 'true'], stderr=subprocess.DEVNULL) != 0:
        pytest.skip('needs root and a mount namespace')
    if installed_before:
        install(root)
    before = contents(root)
    result = install(root, option, prefix=namespace, status=1 if installed_before or option == '--no-deps' else 0)
    if result.returncode:
        assert result.stderr.startswith('install.sh: %s' % (root / read_only))
        assert 'is read-only, and nothing was changed. On a host that is made of an image' in result.stderr
    assert contents(root) == before


def test_one_installer_at_a_time(root):
    if not shutil.which('flock'):
        pytest.skip('needs flock (util-linux)')
    root.mkdir()
    result = install(root, prefix=['flock', str(root)], status=1)
    assert 'another install.sh is at work' in result.stderr
    assert list(root.iterdir()) == []
    install(root)


# --- hosts that are slow


@pytest.mark.parametrize(('deadline', 'status'), [('60', 0), ('4', 0), ('0.5', 1)])
def test_slow_host(root, tmp_path, deadline, status):
    """A call that takes more than a fifth of the deadline is told; one that takes longer than that stops install.sh."""
    slow = tmp_path / 'python'
    slow.write_text('#!/bin/sh\n[ "$1$2" != -I-S ] || sleep 1\nexec %s "$@"\n' % sys.executable)
    slow.chmod(0o755)
    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text('deadline: %s\n' % deadline)
    result = install(root, '--python', str(slow), status=status)
    said = (result.stderr if status else result.stdout).partition('a call of the hook took ')[2]
    assert bool(said) == (deadline != '60')
    if said:
        assert 1 <= float(said.split()[0]) < 20
        (advice,) = re.findall(r"echo '(deadline: \d+)' >(\S+)", said)
        assert int(advice[0].split()[1]) > 5
        assert advice[1] == str(root / 'etc/virt-guard/policy.d/99-deadline.yaml') + ',' * status + ';' * (not status)
    assert os.path.lexists(str(root / 'etc/libvirt/hooks/qemu')) == (status == 0)


# --- a host: install.sh without --root


APPARMOR = """
mkdir -p /sys/module/apparmor/parameters /sys/kernel/security/apparmor /etc/apparmor.d
echo Y >/sys/module/apparmor/parameters/enabled
echo 'libvirtd (enforce)' >/sys/kernel/security/apparmor/profiles
rm -f /etc/apparmor.d/*libvirtd /usr/bin/aa-exec /usr/sbin/aa-exec
"""
RULE = "echo 'profile libvirtd { %s }' >/etc/apparmor.d/usr.sbin.libvirtd\n"
NO_AA_EXEC = """
cat >/usr/bin/aa-exec <<'END'
#!/bin/sh
echo 'aa-exec: ERROR: AppArmor interface not available' >&2
exit 1
END
chmod 755 /usr/bin/aa-exec
"""


@pytest.mark.parametrize('aa_exec', ['', NO_AA_EXEC], ids=['missing', 'useless'])
@pytest.mark.parametrize(
    ('profile', 'status', 'said'),
    [
        (RULE % '/usr/sbin/* PUx,', 0, 'lets the daemon execute it (read, not tried'),
        (RULE % '/usr/bin/* PUx,', 1, 'libvirtd does not let libvirt'),
        ('', 0, 'not known: whether the AppArmor profile libvirtd lets'),
    ],
)
def test_a_profile_that_cannot_be_tried_is_read(on_host, aa_exec, profile, status, said):
    script = APPARMOR + aa_exec + profile + 'install; status=$?; ls /etc/libvirt/hooks; exit $status'
    answer, output = on_host(script)
    assert (answer, said in output) == (status, True), output
    assert output.endswith('qemu\n') == (status == 0)


# Where the watch runs, and no daemon.
SYSTEMD = """
mkdir -p /run/systemd/system
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
case "$*" in *virtqemud* | *libvirtd*) exit 3 ;; esac
END
chmod 755 /usr/bin/systemctl
"""


def test_a_watch_of_the_version_before_is_restarted(on_host):
    """Where a run was killed, nothing but the restart may be left to do."""
    again = 'for run in 2 3; do echo AGAIN; install; done'
    answer, output = on_host(SYSTEMD + 'install; mkdir /usr/lib/virt-guard/tree-0\n' + again)
    _, second, third = output.split('AGAIN')
    assert answer == 0, output
    assert ('started    virt-guard-watch.service' in second, 'started' in third) == (True, False), output


def test_without_proc(root):
    """As in the chroot that an image is made in."""
    prefix = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /proc && exec "$@"', 'sh']
    if os.geteuid() != 0 or subprocess.call([*prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
        pytest.skip('needs root and a mount namespace')
    assert 'linked' in install(root, prefix=prefix).stdout
