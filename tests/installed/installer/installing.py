# SPDX-License-Identifier: Apache-2.0
"""install.sh below a root of its own, and what it leaves there: helpers of its tests."""

import os
import shutil
import stat

from installation import CHECKOUT, run_installer
from support import policies

FOREIGN = '#!/bin/sh\nexit 0\n'

PROFILES = {
    'rhel-8': 'data/profiles/rhel-8.yaml',
    'rhel-9': 'data/profiles/rhel-9.yaml',
    'rhel-10': 'data/profiles/rhel-10.yaml',
    'rhv-4': 'data/profiles/rhv-4.yaml',
    'sles-15': 'data/profiles/sles-15.yaml',
    'sles-16': 'data/profiles/sles-16.yaml',
    'kvm-baseline': 'data/profiles/kvm-baseline.yaml',
    'kvm-restricted': 'data/profiles/kvm-restricted.yaml',
}
POLICY, OFFERED = 'etc/virt-guard/policy.yaml', 'etc/virt-guard/policy.yaml.new'
SETTINGS = 'etc/virt-guard/policy.d/70-settings.yaml'
PRISTINE = 'usr/lib/virt-guard/policy.yaml'


def shipped(profile, checkout=CHECKOUT):
    """What is put into /etc."""
    return (checkout / 'policy.yaml').read_bytes().replace(b'rhel-8', profile.encode())


def listed(profile, checkout=CHECKOUT):
    """The profile itself, which earlier versions have put into /etc."""
    return (checkout / PROFILES[profile]).read_bytes()


def settings(root):
    """The lines of the drop-in that --mode writes, but for the comment; none where there is no such file."""
    path = root / SETTINGS
    return path.read_text().splitlines()[1:] if path.exists() else []


def make_full_policy(root, profile='rhel-8', **changes):
    """Let an installation be as earlier versions have left it: with the whole list in /etc."""
    text = listed(profile)
    (root / PRISTINE).write_bytes(text)
    for key, value in changes.items():
        text = policies.setting(key, value)(text.decode('utf-8')).encode('utf-8')
    (root / POLICY).write_bytes(text)
    return text


def install(root, *options, status=0, **kw):
    result = run_installer(root, *options, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return result


_begun = {}


def begin_installed(root, *options):
    """What `install` makes in an empty directory, for tests of what follows. install.sh runs once for all tests that
    ask for the same at the same path; the others get a copy, with the same times. The next run compiles the policy of a
    copy again, so what tests that a run changes nothing begins with `install`."""
    assert not root.exists() or not any(root.iterdir())
    request = (str(root), root.exists(), *options)
    if request not in _begun:
        install(root, *options)
        _begun[request] = root.with_name('installed-%d' % len(_begun))
        shutil.copytree(str(root), str(_begun[request]), symlinks=True)
    else:
        if root.exists():
            root.rmdir()
        shutil.copytree(str(_begun[request]), str(root), symlinks=True)


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


def make_old_layout(root, link):
    """As those versions have installed it, and as a run of theirs that was killed may have left it."""
    program, package = root / 'usr/libexec/virt-guard/qemu', root / 'usr/lib/virt-guard/virtguard'
    for directory in (program.parent, package / '__pycache__', package.parent / 'profiles', link.parent):
        directory.mkdir(parents=True)
    program.write_text(FOREIGN)
    program.chmod(0o755)
    link.symlink_to(program)
    (package / 'hook.py').write_text('pass\n')
    (package / '__pycache__/hook.cpython-311.pyc').write_text('')
    (package / '.virt-guard.77').write_text('')
    (package.parent / 'profiles/rhel-9.yaml').write_text('')
