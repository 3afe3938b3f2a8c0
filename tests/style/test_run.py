# SPDX-License-Identifier: Apache-2.0
"""tests/run, in a small checkout and with stand-ins for the programs that would change this host."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from support.capabilities import missing
from support.paths import TESTS

STAND_INS = {
    'apt-get': 'echo apt-get "$@"\nexit $APT_STATUS',
    'apt-cache': 'echo virtiofsd - a daemon',
    'dpkg-query': 'case $4 in python3) echo install ok installed ;; *) exit 1 ;; esac',
    'id': 'echo $ID',
}

pytestmark = pytest.mark.skipif(
    subprocess.call(['/usr/bin/python3', '-c', 'import pytest'], stderr=subprocess.DEVNULL) != 0,
    reason='it uses the system Python, which has no pytest here',
)


class Checkout:
    def __init__(self, directory):
        self.root = directory / 'a checkout'
        self.programs = directory / 'bin'
        self.environment = {'HOME': str(directory), 'APT_STATUS': '0', 'ID': str(os.geteuid())}
        self.environment['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'  # half the time
        self.environment['PATH'] = '%s:/usr/bin:/bin' % self.programs
        self.programs.mkdir()
        for name, script in STAND_INS.items():
            (self.programs / name).write_text('#!/bin/sh\n%s\n' % script)
            (self.programs / name).chmod(0o755)
        (self.root / 'tests/live').mkdir(parents=True)
        shutil.copytree(str(TESTS / 'support'), str(self.root / 'tests/support'))
        for name in ('run', 'chrooted.py', 'conftest.py'):
            shutil.copy(str(TESTS / name), str(self.root / 'tests'))
        shutil.copy(str(TESTS.parent / 'setup.cfg'), str(self.root))
        shutil.copytree(str(TESTS.parent / 'lib'), str(self.root / 'lib'), ignore=shutil.ignore_patterns('__pycache__'))
        self.write('tests/test_nothing.py', 'def test_nothing():\n    pass\n')

    def write(self, name, text):
        (self.root / name).write_text(text)

    def run(self, *arguments, **environment):
        """Return the exit status, and the lines of what was printed, in their order."""
        result = subprocess.run(
            [str(self.root / 'tests/run'), *arguments],
            cwd='/',
            env=dict(self.environment, **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return result.returncode, result.stdout.decode().splitlines()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def installed_by(lines):
    (line,) = [line for line in lines if line.startswith('apt-get -q -y install')]
    return [word for word in line.split()[4:] if not word.startswith('-')]


def test_the_runner_says_what_it_installs_before_it_does(checkout):
    status, lines = checkout.run('tests', ID='0')
    assert status == 0
    says, tells, update = [
        number
        for number, line in enumerate(lines)
        if line.startswith(('tests/run: missing: ', 'tests/run: apt-get installs them now', 'apt-get -q update'))
    ]
    assert says < tells < update
    assert 'tests/run --no-install' in lines[tells]
    said = lines[says].split()[2:]
    packages = installed_by(lines)
    assert set(packages) <= set(said) <= {*packages, 'virtiofsd'}
    assert 'python3' not in said and {'libvirt-daemon-system', 'systemd-container'} <= set(said)
    assert 'mmdebstrap' not in said


@pytest.mark.parametrize('options, environment', [(['--hosts'], {}), ([], {'CI': 'true'})], ids=['asked', 'ci'])
def test_whole_hosts_need_more(checkout, options, environment):
    status, lines = checkout.run(*options, 'tests', ID='0', **environment)
    assert status == 0 and 'mmdebstrap' in installed_by(lines)


@pytest.mark.parametrize('options, uid', [(['--no-install'], '0'), ([], '1000')], ids=['asked not to', 'not root'])
def test_the_runner_goes_on_without_missing_packages(checkout, options, uid):
    status, lines = checkout.run(*options, 'tests', ID=uid)
    assert status == 0
    assert lines[0].startswith('tests/run: missing: ')
    assert not [line for line in lines if line.startswith('apt-get ')]
    assert lines[-1].startswith('=====') and ' 1 passed' in lines[-1]


@pytest.mark.parametrize('environment, status', [({}, 0), ({'CI': 'true'}, 1)], ids=['person', 'ci'])
def test_packages_that_cannot_be_installed(checkout, environment, status):
    found, lines = checkout.run('tests', ID='0', APT_STATUS='100', **environment)
    assert found == status
    assert 'tests/run: the packages were not installed' in lines
    assert any(' 1 passed' in line for line in lines) == (status == 0)


def test_the_status_of_the_runner_is_that_of_pytest(checkout):
    assert checkout.run('--no-install', 'tests', '-k', 'no_such')[0] == 5
    checkout.write('tests/test_nothing.py', 'def test_nothing():\n    assert False\n')
    assert checkout.run('--no-install', 'tests')[0] == 1


LEAVING = 'def test_leaving():\n    open("tests/left over", "w").close()\n'


def test_ci_fails_when_something_is_left_in_the_checkout(checkout):
    checkout.write('tests/test_nothing.py', LEAVING)
    status, lines = checkout.run('--no-install', 'tests', CI='true')
    assert status == 1
    assert lines[-2:] == ['tests/run: the tests left files behind in the checkout:', './tests/left over']
    assert checkout.run('--no-install', 'tests', CI='true')[0] == 0  # it was there before


def test_root_leaves_nothing_in_the_checkout_of_a_user(checkout):
    if os.geteuid() != 0:
        missing('needs root')
    for path in [checkout.root, *checkout.root.rglob('*')]:
        os.chown(str(path), 65534, 65534)
    assert checkout.run('--no-install', 'tests')[0] == 0
    assert not [path for path in checkout.root.rglob('*') if path.stat().st_uid == 0]
    checkout.write('tests/test_nothing.py', LEAVING)
    os.chown(str(checkout.root / 'tests/test_nothing.py'), 65534, 65534)
    status, lines = checkout.run('--no-install', 'tests')
    assert (status, lines[-1]) == (1, './tests/left over')


SKIPPING = 'import pytest\n\n\ndef test_this():\n    pytest.skip("no %s here")\n'


@pytest.mark.parametrize('environment, status', [({}, 0), ({'CI': 'true'}, 1)], ids=['person', 'ci'])
def test_a_suite_that_skips_everything_says_so_in_the_last_line(checkout, environment, status):
    checkout.write('tests/live/test_this.py', SKIPPING % 'kvm')
    found, lines = checkout.run('--no-install', 'tests', **environment)
    assert (found, lines[-1]) == (status, 'live suite: skipped, because: no kvm here')
    assert ' 1 passed, 1 skipped' in lines[-2]
    # By pytest alone, too.
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', 'tests'],
        cwd=str(checkout.root),
        env=dict(checkout.environment, PYTHONDONTWRITEBYTECODE='1', **environment),
        stdout=subprocess.PIPE,
    )
    assert result.returncode == status
    assert result.stdout.decode().splitlines()[-1] == lines[-1]


def test_a_suite_of_which_something_runs_says_nothing(checkout):
    checkout.write('tests/live/test_this.py', SKIPPING % 'kvm' + '\n\ndef test_that():\n    pass\n')
    status, lines = checkout.run('--no-install', 'tests', CI='true')
    assert status == 0 and ' 2 passed, 1 skipped' in lines[-1]


PASSING = 'def test_%s():\n    pass\n'
FAILING = 'def test_%s():\n    assert False\n'


OTHERS = 'one 9.9 - - - most\nother 9.8 - - - hook\n'


def do_without_environments(checkout, platforms=OTHERS):
    script = checkout.root / 'tests/run'
    text = re.sub(r'(?m)^    make_environment lint .*', '    :', script.read_text())
    text = re.sub(r'(?m)^platforms="[^"]*"', 'platforms="\n%s"' % platforms, text)
    script.write_text(text)


@pytest.mark.parametrize('failing', [None, 'host', 'installer', 'systemd', 'packages'])
def test_all_jobs_are_waited_for_and_told_whole(checkout, failing):
    do_without_environments(checkout)
    directories = {'host': 'tests/host', 'installer': 'tests/installed/installer'}
    directories.update((name, 'tests/' + name) for name in ('systemd', 'packages'))
    for name, directory in directories.items():
        (checkout.root / directory).mkdir(parents=True)
        text = (FAILING if failing == name else PASSING) % name
        checkout.write('%s/test_%s.py' % (directory, name), text)
    status, lines = checkout.run('--no-install', ID='1000', VIRT_GUARD_HOSTS='bookworm')
    assert status == (1 if failing else 0)
    headings = [number for number, line in enumerate(lines) if line.startswith('== ')]
    assert [lines[number] for number in headings[2:]] == [
        "== Debian's own: everything else",
        '== whole hosts: bookworm',
        '== other platforms',
        '== under a booted systemd, and packages',
        '== the installer and other platforms',
        *(['== once more, and alone: what failed'] if failing else []),
    ]
    told = ['\n'.join(lines[a:b]) for a, b in zip(headings[2:], headings[3:] + [len(lines)])]
    own, hosts, here, waiting, beside, *again = told
    assert re.findall(r'\d (?:passed|failed)', ''.join(again)) == (['1 failed'] if failing else [])
    assert ' 1 passed' in own and not re.search('test_(host|installer|systemd|packages)', own)
    assert sorted(line for line in (here + '\n' + beside).splitlines() if 'skipped' in line) == [
        'one: skipped: there is no Python 9.9 here',
        'other: skipped: there is no Python 9.8 here',
    ]
    assert "Debian's own: the installer" in beside
    for names, told in ((['installer'], beside), (['host'], hosts), (['systemd', 'packages'], waiting)):
        assert re.findall(r'\d (?:passed|failed)', told) == [
            '1 failed' if failing == name else '1 passed' for name in names
        ]


FLAKY = """
import os, pathlib, pytest

@pytest.mark.parametrize('name', ['a b', "c'd", 'e[f]'])
def test_of_luck(name):
    path = pathlib.Path(os.environ['HOME'], name)
    if not path.exists():
        path.touch()
        pytest.fail('no luck')

@pytest.mark.parametrize('number', range(int(os.environ['FAILING'])))
def test_that_fails(number):
    pytest.fail('always')
"""


@pytest.mark.parametrize(
    'failing, environment', [(0, {}), (0, {'CI': 'true'}), (1, {}), (20, {})], ids=['none', 'ci', 'one', 'many']
)
def test_what_failed_beside_others_is_tried_again_alone(checkout, failing, environment):
    do_without_environments(checkout, platforms='')
    checkout.write('tests/test_flaky.py', FLAKY)
    checkout.write('tests/live/test_that.py', SKIPPING % 'kvm')
    (checkout.root / 'tests/installed/installer').mkdir(parents=True)
    checkout.write('tests/installed/installer/test_installer.py', PASSING % 'installer')
    status, lines = checkout.run('--no-install', ID='1000', FAILING=str(failing), **environment)
    # In CI a suite that was skipped is a failure, whatever else has failed.
    assert status == (1 if failing or environment else 0)
    assert ('== once more, and alone: what failed' in lines) == (failing < 20)
    assert ('== more than 10 tests failed; none of them is run again' in lines) == (failing >= 20)
    unstable = [line for line in lines if line.startswith('unstable: failed beside others, and passed alone: ')]
    names = [] if failing else ['[a b]', "[c'd]", '[e[f]]']
    assert [line.rpartition('test_of_luck')[2] for line in unstable] == names
    assert lines[len(lines) - len(unstable) :] == unstable
