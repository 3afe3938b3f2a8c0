# SPDX-License-Identifier: Apache-2.0
"""Results -> the report: Markdown for people, JSON for comparing runs."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

JsonReport = Dict[str, Any]


class Result(NamedTuple):
    """One row of the table. `value` is a ratio, None where it could not be measured; `how` then says why not.

    A row without a target is there to judge the others by.
    """

    name: str
    title: str
    target: Optional[float]
    value: Optional[float]
    how: str
    own: float = 0.0  # the two medians, in seconds, bytes, or files per second
    base: float = 0.0
    at_least: bool = False  # whether more is better

    @property
    def met(self) -> bool:
        if self.value is None or self.target is None:
            return False
        return self.value >= self.target if self.at_least else self.value <= self.target


class Section(NamedTuple):
    """A text and a table below the main table; `figures` are its numbers under names, for comparing runs."""

    title: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    text: str = ''
    figures: Mapping[str, float] = {}


class Report(NamedTuple):
    date: str
    quick: bool
    machine: Dict[str, str]
    results: List[Result]
    sections: List[Section]

    def as_json(self) -> JsonReport:
        document = self._asdict()
        document['results'] = [dict(result._asdict(), met=result.met) for result in self.results]
        document['sections'] = [section._asdict() for section in self.sections]
        return document

    def as_markdown(self) -> str:
        kind = 'a quick run: few repetitions' if self.quick else 'a full run'
        parts = ['# Benchmarks of virt-guard\n\n%s, %s.\n\n' % (self.date, kind)]
        parts.append(''.join('- %s: %s\n' % item for item in self.machine.items()))
        heads = ('', 'what is compared', 'measured', 'target', 'medians')
        parts.append('\n' + _markdown_table(heads, [_row(result) for result in self.results]))
        for section in self.sections:
            parts.append('\n## %s\n\n' % section.title)
            parts.append((section.text + '\n') if section.text else '')
            parts.append(_markdown_table(section.heads, section.rows) if section.rows else '')
        return ''.join(parts)


def _row(result: Result) -> List[str]:
    mark = '-' if result.value is None or result.target is None else 'met' if result.met else '**missed**'
    return [mark, result.title, _ratio(result.value), _target(result.target, result.at_least), result.how]


def _target(target: Optional[float], at_least: bool) -> str:
    return '-' if target is None else '%s %.2f' % ('>=' if at_least else '<=', target)


def _ratio(value: Optional[float]) -> str:
    return '-' if value is None else '%.2f' % value


def compare(base: JsonReport, now: JsonReport) -> str:
    """Two runs side by side, row by row."""
    rows = []
    before = {result['name']: result for result in base['results']}
    after = {result['name']: result for result in now['results']}
    for name, result in dict(before, **after).items():
        old = before.get(name, {}).get('value')
        new = after.get(name, {}).get('value')
        target = _target(result['target'], result['at_least'])
        rows.append([result['title'], target, _ratio(old), _ratio(new), _change(old, new)])
    text = ['# Two runs compared\n\n']
    for which, report in (('base', base), ('now', now)):
        machine = report['machine']
        described = ', '.join('%s %s' % (key, machine[key]) for key in ('commit', 'CPU', 'Python', 'libvirt'))
        text.append('- %s: %s%s; %s\n' % (which, report['date'], ' (quick)' if report['quick'] else '', described))
    text += ['\n', _markdown_table(('what is compared', 'target', 'base', 'now', 'change'), rows)]
    figures = [
        [name, '%.3g' % old, '%.3g' % new, _change(old, new)]
        for name, old, new in _common(_figures(base), _figures(now))
    ]
    if figures:
        text += ['\n', _markdown_table(('in detail', 'base', 'now', 'change'), figures)]
    return ''.join(text)


def _figures(report: JsonReport) -> Dict[str, float]:
    figures = {}
    for result in report['results']:
        if result['value'] is not None:
            figures[result['name'] + ': median'] = result['own']
            figures[result['name'] + ': median compared with'] = result['base']
    for section in report['sections']:
        figures.update(section['figures'])
    return figures


def _common(base: Dict[str, float], now: Dict[str, float]) -> List[Tuple[str, float, float]]:
    return [(name, base[name], now[name]) for name in base if name in now]


def _change(old: Optional[float], new: Optional[float]) -> str:
    return '%+.1f %%' % ((new / old - 1) * 100) if old and new else '-'


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [heads, ['-' * width for width in widths], *rows]
    return ''.join('| %s |\n' % ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines)
