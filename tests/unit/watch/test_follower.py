# SPDX-License-Identifier: Apache-2.0
"""inotify itself, and which files may have changed, on real directories."""

import errno
import os
import shutil

import pytest
from virtguard.watch import inotify
from virtguard.watch.follower import Follower


@pytest.fixture
def tree(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'lib' / 'snapshot' / 'vm').mkdir(parents=True)
    return tmp_path


@pytest.fixture
def follower(tree):
    follower = Follower(str(tree / 'run'), [str(tree / 'lib' / 'snapshot')])
    assert follower.polling == ''
    yield follower
    follower.close()


def rewrite(path, data=b'x'):
    path.with_name(path.name + '.new').write_bytes(data)
    path.with_name(path.name + '.new').rename(path)


def changed(follower, tree):
    changes = follower.changes()
    return [os.path.relpath(path, str(tree)) for path in changes.paths], changes.everything


def test_inotify_events_are_read(tmp_path):
    watcher = inotify.Inotify()
    number = watcher.watch(str(tmp_path), inotify.CREATE | inotify.MOVED_TO)
    assert watcher.read() == []
    (tmp_path / 'a').touch()
    (tmp_path / 'a').rename(tmp_path / ('b' * 200))
    events = [(event.watch, event.mask, event.name) for event in watcher.read()]
    assert events == [(number, inotify.CREATE, 'a'), (number, inotify.MOVED_TO, 'b' * 200)]
    watcher.unwatch(number)
    (event,) = watcher.read()
    assert event.mask == inotify.IGNORED
    with pytest.raises(FileNotFoundError) as caught:
        watcher.watch(str(tmp_path / 'missing'), inotify.CREATE)
    assert caught.value.filename == str(tmp_path / 'missing')
    watcher.close()


def test_rewrites_and_removals(tree, follower):
    rewrite(tree / 'run' / 'a.xml')
    rewrite(tree / 'run' / 'b.xml')
    rewrite(tree / 'run' / 'a.xml')
    rewrite(tree / 'run' / 'a.pid')
    rewrite(tree / 'run' / '.xml')  # of no domain
    rewrite(tree / 'lib' / 'snapshot' / 'vm' / 's.xml')
    assert changed(follower, tree) == (['run/a.xml', 'run/b.xml', 'lib/snapshot/vm/s.xml'], False)
    assert changed(follower, tree) == ([], False)
    (tree / 'run' / 'a.xml').unlink()
    (tree / 'run' / 'b.xml').write_bytes(b'in place')
    assert changed(follower, tree) == (['run/a.xml', 'run/b.xml'], False)


def test_a_new_directory_and_what_is_in_it_already(tree, follower):
    (tree / 'lib' / 'snapshot' / 'new').mkdir()
    rewrite(tree / 'lib' / 'snapshot' / 'new' / 's.xml')
    assert changed(follower, tree) == (['lib/snapshot/new/s.xml'], False)
    rewrite(tree / 'lib' / 'snapshot' / 'new' / 't.xml')
    paths, everything = changed(follower, tree)
    assert 'lib/snapshot/new/t.xml' in paths and not everything
    shutil.rmtree(str(tree / 'lib' / 'snapshot' / 'new'))
    paths, everything = changed(follower, tree)
    assert sorted(paths) == ['lib/snapshot/new/s.xml', 'lib/snapshot/new/t.xml'] and not everything


def test_a_directory_that_is_moved_away(tree, follower):
    (tree / 'lib' / 'snapshot' / 'vm').rename(tree / 'elsewhere')
    assert changed(follower, tree) == ([], True)
    rewrite(tree / 'elsewhere' / 's.xml')
    assert changed(follower, tree) == ([], False)


@pytest.mark.parametrize('missing', ['run', 'lib', 'lib/snapshot'])
def test_a_directory_that_goes_and_comes(tree, follower, missing):
    shutil.rmtree(str(tree / missing))
    changed(follower, tree)
    (tree / missing).mkdir()
    (tree / 'run').mkdir(exist_ok=True)
    (tree / 'lib' / 'snapshot').mkdir(exist_ok=True)
    (tree / 'lib' / 'snapshot' / 'vm').mkdir(exist_ok=True)
    assert changed(follower, tree)[1]
    rewrite(tree / 'run' / 'a.xml')
    rewrite(tree / 'lib' / 'snapshot' / 'vm' / 's.xml')
    assert changed(follower, tree) == (['run/a.xml', 'lib/snapshot/vm/s.xml'], False)


def test_nothing_there_at_first(tmp_path):
    follower = Follower(str(tmp_path / 'a/b/c/run'), [str(tmp_path / 'x/y/snapshot')])
    (tmp_path / 'a/b').mkdir(parents=True)
    follower.changes()
    (tmp_path / 'a/b/c/run').mkdir(parents=True)
    (tmp_path / 'x/y/snapshot').mkdir(parents=True)
    assert follower.changes().everything
    rewrite(tmp_path / 'a/b/c/run' / 'a.xml')
    assert changed(follower, tmp_path) == (['a/b/c/run/a.xml'], False)
    follower.close()


def test_directories_that_come_while_the_queue_overflows(tree, follower):
    with open('/proc/sys/fs/inotify/max_queued_events') as file:
        limit = int(file.read())
    rewrite(tree / 'run' / 'flood.xml')
    for _ in range(limit // 2 + 1000):  # each differs from the one before, so that they are not made one
        os.rename(str(tree / 'run' / 'flood.xml'), str(tree / 'run' / 'other.xml'))
        os.rename(str(tree / 'run' / 'other.xml'), str(tree / 'run' / 'flood.xml'))
    (tree / 'lib' / 'snapshot' / 'new').mkdir()
    everything = False
    while follower.overflows == 0:
        everything = follower.changes().everything
    assert everything
    changed(follower, tree)
    rewrite(tree / 'lib' / 'snapshot' / 'new' / 's.xml')
    assert changed(follower, tree) == (['lib/snapshot/new/s.xml'], False)


def test_a_directory_that_goes_as_soon_as_it_is_watched(tree, monkeypatch):
    list_directory = os.listdir

    def list_late(path):
        shutil.rmtree(str(path), ignore_errors=True)
        return list_directory(path)

    monkeypatch.setattr(os, 'listdir', list_late)
    follower = Follower(str(tree / 'run'), [str(tree / 'lib' / 'snapshot')])
    monkeypatch.undo()
    follower.changes()
    (tree / 'lib' / 'snapshot').mkdir(parents=True)
    assert follower.changes().everything and follower.polling == ''
    follower.close()


def test_the_limit_is_reached_in_the_middle_of_events(tree, follower, monkeypatch):
    for name in ('a', 'b', 'c'):
        (tree / 'lib' / 'snapshot' / name).mkdir()

    def refuse(path, mask):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(follower._inotify, 'watch', refuse)
    assert follower.changes().everything
    assert follower.polling == 'No space left on device; raise fs.inotify.max_user_watches'
    assert follower.fileno() is None and not follower.check()


def test_a_directory_that_is_replaced_without_an_event(tree, follower):
    """As by a mount over it; here, by one that has its name while nobody looks."""
    assert not follower.check()
    follower._inodes[str(tree / 'run')] = (0, 0)
    assert follower.check()
    rewrite(tree / 'run' / 'a.xml')
    assert changed(follower, tree) == (['run/a.xml'], False)
