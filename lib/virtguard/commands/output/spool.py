# SPDX-License-Identifier: Apache-2.0
"""Text that is kept until what stands before it is known: in memory while it is little, else in a temporary file that
has no name."""

import tempfile

from ...errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_IN_MEMORY = 16 << 10  # bytes
_PIECE = 64 << 10


class Spool:
    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (it is open as long as the spool is)

    def add(self, text: str) -> None:
        """Keep a text of ASCII.

        :raises GuardError: there is no room
        """
        try:
            self._file.write(text.encode('ascii'))
        except OSError as error:
            told = 'cannot keep what is to be printed in a temporary file: %s'
            raise GuardError(told % (error.strerror or error)) from None

    def pieces(self) -> 'Iterator[str]':
        """All of it."""
        self._file.seek(0)
        while True:
            piece = self._file.read(_PIECE)
            if not piece:
                return
            yield piece.decode('ascii')

    def lines(self) -> 'Iterator[str]':
        """All of it, by lines, without their ends."""
        self._file.seek(0)
        for line in self._file:
            yield line.decode('ascii').rstrip('\n')
