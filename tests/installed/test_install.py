# SPDX-License-Identifier: Apache-2.0
"""install.sh below a root of its own: nothing here touches the host."""

import glob
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

import pytest
from installation import CHECKOUT, CLEAN, DENIED, Installed, copy_checkout, domain_xml, policy_text, run_installer

LIBVIRT = ('/usr/lib/libvirt.so.0', '/usr/lib64/libvirt.so.0', '/usr/lib/*/libvirt.so.0')
FOREIGN = '#!/bin/sh\nexit 0\n'


@pytest.fixture
def root(tmp_path):
    path = tmp_path / 'root'
    path.mkdir()
    return path


@pytest.fixture
def checkout(tmp_path):
    """A checkout to change: another version to install."""
    return copy_checkout(tmp_path / 'another checkout')


@pytest.fixture(scope='module')
def fake_libvirt(tmp_path_factory):
    """A function: version -> command prefix that runs the installer where libvirt's library has that version."""
    links = [path for pattern in LIBVIRT for path in glob.glob(pattern)]
    if os.geteuid() != 0 or len(links) != 1:
        pytest.skip('needs root and libvirt')
    directory = tmp_path_factory.mktemp('libvirt')

    def prefix(version):
        major, minor, micro = map(int, version.split('.'))
        hide = (
            'mount -t tmpfs tmpfs "$0" && cd "$0" && mkdir new work && ln -s libvirt.so.0.%d.%d new/libvirt.so.0\n'
            'mount -t overlay -o lowerdir=%s,upperdir=new,workdir=work overlay %s && cd "$OLDPWD" && exec "$@"'
        ) % (1000 * major + minor, micro, *[os.path.dirname(links[0])] * 2)
        return ['unshare', '--mount', '--', 'sh', '-c', hide, str(directory)]

    if subprocess.call(prefix('1.0.0') + ['true'], stderr=subprocess.DEVNULL) != 0:
        pytest.skip('no mount namespaces here')
    return prefix


@pytest.fixture
def on_system(tmp_path):
    """A function: the text of an os-release file -> command prefix that runs the installer on that system."""
    if os.geteuid() != 0 or not os.path.exists('/etc/os-release'):
        pytest.skip('needs root and /etc/os-release')

    def prefix(text):
        file = tmp_path / 'os-release'
        file.write_text(text)
        return ['unshare', '--mount', '--', 'sh', '-c', 'mount --bind "$0" /etc/os-release && exec "$@"', str(file)]

    if subprocess.call(prefix('') + ['true'], stderr=subprocess.DEVNULL) != 0:
        pytest.skip('no mount namespaces here')
    return prefix


def install(root, *options, status=0, **kw):
    result = run_installer(root, *options, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def edit(path, old, new):
    text = path.read_bytes().decode('utf-8')
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new).encode('utf-8'))


def tree(root, times=True):
    """Everything below `root` as comparable values; with `times`, a file written again differs."""
    found = {}
    for directory, names, files in os.walk(str(root)):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            value = [oct(status.st_mode), status.st_uid]
            if stat.S_ISLNK(status.st_mode):
                value.append(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                with open(path, 'rb') as file:
                    value.append(file.read())
                if times:
                    value += [status.st_ino, status.st_mtime_ns]
            found[os.path.relpath(path, str(root))] = value
    found.pop('var/log/libvirt/virt-guard.log', None)  # grows with every check
    return found


# --- a new installation


def test_layout(installed):
    for path, value in tree(installed.root).items():
        mode, owner = int(value[0], 8), value[1]
        assert owner == os.geteuid(), path
        if stat.S_ISDIR(mode):
            assert stat.S_IMODE(mode) == 0o755, path
        elif stat.S_ISREG(mode):
            program = path in ('usr/bin/virt-guard', 'usr/sbin/virt-guard-hook')
            assert stat.S_IMODE(mode) == (0o755 if program else 0o644), path
    assert os.readlink(str(installed.hook)) == str(installed.program)
    assert sorted(path.name for path in installed.library.iterdir()) == [
        'created-directories',
        'policy.yaml',
        installed.tree.name,
    ]
    package = installed.tree / 'virtguard'
    modules = {path.relative_to(package) for path in package.glob('**/*.py')}
    assert modules == {
        path.relative_to(CHECKOUT / 'lib/virtguard') for path in (CHECKOUT / 'lib/virtguard').glob('**/*.py')
    }
    compiled = {path.parent.with_name(path.name.split('.')[0] + '.py') for path in package.glob('**/*.pyc')}
    assert {path.relative_to(package) for path in compiled} == modules
    assert installed.policy.read_bytes() == (CHECKOUT / 'policy.yaml').read_bytes()
    for page in ('man8/virt-guard.8', 'man5/virt-guard-policy.5'):
        installed_page = installed.root / 'usr/share/man' / page
        assert installed_page.read_bytes() == (CHECKOUT / 'doc' / installed_page.name).read_bytes()


def test_hook_judges(installed):
    with installed.with_policy():
        for operation in ('prepare', 'start'):
            result = installed.run_hook('guest', operation, CLEAN)
            assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
            result = installed.run_hook('guest', operation, DENIED)
            assert (result.returncode, result.stdout) == (1, b'')
            assert result.stderr.startswith(b"virt-guard: domain 'guest' denied by policy 'rhel-8': tpm-passthrough\n")


def test_command_uses_the_installed_policy(installed):
    with installed.with_policy(policy_text().replace('policy: rhel-8', 'policy: of-this-test')):
        result = installed.run_cli('policy', 'check')
        assert result.returncode == 0
        assert b'of-this-test' in result.stdout
        assert str(installed.policy).encode() in result.stdout
        assert installed.run_cli('check', '-', input=CLEAN).returncode == 0
        assert installed.run_cli('check', '-', input=DENIED).returncode == 1


def test_no_environment_variable_changes_the_command(installed, tmp_path):
    (tmp_path / 'argparse.py').write_text('raise SystemExit(99)\n')
    result = installed.run_cli('--version', cwd=str(tmp_path), env={'PYTHONPATH': str(tmp_path), 'PATH': '/nowhere'})
    assert result.returncode == 0


def test_says_what_it_did(root):
    lines = install(root).stdout.splitlines()
    done = [line.split(None, 1) for line in lines]
    program = ['installed', str(root / 'usr/sbin/virt-guard-hook')]
    link = ['linked', str(root / 'etc/libvirt/hooks/qemu')]
    # Both come after the check: a hook that fails it must not get in force.
    verbs = [words[0] for words in done if words]
    assert verbs.index('checked') < done.index(program) < done.index(link)


def test_judges_the_defined_domains(root):
    domains = root / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    (domains / 'refused.xml').write_bytes(DENIED)
    result = install(root)
    assert 'refused.xml' in result.stdout
    assert 'tpm-passthrough' in result.stdout
    assert 'virt-guard explain RULE' in result.stdout
    assert 'refused at its next start' in result.stdout
    assert 'in mode enforce' in install(root, '--mode', 'audit').stdout


# The checkout, the root and the interpreter, all relative or absolute, in a place with such a name.
@pytest.mark.parametrize(
    'name', ["it's", 'a b', 'a"b$HOME`id`\\n', '-x', 'x' * 200, os.fsdecode(b'\xc3\xa9'), os.fsdecode(b'\xe9 x')]
)
def test_any_path(tmp_path, checkout, name, monkeypatch):
    monkeypatch.setenv('LC_ALL', 'C.UTF-8')
    directory = tmp_path / name
    directory.mkdir()
    shutil.move(str(checkout), str(directory / 'checkout'))
    python = directory / 'python'
    python.write_text('#!/bin/sh\nexec %s "$@"\n' % sys.executable)
    python.chmod(0o755)
    checkout = pathlib.Path('..') / name / 'checkout'
    install(name, '--no-deps', '--python=%s' % python, checkout=checkout, cwd=str(directory))
    there = Installed(directory / name)
    with there.with_policy():
        assert there.run_hook('guest', 'prepare', CLEAN).returncode == 0
        assert there.run_hook('guest', 'prepare', DENIED).returncode == 1
        assert there.run_cli('check', '-', input=DENIED).returncode == 1


def as_nobody():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


@pytest.fixture
def nobody():
    """What makes a command run as an ordinary user; skips where that user cannot read this checkout."""
    if os.geteuid() != 0:
        pytest.skip('needs root, to become somebody else')
    readable = ['test', '-x', sys.executable, '-a', '-r', str(CHECKOUT / 'lib/virtguard/hook/call.py')]
    if subprocess.call(readable, preexec_fn=as_nobody) != 0:
        pytest.skip('an ordinary user cannot read %s or run %s' % (CHECKOUT, sys.executable))
    return as_nobody


def test_an_ordinary_user_makes_a_tree(nobody):
    # Not in tmp_path, which is root's alone.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.chown(directory, 65534, 65534)
        root = pathlib.Path(directory, 'root')
        install(root, preexec_fn=nobody, cwd='/')
        there = Installed(root)
        assert there.run_hook('guest', 'stopped', DENIED, preexec_fn=nobody).returncode == 0
        install(root, '--uninstall', preexec_fn=nobody, cwd='/')
        assert not root.exists()


def test_a_host_needs_root(nobody):
    result = subprocess.run(
        [str(CHECKOUT / 'install.sh')], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=nobody, cwd='/'
    )
    assert result.returncode == 1
    assert b'root' in result.stderr


# --- again, and newer versions


def test_second_run_changes_nothing(root):
    install(root)
    before = tree(root)
    result = install(root)
    assert 'unchanged' in result.stdout
    assert 'installed' not in result.stdout
    assert tree(root) == before


def test_repairs(root):
    install(root)
    before = tree(root, times=False)
    there = Installed(root)
    damaged = there.tree
    damaged.joinpath('virtguard/hook/call.py').write_text('broken\n')
    damaged.joinpath('virtguard').chmod(0o777)
    shutil.rmtree(str(damaged / 'virtguard/__pycache__'))
    there.program.chmod(0o600)
    there.cli.unlink()
    there.hook.unlink()
    install(root)
    after = tree(root, times=False)
    # Calls may still use what is damaged, so it is not mended in place: the new one has another name.
    assert there.tree.name == damaged.name + '.2' and not damaged.exists()
    after = {path.replace(there.tree.name, damaged.name): value for path, value in after.items()}
    named = [
        path for path in before if '__pycache__' in path or path.endswith('.compiled')
    ]  # these hold times and names
    assert named
    for path in [*named, 'usr/bin/virt-guard', 'usr/sbin/virt-guard-hook']:
        assert after.pop(path)[0] == before.pop(path)[0]
    assert after == before


def test_upgrade(root, checkout):
    (checkout / 'lib/virtguard/gone.py').write_text('pass\n')
    install(root, checkout=checkout)
    (checkout / 'lib/virtguard/gone.py').unlink()
    (checkout / 'lib/virtguard/come.py').write_text('pass\n')
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    (package,) = root.glob('usr/lib/virt-guard/tree-*/virtguard')
    names = {path.name.split('.')[0] for path in package.glob('**/*.py*')}
    assert 'come' in names
    assert 'gone' not in names
    assert (root / 'etc/virt-guard/policy.yaml').read_bytes() == (checkout / 'policy.yaml').read_bytes()
    assert not (root / 'etc/virt-guard/policy.yaml.new').exists()


def test_code_that_this_python_cannot_read_is_not_installed(root, checkout):
    install(root, checkout=checkout)
    before = tree(root)
    (checkout / 'lib/virtguard/hook/call.py').write_text('this is no Python\n')
    assert 'hook/call.py' in install(root, checkout=checkout, status=1).stderr
    assert tree(root) == before


# --- the profile

SYSTEMS = {
    'rhel 8.10': ('rhel-8', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"\n'),
    'rhel 9.4': ('rhel-9', 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n'),
    'rhel 10.0': ('rhel-10', 'VERSION_ID="10.0"\nID="rhel"\nID_LIKE="centos fedora"\n'),
    'almalinux 9.4': ('rhel-9', 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'),
    'centos 10': ('rhel-10', 'ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="10"\n'),
    'ol 9.3': ('rhel-9', "ID='ol'\nID_LIKE='fedora'\nVERSION_ID='9.3'\n"),
    # Whoever is none of them gets the vendor's complete list, and is told so.
    'debian 12': ('rhel-8', 'ID=debian\nVERSION_ID="12"\n'),
    'fedora 9': ('rhel-8', 'ID=fedora\nVERSION_ID=9\n'),
    'amzn 2023': ('rhel-8', 'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2023"\n'),
    'rhel 7.9': ('rhel-8', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="7.9"\n'),
    # What is newer than every list is nearest to the newest.
    'rhel 11.0': ('rhel-10', 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="11.0"\n'),
    'rocky 12.1': ('rhel-10', 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="12.1"\n'),
    'rhvh 4.4': ('rhv-4', 'ID="rhvh"\nID_LIKE="rhel fedora"\nVERSION_ID="4.4"\n'),
    'rhel 8.6': ('rhv-4', 'ID="rhel"\nVERSION_ID="8.6"\nVARIANT_ID="ovirt-node"\n'),
    'sles 15.6': (
        'sles-15',
        'NAME="SLES"\nVERSION="15-SP6"\nVERSION_ID="15.6"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP6"\n'
        'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:15:sp6"\n',
    ),
    'sles 16.0': (
        'sles-16',
        'NAME="SLES"\nVERSION="16.0"\nVERSION_ID="16.0"\nPRETTY_NAME="SUSE Linux Enterprise Server 16.0"\n'
        'ID="sles"\nID_LIKE="suse"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:16:16.0"\n',
    ),
    'opensuse-leap 15.6': (
        'sles-15',
        'NAME="openSUSE Leap"\nVERSION="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n'
        'PRETTY_NAME="openSUSE Leap 15.6"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:15.6"\n',
    ),
    'opensuse-leap 16.0': (
        'sles-16',
        'NAME="openSUSE Leap"\nVERSION="16.0"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="16.0"\n'
        'PRETTY_NAME="openSUSE Leap 16.0"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:opensuse:leap:16.0"\n',
    ),
    'sles 12.5': (
        'rhel-8',
        'NAME="SLES"\nVERSION="12-SP5"\nVERSION_ID="12.5"\nPRETTY_NAME="SUSE Linux Enterprise Server 12 SP5"\n'
        'ID="sles"\nANSI_COLOR="0;32"\nCPE_NAME="cpe:/o:suse:sles:12:sp5"\n',
    ),
    'opensuse-tumbleweed 20251120': (
        'rhel-8',
        'NAME="openSUSE Tumbleweed"\n# VERSION="20251120"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n'
        'VERSION_ID="20251120"\nPRETTY_NAME="openSUSE Tumbleweed"\n',
    ),
    'opensuse-microos 20251120': (
        'rhel-8',
        'NAME="openSUSE MicroOS"\n# VERSION="20251120"\nID="opensuse-microos"\n'
        'ID_LIKE="suse opensuse opensuse-tumbleweed"\nVERSION_ID="20251120"\nPRETTY_NAME="openSUSE MicroOS"\n',
    ),
    'sl-micro 6.1': ('rhel-8', 'NAME="SL-Micro"\nVERSION="6.1"\nID="sl-micro"\nID_LIKE="suse"\nVERSION_ID="6.1"\n'),
    'unknown': ('rhel-8', '# nothing\n'),
}
PROFILES = {
    'rhel-8': 'policy.yaml',
    'rhel-9': 'data/profiles/rhel-9.yaml',
    'rhel-10': 'data/profiles/rhel-10.yaml',
    'rhv-4': 'data/profiles/rhv-4.yaml',
    'sles-15': 'data/profiles/sles-15.yaml',
    'sles-16': 'data/profiles/sles-16.yaml',
}
POLICY, OFFERED = 'etc/virt-guard/policy.yaml', 'etc/virt-guard/policy.yaml.new'


def shipped(profile, checkout=CHECKOUT):
    return (checkout / PROFILES[profile]).read_bytes()


@pytest.mark.parametrize('system', sorted(SYSTEMS))
def test_profile_of_the_system(root, on_system, system):
    profile, text = SYSTEMS[system]
    lines = install(root, prefix=on_system(text)).stdout.splitlines()
    (said,) = [line for line in lines if line.startswith('profile ')]
    assert said.split()[1] == profile and 'this host is %s' % system in said
    of_its_own = system in (
        'rhel 8.10',
        'rhel 9.4',
        'rhel 10.0',
        'almalinux 9.4',
        'centos 10',
        'ol 9.3',
        'rhvh 4.4',
        'rhel 8.6',
        'sles 15.6',
        'sles 16.0',
        'opensuse-leap 15.6',
        'opensuse-leap 16.0',
    )
    assert ('--profile chooses another' in said) != of_its_own
    assert (root / POLICY).read_bytes() == shipped(profile)


@pytest.mark.parametrize('profile', sorted(PROFILES))
def test_profile_as_asked(root, profile):
    assert 'profile    %s (--profile)' % profile in install(root, '--profile', profile).stdout
    there = Installed(root)
    assert there.policy.read_bytes() == shipped(profile)
    check = there.run_cli('policy', 'check')
    assert check.returncode == 0 and b"policy '%s'" % profile.encode() in check.stdout
    denied = there.run_hook('guest', 'prepare', DENIED.replace(b"type='kvm'", b"type='qemu'"))
    assert denied.returncode == 1 and b"denied by policy '%s'" % profile.encode() in denied.stderr
    assert (b'[tpm-passthrough]' in denied.stderr) == profile.startswith('rhel-')
    virtiofs = domain_xml(devices="<filesystem><driver type='virtiofs'/></filesystem>\n")
    assert (b'deny [virtiofs]' in there.run_cli('check', '-', input=virtiofs).stdout) == (profile == 'rhel-8')
    for name in PROFILES:
        assert (there.tree / 'profiles' / (name + '.yaml')).read_bytes() == shipped(name)
    assert tree(root) == (install(root), tree(root))[1], 'the profile stays, and a second run changes nothing'


def test_upgrade_keeps_the_profile(root, checkout, on_system):
    install(root, '--profile=rhel-9', '--mode=audit')
    edit(checkout / PROFILES['rhel-9'], 'deadline: 5 ', 'deadline: 6 ')
    result = install(root, checkout=checkout, prefix=on_system(SYSTEMS['rhel 10.0'][1]))
    assert 'profile    rhel-9 (as before' in result.stdout
    text = (root / POLICY).read_bytes()
    assert all(line in text for line in (b'\npolicy: rhel-9\n', b'\nmode: audit ', b'\ndeadline: 6 '))


def test_a_host_that_has_become_another_is_told(root, on_system):
    """As after leapp."""
    install(root, prefix=on_system(SYSTEMS['rhel 8.10'][1]))
    there = Installed(root)
    prefix = on_system(SYSTEMS['rhel 9.4'][1])
    told = 'this host is rhel 9.4, whose list is rhel-9; %s--profile rhel-9 takes it'

    def says():
        return [
            told % 'install.sh '
            in subprocess.check_output([*prefix, str(there.cli), *words], stderr=subprocess.STDOUT, encoding='utf-8')
            for words in (['policy', 'check'], ['scan'])
        ]

    assert told % '' in install(root, prefix=prefix).stdout
    assert says() == [True, True]
    site = '\npolicy: site\nextends: rhel-8\n'
    there.policy.write_text(site)
    assert says() == [True, True], 'also where the policy has another name'
    there.policy.write_text(site.replace('rhel-8', 'rhel-9'))
    assert says() == [False, False]
    there.policy.write_text(
        'policy: own\nrules:\n- {id: a, title: t, action: deny, match: /domain/devices/watchdog, why: w, remedy: r}\n'
    )
    assert says() == [False, False], 'whoever wrote a list of his own has no other to take'
    there.policy.unlink()
    assert told % '' not in install(root, '--profile', 'rhel-9', prefix=prefix).stdout
    assert says() == [False, False]


def test_another_profile(root):
    install(root, '--mode', 'audit')
    install(root, '--profile', 'rhel-10')
    text = (root / POLICY).read_bytes()
    assert b'\npolicy: rhel-10\n' in text and b'\nmode: audit ' in text
    install(root, '--profile', 'rhel-8', '--mode', 'enforce')
    assert (root / POLICY).read_bytes() == shipped('rhel-8')
    install(root, '--uninstall')
    assert not (root / POLICY).exists()


def test_another_profile_than_the_edited_one_is_only_offered(root):
    install(root)
    edit(root / POLICY, 'deadline: 5 ', 'deadline: 7 ')
    edited = (root / POLICY).read_bytes()
    assert OFFERED in install(root, '--profile', 'rhel-9').stdout
    assert (root / POLICY).read_bytes() == edited
    assert (root / OFFERED).read_bytes() == shipped('rhel-9')
    before = tree(root)
    assert 'profile    rhel-9' in install(root).stdout
    assert tree(root) == before


def test_profile_of_a_user_s_own_checkout(root, checkout):
    """What is installed from is the user's; only what is installed must be root's."""
    if os.geteuid() != 0:
        pytest.skip('needs root')
    for path in [checkout, *checkout.rglob('*')]:
        os.chown(str(path), 65534, 65534)
    install(root, '--profile', 'rhel-9', checkout=checkout)
    assert Installed(root).run_hook('guest', 'prepare', DENIED).returncode == 1


# --- the policy


def test_mode(root):
    shipped = (CHECKOUT / 'policy.yaml').read_bytes()
    install(root, '--mode', 'audit')
    there = Installed(root)
    lines = there.policy.read_bytes().splitlines()
    changed = [(old, new) for old, new in zip(shipped.splitlines(), lines) if old != new]
    assert [new.split()[:2] for old, new in changed] == [[b'mode:', b'audit'], [b'failure:', b'admit']]
    assert all(old.index(b'#') == new.index(b'#') for old, new in changed)
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0
    assert there.run_hook('guest', 'prepare', b'not XML').returncode == 0
    before = tree(root)
    install(root)
    assert tree(root) == before, 'without --mode, the mode stays'
    install(root, '--mode=enforce')
    assert there.policy.read_bytes() == shipped
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 1


def test_mode_is_no_edit(root, checkout):
    install(root, '--mode', 'audit')
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    there = Installed(root)
    assert b'\npolicy: newer\nmode: audit ' in there.policy.read_bytes()
    assert b'\nfailure: admit ' in there.policy.read_bytes()
    install(root, '--uninstall', checkout=checkout)
    assert not there.policy.exists()


def test_edited_policy_is_kept(root, checkout):
    install(root)
    policy, new = root / 'etc/virt-guard/policy.yaml', root / 'etc/virt-guard/policy.yaml.new'
    edit(policy, 'deadline: 5 ', 'deadline: 7 ')
    edited = policy.read_bytes()
    assert 'policy.yaml.new' not in install(root).stdout, 'nothing new to offer'
    assert not new.exists()

    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    assert str(new) in install(root, checkout=checkout).stdout
    assert policy.read_bytes() == edited
    assert new.read_bytes() == (checkout / 'policy.yaml').read_bytes()
    before = tree(root)
    install(root, checkout=checkout)
    assert tree(root) == before

    # An administrator who takes the new one follows the shipped policy again.
    new.rename(policy)
    edit(checkout / 'policy.yaml', 'policy: newer', 'policy: newest')
    install(root, checkout=checkout)
    assert policy.read_bytes() == (checkout / 'policy.yaml').read_bytes()


def test_offered_policy_goes_with_the_edit(root, checkout):
    install(root)
    policy, new = root / 'etc/virt-guard/policy.yaml', root / 'etc/virt-guard/policy.yaml.new'
    edit(policy, 'deadline: 5 ', 'deadline: 7 ')
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    shutil.copy(str(new), str(policy))
    install(root, checkout=checkout)
    assert not new.exists()


def test_mode_of_an_edited_policy(root):
    install(root)
    there = Installed(root)
    edit(there.policy, 'mode: enforce ', 'mode: "enforce"  # see ticket 7 #')
    edit(there.policy, 'deadline: 5 ', 'deadline: 7 ')
    install(root, '--mode', 'audit')
    text = there.policy.read_bytes()
    assert b'\nmode: audit' in text
    assert b'# see ticket 7 #' in text
    assert b'\ndeadline: 7 ' in text
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_mode_that_cannot_be_set(root):
    install(root)
    edit(root / 'etc/virt-guard/policy.yaml', '\nmode: enforce ', '\n#')
    before = tree(root)
    assert 'by hand' in install(root, '--mode', 'audit', status=1).stderr
    assert tree(root) == before
    install(root)


def test_broken_policy_stops_the_upgrade(root, checkout):
    install(root)
    edit(root / 'etc/virt-guard/policy.yaml', 'deadline: 5 ', 'dead-line: 5 ')
    before = tree(root)
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    stderr = install(root, checkout=checkout, status=1).stderr
    assert '%s/etc/virt-guard/policy.yaml:' % root in stderr
    assert 'dead-line' in stderr
    assert tree(root) == before


def test_policy_that_admits_the_check(root):
    install(root)
    there = Installed(root)
    there.policy.write_text(
        'policy: site\nmode: enforce\nrules:\n- id: none\n  title: x\n  action: deny\n'
        '  match: /domain/devices/watchdog\n  why: x\n  remedy: x\n  reference: x\n'
    )
    assert 'checked ' in install(root).stdout, 'the check is of the shipped rules'
    assert there.run_hook('guest', 'prepare', DENIED).returncode == 0


def test_linked_policy_is_never_written(root, tmp_path):
    install(root)
    policy, elsewhere = root / 'etc/virt-guard/policy.yaml', tmp_path / 'elsewhere.yaml'
    policy.rename(elsewhere)
    policy.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    install(root)
    assert 'link' in install(root, '--mode', 'audit', status=1).stderr
    install(root, '--uninstall')
    assert policy.is_symlink()
    assert elsewhere.read_bytes() == before


# --- the check at the end


@pytest.mark.parametrize('mode', ['audit', 'enforce'])
@pytest.mark.parametrize(
    ('broken', 'complaint'),
    [
        ('exit 0', 'unsupported features'),
        ('[ "$2" = stopped ] && exit 0; echo Traceback >&2; exit 2', 'Traceback'),
        ('exit 1', 'must not'),
        ('[ "$2" = stopped ] && echo hello && exit 0', 'must not'),
    ],
)
def test_a_hook_that_does_not_work_gets_not_in_force(root, checkout, mode, broken, complaint):
    edit(checkout / 'hooks/qemu', '# What libvirt runs', broken + '\n# What libvirt runs')
    assert complaint in install(root, '--mode', mode, checkout=checkout, status=1).stderr
    assert not os.path.lexists(str(root / 'etc/libvirt/hooks/qemu'))
    install(root)
    assert (root / 'etc/libvirt/hooks/qemu').is_file()


def test_a_guard_that_fails_open_is_found_out(root):
    # The hook refuses a policy that others can write, and where failure is admit that looks just like mode audit.
    (root / 'etc').mkdir()
    (root / 'etc').chmod(0o777)
    assert 'can be written by others' in install(root, '--mode', 'audit', status=1).stderr


# --- hooks of others


@pytest.mark.parametrize('version', ['6.5.0', '9.0.0', '11.10.0'])
def test_foreign_hook_stays_first(root, fake_libvirt, version):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').write_text(FOREIGN)
    before = tree(root)
    result = install(root, prefix=fake_libvirt(version))
    assert 'stays' in result.stdout
    assert (hooks / 'qemu').read_text() == FOREIGN
    ours = hooks / 'qemu.d/00-virt-guard'
    assert os.readlink(str(ours)) == str(root / 'usr/sbin/virt-guard-hook')
    assert 'unchanged' in install(root, prefix=fake_libvirt(version)).stdout

    (hooks / 'qemu').unlink()
    install(root)
    assert (hooks / 'qemu').is_symlink()
    assert not os.path.lexists(str(ours))

    (hooks / 'qemu').unlink()
    (hooks / 'qemu').write_text(FOREIGN)
    install(root, prefix=fake_libvirt(version))
    assert ours.is_symlink()
    install(root, '--uninstall')
    assert tree(root, times=False).keys() == before.keys()
    assert (hooks / 'qemu').read_text() == FOREIGN


@pytest.mark.parametrize('version', ['4.5.0', '6.0.0', '6.4.9'])
def test_foreign_hook_and_old_libvirt(root, fake_libvirt, version):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').write_text(FOREIGN)
    before = tree(root)
    result = install(root, prefix=fake_libvirt(version), status=1)
    assert str(hooks / 'qemu') in result.stderr
    assert 'libvirt %s' % version.rpartition('.')[0] in result.stderr
    assert tree(root) == before


def test_foreign_broken_link_counts_as_a_hook(root, fake_libvirt):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').symlink_to('/nowhere/hook')
    install(root, status=1, prefix=fake_libvirt('6.0.0'))
    install(root, prefix=fake_libvirt('9.0.0'))
    install(root, '--uninstall')
    assert os.readlink(str(hooks / 'qemu')) == '/nowhere/hook'


def test_second_place_taken(root, fake_libvirt):
    hooks = root / 'etc/libvirt/hooks'
    (hooks / 'qemu.d').mkdir(parents=True)
    (hooks / 'qemu').write_text(FOREIGN)
    (hooks / 'qemu.d/00-virt-guard').write_text(FOREIGN)
    before = tree(root)
    assert '00-virt-guard' in install(root, status=1, prefix=fake_libvirt('9.0.0')).stderr
    assert tree(root) == before


def test_own_link_is_known_however_written(root):
    hooks = root / 'etc/libvirt/hooks'
    hooks.mkdir(parents=True)
    (hooks / 'qemu').symlink_to('../../../usr/libexec/virt-guard/qemu')  # broken, until install.sh has run
    install(root)
    assert not (hooks / 'qemu.d').exists()
    assert 'unchanged' in install(root).stdout


def test_foreign_command_stays(root):
    (root / 'usr/bin').mkdir(parents=True)
    (root / 'usr/bin/virt-guard').write_text(FOREIGN)
    before = tree(root)
    assert 'usr/bin/virt-guard' in install(root, status=1).stderr
    install(root, '--uninstall')
    assert tree(root) == before


# --- planted links


@pytest.mark.parametrize(
    'directory',
    [
        'etc',
        'usr/lib/virt-guard',
        'usr/libexec/virt-guard',
        'etc/virt-guard',
        'etc/virt-guard/policy.d',
        'usr/lib/virt-guard/virtguard',
        'etc/libvirt/hooks',
        'var/log',
    ],
)
@pytest.mark.parametrize('option', ['--no-deps', '--uninstall'])
def test_no_directory_is_reached_by_a_link(root, tmp_path, directory, option):
    victim = tmp_path / 'victim'
    victim.mkdir()
    (victim / 'qemu').write_text(FOREIGN)
    (root / directory).parent.mkdir(parents=True, exist_ok=True)
    (root / directory).symlink_to(victim)
    before, victim_before = tree(root), tree(victim)
    options = [option] if option == '--uninstall' else [option, '--python', sys.executable]
    assert 'symbolic link' in install(root, *options, status=1).stderr
    assert tree(root) == before
    assert tree(victim) == victim_before


@pytest.mark.parametrize(
    'name',
    [
        'TREE/virtguard/hook/call.py',
        'usr/lib/virt-guard/policy.yaml',
        'TREE/profiles/rhel-9.yaml',
        'usr/lib/virt-guard/created-directories',
        'usr/lib/virt-guard/.new',
        'usr/sbin/virt-guard-hook',
        'usr/sbin/virt-guard-hook.check',
        'etc/virt-guard/.virt-guard-check.yaml',
        'etc/virt-guard/policy.yaml.new',
        'TREE/virtguard/__pycache__',
    ],
)
def test_no_file_is_written_through_a_link(root, tmp_path, checkout, name):
    install(root)
    edit(root / 'etc/virt-guard/policy.yaml', 'deadline: 5 ', 'deadline: 7 ')
    name = name.replace('TREE', str(Installed(root).tree))
    victim = tmp_path / 'victim'
    if name.endswith(('__pycache__', '/.new')):
        shutil.rmtree(str(root / name), ignore_errors=True)
        victim.mkdir()
    else:
        if (root / name).exists():
            (root / name).unlink()
        victim.write_text('precious\n')
    (root / name).symlink_to(victim)
    edit(checkout / 'policy.yaml', 'policy: rhel-8', 'policy: newer')
    install(root, checkout=checkout)
    assert not (root / name).is_symlink()
    assert list(victim.iterdir()) == [] if victim.is_dir() else victim.read_text() == 'precious\n'


@pytest.mark.parametrize(
    'name',
    [
        'etc/virt-guard/policy.compiled',
        'usr/lib/systemd/system/virt-guard-compile.path',
        'usr/lib/systemd/system/virt-guard-compile.service',
        'usr/lib/systemd/system/virt-guard-watch.service',
        'usr/lib/virt-guard/policy.yaml',
        'usr/sbin/virt-guard-hook',
        'usr/share/man/man8/virt-guard.8',
    ],
)
def test_a_directory_where_a_file_is_to_be(root, name):
    (root / name).mkdir(parents=True)
    before = tree(root)
    assert '%s is a directory' % (root / name) in install(root, status=1).stderr
    assert tree(root) == before


def test_links_in_a_checkout_are_followed(root, checkout, tmp_path):
    (checkout / 'lib/virtguard').rename(tmp_path / 'package')
    (checkout / 'lib/virtguard').symlink_to(tmp_path / 'package')
    (tmp_path / 'package/hook/call.py').rename(tmp_path / 'elsewhere.py')
    (tmp_path / 'package/hook/call.py').symlink_to(tmp_path / 'elsewhere.py')
    install(root, checkout=checkout)
    assert [path for path in Installed(root).tree.rglob('*') if path.is_symlink()] == []


def test_a_default_acl_gives_nobody_else_the_policy(root):
    (root / 'etc/virt-guard').mkdir(parents=True)
    user, group, mask, other, nobody = 1, 4, 16, 32, 0xFFFFFFFF
    entries = [(user, 7, nobody), (group, 7, nobody), (8, 7, 65534), (mask, 7, nobody), (other, 5, nobody)]
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
    try:
        os.setxattr(str(root / 'etc/virt-guard'), 'system.posix_acl_default', acl)
    except OSError as error:
        pytest.skip('no ACLs here: %s' % error)
    install(root)
    assert stat.S_IMODE((root / 'etc/virt-guard/policy.yaml').stat().st_mode) == 0o644


# --- uninstall


def test_uninstall_leaves_what_was_there(root):
    for directory in ('usr/bin', 'usr/lib', 'etc/libvirt/hooks', 'etc/libvirt/qemu', 'var/log'):
        (root / directory).mkdir(parents=True)
    (root / 'usr/bin/other').write_text(FOREIGN)
    (root / 'etc/libvirt/hooks/network').write_text(FOREIGN)
    before = tree(root)
    install(root, '--mode', 'audit')
    install(root, '--mode', 'enforce')
    result = install(root, '--uninstall')
    assert tree(root) == before
    assert 'kept' not in result.stdout
    assert 'not installed' in install(root, '--uninstall').stdout
    assert tree(root) == before


@pytest.mark.parametrize('hooks_existed', [True, False])
def test_uninstall_removes_only_directories_it_made(root, hooks_existed):
    if hooks_existed:
        (root / 'etc/libvirt/hooks').mkdir(parents=True)
    install(root)
    install(root)
    install(root, '--uninstall')
    assert (root / 'etc/libvirt/hooks').exists() == hooks_existed
    assert not (root / 'usr').exists()


def test_uninstall_keeps_what_is_not_its_own(root):
    install(root)
    there = Installed(root)
    edit(there.policy, 'deadline: 5 ', 'deadline: 7 ')
    there.run_hook('somebody', 'prepare', DENIED)
    drop_in = root / 'etc/virt-guard/policy.d/50-site.yaml'
    foreign = [root / 'usr/lib/virt-guard/note', root / 'etc/virt-guard/note', root / 'etc/libvirt/hooks/lxc', drop_in]
    for path in foreign:
        path.write_text('note\n')
    result = install(root, '--uninstall')
    left = {path for path in root.glob('**/*') if not path.is_dir()}
    assert left - {there.log} == {there.policy, *foreign}
    assert 'kept       %s (edited)' % there.policy in result.stdout
    assert 'kept       %s (a drop-in of yours)' % drop_in in result.stdout
    assert there.log.exists() == ('kept       %s (audit records)' % there.log in result.stdout)

    # A policy kept is a policy found again, and so is a drop-in: 'note' is none.
    assert '50-site.yaml:1:1: the policy is text, not a mapping' in install(root, status=1).stderr
    drop_in.write_text('mode: enforce\n')
    assert 'policy.yaml.new' in install(root).stdout
    assert b'deadline: 7 ' in there.policy.read_bytes()


@pytest.mark.parametrize('profile', ['rhel-8', 'rhel-9'])
def test_uninstall_after_half_an_installation(root, profile):
    install(root, '--profile', profile)
    shutil.rmtree(str(root / 'usr'))
    install(root, '--uninstall')
    assert [path for path in root.glob('**/*') if not path.is_dir()] == []


# --- the command line


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--frobnicate'], '--frobnicate'),
        (['install'], 'install'),
        (['--mode'], '--mode'),
        (['--mode='], '--mode'),
        (['--mode', 'permissive'], 'permissive'),
        (['--profile', 'rhel-11'], 'rhel-11'),
        (['--profile', 'rhel-8 rhel-9'], 'rhel-8 rhel-9'),
        (['--profile='], '--profile'),
        (['--uninstall', '--profile', 'rhel-9'], '--uninstall'),
        (['--python', 'python3'], 'absolute'),
        (['--uninstall', '--mode', 'audit'], '--uninstall'),
        (['--root', ''], '--root'),
        (['--root', 'a\nb'], 'control'),
    ],
)
def test_bad_options(root, options, complaint):
    result = subprocess.run(
        [str(CHECKOUT / 'install.sh'), '--root', str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
    )
    assert result.returncode == 2
    assert complaint in result.stderr.splitlines()[0]
    assert 'usage:' in result.stderr
    assert result.stdout == ''
    assert list(root.iterdir()) == []


def test_help(root):
    result = install(root, '--help')
    assert 'usage:' in result.stdout
    assert '--uninstall' in result.stdout
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ('python', 'complaint'),
    [
        ('/nowhere/python', 'no interpreter'),
        (shutil.which('false'), 'cannot import'),
    ],
)
def test_useless_python(root, python, complaint):
    assert complaint in install(root, '--python', python, status=1).stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize('missing', ['policy.yaml', 'data/profiles/rhel-10.yaml'])
def test_incomplete_checkout(root, checkout, missing):
    (checkout / missing).unlink()
    assert missing in install(root, checkout=checkout, status=1).stderr
    assert list(root.iterdir()) == []


# --- the end of its reader


def test_a_reader_that_goes_away_leaves_nothing_behind(root, tmp_path):
    """As in `install.sh | head`: it ends, and its temporary files with it."""
    reader, writer = os.pipe()
    os.close(reader)
    before = set(glob.glob('/tmp/virt-guard-install.*'))
    command = [str(CHECKOUT / 'install.sh'), '--root', str(root), '--no-deps', '--python', sys.executable]
    process = subprocess.run(command, stdout=writer, stderr=subprocess.DEVNULL, timeout=60)
    os.close(writer)
    assert process.returncode != 0
    assert set(glob.glob('/tmp/virt-guard-install.*')) <= before
