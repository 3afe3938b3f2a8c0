# SPDX-License-Identifier: Apache-2.0
"""A site's own files beside the policy: they hold at the next start, and no daemon is told of them."""

import datetime

import domains
import pytest
from domains import domain
from guarded import GuardedMachine, refusal, values

pytestmark = pytest.mark.live

DROP_IN = '/etc/virt-guard/policy.d/50-site.yaml'
TURNED_OFF = 'rules: [{id: tcg, action: "off", reason: a lab}]\n'
BROKEN = 'rules: [{id: tcg, acton: warn}]\n'
WAIVER = """\
waivers:
  - {rules: [tcg], domains: [%s], reason: the last one of its kind, approved-by: operations, expires: %s}
"""


@pytest.fixture(scope='module')
def site_machine(_machines_can_run, tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('site')) as machine:
        machine.install('--no-deps')
        yield machine


@pytest.fixture
def host(site_machine):
    daemon = site_machine.libvirtd_pid
    yield site_machine
    assert site_machine.libvirtd_pid == daemon and site_machine.alive(daemon)
    site_machine.run(['rm', '-f', DROP_IN])
    site_machine.clean_up()


def day(offset):
    return str(datetime.date.today() + datetime.timedelta(offset))


def test_a_drop_in_holds_at_the_next_start(host):
    host.define(domain('legacy', domains.TCG))
    host.refused('legacy', host.try_start('legacy'), 'tcg')
    host.write(DROP_IN, TURNED_OFF)
    assert host.try_start('legacy').returncode == 0
    assert host.running() == {'legacy'}
    (record,) = host.records('legacy')
    assert 'out of date' in record['VIRT_GUARD_WARNING']
    host.virsh('destroy', 'legacy')
    host.compile_policy()
    assert host.try_start('legacy').returncode == 0
    (record,) = host.records('legacy')
    assert 'VIRT_GUARD_WARNING' not in record
    host.virsh('destroy', 'legacy')
    host.run(['rm', DROP_IN])
    assert "denied by policy 'rhel-8': tcg" in refusal(host.try_start('legacy'), 1)


def test_a_refusal_in_japanese(host):
    """As virsh shows it, whatever its own locale is; the record is for other programs, and other hosts."""
    host.define(domain('旧式', domains.TCG))
    host.write(DROP_IN, 'language: ja\n')
    read = refusal(host.try_start('旧式'), 1)
    host.compile_policy()
    compiled = refusal(host.try_start('旧式'), 1)
    for text in (read, compiled):
        assert "virt-guard: ドメイン '旧式' はポリシー 'rhel-8' により拒否されました: tcg\n" in text
        assert '  (1) [tcg] TCG によるソフトウェアエミュレーション: <domain type="qemu">' in text
        assert '  詳細: virt-guard explain tcg / 一時的に許可する場合: virt-guard waiver add ' in text
    for record in host.records('旧式'):
        assert values(record, 'MESSAGE') == ["domain '旧式' denied by policy 'rhel-8': tcg"]


def test_a_broken_drop_in_refuses_with_its_place(host):
    host.define(domain('clean'))
    host.write(DROP_IN, BROKEN)
    text = refusal(host.try_start('clean'), 2)
    assert "%s:1:19: the rule has an unknown key 'acton' (did you mean 'action'?)" % DROP_IN in text
    host.failure_record('clean', 'prepare')
    host.write(DROP_IN, BROKEN + 'failure: admit\n')
    assert host.try_start('clean').returncode == 0
    host.failure_record('clean', 'start')


def test_a_waiver_lets_one_domain_start(host):
    uuid = host.virsh('domuuid', host.define(domain('legacy', domains.TCG))).stdout.strip()
    host.define(domain('other', domains.TCG))
    host.write(DROP_IN, WAIVER % (uuid, day(100)))
    assert host.try_start('legacy').returncode == 0
    (record,) = host.records('legacy')
    assert record['MESSAGE'] == "domain 'legacy' admitted by policy 'rhel-8', waived: tcg"
    assert values(record, 'VIRT_GUARD_FINDING') == ['waived tcg /domain/@type line 1']
    assert values(record, 'VIRT_GUARD_WAIVER') == [
        'tcg approved by operations until %s: the last one of its kind' % day(100)
    ]
    assert "denied by policy 'rhel-8': tcg" in refusal(host.try_start('other'), 1)


def test_an_expired_waiver_says_so(host):
    host.define(domain('legacy', domains.TCG))
    host.write(DROP_IN, WAIVER % ('"leg*"', day(-1)))
    text = refusal(host.try_start('legacy'), 1)
    assert '[tcg] TCG software emulation (its waiver by operations expired on %s): ' % day(-1) in text
    host.write(DROP_IN, WAIVER % ('"leg*"', day(0)))
    assert host.try_start('legacy').returncode == 0
    assert ', expires today: ' in host.records('legacy')[-1]['VIRT_GUARD_WAIVER']
