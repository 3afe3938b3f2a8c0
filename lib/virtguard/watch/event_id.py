# SPDX-License-Identifier: Apache-2.0
"""What tells an occurrence from all others, so that readers of records can drop duplicates. Pure: no I/O.

A watch that is killed after it has told something, and before it has kept that, tells it again. The state of the domain
and the counts of what was told in it are then the same as the first time, so the event is the same. When something
happens again, its count is another, so the event is another.
"""

import re

from ..digest import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..model import Occurrence
    from .auditor import Tracked
    from .state import State

_LENGTH = 32  # hexadecimal digits
_MOST_COUNTS = 4096
_EPOCH = 'epoch'  # how often there were more, and counting began again
_ID = re.compile(rb'^  <domain\b[^>]*? id=["\'](\d+)', re.MULTILINE)


def name_events(before: 'Tracked', after: 'Tracked', news: 'Sequence[Occurrence]', boot: str) -> None:
    """Give each occurrence of a change its event, and count it.

    :param before, after: the domain before and after the change
    """
    if not news:
        return
    after.run = _run(after.state) or _run(before.state) or before.run
    told = dict(before.told) if after.run == before.run else {}
    for occurrence in news:
        key = _hash(occurrence.key)[: _LENGTH // 2]
        count = told.get(key, 0)
        words = (boot, after.uuid or after.name, after.run, occurrence.key, str(count), str(told.get(_EPOCH, 0)))
        occurrence.event = _hash('\0'.join(words))[:_LENGTH]
        if len(told) > _MOST_COUNTS:
            told = {_EPOCH: told.get(_EPOCH, 0) + 1}
        told[key] = count + 1
    after.told = told


def _run(state: 'State') -> str:
    """What tells this run of the domain from others; '' if it does not run."""
    if state.status is None:
        return ''
    found = _ID.search(state.status)
    return '%s %d' % (found.group(1).decode() if found else '', state.pid())


def _hash(text: str) -> str:
    return sha256_hex(text.encode('utf-8', 'surrogatepass'))
