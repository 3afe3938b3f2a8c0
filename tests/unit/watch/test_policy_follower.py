# SPDX-License-Identifier: Apache-2.0
"""What announces that a policy may have changed, on real directories."""

import os
import select
import shutil

import pytest
from virtguard.watch import inotify
from virtguard.watch.policy_follower import PolicyFollower


@pytest.fixture
def etc(tmp_path):
    (tmp_path / 'policy.d').mkdir()
    (tmp_path / 'policy.yaml').write_text('{}')
    return tmp_path


@pytest.fixture
def follower(etc):
    follower = PolicyFollower()
    follower.follow([str(etc / name) for name in ('policy.yaml', 'policy.d', 'osinfo/os')])
    assert not follower.has_changed()
    yield follower
    follower.close()


def rename_onto(path, text):
    new = path.with_name('new')
    new.write_text(text)
    new.rename(path)


CHANGES = {
    'edited in place': lambda etc: (etc / 'policy.yaml').write_text('{a: b}'),
    'replaced': lambda etc: rename_onto(etc / 'policy.yaml', '{a: b}'),
    'removed': lambda etc: (etc / 'policy.yaml').unlink(),
    'writable by others': lambda etc: (etc / 'policy.yaml').chmod(0o666),
    'a drop-in': lambda etc: (etc / 'policy.d' / '50-site.yaml').write_text('{}'),
    'the directory of drop-ins removed': lambda etc: (etc / 'policy.d').rmdir(),
    'the directory of drop-ins moved': lambda etc: (etc / 'policy.d').rename(etc / 'old'),
    'what was missing': lambda etc: (etc / 'osinfo' / 'os').mkdir(parents=True),
}


@pytest.mark.parametrize('change', CHANGES)
def test_each_change_is_announced(etc, follower, change):
    CHANGES[change](etc)
    assert select.select([follower.fileno()], [], [], 0)[0]
    assert follower.has_changed()
    assert not follower.has_changed()


def test_directories_that_come_later_are_followed(etc, follower):
    (etc / 'osinfo').mkdir()
    assert follower.has_changed()
    (etc / 'osinfo' / 'os').mkdir()
    assert follower.has_changed()
    (etc / 'osinfo' / 'os' / 'own.xml').write_text('<libosinfo/>')
    assert follower.has_changed()
    shutil.rmtree(str(etc / 'policy.d'))
    (etc / 'policy.d').mkdir()
    assert follower.has_changed()
    (etc / 'policy.d' / '50-site.yaml').write_text('{}')
    assert follower.has_changed()
    assert not follower.has_changed()


def test_what_is_read_or_lies_elsewhere_is_not_announced(etc, follower):
    (etc / 'policy.yaml').read_text()
    os.listdir(str(etc / 'policy.d'))
    (etc / 'other').mkdir()
    follower.has_changed()
    (etc / 'other' / 'file').write_text('x')
    assert not follower.has_changed()
    follower.follow([str(etc / 'other' / 'file')])
    (etc / 'policy.d' / '50-site.yaml').write_text('{}')
    assert not follower.has_changed()
    (etc / 'other' / 'file').write_text('y')
    assert follower.has_changed()


def test_a_link_and_its_target(etc, follower):
    (etc / 'kept').mkdir()
    (etc / 'kept' / 'site.yaml').write_text('{}')
    (etc / 'policy.yaml').unlink()
    (etc / 'policy.yaml').symlink_to('kept/site.yaml')
    assert follower.has_changed()
    (etc / 'kept' / 'site.yaml').write_text('{a: b}')
    assert follower.has_changed()


def test_nothing_is_announced_where_inotify_cannot_be_used(etc, monkeypatch):
    def exhausted(self):
        raise OSError(24, 'Too many open files')

    monkeypatch.setattr(inotify.Inotify, '__init__', exhausted)
    follower = PolicyFollower()
    follower.follow([str(etc / 'policy.yaml')])
    (etc / 'policy.yaml').write_text('{a: b}')
    assert follower.fileno() is None
    assert not follower.has_changed()
