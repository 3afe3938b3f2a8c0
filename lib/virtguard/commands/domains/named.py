# SPDX-License-Identifier: Apache-2.0
"""What a word of the command line stands for where a file of a domain, or a domain of this host, can be given.

A word with a slash, or the name of an existing file that ends with .xml, is a path. Any other word is a domain of this
host if one has this name or UUID, and a path if none has. So no domain that somebody defines hides ./FILE or FILE.xml,
and no file in the directory in which the command happens to run hides a domain.
"""

import os

from ...errors import GuardError
from .domain_files import STDIN, DomainFile
from .host_domains import HostDomain, HostDomains, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, List, Union

    from ...policy.installation import Installation


def files_or_domains(
    words: 'Iterable[str]', installation: 'Installation', note: 'Callable[[str], None]'
) -> 'List[Union[str, DomainFile]]':
    """A path, or the file of a domain, for each word: its status if it runs, else its definition.

    :param note: takes a line about a word that could mean either, and about the first domain that runs
    """
    domains = HostDomains(installation)
    found: 'List[Union[str, DomainFile]]' = []
    is_told = False
    for word in words:
        domain = _domain_meant(word, domains, note)
        if not isinstance(domain, HostDomain):
            found.append(domain)
            continue
        if domain.status and domain.definition and not is_told:
            is_told = True
            told = "'%s' is judged as it runs; 'virt-guard scan' judges its definition, which its next start takes"
            note(told % as_text(domain.name))
        found.append(DomainFile(domain.status or domain.definition, True))
    return found


def _domain_meant(
    word: str, domains: HostDomains, note: 'Callable[[str], None]'
) -> 'Union[str, DomainFile, HostDomain]':
    """The domain, or a path; where there is neither, a file that cannot be read, which tells the reason."""
    exists = os.path.lexists(word)
    if word == STDIN or '/' in word or (exists and word.endswith('.xml')):
        return word
    try:
        domain = domains.find(word)
        if domain is None and not exists:
            reason = 'there is neither a file nor a domain of this host with this name'
            return _missing(word, str(GuardError(reason, domains.suggest(word))))
    except GuardError as error:
        # Who may not ask which domains there are means a file.
        return word if exists else _missing(word, 'there is no such file; if it is a domain of this host: %s' % error)
    if domain is None:
        return word
    if exists:
        note("'%s' is taken for the domain of this host; for the file, type ./%s" % ((as_text(word),) * 2))
    return domain


def definitions(words: 'Iterable[str]', installation: 'Installation') -> 'Iterator[DomainFile]':
    """The file of each domain of this host that is named: its definition, or its status if it has none."""
    domains = HostDomains(installation)
    for word in words:
        try:
            domain = domains.require(word)
        except GuardError as error:
            yield _missing(word, _with_file(word, error))
        else:
            yield DomainFile(domain.definition or domain.status, True)


def _with_file(word: str, error: GuardError) -> str:
    if not os.path.lexists(word):
        return str(error)
    return "it is a file, not a domain of this host; type 'virt-guard check' for a file"


def _missing(word: str, reason: str) -> DomainFile:
    return DomainFile(as_text(word) or "''", True, reason)
