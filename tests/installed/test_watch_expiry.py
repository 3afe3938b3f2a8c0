# SPDX-License-Identifier: Apache-2.0
"""The installed watch before waivers end: what it records, that it does so once, and `watch --once`."""

import datetime
import os
import signal
import struct
import time

import pytest
from installation import domain_xml
from support.capabilities import missing
from support.records import EXPIRY_ID
from watching import OTHER_UUID, UUID, status

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

_TPM = "    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n"
_QUIET = 6  # seconds after which a watch has told what it has to tell
_DAY = 86400  # seconds
_NOW, _A_DAY_LATER, _A_DAY_BEFORE = 0, _DAY, -_DAY


def in_days(number):
    """A day by the clock of these watches, which is UTC's, as long as nobody sets it forward or back."""
    return time.strftime('%Y-%m-%d', time.gmtime(time.time() + number * _DAY))


@pytest.fixture
def clock(tmp_path):
    """Sets the clock of a watch that is started later, by the host's time zone."""
    path = tmp_path / 'localtime'

    def set_clock(offset):
        counts = struct.pack('>6L', 0, 0, 0, 0, 1, 2)
        path.write_bytes(b'TZif' + bytes(16) + counts + struct.pack('>lBB', offset, 0, 0) + b'X\0')  # tzfile(5)

    set_clock.path = path
    set_clock(_NOW)
    return set_clock


@pytest.fixture
def watch(watching, clock):
    if not os.path.exists('/etc/localtime'):
        missing('needs /etc/localtime')
    return watching(prefix=['sh', '-c', 'mount --bind "$0" /etc/localtime && exec "$@"', str(clock.path)])


def waiver(expires, domain):
    text = '  - {rules: [tpm-passthrough], domains: [%s], reason: a test, approved-by: somebody, expires: %s}\n'
    return text % (domain, expires)


@pytest.fixture
def drop_in(installation):
    """Writes a drop-in with waivers."""
    path = installation.root / 'etc/virt-guard/policy.d/60-waivers.yaml'
    yield lambda *waivers: path.write_text('waivers:\n' + ''.join(waivers))
    path.unlink()


@pytest.fixture
def defined(installation):
    directory = installation.root / 'etc/libvirt/qemu'
    directory.mkdir(exist_ok=True)
    (directory / 'guest.xml').write_bytes(domain_xml(devices=_TPM))
    (directory / 'clean.xml').write_bytes(domain_xml('clean'))
    yield
    for name in ('guest', 'clean'):
        (directory / (name + '.xml')).unlink()


def restart(watch, number=signal.SIGTERM):
    watch.stop(number)
    watch.start()


def nothing_more(watch):
    time.sleep(_QUIET)
    return watch.told() == []


def test_an_end_is_recorded_once_for_each_day(watch, clock, drop_in, defined):
    drop_in(waiver(in_days(1), 'guest'), waiver(in_days(2), 'other'), waiver(in_days(9), 'guest'))
    watch.start()
    assert nothing_more(watch)  # the guest's waiver that ends first is renewed by the one that ends last
    drop_in(waiver(in_days(1), 'guest'), waiver(in_days(2), 'other'))
    record = watch.receive(timeout=60)
    assert record['MESSAGE'] == (
        '1 waiver ends tomorrow, on %s; 1 domain on this host would be refused after that day: '
        "'guest' (tpm-passthrough)" % in_days(1)
    )
    assert (record['MESSAGE_ID'], record['PRIORITY'], record['VIRT_GUARD_DECISION']) == (EXPIRY_ID, '4', 'expiry')
    assert (record['VIRT_GUARD_DOMAIN'], record['VIRT_GUARD_UUID']) == ('guest', UUID)
    assert record['VIRT_GUARD_EXPIRES'] == in_days(1) and record['VIRT_GUARD_POLICY'] == 'rhel-8'
    for number in (signal.SIGTERM, signal.SIGKILL):
        restart(watch, number)
        assert nothing_more(watch)
    clock(_A_DAY_LATER)
    restart(watch)
    (today, tomorrow) = (watch.receive(timeout=60), watch.receive(timeout=60))
    assert today['MESSAGE'].startswith('1 waiver ends today, on %s; 1 domain' % in_days(1))
    assert tomorrow['MESSAGE'].startswith('1 waiver ends tomorrow, on %s; no domain on this host would' % in_days(2))
    assert tomorrow['PRIORITY'] == '6'
    for offset in (_NOW, _A_DAY_BEFORE, _A_DAY_LATER):  # the clock is set back, and forward again
        clock(offset)
        restart(watch)
        assert nothing_more(watch)


def test_a_domain_that_only_runs_is_named(installation, watch, drop_in):
    watch.write(watch.run / 'vm.xml', status(uuid=OTHER_UUID, devices=_TPM))
    drop_in(waiver(in_days(7), OTHER_UUID))
    watch.start()
    records = [watch.receive(timeout=60)]
    while records[-1]['VIRT_GUARD_DECISION'] != 'expiry':
        records.append(watch.receive(timeout=60))
    assert records[-1]['VIRT_GUARD_DOMAIN'] == 'vm'


def test_the_end_of_mode_audit(installation, watch, drop_in, defined):
    path = installation.root / 'etc/virt-guard/policy.d/60-waivers.yaml'
    path.write_text('mode: {audit-until: %s}\n' % in_days(1))
    watch.start()
    record = watch.receive(timeout=60)
    assert record['MESSAGE'] == (
        'mode audit ends tomorrow, on %s; 1 domain on this host would be refused after that day: '
        "'guest' (tpm-passthrough)" % in_days(1)
    )
    assert (record['MESSAGE_ID'], record['VIRT_GUARD_MODE']) == (EXPIRY_ID, 'audit')
    path.write_text('mode: {audit-until: %s}\n' % in_days(2))
    assert nothing_more(watch)


def test_once_says_it_on_any_day(installation, watching, drop_in, defined):
    watching()
    end = str(datetime.date.today() + datetime.timedelta(5))
    drop_in(waiver(end, 'guest'))
    result = installation.run_cli('watch', '--once')
    assert result.returncode == 0
    assert result.stderr.decode() == (
        'virt-guard: 1 waiver ends in 5 days, on %s; 1 domain on this host would be refused after that day: '
        "'guest' (tpm-passthrough)\n" % end
    )
