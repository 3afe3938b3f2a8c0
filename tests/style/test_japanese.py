# SPDX-License-Identifier: Apache-2.0
"""The Japanese texts say what the English ones say: whatever is not prose is the same, section by section."""

import difflib
import os
import re
import shutil
import subprocess
import unicodedata
from collections import Counter

import pytest
from support.capabilities import missing
from support.paths import CHECKOUT
from test_manual import ABOUT_OTHER_PAGES, run_tool
from test_project_documents import FENCED, LINK

README, README_JA = CHECKOUT / 'README.md', CHECKOUT / 'README.ja.md'
CATALOG, CATALOG_JA = CHECKOUT / 'data' / 'virt-guard.catalog', CHECKOUT / 'data' / 'virt-guard.ja.catalog'


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


# The catalog of the journal


def entries(path):
    """Of each entry: all of its head but the subject, its fields, its commands."""
    for id, head, text in re.findall(r'^-- (\w+)\nSubject: .*\n((?:.+\n)*)\n((?:(?!-- ).*\n)*)', text_of(path), re.M):
        fields = set(re.findall(r'@\w+@|VIRT_GUARD_\w+', text))
        yield id, (head, fields, [line for line in text.splitlines() if line.startswith('  ')])


def test_catalog():
    english, japanese = list(entries(CATALOG)), list(entries(CATALOG_JA))
    assert [id for id, _ in english] == [id for id, _ in japanese]
    for (id, said), (_, said_ja) in zip(english, japanese):
        assert said == said_ja, 'virt-guard.ja.catalog, entry %s: head, fields or commands differ' % id
    assert [line for line in text_of(CATALOG_JA).splitlines() if width(line) > 80] == []


def width(line):
    return sum(2 if unicodedata.east_asian_width(letter) in 'WF' else 1 for letter in line)


def japanese_locale(directory):
    """The environment of a Japanese. Most hosts of tests have no such locale; its name is what counts here."""
    source = next((path for path in ('/usr/lib/locale/C.utf8', '/usr/lib/locale/C.UTF-8') if os.path.isdir(path)), None)
    if source is None:
        missing('there is no locale C.UTF-8')
    shutil.copytree(source, str(directory / 'ja_JP.UTF-8'))
    return dict(os.environ, LOCPATH=str(directory), LC_ALL='ja_JP.UTF-8')


def test_journalctl_takes_it_by_the_locale(tmp_path):
    if shutil.which('journalctl') is None:
        missing('there is no journalctl')
    for directory in ('usr/lib/systemd/catalog', 'var/lib/systemd/catalog'):
        (tmp_path / directory).mkdir(parents=True)
    for path in (CATALOG, CATALOG_JA):
        shutil.copy(str(path), str(tmp_path / 'usr/lib/systemd/catalog'))
    environment = japanese_locale(tmp_path)
    ids = [id for id, _ in entries(CATALOG)]
    command = ['journalctl', '--no-pager', '--root', str(tmp_path)]
    subprocess.run([*command, '--update-catalog'], check=True)
    shown = subprocess.run([*command, '--dump-catalog', *ids], check=True, stdout=subprocess.PIPE, env=environment)
    assert re.findall('^Subject: .*', shown.stdout.decode('utf-8'), re.M) == re.findall(
        '^Subject: .*', text_of(CATALOG_JA), re.M
    )


# The manual pages

PAGES = ('virt-guard.8', 'virt-guard-policy.5')
# What these mark is the same in both languages; of the last ones, all the words are one text.
MARKS = ('Ar', 'Cm', 'Ev', 'Fl', 'Fn', 'Ic', 'Li', 'Pa')
WHOLE = ('Dl', 'Lk', 'Ql', 'Sx', 'Xr')
OTHERS = 'Ao Ac Aq Brc Bro Brq Dq Em Nm No Ns Oc Oo Op Pc Po Pq Qc Qo Qq Sy Ta'.split()
PUNCTUATION = re.compile('[.,:;|()。、]+$')


def numbers_of_sections(directory):
    """What a title stands for in both languages."""
    return {
        title: '%s, section %d' % (name, number)
        for name in PAGES
        for number, title in enumerate(re.findall('^[.]S[hs] (.*)$', text_of(directory / name), re.MULTILINE))
    }


def marked_in(line, numbers):
    """The texts that macros mark in a line of mdoc, with the macro."""
    marked, macro, words = [], '', []
    for quoted, plain in [*re.findall(r'"([^"]*)"|(\S+)', line[1:]), ('', '')]:
        if plain in (*MARKS, *WHOLE, *OTHERS, '') and not quoted:
            if macro in WHOLE:
                text = ' '.join(words)
                marked.append('.%s %s' % (macro, numbers.get(text, text) if macro == 'Sx' else text))
            elif macro in MARKS:
                marked += ['.%s %s' % (macro, word) for word in words or ['']]
            macro, words = plain, []
        elif quoted or not PUNCTUATION.match(plain):
            words.append(quoted or plain)
    return marked


def parts_of(path):
    """A page in parts, each of which begins with a heading or an item of a list: the marked texts of its head, those
    below it, and its displays without comments. The synopsis is a display."""
    numbers = numbers_of_sections(path.parent)
    parts, shown = [], None
    for line in text_of(path).replace('\\\n', ' ').splitlines():
        if line.startswith(('.Sh ', '.Ss ', '.It')):
            head = line if line == '.Sh SYNOPSIS' else ' '.join([line[:3], *marked_in(line, numbers)])
            parts.append((head, [], []))
            shown = parts[-1][2] if line == '.Sh SYNOPSIS' else None
        elif line.startswith('.Bd'):
            shown = parts[-1][2]
            shown.append(line)
        elif line == '.Ed':
            shown = None
        elif shown is not None:
            shown.append(re.sub(r'\s+# .*', '', line))
        elif line.startswith('.') and not line.startswith('.\\"') and parts:
            parts[-1][1].extend(marked_in(line, numbers))
    return parts


@pytest.mark.parametrize('name', PAGES)
def test_manual(name):
    english, japanese = parts_of(CHECKOUT / 'doc' / name), parts_of(CHECKOUT / 'doc' / 'ja' / name)
    titles = re.findall('^[.]S[hs] (.*)$', text_of(CHECKOUT / 'doc' / name), re.MULTILINE)
    number = -1
    # Where a part of the English page is, for people: the title of its section, and its head.
    places = []
    for head, _, _ in english:
        number += head.startswith(('.Sh', '.Ss'))
        places.append('%s, %.60s' % (titles[number], head))
    problems = []
    matcher = difflib.SequenceMatcher(None, [head for head, _, _ in english], [head for head, _, _ in japanese], False)
    for kind, start, end, start_ja, end_ja in matcher.get_opcodes():
        if kind != 'equal':
            ours, theirs = places[start:end], [head for head, _, _ in japanese[start_ja:end_ja]]
            problems.append('after %r: only in English: %r; only in Japanese: %r' % (places[start - 1], ours, theirs))
            continue
        for place, (_, marked, shown), (_, marked_ja, shown_ja) in zip(
            places[start:end], english[start:end], japanese[start_ja:end_ja]
        ):
            problems += ['%s: %s' % (place, difference) for difference in differences(marked, marked_ja)]
            problems += ['%s, display: %s' % (place, difference) for difference in differences(shown, shown_ja)]
    problems += differences(*(re.findall('(?m)^[.]Dd .*', text_of(CHECKOUT / at / name)) for at in ('doc', 'doc/ja')))
    assert problems == [], 'doc/ja/%s is not what doc/%s is:\n%s' % (name, name, '\n'.join(problems))


@pytest.mark.parametrize('name', PAGES)
def test_formatters_have_nothing_to_say(name):
    page = str(CHECKOUT / 'doc' / 'ja' / name)
    # What is only style for mandoc counts the bytes of a line, and takes the end of a Japanese word for a bracket.
    said = run_tool('mandoc', '-T', 'lint', '-W', 'warning', page)
    assert [line for line in said if not ABOUT_OTHER_PAGES.search(line)] == []
    assert run_tool('groff', '-Kutf8', '-mdoc', '-ww', '-z', '-T', 'utf8', page) == []
