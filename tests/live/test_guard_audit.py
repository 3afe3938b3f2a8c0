# SPDX-License-Identifier: Apache-2.0
"""Audit mode: what would be refused starts, runs, and is recorded as would-deny by each operation that would refuse."""

import domains
import pytest
from domains import arguments, device, domain, guest_os, replace
from guarded import POLICY_D, GuardedMachine, values
from support.policies import action

pytestmark = pytest.mark.live

# Of the refused domains, those that QEMU can run without special hardware.
WOULD_BE_REFUSED = {
    'tcg': domains.TCG,
    'guest-os-windows': guest_os('http://microsoft.com/win/7'),
    'qemu-command-line': arguments('-no-user-config'),
    'qemu-io-throttling': domains.disk(domains.IOTUNE),
    'guest-suspend': replace("<suspend-to-mem enabled='no'/>", "<suspend-to-mem enabled='yes'/>"),
    'net-failover': device(domains.TEAMING),
    'virtiofs': device(domains.VIRTIOFS),
}


@pytest.fixture(scope='module')
def auditing_machine(_machines_can_run, tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('auditing')) as machine:
        machine.write('/var/lib/libvirt/images/disk.img', bytes(1 << 20))
        machine.install('--no-deps', '--mode', 'audit')
        yield machine


@pytest.fixture
def host(auditing_machine):
    yield auditing_machine
    auditing_machine.clean_up()


def would_be_refused(host, name, result, *rules):
    assert result.returncode == 0, result.stderr
    assert 'virt-guard' not in result.stderr
    assert name in host.running()
    record = host.record(name, 'would-deny', 'start')
    assert record['MESSAGE'] == "domain '%s' would be denied (mode audit) by policy 'rhel-8': %s" % (
        name,
        ', '.join(rules),
    )
    assert values(record, 'VIRT_GUARD_RULE') == sorted(rules)
    assert {finding.split()[0] for finding in values(record, 'VIRT_GUARD_FINDING')} == {'deny'}


@pytest.mark.parametrize('rule', WOULD_BE_REFUSED)
def test_starts_and_is_recorded(host, rule):
    would_be_refused(host, rule, host.try_define_and_start(domain(rule, WOULD_BE_REFUSED[rule])), rule)


def test_virtio_crypto_starts_and_is_recorded(host):
    crypto = arguments(
        '-object', 'cryptodev-backend-builtin,id=c', '-device', 'virtio-crypto-pci,cryptodev=c,addr=0x1e'
    )
    result = host.try_define_and_start(domain('crypto', crypto))
    would_be_refused(host, 'crypto', result, 'qemu-command-line', 'virtio-crypto')


def test_clean_domain_is_admitted_as_ever(host):
    assert host.try_define_and_start(domain('clean')).returncode == 0
    (record,) = host.records('clean')
    assert (record['VIRT_GUARD_DECISION'], record['VIRT_GUARD_MODE']) == ('admit', 'audit')


def test_guard_that_cannot_judge_refuses_nothing(host):
    """An audit host refuses nothing: --mode audit sets `failure`, too."""
    with host.edited_policy(action('tcg', 'forbid')):
        host.define(domain('clean'))
        assert host.try_start('clean').returncode == 0
    assert 'clean' in host.running()
    host.failure_record('clean', 'start')


def test_from_audit_to_enforce_and_back(host):
    """The running daemon obeys each time, and nothing that runs is touched."""
    daemon = host.libvirtd_pid
    would_be_refused(host, 'legacy', host.try_define_and_start(domain('legacy', domains.TCG)), 'tcg')
    host.define(domain('second', domains.TCG))
    try:
        host.install('--no-deps', '--mode', 'enforce')
        host.refused('second', host.try_start('second'), 'tcg')
        assert host.running() == {'legacy'}
    finally:
        host.install('--no-deps', '--mode', 'audit')
    would_be_refused(host, 'second', host.try_start('second'), 'tcg')
    assert host.running() == {'legacy', 'second'}
    assert host.libvirtd_pid == daemon
    assert host.alive(daemon)


def test_edit_of_the_mode_is_obeyed_at_once(host):
    host.define(domain('legacy', domains.TCG))
    later = POLICY_D + '/90-test.yaml'
    host.write(later, 'mode: enforce\n')
    try:
        host.refused('legacy', host.try_start('legacy'), 'tcg')
    finally:
        host.path(later).unlink()
    would_be_refused(host, 'legacy', host.try_start('legacy'), 'tcg')


def test_start_that_fails_after_prepare_is_recorded(host):
    missing = device(
        "<disk type='file' device='disk'><source file='/nowhere.img'/><target dev='vdz' bus='virtio'/></disk>"
    )
    result = host.try_define_and_start(domain('broken', domains.TCG, missing))
    assert result.returncode == 1 and 'virt-guard' not in result.stderr and '/nowhere.img' in result.stderr
    host.record('broken', 'would-deny', 'prepare')
