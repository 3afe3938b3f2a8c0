# SPDX-License-Identifier: Apache-2.0
"""An evidence pack: a directory with the report, the records that it is made of, the policy, versions, and checksums.

The checksums come last: a pack without them was not finished.
"""

import os
import platform
import subprocess

from .. import __version__
from ..errors import GuardError
from ..health.programs import run_program
from ..host import Host
from ..policy.files import read_policy_file
from ..wording import escape
from .new_files import NewDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Mapping, Optional

    from .new_files import NewFile
    from .present import Present

RECORDS = 'records.jsonl'
_SUMS = 'SHA256SUMS'
_PATIENCE = 5  # seconds
_PROGRAMS = ('libvirtd', 'virtqemud', '/usr/libexec/qemu-kvm', 'qemu-system-x86_64', 'journalctl')


class Pack:
    """A pack that is being made: `records` takes the records while they are read."""

    def __init__(self, path: str) -> None:
        """
        :raises GuardError: there is something of that name, or it cannot be made
        """
        self._directory = NewDirectory(path)
        try:
            self.records: NewFile = self._directory.new_file(RECORDS)
        except BaseException:
            self._directory.remove()
            raise

    def __enter__(self) -> 'Pack':
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._directory.close()
        else:
            self._directory.remove()

    def finish(self, reports: 'Mapping[str, Iterable[str]]', present: 'Optional[Present]') -> None:
        """Write what else belongs to it.

        :param reports: what is in a file, by its name
        :raises GuardError:
        """
        directory = self._directory
        self.records.close()
        directory.add(self.records)
        for name, pieces in reports.items():
            directory.write(name, pieces)
        self._write_policy(present)
        directory.write('versions.txt', _versions())
        lines = ['%s  %s\n' % (digest, name) for name, digest in sorted(directory.digests.items())]
        directory.write(_SUMS, lines)

    def _write_policy(self, present: 'Optional[Present]') -> None:
        """The files of a policy under numbers in their order, and what sha256sum prints of them on this host, of which
        the digest is that of the policy where it has several files."""
        if present is None:
            return
        self._directory.make_directory('policy')
        sums = []
        for number, path in enumerate(present.files, 1):
            name = 'policy/%02d-%s' % (number, _plain(os.path.basename(path)))
            try:
                self._directory.write(name, [read_policy_file(path)])
            except GuardError as error:
                self._directory.write(name + '.unreadable', ['%s\n' % escape(str(error))])
                continue
            sums.append('%s  %s\n' % (self._directory.digests[name], path))
        self._directory.write('policy/on-this-host.sha256', sums)


def _plain(name: str) -> str:
    """A name that sha256sum need not escape."""
    return ''.join(c if c.isalnum() or c in '._-' else '_' for c in name)


def _versions() -> 'Iterator[str]':
    yield 'virt-guard %s\n' % __version__
    yield 'Python %s\n' % platform.python_version()
    yield '%s\n' % escape(' '.join(os.uname()))
    for name, value in sorted(Host().os_release().items()):
        if name in ('ID', 'VERSION_ID', 'PRETTY_NAME'):
            yield '%s=%s\n' % (name, escape(value))
    for program in _PROGRAMS:
        try:
            result = run_program([program, '--version'], _PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            continue
        said = result.stdout.decode('utf-8', 'replace').splitlines()
        if said and not result.returncode:
            yield '%s: %s\n' % (program, escape(said[0]))
