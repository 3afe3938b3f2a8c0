# SPDX-License-Identifier: Apache-2.0
"""Whole processes: the hook as libvirt calls it, beside the least that could have been started in its place.

They run in a throwaway machine with virt-guard as install.sh leaves it: the policy is compiled, journald takes the
records, and no mark of a container is in sight, so that a clean domain is admitted. The commands take turns, in
another order each time.
"""

import datetime
import re
import statistics
import tempfile
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import environment
from documents import make_document
from environment import say
from machines import MeasuringMachine, unavailable
from measuring import HOOK_ENV, Command
from rules import make_rules, policy_yaml
from table import Result, Section

from installation import CLEAN, DENIED  # isort: skip  # machines shows where it is

_HOOK = '/etc/libvirt/hooks/qemu'
_THOUSAND = '/srv/thousand'  # an installation of its own, with that many rules
_OVAL, _OVAL_DOMAIN = '/srv/oval/definitions.xml', '/srv/oval/domain.xml'
# No guest system is stated, which is a warning; two features are denied; one is hidden in an argument.
WARNED = re.sub('<metadata>.*</metadata>', '', CLEAN.decode(), flags=re.DOTALL)
TWICE = DENIED.decode().replace("type='kvm'", "type='qemu'", 1)
WITH_ARGUMENT = (
    CLEAN.decode()
    .replace('<domain ', "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ", 1)
    .replace(
        '</domain>',
        "<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='nvme,id=a'/></qemu:commandline></domain>",
    )
)
_WAIVER = """\
waivers:
  - rules: [tpm-passthrough]
    domains: [waived]
    reason: it is measured
    approved-by: nobody
    expires: %s
"""
_ROUNDS, _QUICK_ROUNDS, _SLOW_ROUNDS, _QUICK_SLOW_ROUNDS = 300, 40, 60, 10
_WARM_UP = 5


class _Row(NamedTuple):
    title: str
    command: str
    base: str
    target: float


ROWS = {
    'prepare': _Row('clean domain, `prepare` / `python3 -I -S -c pass`', 'prepare', 'python', 1.25),
    'start': _Row('clean domain, `start` with its journal record / the same', 'start', 'python', 1.35),
    'release': _Row('operation that is not judged (`release`) / `/bin/sh -c :`', 'release', 'sh', 1.5),
    'warned': _Row('domain with a warning, `prepare` / `python3 -I -S -c pass`', 'warned', 'python', 1.4),
    'warned-start': _Row('domain with a warning, `start` with its record / the same', 'warned-start', 'python', 1.5),
    'waived': _Row('waived domain, `prepare` / the same', 'waived', 'python', 1.45),
    'denied-twice': _Row('domain denied for two reasons, with its record / the same', 'denied-twice', 'python', 1.5),
    'argument': _Row('domain denied for a `<qemu:arg>`, with its record / the same', 'argument', 'python', 1.75),
    'denied': _Row('denied domain / `oscap oval eval` with two XPath tests', 'denied', 'oscap', 0.6),
    'thousand': _Row('clean domain, policy of 1,000 rules / `python3 -I -S -c pass`', 'thousand', 'python', 1.5),
    'thousand-warned': _Row('domain with a warning, the same policy / the same', 'thousand-warned', 'python', 1.8),
    # 50 ms beside an interpreter that starts within 10.
    'tab': _Row('TAB for a rule, answered / `python3 -I -S -c pass`', 'tab', 'python', 6.0),
    'crowd': _Row('40 domains with a warning at once, last answer / 40 bare interpreters', 'crowd', '40', 1.5),
}
_SLOW = ('denied', 'oscap', 'crowd', '40')
_CROWD = 40


def measure(names: Sequence[str], quick: bool, syscalls: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names; with `syscalls`, a section on what a clean domain asks of the kernel."""
    reason = unavailable()
    if reason:
        return [Result(name, ROWS[name].title, ROWS[name].target, None, reason) for name in names], []
    needed = {command for name in names for command in (ROWS[name].command, ROWS[name].base)}
    with tempfile.TemporaryDirectory() as directory, MeasuringMachine(directory, daemon=False) as machine:
        machine.install()
        for prepare in dict.fromkeys(_PREPARATIONS[name] for name in _PREPARATIONS if name in needed):
            prepare(machine)
        commands = {name: command for name, command in _commands().items() if name in needed}
        fast = {name: command for name, command in commands.items() if name not in _SLOW}
        slow = {name: command for name, command in commands.items() if name in _SLOW}
        times: Dict[str, List[float]] = {}
        for group, rounds in (
            (fast, _QUICK_ROUNDS if quick else _ROUNDS),
            (slow, _QUICK_SLOW_ROUNDS if quick else _SLOW_ROUNDS),
        ):
            if group:
                say('  %s, %d times' % (', '.join(group), rounds))
                machine.driver.measure(group, _WARM_UP)
                runs = machine.driver.measure(group, rounds)
                times.update({name: [run.seconds for run in having] for name, having in runs.items()})
        _check_records(machine, {name: len(times[name]) + _WARM_UP for name in ('start', 'denied') if name in times})
        sections = [_describe_syscalls(machine)] if syscalls else []
    return [_result(name, times) for name in names], sections


def _commands() -> Dict[str, Command]:
    clean, denied = CLEAN.decode(), DENIED.decode()
    return {
        'python': Command([environment.PYTHON, '-I', '-S', '-c', 'pass'], clean),
        'prepare': Command([_HOOK, 'guest', 'prepare', 'begin', '-'], clean),
        'start': Command([_HOOK, 'guest', 'start', 'begin', '-'], clean),
        'thousand': Command([_THOUSAND + _HOOK, 'guest', 'prepare', 'begin', '-'], clean),
        'sh': Command(['/bin/sh', '-c', ':'], clean),
        'release': Command([_HOOK, 'guest', 'release', 'end', '-'], clean),
        'denied': Command([_HOOK, 'guest', 'prepare', 'begin', '-'], denied, status=1),
        'warned': Command([_HOOK, 'warned', 'prepare', 'begin', '-'], WARNED),
        'warned-start': Command([_HOOK, 'warned', 'start', 'begin', '-'], WARNED),
        'waived': Command([_HOOK, 'waived', 'prepare', 'begin', '-'], denied.replace('>guest<', '>waived<')),
        'denied-twice': Command([_HOOK, 'twice', 'prepare', 'begin', '-'], TWICE, status=1),
        'argument': Command([_HOOK, 'argument', 'prepare', 'begin', '-'], WITH_ARGUMENT, status=1),
        'thousand-warned': Command([_THOUSAND + _HOOK, 'warned', 'prepare', 'begin', '-'], WARNED),
        'tab': Command(
            ['/usr/bin/virt-guard', '__complete', 'bash', 'virt-guard explain --domain guest virti', 'virti']
        ),
        'crowd': Command([_HOOK, 'warned', 'prepare', 'begin', '-'], WARNED, copies=_CROWD),
        '40': Command([environment.PYTHON, '-I', '-S', '-c', 'pass'], clean, copies=_CROWD),
        'oscap': Command(['/usr/bin/oscap', 'oval', 'eval', _OVAL]),
    }


def _prepare_thousand(machine: MeasuringMachine) -> None:
    """Install a second time, apart, and give that installation the shipped rules and as many more as make 1,000."""
    installer = environment.CHECKOUT / 'install.sh'
    machine.run([installer, '--root', _THOUSAND, '--no-deps', '--python', environment.PYTHON])
    policy = _THOUSAND + '/etc/virt-guard/policy.yaml'
    shipped = (environment.CHECKOUT / 'data/profiles/rhel-8.yaml').read_text()
    count = 1000 - len(re.findall('^  - id: ', shipped, re.MULTILINE))
    documents = [make_document(0, 5000), CLEAN]
    machine.write(policy, policy_yaml(make_rules(count, documents), shipped))
    command = _THOUSAND + '/usr/bin/virt-guard'
    machine.run([command, 'policy', 'compile'])
    said = machine.run([command, 'policy', 'check']).stdout
    assert ', 1000 rules,' in said and 'note: ' not in said, said


def _prepare_oval(machine: MeasuringMachine) -> None:
    """Let oscap look for two features, one of which the denied domain has."""
    machine.write(_OVAL_DOMAIN, DENIED)
    directory, _, file = _OVAL_DOMAIN.rpartition('/')
    tests = (('passthrough', '/domain/devices/tpm/backend/@type'), ('qemu', '/domain/@type'))
    parts = {'number': '', 'criteria': '', 'test': '', 'object': '', 'state': ''}
    for number, (value, xpath) in enumerate(tests, 1):
        fields = {'number': number, 'value': value, 'xpath': xpath, 'directory': directory, 'file': file}
        for part, template in _OVAL_PARTS.items():
            parts[part] += template.format(**fields)
    machine.write(_OVAL, _OVAL_DOCUMENT.format(**parts))
    said = machine.run(['oscap', 'oval', 'eval', _OVAL]).stdout
    assert 'Definition oval:virt-guard.bench:def:1: true' in said, said


def _prepare_waiver(machine: MeasuringMachine) -> None:
    expires = datetime.date.today() + datetime.timedelta(100)
    machine.write('/etc/virt-guard/policy.d/50-measured.yaml', _WAIVER % expires)
    machine.run(['/usr/bin/virt-guard', 'policy', 'compile'])


_PREPARATIONS: Dict[str, Callable[[MeasuringMachine], None]] = {
    'waived': _prepare_waiver,
    'thousand': _prepare_thousand,
    'thousand-warned': _prepare_thousand,
    'oscap': _prepare_oval,
}


def _check_records(machine: MeasuringMachine, counts: Dict[str, int]) -> None:
    """What was measured did end in the journal, and came from the compiled policy."""
    for name, decision in (('start', 'admit'), ('denied', 'deny')):
        if name in counts:
            records = machine.journal('VIRT_GUARD_DOMAIN=guest', 'VIRT_GUARD_DECISION=' + decision)
            assert len(records) == counts[name], '%d records of %d' % (len(records), counts[name])
            assert not any('VIRT_GUARD_WARNING' in record for record in records), records[0]


def _result(name: str, times: Dict[str, List[float]]) -> Result:
    row = ROWS[name]
    own, base = statistics.median(times[row.command]), statistics.median(times[row.base])
    how = '%.2f ms / %.2f ms (%d times)' % (own * 1e3, base * 1e3, len(times[row.command]))
    return Result(name, row.title, row.target, own / base, how, own, base)


def _describe_syscalls(machine: MeasuringMachine) -> Section:
    """How often a clean domain makes each system call, and which files it opens, beside the bare interpreter."""
    names = ('python', 'prepare', 'start')
    traces = {name: _trace(machine, _commands()[name]) for name in names}
    calls = {name: re.findall(r'^\d+ +(\w+)\(', traces[name], re.MULTILINE) for name in names}
    every = sorted(set(sum(calls.values(), [])), key=lambda call: (-calls['start'].count(call), call))
    rows = [[call] + [str(calls[name].count(call)) for name in names] for call in every]
    rows.append(['together'] + [str(len(calls[name])) for name in names])
    opened = {name: re.findall(r' openat\(\w+, "([^"]+)".*\) = \d+$', traces[name], re.MULTILINE) for name in names}
    text = ''.join(
        'Files that `%s` opens and `%s` does not:\n\n%s\n'
        % (name, base, ''.join('- %s\n' % path for path in opened[name] if path not in opened[base]))
        for name, base in (('prepare', 'python'), ('start', 'prepare'))
    )
    heads = ('system call', '`%s -I -S -c pass`' % environment.PYTHON, '`prepare`', '`start`')
    return Section('What a clean domain asks of the kernel', heads, rows, text)


def _trace(machine: MeasuringMachine, command: Command) -> str:
    output = '/run/trace'
    machine.run(
        ['strace', '-f', '-qq', '-o', output, 'env', '--ignore-environment']
        + ['%s=%s' % item for item in HOOK_ENV.items()]
        + command.argv,
        input=command.input,
    )
    text = machine.read(output)
    start = text.index(' execve("%s"' % command.argv[0])  # what is before it is env's
    return text[text.rindex('\n', 0, start) + 1 :]


_OVAL_PARTS = {
    'criteria': """\
        <criterion comment="{xpath}" test_ref="oval:virt-guard.bench:tst:{number}"/>
""",
    'test': """\
    <ind:xmlfilecontent_test id="oval:virt-guard.bench:tst:{number}" version="1" check="at least one"
        check_existence="at_least_one_exists" comment="{xpath}">
      <ind:object object_ref="oval:virt-guard.bench:obj:{number}"/>
      <ind:state state_ref="oval:virt-guard.bench:ste:{number}"/>
    </ind:xmlfilecontent_test>
""",
    'object': """\
    <ind:xmlfilecontent_object id="oval:virt-guard.bench:obj:{number}" version="1">
      <ind:path>{directory}</ind:path>
      <ind:filename>{file}</ind:filename>
      <ind:xpath>{xpath}</ind:xpath>
    </ind:xmlfilecontent_object>
""",
    'state': """\
    <ind:xmlfilecontent_state id="oval:virt-guard.bench:ste:{number}" version="1">
      <ind:value_of>{value}</ind:value_of>
    </ind:xmlfilecontent_state>
""",
}
_OVAL_DOCUMENT = """\
<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"
    xmlns:ind="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent"
    xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
  <generator>
    <oval:schema_version>5.11</oval:schema_version>
    <oval:timestamp>2025-01-01T00:00:00</oval:timestamp>
  </generator>
  <definitions>
    <definition class="compliance" id="oval:virt-guard.bench:def:1" version="1">
      <metadata>
        <title>unsupported features</title>
        <description>A domain uses a feature that is not supported.</description>
      </metadata>
      <criteria operator="OR">
{criteria}      </criteria>
    </definition>
  </definitions>
  <tests>
{test}  </tests>
  <objects>
{object}  </objects>
  <states>
{state}  </states>
</oval_definitions>
"""
