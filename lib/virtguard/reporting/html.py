# SPDX-License-Identifier: Apache-2.0
"""A report as one page of HTML: no script and nothing from elsewhere, for a screen (light, dark, narrow) and for paper.

Pure: no I/O. Whoever defines a domain chooses its name, so all that comes from a record is escaped, and the page
forbids the browser to run or load anything.
"""

import html

from ..wording import escape, translated
from .tables import in_language

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from ..wording import Texts
    from .contents import Contents
    from .tables import Table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--ink:#1a1c1e;--dim:#5a6068;--page:#fff;--line:#d5d9de;--bad:#a4161a;--note:#805000;
--good:#1d6b34;--soft:#f4f6f8}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#a0a7af;--page:#15181b;--line:#3a4047;--bad:#ff8f8a;
--note:#f0b850;--good:#7fd396;--soft:#1f2429}}
body{margin:0 auto;padding:1.5rem;max-width:76rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--page);overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:0 0 1rem}
h2{font-size:1.25rem;margin:2.2rem 0 .5rem;border-bottom:2px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .4rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt{color:var(--dim)}dd{margin:0}
ul{margin:.3rem 0;padding-left:1.3rem}
.limits{background:var(--soft);border-left:4px solid var(--note);padding:.6rem 1rem;margin:1.2rem 0}
.limits h2{margin:0;border:0;font-size:1rem}
.bad{color:var(--bad);font-weight:600}.note{color:var(--note)}.good{color:var(--good)}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th{text-align:left;color:var(--dim);font-weight:600}
th,td{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;min-width:3rem}
td:first-child{font-weight:600;min-width:13rem}
td:last-child{min-width:6.5rem}
small{display:block;font-weight:400;color:var(--dim)}
p{margin:.4rem 0;color:var(--dim)}
@media (max-width:46rem){body{padding:.8rem}thead{display:none}tr{display:block;padding:.4rem 0;
border-bottom:1px solid var(--line)}td{display:block;border:0;padding:0}td:empty{display:none}
dl{grid-template-columns:1fr}dt{margin-top:.3rem}}
@media print{:root{color-scheme:light;--ink:#000;--dim:#333;--page:#fff;--line:#999;--bad:#000;--note:#000;--good:#000;
--soft:#fff}body{max-width:none;padding:0;font-size:9pt}table{font-size:8pt}tr{break-inside:avoid}h2,h3{break-after:avoid}
thead{display:table-header-group}}
"""


def html_lines(contents: 'Contents', texts: 'Texts', language: str = 'en') -> 'Iterator[str]':
    """The pieces of the page.

    :param texts: of another language than English
    :param language: what that is
    """
    heading = translated(texts, contents.title)
    title = _text(' - '.join([heading, *(in_language(texts, host.name) for host in contents.hosts[:1])]))
    yield '<!DOCTYPE html>\n<html lang="%s">\n<head>\n<meta charset="utf-8">\n' % _text(language)
    yield '<meta http-equiv="Content-Security-Policy" content="%s">\n' % _text(_POLICY)
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    yield '<meta name="referrer" content="no-referrer">\n'
    yield '<title>%s</title>\n<style>%s%s</style>\n</head>\n<body>\n' % (title, _STYLE, _labels(contents, texts))
    yield '<h1>%s</h1>\n<dl>\n' % _text(heading)
    for name, value in contents.facts:
        yield '<dt>%s</dt><dd>%s</dd>\n' % (_text(translated(texts, name)), _text(in_language(texts, value)))
    yield '</dl>\n<div class="limits">\n<h2>%s</h2>\n<ul>\n' % _text(translated(texts, 'What this report cannot tell'))
    nothing = translated(texts, 'nothing is known that it leaves out')
    for limit in [in_language(texts, limit) for limit in contents.limits] or [nothing]:
        yield '<li>%s</li>\n' % _text(limit)
    yield '</ul>\n</div>\n'
    for host in contents.hosts:
        yield '<h2>%s</h2>\n<ul>\n' % _text(in_language(texts, host.name))
        for tone, statement in host.statements:
            yield '<li class="%s">%s</li>\n' % (tone, _text(in_language(texts, statement)))
        yield '</ul>\n'
        for table in host.tables:
            yield from _table(table, texts)
    if not contents.hosts:
        yield '<p>%s</p>\n' % _text(translated(texts, 'There is no record of this period.'))
    yield '</body>\n</html>\n'


def _table(table: 'Table', texts: 'Texts') -> 'Iterator[str]':
    head = ''.join('<th>%s</th>' % _text(translated(texts, name)) for name in table.head)
    yield '<h3>%s</h3>\n<table class="%s">\n<thead><tr>%s</tr></thead>\n<tbody>\n' % (
        _text(translated(texts, table.title)),
        _name(table),
        head,
    )
    for row in [[in_language(texts, cell) for cell in row] for row in table.rows]:
        # The end tags of cells may be left out, and there are many of them.
        first, _, second = row[0].partition('\n')
        below = '<small>%s</small>' % _text(second) if second else ''
        cells = ''.join('<td>%s' % _text(cell) for cell in row[1:])
        yield '<tr><td>%s%s%s</tr>\n' % (_text(first), below, cells)
    yield '</tbody>\n</table>\n'
    if table.more:
        yield '<p>%s</p>\n' % _text(in_language(texts, table.more))


def _labels(contents: 'Contents', texts: 'Texts') -> str:
    """On a narrow page, cells stand below each other, and each says what it is. The names of columns are ours."""
    heads = {_name(table): table.head for host in contents.hosts for table in host.tables}
    rules = [
        '.%s td:nth-child(%d)::before{content:"%s: "}' % (name, number, translated(texts, label))
        for name, head in heads.items()
        for number, label in enumerate(head[1:], 2)
    ]
    return '@media (max-width:46rem){%s}\n' % '\n'.join(rules)


def _name(table: 'Table') -> str:
    return 't-' + ''.join(c if c.isalnum() else '-' for c in table.title.lower())


def _text(text: str) -> str:
    return html.escape(escape(text))
