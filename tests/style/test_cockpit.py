# SPDX-License-Identifier: Apache-2.0
"""The page for Cockpit, without a browser: its texts and their translation, its size, and what it may load."""

import json
import re

from support.paths import CHECKOUT

PAGE = CHECKOUT / 'packaging/cockpit'


def read(name):
    return (PAGE / name).read_text(encoding='utf-8')


def shown():
    """Every text that the page shows of its own."""
    texts = set(re.findall(r'translate="yes"(?: hidden)?>([^<]+)<', read('index.html')))
    texts |= {json.loads(text) for text in re.findall(r'\b_\(("(?:[^"\\]|\\.)*")\)', read('virt-guard.js'))}
    return texts | {json.loads(read('manifest.json'))['tools']['index']['label']}


def test_every_text_is_translated_and_no_translation_is_left_over():
    translated = dict(
        re.findall(r'^  ("(?:[^"\\]|\\.)+"): \[null, ("(?:[^"\\]|\\.)+")\],$', read('po.ja.js'), re.MULTILINE)
    )
    translated = {json.loads(text): json.loads(translation) for text, translation in translated.items()}
    assert set(translated) == shown() and len(translated) > 30
    for text, translation in translated.items():
        assert re.search('[\u3040-\u30ff\u4e00-\u9fff]', translation), text
        assert sorted(re.findall(r'\$\d', text)) == sorted(re.findall(r'\$\d', translation))


def test_texts_of_domains_never_become_html():
    assert not re.search(
        'innerHTML|insertAdjacentHTML|outerHTML|document.write|eval|new Function', read('virt-guard.js')
    )


def test_it_is_small_and_loads_nothing_from_elsewhere():
    assert sum(file.stat().st_size for file in PAGE.iterdir()) < 60000
    for name in ('index.html', 'virt-guard.css', 'virt-guard.js'):
        assert not re.search('(https?:)?//(?!/)[a-z]', read(name))
    assert json.loads(read('manifest.json'))['content-security-policy'].startswith("default-src 'self'")
