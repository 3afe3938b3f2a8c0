# SPDX-License-Identifier: Apache-2.0
"""The installed watch while its policy changes, breaks, and comes late."""

import os
import time

import pytest
from watching import IOTUNE, OTHER_UUID, UUID, disk, rules_text

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')

LOOK = 10  # seconds between two looks at what nothing announces


def test_an_edited_policy_is_obeyed_at_once(installation, watch):
    watch.start()
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    records = [watch.receive()]
    assert records[0]['MESSAGE'].startswith("domain 'vm': warn: ")
    text = rules_text() + '\n  - {id: test-new, title: new, action: deny, match: /domain, why: w, remedy: r}\n'
    installation.policy.write_text(text)
    rules = {watch.receive()['VIRT_GUARD_RULE'], watch.receive()['VIRT_GUARD_RULE']}
    assert rules == {'qemu-io-throttling', 'test-new'}


CHANGE = 'rules: [{id: qemu-io-throttling, action: %s}]'
EDITS = {
    'etc/virt-guard/policy.yaml': lambda base, action: '{policy: site, extends: %s, %s}' % (base, CHANGE % action),
    'etc/virt-guard/policy.d/60-test.yaml': lambda base, action: CHANGE % action,
    'srv/base.yaml': lambda base, action: rules_text(qemu_io_throttling=action),
}


@pytest.mark.parametrize('path', EDITS)
def test_an_edit_is_noticed_before_the_next_regular_look(installation, watch, path):
    edited, base = installation.root / path, installation.root / 'srv/base.yaml'
    base.parent.mkdir(exist_ok=True)
    base.write_text(rules_text())
    installation.policy.write_text('{policy: site, extends: %s}' % base)
    watch.start()
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    try:
        for _ in range(5):
            begun = time.monotonic()
            for action in ('warn', 'deny'):
                edited.write_text(EDITS[path](base, action))
                assert watch.receive()['MESSAGE'].startswith("domain 'vm': %s: " % action)
            elapsed = time.monotonic() - begun
            if elapsed < LOOK:  # two edits in the time in which there is one regular look
                break
        assert elapsed < LOOK
    finally:
        if edited.parent.name == 'policy.d':
            edited.unlink()


def test_a_host_that_is_upgraded_is_judged_as_what_it_has_become(installation, watching, tmp_path):
    """To the next minor release, which takes no restart of what runs."""
    release = tmp_path / 'os-release'
    release.write_text('ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID=9.3\n')
    watch = watching(prefix=['sh', '-c', 'mount --bind "$0" /etc/os-release && exec "$@"', str(release)])
    rule = (
        '\n  - {id: test-%s, title: t, action: deny, host: {os: {%s: rhel-9.4}}, match: /domain, why: w, remedy: r}\n'
    )
    installation.policy.write_text(rules_text() + rule % ('old', 'before') + rule % ('new', 'from'))
    watch.start()
    watch.put()
    assert watch.told() == [('vm', 'test-old')]
    release.write_text('ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID=9.4\n')
    assert watch.receive()['VIRT_GUARD_RULE'] == 'test-new'
    watch.put('other', uuid=OTHER_UUID)
    assert watch.told() == [('other', 'test-new')]


def test_a_broken_policy_leaves_the_one_before_in_force(installation, watch):
    watch.start()
    watch.put(vcpus=4)
    assert watch.told() == []
    installation.policy.write_text('rules: {')
    record = watch.receive()
    assert record['VIRT_GUARD_DECISION'] == 'error'
    assert record['MESSAGE'].startswith('the policy as it was stays in force: ')
    watch.put(vcpus=3)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]
    time.sleep(1.1)
    watch.put(vcpus=2)
    assert watch.told() == [('vm', 'test-fewer-vcpus')]  # and not the error again
    installation.policy.write_text(rules_text(qemu_io_throttling='warn'))
    time.sleep(1.1)
    watch.put(devices=disk('vda', IOTUNE), vcpus=2)
    (record,) = watch.records()
    assert record['MESSAGE'].startswith("domain 'vm': warn: ")


def test_a_part_of_the_policy_that_comes_late(installation, watch):
    base = installation.policy.with_name('base.yaml')
    watch.start()
    watch.put(devices=disk('vda', IOTUNE))
    assert watch.told() == [('vm', 'qemu-io-throttling')]
    installation.policy.write_text('{policy: site, extends: base.yaml}')
    assert str(base) in watch.receive()['MESSAGE']
    time.sleep(1.1)
    base.write_text(rules_text(qemu_io_throttling='warn'))
    try:
        assert watch.receive()['MESSAGE'].startswith("domain 'vm': warn: ")
    finally:
        base.unlink()


def test_a_waiver_permits_and_is_recorded(installation, watch):
    drop_in = installation.root / 'etc/virt-guard/policy.d/50-site.yaml'
    expires = time.strftime('%Y-%m-%d', time.localtime(time.time() + 100 * 86400))
    drop_in.write_text(
        'waivers:\n  - {rules: [test-fewer-vcpus], domains: [%s], reason: a test, approved-by: somebody, expires: %s}\n'
        % (UUID, expires)
    )
    try:
        watch.start()
        watch.put(vcpus=4)
        assert watch.told() == []
        watch.put(vcpus=3)
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'vm': waived: fewer vCPUs")
        assert record['VIRT_GUARD_WAIVER'].startswith('test-fewer-vcpus approved by somebody until ' + expires)
        watch.put('other', vcpus=4, uuid=UUID.replace('5', '6'))
        assert watch.told() == []
        watch.put('other', vcpus=3, uuid=UUID.replace('5', '6'))
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'other': deny: fewer vCPUs")
        drop_in.unlink()
        watch.put(devices=disk('vda', IOTUNE), vcpus=3)
        watch.records()
        time.sleep(1.1)
        watch.put(vcpus=2)
        (record,) = watch.records()
        assert record['MESSAGE'].startswith("domain 'vm': deny: fewer vCPUs")
    finally:
        if drop_in.exists():
            drop_in.unlink()
