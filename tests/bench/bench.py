# SPDX-License-Identifier: Apache-2.0
"""Measures virt-guard beside its peers, and prints what was measured beside what is aimed at.

Every figure is a ratio of two medians, taken in one run on one machine, where the things compared took turns. So it
says the same on a slow machine, and survives some noise; but let nothing else run beside it.

Rows:
  prepare start release warned warned-start waived denied-twice argument denied thousand thousand-warned tab crowd
                                          whole processes, see processes.py
  schematron regorus cel floor            in one process, see inprocess.py, engines.py and rules.py
  bulk-time bulk-memory bulk-cores bulk-formats bulk-formats-memory bulk-limit
                                          `virt-guard check` of many files, see bulk.py
  fleet-time fleet-memory                 `virt-guard fleet` of many hosts, see fleet.py
  watch-idle watch-change watch-rate watch-memory
                                          `virt-guard watch`, see watch.py
  virsh virsh-warned                      a start by real libvirt, see virsh.py
"""

import argparse
import json
import pathlib
import sys
import time
from typing import Dict, List, Optional, Sequence, Tuple

import environment
from environment import REMOTE
from table import JsonReport, Report, Result, Section, compare

# In the order of the table: the rows that are measured together.
_GROUPS: Dict[str, Tuple[str, ...]] = {
    'whole processes': (
        *('prepare', 'start', 'warned', 'warned-start', 'waived', 'denied-twice', 'argument', 'release', 'denied'),
        *('thousand', 'thousand-warned', 'tab', 'crowd'),
    ),
    'in one process': ('schematron', 'regorus', 'cel', 'floor'),
    'many files': (
        *('bulk-time', 'bulk-memory', 'bulk-cores'),
        *('bulk-formats', 'bulk-formats-memory', 'bulk-limit'),
    ),
    'many hosts': ('fleet-time', 'fleet-memory'),
    'running domains': ('watch-idle', 'watch-change', 'watch-rate', 'watch-memory'),
    'libvirt': ('virsh', 'virsh-warned'),
}
_NAMES = [name for names in _GROUPS.values() for name in names]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; 0 means that everything was measured, whether or not the targets were met."""
    arguments = _parser().parse_args(argv)
    if len(arguments.compare) == 2:
        print(compare(*(_read_json(path) for path in arguments.compare)), end='')
        return 0
    base = _read_json(arguments.compare[0]) if arguments.compare else None
    if base is not None:
        compare(base, base)  # what cannot be compared is to fail now, not after the run
    names = arguments.only or _NAMES
    libvirt = ['libvirtd', 'virsh', 'qemu-system-x86_64']
    programs = {'denied': ['oscap'], 'virsh': libvirt, 'virsh-warned': libvirt, 'bulk-time': ['taskset']}
    programs.update({name: [REMOTE] for name in ('fleet-time', 'fleet-memory')})
    needed = [program for name in names for program in programs.get(name, [])]
    environment.provide(needed + (['strace'] if arguments.syscalls else []))
    environment.enter()
    report = _measure(names, arguments.quick, arguments.syscalls)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(), indent=1) + '\n')
    text = report.as_markdown()
    if base is not None:
        text += '\n' + compare(base, report.as_json())
    print(text, end='')
    if arguments.output:
        arguments.output.write_text(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tests/bench/run',
        description=__doc__,
        epilog='Needs root, on Debian or Ubuntu, and the network the first time.\n'
        'A full run takes less than 15 minutes and 1 GB of temporary files.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', nargs='+', metavar='NAME', choices=_NAMES, help='measure these rows only')
    parser.add_argument('--quick', action='store_true', help='few repetitions, 10,000 files: a first look')
    parser.add_argument('--syscalls', action='store_true', help='list the system calls of a clean domain (by strace)')
    parser.add_argument('--output', type=pathlib.Path, metavar='FILE', help='also write the report to a file')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='also write the figures to a file')
    parser.add_argument(
        '--compare',
        nargs='+',
        default=[],
        metavar='JSON',
        help='show this run beside that of a file; with two files, measure nothing and show those',
    )
    return parser


def _read_json(path: str) -> JsonReport:
    return dict(json.loads(pathlib.Path(path).read_text()))


def _measure(names: List[str], quick: bool, syscalls: bool) -> Report:
    machine = environment.describe_machine()
    others = environment.OtherWork()
    results: List[Result] = []
    sections: List[Section] = []
    for title, group in _GROUPS.items():
        wanted = [name for name in group if name in names]
        if wanted or (syscalls and title == 'whole processes'):
            environment.say(title)
            more_results, more_sections = _measure_group(title, wanted, quick, syscalls)
            results += more_results
            sections += more_sections
    machine['noise'] = others.describe()
    return Report(time.strftime('%Y-%m-%d %H:%M %Z'), quick, machine, results, sections)


def _measure_group(title: str, names: List[str], quick: bool, syscalls: bool) -> Tuple[List[Result], List[Section]]:
    # Here, because they need the environment.
    if title == 'whole processes':
        import processes

        return processes.measure(names, quick, syscalls)
    if title == 'in one process':
        import inprocess

        return inprocess.measure(names, quick)
    if title == 'many files':
        import bulk

        return bulk.measure(names, quick)
    if title == 'many hosts':
        import fleet

        return fleet.measure(names, quick)
    if title == 'running domains':
        import watch

        return watch.measure(names, quick)
    import virsh

    return virsh.measure(names, quick)


if __name__ == '__main__':
    sys.exit(main())
