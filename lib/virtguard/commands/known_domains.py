# SPDX-License-Identifier: Apache-2.0
"""The domains of this host by name and UUID, from libvirt's own files: definitions, and the states of what runs."""

import html
import re

from ..errors import GuardError, suggest
from .domain_files import defined_domain_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from ..policy.installation import Installation

# As libvirt writes it. In a state file the domain is within other elements.
_IDENTITY = re.compile(
    rb'<domain[\s>].*?<name>([^<]*)</name>\s*<uuid>\s*([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\s*</uuid>',
    re.DOTALL,
)


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
    for directory in (installation.domains, installation.run):
        for file in defined_domain_files(directory):
            try:
                identity = _IDENTITY.search(file.read())
            except GuardError:
                continue
            if identity is not None:
                name, uuid = identity.group(1).decode('utf-8', 'replace'), identity.group(2).decode('ascii').lower()
                found.setdefault(uuid, KnownDomain(html.unescape(name), uuid, file.name))
    return list(found.values())


def find_domain(word: str, known: 'List[KnownDomain]') -> KnownDomain:
    """The domain that a user means by a name or a UUID.

    :raises GuardError: there is none; or one has the name, and another one the UUID
    """
    found = [domain for domain in known if word == domain.name or word.lower() == domain.uuid]
    if len(found) > 1:
        raise GuardError('%r is the name of one domain and the UUID of another' % word, 'give the other one of the two')
    if found:
        return found[0]
    names = [domain.name for domain in known]
    hint = suggest(word, names) if names else 'virsh list --all shows the domains of this host'
    raise GuardError('there is no domain %r on this host' % word, hint)
