# SPDX-License-Identifier: Apache-2.0
"""In one process: the time from the bytes of a document to the rules that match, for the guard and its peers.

Nine points: 10, 40 and 100 rules by documents of 5, 15 and 54 KB. The rules are those of rules.py, every engine has
the same (see engines.py), and all of them must find the same in every document. They take turns at ten documents, new
ones each time, so that code is warm and nothing can be remembered of a document.

Beside them stands what cannot be undercut by anything that refuses what is not well-formed: the time in which expat, or
lxml, reads the document, without a rule.

Of ten documents two have findings, of two rules each. The figures are for this mix: 0.8 of the median over documents
without findings and 0.2 of the median over those with.
"""

import pyexpat
import statistics
import time
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from documents import make_document
from engines import ENGINES, Cel, Engine, Guard, Hits, Regorus, RegorusUsual, Schematron
from environment import say
from lxml import etree
from rules import Rule, hits, make_rules, plant
from table import Result, Section

RULES = (10, 40, 100)
SIZES = (5000, 15000, 54000)
_ROUNDS, _QUICK_ROUNDS, _WARM_UP = 20, 3, 1
_CLEAN, _FOUND = 8, 2  # documents of a round
_SHARE = _FOUND / (_CLEAN + _FOUND)

# name of the row -> the peer, the target
ROWS = {
    'schematron': (Schematron, 0.5),
    'regorus': (Regorus, 0.3),
    'cel': (Cel, 0.3),
}
FLOOR = 'floor'
# Who reads a document, if nothing else is done with it.
_READERS: Dict[str, Callable[[bytes], object]] = {
    'expat alone': lambda document: pyexpat.ParserCreate().Parse(document, True),
    'lxml alone': etree.fromstring,
}


class Time(NamedTuple):
    """Medians in seconds per document."""

    clean: float
    found: float

    @property
    def mix(self) -> float:
        return (1 - _SHARE) * self.clean + _SHARE * self.found


Point = Tuple[int, int]
Times = Dict[str, Time]


def measure(names: Sequence[str], quick: bool) -> Tuple[List[Result], List[Section]]:
    """The rows of these names, and one section with all points."""
    wanted = {Guard, *(ROWS[name][0] for name in names if name in ROWS)}
    if FLOOR in names:
        wanted.add(Schematron)
    if Regorus in wanted:
        wanted.add(RegorusUsual)
    engines = [engine for engine in ENGINES if engine in wanted]
    documents = [make_document(number, size) for size in SIZES for number in range(2)]
    rules = make_rules(max(RULES), documents)
    points: Dict[Point, Times] = {}
    for count in RULES:
        ready = [engine(rules[:count]) for engine in engines]
        for size in SIZES:
            say('  %d rules, %d KB' % (count, size // 1000))
            points[count, size] = _measure_point(ready, rules[:count], size, _QUICK_ROUNDS if quick else _ROUNDS)
    return [_floor(points) if name == FLOOR else _result(name, points) for name in names], [_section(points)]


def _measure_point(engines: Sequence[Engine], rules: Sequence[Rule], size: int, rounds: int) -> Times:
    times: Dict[str, Dict[bool, List[float]]] = {
        name: {False: [], True: []} for name in [engine.name for engine in engines] + list(_READERS)
    }
    for turn in range(_WARM_UP + rounds):
        documents = _make_documents(rules, size, turn)
        for engine in [*engines[turn % len(engines) :], *engines[: turn % len(engines)]]:
            # A peer that is slower by orders of magnitude gets fewer documents.
            for document, expected in documents[:: _CLEAN if isinstance(engine, Cel) else 1]:
                start = time.perf_counter()
                found = engine.find(document)
                elapsed = time.perf_counter() - start
                if found != expected:
                    raise AssertionError('%s finds %s, not %s' % (engine.name, sorted(found), sorted(expected)))
                if turn >= _WARM_UP:
                    times[engine.name][bool(expected)].append(elapsed)
        for name, read in _READERS.items():
            for document, expected in documents:
                start = time.perf_counter()
                read(document)
                if turn >= _WARM_UP:
                    times[name][bool(expected)].append(time.perf_counter() - start)
    return {
        name: Time(statistics.median(by_kind[False]), statistics.median(by_kind[True]))
        for name, by_kind in times.items()
    }


def _make_documents(rules: Sequence[Rule], size: int, turn: int) -> List[Tuple[bytes, Hits]]:
    """New documents for one round, first those without findings, and what is to be found."""
    documents = []
    for place in range(_CLEAN + _FOUND):
        document = make_document(turn * (_CLEAN + _FOUND) + place, size)
        if place >= _CLEAN:
            first = (turn * _FOUND + place) % min(RULES)  # of the rules that every point has
            document = plant(document, (rules[first], rules[(first + 3) % min(RULES)]))
        documents.append((document, hits(rules, document)))
    return documents


def _result(name: str, points: Dict[Point, Times]) -> Result:
    peer, target = ROWS[name]
    ratios = {point: times[Guard.name].mix / times[peer.name].mix for point, times in points.items()}
    worst = max(ratios, key=lambda point: ratios[point])
    own, other = points[worst][Guard.name].mix, points[worst][peer.name].mix
    how = '%.0f us / %.0f us with %d rules and %d KB, the worst of %d points (best %.2f)' % (
        own * 1e6,
        other * 1e6,
        worst[0],
        worst[1] // 1000,
        len(points),
        min(ratios.values()),
    )
    return Result(name, 'in process, parse and judge / %s' % peer.name, target, ratios[worst], how, own, other)


def _floor(points: Dict[Point, Times]) -> Result:
    """The guard's ratio to isoschematron if it took no time but for reading: by expat, by lxml where it finds."""
    floors = {point: Time(times['expat alone'].clean, times['lxml alone'].found).mix for point, times in points.items()}
    ratios = {point: floor / points[point][Schematron.name].mix for point, floor in floors.items()}
    worst = max(ratios, key=lambda point: ratios[point])
    own, other = floors[worst], points[worst][Schematron.name].mix
    how = '%.0f us / %.0f us with %d rules and %d KB, the highest of %d points (lowest %.2f)' % (
        own * 1e6,
        other * 1e6,
        worst[0],
        worst[1] // 1000,
        len(points),
        min(ratios.values()),
    )
    title = 'the floor: reading alone, by expat or lxml, without any rule / %s' % Schematron.name
    return Result(FLOOR, title, None, ratios[worst], how, own, other)


def _section(points: Dict[Point, Times]) -> Section:
    names = list(next(iter(points.values())))
    heads = ['rules x XML'] + ['%s, us' % name for name in names]
    heads += ['/ ' + peer.name for peer, _ in ROWS.values() if peer.name in names]
    rows = []
    for (count, size), times in points.items():
        row = ['%d x %d KB' % (count, size // 1000)]
        row += ['%.0f (%.0f; %.0f)' % tuple(value * 1e6 for value in (times[n].mix, *times[n])) for n in names]
        row += [
            '%.2f' % (times[names[0]].mix / times[peer.name].mix) for peer, _ in ROWS.values() if peer.name in names
        ]
        rows.append(row)
    text = (
        'Microseconds per document: the mix (documents without findings; documents with findings of two rules). The '
        'mix is 8 in 10 without.\n'
    )
    figures = {
        '%s, %d rules x %d KB, %s' % (name, count, size // 1000, kind): getattr(time, kind)
        for (count, size), times in points.items()
        for name, time in times.items()
        for kind in ('clean', 'found')
    }
    return Section('In process, by number of rules and size of XML', heads, rows, text, figures)
