# SPDX-License-Identifier: Apache-2.0
"""A libosinfo id as somebody wrote it -> as osinfo-db has it. Pure: no I/O.

libosinfo compares ids as texts, so it does not know https://microsoft.com/win/7, HTTP://Microsoft.com/win/7/ and win7,
its short id; a person, or a program that does not ask libosinfo, means Windows 7 by each of them. Rules are matched
with the id that is meant. An id is only changed if osinfo-db knows the system, or if it is named like a system of one
of its vendors: a site's own ids stay as they are.
"""

import re

from ..tree import is_plain_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import FrozenSet, Optional

# Patterns that the module re compiles when they are first needed: most calls of the hook need none of them.
_SCHEME = r'(?:[A-Za-z][A-Za-z0-9+-]*:(?=/))?/*'
_PORT = r':\d*\Z'
_WRITTEN_ID = rb'[\s"\']id\s*=\s*(?:"([^"]*)"|\'([^\']*)\')'


def meant_id(text: str) -> str:
    """The id that is meant by a text; the text itself where that is not known."""
    if is_plain_id(text):
        return text
    bare = ''.join(text.split())
    return _long_id(bare) or _normal_id(bare) or text


def has_another_meaning(document: bytes) -> bool:
    """Whether a well-formed document without references has an attribute `id` that may mean another id."""
    for quoted, in_apostrophes in re.findall(_WRITTEN_ID, document):
        written = (quoted or in_apostrophes).decode('utf-8', 'replace')
        if meant_id(written) != written:
            return True
    return False


def _long_id(short: str) -> 'Optional[str]':
    from .osinfo_names import IDS  # hardly any domain has a short one

    return IDS.get(short) or IDS.get(short.lower())


def _normal_id(text: str) -> 'Optional[str]':
    scheme = re.match(_SCHEME, text)
    start = scheme.end() if scheme else 0
    host, *path = [part for part in text[start:].split('/') if part] or ['']
    host = re.sub(_PORT, '', host.rpartition('@')[2].lower()).rstrip('.')
    host = host[len('www.') :] if host.startswith('www.') else host
    return '/'.join(['http:/', host] + path) if path and host in _vendors() else None


_known_vendors: 'FrozenSet[str]' = frozenset()


def _vendors() -> 'FrozenSet[str]':
    global _known_vendors  # noqa: PLW0603
    if not _known_vendors:
        from .osinfo_names import IDS

        _known_vendors = frozenset(id.split('/')[2] for id in IDS.values())
    return _known_vendors
