# SPDX-License-Identifier: Apache-2.0
"""`virt-guard check` of many files: whether time and memory per file stay, and what a second core brings.

The files are 1,000 different domains of 5 KB, two in a hundred of them with a finding, in directories of 1,000. Where
there are more files they are copies: of several names of one file only one is judged. Once they are all in one
directory, too: for the memory that a long listing takes. The command is that of an installation of its own
(install.sh --root); facts of another host are given, so that this one takes no part. Memory is that of the process
which had the most.
"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import tempfile
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import environment
from documents import make_document
from environment import say
from measuring import Command, Driver, Run
from table import Result, Section

_MANY, _QUICK_MANY, _FEW = 100_000, 10_000, 1000
_PER_DIRECTORY = _DIFFERENT = 1000
_REPEATS, _QUICK_REPEATS, _FEW_PER_MANY = 2, 2, 5
_FOUND_EVERY = 50
_FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'
_FINDING = (b"<memballoon model='none'/>", b"<memballoon model='none'/>\n    <crypto model='virtio' type='qemu'/>")
_MIB = 1 << 20
_FORMATS = ('json', 'sarif', 'junit', 'gitlab', 'github', 'markdown', 'xccdf')

ROWS: Dict[str, Tuple[str, Optional[float]]] = {
    'bulk-time': ('`check` of {many:,} files / of 1,000 files: time per file', 1.1),
    'bulk-memory': ('the same: peak memory of one process', 1.1),
    'bulk-cores': ('the same: throughput on 2 cores / on 1', 1.8),
    'bulk-formats': ('the same, told in seven files besides: time', 1.3),
    'bulk-formats-memory': ('the same of {many:,} files / of 1,000 files: peak memory of one process', 1.1),
    'bulk-limit': ('the limit of this machine: two such commands at once, a core each / one alone', None),
}


def measure(names: Sequence[str], quick: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names."""
    many, repeats = (_QUICK_MANY, _QUICK_REPEATS) if quick else (_MANY, _REPEATS)
    cores = sorted(os.sched_getaffinity(0))[:2]
    keys = ('few', 'many', 'one core', 'apart', 'flat', 'few told', 'many told')
    runs: Dict[str, List[Run]] = {key: [] for key in keys}
    with _installation() as command, tempfile.TemporaryDirectory() as directory, Driver() as driver, Driver() as other:
        say('  making files')
        trees = {'few': (_FEW, _PER_DIRECTORY), 'many': (many, _PER_DIRECTORY), 'flat': (many, many)}
        made: List[pathlib.Path] = []
        for name, (count, per_directory) in trees.items():
            made = make_files(pathlib.Path(directory, name), count, per_directory, made if name == 'flat' else [])
        few, everything, flat = ([*command, os.path.join(directory, name)] for name in trees)
        driver.measure({'few': _on(cores, few)}, 1)
        for number in range(repeats):
            say('  judging them, %d of %d' % (number + 1, repeats))
            runs['few'] += driver.measure({'few': _on(cores, few)}, _FEW_PER_MANY)['few']
            runs['many'] += driver.measure({'many': _on(cores, everything)}, 1)['many']
            if {'bulk-cores', 'bulk-limit'} & set(names) and len(cores) > 1:
                # Either core alone, because one may be faster.
                runs['one core'] += driver.measure({'one': _on(cores[:1], everything)}, 1)['one']
                runs['one core'] += driver.measure({'one': _on(cores[1:], everything)}, 1)['one']
                driver.begin({'first': _on(cores[:1], everything)}, 1)
                other.begin({'second': _on(cores[1:], everything)}, 1)
                runs['apart'].append(max(driver.result()['first'] + other.result()['second']))
            if {'bulk-formats', 'bulk-formats-memory'} & set(names):
                told = [word for name in _FORMATS for word in ('--output', '%s:%s/%s' % (name, directory, name))]
                for name, tree in (('few told', few[-1]), ('many told', everything[-1])):
                    runs[name] += driver.measure({name: _on(cores, [*command, *told, tree])}, 1)[name]
        if 'bulk-memory' in names:
            runs['flat'] += driver.measure({'flat': _on(cores, flat)}, 1)['flat']
    return [_result(name, runs, many) for name in names], []


def _on(cores: Sequence[int], argv: List[str]) -> Command:
    """A command on these cores. That it denies something is expected, see _FINDING."""
    return Command(['/usr/bin/taskset', '--cpu-list', ','.join(map(str, cores)), *argv], status=1)


def make_files(
    directory: pathlib.Path, count: int, per_directory: int, others: Sequence[pathlib.Path] = ()
) -> List[pathlib.Path]:
    """Make domains in directories below a new one, as other names of `others` if there are any."""
    made: List[pathlib.Path] = []
    documents: List[bytes] = []
    for number in range(count):
        parent = directory / ('host-%03d' % (number // per_directory))
        if number % per_directory == 0:
            parent.mkdir(parents=True)
        file = parent / ('payroll-%05d.xml' % number)
        made.append(file)
        if others:
            os.link(str(others[number]), str(file))
            continue
        if number < _DIFFERENT:
            document = make_document(number, 5000)
            if number % _FOUND_EVERY == 0:
                assert document.count(_FINDING[0]) == 1
                document = document.replace(*_FINDING)
            documents.append(document)
        file.write_bytes(documents[number % _DIFFERENT])
    return made


@contextlib.contextmanager
def _installation() -> Iterator[List[str]]:
    """The command of a new installation, as far as the files."""
    with tempfile.TemporaryDirectory() as root:
        installer = [str(environment.CHECKOUT / 'install.sh'), '--root', root, '--no-deps', '--python']
        subprocess.run(installer + [environment.PYTHON], check=True, stdout=subprocess.DEVNULL)
        facts = os.path.join(root, 'facts.yaml')
        pathlib.Path(facts).write_text(_FACTS)
        yield [root + '/usr/bin/virt-guard', 'check', '--facts', facts]


def _result(name: str, runs: Dict[str, List[Run]], many: int) -> Result:
    title, target = ROWS[name]
    title = title.format(many=many)
    seconds = {key: statistics.median(run.seconds for run in having) for key, having in runs.items() if having}
    if name == 'bulk-time':
        own, base = seconds['many'] / many, seconds['few'] / _FEW
        how = '%.0f us / %.0f us per file on 2 cores' % (own * 1e6, base * 1e6)
        return Result(name, title, target, own / base, how, own, base)
    if name == 'bulk-memory':
        peak, base = (statistics.median(run.peak for run in runs[key]) for key in ('many', 'few'))
        flat = statistics.median(run.peak for run in runs['flat'])
        how = '%.1f MiB / %.1f MiB; with all files in one directory %.1f MiB' % (peak / _MIB, base / _MIB, flat / _MIB)
        return Result(name, title, target, peak / base, how, peak, base)
    if name == 'bulk-formats':
        own, base = seconds['many told'], seconds['many']
        return Result(name, title, target, own / base, '%.1f s / %.1f s' % (own, base), own, base)
    if name == 'bulk-formats-memory':
        peak, base = (statistics.median(run.peak for run in runs[key]) for key in ('many told', 'few told'))
        how = '%.1f MiB / %.1f MiB' % (peak / _MIB, base / _MIB)
        return Result(name, title, target, peak / base, how, peak, base)
    if 'one core' not in seconds:
        return Result(name, title, target, None, 'this machine has one core', at_least=True)
    base = many / seconds['one core']
    own = 2 * many / seconds['apart'] if name == 'bulk-limit' else many / seconds['many']
    how = '%.0f / %.0f files per second' % (own, base)
    return Result(name, title, target, own / base, how, own, base, at_least=True)
