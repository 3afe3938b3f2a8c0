# SPDX-License-Identifier: Apache-2.0
"""What a report is written into: nothing that was there, nothing for others to read, and all of it or nothing."""

import hashlib
import os
import stat

import pytest
from virtguard.errors import GuardError
from virtguard.reporting.new_files import NewDirectory, write_new_file
from virtguard.reporting.pack import Pack
from virtguard.reporting.present import Present


def failing():
    yield 'a piece'
    raise GuardError('no more')


def mode(path):
    return stat.S_IMODE(os.lstat(str(path)).st_mode)


@pytest.fixture(autouse=True)
def any_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file(tmp_path):
    path = tmp_path / 'report'
    assert write_new_file(str(path), ['é', b'\xff']) == hashlib.sha256('é'.encode() + b'\xff').hexdigest()
    assert (path.read_bytes(), mode(path)) == ('é'.encode() + b'\xff', 0o600)


@pytest.mark.parametrize('what', ['file', 'link', 'dangling link', 'directory', 'FIFO'])
def test_what_is_there_stays(tmp_path, what):
    path, target = tmp_path / 'report', tmp_path / 'target'
    target.write_text('as it was')
    if what == 'file':
        path.write_text('as it was')
    elif what == 'directory':
        path.mkdir()
    elif what == 'FIFO':
        os.mkfifo(str(path))
    else:
        path.symlink_to(target if what == 'link' else tmp_path / 'nowhere')
    before = os.lstat(str(path))
    for make in (lambda: write_new_file(str(path), ['x']), lambda: NewDirectory(str(path))):
        with pytest.raises(GuardError, match=r'is there already \(name one that does not exist yet\)'):
            make()
    assert os.lstat(str(path)).st_ino == before.st_ino and target.read_text() == 'as it was'
    assert not (tmp_path / 'nowhere').exists()


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    with pytest.raises(GuardError, match='no more'):
        write_new_file(str(tmp_path / 'report'), failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('path', ['nowhere/report', 'x' * 300])
def test_where_nothing_can_be_written(tmp_path, path):
    with pytest.raises(GuardError, match='cannot write '):
        write_new_file(str(tmp_path / path), ['x'])
    with pytest.raises(GuardError, match='cannot write '):
        NewDirectory(str(tmp_path / path))


def policy_of(tmp_path, *names):
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_text('# %s\n' % file.name)
    present = Present()
    present.files = [str(file) for file in files]
    return present


def test_a_pack(tmp_path):
    present = policy_of(tmp_path, 'policy.yaml', '50 site\\.yaml')
    place = tmp_path / 'pack'
    with Pack(str(place)) as pack:
        pack.records.write(b'{}\n')
        pack.finish({'report.txt': ['text']}, present)
    found = sorted(str(path.relative_to(place)) for path in place.glob('**/*'))
    policy = ['policy', 'policy/01-policy.yaml', 'policy/02-50_site_.yaml', 'policy/on-this-host.sha256']
    assert found == ['SHA256SUMS', *policy, 'records.jsonl', 'report.txt', 'versions.txt']
    assert {mode(path) for path in place.glob('**/*') if path.is_file()} == {0o600}
    assert mode(place) == mode(place / 'policy') == 0o700
    sums = dict(reversed(line.split('  ')) for line in (place / 'SHA256SUMS').read_text().splitlines())
    assert set(sums) == set(found) - {'SHA256SUMS', 'policy'}
    for name, digest in sums.items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
    listed = (place / 'policy' / 'on-this-host.sha256').read_text().splitlines()
    assert listed[0] == '%s  %s' % (sums['policy/01-policy.yaml'], tmp_path / 'policy.yaml')
    assert (place / 'versions.txt').read_text().startswith('virt-guard ')


def test_a_policy_file_that_cannot_be_read(tmp_path):
    present = policy_of(tmp_path, 'policy.yaml')
    present.files.append(str(tmp_path / 'gone.yaml'))
    with Pack(str(tmp_path / 'pack')) as pack:
        pack.finish({}, present)
    said = (tmp_path / 'pack' / 'policy' / '02-gone.yaml.unreadable').read_text()
    assert 'No such file or directory' in said


def test_nothing_is_left_of_a_pack_that_failed(tmp_path):
    with pytest.raises(GuardError, match='no more'), Pack(str(tmp_path / 'pack')) as pack:
        pack.finish({'report.txt': ['x'], 'report.html': failing()}, policy_of(tmp_path, 'policy.yaml'))
    assert not (tmp_path / 'pack').exists()
