# SPDX-License-Identifier: Apache-2.0
"""What the installed hook is made of: its interpreter, its libraries, its environment."""

import os
import shutil
import subprocess

import pytest
from hooked import refused, start_hook
from installation import call, hook_copy
from support.capabilities import missing

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own'),
    pytest.mark.usefixtures('private_run'),
]


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
@pytest.mark.parametrize(
    'variables', [{'python': '/nonexistent/python3'}, {'python': '/bin/false'}, {'lib': '/nonexistent'}], ids=str
)
def test_guard_that_cannot_run(installed, clean, tmp_path, variables, failure, status):
    with installed.with_policy(failure=failure):
        result = call(hook_copy(installed, tmp_path, **variables), ['v\x1bm', 'prepare', 'begin', '-'], clean)
    assert result.returncode == status
    assert result.stdout == b''
    text = result.stderr.decode('ascii')
    assert 'Traceback' not in text and '\x1b' not in text
    assert ("virt-guard: domain 'v?m' could not be judged: " in text) == (status == 2)


def test_policy_of_somebody_else_does_not_admit_for_a_guard_that_cannot_run(installed, clean, tmp_path):
    with installed.with_policy(failure='admit'):
        installed.policy.chmod(0o666)
        result = call(hook_copy(installed, tmp_path, python='/bin/false'), ['vm', 'prepare', 'begin', '-'], clean)
    assert result.returncode == 2


@pytest.mark.parametrize('journald_answers', [True, False])
def test_a_guard_that_cannot_run_is_recorded_once(installed, clean, tmp_path, journald_answers):
    """By syslog only where journald did not take it, and then with what its fields would have said."""
    stub = tmp_path / 'logger'
    said = tmp_path / 'said'
    stub.write_text(
        '#!/bin/sh\nprintf "%%s|" "$@" >>%s; echo >>%s\n[ "$1" != --journald ] || exit %d\n'
        % (said, said, not journald_answers)
    )
    stub.chmod(0o755)
    hook = hook_copy(installed, tmp_path, python='/bin/false', PATH='%s:/usr/bin:/bin' % tmp_path)
    assert call(hook, ['vm', 'start', 'begin', '-'], clean).returncode == 2
    calls = said.read_text().splitlines()
    assert calls[0] == '--journald|'
    assert len(calls) == 2 - journald_answers
    if not journald_answers:
        fields = ' VIRT_GUARD_DECISION=error VIRT_GUARD_DOMAIN=vm VIRT_GUARD_OPERATION=start|'
        assert calls[1].startswith("-t|virt-guard|-p|daemon.err|--|domain 'vm' could not be judged and is refused: ")
        assert calls[1].endswith(fields)


def test_a_logger_that_hangs_does_not_hold_up_a_start(installed, clean, tmp_path, journal):
    """timeout may not make a process group of its own where SELinux confines the daemon: then its signal is for all of
    that in which libvirt has put the hook, the daemon's own."""
    if not shutil.which('strace'):
        missing('needs strace')
    journal.fill()
    hook = hook_copy(installed, tmp_path, python='/bin/false')
    program = (
        'sleep 60 & '
        'strace -f -q -o "$1" -e trace=setpgid,kill -e inject=setpgid:error=EACCES "$0" vm prepare begin - 2>&1; '
        'echo "status $?"; kill $! && echo alive'
    )
    result = subprocess.run(
        ['sh', '-c', program, str(hook), str(tmp_path / 'calls')],
        input=clean,
        stdout=subprocess.PIPE,
        start_new_session=True,
        timeout=60,
    )
    assert result.stdout.splitlines()[-2:] == [b'status 2', b'alive'], result.stdout
    assert b'kill(0' not in (tmp_path / 'calls').read_bytes()


@pytest.mark.parametrize('failure, status', [('deny', 2), ('admit', 0)])
def test_missing_lxml(installed, denied, tmp_path, journal, failure, status, python_without_lxml):
    hook = hook_copy(installed, tmp_path, python=python_without_lxml)
    with installed.with_policy(failure=failure):
        result = call(hook, ['vm', 'start', 'begin', '-'], denied)
    (record,) = journal.records()
    if installed.compiles:  # then it judges without a library
        assert result.returncode == 1 and b'denied by policy' in result.stderr
        return
    assert result.returncode == status
    assert "a library is missing or broken: No module named 'lxml'" in record['MESSAGE'][0]
    if status:
        assert "next: install the distribution's lxml and PyYAML" in refused(result)


def test_environment_chooses_neither_code_nor_policy(installed, denied, tmp_path):
    planted = tmp_path / 'planted'
    (planted / 'virtguard/hook').mkdir(parents=True)
    for module in (
        'sitecustomize.py',
        'usercustomize.py',
        'marshal.py',
        'lxml.py',
        'virtguard/__init__.py',
        'virtguard/hook/__init__.py',
        'virtguard/hook/call.py',
    ):
        (planted / module).write_text('import os\nos._exit(100)\n')
    for program in ('python3', 'ls', 'grep', 'tr', 'timeout', 'logger', 'readlink'):
        (planted / program).write_text('#!/bin/sh\nexit 100\n')
        (planted / program).chmod(0o755)
    environment = {
        'PATH': str(planted),
        'PYTHONPATH': str(planted),
        'PYTHONHOME': str(planted),
        'PYTHONSTARTUP': str(planted / 'lxml.py'),
        'PYTHONUSERBASE': str(planted),
        'HOME': str(planted),
        'VIRT_GUARD_POLICY': '/dev/null',
        'ENV': str(planted / 'ls'),
        'LC_ALL': 'C',
        'IFS': 'e',
        'CDPATH': str(planted),
        'python': '/bin/true',
        'status': '100',
    }
    result = subprocess.run(
        [str(installed.hook), 'vm', 'prepare', 'begin', '-'],
        input=denied,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=str(planted),
        timeout=30,
    )
    assert (result.returncode, result.stdout) == (1, b'')
    assert b"denied by policy 'rhel-8': tcg, tpm-passthrough" in result.stderr


def test_closed_descriptors(installed, denied, clean):
    def close_all():
        for descriptor in (0, 1, 2):
            os.close(descriptor)

    for operation, status in (('prepare', 2), ('stopped', 0)):
        process = subprocess.Popen([str(installed.hook), 'vm', operation, 'begin', '-'], preexec_fn=close_all)
        assert process.wait(timeout=30) == status


def test_the_hook_ends_with_its_reader(installed, denied):
    """libvirt waits for the end of both pipes: nothing may hold them open after the hook has answered."""
    process = start_hook(installed, 'vm', 'prepare')
    out, err = process.communicate(denied, timeout=30)
    assert (process.returncode, out) == (1, b'')
    assert err.startswith(b'virt-guard: ')
