# SPDX-License-Identifier: Apache-2.0
"""Waivers that name domains which this host does not have: each with what may have been meant."""

import os
from fnmatch import fnmatchcase

from ...errors import GuardError
from ...host import today
from ...waivers import days_left, is_uuid
from .host_domains import HostDomains, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from ...model import DomainEntry, Policy
    from ...policy.installation import Installation

_GLOB = frozenset('*?[')


def find_absent(policy: 'Policy', installation: 'Installation') -> 'Iterator[str]':
    """What to say of each such entry of a waiver that has not expired; nothing where there is no libvirt."""
    waivers = [waiver for waiver in policy.waivers if days_left(waiver, today()) >= 0]
    if not waivers or not os.path.isdir(installation.domains):
        return
    here = HostDomains(installation)
    try:
        for waiver in waivers:
            for entry in waiver.domains:
                said = _describe(entry, here)
                if said:
                    yield '%s:%d: the waiver of %s %s' % (waiver.origin + (', '.join(waiver.rules), said))
    except GuardError as error:
        yield 'it is not checked whether the domains that waivers name are here: %s' % error


def _describe(entry: 'DomainEntry', here: HostDomains) -> str:
    """What is wrong with an entry, '' where its domain is here."""
    uuid, name = ('', entry) if isinstance(entry, str) else entry
    if not uuid and is_uuid(name):
        uuid, name = name, ''
    names = [as_text(known) for known in here.names()]
    alike = [known for known in names if fnmatchcase(known, name)]
    if not uuid:
        if alike:
            return ''
        if _GLOB.intersection(name):
            return 'names %s, and no domain of this host has a name like this' % name
        return 'names %s, which is not a domain of this host (%s)' % (name, here.suggest(name))
    domain = here.find(uuid)
    if domain is not None:
        known = as_text(domain.name)
        return '' if not name or known in alike else 'names %s, but the domain with that UUID is %s' % (name, known)
    said = 'names the UUID %s, which no domain of this host has' % uuid
    if not name or name not in alike:
        return said
    meant = here.find(name)
    return said + (' (%s has %s)' % (name, meant.identity()[1]) if meant is not None else '')
