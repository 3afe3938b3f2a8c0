# SPDX-License-Identifier: Apache-2.0
"""`virt-guard fleet` over the journals of many hosts: whether time per record stays, and how much memory it takes.

The files are those of systemd-journal-remote, one for each host, with the holes dug that it leaves for more. Four of
five records admit a start, the others refuse one by one of five rules.
"""

import hashlib
import pathlib
import statistics
import subprocess
import tempfile
from typing import Dict, Iterator, List, Sequence, Tuple

import environment
from environment import REMOTE, say
from measuring import Command, Driver, Run
from table import Result, Section

_HOSTS, _QUICK_HOSTS, _FEW_PER_MANY = 1000, 100, 10
_RECORDS, _QUICK_RECORDS = 200, 100
_REPEATS = 3
_BEGIN = 1793534400  # 2026-11-01 12:00 UTC
_RULES = 'tcg virtiofs vhost-user virtio-crypto guest-os-unknown'.split()
_LIMIT = 200 << 20  # bytes
_MIB = 1 << 20

ROWS = {
    'fleet-time': ('`fleet` of {many:,} hosts / of {few:,} hosts, {records} records each: time per record', 1.1),
    'fleet-memory': ('the same: peak memory of one process / 200 MiB', 1.0),
}


def measure(names: Sequence[str], quick: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names."""
    many, records = (_QUICK_HOSTS, _QUICK_RECORDS) if quick else (_HOSTS, _RECORDS)
    few = many // _FEW_PER_MANY
    runs: Dict[str, List[Run]] = {'few': [], 'many': []}
    with tempfile.TemporaryDirectory() as root, Driver() as driver:
        say('  making journals of %d hosts' % many)
        places = {'few': (root + '/few', few), 'many': (root + '/many', many)}
        for place, hosts in places.values():
            make_journals(pathlib.Path(place), hosts, records)
        installer = [str(environment.CHECKOUT / 'install.sh'), '--root', root + '/installed', '--no-deps', '--python']
        subprocess.run(installer + [environment.PYTHON], check=True, stdout=subprocess.DEVNULL)
        commands = {
            # 1: of these hosts, nothing has arrived for long
            name: Command([root + '/installed/usr/bin/virt-guard', 'fleet', '--format', 'jsonl', place], status=1)
            for name, (place, _) in places.items()
        }
        driver.measure({'few': commands['few']}, 1)
        for number in range(_REPEATS):
            say('  reading them, %d of %d' % (number + 1, _REPEATS))
            runs['few'] += driver.measure({'few': commands['few']}, 3)['few']
            runs['many'] += driver.measure({'many': commands['many']}, 1)['many']
    return [_result(name, runs, many, few, records) for name in names], []


def make_journals(directory: pathlib.Path, hosts: int, records: int) -> None:
    """Make a journal of each host in a new directory."""
    directory.mkdir()
    for host in range(hosts):
        path = str(directory / ('remote-10.0.%d.%d.journal' % divmod(host, 250)))
        data = b''.join(_entries(host, records))
        subprocess.run([REMOTE, '--output=' + path, '-'], input=data, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(['fallocate', '--dig-holes', path], check=True)


def _entries(host: int, records: int) -> Iterator[bytes]:
    """In journald's export format, with the fields that journald adds."""

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    machine, boot = digest('machine %d' % host)[:32], digest('boot %d' % host)[:32]
    for number in range(records):
        denied, rule, domain = number % 5 == 0, _RULES[number // 5 % 5], 'payroll-%02d' % (number % 30)
        microseconds = number * 60_000_000 + host
        fields = [
            ('__REALTIME_TIMESTAMP', _BEGIN * 1_000_000 + microseconds),
            ('__MONOTONIC_TIMESTAMP', microseconds),
            *(('_BOOT_ID', boot), ('_MACHINE_ID', machine), ('_HOSTNAME', 'kvm%04d' % host)),
            *(('_TRANSPORT', 'journal'), ('_UID', 0), ('_GID', 0), ('_COMM', 'python3'), ('_PID', 1000 + number)),
            *(('_EXE', environment.PYTHON), ('_SYSTEMD_CGROUP', '/system.slice/libvirtd.service')),
            ('_CMDLINE', 'python3 -I -S /usr/sbin/virt-guard-hook %s start begin -' % domain),
            ('_SOURCE_REALTIME_TIMESTAMP', _BEGIN * 1_000_000 + microseconds - 9),
            ('MESSAGE', "domain '%s' %s by policy 'rhel-8'" % (domain, 'denied' if denied else 'admitted')),
            *(('SYSLOG_IDENTIFIER', 'virt-guard'), ('VIRT_GUARD_DECISION', 'deny' if denied else 'admit')),
            *(('VIRT_GUARD_DOMAIN', domain), ('VIRT_GUARD_UUID', digest(machine + domain)[:36])),
            ('VIRT_GUARD_OPERATION', 'prepare' if denied else 'start'),
            *([('VIRT_GUARD_RULE', rule), ('VIRT_GUARD_DENIED', rule)] if denied else []),
            *(('VIRT_GUARD_MODE', 'enforce'), ('VIRT_GUARD_POLICY', 'rhel-8')),
            *(('VIRT_GUARD_POLICY_SHA256', digest('policy')), ('VIRT_GUARD_XML_SHA256', digest(domain))),
        ]
        yield ''.join('%s=%s\n' % field for field in fields).encode() + b'\n'


def _result(name: str, runs: Dict[str, List[Run]], many: int, few: int, records: int) -> Result:
    title, target = ROWS[name]
    title = title.format(many=many, few=few, records=records)
    if name == 'fleet-time':
        own, base = (
            statistics.median(run.seconds for run in runs[key]) / hosts / records
            for key, hosts in (('many', many), ('few', few))
        )
        how = '%.0f us / %.0f us per record' % (own * 1e6, base * 1e6)
        return Result(name, title, target, own / base, how, own, base)
    peak = statistics.median(run.peak for run in runs['many'])
    return Result(name, title, target, peak / _LIMIT, '%.1f MiB' % (peak / _MIB), peak, _LIMIT)
