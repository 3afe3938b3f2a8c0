# SPDX-License-Identifier: Apache-2.0
"""Upgrades and downgrades of an installation that is in use: no call sees half of one, whatever ends the installer."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from installation import CLEAN, DENIED, Installed, copy_checkout
from installing import edit, install, make_old_layout

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
            text = module.read_text('utf-8').replace("denied by policy '%s'", "denied by %s policy '%%s'" % name)
            for function in RENAMED:  # a module of that name keeps it
                text = re.sub(r'\b%s\b(?! import)' % function, '%s_of_%s' % (function, name), text)
            module.write_text(text, 'utf-8')
        made.append((name, checkout))
    return made


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
    assert there.run_cli('policy', 'compile').returncode == 0
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
    assert there.run_cli('policy', 'compile').returncode == 0
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
    """What the new version puts into /etc says what the one before cannot read, so it waits for the calls of that."""
    before, after = copy_checkout(tmp_path / 'before'), copy_checkout(tmp_path / 'after')
    edit(before / 'hooks/qemu', '\nname=$1', '\n[ "$1" != guest ] || read -r _ <%s\nname=$1' % (tmp_path / 'fifo'))
    edit(after / 'lib/virtguard/policy/layer.py', 'MAX_DEADLINE = 60', 'MAX_DEADLINE = 90')
    edit(after / 'policy.yaml', 'extends: rhel-8', 'extends: rhel-8\ndeadline: 80')
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
