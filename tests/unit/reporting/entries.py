# SPDX-License-Identifier: Apache-2.0
"""Journal entries as `journalctl -o json` writes them: the fields that the guard sends and those that journald adds."""

import hashlib
import json

from virtguard import journal, model

BEGIN = 1793534400  # 2026-11-01 12:00 UTC
POLICY_SHA256 = hashlib.sha256(b'policy').hexdigest()
POLICY = [('VIRT_GUARD_MODE', 'enforce'), ('VIRT_GUARD_POLICY', 'rhel-8'), ('VIRT_GUARD_POLICY_SHA256', POLICY_SHA256)]


def uuid_of(name):
    digits = hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()
    return '-'.join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def entry(seconds, fields, host='kvm1', **others):
    """An entry that was stored so many seconds after BEGIN; of `others`, None leaves a field out."""
    moment = str(int((BEGIN + seconds) * 1000000))
    found = {
        '__CURSOR': 'c%s' % moment,
        '__REALTIME_TIMESTAMP': moment,
        '__MONOTONIC_TIMESTAMP': str(int((1000000 + seconds) * 1000000)),
        '_BOOT_ID': '5a5b' * 8,
        '_PID': '4242',
        '_UID': '0',
        '_TRANSPORT': 'journal',
        '_HOSTNAME': host,
        '_MACHINE_ID': hashlib.sha256(host.encode()).hexdigest()[:32],
    }
    for name, value in fields:
        if value and name in found:
            before = found[name]
            found[name] = [*(before if isinstance(before, list) else [before]), value]
        elif value:
            found[name] = value
    found.update(others)
    return {name: value for name, value in found.items() if value is not None}


def head(outcome, message):
    return [
        ('MESSAGE', message),
        ('MESSAGE_ID', journal.MESSAGE_IDS[outcome]),
        ('SYSLOG_IDENTIFIER', 'virt-guard'),
        ('VIRT_GUARD_DECISION', outcome),
    ]


def judged(seconds, name, outcome=model.DENY, rules=('tcg',), operation='prepare', more=(), **others):
    """The record of a start."""
    denied = rules if outcome in (model.DENY, model.WOULD_DENY) else ()
    fields = [
        *head(outcome, "domain '%s': %s" % (name, outcome)),
        ('VIRT_GUARD_DOMAIN', name),
        ('VIRT_GUARD_UUID', uuid_of(name)),
        ('VIRT_GUARD_OPERATION', operation),
        *(('VIRT_GUARD_RULE', rule) for rule in rules),
        *(('VIRT_GUARD_DENIED', rule) for rule in denied),
        *(('VIRT_GUARD_FINDING', 'deny %s /domain line 1' % rule) for rule in denied),
        ('VIRT_GUARD_XML_SHA256', hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()),
        *more,
        *POLICY,
    ]
    return entry(seconds, fields, **others)


def admitted(seconds, name, rules=(), more=(), **others):
    return judged(seconds, name, model.ADMIT, rules, 'start', more, **others)


def happened(seconds, name, rule='snapshot', event='', **others):
    fields = [
        *head(model.HAPPENED, "domain '%s': deny: it happened [%s]" % (name, rule)),
        ('VIRT_GUARD_DOMAIN', name),
        ('VIRT_GUARD_UUID', uuid_of(name)),
        ('VIRT_GUARD_OPERATION', 'watch'),
        ('VIRT_GUARD_RULE', rule),
        ('VIRT_GUARD_FINDING', 'deny %s /domain/devices/disk[1]' % rule),
        ('VIRT_GUARD_EVENT', event or hashlib.sha256(('%s %s %s' % (seconds, name, rule)).encode()).hexdigest()[:32]),
        *POLICY,
    ]
    return entry(seconds, fields, **others)


def guard_changed(seconds, change, version='0.2.0', user='root', **others):
    fields = [
        *head(model.GUARD_CHANGED, 'virt-guard %s was %s by %s' % (version, change, user)),
        ('VIRT_GUARD_CHANGE', change),
        ('VIRT_GUARD_VERSION', version),
        ('VIRT_GUARD_USER', user),
    ]
    return entry(seconds, fields, **others)


def lines(entries):
    return ''.join(json.dumps(found) + '\n' for found in entries)
