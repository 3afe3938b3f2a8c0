# SPDX-License-Identifier: Apache-2.0
"""Finds domain documents for the command: files, directories, standard input. Yields one at a time."""

import os
import sys

from .errors import DomainXMLError, GuardError
from .model import MAX_XML_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Iterable, Iterator, List

STDIN = '-'


class Document:
    """One document: its `source` for messages, and whether the user `named` it (or a directory had it)."""

    __slots__ = ('source', 'named')

    def __init__(self, source: str, named: bool) -> None:
        self.source = source
        self.named = named

    def read(self) -> bytes:
        """The bytes, at most one more than a domain may have.

        :raises GuardError: it cannot be read
        """
        try:
            if self.source == STDIN:
                return _read_limited(sys.stdin.buffer)
            with open(self.source, 'rb') as file:
                return _read_limited(file)
        except OSError as error:
            raise GuardError('cannot be read: %s' % error.strerror) from None

    def is_other(self, error: GuardError) -> bool:
        """Whether the error is that a directory has a document of another kind, too, which nobody named."""
        return isinstance(error, DomainXMLError) and error.other_document and not self.named

    def complaint(self, error: GuardError) -> str:
        """The line that tells of an error with it."""
        if self.is_other(error):
            return '%s: skipped: %s' % (self.source, error.message)
        line = error.line if isinstance(error, DomainXMLError) else 0
        return '%s: error: %s' % ('%s:%d' % (self.source, line) if line else self.source, error)


def _read_limited(file: 'IO[bytes]') -> bytes:
    return file.read(MAX_XML_BYTES + 1)


def find_documents(paths: 'Iterable[str]') -> 'Iterator[Document]':
    """Every path itself; for a directory the *.xml files below it, sorted, links to directories not followed.

    :raises GuardError: a directory cannot be listed, or has no such file
    """
    for path in paths:
        if path != STDIN and os.path.isdir(path):
            yield from _below(path)
        else:
            yield Document(path, True)


def defined_documents(directory: str) -> 'List[Document]':
    """The definitions in libvirt's own directory, which need not be there. What is no file defines nothing; to open it,
    a FIFO say, might take forever.

    :raises GuardError: it cannot be listed
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith('.xml'))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (directory, error.strerror), 'run it as root') from None
    paths = [os.path.join(directory, name) for name in names]
    return [Document(path, True) for path in paths if os.path.isfile(path) or not os.path.exists(path)]


def _below(directory: str) -> 'Iterator[Document]':
    found = False
    for parent, directories, files in os.walk(directory, onerror=_raise):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(parent, name)
            if name.endswith('.xml') and os.path.isfile(path):
                found = True
                yield Document(path, False)
    if not found:
        raise GuardError('%s: there is no *.xml file below it' % directory)


def _raise(error: OSError) -> None:
    raise GuardError('%s: cannot be listed: %s' % (error.filename, error.strerror)) from None
