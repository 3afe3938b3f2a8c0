# SPDX-License-Identifier: Apache-2.0
"""`virt-guard metrics` over libvirt's files; tests/live has the journal, and a real node_exporter."""

import shutil
import subprocess
import sys

import pytest
from installation import CHECKOUT, domain_xml, newly_installed, policy_text
from support.prometheus import values

TPM = "    <tpm model='tpm-crb'><backend type='passthrough'/></tpm>\n"
STATUS = b"<domstatus state='running'>%s</domstatus>"
WAIVER = 'waivers:\n- {rules: [%s], domains: [secret-name], reason: r, approved-by: a, expires: %s, ticket: %s}\n'


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    host = newly_installed(tmp_path_factory.mktemp('metrics'))
    host.write_policy()
    host.run_cli('policy', 'compile')
    return host


@pytest.fixture(autouse=True)
def _empty(host):
    yield
    for path in ('etc/libvirt/qemu', 'run/libvirt/qemu', 'var/lib/virt-guard'):
        shutil.rmtree(str(host.root / path), ignore_errors=True)


def define(host, name, devices='', autostart=False, running=None):
    domains, run = host.root / 'etc/libvirt/qemu', host.root / 'run/libvirt/qemu'
    for path in (domains / 'autostart', run):
        path.mkdir(parents=True, exist_ok=True)
    (domains / (name + '.xml')).write_bytes(domain_xml(name, devices))
    if autostart:
        (domains / 'autostart' / (name + '.xml')).symlink_to('/etc/libvirt/qemu/%s.xml' % name)
    if running is not None:
        (run / (name + '.xml')).write_bytes(STATUS % domain_xml(name, running))


def metrics(host):
    result = host.run_cli('metrics')
    assert result.returncode == 0, result.stderr
    return values(result.stdout.decode())


def test_domains_as_they_are_defined_and_as_they_run(host):
    define(host, 'idle', TPM)
    define(host, 'boots', TPM, autostart=True)
    define(host, 'changed', '', running=TPM)
    define(host, 'both', TPM, autostart=True, running='')
    (host.root / 'etc/libvirt/qemu/broken.xml').write_bytes(b'<domain')
    found = metrics(host)
    assert [found['virt_guard_domains{decision="%s"}' % word] for word in ('admit', 'deny', 'error')] == [1, 3, 1]
    assert [found['virt_guard_running_domains{decision="%s"}' % word] for word in ('admit', 'deny')] == [1, 1]
    assert found['virt_guard_findings{rule="tpm-passthrough",status="deny"}'] == 3
    assert found['virt_guard_next_boot_denied_domains'] == 2
    assert found['virt_guard_policy_info{policy="rhel-8",sha256="*",mode="enforce",failure="deny"}'] == 1


def test_no_label_names_a_domain_and_there_are_no_more_for_more_domains(host):
    define(host, 'secret-name', TPM, autostart=True)
    few = metrics(host)
    for number in range(50):
        define(host, 'secret-name-%d' % number, TPM, autostart=True, running=TPM)
    many = metrics(host)
    assert set(few) == set(many) and not [name for name in many if 'secret' in name]


def test_waivers_end(host):
    day = subprocess.run(['date', '-d', '+30 days', '+%F'], stdout=subprocess.PIPE, encoding='ascii').stdout.strip()
    end = subprocess.run(['date', '-d', day + ' +1 day', '+%s'], stdout=subprocess.PIPE, encoding='ascii').stdout
    with host.with_policy(policy_text() + WAIVER % ('tcg, virtiofs', day, 'OPS-1')):
        found = metrics(host)
    name = 'virt_guard_waiver_expiry_timestamp_seconds{rule="%s",ticket="OPS-1"}'
    assert found[name % 'tcg'] == found[name % 'virtiofs'] == int(end)


def test_a_policy_that_cannot_be_used(host):
    define(host, 'one')
    with host.with_policy('mode: enforced\n'):
        found = metrics(host)
    assert (found['virt_guard_guarding'], found['virt_guard_healthy{check="policy"}']) == (0, 0)
    assert not [name for name in found if name.startswith(('virt_guard_policy_info', 'virt_guard_domains'))]
    assert found['virt_guard_last_scan_timestamp_seconds'] > 1600000000


def test_into_a_file(host, tmp_path):
    path = tmp_path / 'virt-guard.prom'
    path.symlink_to('/etc/passwd')
    assert host.run_cli('metrics', '--output', str(path)).returncode == 0
    assert not path.is_symlink() and path.stat().st_mode & 0o7777 == 0o644
    assert 'virt_guard_guarding' in values(path.read_text())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_into_a_directory_that_is_not_there(host, tmp_path):
    result = host.run_cli('metrics', '--output', str(tmp_path / 'none' / 'x.prom'))
    assert (result.returncode, result.stdout) == (2, b'')
    assert result.stderr.decode() == (
        'virt-guard: %s/none is not a directory, so nothing reads metrics there\n' % tmp_path
    )


def test_where_nothing_is_installed():
    program = 'import sys; from virtguard.commands.main import main; sys.exit(main(["metrics"]))'
    result = subprocess.run(
        [sys.executable, '-B', '-c', program],
        env={'PYTHONPATH': str(CHECKOUT / 'lib')},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (result.returncode, result.stdout) == (2, b'')
    assert result.stderr == b'virt-guard: virt-guard is not installed on this host (run ./install.sh)\n'
