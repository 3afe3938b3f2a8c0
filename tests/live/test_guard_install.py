# SPDX-License-Identifier: Apache-2.0
"""install.sh on a host that is in use: the running daemon obeys, running domains stay, other hooks go on working."""

import hashlib

import domains
import pytest
from domains import domain
from guarded import HOOK, MAIN_HOOK, POLICY, SECOND_HOOKS, refusal, values
from support.records import GUARD_CHANGED_ID

pytestmark = pytest.mark.live

# Notes each call, and keeps the XML that it was given.
FOREIGN_HOOK = '#!/bin/sh\necho "$1 $2" >>/run/foreign-calls\ncat >"/run/foreign-$1-$2.xml"\n'
WATCH = 'virt-guard-watch.service'
UNIT = '/usr/lib/systemd/system/' + WATCH
CATALOG = '/usr/lib/systemd/catalog/virt-guard.'
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>/run/asked
case $1 in
    restart) : >/run/active ;;
    is-active) [ -e /run/active ] ;;
    reload) exit 1 ;;
esac
"""
STARTED, ENDED = ['prepare', 'start', 'started'], ['stopped', 'release']


def foreign_calls(host, name):
    calls = [line.split() for line in host.read('/run/foreign-calls').splitlines()]
    return [operation for domain_name, operation in calls if domain_name == name]


def test_install_and_uninstall_beside_a_running_daemon(new_machine):
    host = new_machine()
    daemon = host.libvirtd_pid
    host.virsh('create', '/dev/stdin', input=domain('running', domains.TCG))
    host.define(domain('next', domains.TCG))
    processes = host.qemu_pids()

    said = host.install('--no-deps')
    assert 'deny [tcg] TCG software emulation: <domain type="qemu">' in said
    assert host.run(['readlink', MAIN_HOOK]).stdout == HOOK + '\n'
    host.refused('next', host.try_start('next'), 'tcg')
    assert (host.running(), host.qemu_pids()) == ({'running'}, processes)

    host.install('--no-deps')  # nothing to do
    host.refused('next', host.try_start('next'), 'tcg')

    host.install('--uninstall')
    assert host.try_start('next').returncode == 0
    assert host.records('next') == []
    assert host.running() == {'running', 'next'}
    assert host.libvirtd_pid == daemon
    assert host.alive(daemon)
    changes = host.journal('MESSAGE_ID=' + GUARD_CHANGED_ID)
    assert [record['VIRT_GUARD_CHANGE'] for record in changes] == ['installed', 'removed']
    assert {record['VIRT_GUARD_USER'] for record in changes} == {'root'}


def test_the_watch_is_enabled_and_started(new_machine):
    """What systemd is asked for; it does not run here."""
    host = new_machine()
    host.run(['mkdir', '-p', '/run/systemd/system'])
    host.write('/usr/sbin/systemctl', SYSTEMCTL, 0o755)

    def asked():
        """What of the watch; before it, whether systemd was told of its units at all."""
        calls = [' '.join(call.split()) for call in host.read('/run/asked').splitlines()]
        host.write('/run/asked', '')
        return ['daemon-reload'] * ('daemon-reload' in calls) + [call for call in calls if WATCH in call]

    started = ['daemon-reload', '--quiet enable ' + WATCH, 'restart ' + WATCH]
    assert 'started    %s\n' % WATCH in host.install('--no-deps')
    assert asked() == started
    assert WATCH not in host.install('--no-deps')
    # The daemon's unit cannot reload it where there is no /bin/kill.
    assert 'kill --kill-who=main --signal=HUP libvirtd.service\n' in host.read('/run/asked')
    assert asked() == ['is-active --quiet ' + WATCH]
    host.run(['rm', '/run/active'])  # somebody has stopped it
    host.install('--no-deps')
    assert asked() == ['daemon-reload', 'is-active --quiet ' + WATCH, *started[1:]]
    assert host.read(UNIT).count('ExecStart=/usr/bin/virt-guard watch\n') == 1
    host.install('--uninstall')
    forgotten = 'reset-failed %s virt-guard-compile.service virt-guard-metrics.service' % WATCH
    assert asked() == ['daemon-reload', '--quiet disable --now ' + WATCH, forgotten]
    assert host.run(['ls', UNIT], check=False).returncode != 0


def test_labels_are_set_on_its_own_files_only(new_machine):
    """What SELinux' tool is asked for; no SELinux runs here. Another program's hook keeps the label that it has."""
    host = new_machine()
    host.write(SECOND_HOOKS + '/50-foreign', FOREIGN_HOOK, 0o755)
    host.write('/usr/sbin/selinuxenabled', '#!/bin/sh\n', 0o755)
    host.write('/usr/sbin/restorecon', '#!/bin/sh\nprintf "%s\\n" "$*" >>/run/labelled\n', 0o755)
    host.install('--no-deps')
    labelled = [line.split() for line in host.read('/run/labelled').splitlines()]
    paths = {path for line in labelled for path in line if path.startswith('/')}
    assert {MAIN_HOOK, HOOK, POLICY, UNIT, '/usr/bin/virt-guard', '/etc/virt-guard/policy.compiled'} <= paths
    units = '/usr/lib/systemd/system/virt-guard-'
    ours = ('/usr/sbin/virt-guard-hook', '/usr/lib/virt-guard', '/etc/virt-guard', '/usr/bin/virt-guard', units)
    links = (MAIN_HOOK, '/etc/libvirt/hooks/virt-guard-check', '/etc/libvirt/hooks/.virt-guard.')
    shared = ('/usr/share/man/man5/virt-guard-policy.5', '/usr/share/man/man8/virt-guard.8', '/usr/share/man/ja')
    shared += ('/usr/share/virt-guard', '/usr/share/bash-completion', '/usr/share/cockpit', '/usr/share/fish')
    shared += ('/usr/share/zsh', CATALOG)
    assert [path for path in sorted(paths) if not path.startswith((*ours, *links, *shared))] == []
    recursive = [line[-1] for line in labelled if '-RF' in line or '-R' in line]
    assert len(recursive) == 1 and recursive[0].startswith('/usr/lib/virt-guard/tree-')


def test_profile(new_machine):
    """Another release's list decides: what it does not have is refused, though this host's QEMU has it."""
    host = new_machine()
    host.install('--no-deps', '--profile', 'rhel-9')
    result = host.try_define_and_start(domain('loud', domains.device("<sound model='ac97'/>")))
    lines = refusal(result, 1).splitlines()
    assert lines[0] == "virt-guard: domain 'loud' denied by policy 'rhel-9': ac97-sound"
    assert lines[1].endswith("; remedy: use <sound model='ich9'/>.")
    (record,) = host.records('loud')
    assert record['VIRT_GUARD_POLICY'] == 'rhel-9'
    # libvirt writes QEMU's default CPU model into the domain: qemu64.
    assert values(record, 'VIRT_GUARD_RULE') == ['ac97-sound', 'cpu-model-deprecated']
    assert 'VIRT_GUARD_WARNING' not in record

    host.install('--no-deps')  # an upgrade
    floppy = "<disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>"
    refusal(host.try_define_and_start(domain('old', domains.device(floppy))), 1)
    (record,) = host.records('old')
    assert record['VIRT_GUARD_POLICY'] == 'rhel-9'
    assert values(record, 'VIRT_GUARD_RULE') == ['cpu-model-deprecated', 'floppy-drive']
    assert host.try_define_and_start(domain('quiet')).returncode == 0
    (record,) = host.records('quiet')
    assert (record['VIRT_GUARD_POLICY'], record['VIRT_GUARD_DECISION']) == ('rhel-9', 'admit')
    assert values(record, 'VIRT_GUARD_RULE') == ['cpu-model-deprecated']


def test_second_hook(new_machine):
    """Another program's hook in qemu.d/ is called as before, with the same XML."""
    host = new_machine()
    host.install('--no-deps')
    host.write(SECOND_HOOKS + '/50-foreign', FOREIGN_HOOK, 0o755)
    record = host.admitted('good', host.try_define_and_start(domain('good')))
    assert foreign_calls(host, 'good') == STARTED
    xml = host.path('/run/foreign-good-start.xml').read_bytes()
    assert record['VIRT_GUARD_XML_SHA256'] == hashlib.sha256(xml).hexdigest()
    host.virsh('destroy', 'good')
    assert foreign_calls(host, 'good') == STARTED + ENDED


def test_foreign_hook_that_was_there_first(new_machine):
    """The guard goes beside it, judges, and leaves without a trace in it."""
    host = new_machine()
    host.write(MAIN_HOOK, FOREIGN_HOOK, 0o755)
    host.reload_libvirtd()
    said = host.install('--no-deps')
    assert 'linked     %s/00-virt-guard' % SECOND_HOOKS in said
    host.admitted('good', host.try_define_and_start(domain('good')))
    assert foreign_calls(host, 'good') == STARTED
    result = host.try_define_and_start(domain('bad', domains.TCG))
    assert SECOND_HOOKS + '/00-virt-guard bad prepare begin -' in result.stderr
    host.refused('bad', result, 'tcg')
    assert foreign_calls(host, 'bad') == ['prepare'] + ENDED

    host.install('--uninstall')
    assert host.read(MAIN_HOOK) == FOREIGN_HOOK
    assert host.try_start('bad').returncode == 0
    assert foreign_calls(host, 'bad')[3:] == STARTED
    assert not host.path(SECOND_HOOKS).exists()


def test_second_hook_that_refuses(new_machine):
    """What the guard admits may fail by another hook; what both refuse, libvirt explains in the last one's words."""
    host = new_machine()
    host.install('--no-deps')
    host.write(SECOND_HOOKS + '/50-foreign', '#!/bin/sh\necho "not today" >&2\nexit 1\n', 0o755)
    for name, mutation in (('good', domains.unchanged), ('bad', domains.TCG)):
        result = host.try_define_and_start(domain(name, mutation))
        assert result.stderr.rstrip().endswith('unexpected exit status 1: not today')
    assert host.running() == set()
    assert host.records('good') == []
    host.record('bad', 'deny', 'prepare')
