# SPDX-License-Identifier: Apache-2.0
"""A line of bash up to the cursor -> its words; and words, quoted so that they continue it.

What bash would expand or run ($NAME, $(...)) is text here, and stays as it is typed.
"""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

_SINGLE, _DOUBLE = "'", '"'
_SPECIAL_IN_DOUBLE = '$`"\\'
_PLAIN = re.compile(r'[\w@%+=:,./~-]')
_BLANK = ' \t\n'


class BashLine:
    """`words` are those before the cursor, without quotes, the command first. `word` is that at the cursor, as far as
    it is typed, and `raw` is how. `redirected` tells whether it names the file of a redirection."""

    def __init__(self, line: str) -> None:
        self.words: 'List[str]' = []
        self.word = self.raw = ''
        self.redirected = False
        self._begun = False
        self._quote = ''
        i = 0
        while i < len(line):
            i += self._take(line[i], line[i + 1 : i + 2])

    def _take(self, character: str, following: str) -> int:
        """Take one character, or two. Returns how many."""
        quote = self._quote
        if not quote and character in _BLANK:
            self._end()
            return 1
        if not quote and character in '<>':
            if self.raw.isdigit():  # 2>
                self._begin()
            self._end()
            self.redirected = True
            return 2 if following in ('<', '>', '&', '|') and following else 1
        self._begun = True
        self.raw += character
        if character == quote:
            self._quote = ''
        elif not quote and character in (_SINGLE, _DOUBLE):
            self._quote = character
        elif character == '\\' and quote != _SINGLE:
            if quote and following and following not in _SPECIAL_IN_DOUBLE + '\n':
                self.word += character
            elif following:
                self.raw += following
                self.word += following if following != '\n' else ''
                return 2
        else:
            self.word += character
        return 1

    def _end(self) -> None:
        if self._begun and not self.redirected:
            self.words.append(self.word)
        if self._begun:
            self._begin()

    def _begin(self) -> None:
        self.word = self.raw = ''
        self._begun = self.redirected = False

    def continued(self, word: str, replaced: str) -> str:
        """What takes the place of the end of the line, so that `word` is at the cursor; it begins with what is typed.

        :param replaced: the end of the line, as far as bash replaces it
        """
        kept = BashLine(self.raw[: len(self.raw) - len(replaced)] if self.raw.endswith(replaced) else '')
        return _quoted(word[len(kept.word) :], kept._quote, not kept.raw)


def _quoted(text: str, quote: str, at_start: bool) -> str:
    if quote == _SINGLE:
        return text.replace("'", "'\\''")
    if quote == _DOUBLE:
        # Of ! bash thinks before it looks at backslashes.
        return re.sub(r'[$`"\\]', r'\\\g<0>', text).replace('!', '"\'!\'"')
    quoted = ''.join(one if _PLAIN.match(one) else '\\' + one for one in text)
    return '\\' + quoted if at_start and quoted.startswith('~') else quoted
