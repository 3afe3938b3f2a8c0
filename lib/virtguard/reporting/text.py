# SPDX-License-Identifier: Apache-2.0
"""A report as plain text. Pure: no I/O."""

from ..wording import escape, translated
from .lines import padded, wrapped
from .tables import in_language

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from ..wording import Texts
    from .contents import Contents
    from .tables import Table

_WIDTH = 110
_MARKS = {'bad': '!', 'note': '-', 'good': ' '}


def text_lines(contents: 'Contents', texts: 'Texts') -> 'Iterator[str]':
    """The lines of a report, each with its end.

    :param texts: of another language than English
    """
    yield translated(texts, contents.title) + '\n\n'
    for name, value in contents.facts:
        yield from _wrapped(padded(translated(texts, name), 8) + ' ', value, ' ' * 9, texts)
    yield '\n%s\n' % translated(texts, 'What this report cannot tell')
    for limit in contents.limits:
        yield from _wrapped('  - ', limit, '    ', texts)
    if not contents.limits:
        yield '  - %s\n' % translated(texts, 'nothing is known that it leaves out')
    for host in contents.hosts:
        yield '\n%s\n' % escape(in_language(texts, host.name))
        for tone, statement in host.statements:
            yield from _wrapped('  %s ' % _MARKS[tone], statement, '    ', texts)
        for table in host.tables:
            yield from _table(table, texts)
    if not contents.hosts:
        yield '\n%s\n' % translated(texts, 'There is no record of this period.')


def _table(table: 'Table', texts: 'Texts') -> 'Iterator[str]':
    yield '\n  %s\n' % translated(texts, table.title)
    for first, *others in table.rows:
        yield from _wrapped('    ', in_language(texts, first).replace('\n', ' '), '      ', texts)
        cells = [in_language(texts, cell) for cell in others]
        said = ['%s %s' % (translated(texts, name), cell) for name, cell in zip(table.head[1:], cells) if cell]
        if said:
            yield from _wrapped('      ', '; '.join(said), '      ', texts)
    if table.more:
        yield '    %s\n' % in_language(texts, table.more)


def _wrapped(first: str, text: str, others: str, texts: 'Texts') -> 'Iterator[str]':
    lines = wrapped(first, escape(in_language(texts, text)), others, _WIDTH, break_long_words=True)
    for line in lines or [first]:
        yield line + '\n'
