# SPDX-License-Identifier: Apache-2.0
"""The text of a catalog -> its entries: English texts, and what they are in another language. Pure: no I/O.

A catalog is a PO file as gettext has them, of which this is the part that we use: `msgid` and `msgstr`, each a quoted
text that may go on in the lines below; `#:` says what an entry is for, `#, fuzzy` that nobody has confirmed it. Other
comments do not matter. We read it ourselves, because gettext reads only what msgfmt has made of it.
"""

import re

from ..errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')
_ESCAPE = re.compile(r'\\(.)')
_ESCAPED = {'n': '\n', 't': '\t', 'r': '\r', '"': '"', '\\': '\\'}
_FILLED_IN = re.compile(r'%[sdg]')
_PERCENT = re.compile(r'%(.?)', re.DOTALL)


class CatalogError(GuardError):
    """A catalog that cannot be used; the message begins with FILE:LINE."""


class Entry:
    """`text` and its `translation`, '' where it has none, both with white space folded; `uses` is what `#:` says.

    `line` is that of the msgid.
    """

    __slots__ = ('line', 'text', 'translation', 'uses', 'is_fuzzy')

    def __init__(self, line: int, text: str, translation: str, uses: 'Tuple[str, ...]', is_fuzzy: bool) -> None:
        self.line = line
        self.text = text
        self.translation = translation
        self.uses = uses
        self.is_fuzzy = is_fuzzy


def folded(text: str) -> str:
    """A text as catalogs know it, however a profile breaks its lines."""
    return ' '.join(text.split())


def read_catalog(data: bytes, name: str) -> 'List[Entry]':
    """The entries of a catalog, in its order, without its header.

    :param name: of the file, for messages
    :raises CatalogError: it is not UTF-8, or has what is not read here; a text is there twice; or a translation does
        not take what its text is filled in with
    """
    try:
        lines = data.decode('utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        wrong = data[: error.start].count(b'\n') + 1
        raise CatalogError('%s:%d: this is not UTF-8' % (name, wrong), 'save it as UTF-8') from None
    reader = _Reader(name)
    for number, line in enumerate(lines, 1):
        reader.take(number, line.strip(' \t'))
    reader.end()
    return reader.entries


class _Reader:
    def __init__(self, name: str) -> None:
        self.entries: 'List[Entry]' = []
        self._name = name
        self._seen: 'Dict[str, int]' = {}
        self._begin(0)

    def _begin(self, line: int) -> None:
        self._line = line
        self._parts: 'Dict[str, List[str]]' = {}
        self._key = ''
        self._uses: 'Tuple[str, ...]' = ()
        self._is_fuzzy = False

    def take(self, line: int, text: str) -> None:
        if not text:
            return
        if text.startswith('#'):
            if 'msgstr' in self._parts:
                self.end()
            elif self._parts:
                raise self._error(line, 'a comment between msgid and msgstr', 'write it above msgid')
            if text.startswith('#:'):
                self._uses += tuple(text[2:].split())
            elif text.startswith('#,'):
                self._is_fuzzy = self._is_fuzzy or 'fuzzy' in text[2:].replace(',', ' ').split()
            return
        key, quote, rest = text.partition('"')
        key = key.strip()
        if key == 'msgid':
            if 'msgstr' in self._parts:
                self.end()
            if self._parts:
                raise self._error(line, 'msgid without the msgstr of the one before', 'write msgstr below each msgid')
            self._line = line
        elif key == 'msgstr':
            if list(self._parts) != ['msgid']:
                raise self._error(line, 'msgstr without a msgid', 'write msgid above it')
        elif key or not self._key:
            raise self._error(line, '%r is neither msgid nor msgstr' % (key or text), 'of PO files only these are read')
        if key:
            self._key = key
            self._parts[key] = []
        self._parts[self._key].append(self._unquoted(line, quote + rest))

    def _unquoted(self, line: int, text: str) -> str:
        quoted = _QUOTED.match(text)
        if quoted is None:
            raise self._error(line, 'the text is not in double quotes, or has one inside', 'write \\" inside of a text')
        for letter in _ESCAPE.findall(quoted.group(1)):
            if letter not in _ESCAPED:
                raise self._error(line, '\\%s is not known' % letter, 'known are: \\n \\t \\r \\" \\\\')
        return _ESCAPE.sub(lambda found: _ESCAPED[found.group(1)], quoted.group(1))

    def end(self) -> None:
        """Finish the entry that was read."""
        if self._parts:
            if 'msgstr' not in self._parts:
                raise self._error(self._line, 'msgid without a msgstr', 'write msgstr below it')
            text, translation = (folded(''.join(self._parts[key])) for key in ('msgid', 'msgstr'))
            if text in self._seen:
                raise self._error(
                    self._line, 'this text is there twice, first in line %d' % self._seen[text], 'remove one'
                )
            self._seen[text] = self._line
            if text:  # the header has none
                self._check(text, translation)
                self.entries.append(Entry(self._line, text, translation, self._uses, self._is_fuzzy))
        self._begin(0)

    def _check(self, text: str, translation: str) -> None:
        wanted = _FILLED_IN.findall(text)
        if wanted and translation and ['%' + letter for letter in _PERCENT.findall(translation)] != wanted:
            message = 'the translation does not have %s, in this order' % ' '.join(wanted)
            raise self._error(self._line, message, 'they are filled in')

    def _error(self, line: int, message: str, hint: str) -> CatalogError:
        return CatalogError('%s:%d: %s' % (self._name, line, message), hint)
