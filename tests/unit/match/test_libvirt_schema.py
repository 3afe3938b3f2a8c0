# SPDX-License-Identifier: Apache-2.0
"""The schema and the version of the host's libvirt, read from trees that stand for hosts."""

import os

import pytest
from virtguard.match.libvirt_schema import libvirt_version, read_schema
from virtguard.match.relaxng import SchemaError

ROOT = "<element name='domain' xmlns='http://relaxng.org/ns/structure/1.0'>%s</element>"


@pytest.fixture
def schemas(tmp_path):
    directory = tmp_path / 'usr' / 'share' / 'libvirt' / 'schemas'
    directory.mkdir(parents=True)
    return directory


def test_schema(tmp_path, schemas):
    (schemas / 'domain.rng').write_text(ROOT % "<externalRef href='other.rng'/>")
    (schemas / 'other.rng').write_text(ROOT % '')
    (root,) = read_schema(str(tmp_path)).roots
    assert [child.names.known for child in root.children()] == [root.names.known]


def test_no_schema(tmp_path, schemas):
    assert read_schema(str(tmp_path)) is None
    assert read_schema(str(tmp_path / 'nowhere')) is None


@pytest.mark.parametrize('name', ['../domain.rng', '/etc/passwd', 'a/b.rng', '.hidden', 'file:///etc/passwd', ''])
def test_what_is_elsewhere_is_not_read(tmp_path, schemas, name):
    (schemas / 'domain.rng').write_text(ROOT % ("<externalRef href='%s'/>" % name))
    with pytest.raises(SchemaError) as caught:
        read_schema(str(tmp_path))
    assert 'a schema in %s includes %r, which is elsewhere' % (schemas, name) in str(caught.value)


def make_fifo(path):
    os.mkfifo(str(path))


def make_large(path):
    with path.open('wb') as file:
        file.truncate(16 * 1024 * 1024 + 1)


@pytest.mark.parametrize(
    'make, reason',
    [
        (lambda path: path.symlink_to('nowhere'), 'cannot read %s: No such file or directory'),
        (lambda path: path.mkdir(), '%s is not a regular file'),
        (make_fifo, '%s is not a regular file'),
        (make_large, '%s is larger than 16777216 bytes'),
    ],
    ids=['link to nowhere', 'directory', 'FIFO', 'large'],
)
def test_what_cannot_be_read(tmp_path, schemas, make, reason):
    path = schemas / 'domain.rng'
    make(path)
    with pytest.raises(SchemaError) as caught:
        read_schema(str(tmp_path))
    assert str(caught.value) == reason % path


@pytest.mark.parametrize(
    'files, version',
    [
        (['usr/lib64/libvirt.so.0.8000.0'], (8, 0, 0)),
        (['usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0'], (9, 0, 0)),
        (['usr/lib/libvirt.so.0.11003.12'], (11, 3, 12)),
        (['usr/lib64/libvirt.so.0.4005.0', 'usr/lib64/libvirt-qemu.so.0.9000.0'], (4, 5, 0)),
        # What no link leads to is left over from another version.
        (['usr/lib64/libvirt.so.0.8000.0', 'usr/lib64/libvirt.so.0.7000.0'], (8, 0, 0)),
        (['usr/lib/i386-linux-gnu/libvirt.so.0.9000.0', 'usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0'], (9, 0, 0)),
        (['usr/lib/i386-linux-gnu/libvirt.so.0.8000.0', 'usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0'], None),
        (['usr/lib64/libvirt.so.0.dev'], None),
        ([], None),
    ],
)
def test_version(tmp_path, files, version):
    for file in files:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        link = path.parent / (path.name.partition('.so.0')[0] + '.so.0')
        if not link.exists():
            link.symlink_to(path.name)
    assert libvirt_version(str(tmp_path)) == version


def test_the_root_is_not_read_as_a_glob(tmp_path):
    (tmp_path / 'a' / 'usr' / 'lib64').mkdir(parents=True)
    (tmp_path / 'a' / 'usr' / 'lib64' / 'libvirt.so.0').symlink_to('libvirt.so.0.8000.0')
    assert libvirt_version(str(tmp_path / '*')) is None
    assert libvirt_version(str(tmp_path / 'a')) == (8, 0, 0)
