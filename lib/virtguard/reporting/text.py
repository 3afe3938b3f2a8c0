# SPDX-License-Identifier: Apache-2.0
"""A report as plain text. Pure: no I/O."""

import textwrap

from ..wording import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .contents import Contents
    from .tables import Table

_WIDTH = 110
_MARKS = {'bad': '!', 'note': '-', 'good': ' '}


def text_lines(contents: 'Contents') -> 'Iterator[str]':
    """The lines of a report, each with its end."""
    yield contents.title + '\n\n'
    for name, value in contents.facts:
        yield from _wrapped('%-8s ' % name, value, ' ' * 9)
    yield '\nWhat this report cannot tell\n'
    for limit in contents.limits or ['nothing is known that it leaves out']:
        yield from _wrapped('  - ', limit, '    ')
    for host in contents.hosts:
        yield '\n%s\n' % escape(host.name)
        for tone, statement in host.statements:
            yield from _wrapped('  %s ' % _MARKS[tone], statement, '    ')
        for table in host.tables:
            yield from _table(table)
    if not contents.hosts:
        yield '\nThere is no record of this period.\n'


def _table(table: 'Table') -> 'Iterator[str]':
    yield '\n  %s\n' % table.title
    for row in table.rows:
        yield from _wrapped('    ', row[0].replace('\n', ' '), '      ')
        said = ['%s %s' % (name, cell) for name, cell in zip(table.head[1:], row[1:]) if cell]
        if said:
            yield from _wrapped('      ', '; '.join(said), '      ')
    if table.more:
        yield '    %s\n' % table.more


def _wrapped(first: str, text: str, others: str) -> 'Iterator[str]':
    for line in textwrap.wrap(
        escape(text), _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    ) or [first]:
        yield line + '\n'
