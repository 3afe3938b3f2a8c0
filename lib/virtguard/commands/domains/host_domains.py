# SPDX-License-Identifier: Apache-2.0
"""The domains of this host by name or UUID, as libvirt's own files have them: the status of one that runs, and its
definition.

libvirt names both files for the domain, so a name costs two questions to the file system, however many domains there
are. A UUID is in the files only: all of them are read, once.
"""

import os
import pyexpat
import re
import stat

from ...errors import GuardError, NotAFileError
from ...model import MAX_XML_BYTES
from ...trust import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Tuple

    from ...policy.installation import Installation

AS_ROOT = 'run it as root, with sudo'
_SUFFIX = '.xml'
_UUID = re.compile(r'[0-9A-Fa-f]{8}(-?)(?:[0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}\Z')
_PIECE = 16 << 10
_MOST = 3  # near names in one message
_COMPARISONS = 50_000  # of names: with these they take some seconds, however many words are wrong


class HostDomain:
    """A domain of this host: its name, and the paths of its status ('' while it does not run) and of its definition
    ('' where it has none)."""

    __slots__ = ('name', 'status', 'definition')

    def __init__(self, name: str, status: str, definition: str) -> None:
        self.name = name
        self.status = status
        self.definition = definition

    def identity(self) -> 'Tuple[str, str]':
        """The name and the UUID, in lower case, that are in its file; '' for what is not there.

        :raises GuardError: the file cannot be read
        """
        return _read_identity(self.definition or self.status)


class HostDomains:
    """The domains of this host. What has been read is not read again."""

    def __init__(self, installation: 'Installation') -> None:
        self._definitions, self._run = installation.domains, installation.run
        self._names: 'Optional[List[str]]' = None
        self._by_uuid: 'Optional[Dict[str, str]]' = None
        self._comparisons_left = _COMPARISONS

    def find(self, word: str) -> 'Optional[HostDomain]':
        """The domain that has this UUID or else this name; None if there is none.

        :raises GuardError: libvirt's files cannot be looked at
        """
        name = self._uuids().get(_plain(word)) if _UUID.match(word) else None
        return self._named(word if name is None else name)

    def require(self, word: str) -> HostDomain:
        """The domain that has this UUID or else this name.

        :raises GuardError: there is none, and which names are near; or libvirt's files cannot be looked at
        """
        domain = self.find(word)
        if domain is None:
            raise GuardError("no domain of this host has the name or UUID '%s'" % as_text(word), self.suggest(word))
        return domain

    def suggest(self, word: str) -> str:
        """What to type instead of a word that is neither a name nor a UUID of a domain here.

        :raises GuardError: libvirt's files cannot be looked at
        """
        names = [as_text(name) for name in self.names()]
        if not names:
            return 'no domain is defined here: there is no *.xml file in %s' % self._definitions
        self._comparisons_left -= len(names)
        return suggest_name(as_text(word), names, self._comparisons_left + len(names) > 0)

    def all(self) -> 'Iterator[HostDomain]':
        """Every domain, in the order of the names.

        :raises GuardError: libvirt's files cannot be looked at
        """
        for name in self.names():
            domain = self._named(name)
            if domain is not None:
                yield domain

    def names(self) -> 'List[str]':
        """The names of all domains, sorted, as Python has names of files.

        :raises GuardError: libvirt's files cannot be looked at
        """
        if self._names is None:
            self._names = sorted({name for path in (self._definitions, self._run) for name in _names_in(path)})
        return self._names

    def _named(self, name: str) -> 'Optional[HostDomain]':
        if '/' in name or '\0' in name:  # libvirt takes no such name
            return None
        status, definition = (_file_of(parent, name) for parent in (self._run, self._definitions))
        return HostDomain(name, status, definition) if status or definition else None

    def _uuids(self) -> 'Dict[str, str]':
        """The names by their UUIDs, as _plain has these. A file that cannot be read is passed over."""
        if self._by_uuid is None:
            by_uuid: 'Dict[str, str]' = {}
            for domain in self.all():
                try:
                    by_uuid.setdefault(_plain(domain.identity()[1]), domain.name)
                except GuardError:
                    continue
            self._by_uuid = by_uuid
        return self._by_uuid


def suggest_name(word: str, names: 'Iterable[str]', compare: bool = True) -> str:
    """What to type instead of a word that is not one of the names of this host's domains.

    :param compare: whether to look for names that are written in a similar way, which takes a while if there are many
    """
    import difflib  # only needed to help with a mistake

    lower = {name.lower(): name for name in names}
    stem = (word[: -len(_SUFFIX)] if word.endswith(_SUFFIX) else word).lower()
    near = sorted(name for name in lower if stem and name.startswith(stem))[:_MOST]
    if not near and compare:
        near = difflib.get_close_matches(stem, lower, _MOST)
    if near:
        return 'did you mean %s?' % ' or '.join("'%s'" % lower[name] for name in near)
    hint = "'virsh list --all' names the domains of this host"
    return hint + ('; a number is a name here, not an ID of virsh' if word.isdigit() else '')


def as_text(name: str) -> str:
    """A name of a file, or a word of the command line, as the UTF-8 that libvirt writes, whatever the locale is."""
    return os.fsencode(name).decode('utf-8', 'surrogateescape')


def _plain(uuid: str) -> str:
    return uuid.replace('-', '').lower()


def _file_of(parent: str, name: str) -> str:
    """The path of a domain's file in one of libvirt's directories; '' if it has none there."""
    path = os.path.join(parent, name + _SUFFIX)
    try:
        return path if stat.S_ISREG(os.stat(path).st_mode) else ''
    except PermissionError as error:
        raise GuardError('cannot look into %s: %s' % (parent, error.strerror), AS_ROOT) from None
    except OSError:  # it is not there, or the name is longer than that of a file may be
        return ''


def _names_in(directory: str) -> 'Iterator[str]':
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (directory, error.strerror), AS_ROOT) from None
    for name in names:
        if name.endswith(_SUFFIX) and name != _SUFFIX and _file_of(directory, name[: -len(_SUFFIX)]):
            yield name[: -len(_SUFFIX)]


class _Known(Exception):
    """Name and UUID have been read."""


def _read_identity(path: str) -> 'Tuple[str, str]':
    try:
        data = read_file(path, MAX_XML_BYTES)
    except NotAFileError:
        raise GuardError('%s is not a regular file' % path) from None
    except PermissionError as error:
        raise GuardError('%s cannot be read: %s' % (path, error.strerror), AS_ROOT) from None
    except OSError as error:
        raise GuardError('%s cannot be read: %s' % (path, error.strerror)) from None
    found = {'name': '', 'uuid': ''}
    above: 'List[str]' = []
    parser = pyexpat.ParserCreate()

    def start(tag: str, attributes: object) -> None:
        above.append(tag)

    def end(tag: str) -> None:
        above.pop()
        if tag == 'uuid' and _is_domain(above):
            raise _Known

    def read(text: str) -> None:
        if above[-1] in found and _is_domain(above[:-1]):
            found[above[-1]] += text

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, read
    try:
        for begin in range(0, len(data), _PIECE):
            parser.Parse(data[begin : begin + _PIECE], begin + _PIECE >= len(data))
    except (_Known, pyexpat.ExpatError, UnicodeDecodeError):
        pass
    return found['name'].strip(), found['uuid'].strip().lower()


def _is_domain(path: 'List[str]') -> bool:
    return path in (['domain'], ['domstatus', 'domain'])
