# SPDX-License-Identifier: Apache-2.0
"""Which language somebody has chosen, and what there is in it."""

import pytest
from virtguard import model
from virtguard.policy import languages
from virtguard.policy.files import read_policy_file
from virtguard.wording import translated


@pytest.mark.parametrize(
    'environment, language',
    [
        ({}, 'en'),
        ({'LANG': 'ja_JP.UTF-8'}, 'ja'),
        ({'LANG': 'ja'}, 'ja'),
        ({'LANG': 'ja_JP.eucJP@cjk'}, 'ja'),
        ({'LANG': 'de_DE.UTF-8'}, 'en'),
        ({'LANG': 'jam_JM'}, 'en'),
        ({'LANG': '../../ja'}, 'en'),
        # The first one that is set counts; empty is not set.
        ({'LANG': 'ja_JP.UTF-8', 'LC_ALL': 'C'}, 'en'),
        ({'LANG': 'ja_JP.UTF-8', 'LC_ALL': 'C.UTF-8'}, 'en'),
        ({'LANG': 'ja_JP.UTF-8', 'LC_ALL': ''}, 'ja'),
        ({'LANG': 'ja_JP.UTF-8', 'LC_MESSAGES': 'POSIX'}, 'en'),
        ({'LANG': 'de_DE', 'LC_MESSAGES': 'ja_JP'}, 'ja'),
        ({'LANG': 'en_US.UTF-8', 'LC_MESSAGES': 'en_US', 'LC_ALL': 'ja_JP'}, 'ja'),
        ({'LC_CTYPE': 'ja_JP.UTF-8'}, 'en'),
        # A list, if there is a locale.
        ({'LANG': 'en_US.UTF-8', 'LANGUAGE': 'de:ja:en'}, 'ja'),
        ({'LANG': 'ja_JP.UTF-8', 'LANGUAGE': 'de:en_GB:ja'}, 'en'),
        ({'LANG': 'ja_JP.UTF-8', 'LANGUAGE': 'de'}, 'en'),
        ({'LANG': 'ja_JP.UTF-8', 'LANGUAGE': ':'}, 'ja'),
        ({'LANG': 'C', 'LANGUAGE': 'ja'}, 'en'),
        ({'LANGUAGE': 'ja'}, 'en'),
    ],
)
def test_the_language_of_a_locale(environment, language):
    assert languages.chosen_language(environment) == language


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    path = tmp_path / 'ja.po'
    path.write_text(
        'msgid "the title"\nmsgstr "題"\n\nmsgid "do it"\nmsgstr "する"\n\nmsgid "because"\nmsgstr "理由"\n\n'
        'msgid "another"\nmsgstr "別"\n\n#, fuzzy\nmsgid "guessed"\nmsgstr "推測"\n\nmsgid "untold"\nmsgstr ""\n\n'
        '#: refusal\nmsgid "more: %s"\nmsgstr "詳細: %s"\n',
        encoding='utf-8',
    )
    monkeypatch.setattr(languages, 'catalogs', lambda: {'ja': str(path)})
    return path


def test_what_a_refusal_needs(catalog):
    rule = model.Rule('a', 'the title', 'deny', 'because', 'do\n  it\n')
    other = model.Rule('b', 'guessed', 'deny', 'because', 'untold')
    texts, problem = languages.texts_of_refusals('ja', [rule, other], read_policy_file)
    assert texts == {'the title': '題', 'do it': 'する', 'more: %s': '詳細: %s'}
    assert problem == ''


def test_a_start_does_not_fail_by_a_catalog(catalog):
    catalog.write_bytes(b'msgid "a"\n')
    assert languages.texts_of_refusals('ja', [], read_policy_file) == (
        {},
        '%s:1: msgid without a msgstr (write msgstr below it)' % catalog,
    )
    catalog.unlink()
    texts, problem = languages.texts_of_refusals('ja', [], read_policy_file)
    assert not texts and 'No such file' in problem


def test_everything_in_a_language(catalog):
    assert languages.texts_of('en') == {}
    texts = languages.texts_of('ja')
    assert sorted(texts) == ['another', 'because', 'do it', 'more: %s', 'the title']
    assert translated(texts, 'because\n') == '理由'
    assert translated(texts, 'what a site has written') == 'what a site has written'


def test_a_text_of_parts_is_told_by_its_parts():
    texts = {'%s (%s)': '%s [%s]', 'title': '題', 'by %s': '%s による', 'bob': 'x'}
    text = model.Phrase('%s (%s)', model.Phrase('title'), model.Phrase('by %s', 'bob'))
    assert text == 'title (by bob)'
    # What is filled in is not ours, even if it looks like a text of ours.
    assert translated(texts, text) == '題 [bob による]'
    assert translated({}, text) == text
    assert translated({}, model.Phrase('100 %s')) == '100 %s'
