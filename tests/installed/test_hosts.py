# SPDX-License-Identifier: Apache-2.0
"""Hosts as people have them: linked directories, read-only ones, other systems, other clones, rules about the host."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from installation import CHECKOUT, CLEAN, DENIED, Installed, copy_checkout, run_installer
from support.capabilities import missing


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'root'


def install(root, *options, status=0, **kw):
    result = run_installer(root, *options, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def found_below(root):
    return sorted(str(path) for path in root.rglob('*'))


# --- missing packages

# zypper brings what python3 needs, unless it returns that it does not know it.
ZYPPER = r"""
rm -f /usr/bin/apt-get /usr/bin/dnf
mkdir /kept
mv /usr/lib/python3/dist-packages/yaml /usr/lib/python3/dist-packages/lxml /kept/
cat >/usr/bin/zypper <<'EOF'
#!/bin/sh
echo "$*" >/said
[ %d -eq 104 ] && echo 'no provider of python3-lxml found' || mv /kept/* /usr/lib/python3/dist-packages/
exit %d
EOF
chmod 755 /usr/bin/zypper
/checkout/install.sh --mode audit; status=$?
cat /said
exit $status
"""


@pytest.mark.parametrize('status', [0, 102, 103, 106])
def test_packages_of_suse(on_host, status):
    answer, output = on_host(ZYPPER % (status, status))
    assert answer == 0, output
    assert 'installed  packages: python3-lxml python3-PyYAML' in output
    assert '\n--non-interactive --quiet install --no-recommends python3-lxml python3-PyYAML\n' in output


def test_packages_that_zypper_does_not_know(on_host):
    answer, output = on_host(ZYPPER % (104, 104))
    assert answer == 1 and 'no provider of python3-lxml found' in output
    assert 'cannot install these packages: python3-lxml python3-PyYAML' in output


# --- a linked /etc/virt-guard

LINK = """
mkdir -p /srv/config
mv /etc/virt-guard /srv/config/
ln -s /srv/config/virt-guard /etc/virt-guard
chmod 750 /srv/config/virt-guard
"""


def test_a_linked_directory_is_upgraded_and_uninstalled(on_host):
    script = (
        'set -e; install --mode audit >/dev/null\n'
        + LINK
        + 'install --mode enforce\n'
        + 'grep ^mode: /srv/config/virt-guard/policy.d/70-settings.yaml\n'
        + 'virt-guard policy check\n'
        + 'stat -c "%A %N" /etc/virt-guard /srv/config/virt-guard\n'
        + 'install --mode audit >/dev/null; echo UNINSTALL\n'
        + '/checkout/install.sh --uninstall\n'
        + 'stat -c "%A %N" /etc/virt-guard /srv/config/virt-guard; ls -A /srv/config/virt-guard'
    )
    answer, output = on_host(script)
    assert answer == 0, output
    upgraded, removed = output.split('UNINSTALL\n')
    assert 'mode: enforce' in upgraded and 'no problems' in upgraded and 'out of date' not in upgraded
    kept = "lrwxrwxrwx '/etc/virt-guard' -> '/srv/config/virt-guard'\ndrwxr-x--- '/srv/config/virt-guard'\n"
    assert kept in upgraded and removed.endswith(kept), 'what it leads to keeps its mode, and nothing else is left'
    assert 'kept       /etc/virt-guard (a link of yours)' in removed


@pytest.mark.parametrize(
    ('open_to_others', 'said'),
    [
        ('chmod 777 /srv/config', '/srv/config can be written by others (mode 0777)'),
        ('chown 12345 /srv/config/virt-guard', '/srv/config/virt-guard belongs to uid 12345'),
        ('chown -h 12345 /etc/virt-guard', '/etc/virt-guard belongs to uid 12345'),
        ('rmdir /srv/config/virt-guard/policy.d && rm -r /srv/config/virt-guard', 'which is no directory; remove it'),
    ],
)
def test_a_policy_link_that_the_hook_does_not_obey_stops_the_installation(on_host, open_to_others, said):
    script = 'set -e; install >/dev/null\n' + LINK + open_to_others + '\nls -lR /etc /usr/sbin >/tmp/before; set +e\n'
    answer, output = on_host(script + 'install; status=$?; ls -lR /etc /usr/sbin | diff /tmp/before -; exit $status')
    assert (answer, said in output) == (1, True), output
    assert 'Traceback' not in output and '\n> ' not in output


def test_links_below_a_root_stay_inside(root, tmp_path):
    install(root)
    (root / 'srv').mkdir()
    (root / 'etc/virt-guard').rename(root / 'srv/policy')
    (root / 'etc/virt-guard').symlink_to('../srv/policy')
    drop_ins = root / 'srv/policy/policy.d'
    drop_ins.rename(root / 'srv/drop-ins')
    drop_ins.symlink_to('../drop-ins')
    install(root)
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 1
    (root / 'srv/policy').rename(tmp_path / 'outside')
    (root / 'etc/virt-guard').unlink()
    (root / 'etc/virt-guard').symlink_to('../../outside')
    for option in ('--no-deps', '--uninstall'):
        assert 'leads out of' in run_installer(root, option).stderr


# --- what is read-only


@pytest.mark.parametrize('directory', ['/usr', '/etc'])
@pytest.mark.parametrize('option', ['', '--uninstall'])
def test_read_only_hosts_are_told_once_and_left_alone(on_host, directory, option):
    script = 'install >/dev/null\n' if option else ''
    script += 'mount --bind {0} {0}; mount -o remount,ro,bind {0}\n'.format(directory)
    script += 'ls -lR /usr/lib /usr/sbin /etc >/tmp/before\n'
    script += '/checkout/install.sh %s; status=$?; ls -lR /usr/lib /usr/sbin /etc | diff /tmp/before -; ' % option
    answer, output = on_host(script + 'exit $status')
    lines = [line for line in output.splitlines() if not line.startswith('virt-guard ')]
    assert answer == 1 and len(lines) == 1, output
    assert lines[0].startswith('install.sh: %s' % directory)
    assert lines[0].endswith(
        'run install.sh --uninstall where the image is built'
        if option
        else "run install.sh where the image is built, and then 'virt-guard policy compile' on the host"
    )


def test_what_is_built_into_an_image_starts_on_its_hosts(on_host):
    """No systemd runs where an image is built."""
    units = 'find /etc/systemd/system -name "virt-guard*" -printf "%f -> %l\\n" | sort'
    answer, output = on_host(
        'command -v systemctl >/dev/null || echo NONE; install; echo BUILT; %s; echo AGAIN; install; echo REMOVED\n'
        '/checkout/install.sh --uninstall >/dev/null; %s' % (units, units)
    )
    if output.startswith('NONE'):
        missing('needs systemctl')
    installed, built, removed = re.split('BUILT\n|REMOVED\n', output)
    enabled, again = built.split('AGAIN\n')
    assert answer == 0, output
    assert 'systemd does not run; virt-guard-watch.service starts with it' in installed
    directory = '/lib/systemd/system/virt-guard-'
    assert [line.partition(directory)[2] for line in enabled.splitlines()] == ['compile.path', 'watch.service']
    assert 'unchanged' in again and removed == ''


# --- other systems, and other clones


@pytest.mark.parametrize('options', [[], ['--uninstall'], ['--help'], ['--root', '/tmp/x', '--mode', 'audit']])
def test_a_system_without_programs_in_their_places(tmp_path, options):
    """As on NixOS, whose /usr/bin has env alone, and /bin a shell."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'sbin').mkdir()
    for name in ('sh', 'env'):
        shutil.copy(shutil.which(name), str(tmp_path / 'bin' / name))
    hide = 'mount --bind "$0/sbin" /usr/sbin && mount --bind "$0/bin" /usr/bin && exec "$@"'
    prefix = ['unshare', '--mount', '--', 'sh', '-c', hide, str(tmp_path)]
    bare = subprocess.run([*prefix, '/usr/bin/env', 'sh', '-c', '! command -v id'], stderr=subprocess.DEVNULL)
    if os.geteuid() != 0 or bare.returncode != 0:
        missing('needs root, a mount namespace, and one /usr')
    result = subprocess.run(
        [*prefix, 'sh', str(CHECKOUT / 'install.sh'), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
    )
    assert (result.returncode, result.stdout, result.stderr.count('\n')) == (1, '', 1)
    assert result.stderr.startswith('install.sh: this system is not supported: ')
    assert ' id' in result.stderr and 'NixOS' in result.stderr


@pytest.mark.parametrize('setting', ['core.autocrlf=true', 'core.eol=crlf'])
def test_a_clone_with_other_line_ends_runs(tmp_path, setting):
    if not shutil.which('git'):
        missing('needs git')
    origin = copy_checkout(tmp_path / 'origin')
    shutil.copy(str(CHECKOUT / '.gitattributes'), str(origin))
    git = ['git', '-c', 'user.name=x', '-c', 'user.email=x@example.com', '-C', str(origin)]
    for command in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'all']):
        subprocess.run([*git, *command], check=True, stderr=subprocess.DEVNULL)
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '-q', '-c', setting, str(origin), str(clone)], check=True)
    names = [path.relative_to(origin) for path in origin.rglob('*') if path.is_file() and '.git' not in path.parts]
    assert len(names) > 80
    for name in names:
        assert (clone / name).read_bytes() == (origin / name).read_bytes(), name
    help = subprocess.run([str(clone / 'install.sh'), '--help'], stdout=subprocess.PIPE, check=True)
    assert help.stdout.startswith(b'usage: ')


# --- rules about the host


def last_lines(output):
    """What the installer says of rules that refuse every domain, as lines."""
    return output.partition('Every domain on this host ')[2].splitlines()


def test_a_rule_that_refuses_every_domain_is_told_at_the_end(root):
    """On a machine of another name."""
    prefix = ['setarch', 'i686']
    if subprocess.call([*prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
        missing('needs setarch, and a machine that can be called i686')
    lines = last_lines(install(root, prefix=prefix).stdout)
    there = Installed(root)
    assert lines[0] == 'will be refused, because of the host itself:'
    assert lines[1] == '[host-architecture] host architecture: host arch is i686'
    assert str(root / 'etc/virt-guard/policy.d') in lines[2]
    drop_in = [line for line in lines[3:] if line.startswith('    ')]
    assert len(drop_in) == len(lines[3:]) == 2

    def call():
        command = [*prefix, str(there.hook), 'guest', 'prepare', 'begin', '-']
        return subprocess.run(command, input=CLEAN, stderr=subprocess.DEVNULL).returncode

    assert call() == 1
    (root / 'etc/virt-guard/policy.d/50-host.yaml').write_text('\n'.join(drop_in) + '\n')
    assert call() == 0, 'the two lines do what they say'
    assert last_lines(install(root, '--mode', 'audit', prefix=prefix).stdout) == []
    (root / 'etc/virt-guard/policy.d/50-host.yaml').unlink()
    audited = last_lines(install(root, prefix=prefix).stdout)
    assert audited[0] == 'would, in mode enforce, be refused, because of the host itself:'
    assert last_lines(install(root).stdout) == []


def test_a_container_is_told_by_its_mark(on_host):
    script = 'touch /.dockerenv; exec unshare --pid --fork --mount-proc /checkout/install.sh --no-deps --python %s'
    answer, output = on_host(script % '/usr/bin/python3')
    if 'unshare: ' in output:
        missing('no PID namespaces here')
    assert answer == 0, output
    shown = 'host container is docker (/.dockerenv is there; remove it if this host is not a container)'
    assert last_lines(output)[1] == '[container-host] domain created in a container: ' + shown


def test_the_first_pid_namespace_is_not_a_container(on_host):
    answer, output = on_host('touch /.dockerenv /run/.containerenv; readlink /proc/self/ns/pid; install')
    assert answer == 0, output
    if not output.startswith('pid:[4026531836]\n'):
        pytest.skip('this is a container')
    assert 'containerenv' not in output and 'dockerenv' not in output


def test_the_proof_leaves_no_record(root):
    """What the installer writes down of its checks is nothing that anybody could take for a domain's start."""
    prefix = [
        'unshare',
        '--mount',
        'sh',
        '-c',
        'mount -t tmpfs tmpfs /run && mount --bind /dev/null /dev/log; exec "$@"',
        'sh',
    ]
    if os.geteuid() != 0 or subprocess.call([*prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
        prefix = []
    install(root, prefix=prefix)
    assert not Installed(root).log.exists()
    assert sys.executable in Installed(root).program.read_text()
