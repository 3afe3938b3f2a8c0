# SPDX-License-Identifier: Apache-2.0
"""Metrics go into the directory that was checked, whoever owns the one above it and whatever he does meanwhile."""

import os

import pytest
from virtguard.commands import metrics
from virtguard.errors import GuardError
from virtguard.trust import write_file


@pytest.fixture
def place(tmp_path):
    (tmp_path / 'read').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    return tmp_path / 'read'


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def put(directory):
    metrics._put(str(directory / 'x.prom'), b'text')


def test_by_links_of_ours(place, tmp_path):
    (tmp_path / 'one').symlink_to('two/')
    (tmp_path / 'two').symlink_to(str(place))
    put(tmp_path / 'one')
    assert names(place) == ['x.prom'] and (place / 'x.prom').read_bytes() == b'text'


def test_a_directory_that_is_swapped_for_a_link(place, tmp_path, monkeypatch):
    def swap_first(*arguments, **options):
        place.rename(tmp_path / 'away')
        place.symlink_to(str(tmp_path / 'elsewhere'))
        write_file(*arguments, **options)

    monkeypatch.setattr(metrics, 'write_file', swap_first)
    put(place)
    assert (names(tmp_path / 'away'), names(tmp_path / 'elsewhere')) == (['x.prom'], [])


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to make a link of somebody else')
def test_a_link_of_somebody_else(place, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(str(place))
    os.chown(str(link), 65534, 65534, follow_symlinks=False)
    with pytest.raises(GuardError, match='is a link of uid 65534'):
        put(link)
    (tmp_path / 'ours').symlink_to('link')
    with pytest.raises(GuardError, match='is a link of uid 65534'):
        put(tmp_path / 'ours')
    assert names(place) == []


@pytest.mark.parametrize('what', ['file', 'circle', 'dangling'])
def test_what_is_no_directory(tmp_path, what):
    path = tmp_path / what
    if what == 'file':
        path.write_text('')
    else:
        path.symlink_to('circle' if what == 'circle' else 'nowhere')
    with pytest.raises(GuardError, match='%s is not a directory' % path):
        put(path)


def test_what_cannot_be_written_is_told_by_its_name(place):
    (place / 'x.prom').mkdir()
    with pytest.raises(OSError) as failed:
        put(place)
    assert failed.value.filename == str(place / 'x.prom')
    assert names(place) == ['x.prom']
