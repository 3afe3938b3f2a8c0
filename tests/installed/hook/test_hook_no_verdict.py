# SPDX-License-Identifier: Apache-2.0
"""The installed hook where it cannot judge: hostile documents, broken policies, what `failure` decides."""

import os
import re

import pytest
from hooked import ENDLESS_RULE, refused
from support.records import FAILED_ID, WOULD_DENY_ID

UNUSABLE_XML = {
    'empty': b'',
    'white space': b' \n\t\n',
    'binary': bytes(range(256)) * 8,
    'truncated': b"<domain type='kvm'><name>vm</name><devices>",
    'two roots': b'<domain/><domain/>',
    'not a domain': b'<network><name>default</name></network>',
    'undefined entity': b'<domain><name>&vm;</name></domain>',
    'doctype': b'<!DOCTYPE domain><domain/>',
    'external entity': b"<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><name>&e;</name></domain>",
    'billion laughs': b"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>"
    + b''.join(b"<!ENTITY %c '%s'>" % (c, b'&%c;' % (c - 1) * 10) for c in b'bcdefghijk')
    + b"]><domain a='&k;'>&k;</domain>",
    'deep': b'<domain>' + b'<a>' * 100000,
    'wrong encoding': b"<?xml version='1.0' encoding='UTF-8'?><domain><name>\xff\xfe</name></domain>",
    'unknown encoding': b"<?xml version='1.0' encoding='KLINGON'?><domain/>",
    '33 MiB': b'<domain>' + b'<a/>' * (33 * 1024 * 1024 // 4) + b'</domain>',
    '64 MiB text': b'<domain><name>' + b'a' * (64 * 1024 * 1024) + b'</name></domain>',
}
# What libvirt takes for a domain all the same.
ODD_XML = {
    'namespaced domain': b"<domain xmlns='urn:x' type='kvm'/>",
    'undeclared prefix': b'<domain><qemu:commandline/></domain>',
    'planted reading': b"<domain xmlns:g='urn:virt-guard:qemu-argument'><g:device driver='x'/></domain>",
}


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]


# All documents in one test: to put a policy in force takes longer than to judge by it.
@pytest.mark.parametrize('failure', ['deny', 'admit'])
def test_unusable_xml_is_refused_whatever_failure_says(installed, journal, failure):
    """Whoever defines a domain chooses its document; `failure` is about the guard."""
    with installed.with_policy(failure=failure):
        for what, xml in sorted(UNUSABLE_XML.items()):
            text = refused(installed.run_hook('vm', 'prepare', xml))
            assert len(text.splitlines()) <= 2, what
            (record,) = journal.records()
            assert (record['MESSAGE_ID'], record['PRIORITY']) == ([FAILED_ID], ['3']), what
            assert ' and is refused: ' in record['MESSAGE'][0], what
            assert record['VIRT_GUARD_MODE'] == ['enforce'], what


def test_odd_xml_that_libvirt_accepts_is_judged(installed, journal):
    with installed.with_policy():
        for what, xml in sorted(ODD_XML.items()):
            result = installed.run_hook('vm', 'start', xml)
            assert (result.returncode, result.stderr) == (0, b''), what
            (record,) = journal.records()
            assert record['VIRT_GUARD_DECISION'] == ['admit'], what


@pytest.mark.parametrize('failure', ['deny', 'admit'])
def test_unusable_xml_in_audit_mode(installed, journal, failure):
    with installed.with_policy(mode='audit', failure=failure):
        for what, xml in sorted(UNUSABLE_XML.items()):
            for operation in ('prepare', 'start'):
                result = installed.run_hook('vm', operation, xml)
                assert (result.returncode, result.stdout, result.stderr) == (0, b'', b''), what
                (record,) = journal.records()
                assert record['MESSAGE_ID'] == [WOULD_DENY_ID], what
                assert record['VIRT_GUARD_DECISION'] == ['would-deny'], what
                assert record['VIRT_GUARD_OPERATION'] == [operation], what
                assert record['VIRT_GUARD_DOMAIN'] == ['vm'], what
                assert record['VIRT_GUARD_POLICY'] == ['rhel-8'], what
                assert re.match('[0-9a-f]{64}$', record['VIRT_GUARD_POLICY_SHA256'][0]), what
                message = "domain 'vm' could not be judged and would be denied (mode audit): "
                assert record['MESSAGE'][0].startswith(message), what


@pytest.mark.parametrize('mode', ['enforce', 'audit'])
def test_record_of_an_unusable_document_has_the_uuid_that_it_states(installed, clean, journal, mode):
    with installed.with_policy(mode=mode, failure='admit'):
        installed.run_hook('vm', 'start', clean[:-20])
    (record,) = journal.records()
    assert record['VIRT_GUARD_UUID'] == ['5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10']


BROKEN_POLICIES = {
    'not YAML': ('policy: [', 'not YAML'),
    'empty': ('', 'the policy is empty'),
    'unknown key': (
        'policy: x\nmod: audit\nrules:\n' + ENDLESS_RULE,
        "2:1: the policy has an unknown key 'mod' (did you mean 'mode'?)",
    ),
    'bad expression': (
        'policy: x\nrules: [{id: a, title: t, action: deny, match: "/domain[", why: w, remedy: r}]\n',
        'not XPath',
    ),
}


@pytest.mark.parametrize('what', sorted(BROKEN_POLICIES))
def test_broken_policy(installed, clean, journal, what):
    text, reason = BROKEN_POLICIES[what]
    with installed.with_policy(text):
        answer = refused(installed.run_hook('vm', 'prepare', clean))
    assert reason in answer and '%s:' % installed.policy in answer
    assert 'next: virt-guard policy check' in answer
    (record,) = journal.records()
    assert reason in record['MESSAGE'][0]


def test_settings_of_a_broken_policy_hold(installed, clean):
    with installed.with_policy('policy: x\nfailure: admit\nrulez: []\n'):
        assert installed.run_hook('vm', 'prepare', clean).returncode == 0


def test_broken_settings_of_a_broken_policy_do_not_hold(installed, clean):
    with installed.with_policy('policy: x\nfailure: admitt\nrules: []\n'):
        assert "did you mean 'admit'" in refused(installed.run_hook('vm', 'prepare', clean))


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda path: path.unlink(), 'No such file'),
        (lambda path: path.chmod(0o664), 'can be written by others (mode 0664)'),
        (lambda path: path.chmod(0o646), 'can be written by others (mode 0646)'),
        (lambda path: os.chown(str(path), 12345, 0), 'belongs to uid 12345'),
        (lambda path: path.parent.chmod(0o777), 'can be written by others (mode 0777)'),
        (lambda path: (path.unlink(), os.mkfifo(str(path))), 'not a regular file'),
        (lambda path: (path.unlink(), path.mkdir()), 'not a regular file'),
        (lambda path: path.write_bytes(b'#' * (1024 * 1024 + 1)), 'larger than'),
    ],
    ids=['missing', 'group-writable', 'writable', 'foreign', 'directory writable', 'FIFO', 'directory', 'large'],
)
def test_policy_that_cannot_be_trusted(installed, clean, journal, change, reason):
    # `failure: admit` inside must not matter: whoever wrote it is not known.
    with installed.with_policy(failure='admit'):
        directory_mode = installed.policy.parent.stat().st_mode
        saved = installed.policy.read_bytes()
        try:
            change(installed.policy)
            assert reason in refused(installed.run_hook('vm', 'prepare', clean))
        finally:
            installed.policy.parent.chmod(directory_mode)
            if installed.policy.is_dir():
                installed.policy.rmdir()
            elif installed.policy.exists():
                installed.policy.unlink()
            installed.policy.write_bytes(saved)
    assert len(journal.records()) == 1
