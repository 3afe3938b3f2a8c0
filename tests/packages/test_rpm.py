# SPDX-License-Identifier: Apache-2.0
"""The rpm package: installed, upgraded and erased by rpm, in copies of this host (see support/host_copy)."""

import pathlib
import re
import shutil
import subprocess

import domains
import pytest
from booted import DAEMON, IN_A_CONTAINER, WATCH
from domains import domain
from rpms import build, build_other, other_version
from support.capabilities import missing
from support.domain import clean_domain
from support.host_copy import HostCopy
from support.paths import CHECKOUT

MEMORY = "  <memory unit='KiB'>1048576</memory>\n  <vcpu placement='static'>1</vcpu>\n"
UUID = '  <uuid>5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10</uuid>\n'
TPM = "    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n"
NOT_OF_A_CONTAINER = 'rules:\n  - {id: container-host, action: "off", reason: a test}\n'

# Debian's rpm wants to be told that it is meant, and knows of no package that ours needs.
PREAMBLE = r"""
set -e
add() { rpm --force-debian -U --nodeps --oldpackage --replacepkgs "/packages/$@"; }
erase() { rpm --force-debian -e "$@"; }
fails() { if "$@"; then echo "$* does not fail"; exit 1; fi; }
verify() { rpm -V --nodeps virt-guard; }
answer() {
    status=0
    /etc/libvirt/hooks/qemu guest start begin - <"/packages/$1.xml" >/said 2>&1 || status=$?
    [ $status -eq "$2" ] || { echo "$1 is answered $status"; cat /said; exit 1; }
}
is_guarding() { answer clean 0; answer denied 1; }
# All that is virt-guard's, but its records.
files() { find /etc /usr /var/lib /run -xdev -name '*virt-guard*' | sort; }
cp /packages/container.yaml /tmp/50-test.yaml
mkdir -p /etc/virt-guard/policy.d
mv /tmp/50-test.yaml /etc/virt-guard/policy.d
"""


@pytest.fixture(scope='module')
def packages(tmp_path_factory):
    """A directory with this version (now.rpm), a later one (next.rpm), one whose hook refuses everything (broken.rpm),
    a package that stands for others (other.rpm), and domains."""
    directory = tmp_path_factory.mktemp('packages')
    broken = 'prepare | start) ;;', 'prepare | start) exit 1 ;;'
    versions = {
        'now': CHECKOUT,
        'next': other_version(
            directory / 'next-checkout', '98.0', '# Only prepare and start decide', '# Only these two decide'
        ),
        'broken': other_version(directory / 'broken-checkout', '99.0', *broken),
    }
    for name, checkout in versions.items():
        shutil.copy(str(build(checkout, directory / name)), str(directory / (name + '.rpm')))
    shutil.copy(str(build_other(directory)), str(directory / 'other.rpm'))
    (directory / 'clean.xml').write_text(clean_domain(uuid=UUID, memory=MEMORY))
    (directory / 'denied.xml').write_text(clean_domain(uuid=UUID, memory=MEMORY, devices=TPM))
    (directory / 'container.yaml').write_text(NOT_OF_A_CONTAINER)
    shutil.copy(str(pathlib.Path(__file__).with_name('calling.py')), str(directory))
    return directory


@pytest.fixture
def on_host(packages, tmp_path):
    """A function: a shell script, and the exit status that it must have -> what it says."""
    copy = HostCopy(tmp_path, {'/packages': packages, '/checkout': CHECKOUT}, alone=True)

    def run(script, status=0):
        ended, output = copy.run(PREAMBLE + script)
        assert ended == status, output
        return output

    return run


def test_rpmlint_finds_nothing(packages):
    if not shutil.which('rpmlint'):
        missing('needs rpmlint')
    paths = [*(packages / 'now').glob('*.rpm'), CHECKOUT / 'packaging/rpm/virt-guard.spec']
    command = ['rpmlint', '-c', str(CHECKOUT / 'packaging/rpm/rpmlint.toml'), *map(str, paths)]
    result = subprocess.run(command, stdout=subprocess.PIPE, encoding='utf-8', timeout=600)
    assert ' 2 packages and 1 specfiles checked; 0 errors, 0 warnings' in result.stdout, result.stdout


def test_the_package_is_one_for_every_host(packages, tmp_path):
    """Nothing in it depends on where it was built, on an architecture, or on an interpreter; RHEL 8 can unpack it."""
    package = packages / 'now.rpm'
    assert build(CHECKOUT, tmp_path / 'again').read_bytes() == package.read_bytes()
    text = '%{ARCH} %{PAYLOADCOMPRESSOR}\n[%{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMODES:octal}\n]'
    command = ['rpm', '-qp', '--qf', text, str(package)]
    head, *files = subprocess.check_output(command, encoding='utf-8').splitlines()
    assert head == 'noarch gzip' and len(files) > 150
    for line in files:
        name, owner, mode = line.split()
        assert owner == 'root:root' and not int(mode, 8) & 0o6022, line
        assert not re.search(r'\.pyc$|python3|^/lib/|^/usr/lib64/', name)


def test_life(on_host):
    output = on_host(
        'rm -r /etc/virt-guard; files >/before\n'
        'add now.rpm; verify\n'
        'cp /packages/container.yaml /etc/virt-guard/policy.d/; virt-guard policy compile; is_guarding\n'
        'rpm -qf /usr/sbin/virt-guard-hook /etc/virt-guard/policy.yaml /etc/virt-guard/policy.compiled\n'
        'ls /etc/systemd/system/multi-user.target.wants | grep ^virt-guard\n'
        'virt-guard status | grep -o "amiss *[a-z]*" || :\n'
        'echo == next; was=$(echo /usr/lib/virt-guard/tree-*)\n'
        'add next.rpm; is_guarding; verify; virt-guard --version\n'
        'echo == now; [ "$(echo /usr/lib/virt-guard/tree-*)" != "$was" ]\n'
        'add now.rpm; is_guarding; [ "$(echo /usr/lib/virt-guard/tree-*)" = "$was" ]\n'
        'echo == again\n'
        'add now.rpm; is_guarding; verify\n'
        'echo == erase\n'
        'rm /etc/virt-guard/policy.d/container.yaml\n'
        'erase virt-guard; ls -A /etc/libvirt/hooks; files | diff /before -\n'
    )
    first, following, now, again, erased = output.split('\n== ')
    package = 'virt-guard-.*.noarch\n'
    assert re.search(
        package * 3 + 'virt-guard-compile.path\nvirt-guard-watch.service\namiss *watch\namiss *journal\\Z', first
    ), first
    assert 'linked     /etc/libvirt/hooks/qemu' in first
    assert following.endswith('virt-guard 98.0'), following
    assert 'unchanged  everything was in place' in again, again
    removed = re.findall('^removed +(.*)', erased, re.MULTILINE)
    assert removed[0] == '/etc/libvirt/hooks/qemu' and erased.endswith('no libvirt daemon runs\n'), erased


def test_a_policy_is_kept(on_host):
    """What is edited stays in force in an upgrade, and after the erasure stays there: there is neither .rpmnew nor
    .rpmsave, because the newer list comes with the package, not with the policy."""
    on_host(
        'add now.rpm\n'
        'echo "# mine" >>/etc/virt-guard/policy.yaml; virt-guard policy set mode audit\n'
        'cksum /etc/virt-guard/policy.yaml >/sum; ls /etc/virt-guard/* >/names\n'
        'add next.rpm; cksum -c /sum 2>/dev/null || cksum /etc/virt-guard/policy.yaml | cmp - /sum\n'
        'ls /etc/virt-guard/* | cmp - /names; answer denied 0; verify\n'
        'erase virt-guard\n'
        'cksum /etc/virt-guard/policy.yaml | cmp - /sum; grep audit /etc/virt-guard/policy.d/70-settings.yaml\n'
        'find / -xdev -name "policy.yaml.*" -path "/etc/*" | cmp - /dev/null\n'
        'add now.rpm; answer denied 0\n'
    )


def test_a_thousand_calls_during_upgrades(on_host):
    output = on_host(
        'add now.rpm\n'
        'change() { cat >/change; chmod 755 /change; }\n'
        "printf '#!/bin/sh\\nfor name in next now; do rpm --force-debian -U --nodeps --oldpackage \\\n"
        "/packages/$name.rpm || exit; done\\n' | change\n"
        '/usr/bin/python3 /packages/calling.py 1000 /packages/clean.xml /packages/denied.xml /change\n'
    )
    assert re.search(r'\n\d{4,} calls, 0 wrong, during \d+ runs\Z', output.rstrip()), output


def test_what_does_not_work_is_not_put_in_force(on_host):
    output = on_host(
        'add broken.rpm; [ ! -e /usr/sbin/virt-guard-hook ]; ls -A /etc/libvirt/hooks; verify; erase virt-guard\n'
        'echo == upgrade; add now.rpm; is_guarding\n'
        'add broken.rpm; rpm -q virt-guard; is_guarding\n'
        'virt-guard --version\n'
        'echo == mended; add next.rpm; is_guarding; verify\n'
        'ls -d /usr/lib/virt-guard/tree-* | wc -l\n'
    )
    new, upgraded, mended = output.split('== ')
    assert 'it was not put in force, and nothing was changed: domains start as before' in new, new
    assert 'warning: %posttrans(virt-guard-99.0-1.noarch) scriptlet failed' in new, new
    assert 'the version that was in force before still is' in upgraded, upgraded
    assert re.search(r'\nvirt-guard-99\.0-1\.noarch\nvirt-guard (?!99).*\n\Z', upgraded), upgraded
    assert mended.endswith('\n1\n'), mended


def test_what_other_packages_change(on_host):
    """osinfo-db: the policy is compiled with it. Python: without the one that the hook names, no domain would start.
    Neither puts in force what was taken out of it."""
    on_host(
        'add now.rpm; rm /etc/virt-guard/policy.compiled\n'
        'grep -qx "python=\'/usr/bin/python3\'" /usr/sbin/virt-guard-hook\n'
        'add other.rpm; [ -s /etc/virt-guard/policy.compiled ]; is_guarding\n'
        'grep -qx "python=\'/usr/libexec/platform-python\'" /usr/sbin/virt-guard-hook\n'
        '/usr/share/virt-guard/installer/install.sh --uninstall\n'
        'add other.rpm; [ ! -e /usr/sbin/virt-guard-hook ]\n'
        'erase virt-guard; add other.rpm; [ ! -e /usr/sbin/virt-guard-hook ]\n'
    )


def test_an_erasure_that_cannot_end_the_guard_removes_nothing(on_host):
    output = on_host(
        'add now.rpm\n'
        'mount --bind /etc/libvirt /etc/libvirt; mount -o remount,ro,bind /etc/libvirt\n'
        'fails erase virt-guard; verify; rpm -q virt-guard; is_guarding\n'
        'umount /etc/libvirt; erase virt-guard; ls -A /etc/libvirt/hooks | cmp - /dev/null\n'
    )
    assert 'error: %preun(virt-guard-' in output and 'is read-only, and nothing was changed' in output, output


def test_beside_a_checkout(on_host):
    """A package takes over from install.sh, with its settings; and install.sh does not take over from a package."""
    output = on_host(
        'rm -r /etc/virt-guard; files >/before; mkdir -p /etc/virt-guard/policy.d\n'
        '/checkout/install.sh --no-deps --python /usr/bin/python3 --mode audit --profile rhel-9\n'
        'add now.rpm; answer denied 0; verify; grep -x "extends: rhel-9" /etc/virt-guard/policy.yaml\n'
        'fails /checkout/install.sh --no-deps; fails /checkout/install.sh --uninstall\n'
        'answer denied 0; virt-guard policy set mode enforce; answer denied 1\n'
        'rm -f /etc/virt-guard/policy.d/*\n'
        'erase virt-guard; files | diff /before -\n'
    )
    assert output.count('virt-guard is installed here as a package') == 2, output


@pytest.mark.systemd
def test_on_a_host_that_runs(packages, new_host):
    """Under systemd, with a domain that runs: units, presets, what the daemon is told, and an erasure."""
    host = new_host()
    for name in ('now.rpm', 'next.rpm'):
        host.write('/root/' + name, (packages / name).read_bytes())
    host.run(['rm', '-f', '/usr/sbin/policy-rc.d'])  # Debian's, of a container: packages may start nothing
    host.run(['mkdir', '-p', '/etc/virt-guard/policy.d', '/etc/systemd/system-preset'])
    host.write('/etc/virt-guard/policy.d/' + IN_A_CONTAINER[0], IN_A_CONTAINER[1])
    host.write('/etc/systemd/system-preset/10-site.preset', 'disable virt-guard-compile.path\n')
    host.virsh('create', '/dev/stdin', input=domain('running'))
    host.define(domain('bad', domains.TCG))
    daemon, running = host.main_pid(DAEMON), host.qemu_pids()

    def rpm(*arguments):
        result = host.run(['rpm', '--force-debian', *arguments], check=False, timeout=600)
        assert result.returncode == 0 and 'warning' not in result.stdout + result.stderr, result.stdout + result.stderr
        return result.stdout

    said = rpm('-i', '--nodeps', '/root/now.rpm')
    assert 'told       libvirtd to look for hooks (reload)' in said and 'virt-guard-compile.path is disabled' in said, (
        said
    )
    assert "virt-guard: domain 'bad' denied" in host.try_start('bad').stderr
    assert host.systemctl('is-active', WATCH).stdout == 'active\n'
    assert host.systemctl('is-enabled', 'virt-guard-compile.path', check=False).stdout == 'disabled\n'
    watch = host.main_pid(WATCH)
    rpm('-U', '--nodeps', '/root/next.rpm')
    assert host.main_pid(WATCH) != watch and host.systemctl('is-active', WATCH).stdout == 'active\n'
    assert "virt-guard: domain 'bad' denied" in host.try_start('bad').stderr
    rpm('-e', 'virt-guard')
    assert host.try_start('bad').returncode == 0
    assert host.systemctl('list-units', '--all', '--plain', '--quiet', 'virt-guard*').stdout == ''
    assert (host.main_pid(DAEMON), {pid: host.qemu_pids().get(pid) for pid in running}) == (daemon, running)
