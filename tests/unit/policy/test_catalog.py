# SPDX-License-Identifier: Apache-2.0
"""PO files as translators and their tools write them; what is not read is told with its line."""

import pytest
from virtguard.policy.catalog import CatalogError, read_catalog

HEADER = 'msgid ""\nmsgstr ""\n"Language: ja\\n"\n\n'


def read(text):
    return read_catalog((HEADER + text).encode('utf-8'), 'ja.po')


def test_entries():
    entries = read(
        '# for translators\n'
        '#. tcg title\n'
        '#: refusal src.py:12\n'
        'msgid "one \\"text\\" "\n'
        '"that goes on\\n"\n'
        'msgstr ""\n'
        '"一つの\\\\"\n'
        '"文"\n'
        '#, c-format, fuzzy\n'
        'msgid "%d left"\n'
        'msgstr "残り %d"\n'
        '#~ msgid "obsolete"\n'
        '#~ msgstr "旧"\n'
        '\n'
        'msgid "no blank line before, and a tab\\t"\n'
        'msgstr ""\n'
    )
    assert [(e.line, e.text, e.translation, e.uses, e.is_fuzzy) for e in entries] == [
        (8, 'one "text" that goes on', '一つの\\文', ('refusal', 'src.py:12'), False),
        (14, '%d left', '残り %d', (), True),
        (19, 'no blank line before, and a tab', '', (), False),
    ]


def test_what_editors_do_to_files():
    """A mark at the beginning, and the ends of lines of other systems."""
    data = b'\xef\xbb\xbf' + (HEADER + 'msgid "a"\nmsgstr "b"\n').replace('\n', '\r\n').encode()
    assert [entry.translation for entry in read_catalog(data, 'ja.po')] == ['b']


@pytest.mark.parametrize(
    'text, line, message',
    [
        ('msgid "a"\nmsgstr "b" c"\n', 6, 'not in double quotes'),
        ('msgid "a"\nmsgstr b\n', 6, 'neither msgid nor msgstr'),
        ('msgid "a\\q"\nmsgstr "b"\n', 5, r'\\q is not known'),
        ('msgid "a\\"\nmsgstr "b"\n', 5, 'not in double quotes'),
        ('msgid "a"\n# b\nmsgstr "c"\n', 6, 'a comment between'),
        ('msgid "a"\nmsgid "b"\nmsgstr "c"\n', 6, 'without the msgstr of the one before'),
        ('msgid "a"\nmsgstr "b"\nmsgstr "c"\n', 7, 'msgstr without a msgid'),
        ('msgid "a"\n', 5, 'msgid without a msgstr'),
        ('msgctxt "x"\nmsgid "a"\nmsgstr "b"\n', 5, "'msgctxt' is neither"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[0] "c"\n', 6, "'msgid_plural' is neither"),
        ('# c\n"a"\n', 6, 'neither msgid nor msgstr'),
        ('msgid "a"\nmsgstr "b"\n\nmsgid "a "\nmsgstr "c"\n', 8, 'there twice, first in line 5'),
        ('msgid "%s of %d"\nmsgstr "%d の %s"\n', 5, 'does not have %s %d, in this order'),
        ('msgid "%d left"\nmsgstr "残り 5%"\n', 5, 'does not have %d'),
        ('msgid "%d left"\nmsgstr "%d 残り 5% "\n', 5, 'does not have %d'),
    ],
)
def test_what_is_not_read(text, line, message):
    with pytest.raises(CatalogError, match=message) as raised:
        read(text)
    assert str(raised.value).startswith('ja.po:%d: ' % line)
    assert raised.value.hint


def test_another_encoding():
    with pytest.raises(CatalogError, match=r'ja\.po:2: this is not UTF-8'):
        read_catalog('# SPDX\nmsgid "日本語"\n'.encode('euc-jp'), 'ja.po')


def test_a_percent_sign_in_a_text_that_is_not_filled_in():
    (entry,) = read('msgid "at 50 % or more"\nmsgstr "50% 以上"\n')
    assert entry.translation == '50% 以上'
