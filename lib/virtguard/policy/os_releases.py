# SPDX-License-Identifier: Apache-2.0
"""Which operating systems there are, and which were released before a day, by the shipped tables and the host's own
database. Pure: no I/O."""

from .. import model
from .osinfo_table import RELEASED, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Optional, Sequence


def released_before(
    date: str, more: 'Optional[Mapping[str, str]]' = None, version: str = '', problems: 'Sequence[str]' = ()
) -> model.ValueSet:
    """The libosinfo ids of those that the table, or a host's own database, says were released before `date`.

    :param date: YYYY-MM-DD, as are the values of `more`
    :param more, version, problems: what the database says, its name for its state, what of it could not be used
    """
    databases = [RELEASED, more or {}]
    ids = {id for released in databases for id in released if released[id] < date}
    name = '{os-released-before: %s}' % date
    return model.ValueSet(name, tuple(sorted(ids)), _source(bool(more), version), tuple(problems))


def known_systems(more: 'Iterable[str]' = (), version: str = '', problems: 'Sequence[str]' = ()) -> model.ValueSet:
    """The libosinfo ids of all that the tables, or a host's own database, know. The database calls some of them
    unknown: the vendor of the system is known, but not which of his systems it is.

    :param more: the ids in that database; the others are as for released_before
    """
    from .osinfo_names import IDS  # as long as the other table, and asked for by one rule

    more = set(more)
    ids = more.union(RELEASED, IDS.values())
    known = tuple(sorted(id for id in ids if 'unknown' not in id))
    return model.ValueSet('{os-known: true}', known, _source(bool(more), version), tuple(problems))


def _source(has_database: bool, version: str) -> str:
    source = 'the osinfo-db %s that comes with virt-guard' % VERSION
    if has_database:
        source = "this host's osinfo-db %s and %s" % (version or 'of unknown version', source)
    return source
