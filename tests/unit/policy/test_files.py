# SPDX-License-Identifier: Apache-2.0
"""Who could have written the policy. Whoever can, decides which domains start."""

import os
import pathlib
import stat
import tempfile
import time

import pytest
from virtguard.errors import GuardError
from virtguard.policy.files import MAX_POLICY_BYTES, read_policy_file, read_trusted_policy_file

STRANGER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / 'etc' / 'policy.yaml'
    path.parent.mkdir()
    os.chmod(str(path.parent), 0o755)
    path.write_bytes(b'policy: x\n')
    os.chmod(str(path), 0o644)
    return path


def refused(path, read=read_trusted_policy_file):
    started = time.monotonic()
    with pytest.raises(GuardError) as caught:
        read(str(path))
    assert time.monotonic() - started < 2
    return str(caught.value)


def accepted(path):
    assert read_trusted_policy_file(str(path)) == b'policy: x\n'
    return True


@pytest.mark.parametrize('mode', [0o644, 0o600, 0o444, 0o755, 0o4644])
def test_a_file_of_our_own(policy, mode):
    os.chmod(str(policy), mode)
    assert accepted(policy)


@pytest.mark.parametrize('mode', [0o664, 0o646, 0o666, 0o620, 0o602, 0o1666])
def test_a_file_that_others_may_write(policy, mode):
    os.chmod(str(policy), mode)
    message = refused(policy)
    assert '%s can be written by others (mode %04o)' % (policy, mode) in message
    assert 'chmod go-w' in message
    assert read_policy_file(str(policy)) == b'policy: x\n'


@pytest.mark.parametrize('mode', [0o775, 0o757, 0o777, 0o2775])
def test_a_directory_that_others_may_write(policy, mode):
    os.chmod(str(policy.parent), mode)
    assert 'etc can be written by others' in refused(policy)
    assert read_policy_file(str(policy)) == b'policy: x\n'


@pytest.mark.parametrize(('name', 'is_ours'), [('etc', False), ('etc/virt-guard', True), ('srv/virt-guard-old', False)])
def test_no_hint_to_change_a_directory_that_is_not_ours(tmp_path, name, is_ours):
    policy = tmp_path / name / 'policy.yaml'
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_bytes(b'policy: x\n')
    os.chmod(str(policy.parent), 0o777)
    told = [refused(policy)]
    if os.geteuid() == 0:
        os.chmod(str(policy.parent), 0o755)
        os.chown(str(policy.parent), STRANGER, 0)
        told.append(refused(policy))
    for message in told:
        assert ('chmod ' in message or 'chown ' in message) == is_ours
        assert ('where only root can write' in message) != is_ours


@needs_root
def test_no_hint_to_change_what_a_link_leads_to(policy, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to('etc')
    os.lchown(str(link), STRANGER, 0)
    message = refused(link / 'policy.yaml')
    assert 'belongs to uid 12345' in message and 'chown' not in message


def test_a_directory_further_up(policy, tmp_path):
    deep = policy.parent / 'a' / 'b' / 'policy.yaml'
    deep.parent.mkdir(parents=True)
    policy.rename(deep)
    assert accepted(deep)
    os.chmod(str(policy.parent), 0o777)
    assert 'etc can be written by others' in refused(deep)


@pytest.mark.parametrize('mode', [0o1777, 0o1775])
def test_a_sticky_directory_keeps_our_file_ours(policy, mode):
    os.chmod(str(policy.parent), mode)
    assert accepted(policy)


@needs_root
def test_a_file_of_a_stranger(policy):
    os.chown(str(policy), STRANGER, 0)
    message = refused(policy)
    assert '%s belongs to uid 12345' % policy in message
    assert 'chown -h root %s' % policy in message


@needs_root
@pytest.mark.parametrize('mode', [0o755, 0o700, 0o1777])
def test_a_directory_of_a_stranger(policy, mode):
    os.chmod(str(policy.parent), mode)
    os.chown(str(policy.parent), STRANGER, 0)
    assert 'belongs to uid 12345' in refused(policy)


@needs_root
def test_a_group_of_strangers_may_read(policy):
    os.chown(str(policy), 0, STRANGER)
    assert accepted(policy)


def as_stranger(read, path):
    """What `read` does in a process of somebody else: the data, or the error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(STRANGER)
            answer = read(str(path))
        except GuardError as error:
            answer = str(error).encode()
        except BaseException as error:
            answer = repr(error).encode()
        os.write(writer, answer)
        os._exit(0)
    os.close(writer)
    with open(reader, 'rb') as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


@pytest.fixture
def public_policy():
    """A policy of root in a directory that everybody may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = pathlib.Path(directory) / 'policy.yaml'
        path.write_bytes(b'policy: x\n')
        os.chmod(str(path), 0o644)
        yield path


@needs_root
def test_others_trust_root_and_themselves(public_policy):
    assert as_stranger(read_trusted_policy_file, public_policy) == b'policy: x\n'
    os.chown(str(public_policy), STRANGER, 0)
    assert as_stranger(read_trusted_policy_file, public_policy) == b'policy: x\n'
    os.chown(str(public_policy), STRANGER + 1, 0)
    assert b'belongs to uid 12346' in as_stranger(read_trusted_policy_file, public_policy)


@needs_root
def test_a_file_without_read_permission(public_policy):
    os.chmod(str(public_policy), 0o600)
    assert b'Permission denied' in as_stranger(read_policy_file, public_policy)


# Links


def test_a_link(policy, tmp_path):
    link = tmp_path / 'link.yaml'
    link.symlink_to(policy)
    assert accepted(link)
    os.chmod(str(policy), 0o666)
    assert 'can be written by others' in refused(link)


@pytest.mark.parametrize('open_directory', ['one', 'two', 'etc'])
def test_a_chain_of_links(policy, tmp_path, open_directory):
    """Every directory on the way has a say: who may replace a link in the middle chooses the policy."""
    one, two = tmp_path / 'one', tmp_path / 'two'
    for directory, target in ((two, policy), (one, two / 'link')):
        directory.mkdir()
        os.chmod(str(directory), 0o755)
        (directory / 'link').symlink_to(target)
    assert accepted(one / 'link')
    os.chmod(str(tmp_path / open_directory), 0o777)
    assert '%s can be written by others' % open_directory in refused(one / 'link')


@pytest.mark.parametrize('open_directory', ['one', 'two', 'etc'])
def test_a_chain_of_linked_directories(policy, tmp_path, open_directory):
    one, two = tmp_path / 'one', tmp_path / 'two'
    for directory, target in ((two, policy.parent), (one, two / 'link')):
        directory.mkdir()
        os.chmod(str(directory), 0o755)
        (directory / 'link').symlink_to(target)
    assert accepted(one / 'link' / 'policy.yaml')
    os.chmod(str(tmp_path / open_directory), 0o777)
    assert '%s can be written by others' % open_directory in refused(one / 'link' / 'policy.yaml')


@needs_root
def test_a_strangers_link_in_a_sticky_directory(policy, tmp_path):
    """Its owner may point it elsewhere at any time, to any file that root once wrote."""
    public = tmp_path / 'public'
    public.mkdir()
    os.chmod(str(public), 0o1777)
    link = public / 'policy.yaml'
    link.symlink_to(policy)
    assert accepted(link)
    os.chown(str(link), STRANGER, STRANGER, follow_symlinks=False)
    assert 'belongs to uid 12345' in refused(link)


def test_relative_paths(policy, monkeypatch):
    monkeypatch.chdir(str(policy.parent))
    assert accepted('policy.yaml')
    assert accepted('../etc/./policy.yaml')
    os.chmod(str(policy.parent), 0o777)
    assert 'can be written by others' in refused('policy.yaml')


# What is no policy file


@pytest.mark.parametrize('read', [read_policy_file, read_trusted_policy_file])
@pytest.mark.parametrize(
    'kind',
    'missing missing-directory below-a-file dangling loop directory fifo socket device terminal empty-name'.split(),
)
def test_what_cannot_be_read(tmp_path, policy, kind, read, monkeypatch):
    monkeypatch.chdir(str(tmp_path))  # for the empty name; a checkout may belong to anybody
    path = tmp_path / 'policy.yaml'
    message = 'cannot read the policy'
    if kind == 'missing-directory':
        path = tmp_path / 'no' / 'policy.yaml'
    elif kind == 'below-a-file':
        path = policy / 'policy.yaml'
    elif kind == 'dangling':
        path.symlink_to('nowhere')
    elif kind == 'loop':
        path.symlink_to('policy.yaml')
    elif kind == 'directory':
        path.mkdir()
        message = 'is not a regular file'
    elif kind == 'fifo':
        os.mkfifo(str(path))
        message = 'is not a regular file'
    elif kind == 'socket':
        os.mknod(str(path), stat.S_IFSOCK | 0o600)
    elif kind in ('device', 'terminal'):
        path = {'device': '/dev/zero', 'terminal': '/dev/ptmx'}[kind]
        message = ''
    elif kind == 'empty-name':
        path = ''
    assert message in refused(path, read)


@pytest.mark.parametrize('read', [read_policy_file, read_trusted_policy_file])
def test_size(policy, read):
    policy.write_bytes(b'')
    assert read(str(policy)) == b''
    policy.write_bytes(b'#' * MAX_POLICY_BYTES)
    assert len(read(str(policy))) == MAX_POLICY_BYTES
    policy.write_bytes(b'#' * (MAX_POLICY_BYTES + 1))
    assert 'is larger than %d bytes' % MAX_POLICY_BYTES in refused(policy, read)


def test_a_file_without_end(tmp_path):
    path = tmp_path / 'sparse'
    with path.open('wb') as file:
        file.truncate(1 << 40)
    assert 'is larger than' in refused(path, read_policy_file)


def test_no_descriptor_is_left(policy, tmp_path):
    before = os.listdir('/proc/self/fd')
    read_trusted_policy_file(str(policy))
    refused(tmp_path)
    refused(tmp_path / 'missing')
    os.chmod(str(policy), 0o666)
    refused(policy)
    assert len(os.listdir('/proc/self/fd')) == len(before)
