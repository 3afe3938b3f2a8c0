# SPDX-License-Identifier: Apache-2.0
"""A machine with virt-guard on it: what the live tests do to it, and what it must have said then."""

import contextlib
import hashlib
import os
import pathlib
import re
import subprocess
from typing import Any, Callable, Dict, Iterator, List

import yaml
from machine import Entry, Machine

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
POLICY, LOG = '/etc/virt-guard/policy.yaml', '/var/log/libvirt/virt-guard.log'
HOOK, MAIN_HOOK, SECOND_HOOKS = '/usr/libexec/virt-guard/qemu', '/etc/libvirt/hooks/qemu', '/etc/libvirt/hooks/qemu.d'
RULES: Dict[str, Dict[str, Any]] = {
    rule['id']: rule for rule in yaml.safe_load((CHECKOUT / 'policy.yaml').read_bytes())['rules']
}

# What administrators filter the journal by: decision -> MESSAGE_ID, PRIORITY.
MARKS = {
    'admit': ('23879d3fea7b48338d22c201c6577e2a', '6'),
    'deny': ('493275d39ad54c669c33d8328bff1447', '4'),
    'would-deny': ('26094ee951604dfc931e71473e1c5bc3', '4'),
    'error': ('f5fed29b16764425ac01972c7559af07', '3'),
}

# As libvirt calls a hook.
HOOK_ENVIRONMENT = ('env', '--ignore-environment', 'LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root')
Result = 'subprocess.CompletedProcess[str]'
Edit = Callable[[str], str]


def setting(key: str, value: str) -> Edit:
    """Give a setting at the top of the policy another value."""
    return _substitution(r'^(%s:\s+)(\{.*?\}|\S+)' % key, value)


def action(rule: str, value: str) -> Edit:
    """Give a rule of the policy another action."""
    return _substitution(r'^(  - id: %s\n(?:    .*\n)*?    action: )(\S+)' % rule, value)


def _substitution(pattern: str, value: str) -> Edit:
    def edit(text: str) -> str:
        text, count = re.subn(pattern, lambda match: match.group(1) + value, text, flags=re.MULTILINE)
        assert count == 1, pattern
        return text

    return edit


def remedy(rule: str) -> str:
    return ' '.join(str(RULES[rule]['remedy']).split())


def values(record: Entry, field: str) -> List[str]:
    """The values of a field that may be repeated. (The journal does not keep their order.)"""
    value = record.get(field, [])
    return sorted(value) if isinstance(value, list) else [value]


class GuardedMachine(Machine):
    """A machine on which the checkout's own install.sh installs virt-guard."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read: Dict[str, int] = {}

    # What an administrator does

    def install(self, *options: str) -> str:
        return self.run([CHECKOUT / 'install.sh', *options]).stdout

    @contextlib.contextmanager
    def edited_policy(self, *edits: Edit) -> Iterator[None]:
        """Edit the policy in force, tell no daemon, and undo it in the end."""
        before = self.read(POLICY)
        text = before
        for edit in edits:
            text = edit(text)
        self.write(POLICY, text)
        try:
            yield
        finally:
            self.write(POLICY, before)

    def try_start(self, name: str) -> Result:
        return self.virsh('start', '--domain', name, check=False)

    def try_define_and_start(self, xml: str) -> Result:
        return self.try_start(self.define(xml))

    def ask_hook(self, name: str, operation: str, xml: str, *prefix: str) -> Result:
        """Call the installed hook as libvirt does."""
        call = [*HOOK_ENVIRONMENT, *prefix, MAIN_HOOK, name, operation, 'begin', '-']
        return self.run(call, input=xml, check=False)

    # What the guard must have said

    def records(self, name: str) -> List[Entry]:
        """The audit records of one domain that no call has returned yet, oldest first."""
        found = self.journal('SYSLOG_IDENTIFIER=virt-guard', 'VIRT_GUARD_DOMAIN=' + name)
        start, self._read[name] = self._read.get(name, 0), len(found)
        return found[start:]

    def record(self, name: str, decision: str, operation: str) -> Entry:
        """The one new audit record of a domain, after a look at what every record of a verdict says."""
        (record,) = self.records(name)
        self._check_head(record, decision, operation)
        assert record['VIRT_GUARD_MODE'] == ('audit' if decision == 'would-deny' else 'enforce')
        assert record['VIRT_GUARD_POLICY'] == 'rhel-8'
        assert record['VIRT_GUARD_POLICY_SHA256'] == hashlib.sha256(self.path(POLICY).read_bytes()).hexdigest()
        assert re.fullmatch('[0-9a-f]{64}', record['VIRT_GUARD_XML_SHA256'])
        if name in self.running('--all'):
            assert record['VIRT_GUARD_UUID'] == self.virsh('domuuid', '--domain', name).stdout.strip()
        return record

    def failure_record(self, name: str, operation: str) -> Entry:
        """The one new audit record of a domain that could not be judged."""
        (record,) = self.records(name)
        self._check_head(record, 'error', operation)
        return record

    def _check_head(self, record: Entry, decision: str, operation: str) -> None:
        assert record['VIRT_GUARD_DECISION'] == decision, record['MESSAGE']
        assert (record['MESSAGE_ID'], record['PRIORITY']) == MARKS[decision]
        assert record['VIRT_GUARD_OPERATION'] == operation
        assert '\n' not in record['MESSAGE']
        if 'VIRT_GUARD_ELAPSED_USEC' in record:  # not where the guard did not come to run
            assert 0 < int(record['VIRT_GUARD_ELAPSED_USEC']) < 5000000

    def admitted(self, name: str, result: Result, *warnings: str) -> Entry:
        """A start that was admitted: the domain runs, and one record, of `start`, names the rules that warned."""
        assert result.returncode == 0, result.stderr
        assert name in self.running()
        record = self.record(name, 'admit', 'start')
        assert values(record, 'VIRT_GUARD_RULE') == sorted(warnings)
        return record

    def refused(self, name: str, result: Result, *rules: str) -> str:
        """A start that was refused for `rules`, in the policy's order; return what the guard told the user."""
        text = refusal(result, 1)
        lines = text.splitlines()
        assert lines[0] == "virt-guard: domain '%s' denied by policy 'rhel-8': %s" % (name, ', '.join(rules))
        for rule in rules:
            assert any(line.startswith('  [%s] %s: ' % (rule, RULES[rule]['title'])) for line in lines)
            assert '      remedy: ' + remedy(rule) in lines
        assert lines[-1] == '  more: virt-guard explain ' + ' '.join(rules)
        assert name not in self.running()
        record = self.record(name, 'deny', 'prepare')
        assert record['MESSAGE'] == lines[0][len('virt-guard: ') :]
        denying = [finding.split()[1] for finding in values(record, 'VIRT_GUARD_FINDING') if finding.startswith('deny ')]
        assert set(denying) == set(rules)
        assert set(rules) <= set(values(record, 'VIRT_GUARD_RULE'))
        return text


def refusal(result: Result, status: int) -> str:
    """What the guard said in virsh's error, as the user sees it."""
    assert result.returncode == 1, result.stdout
    said = re.search(r'unexpected exit status (\d+): (virt-guard: .*)', result.stderr, re.DOTALL)
    assert said, result.stderr
    assert said.group(1) == str(status), result.stderr
    assert said.group(2).isascii()
    return said.group(2).strip()
