# SPDX-License-Identifier: Apache-2.0
"""TAB in bash, zsh and fish, as it is installed: what is typed on a terminal, and what the command is called with."""

import datetime
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from installation import CHECKOUT, ENVIRONMENT, Installed, as_nobody, need_an_ordinary_user
from support.capabilities import missing
from support.terminal import Terminal
from virtguard.commands.parser import build_parser

SHELLS = ('bash', 'zsh', 'fish')
# Names that a domain may have, and what they would do to who does not quote them.
NAMES = 'web07|a b|c:d|it\'s|q"uote|$(touch ran)|`touch ran`|~root|bang!1|back\\|s*r|ü'.split('|')
NEVER = ['-dash', 'new\nline', 'escape\033[2J', '\udcff']
WAIVERS = """\
waivers:
  - {rules: [virtiofs], domains: [gone-1], reason: a test, approved-by: tests, expires: %s}
"""
INIT_ZSH = 'fpath=(%s $fpath); autoload -U compinit; compinit -u -D; bindkey "^I" complete-word'
ARGUMENTS = '#!/bin/sh\n[ "$1" != __complete ] || exec %s "$@"\nprintf "%%s\\0" "$@" >%s\n'


class Host:
    """An installation with domains of odd names, and a directory to type in."""

    def __init__(self, installed: Installed, work: pathlib.Path) -> None:
        self.installed = installed
        root = installed.root
        self.domains = root / 'etc/libvirt/qemu'
        self.domains.mkdir(parents=True)
        for name in NAMES + NEVER:
            (self.domains / (name + '.xml')).write_text('')
        self.waivers = root / 'etc/virt-guard/policy.d/60-waivers.yaml'
        self.waivers.write_text(WAIVERS % (datetime.date.today() + datetime.timedelta(30)))
        assert self.installed.run_cli('policy', 'compile').returncode == 0
        self.work = work / 'here'
        (self.work / 'sub dir').mkdir(parents=True)
        (self.work / 'sub dir/file 1.xml').write_text('')
        (self.work / 'site $x.yaml').write_text('')
        self.called = work / 'called'
        program = work / 'bin/virt-guard'
        program.parent.mkdir()
        program.write_text(ARGUMENTS % (self.installed.cli, self.called))
        program.chmod(0o755)
        share = root / 'usr/share'
        self.environment = dict(
            ENVIRONMENT,
            PATH='%s:/usr/bin:/bin' % program.parent,
            HOME=str(work),
            LC_ALL='C.UTF-8',
            TERM='xterm',
            XDG_DATA_DIRS='%s:/usr/share' % share,
            LINES='50',
            COLUMNS='200',
        )
        functions = share / 'zsh/site-functions'
        self.beginnings = {
            'bash': (['bash', '--norc', '--noprofile', '-i'], '. /usr/share/bash-completion/bash_completion'),
            'zsh': (
                ['zsh', '-f', '-i'],
                'fpath=(%s $fpath); autoload -U compinit; compinit -u -D; bindkey "^I" complete-word' % functions,
            ),
            'fish': (['fish', '--private', '-i'], ''),
        }


class Typist:
    """Somebody who types in a shell."""

    def __init__(self, host: Host, shell: str) -> None:
        command, beginning = host.beginnings[shell]
        self._host = host
        self._count = 0
        self._terminal = Terminal(command, env=host.environment, cwd=str(host.work))
        self._terminal.type(beginning + '\n')
        self._wait()
        self.close = self._terminal.close

    def _wait(self) -> str:
        """Until all that was typed has been taken."""
        self._count += 1
        self._terminal.type("printf '<%%s>' %d\n" % self._count)
        return self._terminal.wait_for('<%d>' % self._count)

    def type(self, line: str) -> 'list[str] | None':
        """Type a line, and return with what the command is called; None if it is not."""
        if self._host.called.exists():
            self._host.called.unlink()
        self._terminal.type(line + '\n')
        self._wait()
        if not self._host.called.exists():
            return None
        return self._host.called.read_bytes().decode('utf-8').split('\0')[:-1]

    def look(self, line: str) -> str:
        """Type a line, and take it back. Returns what was shown."""
        self._terminal.type(line + '\x15')
        return self._wait()


@pytest.fixture(scope='module')
def host(installed, tmp_path_factory):
    host = Host(installed, tmp_path_factory.mktemp('work'))
    yield host
    shutil.rmtree(str(host.domains))
    host.waivers.unlink()
    assert installed.run_cli('policy', 'compile').returncode == 0


@pytest.fixture(scope='module', params=SHELLS)
def shell(request, host):
    if shutil.which(request.param, path='/usr/bin:/bin') is None:
        missing('there is no %s' % request.param)
    if not os.path.exists('/usr/share/bash-completion/bash_completion'):
        missing('there is no bash-completion')
    typist = Typist(host, request.param)
    yield typist
    typist.close()


def test_names_come_as_they_are_however_they_are_quoted(shell):
    typed = {
        'we': 'web07',
        'a': 'a b',
        "'a": 'a b',
        '"a': 'a b',
        'c': 'c:d',
        'c:': 'c:d',
        'it': "it's",
        "'it": "it's",
        '"it': "it's",
        'q': 'q"uote',
        '"q': 'q"uote',
        '\\$': '$(touch ran)',
        "'$": '$(touch ran)',
        '"\\$': '$(touch ran)',
        '\\`': '`touch ran`',
        '\\~': '~root',
        'ban': 'bang!1',
        "'ban": 'bang!1',
        'bac': 'back\\',
    }
    for beginning, name in typed.items():
        assert shell.type('virt-guard scan %s\t' % beginning) == ['scan', name]


@pytest.mark.parametrize(
    'line, called',
    [
        ('exp\tvirtiof\ttpm\t', ['explain', 'virtiofs', 'tpm-passthrough']),
        ('exp\t--dom\tweb\tvirtiof\t', ['explain', '--domain', 'web07', 'virtiofs']),
        ('check --pol\trhel-1\tweb\t', ['check', '--policy', 'rhel-10', 'web07']),
        ('check --format=sar\tweb\t', ['check', '--format=sarif', 'web07']),
        ('check sub\tfi\t', ['check', 'sub dir/file 1.xml']),
        ('policy show si\t', ['policy', 'show', 'site $x.yaml']),
        ('policy set mo\taud\t', ['policy', 'set', 'mode', 'audit']),
        ('poli\ted\t60\t', ['policy', 'edit', '60-waivers.yaml']),
        ('waiver rem\tg\t\t', ['waiver', 'remove', 'gone-1', 'virtiofs']),
        ('help poli\tdi\t', ['help', 'policy', 'diff']),
        ('scan -- -\t', ['scan', '--', '-dash']),
    ],
    ids=str,
)
def test_what_is_offered(shell, line, called):
    assert shell.type('virt-guard ' + line) == called


def test_nothing_is_run_and_nothing_is_said(shell, host):
    # zsh itself would run it, where TAB is bound to expand-or-complete.
    for word in ('$(touch ran)/', '"$(touch ran)/', "'$(touch ran)/", '`touch ran`/', '\\$(touch ran'):
        assert 'virt-guard: ' not in shell.look('virt-guard check %s\t' % word)
        assert not (host.work / 'ran').exists(), word
    (host.installed.root / 'etc/virt-guard/policy.d/70-broken.yaml').write_text('mode: none\n')
    try:
        shown = shell.look('virt-guard explain virtio\t\t')
    finally:
        (host.installed.root / 'etc/virt-guard/policy.d/70-broken.yaml').unlink()
    assert 'virtiofs' not in shown and 'broken' not in shown and 'virt-guard: ' not in shown


@pytest.mark.parametrize('command', ['check', 'waiver add'])
def test_every_option_is_offered(shell, command):
    """Each is typed as far as no other begins so."""
    parser = build_parser()
    for word in command.split():
        parser = parser.commands[word]
    line, called = command, command.split()
    all_names = ['--help', *parser.options()]
    for group in parser._mutually_exclusive_groups:
        for action in group._group_actions[1:]:  # which are not offered any more
            all_names.remove(action.option_strings[-1])
    for name in all_names[1:]:
        begin = next(name[:n] for n in range(3, len(name) + 1) if sum(o.startswith(name[:n]) for o in all_names) == 1)
        line += ' %s\t' % begin
        called.append(name)
        if parser.option(name).nargs is None:
            line += 'v'
            called.append('v')
    assert shell.type('virt-guard ' + line) == called


def test_who_may_not_list_the_domains_is_offered_none(host):
    need_an_ordinary_user()
    program = (
        'import sys; sys.path.insert(0, sys.argv[1]); from virtguard.commands.main import main;'
        'from virtguard.policy.installation import installed_below;'
        'sys.exit(main(sys.argv[3:], installed_below(sys.argv[2])))'
    )
    words = [str(CHECKOUT / 'lib'), str(host.installed.root), '__complete', 'fish', 'explain', '--domain', '']
    command = [sys.executable, '-B', '-c', program, *words]
    streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    assert b'web07' in subprocess.run(command, **streams).stdout
    host.domains.chmod(0o700)
    result = subprocess.run(command, preexec_fn=as_nobody, **streams)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'nothing\n', b'')
