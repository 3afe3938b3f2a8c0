# SPDX-License-Identifier: Apache-2.0
"""Reads the files of journals one by one, as a collector keeps those of many hosts.

Asked for a whole directory, journalctl leaves out what it cannot read and says nothing, or ends where one file is
damaged; for each entry it looks at every file; and it searches for times as if a file were in order, which that of a
collector is not: what was sent without an answer is there twice, and hosts behind one proxy share a file.
"""

import glob
import os
import re
import subprocess

from ..errors import GuardError
from .journal_export import parse_pieces
from .journal_reader import JournalError, received
from .programs import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

    from .journal_export import Record

_SUFFIXES = ('.journal', '.journal~')  # the second: it was not closed, as its writer was killed
# NAME@ID-NUMBER-TIME.journal, or NAME@TIME-RANDOM.journal~, in hexadecimal; NAME.journal is being written.
_CLOSED = re.compile(r'@(?:[0-9a-f]{32}-[0-9a-f]{16}-)?([0-9a-f]{16})(?:-[0-9a-f]{16})?\.journal~?\Z')
_REMOTE = 'remote-'  # how the names of files begin that a collector writes
_SILENCE = 300  # seconds
_MOST_ROUNDS = 3
_LATEST = 3  # files of one sender in which its last entries are
# What journalctl says of what it cannot read, it says to who debugs it, and ends with 0.
_SETTINGS = {'SYSTEMD_LOG_LEVEL': 'debug', 'SYSTEMD_LOG_TARGET': 'console', 'SYSTEMD_LOG_COLOR': '0'}
_DAMAGE = re.compile(r'^(?:.*(?:Bad message|ignoring|skipping over)|Failed |Invalid ).*', re.MULTILINE)
_ENTRIES = re.compile(rb'^Entry objects: (\d+)', re.MULTILINE | re.IGNORECASE)
_READ_IT = 'run it as root'
_NAME_IT = 'name the directory that has the files *.journal'


class JournalFile:
    """`sender` is whose records are in it, as the collector knew by the connection: by address, or by certificate."""

    __slots__ = ('path', 'sender', 'closed')

    def __init__(self, path: str) -> None:
        name = os.path.basename(path)
        found = _CLOSED.search(name)
        stem = name[: found.start()] if found else name[: name.rindex('.journal')]
        self.path = path
        self.sender = stem[len(_REMOTE) :] if stem.startswith(_REMOTE) else stem
        self.closed = found.group(1) if found else 'now'  # in the order of their names, after all times


class JournalFiles:
    """The files of journals in a directory, and in those in it. `damaged` are those of which not all could be read,
    each with the reason; `count` is how many were read."""

    def __init__(self, directory: str) -> None:
        """
        :raises GuardError: there is none, or they may not be read
        """
        if not os.path.isdir(directory):
            raise GuardError('%s is not a directory' % directory, _NAME_IT)
        self._directory = directory
        self.damaged: 'List[Tuple[str, str]]' = []
        self.count = 0
        files = self._find()
        if not files:
            raise GuardError('there is no journal in %s' % directory, _NAME_IT)
        closed = [file.path for file in files if not os.access(file.path, os.R_OK)]
        if closed:
            raise GuardError('you may not read %s' % closed[0], _READ_IT)

    def entries(self, *matches: str, fields: 'Sequence[str]' = ()) -> 'Iterator[Tuple[JournalFile, Optional[Record]]]':
        """Entries, those of one sender in the order in which they came; None for what cannot be read.

        :param matches: those of journalctl
        :param fields: which fields are needed; none: all
        :raises JournalError: there is no journalctl, or it does not answer
        """
        done: 'Set[Tuple[int, int]]' = set()
        for _ in range(_MOST_ROUNDS):  # a file that is full gets another name, and is followed by a new one
            files = [(file, _identity(file.path)) for file in self._find()]
            new = [(file, identity) for file, identity in files if identity and identity not in done]
            for file, identity in new:
                done.add(identity or (0, 0))
                self.count += 1
                is_empty, damaged = True, len(self.damaged)
                for record in self.read([file], *matches, fields=fields):
                    is_empty = False
                    yield file, record
                if is_empty and len(self.damaged) == damaged:
                    self._doubt(file)
                if _identity(file.path) != identity:  # another file had that name already when it was read
                    done.discard(identity or (0, 0))
            if not new:
                return

    def read(
        self, files: 'Sequence[JournalFile]', *arguments: str, fields: 'Sequence[str]' = ()
    ) -> 'Iterator[Optional[Record]]':
        """The entries of some files.

        :param arguments: options and matches of journalctl
        :raises JournalError: as entries
        """
        command = ['journalctl', '--quiet', '--no-pager', '--output=export']
        command += ['--output-fields=' + ','.join(fields)] if fields else []
        command += map(_option, files)
        output = Output([*command, *arguments], _SILENCE, _SETTINGS)
        yield from parse_pieces(_telling(output))
        said = _DAMAGE.findall(output.said.decode('utf-8', 'replace'))
        if output.status < 0:
            said.append('journalctl was ended by signal %d' % -output.status)
        if said and len(files) == 1 and os.path.exists(files[0].path):
            self.damaged.append((files[0].path, said[-1].strip()))

    def _doubt(self, file: JournalFile) -> None:
        """Note a file as damaged that has entries by its header, of which journalctl finds none: where the list of them
        is damaged, it says nothing of that."""
        if not list(self.read([file], '--lines=1', fields=['_BOOT_ID'])):
            output = Output(['journalctl', '--quiet', '--no-pager', '--header', _option(file)], _SILENCE)
            number = _ENTRIES.search(b''.join(_telling(output)))
            if number is not None and int(number.group(1)):
                self.damaged.append((file.path, 'none of its %d entries is found' % int(number.group(1))))

    def by_sender(self) -> 'List[List[JournalFile]]':
        """The files that can be opened, those of each sender together."""
        unusable = {path for path, _ in self.damaged}
        found: 'Dict[Tuple[str, str], List[JournalFile]]' = {}
        for file in self._find():
            if file.path not in unusable:
                found.setdefault((os.path.dirname(file.path), file.sender), []).append(file)
        return list(found.values())

    def machines(self, files: 'Sequence[JournalFile]') -> 'Set[str]':
        """The ids of all machines of which some files have entries.

        :raises JournalError: as entries
        """
        command = ['journalctl', '--quiet', '--no-pager', '--field=_MACHINE_ID', *map(_option, files)]
        output = Output(command, _SILENCE)
        found = set(b''.join(_telling(output)).decode('ascii', 'replace').split())
        if output.status and len(files) > 1:  # one that cannot be opened is enough
            return {machine for file in files for machine in self.machines([file])}
        return found

    def last_entry(self, files: 'Sequence[JournalFile]', machine: str, fields: 'Sequence[str]') -> 'Optional[Record]':
        """The last entry of a machine in some files.

        :raises JournalError: as entries
        """
        match = '_MACHINE_ID=' + machine
        found = [record for file in files[-_LATEST:] for record in self.read([file], '--lines=1', match, fields=fields)]
        return max(filter(None, found), key=received, default=None)

    def _find(self) -> 'List[JournalFile]':
        found = []
        for directory, below, names in os.walk(self._directory, onerror=_refuse):
            if directory != self._directory:
                below[:] = []
            paths = [os.path.join(directory, name) for name in names if name.endswith(_SUFFIXES)]
            found += [JournalFile(path) for path in paths if not os.path.islink(path) and os.path.isfile(path)]
        return sorted(found, key=lambda file: (os.path.dirname(file.path), file.sender, file.closed, file.path))


def _option(file: JournalFile) -> str:
    return '--file=' + glob.escape(file.path)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise GuardError('cannot read %s: %s' % (error.filename, error.strerror), _READ_IT) from None


def _identity(path: str) -> 'Optional[Tuple[int, int]]':
    try:
        status = os.stat(path)
    except FileNotFoundError:  # the collector has removed the oldest
        return None
    return status.st_dev, status.st_ino


def _telling(output: Output) -> 'Iterator[bytes]':
    try:
        yield from output
    except FileNotFoundError:
        raise JournalError('there is no journalctl') from None
    except OSError as error:
        raise JournalError('journalctl: %s' % error.strerror) from None
    except subprocess.TimeoutExpired:
        raise JournalError('journalctl has said nothing for %d seconds' % _SILENCE) from None
