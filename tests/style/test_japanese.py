# SPDX-License-Identifier: Apache-2.0
"""The Japanese texts say what the English ones say: whatever is not prose is the same, section by section."""

import re
from collections import Counter

from support.paths import CHECKOUT
from test_project_documents import FENCED, LINK

README, README_JA = CHECKOUT / 'README.md', CHECKOUT / 'README.ja.md'


def text_of(path):
    return path.read_text(encoding='utf-8')


def differences(english, japanese):
    """What one of two collections has more often than the other, for people to read."""
    ours, theirs = Counter(english), Counter(japanese)
    return ['only in English: %s' % (what,) for what in (ours - theirs).elements()] + [
        'only in Japanese: %s' % (what,) for what in (theirs - ours).elements()
    ]


# README


def sections_of_readme(path):
    """(title, lines of displays without comments, links, other code, cells of each row of tables) of each section."""
    text = FENCED.sub(lambda found: hidden(found.group()), text_of(path))
    for part in re.split('^#+ ', text, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition('\n')
        shown = [re.sub(r'\s+# .*', '', line[1:]) for line in text.splitlines() if line.startswith('\0')]
        prose = '\n'.join(line for line in text.splitlines() if not line.startswith('\0'))
        links = [link for link in LINK.findall(prose) if link not in (README.name, README_JA.name)]
        code = [' '.join(words.split()) for words in re.findall(r'`([^`]+)`', prose)]
        rows = [line.count('|') for line in prose.splitlines() if line.startswith('|')]
        yield title, shown, links, code, rows


def hidden(display):
    """A display, with a mark before each line: `#` begins no heading there."""
    return '\n'.join('\0' + line for line in display.splitlines())


def test_readme():
    english, japanese = list(sections_of_readme(README)), list(sections_of_readme(README_JA))
    assert len(english) == len(japanese) > 1
    for (title, shown, links, code, rows), (title_ja, shown_ja, links_ja, code_ja, rows_ja) in zip(english, japanese):
        where = 'README.ja.md, section %s (%s): ' % (title_ja, title)
        assert shown == shown_ja, where + 'the displays differ'
        assert differences(links, links_ja) == [], where + 'the links differ'
        assert differences(code, code_ja) == [], where + 'what is in backquotes differs'
        assert rows == rows_ja, where + 'the tables differ'
