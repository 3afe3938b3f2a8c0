# SPDX-License-Identifier: Apache-2.0
"""What the host's osinfo-db says of operating systems: their ids, and when they were released. Reads; writes nothing.

The database is libosinfo's: XML files, the distribution's below /usr/share/osinfo, the administrator's below
/etc/osinfo. Its ids are what virt-install, virt-manager, virt-v2v and Cockpit write into a domain's metadata. Not every
host has one, so a table of dates comes with this package, see os_releases. If something in the database is missing,
damaged, or not trusted, what the table says still counts.
"""

import os
import re

from ..errors import GuardError
from ..trust import check_ownership, read_file
from . import os_releases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Set, Tuple

    from .. import model

# In libosinfo's order: a file replaces one of the same name in an earlier place. Users' homes are not looked at.
_DISTRIBUTION, _ADMINISTRATOR = '/usr/share/osinfo', '/etc/osinfo'
_VERSION = _DISTRIBUTION + '/VERSION'
_MAX_BYTES = 1024 * 1024  # of one file; the largest has 60 kB
_PLAIN_ID = re.compile(rb'<os id="([\x21-\x7e]+?)">')
_PLAIN_DATE = re.compile(rb'<release-date>(\d{4}-\d\d-\d\d)</release-date>')
_DATE = re.compile(r'\d{4}-\d\d-\d\d\Z')


def known_released_before(date: str, root: str = '') -> 'model.ValueSet':
    """The ids of the operating systems that were released before a day (YYYY-MM-DD).

    By the database below `root` ('' stands for /), and by the table.
    """
    known = read_database(root, date)
    return os_releases.released_before(date, known.released, known.version, known.problems)


def known_systems(root: str = '') -> 'model.ValueSet':
    """The ids of all operating systems, by the database below `root` ('' stands for /) and by the tables.

    Only known_released_before tells what of the database cannot be used.
    """
    ids: 'Set[str]' = set()
    files: 'Dict[str, str]' = {}
    for place in (_DISTRIBUTION, _ADMINISTRATOR):
        files.update(_find_files(root + place + '/os', []))
    for path in files.values():
        try:
            ids.update(_read_ids(path))
        except (OSError, GuardError):
            continue
    return os_releases.known_systems(ids, _read_version(root + _VERSION, []))


class Database:
    """What was read: `released` maps ids to dates (YYYY-MM-DD), `version` is the database's own name of its state.

    `problems` has a line for everything that is there and could not be used.
    """

    __slots__ = ('version', 'released', 'problems')

    def __init__(self, version: str, released: 'Dict[str, str]', problems: 'List[str]') -> None:
        self.version = version
        self.released = released
        self.problems = problems


def sources(root: str = '') -> 'Tuple[str, ...]':
    """The paths whose change makes an answer stale; one that does not exist may be created later.

    An update of the package replaces VERSION; an administrator adds to and edits what is below /etc/osinfo.
    """
    paths = {root + path for path in (_VERSION, _DISTRIBUTION + '/os', _ADMINISTRATOR, _ADMINISTRATOR + '/os')}
    for directory, names, files in os.walk(root + _ADMINISTRATOR + '/os'):
        paths.update(os.path.join(directory, name) for name in names + files)
    return tuple(sorted(paths))


def read_database(root: str, before: str = '') -> Database:
    """Read the database below `root`. If an id has several dates, as when its entry is split, the earliest counts.

    :param before: leave out files in which no date is earlier than this one
    """
    problems: 'List[str]' = []
    files: 'Dict[str, str]' = {}
    for place in (_DISTRIBUTION, _ADMINISTRATOR):
        files.update(_find_files(root + place + '/os', problems))
    released: 'Dict[str, str]' = {}
    for name in sorted(files):
        try:
            for id, date in _read_dates(files[name], before):
                released[id] = min(date, released.get(id, date))
        except (OSError, GuardError) as error:
            problems.append(str(error))
    return Database(_read_version(root + _VERSION, problems), released, problems)


def _read_version(path: str, problems: 'List[str]') -> str:
    try:
        return _read(path).decode('ascii', 'replace').strip()
    except FileNotFoundError:
        return ''
    except (OSError, GuardError) as error:
        problems.append(str(error))
        return ''


def _find_files(top: str, problems: 'List[str]') -> 'Dict[str, str]':
    """The XML files below a directory: name relative to it -> path."""
    files: 'Dict[str, str]' = {}
    if not os.path.lexists(top):
        return files
    for directory, names, here in os.walk(top, onerror=lambda error: problems.append(str(error))):
        try:
            check_ownership(directory, os.stat(directory))
        except (OSError, GuardError) as error:
            # Without the hint: the owners of the directory decide what to do about it.
            problems.append(error.message if isinstance(error, GuardError) else str(error))
            names.clear()
            continue
        for name in here:
            if name.endswith('.xml'):
                path = os.path.join(directory, name)
                files[path[len(top) + 1 :]] = path
    return files


def _read_dates(path: str, before: str) -> 'Iterator[Tuple[str, str]]':
    """The ids in one file, each with its date of release, where it has one.

    :raises GuardError, OSError: the file is not to be trusted, or not one of osinfo-db
    """
    data = _read(path)
    if before and _is_all_later(data, before.encode('ascii')):
        return
    for id, date in _entries(data, path):
        if date:
            if not _DATE.match(date):
                raise GuardError('%s: the release-date %r of %s is not a date' % (path, date, id))
            yield id, date


def _entries(data: bytes, path: str) -> 'Iterator[Tuple[str, str]]':
    """What a file says of each system: its id, and its date of release, '' where it has none."""
    from lxml import etree  # not needed for most of the files, nor for what else is asked here

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise GuardError('%s is not XML: %s' % (path, error.msg)) from None
    for entry in root.iterchildren('os'):
        id = entry.get('id')
        if id:
            yield id, (entry.findtext('release-date') or '').strip()


def _read_ids(path: str) -> 'List[str]':
    """The ids in one file, as above."""
    data = _read(path)
    ids = _PLAIN_ID.findall(data)
    if len(ids) == data.count(b'<os') - data.count(b'<os>') and b'\0' not in data and b'&' not in b''.join(ids):
        return [id.decode('ascii') for id in ids]
    return [id for id, _ in _entries(data, path)]


def _is_all_later(data: bytes, before: bytes) -> bool:
    """Whether a file is seen, without parsing, to have dates, and none earlier; two files in three are."""
    dates = _PLAIN_DATE.findall(data)
    if len(dates) != data.count(b'<release-date') or b'\0' in data:
        return False  # only the parser can read a date that is written differently, or not in ASCII
    return min(dates, default=b'') >= before


def _read(path: str) -> bytes:
    data = read_file(path, _MAX_BYTES, check_ownership)
    if len(data) > _MAX_BYTES:
        raise GuardError('%s is larger than %d bytes' % (path, _MAX_BYTES))
    return data
