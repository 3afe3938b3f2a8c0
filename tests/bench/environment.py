# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks need (an environment with the peers, programs of the distribution), and where they ran."""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
from typing import Dict, List, Tuple

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = CHECKOUT / 'tests' / '.env' / 'bench'
# The guard's own interpreter: also what its time is compared with, and what the peers run in.
PYTHON = '/usr/bin/python3'
REQUIREMENTS = (
    'lxml==6.1.3',
    'PyYAML==6.0.3',
    'gordon-to-regorus==0.13.0',  # microsoft/regorus, built for Python
    'cel-python==0.5.0',
    'xmltodict==1.0.4',
    'pytest==8.3.4',  # helpers that are shared with the tests import it
)
REMOTE = '/usr/lib/systemd/systemd-journal-remote'
# program -> package
PROGRAMS = {
    REMOTE: 'systemd-journal-remote',
    'oscap': 'openscap-scanner',
    'libvirtd': 'libvirt-daemon-system',
    'virsh': 'libvirt-clients',
    'qemu-system-x86_64': 'qemu-system-x86',
    'taskset': 'util-linux',
    'strace': 'strace',
}


def provide(programs: List[str]) -> None:
    """Make the environment, and install the programs that are missing."""
    packages = [PROGRAMS[program] for program in programs if shutil.which(program) is None]
    if packages:
        if os.geteuid() != 0:
            sys.exit('tests/bench/run: run it as root to install: ' + ' '.join(packages))
        say('installing ' + ' '.join(packages))
        apt = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
        subprocess.run(['apt-get', '-q', 'update'], check=True, env=apt, stdout=sys.stderr)
        subprocess.run(
            ['apt-get', '-qy', 'install', '--no-install-recommends', *packages], check=True, env=apt, stdout=sys.stderr
        )
    made = ENVIRONMENT / 'made'
    wanted = ' '.join((PYTHON, *REQUIREMENTS)) + '\n'
    if made.exists() and made.read_text() == wanted:
        return
    say('making ' + str(ENVIRONMENT))
    shutil.rmtree(str(ENVIRONMENT), ignore_errors=True)
    subprocess.run([PYTHON, '-m', 'venv', str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / 'bin' / 'python'), '-m', 'pip', '-q', '--disable-pip-version-check']
    subprocess.run(pip + ['install', *REQUIREMENTS], check=True, stdout=sys.stderr)
    made.write_text(wanted)


def enter() -> None:
    """Run this program again by the environment's Python, unless that is what runs it."""
    if pathlib.Path(sys.prefix) != ENVIRONMENT:
        python = str(ENVIRONMENT / 'bin' / 'python')
        os.execv(python, [python, '-B', *sys.argv])


def describe_machine() -> Dict[str, str]:
    """The kind of machine this is, by the names of the report."""
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'CPU': '%s, %d cores' % (models[0] if models else platform.machine(), len(os.sched_getaffinity(0))),
        'kernel': platform.release(),
        'Python': _output(PYTHON, '-c', 'import platform; print(platform.python_version())'),
        'libvirt': _output('libvirtd', '--version').rpartition(' ')[2] or 'none',
        'commit': _output('git', '-C', str(CHECKOUT), 'describe', '--always', '--dirty') or 'unknown',
        'peers': ', '.join(REQUIREMENTS) + ', ' + (_output('oscap', '--version').partition('\n')[0] or 'no oscap'),
    }


class OtherWork:
    """How busy the machine is with anything else, from now on: what a figure has to be read with."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._start = self._now()

    @staticmethod
    def _now() -> Tuple[float, float]:
        with open('/proc/stat') as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
        busy = (user + nice + system + sum(interrupts)) / os.sysconf('SC_CLK_TCK')
        return time.monotonic(), busy - sum(os.times()[:4])

    def describe(self) -> str:
        """What there was until now. Processes that this one and its children have not waited for count as others."""
        now = self._now()
        cores = (now[1] - self._start[1]) / (now[0] - self._start[0])
        return 'load %.2f before; other programs used about %.2f cores meanwhile' % (self._load, max(cores, 0))


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ''
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding='utf-8')
    return result.stdout.strip()


def say(text: str) -> None:
    """Tell on standard error what is going on; standard output is for the report."""
    print(text, file=sys.stderr, flush=True)
