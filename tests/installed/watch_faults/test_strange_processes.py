# SPDX-License-Identifier: Apache-2.0
"""The installed watch and QEMU processes: those of nobody, young ones, and what --once tells of them."""

import os
import shutil
import subprocess

import pytest
from support.capabilities import need_user_namespaces
from watching import QEMU_NAME

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a /run of its own')


@pytest.fixture
def emulator(tmp_path):
    """A program of QEMU's name that waits; returns its process."""
    program = tmp_path / 'qemu-kvm'
    shutil.copy('/bin/sh', str(program))
    started = []

    def start(*arguments):
        process = subprocess.Popen([str(program), '-c', 'read line', *arguments], stdin=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


NAMED = ('-name', 'guest=%s,debug-threads=on' % QEMU_NAME)


def test_a_qemu_that_libvirt_does_not_own(watch, emulator):
    stranger = emulator(*NAMED)
    owned, known = emulator(*NAMED), emulator(*NAMED)
    (watch.run / 'starting.pid').write_text('%d\n' % owned.pid)
    watch.put(pid=known.pid)
    watch.start()
    record = watch.receive()
    assert record['VIRT_GUARD_RULE'] == 'test-process' and 'VIRT_GUARD_DOMAIN' not in record
    assert record['MESSAGE'].startswith('this host: deny: QEMU without libvirt [test-process]: <process pid="')
    assert 'pid="%d"' % stranger.pid in record['VIRT_GUARD_AFTER']
    assert watch.told() == []
    assert watch.stop() == (0, '')
    watch.start()
    assert watch.told() == []  # again


def test_once_waits_for_a_young_qemu(installation, watch, emulator):
    stranger = emulator(*NAMED)
    result = installation.run_cli('watch', '--once', '--format', 'jsonl')
    assert result.returncode == 1
    assert b'pid=\\"%d\\"' % stranger.pid in result.stdout and b'"source": "/proc"' in result.stdout


def test_once_tells_what_it_cannot_judge(installation, watch):
    watch.put()
    watch.write(watch.run / 'bad.xml', b'<domstatus>')
    result = installation.run_cli('watch', '--once')
    assert result.returncode == 2
    assert result.stderr.decode().startswith('%s: error: the XML is not well-formed' % (watch.run / 'bad.xml'))
    assert result.stdout.decode().splitlines()[-1] == '2 domains: 1 admitted, 1 not judged'


def test_once_without_the_rights_to_look(installation, watch):
    need_user_namespaces()
    watch.put()
    for directory, judged in ((watch.lib / 'snapshot', 1), (watch.run, 0)):
        directory.chmod(0o700)
        os.chown(str(directory), 65534, 65534)
        command = ['unshare', '--user', '--map-root-user', str(installation.cli), 'watch', '--once']
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.returncode == 2
        assert '%s cannot be listed: Permission denied (run it as root)' % directory in result.stderr.decode()
        assert result.stdout.count(b": admit 'vm'") == judged
