# SPDX-License-Identifier: Apache-2.0
"""A whole Debian host as a disk image: systemd as PID 1, Debian's kernel with AppArmor, libvirt, QEMU, sshd.

Without partitions and boot loader: mkfs.ext4 fills the file system from a directory, and QEMU is handed the kernel. An
image takes minutes to make, so it is kept, for the month: a host that nobody updates is no host as it is.

As a command, `image.py SUITE...` makes the images and prints where they are.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

CACHE = pathlib.Path(os.environ.get('VIRT_GUARD_HOST_CACHE') or '/var/cache/virt-guard-tests')
BUILD_TIMEOUT = 3600  # seconds; most of it is dpkg, and the mirror may be far
KEPT_UNUSED = 7 * 86400  # seconds that an image of another month, or of another version of this file, is kept

# Program that is needed here -> Debian package that has it.
NEEDS = {
    'mmdebstrap': 'mmdebstrap',
    'unshare': 'util-linux',
    'mkfs.ext4': 'e2fsprogs',
    'ssh-keygen': 'openssh-client',
    '/usr/share/keyrings/debian-archive-keyring.gpg': 'debian-archive-keyring',
}
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

# The cloud kernel has the AppArmor of the generic one at a quarter of its size. Recommended packages are left out, so
# what a host would have of them is named. lxml and PyYAML are what install.sh would fetch: apt takes minutes in there.
PACKAGES = (
    'systemd systemd-sysv init dbus udev kmod procps iproute2 less apparmor linux-image-cloud-amd64 initramfs-tools '
    'openssh-server python3 python3-lxml python3-yaml libvirt-daemon-system libvirt-clients qemu-system-x86'
)

MIRROR, SECURITY_MIRROR = 'http://deb.debian.org/debian', 'http://deb.debian.org/debian-security'
# Names under which a source may have this machine's own release.
ALIASES = ('stable', 'oldstable', 'testing')

FILES = {
    'etc/hostname': 'host\n',
    'etc/hosts': '127.0.0.1 localhost host\n',
    'etc/fstab': '/dev/vda / ext4 errors=remount-ro 0 1\n',
    'etc/resolv.conf': 'nameserver 10.0.2.3\n',
    'etc/systemd/network/10-all.network': '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n',
    # An emulated processor is slow.
    'etc/systemd/system.conf.d/slow.conf': '[Manager]\nDefaultTimeoutStartSec=600\nDefaultDeviceTimeoutSec=600\n',
}
# What would wake up in the middle of a test, and what only costs time at boot.
MASKED = (
    'apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer dpkg-db-backup.timer '
    'logrotate.timer e2scrub_reap.service systemd-binfmt.service getty@tty1.service'
)


class ImageError(Exception):
    """An image cannot be made."""


class Image(NamedTuple):
    """What there is to boot, in one directory."""

    directory: pathlib.Path

    @property
    def disk(self) -> pathlib.Path:
        return self.directory / 'disk.raw'

    @property
    def kernel(self) -> pathlib.Path:
        return self.directory / 'vmlinuz'

    @property
    def initrd(self) -> pathlib.Path:
        return self.directory / 'initrd'

    @property
    def key(self) -> pathlib.Path:
        """The private key of a person who may log in as root."""
        return self.directory / 'key'


def missing(needs: Dict[str, str]) -> List[str]:
    """The packages that are not here, of those that have these programs or files."""
    return sorted({package for name, package in needs.items() if not (shutil.which(name) or os.path.exists(name))})


def unavailable(suite: str) -> Optional[str]:
    """Why no image can be had here; None where one can."""
    if _existing(suite):
        return None
    if os.geteuid() != 0:
        return 'an image of a host is made by root'
    packages = missing(NEEDS)
    if packages:
        return 'an image of a host needs ' + ' '.join(packages)
    # As mmdebstrap mounts, and as what is mounted is sure to go.
    probe = subprocess.run(
        ['unshare', '--mount', '--pid', '--fork', '--mount-proc', 'true'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if probe.returncode:
        return 'an image of a host needs mounts: ' + probe.stderr.decode('utf-8', 'replace').strip()
    return None


def get(suite: str) -> Image:
    """Return the image of a Debian suite, made now where there is none of this month."""
    image = _existing(suite)
    if image:
        return image
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(suite):
        image = _existing(suite)  # another may have made it in the meantime
        if image:
            return image
        for left in CACHE.glob(suite + '-*'):
            if '-building-' in left.name or time.time() - left.stat().st_mtime > KEPT_UNUSED:
                shutil.rmtree(str(left))
        directory = pathlib.Path(tempfile.mkdtemp(prefix=suite + '-building-', dir=str(CACHE)))
        try:
            _build(suite, directory)
            directory.rename(_place(suite))
        finally:
            shutil.rmtree(str(directory), ignore_errors=True)
    return Image(_place(suite))


def _place(suite: str) -> pathlib.Path:
    """Where an image is kept: named by all that it is made of."""
    made_of = [
        pathlib.Path(__file__).read_text(encoding='utf-8'),
        suite,
        str(datetime.date.today())[:7],
        *_sources(suite),
    ]
    return CACHE / ('%s-%s' % (suite, hashlib.sha256('\0'.join(made_of).encode()).hexdigest()[:16]))


def _existing(suite: str) -> Optional[Image]:
    image = Image(_place(suite))
    if not os.access(str(image.key), os.R_OK):
        return None
    with contextlib.suppress(OSError):
        os.utime(str(image.directory))  # in use
    return image


@contextlib.contextmanager
def _locked(suite: str) -> Iterator[None]:
    """One process at a time makes the image of a suite."""
    with (CACHE / ('.%s.lock' % suite)).open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# Sources


def _sources(suite: str) -> List[str]:
    """Lines of a sources.list for the suite, with the mirrors that this machine itself uses."""
    main, security = machine_mirrors()
    lines = ['deb [signed-by=%s] %s %s main' % (KEYRING, main, suite)]
    return lines + ['deb [signed-by=%s] %s %s-security main' % (KEYRING, url, suite) for url in security]


def machine_mirrors(root: pathlib.Path = pathlib.Path('/')) -> Tuple[str, List[str]]:
    """The mirror of Debian's main archive and, as a list of at most one, that of its security archive."""
    try:
        release = dict(line.split('=', 1) for line in (root / 'etc/os-release').read_text().splitlines() if '=' in line)
    except OSError:
        release = {}
    own = [release.get('VERSION_CODENAME', '').strip('"\'')] if release.get('ID', '').strip('"\'') == 'debian' else []
    names = [name for name in own + list(ALIASES) if own and name]
    entries = [entry for entry in _configured(root / 'etc/apt') if entry[0].startswith(('http://', 'https://'))]
    main = [url for url, suite in entries if suite in names]
    security = [url for url, suite in entries if suite in {name + '-security' for name in names}]
    if not main:
        return MIRROR, [SECURITY_MIRROR]
    return main[0], security[:1]


def _configured(apt: pathlib.Path) -> Iterator[Tuple[str, str]]:
    """(URL, suite) of every binary source with a component main, in both formats that apt reads."""
    for path in [apt / 'sources.list', *sorted(apt.glob('sources.list.d/*.list'))]:
        for line in _lines(path):
            words = re.sub(r'\[.*?\]', '', line.split('#')[0]).split()
            if words[:1] == ['deb'] and 'main' in words[3:]:
                yield words[1].rstrip('/'), words[2]
    for path in sorted(apt.glob('sources.list.d/*.sources')):
        text = '\n'.join(line for line in _lines(path) if not line.startswith('#'))
        for stanza in re.split(r'\n\s*\n', text):
            fields = {
                name.lower(): value.split()
                for name, value in re.findall(r'^([\w-]+):((?:.|\n[ \t])*)', stanza, re.MULTILINE)
            }
            if (
                'deb' in fields.get('types', [])
                and 'main' in fields.get('components', [])
                and fields.get('enabled', ['yes'])[0] not in ('no', 'false', 'off', '0')
            ):
                for url in fields.get('uris', []):
                    for suite in fields.get('suites', []):
                        yield url.rstrip('/'), suite


def _lines(path: pathlib.Path) -> List[str]:
    return path.read_text(encoding='utf-8').splitlines() if path.is_file() else []


# Making one


def _build(suite: str, directory: pathlib.Path) -> None:
    image, root = Image(directory), directory / 'root'
    _run(
        'mmdebstrap', '--variant=minbase', '--mode=root', '--quiet', '--include=' + ','.join(PACKAGES.split()),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Check-Valid-Until "false"',  # a machine may use a mirror of a certain day
        '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/locale/*',
        suite, str(root), *_sources(suite),
    )  # fmt: skip
    for name, text in FILES.items():
        _write(root / name, text)
    for unit in MASKED.split():
        (root / 'etc/systemd/system' / unit).symlink_to('/dev/null')
    _run('chroot', str(root), 'systemctl', '--quiet', 'enable', 'systemd-networkd', 'ssh')
    (root / 'var/log/journal').mkdir(exist_ok=True)  # so that the journal outlives a reboot
    _run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'tests', '-f', str(image.key))
    _write(root / 'root/.ssh/authorized_keys', image.key.with_suffix('.pub').read_text())
    (root / 'root/.ssh').chmod(0o700)
    _take(root, 'boot/vmlinuz-*', image.kernel)
    _take(root, 'boot/initrd.img-*', image.initrd)
    with image.disk.open('wb') as file:
        file.truncate(4 << 30)
    _run('mkfs.ext4', '-q', '-L', 'host', '-E', 'lazy_itable_init=1,nodiscard', '-d', str(root), str(image.disk))
    shutil.rmtree(str(root))


def _take(root: pathlib.Path, pattern: str, place: pathlib.Path) -> None:
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise ImageError('one %s is wanted, there is %s' % (pattern, found))
    shutil.move(str(found[0]), str(place))


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    path.write_text(text)


def _run(*argv: str) -> None:
    # The namespaces end with what runs in them, and so do mounts and processes, also where somebody kills this process.
    argv = ('unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--', *argv)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError('no end after %d s: %s' % (BUILD_TIMEOUT, ' '.join(map(shlex.quote, argv)))) from error
    if done.returncode:
        raise ImageError(
            'exit status %d: %s\n%s'
            % (done.returncode, ' '.join(map(shlex.quote, argv)), done.stdout.decode('utf-8', 'replace')[-4000:])
        )


def main(argv: List[str]) -> None:
    for suite in argv:
        reason = unavailable(suite)
        if reason:
            sys.exit('image.py: ' + reason)
        print(get(suite).directory)


if __name__ == '__main__':
    main(sys.argv[1:])
