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
# It begins with what the search for it can run to; what stands before is looked at afterwards. No value has a <.
_WRITTEN_ID = rb'id\s*=\s*(?:"([^"<]*)"|\'([^\'<]*)\')'
_BEFORE_ID = b' \t\n\r"\''


def meant_id(text: str) -> str:
    """The id that is meant by a text; the text itself where that is not known."""
    if is_plain_id(text):
        return text
    bare = ''.join(text.split())
    return _long_id(bare) or _normal_id(bare) or text


def has_another_meaning(document: bytes) -> bool:
    """Whether a well-formed document without references has an attribute `id` that may mean another id."""
    search = re.compile(_WRITTEN_ID).search
    found = search(document)
    while found is not None:
        written = (found.group(1) or found.group(2) or b'').decode('utf-8', 'replace')
        if document[found.start() - 1] in _BEFORE_ID and meant_id(written) != written:
            return True
        # From within: what looks like one may be part of a value, and end where a real one begins.
        found = search(document, found.start() + 1)
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
