# SPDX-License-Identifier: Apache-2.0
"""JSON on QEMU's command line -> settings, see qemu_args. Pure: no I/O, no XML."""

import json
import re

from .errors import DomainXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

    Settings = List[Tuple[str, str]]

# A string without a closing quote ends with the text, so that matching never has to go back.
_STRING = re.compile(r""""(?:[^"\\]+|\\.?)*"?|'(?:[^'\\]+|\\.?)*'?""", re.DOTALL)
_MOST, _LONGEST = 10000, 1 << 20  # settings, and characters of their names
_ESCAPE_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
# JSON can write what XML cannot.
NOT_AN_XML_CHARACTER = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def read_json(prefix: str, text: str) -> 'Settings':
    """What the JSON at the beginning of a text says; nothing where there is none."""
    try:
        document = _load_json(text)
        return [] if document is None else _bounded(_flatten(prefix, document))
    except RecursionError:
        raise DomainXMLError('a JSON argument of <qemu:commandline> is nested too deep') from None


def _bounded(settings: 'Iterator[Tuple[str, str]]') -> 'Settings':
    """Each setting has the names of all that it is in, so a few bytes of JSON may say very much.

    :raises DomainXMLError: they say more than those of any real domain
    """
    found: 'Settings' = []
    length = 0
    for name, value in settings:
        found.append((name, value))
        length += len(name)
        if len(found) > _MOST or length > _LONGEST:
            raise DomainXMLError('a JSON argument of <qemu:commandline> says more than that of any real domain')
    return found


def _load_json(text: str) -> object:
    """The value at the beginning of a text; None where there is none (QEMU does not start with such an argument)."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(_STRING.sub(_double_quoted, text))[0]
    except ValueError:
        return None


def _double_quoted(match: 're.Match[str]') -> str:
    """Standard JSON for a string of QEMU's JSON, which may be in single quotes and may escape both kinds."""
    text = match.group()
    closed = len(text) > 1 and text.endswith(text[0])
    return '"%s%s' % (_ESCAPE_OR_QUOTE.sub(_escape, text[1:-1] if closed else text[1:]), '"' if closed else '')


def _escape(match: 're.Match[str]') -> str:
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


def _flatten(prefix: str, value: object) -> 'Iterator[Tuple[str, str]]':
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _flatten('%s%s.' % (prefix, key), member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _flatten('%s%d.' % (prefix, index), member)
    elif isinstance(value, bool):
        yield prefix[:-1], 'true' if value else 'false'
    else:
        yield prefix[:-1], NOT_AN_XML_CHARACTER.sub('\ufffd', str(value))
