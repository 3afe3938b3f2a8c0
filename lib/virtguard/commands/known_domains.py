# SPDX-License-Identifier: Apache-2.0
"""The domains of this host by name and UUID, from libvirt's own files: definitions, and the states of what runs."""

from ..errors import GuardError
from ..waivers import is_uuid
from .host_domains import HostDomains, as_text, suggest_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from ..policy.installation import Installation


class KnownDomain:
    """`uuid` is in lower case; `file` is its definition, or the state of a domain that has none."""

    __slots__ = ('name', 'uuid', 'file')

    def __init__(self, name: str, uuid: str, file: str) -> None:
        self.name = name
        self.uuid = uuid
        self.file = file


def known_domains(installation: 'Installation') -> 'List[KnownDomain]':
    """Every domain of the host. A file that cannot be read, or that libvirt has not written, counts as none.

    :raises GuardError: a directory cannot be listed
    """
    found: 'Dict[str, KnownDomain]' = {}
    for domain in HostDomains(installation).all():
        try:
            name, uuid = domain.identity()
        except GuardError:
            continue
        if name and is_uuid(uuid):
            found.setdefault(uuid, KnownDomain(name, uuid, domain.definition or domain.status))
    return list(found.values())


def find_domain(word: str, known: 'List[KnownDomain]') -> KnownDomain:
    """The domain that a user means by a name or a UUID.

    :raises GuardError: there is none; or one has the name, and another one the UUID
    """
    word = as_text(word)
    found = [domain for domain in known if word == domain.name or word.lower() == domain.uuid]
    if len(found) > 1:
        raise GuardError('%r is the name of one domain and the UUID of another' % word, 'give the other one of the two')
    if found:
        return found[0]
    hint = suggest_name(word, [domain.name for domain in known])
    raise GuardError('there is no domain %r on this host' % word, hint)
