# SPDX-License-Identifier: Apache-2.0
"""The one reader of regular files, and the one writer."""

import os
import stat

import pytest
from virtguard import trust
from virtguard.errors import NotAFileError, PolicyFileError
from virtguard.trust import read_file, write_file


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'file')


@pytest.mark.parametrize('size', [0, 1, 99, 100])
def test_a_file_is_read_whole(path, size):
    write_file(path, b'x' * size, 0o600, durable=False)
    assert read_file(path, 100) == b'x' * size


@pytest.mark.parametrize('size', [101, 9999])
def test_that_a_file_is_too_large_shows(path, size):
    write_file(path, b'x' * size, 0o600, durable=False)
    assert read_file(path, 100) == b'x' * 101


def test_a_file_that_states_no_size():
    assert read_file('/proc/self/status', 1 << 20).startswith(b'Name:')


@pytest.mark.parametrize('make', [os.mkdir, os.mkfifo])
def test_what_is_not_a_regular_file(path, make):
    make(path)
    with pytest.raises(NotAFileError, match='file is not a regular file'):
        read_file(path, 100)


def test_links(path):
    write_file(path, b'there', 0o600, durable=False)
    os.symlink(path, path + '-link')
    assert read_file(path + '-link', 100) == b'there'
    with pytest.raises(OSError, match='symbolic links'):
        read_file(path + '-link', 100, follow_links=False)


def test_a_file_that_is_not_to_be_trusted_is_not_read(path, monkeypatch):
    write_file(path, b'x', 0o666, durable=False)
    monkeypatch.setattr(trust.posix, 'read', None)
    with pytest.raises(PolicyFileError, match='can be written by others'):
        read_file(path, 100, trust.check_ownership)


@pytest.mark.parametrize('mode', [0o600, 0o644])
@pytest.mark.parametrize('durable', [False, True])
def test_writing(path, mode, durable):
    before = os.umask(0o077)
    try:
        for data in (b'x' * 300000, b'shorter'):
            write_file(path, data, mode, durable)
            assert read_file(path, 1 << 20) == data
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert os.listdir(os.path.dirname(path)) == ['file']


def test_a_file_that_a_killed_writer_left_is_replaced(path):
    left = '%s.%d' % (path, os.getpid())
    with open(left, 'wb') as file:
        file.write(b'longer than what is written')
    write_file(path, b'written', 0o600, durable=False)
    assert read_file(path, 100) == b'written'
    assert not os.path.exists(left)


def test_what_cannot_be_put_in_place_leaves_nothing_behind(path):
    os.makedirs(path + '/within')
    with pytest.raises(OSError, match='directory'):
        write_file(path, b'x', 0o600, durable=False)
    assert os.listdir(os.path.dirname(path)) == ['file']
