# SPDX-License-Identifier: Apache-2.0
"""A machine with virt-guard on it: what the live tests do to it, and what it must have said then."""

import contextlib
import hashlib
import pathlib
import re
import subprocess
import time
from typing import Any, Dict, Iterator, List, Optional

import yaml
from machine import LIBVIRTD_LOG, Entry, Machine
from support.policies import Edit
from support.records import MARKS
from virtguard.policy.merge import combined_sha256

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
POLICY, POLICY_D = '/etc/virt-guard/policy.yaml', '/etc/virt-guard/policy.d'
LOG = '/var/log/libvirt/virt-guard.log'
HOOK, MAIN_HOOK, SECOND_HOOKS = '/usr/sbin/virt-guard-hook', '/etc/libvirt/hooks/qemu', '/etc/libvirt/hooks/qemu.d'
RULES: Dict[str, Dict[str, Any]] = {
    rule['id']: rule for rule in yaml.safe_load((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes())['rules']
}

# The end of the last line of a refusal, and that of what is found outside of the elements that a remedy speaks of.
WAIVER = 'to permit it for a while: virt-guard waiver add '
ELSEWHERE = (' from <qemu:commandline> (virsh edit).', ' from <qemu:override> (virsh edit).')

CAPABILITIES = '/var/cache/libvirt/qemu/capabilities'

# As libvirt calls a hook.
HOOK_ENVIRONMENT = ('env', '--ignore-environment', 'LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root')
Result = subprocess.CompletedProcess


def remedy(rule: str) -> str:
    return ' '.join(str(RULES[rule]['remedy']).split())


def values(record: Entry, field: str) -> List[str]:
    """The values of a field that may be repeated. (The journal does not keep their order.)"""
    value = record.get(field, [])
    return sorted(value) if isinstance(value, list) else [value]


class GuardedMachine(Machine):
    """A machine on which the checkout's own install.sh installs virt-guard."""

    # What libvirtd found out about this host's QEMU, in the machine that was first: it asks for half a second.
    _capabilities: Dict[str, bytes] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read: Dict[str, int] = {}
        self._since: Optional[str] = None
        self._compiled: Dict[str, bytes] = {}  # the policy as it was compiled

    def start_libvirtd(self, timeout: float = 120) -> None:
        for name, content in self._capabilities.items():
            self.write(name, content)
        super().start_libvirtd(timeout)

    def stop(self) -> None:
        if self.libvirtd_pid and not self._capabilities:
            for file in self.path(CAPABILITIES).glob('*.xml'):
                self._capabilities['%s/%s' % (CAPABILITIES, file.name)] = file.read_bytes()
        super().stop()

    # What an administrator does

    def install(self, *options: str) -> str:
        said = self.run([CHECKOUT / 'install.sh', *options], timeout=180).stdout
        self._compiled = self._policy()
        return said

    def compile_policy(self) -> None:
        self.run(['virt-guard', 'policy', 'compile'])
        self._compiled = self._policy()

    def _policy(self) -> Dict[str, bytes]:
        """The files of the policy in force and their contents, in their order."""
        if not self.path(POLICY).exists():
            return {}
        extended = re.findall(r'^extends: (\S+)$', self.read(POLICY), re.MULTILINE)
        drop_ins = sorted(path.name for path in self.path(POLICY_D).glob('*.yaml'))
        names = [*map(self._profile, extended), POLICY, *(POLICY_D + '/' + name for name in drop_ins)]
        return {name: self.path(name).read_bytes() for name in names}

    def _profile(self, name: str) -> str:
        return re.findall(r"^lib='(.*)'$", self.read(HOOK), re.MULTILINE)[0] + '/profiles/%s.yaml' % name

    def policy_sha256(self) -> str:
        files = [(hashlib.sha256(data).hexdigest(), name) for name, data in self._policy().items()]
        return combined_sha256(files)

    @contextlib.contextmanager
    def edited_policy(self, *edits: Edit) -> Iterator[None]:
        """Put an edited copy of the whole list in the place of the policy in force, tell no daemon, and undo it in the
        end."""
        before = self.read(POLICY)
        text = before if '\nrules:' in before else self.read(self._profile('rhel-8'))
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

    def ask_hook(self, name: str, operation: str, xml: str) -> Result:
        """Call the installed hook as libvirt does."""
        return self.run([*HOOK_ENVIRONMENT, MAIN_HOOK, name, operation, 'begin', '-'], input=xml, check=False)

    def restart_libvirtd_with(self, name: str) -> None:
        """Restart libvirtd, and wait until it has asked the hook about a running domain: `reconnect`."""
        start = self.path(LIBVIRTD_LOG).stat().st_size
        self.restart_libvirtd()
        deadline = time.monotonic() + 10
        while b' id=%s op=reconnect ' % name.encode() not in self.path(LIBVIRTD_LOG).read_bytes()[start:]:
            assert time.monotonic() < deadline, self.libvirtd_log()
            time.sleep(0.02)

    def clean_up(self) -> None:
        """Between two tests: no domains, no records that the next one could read, and the policy compiled."""
        self.cleanup_domains()
        if self._compiled != self._policy():
            self.compile_policy()
        self._since = self.cursor()
        self._read.clear()

    # What the guard must have said

    def records(self, name: str) -> List[Entry]:
        """The audit records of one domain that no call has returned yet, oldest first."""
        found = self.journal('SYSLOG_IDENTIFIER=virt-guard', 'VIRT_GUARD_DOMAIN=' + name, after=self._since)
        start, self._read[name] = self._read.get(name, 0), len(found)
        return found[start:]

    def record(self, name: str, decision: str, operation: str) -> Entry:
        """The one new audit record of a domain, after a look at what every record of a verdict says."""
        record = self._one_record(name, decision, operation)
        assert record['VIRT_GUARD_MODE'] == ('audit' if decision == 'would-deny' else 'enforce')
        assert record['VIRT_GUARD_POLICY'] == 'rhel-8'
        assert record['VIRT_GUARD_POLICY_SHA256'] == self.policy_sha256()
        assert re.fullmatch('[0-9a-f]{64}', record['VIRT_GUARD_XML_SHA256'])
        # Judged by the compiled policy, unless an edit has made that one stale.
        assert ('VIRT_GUARD_WARNING' in record) == (self._compiled != self._policy()), record.get('VIRT_GUARD_WARNING')
        defined = self.virsh('domuuid', '--domain', name, check=False)
        assert defined.returncode or record['VIRT_GUARD_UUID'] == defined.stdout.strip()
        return record

    def failure_record(self, name: str, operation: str) -> Entry:
        """The one new audit record of a domain that could not be judged."""
        return self._one_record(name, 'error', operation)

    def _one_record(self, name: str, decision: str, operation: str) -> Entry:
        *before, record = self.records(name)
        # What would be denied is recorded by both operations, if the start comes so far.
        expected = ['prepare'] if (decision, operation) == ('would-deny', 'start') else []
        assert [record['VIRT_GUARD_OPERATION'] for record in before] == expected, [r['MESSAGE'] for r in before]
        assert {record['VIRT_GUARD_DECISION'] for record in before} <= {decision}
        assert record['VIRT_GUARD_DECISION'] == decision, record['MESSAGE']
        assert (record['MESSAGE_ID'], record['PRIORITY']) == MARKS[decision]
        assert record['VIRT_GUARD_OPERATION'] == operation
        assert '\n' not in record['MESSAGE']
        if 'VIRT_GUARD_ELAPSED_USEC' in record:  # not where the guard did not come to run
            assert 0 < int(record['VIRT_GUARD_ELAPSED_USEC']) < 5000000
        return record

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
            told = [line for line in lines if re.match(r'  \(\d+\) \[%s\] ' % rule, line)]
            assert any('] %s' % RULES[rule]['title'] in line for line in told)
            assert all(line.endswith(('; remedy: %s.' % remedy(rule), *ELSEWHERE)) for line in told)
        assert lines[-1].startswith('  more: virt-guard explain ' + ' '.join(rules))
        assert name not in self.running()
        record = self.record(name, 'deny', 'prepare')
        assert record['MESSAGE'] == lines[0][len('virt-guard: ') :]
        findings = [finding.split() for finding in values(record, 'VIRT_GUARD_FINDING')]
        assert {rule for status, rule, *place in findings if status == 'deny'} == set(rules)
        assert set(rules) <= set(values(record, 'VIRT_GUARD_RULE'))
        return text


def library(host: GuardedMachine, name: str) -> str:
    """Where the system's Python has one of the guard's libraries."""
    program = 'import importlib.util; print(importlib.util.find_spec(%r).submodule_search_locations[0])' % name
    return host.run(['/usr/bin/python3', '-I', '-c', program]).stdout.strip()


def refusal(result: Result, status: int) -> str:
    """What the guard said in virsh's error, as the user sees it."""
    assert result.returncode == 1, result.stdout
    said = re.search(r'unexpected exit status (\d+): (virt-guard: .*)', result.stderr, re.DOTALL)
    assert said, result.stderr
    assert said.group(1) == str(status), result.stderr
    assert said.group(2).replace('\n', '').isprintable()
    return said.group(2).strip()
