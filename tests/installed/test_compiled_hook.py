# SPDX-License-Identifier: Apache-2.0
"""The real hook with a compiled policy, with a damaged one, and without: one answer, and a warning in the record."""

import pathlib
import re
import shutil
import subprocess

import pytest
from installation import CHECKOUT, policy_text
from support.capabilities import missing, need_mount_namespaces

CASES = [
    path for path in sorted((CHECKOUT / 'tests' / 'cases').glob('*/*.xml')) if b'<transition>' not in path.read_bytes()
]
FACTS_OF_OTHERS = ('host-architecture', 'container-host')


@pytest.fixture
def compiled(installed):
    """The path of the compiled form of a policy that derives from the shipped one."""
    with installed.with_policy(policy_text(mode='enforce')):
        path = installed.policy.with_suffix('.compiled')
        result = installed.run_cli('policy', 'compile')
        assert result.returncode == 0, result.stderr
        yield path
    assert installed.run_cli('policy', 'compile').returncode == 0


def answers(installed, documents):
    found = []
    for document in documents:
        result = installed.run_hook('vm', 'prepare', document.read_bytes())
        found.append((str(document), result.returncode, result.stdout, result.stderr))
    return found


def test_the_answer_is_the_same_with_and_without_a_compiled_policy(installed, compiled):
    documents = [path for path in CASES if path.parent.name not in FACTS_OF_OTHERS][::24]
    with_it = answers(installed, documents)
    compiled.write_bytes(b'damaged')
    assert answers(installed, documents) == with_it
    compiled.unlink()
    assert answers(installed, documents) == with_it
    assert {answer[1] for answer in with_it} == {0, 1}


@pytest.mark.parametrize(
    'id, rule, status',
    [
        ('win7', 'guest-os-windows', 1),
        ('HTTPS://microsoft.com/win/7/', 'guest-os-windows', 1),
        ('https://www.apple.com/macosx/10.7', 'guest-os-macos', 1),
        ('https://redhat.com/rhel/8.10/', '', 0),
        ('http://redhat.com/rhel/8.10', '', 0),
    ],
)
def test_an_id_in_any_spelling(installed, compiled, id, rule, status):
    """Where the compiled policy alone admits, and where lxml is asked."""
    xml = (CHECKOUT / 'tests/cases/base-x86_64.xml').read_text(encoding='utf-8')
    assert 'http://redhat.com/rhel/8.6' in xml
    for _ in range(2):
        result = installed.run_hook('payroll', 'prepare', xml.replace('http://redhat.com/rhel/8.6', id).encode())
        assert result.returncode == status, result.stderr
        assert (b'<libosinfo:os id="%s">' % id.encode() in result.stderr) == bool(status)
        assert (b'[%s]' % rule.encode() in result.stderr) == bool(status)
        if compiled.exists():
            compiled.unlink()


@pytest.mark.skipif(not pathlib.Path('/usr/share/osinfo/os').is_dir(), reason='there is no osinfo-db here')
def test_the_answer_is_the_same_with_and_without_osinfo_db(installed, compiled):
    """Read, compiled, and gone since: the table of the package knows the same, and a compiled answer is stale."""
    need_mount_namespaces()
    documents = sorted((CHECKOUT / 'tests/cases/guest-os-before-2009').glob('*.xml'))
    assert len(documents) > 5
    with_it = answers(installed, documents)
    hide = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /usr/share/osinfo && exec "$@"', 'sh']
    check = subprocess.check_output([*hide, str(installed.cli), 'policy', 'check']).decode()
    assert 'note: %s is out of date' % compiled in check
    explained = [
        subprocess.check_output([*prefix, str(installed.cli), 'explain', 'guest-os-before-2009']).decode()
        for prefix in ([], hide)
    ]
    assert ["this host's osinfo-db" in text for text in explained] == [True, False]
    for document, (_, status, _, stderr) in zip(documents, with_it):
        command = [*hide, str(installed.hook), 'vm', 'prepare', 'begin', '-']
        result = subprocess.run(command, input=document.read_bytes(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (result.returncode, result.stderr) == (status, stderr)
        assert (status == 1) == document.name.startswith('fail-')


def record(installed, xml):
    """The record of one start, from the file that takes it where there is no journal."""
    result = installed.run_hook('vm', 'start', xml)
    assert (result.returncode, result.stderr) == (0, b'')
    return installed.log.read_text().splitlines()[-1] if installed.log.exists() else ''


@pytest.mark.skipif(pathlib.Path('/run/systemd/journal/socket').exists(), reason='this host has a journal')
@pytest.mark.parametrize(
    'spoil, warning',
    [
        (lambda path: None, None),
        (lambda path: path.unlink(), None),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), 'is damaged'),
        (lambda path: path.write_bytes(b'virt-guard compiled policy 99\n0\n'), 'was written by another version'),
        (lambda path: path.chmod(0o666), 'can be written by others'),
    ],
    ids=['good', 'missing', 'damaged', 'future', 'writable'],
)
def test_record_warns(installed, compiled, spoil, warning):
    spoil(compiled)
    line = record(installed, installed.clean)
    assert "domain 'guest' admitted by policy 'rhel-8'" in line
    assert ('VIRT_GUARD_WARNING=' in line) == (warning is not None)
    assert warning is None or warning in line


def test_edited_policy_holds_at_once(installed, compiled):
    assert installed.run_hook('vm', 'prepare', installed.denied).returncode == 1
    installed.write_policy({'tpm-passthrough': 'off'})
    assert installed.run_hook('vm', 'prepare', installed.denied).returncode == 0
    assert 'out of date' in installed.run_cli('policy', 'check').stdout.decode()


def traced_files(installed, tmp_path, operation, xml):
    trace = tmp_path / 'trace'
    command = [
        'strace',
        '-ff',  # a file per process, so that no line is broken off by that of another one
        '-e',
        'trace=open,openat',
        '-o',
        str(trace),
        str(installed.hook),
        'vm',
        operation,
        'begin',
        '-',
    ]
    subprocess.run(command, input=xml, check=True)
    traced = ''.join(path.read_text() for path in tmp_path.glob('trace.*'))
    return re.findall(r'openat?\(.*?"([^"]*)".*\) = \d', traced)


def test_clean_domain_touches_neither_lxml_nor_yaml(installed, compiled, tmp_path):
    if not shutil.which('strace'):
        missing('strace is not installed')
    files = traced_files(installed, tmp_path, 'prepare', installed.clean)
    assert str(compiled) in files
    assert str(installed.policy) not in files
    assert not [path for path in files if 'lxml' in path or 'yaml/' in path or 'site-packages' in path]
    ours = [pathlib.Path(path).name for path in files if '/virtguard/' in path]
    assert [name.endswith('.start') for name in ours] == [True], 'every start loads all that it needs from one file'
