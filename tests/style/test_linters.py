# SPDX-License-Identifier: Apache-2.0
"""Linters as ordinary tests: ruff, mypy, shellcheck, yamllint. A missing tool skips, except in CI."""

import os
import shutil
import subprocess

import pytest
from support.capabilities import missing
from support.paths import CHECKOUT

# Where tests/run installs them.
LINTERS = os.environ.get('VIRT_GUARD_LINTERS') or os.path.join(
    '/var/cache' if os.geteuid() == 0 else os.path.expanduser('~/.cache'), 'virt-guard-tests/lint/bin'
)
SHELL_SCRIPTS = (
    '.ci/run',
    'data/virt-guard',
    'hooks/qemu',
    'install.sh',
    'packaging/build',
    'packaging/debian/postinst',
    'packaging/debian/postrm',
    'packaging/debian/prerm',
    'tests/packages/life.sh',
    'tests/run',
)
SOURCED = ('data/completions/virt-guard',)

COMMANDS = {
    'ruff check': ['ruff', 'check', '--no-cache', 'lib', 'tests'],
    'ruff format': ['ruff', 'format', '--no-cache', '--check', '--diff', 'lib', 'tests'],
    'mypy': ['mypy', '--cache-dir=/dev/null'],
    'shellcheck': ['shellcheck', *SHELL_SCRIPTS, *SOURCED],
    'yamllint': [
        'yamllint',
        '--strict',
        '--config-data',
        '{extends: default, rules: {'
        'line-length: {max: 120, allow-non-breakable-words: true}, document-start: disable, '
        'comments: {min-spaces-from-content: 1}, brackets: {min-spaces-inside: 0, max-spaces-inside: 1}}}',
        'policy.yaml',
        'data/profiles',
        'data/virt-guard-alerts.yml',
        'tests/style/alerts.yml',
        'doc/examples',
    ],
}


def find_tool(name):
    """The linter that tests/run has installed, else the system's."""
    return shutil.which(name, path=LINTERS) or shutil.which(name)


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_lint(name):
    tool, *arguments = COMMANDS[name]
    path = find_tool(tool)
    if path is None:
        missing('%s is not installed' % tool)
    result = subprocess.run([path, *arguments], cwd=str(CHECKOUT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, '\n' + result.stdout.decode('utf-8', 'replace')


def test_shell_scripts_are_all_checked():
    found = set()
    for path in CHECKOUT.rglob('*'):
        relative = path.relative_to(CHECKOUT)
        if not path.is_file() or relative.parts[0] == '.git':
            continue
        with path.open('rb') as file:
            line = file.readline()
        if line.startswith(b'#!') and line.split(b'/')[-1].strip() in (b'sh', b'bash'):
            found.add(str(relative))
    assert found == set(SHELL_SCRIPTS)
