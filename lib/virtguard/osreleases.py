# SPDX-License-Identifier: Apache-2.0
"""Which operating systems were released before a day, by the shipped table and what a host knows more. Pure: no I/O."""

from . import model
from .osinfo_table import RELEASED, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional, Sequence


def released_before(
    date: str, more: 'Optional[Mapping[str, str]]' = None, version: str = '', problems: 'Sequence[str]' = ()
) -> model.ValueSet:
    """The libosinfo ids of those that the table, or a host's own database, says were released before `date`.

    :param date: YYYY-MM-DD, as are the values of `more`
    :param more, version, problems: what the database says, its name for its state, what of it could not be used
    """
    databases = [RELEASED, more or {}]
    ids = {id for released in databases for id in released if released[id] < date}
    source = 'the osinfo-db %s that comes with virt-guard' % VERSION
    if more:
        source = "this host's osinfo-db %s and %s" % (version or 'of unknown version', source)
    return model.ValueSet('{os-released-before: %s}' % date, tuple(sorted(ids)), source, tuple(problems))
