# SPDX-License-Identifier: Apache-2.0
"""Finds the files to judge: those that the user names, those in a directory, standard input. Yields one at a time.

In a directory the content of a file decides whether it may hold a domain, not its name. The first bytes mostly suffice.
"""

import gzip
import io
import os
import re
import stat
import sys
import zlib

from ...errors import DomainXMLError, GuardError
from ...model import MAX_XML_BYTES
from .file_parts import CONTAINERS, Section, first_element, split
from .host_domains import AS_ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Dict, Iterable, Iterator, List, Set, Tuple, Union

    Part = Union[Section, GuardError]

STDIN = '-'
# The first UUID in a domain. In a state file the domain is within other elements.
_UUID = re.compile(rb'<domain[\s>].*?<uuid>\s*([0-9A-Fa-f-]{36})\s*</uuid>', re.DOTALL)
_GZIP = b'\x1f\x8b'
_SAVED = (b'LibvirtQemudSave', b'LibvirtQemudPart')
_HEAD = 4096
_AT_FIRST = 64 * 1024  # Python makes room for all that it is asked to read, and few files are larger
_TOGETHER = 512  # inodes
# Compressed files that are not read, but may hold domains.
_PACKED = {b'\xfd7zXZ\0': 'xz', b'BZh': 'bzip2', b'(\xb5/\xfd': 'zstd', b'PK\3\4': 'zip'}


class DomainFile:
    """A file: its `name`, whether the user `asked_for` it (or it was found in a directory), and the reason why it is
    `skipped` unread, or ''."""

    __slots__ = ('name', 'asked_for', 'skipped')

    def __init__(self, name: str, asked_for: bool, skipped: str = '') -> None:
        self.name = name
        self.asked_for = asked_for
        self.skipped = skipped

    def read(self) -> bytes:
        """The content, decompressed; at most one byte more than a domain may have.

        :raises GuardError: it cannot be read
        """
        try:
            if self.name == STDIN and sys.stdin is None:  # whoever started the command has closed it (<&-)
                raise GuardError('standard input is closed')
            if self.name == STDIN:
                return _decompress(_read_limited(sys.stdin.buffer))
            with open(self.name, 'rb') as file:
                return _decompress(_read_limited(file))
        except (EOFError, zlib.error):
            raise GuardError('cannot be decompressed: it is damaged or incomplete') from None
        except OSError as error:
            hint = AS_ROOT if isinstance(error, PermissionError) and os.geteuid() != 0 else ''
            raise GuardError('cannot be read: %s' % (error.strerror or error), hint) from None

    def parts(self) -> 'Iterator[Part]':
        """The domains in it, each as a document; an error in the place of each document that is not a domain."""
        if self.skipped:
            yield DomainXMLError(self.skipped, other_document=True)
            return
        try:
            data = self.read()
        except GuardError as error:
            yield error
            return
        yield from split(data) if len(data) <= MAX_XML_BYTES else [Section(data)]

    def is_other(self, error: GuardError) -> bool:
        """Whether it only has another kind of document, and was found in a directory: nobody asked for it."""
        return isinstance(error, DomainXMLError) and error.other_document and not self.asked_for

    def complaint(self, error: GuardError) -> str:
        """The line to print about an error in this file."""
        if self.is_other(error):
            return '%s: skipped: %s' % (self.name, error.message)
        line = error.line if isinstance(error, DomainXMLError) else 0
        return '%s: error: %s' % ('%s:%d' % (self.name, line) if line else self.name, error)


def _read_limited(file: 'IO[bytes]') -> bytes:
    data = file.read(_AT_FIRST)
    return data if len(data) < _AT_FIRST else data + file.read(MAX_XML_BYTES + 1 - _AT_FIRST)


def _decompress(data: bytes) -> bytes:
    return gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_XML_BYTES + 1) if data.startswith(_GZIP) else data


def defined_uuids(directories: 'Iterable[str]') -> 'Set[str]':
    """The UUIDs, in lower case, of the domains whose definitions or states are in libvirt's own directories.

    A file that cannot be read, or that libvirt has not written, counts as one without a UUID.

    :raises GuardError: a directory cannot be listed
    """
    uuids = set()
    for file in (file for directory in directories for file in defined_domain_files(directory)):
        try:
            found = _UUID.search(file.read())
        except GuardError:
            continue
        if found is not None:
            uuids.add(found.group(1).decode('ascii').lower())
    return uuids


class _Inodes:
    """A set of files. Those of one tree mostly have numbers near each other, so a bit is enough for each."""

    def __init__(self) -> None:
        self._bits: 'Dict[Tuple[int, int], int]' = {}

    def add(self, device: int, inode: int) -> bool:
        """Whether it is a new one."""
        key, bit = (device, inode // _TOGETHER), 1 << inode % _TOGETHER
        bits = self._bits.get(key, 0)
        self._bits[key] = bits | bit
        return not bits & bit


class DomainFiles:
    """The files that paths stand for: a file for itself, a directory for the files below it that may hold a domain.
    What is a DomainFile already stays as it is.

    Those below a directory are sorted. A file to which several links lead comes once; links to directories are not
    followed. `others` counts the files below directories that cannot hold a domain.

    :raises GuardError: (as it is iterated) a directory cannot be listed, or has no such file
    """

    def __init__(self, paths: 'Iterable[Union[str, DomainFile]]') -> None:
        self._paths = paths
        self._seen = _Inodes()
        self.others = 0

    def __iter__(self) -> 'Iterator[DomainFile]':
        for path in self._paths:
            if isinstance(path, DomainFile):
                yield path
            elif path != STDIN and os.path.isdir(path):
                yield from self._below(path)
            else:
                yield DomainFile(path, True)

    def _below(self, directory: str) -> 'Iterator[DomainFile]':
        found = False
        before = self.others
        for parent, directories, files in os.walk(directory, onerror=_raise):
            directories.sort()
            for name in directories:
                path = os.path.join(parent, name)
                if os.path.islink(path):
                    yield DomainFile(path, False, 'a link to a directory; to search it, name it as an argument')
            for name in sorted(files):
                for file in self._look(os.path.join(parent, name)):
                    found = True
                    yield file
        if not found:
            count = self.others - before
            more = ', nor a domain in any of the %d other files' % count if count else ''
            raise GuardError('%s: there is no *.xml file below it%s' % (directory, more))

    def _look(self, path: str) -> 'List[DomainFile]':
        """The file, if it may hold a domain; otherwise an empty list."""
        try:
            status = os.stat(path)
        except OSError:
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):  # opening a FIFO might wait forever
            self.others += 1
            return []
        if not self._seen.add(status.st_dev, status.st_ino):
            return []
        if path.endswith('.xml'):
            return [DomainFile(path, False)]
        skipped = _sniff(path)
        if skipped is None:
            self.others += 1
            return []
        return [DomainFile(path, False, skipped)]


def _sniff(path: str) -> 'Union[str, None]':
    """'' if a file may begin with a domain, the reason if it is skipped, None if it is of no interest."""
    try:
        with open(path, 'rb') as file:
            head = file.read(_HEAD)
        if head.startswith(_GZIP):
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD)
    except zlib.error:
        return None
    except OSError as error:
        return 'cannot be read: %s' % error.strerror
    if head.startswith(_SAVED):
        return 'the image of a saved domain; virsh save-image-dumpxml shows what is in it'
    packed = next((name for magic, name in _PACKED.items() if head.startswith(magic)), '')
    if packed and '.xml' in os.path.basename(path):
        return 'compressed with %s; unpack it' % packed
    name = first_element(head)
    return '' if name is None or name == 'domain' or name in CONTAINERS else None


def find_domain_files(paths: 'Iterable[Union[str, DomainFile]]') -> DomainFiles:
    """The files that paths name, or have below them."""
    return DomainFiles(paths)


def defined_domain_files(directory: str) -> 'List[DomainFile]':
    """The definitions in libvirt's own directory; none if the directory does not exist.

    What is not a regular file is left out: it defines nothing, and opening a FIFO might wait forever.

    :raises GuardError: it cannot be listed
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith('.xml'))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (directory, error.strerror), AS_ROOT) from None
    paths = [os.path.join(directory, name) for name in names]
    return [DomainFile(path, True) for path in paths if os.path.isfile(path) or not os.path.exists(path)]


def _raise(error: OSError) -> None:
    raise GuardError('%s: cannot be listed: %s' % (error.filename, error.strerror)) from None
