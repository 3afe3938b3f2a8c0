# SPDX-License-Identifier: Apache-2.0
"""The last states of domains on disk, so that a watch that is started again finds what has changed meanwhile.

One file for each domain (see kept_file). A file that is damaged, or could be somebody else's, is ignored.

One watch at a time keeps states: it has the directory locked (flock(2)) for as long as it lives.
"""

import contextlib
import fcntl
import os
import stat

from ..digest import sha256_hex
from ..errors import GuardError
from ..judging.subject import parse_xml
from ..trust import is_only_ours
from .auditor import Tracked
from .kept_file import read_kept, write_kept
from .state import STATUS, State, check_document, is_light

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Set, Tuple

_FORMAT = b'virt-guard state 1'
_SUFFIX = '.state'


class KeptStates:
    """A directory of kept states; if it cannot be used, nothing is kept, and `warn` was told why.

    `is_taken`: another watch keeps its states there. This one may read them. `boot` identifies this boot of the host.
    """

    def __init__(self, directory: str, warn: 'Callable[[str], None]') -> None:
        self._directory = directory
        self._warn = warn
        self._unwritten: 'Set[str]' = set()  # paths
        self.is_taken = False
        self._usable = self._prepare()
        with open('/proc/sys/kernel/random/boot_id') as file:
            self.boot = file.read().strip()

    def _prepare(self) -> bool:
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            status = os.lstat(self._directory)
            if not stat.S_ISDIR(status.st_mode) or not is_only_ours(status):
                self._warn('%s is not a directory, or others could write it; states are not kept' % self._directory)
                return False
            os.chmod(self._directory, 0o700)
            self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.is_taken = True
            return False
        except OSError as error:
            self._warn('%s cannot be used: %s; states are not kept' % (self._directory, error.strerror))
            return False
        return True

    @property
    def is_usable(self) -> bool:
        """Whether this watch keeps something there."""
        return self._usable

    def load(self) -> 'List[Tuple[Tracked, bool]]':
        """Everything that was kept and can be used, each with whether the host has been booted since."""
        domains = []
        for name in sorted(os.listdir(self._directory)) if self._usable or self.is_taken else []:
            path = os.path.join(self._directory, name)
            if not name.endswith(_SUFFIX):
                if _SUFFIX + '.' in name and not self.is_taken:
                    os.unlink(path)  # left by a watch that was killed while it wrote
                continue
            try:
                domains.append(_unpack(read_kept(path, _FORMAT), self.boot))
            except (GuardError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._warn('%s is left out: %s' % (path, error))
        return domains

    def keep(self, tracked: Tracked) -> bool:
        """Write a domain's state down; if there is none, remove the old one. False: it must be tried again."""
        if not self._usable:
            return True
        path = self._path(tracked.name)
        try:
            if tracked.state or tracked.held:
                write_kept(path, _FORMAT, _pack(tracked, self.boot))
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        except OSError as error:
            if not self._unwritten:
                self._warn('%s cannot be written: %s; it is tried again' % (path, error.strerror))
            self._unwritten.add(path)
            return False
        self._unwritten.discard(path)
        return True

    def _path(self, name: str) -> str:
        # A domain may have any name, also one that is too long with a suffix.
        return os.path.join(self._directory, sha256_hex(os.fsencode(name)) + _SUFFIX)


def _pack(tracked: Tracked, boot: str) -> 'Dict[str, Any]':
    state = tracked.state
    return {
        'boot': boot,
        'name': tracked.name,
        'uuid': tracked.uuid,
        'held': tracked.held,
        'run': tracked.run,
        'told': tracked.told,
        'status': None if state.status is None else _text(state.status),
        'others': [(kind, name, _text(document)) for (kind, name), document in state.others.items()],
    }


def _unpack(content: 'Any', boot: str) -> 'Tuple[Tracked, bool]':
    others = {(str(kind), str(name)): _bytes(text) for kind, name, text in content['others']}
    status = None if content['status'] is None else _bytes(content['status'])
    held = {str(key): str(since) for key, since in content['held'].items()}
    told = {str(key): int(count) for key, count in content.get('told', {}).items()}  # older ones have none
    # A long document is parsed when it is judged.
    for document in others.values():
        if is_light([document]):
            parse_xml(document)
    if status is not None and is_light([status]):
        check_document(STATUS, status)
    run = str(content.get('run', ''))
    tracked = Tracked(str(content['name']), str(content['uuid']), State(status, others), held, run, told)
    return tracked, content['boot'] != boot


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'surrogateescape')


def _bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')
