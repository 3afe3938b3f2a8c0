# SPDX-License-Identifier: Apache-2.0
"""Metrics as the text that Prometheus reads. Pure: no I/O.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Tuple, Union

    Number = Union[int, float]

GAUGE, COUNTER = 'gauge', 'counter'


class Metric:
    """One name, what it says, and its values, each with labels."""

    __slots__ = ('name', 'kind', 'help', 'samples')

    def __init__(self, name: str, kind: str, help: str) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.samples: 'List[Tuple[Dict[str, str], Number]]' = []

    def add(self, value: 'Number', **labels: str) -> 'Metric':
        self.samples.append((labels, value))
        return self

    def __str__(self) -> str:
        lines = ['# HELP %s %s' % (self.name, _escaped(self.help)), '# TYPE %s %s' % (self.name, self.kind)]
        return ''.join(line + '\n' for line in lines + [self._line(*sample) for sample in self.samples])

    def _line(self, labels: 'Dict[str, str]', value: 'Number') -> str:
        shown = ','.join('%s="%s"' % (name, _escaped(text).replace('"', '\\"')) for name, text in labels.items())
        return '%s%s %s' % (self.name, '{%s}' % shown if shown else '', value)


def exposition(metrics: 'Iterable[Metric]') -> bytes:
    """Those of the metrics that have a value."""
    text = ''.join(str(metric) for metric in metrics if metric.samples)
    return text.encode('utf-8')


def _escaped(text: str) -> str:
    # An escape that Prometheus does not know, as of half a character, would cost the whole file.
    whole = text.encode('utf-8', 'backslashreplace').decode('utf-8')
    return whole.replace('\\', '\\\\').replace('\n', '\\n')
