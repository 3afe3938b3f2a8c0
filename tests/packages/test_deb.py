# SPDX-License-Identifier: Apache-2.0
"""The Debian package under a real systemd: installed, upgraded, refused, removed, purged; and beside install.sh."""

import json
import re
import shutil
import subprocess
import time

import domains
import pytest
from booted import DAEMON, IN_A_CONTAINER, RENEWAL, WATCH
from debs import INSTALLER, edit, other_version
from domains import domain
from guarded import CHECKOUT, HOOK_ENVIRONMENT, MAIN_HOOK, POLICY
from support.capabilities import missing
from virtguard import __version__

pytestmark = pytest.mark.systemd

PROGRAM, COMPILED, LIBRARY = '/usr/sbin/virt-guard-hook', '/etc/virt-guard/policy.compiled', '/usr/lib/virt-guard'
PACKAGED_INSTALLER = '/%s/install.sh' % INSTALLER
NEXT_UNIT = 'The next audit of running domains'
# What libvirt, systemd, dpkg and the tests write by themselves.
OF_OTHERS = (
    r'/(root|run|tmp)/|/etc/libvirt/(?!hooks)|/etc/machine-id|/var/(cache|log|tmp|lib/(dpkg|libvirt|systemd|swtpm.*|private))'
    r'(/|$)|/usr/share/man/.*/index.db'
)
# Calls the hook until it is told to stop, and notes what it has answered.
CALLER = """
import json, os, subprocess, sys
count, wrong = 0, []
while not os.path.exists('/root/stop'):
    for name, status in (('clean', 0), ('bad', 1)):
        with open('/root/%s.xml' % name) as document:
            answer = subprocess.run(
                [*sys.argv[2:], name, 'prepare', 'begin', '-'],
                stdin=document, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        count += 1
        if answer.returncode != status or answer.stdout:
            wrong.append([name, answer.returncode, answer.stdout.decode(), answer.stderr.decode()])
    with open(sys.argv[1] + '.new', 'w') as file:
        json.dump([count, wrong], file)
    os.rename(sys.argv[1] + '.new', sys.argv[1])
"""


def files(host):
    return {path for path in host.changed() if not re.match(OF_OTHERS, path)}


def dpkg(host, *arguments, status=0):
    """Without a terminal, as an upgrade that nobody looks at: a question would end it."""
    result = host.run(['dpkg', *map(str, arguments)], check=False, timeout=600)
    assert result.returncode == status, result.stdout + result.stderr
    assert 'Configuration file' not in result.stdout + result.stderr
    return result.stdout + result.stderr


def install(host, deb, **options):
    host.write('/root/' + deb.name, deb.read_bytes())
    return dpkg(host, '-i', '/root/' + deb.name, **options)


def state(host):
    return host.run(['dpkg-query', '-W', '-f', '${db:Status-Abbrev}', 'virt-guard'], check=False).stdout.strip()


def tree(host):
    return re.findall(r"^lib='(.*)'$", host.read(PROGRAM), re.MULTILINE)[0]


def assert_refuses(host, name='bad'):
    result = host.try_start(name)
    assert result.returncode != 0 and "virt-guard: domain '%s' denied" % name in result.stderr, result.stderr


@pytest.fixture
def host(new_host):
    """With a running domain, and a policy by which not everything is refused."""
    host = new_host()
    host.run(['rm', '-f', '/usr/sbin/policy-rc.d'])  # a container's, which forbids all services of packages
    host.run(['mkdir', '-p', '/etc/virt-guard/policy.d'])
    host.write('/etc/virt-guard/policy.d/' + IN_A_CONTAINER[0], IN_A_CONTAINER[1])
    host.virsh('create', '/dev/stdin', input=domain('running'))
    host.define(domain('bad', domains.TCG))
    host.define(domain('clean'))
    return host


def make_next(root):
    """The next version: another unit, a module that is gone, and one that is new."""
    edit(root / 'usr/lib/systemd/system' / WATCH, '^Description=.*', 'Description=' + NEXT_UNIT)
    (root / INSTALLER / 'lib/virtguard/of_the_next.py').write_text('# SPDX-License-Identifier: Apache-2.0\n')


def test_the_package_has_nothing_to_complain_of(deb):
    if not shutil.which('lintian'):
        missing('needs lintian')
    result = subprocess.run(
        ['lintian', '--fail-on', 'error,warning', str(deb)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    said = result.stdout.decode('utf-8', 'replace')
    assert result.returncode == 0 and not re.search('^[EW]: ', said, re.MULTILINE), said


def test_life(host, deb):
    """Install, use, choose, upgrade beside starts, remove, install again, purge."""
    before, daemon, running = files(host), host.main_pid(DAEMON), host.qemu_pids()
    said = install(host, deb)
    assert 'told       libvirtd to look for hooks (reload)' in said and 'bad.xml:8: deny [tcg]' in said, said
    assert host.run(['readlink', MAIN_HOOK]).stdout.strip() == PROGRAM
    assert_refuses(host)
    assert host.try_start('clean').returncode == 0
    host.virsh('destroy', 'clean')
    assert host.run(['virt-guard', '--version']).stdout == 'virt-guard %s\n' % __version__
    assert host.run(['dpkg', '--verify', 'virt-guard']).stdout == ''
    assert 'virt-guard' in host.run(['journalctl', '--list-catalog']).stdout
    assert host.systemctl('is-enabled', WATCH, RENEWAL.replace('.service', '.path')).stdout == 'enabled\nenabled\n'
    assert host.systemctl('is-active', WATCH).stdout == 'active\n'
    assert 'virt-guard guards this host' in host.run(['virt-guard', 'status']).stdout

    # osinfo-db changes: on a host without systemd's path unit, too.
    host.systemctl('stop', RENEWAL.replace('.service', '.path'))
    host.run(['rm', COMPILED])
    host.run(['dpkg-trigger', '--by-package=osinfo-db', '/usr/share/osinfo'])
    dpkg(host, '--triggers-only', '--pending')
    assert host.path(COMPILED).exists()
    # And so does Python, for which what each start loads is compiled.
    start_file = host.run(['sh', '-c', 'echo %s/virtguard/__pycache__/hook.*.start' % tree(host)]).stdout.strip()
    host.run(['rm', start_file])
    assert PACKAGED_INSTALLER in host.run(['virt-guard', 'status']).stdout  # as what mends it
    host.run(['dpkg-trigger', '--by-package=python3-minimal', '/usr/bin/python3'])
    dpkg(host, '--triggers-only', '--pending')
    assert host.path(start_file).exists()

    # What the administrator decides is neither asked about nor lost.
    said = host.run([PACKAGED_INSTALLER, '--no-deps', '--profile', 'rhel-9', '--mode', 'audit'], timeout=300).stdout
    assert '\nThe domains defined on this host:\n' in said and 'bad.xml' in said, said
    host.systemctl('disable', '--now', RENEWAL.replace('.service', '.path'))
    other = other_version(deb, '2.0', make_next)
    watch, old_tree = host.main_pid(WATCH), tree(host)
    said = install(host, other)
    assert 'virt-guard-compile.path is disabled, and stays so' in said and 'bad.xml' not in said, said
    assert host.systemctl('is-enabled', RENEWAL.replace('.service', '.path'), check=False).stdout == 'disabled\n'
    assert host.run(['virt-guard', '--version']).stdout == 'virt-guard 2.0\n'
    assert host.show(WATCH, 'Description', 'SubState', 'NeedDaemonReload') == {
        'Description': NEXT_UNIT,
        'SubState': 'running',
        'NeedDaemonReload': 'no',
    }
    assert host.main_pid(WATCH) != watch and tree(host) != old_tree and not host.path(old_tree).exists()
    shown = host.run(['virt-guard', 'policy', 'show']).stdout
    assert 'rhel-9' in host.read(POLICY) and re.search(r'^mode:\s+audit', shown, re.MULTILINE), shown
    host.run([PACKAGED_INSTALLER, '--no-deps', '--profile', 'rhel-8', '--mode', 'enforce'], timeout=300)

    calls = upgrade_beside_calls(host, [deb, other])
    assert sum(count for count, _ in calls) >= 1000
    assert [wrong for _, answers in calls for wrong in answers] == []
    assert (host.main_pid(DAEMON), host.qemu_pids()) == (daemon, running)

    # Removed: out of force, and what is configured stays.
    dpkg(host, '-r', 'virt-guard')
    assert host.try_start('bad').returncode == 0
    host.virsh('destroy', 'bad')
    assert host.show(WATCH, 'LoadState', 'ActiveState') == {'LoadState': 'not-found', 'ActiveState': 'inactive'}
    assert host.systemctl('list-units', '--all', '--plain', '--quiet', 'virt-guard*').stdout == ''
    left = {path for path in files(host) - before if not path.startswith('/etc/virt-guard/')}
    assert left == set()
    install(host, deb)
    assert not host.path(POLICY + '.new').exists()
    assert_refuses(host)
    dpkg(host, '-P', 'virt-guard')
    assert {path for path in files(host) if 'virt-guard' in path} == set()
    assert not host.path('/etc/virt-guard').exists()
    assert host.try_start('bad').returncode == 0
    assert (host.main_pid(DAEMON), {host.qemu_pids().get(pid) for pid in running}) == (daemon, {'running'})


def upgrade_beside_calls(host, packages):
    """Upgrade and go back beside a thousand calls of the hook; return the counts of two callers, and wrong answers."""
    host.write('/root/clean.xml', domain('clean'))
    host.write('/root/bad.xml', domain('bad', domains.TCG))
    host.write('/root/caller.py', CALLER)
    notes = ['/root/one', '/root/other']
    for note in notes:
        command = ['/usr/bin/python3', '/root/caller.py', note, *HOOK_ENVIRONMENT, MAIN_HOOK]
        host.run(['systemd-run', '--quiet', '--unit=caller-' + note.rpartition('/')[2], *command])

    def noted():
        return [json.loads(host.read(note)) if host.path(note).exists() else [0, []] for note in notes]

    deadline, upgrades = time.monotonic() + 1200, 0
    while upgrades < 4 or sum(count for count, _ in noted()) < 1000:
        assert time.monotonic() < deadline, (upgrades, noted())
        dpkg(host, '-i', '/root/' + packages[upgrades % 2].name)
        upgrades += 1
    host.write('/root/stop', '')
    host.wait(
        lambda: not host.systemctl('list-units', '--quiet', 'caller-*').stdout, 120, 'no caller runs or has failed'
    )
    return noted()


def test_refused(host, deb):
    """What does not work does not come into force: neither on a new host nor in the place of what works."""

    def break_hook(root):
        edit(root / INSTALLER / 'hooks/qemu', r'^\*\) exit 0 ;;', '*) exit 3 ;;')

    broken = other_version(deb, '3.0', break_hook)
    said = install(host, broken, status=1)
    assert 'the hook does not work: it fails at an operation at which it must not' in said, said
    assert 'it was not put in force, and nothing was changed: domains start as before' in said
    assert state(host) == 'iF'
    assert host.try_start('bad').returncode == 0
    host.virsh('destroy', 'bad')
    assert not host.path(PROGRAM).exists() and not host.path(MAIN_HOOK, follow=False).is_symlink()
    assert host.run(['virt-guard', '--version']).stdout == 'virt-guard 3.0\n'
    dpkg(host, '-r', 'virt-guard')
    assert state(host) == 'rc'

    install(host, deb)
    here = tree(host)
    said = install(host, broken, status=1)
    assert 'the version that was in force before still is' in said, said
    assert tree(host) == here
    assert host.run(['virt-guard', '--version']).stdout != 'virt-guard 3.0\n'
    assert_refuses(host)
    install(host, deb)  # back to the version that works
    assert state(host) == 'ii'

    # An upgrade of Python does not put in force what was taken out of it.
    host.run([PACKAGED_INSTALLER, '--uninstall'], timeout=300)
    host.run(['dpkg-trigger', '--by-package=python3-minimal', '/usr/bin/python3'])
    dpkg(host, '--triggers-only', '--pending')
    assert not host.path(PROGRAM).exists() and state(host) == 'ii'


def test_beside_a_checkout(host, deb):
    """A package takes over from install.sh, and install.sh from a package that was removed, but not from one that is
    there."""
    before = files(host)
    host.install('--no-deps')
    pid = host.main_pid(DAEMON)
    assert host.path('/usr/share/man/man8/virt-guard.8').exists()
    assert host.path('/usr/share/man/ja/man8/virt-guard.8').exists()
    install(host, deb)
    assert host.run(['dpkg', '--verify', 'virt-guard']).stdout == ''
    assert not host.path('/usr/share/man/man8/virt-guard.8').exists()
    assert not host.path('/usr/share/man/ja/man8/virt-guard.8').exists()
    assert len(host.run(['sh', '-c', 'echo %s/tree-*' % LIBRARY]).stdout.split()) == 1
    assert_refuses(host)
    for option in ('--no-deps', '--uninstall'):
        result = host.run([CHECKOUT / 'install.sh', option], check=False)
        assert result.returncode == 1 and 'installed here as a package' in result.stderr
    assert_refuses(host)

    dpkg(host, '-r', 'virt-guard')
    host.install('--no-deps')
    assert 'is installed without its package' in dpkg(host, '-P', 'virt-guard')
    assert_refuses(host)
    assert host.main_pid(DAEMON) == pid
    host.install('--uninstall')
    assert {path for path in files(host) - before if 'policy.d' not in path} == set()
