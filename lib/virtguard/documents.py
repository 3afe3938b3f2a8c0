# SPDX-License-Identifier: Apache-2.0
"""Finds domain documents for the command: files, directories, standard input. Yields one at a time."""

import os
import sys

from .errors import GuardError
from .model import MAX_XML_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Iterable, Iterator

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
