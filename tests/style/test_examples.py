# SPDX-License-Identifier: Apache-2.0
"""doc/examples: each command that a README there shows prints what stands below it.

A block marked `console` has commands behind `$`, and what they print. They are typed in the directory of the README;
those of the CI job in the one above it.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from support.paths import CHECKOUT

EXAMPLES = CHECKOUT / 'doc' / 'examples'
READMES = sorted(EXAMPLES.glob('*/README.md'))
BLOCK = re.compile(r'^```console\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# Where a profile is depends on how the guard is installed, and its lines move when rules are added.
IN_PROFILE = re.compile(r'/\S*/(rhel-\d+)\.yaml:\d+')

by_directory = pytest.mark.parametrize('readme', READMES, ids=lambda readme: readme.parent.name)


def commands(readme):
    """(command, what it prints) of each that is shown."""
    for block in BLOCK.findall(readme.read_text(encoding='ascii')):
        for command in filter(None, re.split(r'^\$ ', block, flags=re.MULTILINE)):
            line, _, printed = command.partition('\n')
            yield line, printed


@pytest.fixture
def shell(tmp_path):
    """A function that types a command line in a directory of a copy of doc/examples; `virt-guard` is the checkout's."""
    shutil.copytree(str(EXAMPLES), str(tmp_path / 'examples'))
    script = tmp_path / 'virt-guard'
    program = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); from virtguard.commands.main import main; sys.exit(main())'
    )
    script.write_text('#!/bin/sh\nexec "%s" -B -c "%s" "%s" "$@"\n' % (sys.executable, program, CHECKOUT / 'lib'))
    script.chmod(0o755)

    def run(line, directory):
        return subprocess.run(
            ['sh', '-c', line],
            cwd=str(tmp_path / 'examples' / directory),
            env={'PATH': '%s:/usr/bin:/bin' % tmp_path, 'LC_ALL': 'C'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return run


def directory_of(readme):
    return '.' if readme.parent.name == 'ci' else readme.parent.name


@by_directory
def test_each_command_prints_what_is_shown(readme, shell):
    shown = list(commands(readme))
    assert len(shown) >= 2
    for line, expected in shown:
        printed = shell(line, directory_of(readme)).stdout.decode('ascii')
        assert IN_PROFILE.sub(r'\1.yaml', printed) == IN_PROFILE.sub(r'\1.yaml', expected), line


def test_each_directory_has_a_readme_and_is_in_the_table():
    directories = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert directories == {readme.parent.name for readme in READMES}
    table = (EXAMPLES / 'README.md').read_text(encoding='ascii')
    assert set(re.findall(r'^\| \[(\S+)\]\(\1\) \|', table, re.MULTILINE)) == directories


def test_the_jobs_run_what_their_readme_shows(shell):
    jobs = [
        yaml.safe_load((EXAMPLES / 'ci' / name).read_text(encoding='ascii')) for name in ('domains.yml', 'gitlab.yml')
    ]
    install, *github = [step['run'] for step in jobs[0]['jobs']['check']['steps'] if 'run' in step]
    gitlab = jobs[1]['domains']['script']
    # tests/installed/test_pip.py does so.
    for step in (install.splitlines(), jobs[1]['domains']['before_script']):
        assert step[:2] == ['python3 -m venv ~/venv', '~/venv/bin/pip install ./virt-guard']
    shown = [line.partition(';')[0] for line, _ in commands(EXAMPLES / 'ci' / 'README.md')]
    assert (github, gitlab) == (shown[:2], [shown[0], *shown[2:]])
    # The rules are as their fixtures expect; the domains are those of the examples, of which two are denied.
    assert [shell(step, '.').returncode for step in (*github, *gitlab)] == [0, 1, 0, 1]


def test_all_files_are_used():
    """What no command names is no example of anything: each file is named, or is below a directory that is."""
    named = set()
    for readme in READMES:
        for line, _ in commands(readme):
            for word in line.split():
                path = os.path.normpath(str(EXAMPLES / directory_of(readme) / word))
                named.add(path)
                if path.endswith('policy.yaml'):
                    named.add(path[: -len('.yaml')] + '.d')  # its drop-ins
    for path in EXAMPLES.rglob('*.*ml'):
        if path.name not in ('domains.yml', 'gitlab.yml') and path.is_file():
            assert named & {str(path), *map(str, path.parents)} - {str(EXAMPLES)}, path
