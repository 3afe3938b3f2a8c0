# SPDX-License-Identifier: Apache-2.0
"""The os-release of a guest -> the id that osinfo-db has for its system. Pure: no I/O.

osinfo-db does not know os-release, so a table says which of its systems each ID is. What is in neither stays unknown.
"""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, FrozenSet, Mapping, Optional, Tuple

WINDOWS = 'mswindows'  # what qemu-ga says as ID there

# ID of os-release -> what ids of its systems begin with; where there are several, a host's vendor has changed it.
_SYSTEMS = {
    WINDOWS: ('http://microsoft.com/win',),
    'almalinux': ('http://almalinux.org/almalinux',),
    'alpine': ('http://alpinelinux.org/alpinelinux',),
    'altlinux': ('http://altlinux.org/alt', 'http://altlinux.org/altlinux'),
    'anolis': ('http://openanolis.cn/anolis',),
    'arch': ('http://archlinux.org/archlinux',),
    'centos': ('http://centos.org/centos',),
    'circle': ('http://cclinux.org/circle',),
    'cirros': ('http://cirros-cloud.net/cirros',),
    'clear-linux-os': ('http://clearlinux.org/clearlinux',),
    'debian': ('http://debian.org/debian',),
    'dragonfly': ('http://dragonflybsd.org/dragonflybsd',),
    'elementary': ('http://elementary.io/elementary',),
    'endless': ('http://endlessos.com/eos',),
    'eurolinux': ('http://euro-linux.com/eurolinux',),
    'fedora': ('http://fedoraproject.org/fedora',),
    'freebsd': ('http://freebsd.org/freebsd',),
    'gentoo': ('http://gentoo.org/gentoo',),
    'guix': ('http://guix.gnu.org/guix-system',),
    'haiku': ('http://haiku-os.org/haiku',),
    'mageia': ('http://mageia.org/mageia',),
    'manjaro': ('http://manjaro.org/manjaro',),
    'miraclelinux': ('http://miraclelinux.com/miraclelinux',),
    'netbsd': ('http://netbsd.org/netbsd',),
    'nixos': ('http://nixos.org/nixos',),
    'ol': ('http://oracle.com/ol',),
    'openbsd': ('http://openbsd.org/openbsd',),
    'opensuse': ('http://opensuse.org/opensuse',),
    'opensuse-leap': ('http://opensuse.org/opensuse',),
    'opensuse-tumbleweed': ('http://opensuse.org/opensuse',),
    'pop': ('http://system76.com/popos',),
    'pureos': ('http://pureos.net/pureos',),
    'rhel': ('http://redhat.com/rhel', 'http://redhat.com/rhel-atomic'),
    'rocky': ('http://rockylinux.org/rocky',),
    'scientific': ('http://scientificlinux.org/scientificlinux',),
    'slackware': ('http://slackware.com/slackware', 'http://slackware.com/slackwarearm'),
    'sle-micro': ('http://suse.com/slem',),
    'sle_hpc': ('http://suse.com/sle', 'http://suse.com/sles'),
    'sled': ('http://suse.com/sle', 'http://suse.com/sled'),
    'sles': ('http://suse.com/sle', 'http://suse.com/sles'),
    'sles_sap': ('http://suse.com/sle', 'http://suse.com/sles'),
    'trisquel': ('http://trisquel.info/trisquel',),
    'ubuntu': ('http://ubuntu.com/ubuntu',),
    'univention': ('http://univention.de/ucs',),
    'void': ('http://voidlinux.org/voidlinux',),
}
# The same ID, another system of osinfo-db: by what the VARIANT_ID is, or a word in the name.
_VARIANTS = {
    ('fedora', 'coreos'): ('http://fedoraproject.org/coreos',),
    ('fedora', 'silverblue'): ('http://fedoraproject.org/silverblue',),
}
_STREAM = ('http://centos.org/centos-stream',)
_ROLLING = {'arch', 'clear-linux-os', 'gentoo', 'manjaro', 'void'}
# Whose releases have two numbers: 22.04 and 22.10 are as far from each other as 8 and 9 are elsewhere.
_TWO_NUMBERS = ('alpinelinux', 'cirros', 'elementary', 'nixos', 'popos', 'ubuntu')
_NOT_LINUX = {WINDOWS, 'dragonfly', 'freebsd', 'haiku', 'netbsd', 'openbsd'}
_OF_NOBODY = 'http://libosinfo.org'  # ids that name no system
_ANY_LINUX = _OF_NOBODY + '/linux'
_WINDOWS_RELEASE = re.compile(r'20(\d\d)(r2)?\Z')
_RELEASE = re.compile(r'\d[0-9.]*')
_LONGEST = 128  # characters of an id: nothing in osinfo-db comes near


class GuestSystem:
    """A system that runs in a guest: `id` is that of osinfo-db, '' where it has none that is known.

    `prefixes` are what ids of this distribution begin with, () if it is not known; `release` is '' if not known.
    """

    __slots__ = ('id', 'prefixes', 'release', 'is_linux')

    def __init__(self, id: str, prefixes: 'Tuple[str, ...]', release: str, is_linux: bool) -> None:
        self.id = id
        self.prefixes = prefixes
        self.release = release
        self.is_linux = is_linux

    def contradicts(self, declared: str) -> 'Optional[bool]':
        """Whether a domain's libosinfo id means another distribution, or another major release of it.

        None where that is not known, or the id says nothing of it.
        """
        prefix, _, version = declared.rpartition('/')
        if prefix == _ANY_LINUX:
            return not self.is_linux if self.prefixes else None
        if not self.prefixes or prefix not in _PREFIXES:
            return None
        if prefix not in self.prefixes:
            return True
        stated = _major(prefix, version)
        if not stated or not self.release:
            return False
        return stated != _major(prefix, self.release)


def guest_system(release: 'Mapping[str, str]', known: 'Container[str]') -> GuestSystem:
    """The system that an os-release describes.

    :param release: `id`, `version-id`, `variant-id`, `name` and `pretty-name`, as far as they are there
    :param known: the ids of all systems in osinfo-db
    """
    name, version, variant = (release.get(key, '').strip().lower() for key in ('id', 'version-id', 'variant-id'))
    prefixes = _VARIANTS.get((name, variant), _SYSTEMS.get(name, ()))
    if name == 'centos' and 'stream' in (release.get('name', '') + release.get('pretty-name', '')).lower():
        prefixes = _STREAM
    if name == WINDOWS:
        version = _windows(version)
    elif name in _ROLLING:
        version = 'rolling'
    elif name == 'opensuse-tumbleweed':
        version = 'tumbleweed'
    if not version or len(version) > _LONGEST:
        return GuestSystem('', prefixes, '', name not in _NOT_LINUX)
    # osinfo-db has some releases without their minor number, and one with a zero that os-release does not have.
    spelled = (version, version.rpartition('.')[0], version + '.0')
    ids = ['%s/%s' % (prefix, one) for one in spelled if one for prefix in prefixes]
    id = next((id for id in ids if id in known), '')
    return GuestSystem(id, prefixes, version, name not in _NOT_LINUX)


def _windows(version: str) -> str:
    """As osinfo-db writes it: 2012r2 is 2k12r2, and 2003 is 2k3."""
    year = _WINDOWS_RELEASE.match(version)
    if year is None:
        return version
    return '2k%s%s' % (year.group(1).lstrip('0'), year.group(2) or '')


def _major(prefix: str, version: str) -> str:
    """What of a release makes it another one: '8' of 8.10; '' where osinfo-db's `version` does not state a release."""
    if prefix in _SYSTEMS[WINDOWS]:
        return version
    found = _RELEASE.match(version)
    if found is None:
        return ''
    numbers = found.group().split('.')
    return '.'.join(numbers[: 2 if prefix.rpartition('/')[2] in _TWO_NUMBERS else 1])


def _known_prefixes() -> 'FrozenSet[str]':
    from .osinfo_names import IDS

    ids = {id.rpartition('/')[0] for id in IDS.values()}
    of_table = {prefix for prefixes in (*_SYSTEMS.values(), *_VARIANTS.values(), _STREAM) for prefix in prefixes}
    return frozenset(prefix for prefix in ids | of_table if not prefix.startswith(_OF_NOBODY))


_PREFIXES = _known_prefixes()
