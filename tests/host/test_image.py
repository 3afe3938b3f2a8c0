# SPDX-License-Identifier: Apache-2.0
"""What needs no virtual machine of the making of images: where packages come from, and what is kept."""

import os

import image
import pytest

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'
UBUNTU = 'ID=ubuntu\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n'
DEB822 = """\
# made by a person
Types: deb deb-src
URIs: http://mirror.example/debian/
# http://snapshot.example/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: stable
Components: main
"""
ONE_LINE = """\
# deb http://off.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb [arch=amd64 signed-by=/a/b] http://mirror.example/debian stable main contrib
deb http://mirror.example/security/ stable-security main
"""
OTHERS = 'deb https://other.example/apt cloud-bookworm main\ndeb https://other.example/debian bookworm other\n'
SHIPPED = (image.MIRROR, [image.SECURITY_MIRROR])
OWN = ('http://mirror.example/debian', ['http://mirror.example/security'])


@pytest.mark.parametrize(
    'release, files, expected',
    [
        (DEBIAN, {'sources.list.d/debian.sources': DEB822}, OWN),
        (DEBIAN, {'sources.list': ONE_LINE}, OWN),
        (DEBIAN, {'sources.list': OTHERS, 'sources.list.d/debian.list': ONE_LINE}, OWN),
        (DEBIAN, {'sources.list': ONE_LINE.splitlines()[3]}, (OWN[0], [])),
        (DEBIAN, {'sources.list.d/other.list': OTHERS}, SHIPPED),
        (DEBIAN, {}, SHIPPED),
        (UBUNTU, {'sources.list': 'deb http://ubuntu.example noble main\n'}, SHIPPED),
        (None, {'sources.list': ONE_LINE}, SHIPPED),
    ],
)
def test_mirrors_of_this_machine_are_used(tmp_path, release, files, expected):
    (tmp_path / 'etc/apt/sources.list.d').mkdir(parents=True)
    if release is not None:
        (tmp_path / 'etc/os-release').write_text(release)
    for name, text in files.items():
        (tmp_path / 'etc/apt' / name).write_text(text)
    assert image.machine_mirrors(tmp_path) == expected


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(image, 'CACHE', tmp_path)
    return tmp_path


def test_image_is_made_once(cache, monkeypatch):
    made = []

    def build(suite, directory):
        made.append(suite)
        (directory / 'key').write_text('')

    monkeypatch.setattr(image, '_build', build)
    first = image.get('bookworm')
    assert image.get('bookworm') == first
    assert image.get('trixie') != first
    assert made == ['bookworm', 'trixie']


def test_failed_or_killed_build_leaves_no_image(cache, monkeypatch):
    killed, old, other = (cache / name for name in ('bookworm-building-x', 'bookworm-0', 'trixie-building-y'))
    for directory in (killed, old, other):
        directory.mkdir()
    os.utime(str(old), (0, 0))

    def build(suite, directory):
        assert {path.name for path in cache.glob('*-*')} == {directory.name, other.name}
        raise image.ImageError('no mirror')

    monkeypatch.setattr(image, '_build', build)
    with pytest.raises(image.ImageError):
        image.get('bookworm')
    assert [path.name for path in cache.glob('*-*')] == [other.name]
