# SPDX-License-Identifier: Apache-2.0
"""Where lxml and PyYAML come from: the distribution first, and nothing that others could have written."""

import subprocess
import sys

import pytest
from support.paths import LIB

PROGRAM = """
import sys
sys.path.insert(0, {lib!r})
from virtguard import libraries
import site
libraries._LOCAL = {local!r}
site.venv = lambda known: known
site.getsitepackages = lambda prefixes=None: {directories!r}
libraries.enable_packages()
{then}
"""


@pytest.fixture
def directories(tmp_path):
    """/usr/local's, then the distribution's, as Debian orders them; each has a package `lxml` that says where it is."""
    tmp_path.chmod(0o755)
    found = []
    for name in ('local/lib/dist-packages', 'lib/dist-packages'):
        directory = tmp_path / name
        (directory / 'lxml').mkdir(parents=True)
        (directory / 'lxml' / '__init__.py').write_text('place = %r\n' % name)
        (directory / 'lxml' / 'etree.py').write_text('')
        found.append(directory)
    return found


def run(directories, then):
    program = PROGRAM.format(
        lib=str(LIB),
        local=str(directories[0].parents[1]),
        directories=[str(directory) for directory in directories],
        then=then,
    )
    return subprocess.check_output([sys.executable, '-I', '-S', '-B', '-c', program]).decode().strip()


def test_the_distribution_comes_first(directories):
    assert run(directories, 'import lxml; print(lxml.place)') == 'lib/dist-packages'


def test_what_only_usr_local_has_is_used(directories):
    (directories[1] / 'lxml').rename(directories[1] / 'other')
    assert run(directories, 'import lxml; print(lxml.place)') == 'local/lib/dist-packages'


@pytest.mark.parametrize('mode', [0o775, 0o2775, 0o777])
@pytest.mark.parametrize('level', [0, 1, 2])
def test_a_directory_that_others_can_write_is_not_used(directories, mode, level):
    (directories[1] / 'lxml').rename(directories[1] / 'other')
    ran = directories[0].parent / 'ran'
    (directories[0] / 'evil.pth').write_text('import sys; open(%r, "w").close()\n' % str(ran))
    writable = [directories[0], *directories[0].parents][level]
    writable.chmod(mode)
    said = run(directories, 'print([p for p in sys.path if "local" in p], libraries.describe_copies("lxml"))')
    assert said.startswith('[] ; the copy of lxml in %s is not used: %s can be written by' % (directories[0], writable))
    assert not ran.exists()


def test_a_copy_that_fails_is_named(directories):
    (directories[1] / 'lxml').rename(directories[1] / 'other')
    (directories[0] / 'lxml' / 'etree.py').write_text('raise RuntimeError("built for another Python")\n')
    said = run(
        directories,
        """
from virtguard.hook import worker
from virtguard.errors import GuardError
try:
    worker._Worker(0, worker.Task('', None, lambda load: load(), None, 5.0))._load_judge()
except GuardError as error:
    print(error)
""",
    )
    assert 'a library is missing or broken: RuntimeError: built for another Python' in said
    assert 'of lxml there is only the copy in %s, and none of the distribution' % directories[0] in said


def test_nothing_is_said_of_the_distributions_own(directories):
    assert run(directories, 'print(repr(libraries.describe_copies("lxml", "yaml")))') == "''"


def test_neither_sitecustomize_nor_usercustomize_runs(directories, tmp_path):
    for name in ('sitecustomize', 'usercustomize'):
        (directories[1] / (name + '.py')).write_text('open(%r, "w").close()\n' % str(tmp_path / 'ran'))
    run(directories, '')
    assert not (tmp_path / 'ran').exists()
