# SPDX-License-Identifier: Apache-2.0
"""Hosts by the name of their release, such as rhel-9.4: what is judged where a domain is written, not where it runs.

Such a host is what its vendor supports: x86_64, and not a container. What only a real host can tell, as of a disk, is
unknown; a path leads where it is written.
"""

from ... import model
from ...errors import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

# For each family, the major numbers that have a profile, and the last minor number that there is, or is to be expected.
_LAST = {'rhel': {8: 10, 9: 10, 10: 10}, 'sles': {15: 7, 16: 3}}
ARCHITECTURE = 'x86_64'


class NamedHost(model.HostFacts):
    """A host that has the name of its release; `profile` is the list that its vendor has for it.

    :raises ValueError: there is no such host; the text says which there are
    """

    __slots__ = ('profile',)

    def __init__(self, name: str) -> None:
        super().__init__(ARCHITECTURE, 'none', name, answer_elsewhere)
        found = _profile(name)
        if found is None:
            # Without a number, any release of that name is as near as the others.
            near = nearest(name, names()) if any(letter.isdigit() for letter in name) else None
            meant = 'did you mean %r? ' % near if near is not None else ''
            known = ', '.join('%s-%d.0 to %d.%d' % (family, major, major, last) for family, major, last in _ranges())
            told = (name, meant, known)
            raise ValueError('there is no host %r; %sknown are: %s, and rebuilds, such as rocky-9.4' % told)
        self.profile = found


def names() -> 'List[str]':
    """The names of the vendors' own releases."""
    return ['%s-%d.%d' % (family, major, n) for family, major, last in _ranges() for n in range(last + 1)]


def _ranges() -> 'List[Tuple[str, int, int]]':
    return [(family, major, last) for family, lasts in _LAST.items() for major, last in lasts.items()]


def _profile(name: str) -> 'Optional[str]':
    for family, lasts in _LAST.items():
        release = model.release_of(name, (), family)
        if release and release[0] in lasts and (release[1] <= lasts[release[0]] or '.' not in name):
            return '%s-%d' % (family, release[0])
    return None


def answer_elsewhere(probe: str, subject: str) -> 'model.Answered':
    """What is known of a host that is not at hand: a path leads where it is written, all else is unknown."""
    if probe != 'real-path':
        return None
    return subject.startswith('/') and subject
