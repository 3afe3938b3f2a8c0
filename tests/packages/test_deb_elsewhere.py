# SPDX-License-Identifier: Apache-2.0
"""The Debian package on releases of Debian that are not this machine's: life.sh, in a tree that systemd-nspawn boots.

Such a tree takes minutes to make, so only for releases that VIRT_GUARD_HOSTS names (tests/run --hosts), and it is kept
for the month.
"""

import datetime
import os
import pathlib
import subprocess
import sys

import domains
import pytest
from booted import unavailable
from debs import other_version
from domains import domain
from support.capabilities import missing
from test_deb import make_next

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'host'))

import image  # noqa: E402

pytestmark = pytest.mark.host

SUITES = [suite for suite in os.environ.get('VIRT_GUARD_HOSTS', '').split() if suite != 'bookworm']
LIFE = pathlib.Path(__file__).with_name('life.sh')
PACKAGES = (
    'systemd systemd-sysv dbus procps apparmor osinfo-db libvirt-daemon-system libvirt-clients qemu-system-x86 '
    'python3-lxml python3-yaml'
)
UNIT = """\
[Unit]
Wants=libvirtd.service
After=libvirtd.service multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /root/life.sh /root/%s /root/%s >/root/life.log 2>&1; systemctl poweroff --force'
TimeoutStartSec=infinity
"""
FILES = {
    'etc/machine-id': '',
    'etc/libvirt/qemu.conf': 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nnamespaces = []\n'
    'remember_owner = 0\nmax_core = 0\n',
    'root/clean.xml': domain('clean'),
    'root/bad.xml': domain('bad', domains.TCG),
}
# What is mounted, and who runs, ends with what runs in it.
ALONE = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--']


def run(*command, timeout, **options):
    result = subprocess.run(
        [*ALONE, *map(str, command)],
        cwd='/',
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        **options,
    )
    said = result.stdout.decode('utf-8', 'replace')
    assert result.returncode == 0, said[-4000:]


def tree(suite):
    """An archive of the release's files."""
    path = image.CACHE / ('%s-tree-%s.tar' % (suite, str(datetime.date.today())[:7]))
    if not path.exists():
        main, security = image.machine_mirrors()
        sources = ['deb [signed-by=%s] %s %s main' % (image.KEYRING, main, suite)]
        sources += ['deb [signed-by=%s] %s %s-security main' % (image.KEYRING, url, suite) for url in security]
        for old in image.CACHE.glob('%s-tree-*' % suite):
            old.unlink()
        making = path.with_suffix('.making')
        include = '--include=' + ','.join(PACKAGES.split())
        command = ['mmdebstrap', '--variant=minbase', '--mode=root', '--quiet', '--format=tar', include]
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')  # a machine may use a mirror of a certain day
        run(*command, suite, making, *sources, timeout=3600)
        making.rename(path)
    return path


@pytest.mark.skipif(not SUITES, reason='minutes for each release: VIRT_GUARD_HOSTS names those to test on')
@pytest.mark.parametrize('suite', SUITES or ['none'])
def test_life(deb, suite, tmp_path):
    reason = unavailable() or image.unavailable(suite)
    if reason:
        missing(reason)
    root = tmp_path / 'root'
    root.mkdir()
    run('tar', '-C', root, '-xf', tree(suite), timeout=600)
    packages = [deb, other_version(deb, '2.0', make_next)]
    for path in [*packages, LIFE]:
        (root / 'root' / path.name).write_bytes(path.read_bytes())
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / 'etc/systemd/system/life.service').write_text(UNIT % tuple(path.name for path in packages))
    wants = root / 'etc/systemd/system/default.target.wants'
    wants.mkdir()
    (wants / 'life.service').symlink_to('../life.service')
    nspawn = ['systemd-nspawn', '--quiet', '--directory', root, '--boot', '--register=no', '--keep-unit']
    nspawn += ['--private-network', '--bind=/dev/kvm', '--console=pipe']
    run(*nspawn, timeout=1800, env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY='1'))
    said = (root / 'root/life.log').read_text(errors='backslashreplace')
    assert said.endswith('\nall is well\n'), said[-6000:]
