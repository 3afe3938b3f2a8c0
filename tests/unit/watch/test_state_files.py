# SPDX-License-Identifier: Apache-2.0
"""State files of libvirt, as a watch finds and reads them."""

import os

import pytest
from virtguard.watch.state import CHECKPOINT, SNAPSHOT, STATUS
from virtguard.watch.state_files import StateFileError, StateFiles


@pytest.fixture
def files(tmp_path):
    for directory in ('run', 'lib/snapshot/vm', 'lib/checkpoint/a b'):
        (tmp_path / directory).mkdir(parents=True)
    return StateFiles(str(tmp_path / 'run'), str(tmp_path / 'lib'))


def test_which_files_there_are(files, tmp_path):
    for name in ('run/vm.xml', 'run/vm.pid', 'run/vm.xml.new', 'run/.xml'):
        (tmp_path / name).touch()
    for name in ('lib/snapshot/vm/s.xml', 'lib/checkpoint/a b/c.xml'):
        (tmp_path / name).touch()
    (tmp_path / 'lib/snapshot/link').symlink_to('vm')
    (tmp_path / 'lib/snapshot/stray.xml').touch()
    paths, unlisted = files.paths()
    abouts = [files.about(path) for path in paths]
    assert unlisted == {}
    assert [(about.kind, about.domain, about.name) for about in abouts] == [
        (SNAPSHOT, 'vm', 's'),
        (CHECKPOINT, 'a b', 'c'),
        (STATUS, 'vm', ''),
    ]


def test_missing_directories_are_empty(tmp_path):
    assert StateFiles(str(tmp_path / 'none'), str(tmp_path / 'neither')).paths() == ([], {})


def test_a_version_is_read_once(files, tmp_path):
    path = tmp_path / 'run' / 'vm.xml'
    path.write_bytes(b'one')
    assert files.read(str(path)) == (True, b'one')
    assert files.read(str(path)) == (False, None)
    files.forget(str(path))
    assert files.read(str(path)) == (True, b'one')
    files.forget_others([str(path)])
    assert files.read(str(path)) == (False, None)
    files.forget_others([])
    assert files.read(str(path)) == (True, b'one')
    path.with_suffix('.new').write_bytes(b'two')
    path.with_suffix('.new').rename(path)
    assert files.read(str(path)) == (True, b'two')
    path.unlink()
    assert files.read(str(path)) == (True, None)


def test_what_is_not_read(files, tmp_path):
    path = tmp_path / 'run' / 'vm.xml'
    os.mkfifo(str(path))
    with pytest.raises(StateFileError, match='is not a regular file'):
        files.read(str(path))
    path.unlink()
    path.symlink_to('/etc/passwd')
    with pytest.raises(StateFileError, match='is a symbolic link'):
        files.read(str(path))
    path.unlink()
    path.write_bytes(b'')
    path.chmod(0o620)
    with pytest.raises(StateFileError, match=r'could be written by others than libvirt \(uid \d+, mode 0620\)'):
        files.read(str(path))
