# SPDX-License-Identifier: Apache-2.0
"""install.sh --preview: what would be refused on this host. It judges as an installation does, and changes nothing."""

import contextlib
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest
from installation import (
    CHECKOUT,
    DENIED,
    Installed,
    as_nobody,
    copy_checkout,
    domain_xml,
    need_an_ordinary_user,
    run_installer,
)
from support.capabilities import missing

# By rhel-8, a warning: no list of this host has such a machine type.
WARNED = domain_xml('warned').replace(b'pc-q35-rhel8.6.0', b'pc-q35-rhel7.6.0')


@pytest.fixture
def root(tmp_path):
    """A host with libvirt, below a root."""
    for directory in ('etc/libvirt/qemu/autostart', 'run/libvirt/qemu', 'var/lib/libvirt/qemu/save'):
        (tmp_path / 'root' / directory).mkdir(parents=True)
    return tmp_path / 'root'


def define(root, name, xml):
    (root / 'etc/libvirt/qemu' / (name + '.xml')).write_bytes(xml)


def preview(root, *options, status, **kw):
    result = run_installer(root, '--preview', *options, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def sections(result):
    """The parts of what it says, as lists of lines."""
    return [part.splitlines() for part in result.stdout.split('\n\n')]


def listing(*directories):
    """Everything below directories: what it is, whose, when it was changed, and what is in it."""
    found = {}
    for top in map(str, directories):
        for parent, names, files in os.walk(top):
            for path in [top, *(os.path.join(parent, name) for name in names + files)]:
                status = os.lstat(path)
                content = ''
                if stat.S_ISREG(status.st_mode):
                    content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
                elif stat.S_ISLNK(status.st_mode):
                    content = os.readlink(path)
                times = (status.st_mtime_ns, status.st_ctime_ns)
                found[path] = (status.st_mode, status.st_uid, status.st_ino, status.st_size, times, content)
    return found


# --- what it says


def test_a_host_without_domains(root, tmp_path):
    result = preview(root, status=0)
    assert result.stderr == ''
    head, said, following = sections(result)
    assert head[0].endswith(', a preview: nothing on this host is changed')
    assert re.match(r'profile    [a-z]+-[0-9]+ \(this host is ', head[1])
    assert head[2] == 'policy     as the profile is shipped: mode enforce, failure deny'
    assert said == ['No domain is defined: there is no *.xml file in %s/etc/libvirt/qemu.' % root]
    assert following[0] == 'Next:'
    without = preview(tmp_path / 'nowhere', status=0)
    assert sections(without)[1][0].startswith('No domain is defined: ')
    assert not (tmp_path / 'nowhere').exists()


def test_what_would_be_refused_and_what_only_recorded(root):
    define(root, 'bad', DENIED)
    define(root, 'good', domain_xml('good'))
    result = preview(root, '--profile', 'rhel-9', status=1)
    head, refused, warned, counts, following = sections(result)
    assert head[1] == 'profile    rhel-9 (--profile)'
    assert refused[0] == 'These domains would be refused at their next start:'
    assert refused[1].startswith('%s/etc/libvirt/qemu/bad.xml:16: deny [tpm-passthrough] TPM passthrough' % root)
    assert refused[2].startswith('    remedy: ')
    assert warned[0] == 'These domains would be admitted, with findings that would be recorded:'
    assert len(warned) == 2 and '/good.xml:11: warn [machine-type-deprecated] ' in warned[1]
    assert counts == ['2 domains: 1 refused, 1 admitted with findings']
    # By another list neither the one nor the other has anything to be warned of.
    result = preview(root, '--profile', 'rhel-8', status=1)
    assert sections(result)[2] == ['2 domains: 1 refused, 1 clean']


def test_the_commands_that_are_suggested_do_what_they_say(root):
    """The commands that it ends with are typed as they are shown."""
    define(root, 'bad', DENIED)
    result = preview(root, status=1)
    commands = dict(re.findall(r'^  (.*?) +# (.*)$', result.stdout.partition('\nNext:\n')[2], re.MULTILINE))
    purposes = list(commands.values())
    assert purposes == [
        'put the guard in force: what is denied above is refused',
        'refuse nothing, and record what would be refused',
    ]
    for command, answer in zip(list(commands), (1, 0)):
        assert subprocess.call(shlex.split(command), stdout=subprocess.DEVNULL) == 0
        assert Installed(root).run_hook('bad', 'prepare', DENIED).returncode == answer


def test_the_preview_judges_as_the_installation_does_later(root):
    define(root, 'bad', DENIED)
    define(root, 'old', WARNED)
    define(root, 'good', domain_xml('good'))
    for profile, status in (('rhel-10', 1), ('sles-16', 0)):
        said = preview(root, '--profile', profile, status=status).stdout
        run_installer(root, '--profile', profile)
        scanned = Installed(root).run_cli('scan').stdout.decode()
        judged = [line for line in scanned.splitlines() if not re.match(r"\S+: admit '|\d+ domains: ", line)]
        assert sorted(line for line in said.splitlines() if line in judged) == sorted(judged)
        run_installer(root, '--uninstall')


def test_running_domains(root):
    for name in ('bad', 'boots'):
        define(root, name, domain_xml(name, "    <tpm><backend type='passthrough'/></tpm>\n"))
    define(root, 'good', domain_xml('good'))
    for name in ('bad', 'good', 'passing'):
        (root / 'run/libvirt/qemu' / (name + '.xml')).write_text('<domstatus/>')
    for name in ('bad', 'boots'):
        (root / 'etc/libvirt/qemu/autostart' / (name + '.xml')).symlink_to('/etc/libvirt/qemu/%s.xml' % name)
    (root / 'var/lib/libvirt/qemu/save/good.save').write_text('')
    _, refused, counts, missed, following = sections(preview(root, status=1))
    assert [line.partition(':')[0] for line in refused[1:] if 'deny' in line] == [
        '%s/etc/libvirt/qemu/%s.xml' % (root, name) for name in ('bad', 'boots')
    ]
    assert counts == [
        '3 domains: 2 refused, 1 clean',
        '1 of 3 running domains would be refused at their next start; 2 of 2 that start with the host',
        'these run without a definition and have no next start: passing',
        '    bad (running, autostart)',
        '    boots (autostart)',
    ]
    assert missed[0] == 'This could not be looked at:'
    assert missed[1].endswith('/good.xml: its saved state, from which its next start goes on, was not judged')
    assert '--preview' not in ''.join(following), 'a saved state is no reason to look again'


def test_a_rule_about_the_host(root):
    prefix = ['setarch', 'i686']
    if subprocess.call([*prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
        missing('needs setarch, and a machine that can be called i686')
    said = sections(preview(root, prefix=prefix, status=0))
    assert said[1][0] == 'Every domain on this host would be refused, because of the host itself:'
    assert said[1][1] == '[host-architecture] host architecture: host arch is i686'
    define(root, 'good', domain_xml('good'))
    assert '1 domain: 1 refused\n' in preview(root, prefix=prefix, status=1).stdout


def test_what_cannot_be_judged(root):
    define(root, 'broken', b'<domain')
    define(root, 'bad', DENIED)
    _, refused, counts, missed, following = sections(preview(root, status=2))
    assert '/bad.xml:16: deny ' in refused[1]
    assert counts == ['2 domains: 1 refused, 1 not judged']
    assert missed[0] == 'This could not be looked at:'
    assert '/etc/libvirt/qemu/broken.xml:1: error: the XML is not well-formed' in missed[1]
    assert following[1].endswith(' --preview     # look again, once that can be read')


def test_a_hook_of_another_program_that_stands_in_the_way(root):
    hooks = root / 'etc/libvirt/hooks'
    (hooks / 'qemu.d').mkdir(parents=True)
    for name in ('qemu', 'qemu.d/00-virt-guard'):
        (hooks / name).write_text('#!/bin/sh\n')
    define(root, 'bad', DENIED)
    _, refused, _, stopped, following = sections(preview(root, status=1))
    assert '/bad.xml:16: deny' in refused[1]
    assert stopped[0] == 'An installation would stop here:'
    assert stopped[1].startswith(str(hooks / 'qemu')) and ' belongs to another program' in stopped[1]
    assert stopped[1] in run_installer(root).stderr


# --- the site's own policy


def test_an_edited_policy_and_drop_ins_decide(root):
    define(root, 'bad', DENIED)
    run_installer(root, '--mode', 'audit')
    there = Installed(root)
    head, refused = sections(preview(root, status=1))[:2]
    assert head[1].startswith('profile    rhel-8 (as before')
    settings = root / 'etc/virt-guard/policy.d/70-settings.yaml'
    assert head[2] == 'policy     as the profile is shipped, with %s: mode audit, failure admit' % settings
    assert refused[0] == 'These domains would, in mode enforce, be refused at their next start:'
    enforce, audit = sections(preview(root, status=1))[-1][1:]
    assert '--mode enforce  # put the guard in force' in enforce
    assert '--mode' not in audit and '# refuse nothing' in audit

    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    drop_in.write_text('rules:\n- {id: tpm-passthrough, action: "off", reason: "they have it in writing"}\n')
    head, counts = sections(preview(root, status=0))[:2]
    assert ', with %s, %s: mode ' % (drop_in, settings) in head[2]
    assert counts == ['1 domain: 1 clean']
    drop_in.unlink()

    policy = there.policy.read_text()
    there.policy.write_text(policy.replace('policy: rhel-8', 'policy: of-the-site'))
    head = sections(preview(root, '--mode', 'enforce', '--profile', 'rhel-9', status=1))[0]
    kept = "edited here: an installation keeps it, with %s: mode enforce, failure deny; policy 'of-the-site'" % settings
    assert head[1:] == ['profile    rhel-9 (--profile)', 'policy     %s, %s' % (there.policy, kept)]
    assert settings.read_text().count('mode: audit') == 1


def test_a_policy_that_would_stop_the_installation(root):
    run_installer(root)
    policy = Installed(root).policy
    shipped = policy.read_text()
    policy.write_text(shipped + 'dead-line: 5\n')
    stderr = preview(root, status=2).stderr
    assert str(policy) in stderr and 'dead-line' in stderr and 'an installation would stop here' in stderr

    elsewhere = root / 'elsewhere.yaml'
    elsewhere.write_text(shipped)
    policy.unlink()
    policy.symlink_to(elsewhere)
    head = sections(preview(root, status=0))[0]
    assert head[2].startswith('policy     %s, a link: an installation keeps it: mode enforce' % policy)
    audited = preview(root, '--mode', 'audit', status=0).stdout
    assert 'an installation keeps it, with ' in audited and ': mode audit, failure admit\n' in audited
    elsewhere.unlink()
    assert 'broken link' in preview(root, status=2).stderr


# --- it changes nothing


def test_nothing_is_written_below_a_root(root, tmp_path):
    checkout = copy_checkout(tmp_path / 'checkout')
    define(root, 'bad', DENIED)
    run_installer(root, '--mode', 'audit', checkout=checkout)
    before = listing(root, checkout)
    preview(root, status=1, checkout=checkout)
    preview(root, '--mode', 'enforce', '--profile', 'sles-15', status=0, checkout=checkout)
    assert listing(root, checkout) == before


# $1 is where the copy is made, $2 the checkout, $3 a domain, $4 a directory outside. Whatever is written on the host,
# or into the checkout, is in `new`; /run is a file system of its own.
ON_A_COPY = """
mount -t tmpfs tmpfs "$1"; cd "$1"; mkdir new work host
mount -t overlay -o lowerdir=/,upperdir=new,workdir=work overlay host
mkdir -p host/checkout host/etc/libvirt/qemu; cp -R "$2/." host/checkout; cp "$3" host/etc/libvirt/qemu/bad.xml
mount --rbind /proc host/proc; mount --rbind /dev host/dev; mount -t tmpfs tmpfs host/run
mkdir -p host/run/libvirt/qemu
rm -rf host/etc/virt-guard host/usr/lib/virt-guard host/etc/libvirt/hooks/qemu host/usr/sbin/virt-guard-hook
rm -rf host/usr/bin/virt-guard
list() {
    find new host/run -printf '%p %y %m %U %s %T@ %C@ %l\\n' | sort
    find new host/run -type f -exec sha256sum -- {} + | sort
}
preview() {
    list >"$before"
    status=0; chroot host /checkout/install.sh --preview "$@" || status=$?; echo "status $status"
    list >"$after"; diff "$before" "$after" && echo UNCHANGED
}
before=$4/before after=$4/after
"""


@pytest.fixture
def on_a_copy(tmp_path):
    """A function: what to do on a copy of this host -> what that says. `preview` lists the host before and after."""
    checkout = copy_checkout(tmp_path / 'checkout')
    (tmp_path / 'domain.xml').write_bytes(DENIED)
    (tmp_path / 'host').mkdir()
    arguments = [str(path) for path in (tmp_path / 'host', checkout, tmp_path / 'domain.xml', tmp_path)]

    def run(what):
        command = ['unshare', '--mount', 'sh', '-ec', ON_A_COPY + what, 'sh', *arguments]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
        return result.stdout

    if os.geteuid() != 0 or 'HERE' not in run('echo HERE'):
        missing('needs root, a mount namespace and overlayfs')
    if subprocess.call(['/usr/bin/python3', '-I', '-c', 'import lxml, yaml'], stderr=subprocess.DEVNULL) != 0:
        missing('needs /usr/bin/python3 with lxml and PyYAML')
    return run


def test_nothing_is_written_on_a_host(on_a_copy):
    said = on_a_copy('preview; preview --mode audit --profile rhel-9')
    assert said.count('status 1\nUNCHANGED\n') == 2, said
    assert said.count('/etc/libvirt/qemu/bad.xml:16: deny [tpm-passthrough]') == 2
    # With an installation of before, whose daemon does not run.
    said = on_a_copy('chroot host /checkout/install.sh --no-deps --mode audit >/dev/null; preview --mode enforce')
    assert re.search(r'^profile    \S+ \(as before', said, re.MULTILINE)
    assert 'mode enforce, failure deny' in said and said.endswith('status 1\nUNCHANGED\n'), said


def test_missing_packages_are_named_and_not_installed(on_a_copy):
    hide = 'rm -rf host/usr/lib/python3/dist-packages/lxml host/usr/lib/python3/dist-packages/yaml; '
    said = on_a_copy(hide + 'preview; preview --no-deps')
    assert said.count('status 2\nUNCHANGED\n') == 2, said
    first, second = said.split('status 2\nUNCHANGED\n')[:2]
    names = r' python3-lxml python3-(yaml|pyyaml|PyYAML)\n'
    named = r'install.sh: /usr/bin/python3 cannot judge without these packages:' + names
    installs = r'  install.sh without --preview installs them; to install nothing else: (apt-get|dnf|zypper) install'
    assert re.fullmatch(named + installs + names, first), first
    assert re.fullmatch(named, second), second


def test_while_an_installation_is_at_work(root):
    """It neither waits for the lock nor takes it."""
    if not shutil.which('flock'):
        missing('needs flock')
    define(root, 'bad', DENIED)
    preview(root, prefix=['flock', '--no-fork', str(root)], status=1)


# --- as an ordinary user


def test_an_ordinary_user_is_told_what_he_cannot_read():
    need_an_ordinary_user()
    with contextlib.ExitStack() as stack:
        root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.chmod(0o755)
        domains, run = root / 'etc/libvirt/qemu', root / 'run/libvirt/qemu'
        domains.mkdir(parents=True)
        run.mkdir(parents=True)
        run.chmod(0o700)
        define(root, 'bad', DENIED)
        define(root, 'secret', DENIED)
        (domains / 'secret.xml').chmod(0o600)
        result = preview(root, status=2, preexec_fn=as_nobody, cwd='/')
        _, refused, counts, missed, following = sections(result)
        assert counts == ['2 domains: 1 refused, 1 not judged'] and '/bad.xml:16: deny' in refused[1]
        assert missed[1:] == [
            '%s/secret.xml: error: cannot be read: Permission denied (run it as root, with sudo)' % domains,
            'cannot list %s: Permission denied (run it as root, with sudo)' % run,
        ]
        domains.chmod(0o700)
        _, missed, following = sections(preview(root, status=2, preexec_fn=as_nobody, cwd='/'))
        assert missed[1] == 'cannot list %s: Permission denied (run it as root, with sudo)' % domains
        # On the host itself, too, where an installation needs root.
        result = subprocess.run(
            [str(CHECKOUT / 'install.sh'), '--preview', '--no-deps', '--python', sys.executable],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding='utf-8',
            preexec_fn=as_nobody,
            cwd='/',
        )
        assert result.returncode in (0, 2), result.stdout + result.stderr
        assert re.search(r'^  sudo %s/install\.sh ' % re.escape(str(CHECKOUT)), result.stdout, re.MULTILINE)


# --- the command line


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--preview', '--uninstall'], '--preview does not go with --uninstall'),
        (['--uninstall', '--preview'], '--uninstall does not go with --preview'),
        (['--preview', '--profile', 'rhel-11'], '--profile is one of'),
        (['--preview', '--frobnicate'], 'unknown option: --frobnicate'),
    ],
)
def test_bad_options(root, options, complaint):
    command = [str(CHECKOUT / 'install.sh'), '--root', str(root), *options]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8')
    assert (result.returncode, result.stdout) == (2, '')
    assert complaint in result.stderr.splitlines()[0]


@pytest.mark.parametrize(
    'damaged',
    ['lib/virtguard/commands/installing/preview.py', 'lib/virtguard/hook/call.py', 'data/profiles/rhel-8.yaml'],
)
def test_a_checkout_that_is_damaged_is_not_taken_for_a_refusal(root, tmp_path, damaged):
    checkout = copy_checkout(tmp_path / 'checkout')
    (checkout / damaged).unlink()
    assert preview(root, status=2, checkout=checkout).stdout == ''
