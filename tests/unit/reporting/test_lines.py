# SPDX-License-Identifier: Apache-2.0
"""Lines as wide as a terminal shows them."""

import textwrap

import pytest
from virtguard.reporting.lines import padded, width_of, wrapped

JAPANESE = (
    'ハードウェア仮想化を使わない、QEMU の Tiny Code Generator (TCG) によるエミュレーションはサポートされない。'
    '対処: <domain type="kvm"> を使う（「例外」を除く）。'
)


@pytest.mark.parametrize(
    'text, width', [('', 0), ('abc', 3), ('日本', 4), ('ｱ', 1), ('Ｑ。', 4), ('e\u0301', 1), ('漢a', 3)]
)
def test_width(text, width):
    assert width_of(text) == width
    assert width_of(padded(text, 10)) == 10
    assert padded('日本語日本語', 10) == '日本語日本語'


@pytest.mark.parametrize('width', range(20, 90, 7))
def test_lines_hold_their_width_and_lose_nothing(width):
    lines = wrapped('  理由  ', JAPANESE, ' ' * 8, width)
    assert all(width_of(line) <= width for line in lines)
    assert lines[0].startswith('  理由  ') and all(line.startswith(' ' * 8) for line in lines[1:])
    assert ''.join(line[len('  理由  ') if line is lines[0] else 8 :].replace(' ', '') for line in lines) == (
        JAPANESE.replace(' ', '')
    )
    # A line does not begin with a full stop or end with an opening bracket, nor is a word cut.
    assert not any(line.strip()[0] in '。、）」' for line in lines[1:])
    assert not any(line[-1] in '（「' for line in lines)
    assert sum('Generator' in line for line in lines) == 1


def test_other_texts_are_wrapped_as_ever():
    text = 'a ' * 80 + 'https://example.org/' + 'x' * 120
    assert wrapped('  why ', text, ' ' * 6, 100) == textwrap.wrap(
        text, 100, initial_indent='  why ', subsequent_indent=' ' * 6, break_long_words=False, break_on_hyphens=False
    )
    assert wrapped('  理由 ', 'plain text', ' ' * 7, 40) == ['  理由 plain text']
    assert wrapped('  - ', '', '    ', 40) == []


def test_what_cannot_be_broken_stays_whole():
    assert wrapped('', '漢' + 'x' * 60 + '漢', '', 20) == ['漢', 'x' * 60, '漢']


def test_the_path_of_a_file_may_not_be_utf_8():
    assert wrapped('  defined ', '/srv/方針\udcff.yaml:3', ' ' * 10, 100) == ['  defined /srv/方針\udcff.yaml:3']
