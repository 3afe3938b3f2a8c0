# SPDX-License-Identifier: Apache-2.0
"""The watch's unit finds, within its sandbox, what was started while the hook was off."""

import pytest
from booted import LAB, WATCH
from guarded import HOOK, MAIN_HOOK

pytestmark = pytest.mark.systemd


def test_a_start_without_a_verdict(host):
    host.run(['rm', MAIN_HOOK])
    try:
        host.restart_libvirtd()
        host.start_lab()
    finally:
        host.run(['ln', '-s', HOOK, MAIN_HOOK])
        host.restart_libvirtd()
    (record,) = host.wait_journal('VIRT_GUARD_RULE=started-without-verdict', timeout=120)
    assert (record['VIRT_GUARD_DOMAIN'], record['_SYSTEMD_UNIT']) == (LAB, WATCH)
    assert record['VIRT_GUARD_UUID'] == host.virsh('domuuid', LAB).stdout.strip()
    told = '%s runs since %s without a verdict' % (LAB, record['VIRT_GUARD_SINCE'])
    host.wait(lambda: told in host.run(['virt-guard', 'status'], check=False).stdout, 120, told)
