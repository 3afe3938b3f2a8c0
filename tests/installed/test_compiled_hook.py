# SPDX-License-Identifier: Apache-2.0
"""The real hook with a compiled policy, with a damaged one, and without: one answer, and a warning in the record."""

import copy
import glob
import marshal
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from installation import CHECKOUT, policy_text, stamped_anew
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


def loaded(compiled):
    """What a compiled policy holds; equal values may be written once or twice."""
    head, numbers, payload = compiled.split(b'\n', 2)
    size, checksum = numbers.split()
    copy, details, again = payload[: int(size)], payload[int(size) : -int(size)], payload[-int(size) :]
    assert copy == again
    return head, checksum, marshal.loads(copy), details


def test_what_the_tests_stamp_anew_is_what_the_command_compiles(installed, compiled):
    made, text = compiled.read_bytes(), installed.policy.read_bytes()
    assert installed.policy.write_bytes(text)
    again = stamped_anew(made)
    assert again != made
    assert installed.run_cli('policy', 'compile').returncode == 0
    assert loaded(compiled.read_bytes()) == loaded(again)
    installed.policy.write_bytes(text + b'# another\n')
    assert stamped_anew(made) is None
    installed.policy.write_bytes(text)


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


def test_the_answer_is_the_same_with_and_without_osinfo_db(installed, compiled):
    """Read, compiled, and gone since: the table of the package knows the same, and a compiled answer is stale."""
    need_mount_namespaces()
    if not pathlib.Path('/usr/share/osinfo/os').is_dir():
        missing('there is no osinfo-db here')
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


def newly_unpacked_python(version, directory):
    """A Python of that version without any library beside its own."""
    places = [
        '/usr/bin',
        '/usr/local/bin',
        *sorted(glob.glob(os.path.expanduser('~/.pyenv/versions/%s.*/bin' % version))),
    ]
    found = [path for path in (os.path.join(place, 'python' + version) for place in places) if os.path.exists(path)]
    if not found:
        missing('there is no Python %s here' % version)
    subprocess.run([found[0], '-m', 'venv', '--without-pip', str(directory)], check=True)
    python = directory / 'bin/python'
    for library in ('lxml', 'yaml'):
        assert subprocess.call([str(python), '-c', 'import ' + library], stderr=subprocess.DEVNULL) != 0
    return python


@pytest.mark.parametrize('version', ['3.6', '3.13'])
def test_another_python_judges_before_it_has_its_libraries(installed, compiled, version, tmp_path):
    """As while a distribution is upgraded: the policy was compiled by the Python before, and lxml is still to come."""
    if version == '%d.%d' % sys.version_info[:2]:
        pytest.skip('this is Python %s' % version)
    python = newly_unpacked_python(version, tmp_path / 'python')
    documents = [path for path in CASES if path.parent.name not in FACTS_OF_OTHERS][::24]
    # JSON for QEMU, and ids of systems that are not written plainly, are left to lxml.
    left = ('json', 'slashes', 'spelling')
    documents = [path for path in documents if not any(word in path.name for word in left)]
    assert len(documents) > 10 and any(b'<emulator>/opt' in path.read_bytes() for path in documents)
    before = answers(installed, documents)
    program = tmp_path / 'hook'
    text = installed.program.read_text()
    program.write_text(re.sub("^python='.*'$", "python='%s'" % python, text, flags=re.MULTILINE))
    program.chmod(0o755)
    assert program.read_text() != text
    upgraded = copy.copy(installed)
    upgraded.hook = program
    assert answers(upgraded, documents) == before
    assert {answer[1] for answer in before} == {0, 1}
    compiled.unlink()  # so that these were not judged by what it imports
    for document, status, _, stderr in answers(upgraded, documents[:1]):
        assert (status, b'a library is missing or broken' in stderr) == (2, True), document


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
